//! Measurements of the change feed.

use crate::connect::{Subscription, open_clients, open_required_client, receive};
use crate::receive::{ClientPool, Rounds};
use crate::write::{Writes, connect_database, insert_linked_entities, update_entity, write_at_rate};
use crate::{ENTITIES, MAX_INCOMPLETE_ROUNDS, STALL_TIMEOUT, entity_id, milliseconds, print_result};
use futures_util::StreamExt;
use serde_json::json;
use sqlx::Connection;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

/// Number of entities that each client of the scenario `rate` subscribes to.
///
/// They are among the first `RATE_ENTITIES`.
const RATE_SUBSCRIPTIONS: usize = 20;
const RATE_ENTITIES: usize = 1000;
/// Names of the metric of the outbound queues, the current and the previous one.
const QUEUE_METRICS: [&str; 2] = ["pmo_pubsub_outbound_queue_bytes ", "pmo_pubsub_queued_bytes "];

/// Measures the time from COMMIT, and from the UPDATE before it, until one client is notified.
pub(crate) async fn commit(address: &str) -> sqlx::Result<()> {
    let mut client = open_required_client(address, Subscription::Entities(vec![entity_id(0)])).await;
    let mut writer = connect_database().await;
    let (mut from_commit, mut from_update) = (Vec::new(), Vec::new());
    let mut missing = 0;
    for n in 0..1100 {
        let update_at = Instant::now();
        let mut transaction = writer.begin().await?;
        update_entity(&mut transaction, entity_id(0)).await?;
        let commit_at = Instant::now();
        transaction.commit().await?;
        match tokio::time::timeout(STALL_TIMEOUT, receive(&mut client, "INVALIDATE")).await {
            Ok(Ok(_)) if n >= 100 => {
                from_commit.push(milliseconds(commit_at.elapsed()));
                from_update.push(milliseconds(update_at.elapsed()));
            }
            Ok(Ok(_)) => {}
            _ => {
                missing += 1;
                if missing >= MAX_INCOMPLETE_ROUNDS {
                    break;
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let details = json!({"missing_changes": missing});
    print_result("commit", &mut from_commit, details.clone());
    print_result("update", &mut from_update, details);
    Ok(())
}

/// Numbers of the entities that client `n` of the scenario `rate` subscribes to.
fn rate_entities(n: usize) -> impl Iterator<Item = usize> {
    (0..RATE_SUBSCRIPTIONS).map(move |k| (n * RATE_SUBSCRIPTIONS + k) % RATE_ENTITIES)
}

/// Number of the entity that write `n` of the scenario `rate` updates.
fn rate_target(n: usize) -> usize {
    n * 7 % RATE_ENTITIES
}

/// Measures delivery latencies at a constant write rate.
///
/// `additional` adds a large write and a client with a type subscription that reads (`true`) or
/// does not read (`false`).
pub(crate) async fn rate(address: &str, clients: usize, rate: usize, additional: Option<bool>) -> sqlx::Result<()> {
    let subscription = |n: usize| Subscription::Entities(rate_entities(n).map(entity_id).collect());
    let opened = open_clients(address, clients, subscription).await;
    let connections = opened.report();
    let mut subscribers = vec![0; RATE_ENTITIES];
    for (n, _) in &opened.clients {
        rate_entities(*n).for_each(|entity| subscribers[entity] += 1);
    }
    let deliveries = |writes: &Writes| writes.committed.iter().map(|n| subscribers[rate_target(*n)]).sum::<usize>();
    // Open connection that is never read.
    let mut stalled = None;
    if let Some(reads) = additional {
        let mut client = open_required_client(address, Subscription::Type).await;
        if reads {
            tokio::spawn(async move { while client.next().await.is_some() {} });
        } else {
            stalled = Some(client);
        }
    }
    let pool = ClientPool::new(opened.into_clients(), true);
    let seconds = 10;
    // Warm-up. Its deliveries must have arrived before the counters are reset.
    pool.expect(usize::MAX);
    let warm_up = write_at_rate(&pool, rate, 2, |n| entity_id(rate_target(n))).await;
    pool.results.lock().unwrap().expected = deliveries(&warm_up);
    pool.wait_for_changes().await;
    pool.expect(usize::MAX);
    pool.results.lock().unwrap().latencies.clear();
    if additional.is_some() {
        let ids: Vec<Uuid> = (ENTITIES / 2..ENTITIES).map(entity_id).collect();
        sqlx::query("update app.wiki set name = 'x' where id = any ($1)")
            .bind(ids)
            .execute(&mut connect_database().await)
            .await?;
    }
    let writes = write_at_rate(&pool, rate, seconds, |n| entity_id(rate_target(n))).await;
    let expected = deliveries(&writes);
    pool.results.lock().unwrap().expected = expected;
    let delivery = pool.wait_for_changes().await;
    let mut latencies = std::mem::take(&mut pool.results.lock().unwrap().latencies);
    let details = json!({
        "connections": connections, "closed": pool.closed(), "deliveries": expected,
        "missing_changes": delivery.missing, "failed_writes": writes.failed,
    });
    print_result("rate", &mut latencies, details);
    drop(stalled);
    Ok(())
}

/// Measures the time from COMMIT until the last client is notified.
pub(crate) async fn fan_out(address: &str, clients: usize) -> sqlx::Result<()> {
    let opened = open_clients(address, clients, |_| Subscription::Entities(vec![entity_id(0)])).await;
    let (connections, count) = (opened.report(), opened.count());
    let pool = ClientPool::new(opened.into_clients(), false);
    let mut writer = connect_database().await;
    let mut rounds = Rounds::default();
    for n in 0..if clients > 1000 { 25 } else { 65 } {
        pool.expect(count);
        let mut transaction = writer.begin().await?;
        update_entity(&mut transaction, entity_id(0)).await?;
        let started_at = Instant::now();
        transaction.commit().await?;
        let delivery = pool.wait_for_changes().await;
        // The first rounds are a warm-up.
        if n >= 5 || delivery.missing > 0 {
            rounds.add(started_at, &delivery);
        }
        if rounds.should_stop() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    rounds.print("fan", &pool, connections);
    Ok(())
}

/// Measures deliveries per second at rising write rates.
pub(crate) async fn sustained(address: &str, clients: usize) {
    let opened = open_clients(address, clients, |_| Subscription::Entities(vec![entity_id(0), entity_id(1)])).await;
    let (connections, count) = (opened.report(), opened.count());
    let pool = ClientPool::new(opened.into_clients(), false);
    for rate in [10, 20, 30, 40, 60, 80] {
        pool.expect(usize::MAX);
        let started_at = Instant::now();
        let writes = write_at_rate(&pool, rate, 5, |n| entity_id(n % 2)).await;
        // The feed coalesces changes of one entity in a log batch, so the number of deliveries is
        // not known before: wait until no more arrive.
        let mut received = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let changes = pool.results.lock().unwrap().changes;
            if changes == received {
                break;
            }
            received = changes;
        }
        let last_change_at = pool.results.lock().unwrap().last_change_at.unwrap_or_else(Instant::now);
        let seconds = (last_change_at - started_at).as_secs_f64();
        let possible = writes.committed.len() * count;
        let details = json!({
            "connections": connections, "closed": pool.closed(), "writes": rate, "failed_writes": writes.failed,
            "individual_share": received as f64 / possible.max(1) as f64,
        });
        print_result("sustained", &mut [received as f64 / seconds], details);
    }
}

/// Resident memory of a process in kilobytes.
fn resident_kilobytes(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the server process does not exist");
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Measures the resident memory of the server per connection.
pub(crate) async fn idle(address: &str, clients: usize, watches: usize, pid: u32) {
    // The first connections allocate memory that is shared by all.
    drop(open_clients(address, 100, |_| Subscription::Nothing).await);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = resident_kilobytes(pid);
    let subscription = |n: usize| match watches {
        0 => Subscription::Nothing,
        _ => Subscription::Entities((0..watches).map(|k| entity_id(n * 131 + k * 97)).collect()),
    };
    let opened = open_clients(address, clients, subscription).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let per_connection = (resident_kilobytes(pid) - before) / opened.count().max(1) as f64;
    print_result("idle", &mut [per_connection], json!({"connections": opened.report()}));
}

/// Returns the bytes in the outbound queues of the server.
async fn queued_bytes(address: &str) -> std::io::Result<f64> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    let is_queue_size = |line: &&str| QUEUE_METRICS.iter().any(|metric| line.starts_with(metric));
    let value = text.lines().find(is_queue_size).and_then(|line| line.rsplit(' ').next()?.parse().ok());
    Ok(value.unwrap_or(0.0))
}

/// Measures the time until all clients have received a large transaction.
pub(crate) async fn burst(address: &str, clients: usize, rows: usize) -> sqlx::Result<()> {
    let opened = open_clients(address, clients, |_| Subscription::Type).await;
    let (connections, count) = (opened.report(), opened.count().max(1));
    let pool = ClientPool::new(opened.into_clients(), false);
    pool.expect(count * rows);
    let mut writer = connect_database().await;
    let mut transaction = writer.begin().await?;
    let ids: Vec<Uuid> = (0..rows).map(|_| Uuid::now_v7()).collect();
    insert_linked_entities(&mut transaction, &ids, "b").await?;
    let started_at = Instant::now();
    transaction.commit().await?;
    let mut max_queued = 0.0_f64;
    let delivery = {
        let mut delivery = std::pin::pin!(pool.wait_for_changes());
        loop {
            tokio::select! {
                delivery = &mut delivery => break delivery,
                () = tokio::time::sleep(Duration::from_millis(20)) => {
                    max_queued = max_queued.max(queued_bytes(address).await.unwrap_or(0.0));
                }
            }
        }
    };
    let details = json!({
        "connections": connections, "closed": pool.closed(), "missing_changes": delivery.missing,
        "frames": pool.results.lock().unwrap().frames / count, "queued_each": max_queued / count as f64,
    });
    let last_change_at = delivery.last_change_at.unwrap_or_else(Instant::now);
    print_result("burst", &mut [milliseconds(last_change_at - started_at)], details);
    Ok(())
}
