//! Load generator of `just bench feed`.
//!
//! It runs thousands of WebSocket clients, concurrent writes, and the floors that they are compared
//! with. Each measurement is printed as one line of JSON; `bench/feed.mjs` runs the scenarios and
//! prints the table. Clients that cannot connect and changes that do not arrive are counted in the
//! output; the scenario goes on without them.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a broken set-up ends the scenario with the reason

mod connect;
mod floor;
mod receive;
mod scenario;
mod write;

use clap::{Parser, Subcommand};
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;

/// Distinct users behind the clients.
const USERS: usize = 500;
/// Entities that clients can subscribe to.
const ENTITIES: usize = 10_000;
/// A wait for changes ends if none arrives for this time.
const STALL_TIMEOUT: Duration = Duration::from_secs(15);
/// A scenario ends after this number of rounds in which changes were missing.
const MAX_INCOMPLETE_ROUNDS: usize = 3;

#[derive(Parser)]
struct Args {
    /// Host and port of the server.
    #[arg(long, default_value = "127.0.0.1:4301")]
    service: String,
    /// Process id of the server, for its memory usage.
    #[arg(long, default_value_t = 0)]
    pid: u32,
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand)]
enum Scenario {
    /// Creates users, entities and grants.
    Prepare,
    /// Floor: a server that broadcasts each text frame to all connections.
    BroadcastServer,
    /// Floor: time from a frame to the broadcast server until the last of `clients` has received
    /// it.
    Broadcast { clients: usize },
    /// Floor: time from NOTIFY to its arrival at a LISTEN connection.
    Notify,
    /// Time from COMMIT until one client is notified.
    Commit,
    /// Delivery latency at a constant write rate, with `clients` that each subscribe to some
    /// entities.
    Rate { clients: usize, writes: usize },
    /// Time from COMMIT until the last of `clients` is notified of a change of one entity.
    Fan { clients: usize },
    /// Deliveries per second to `clients` that subscribe to the same two entities.
    Sustained { clients: usize },
    /// Resident memory of the server per connection, each with `watches` subscriptions.
    Idle { clients: usize, watches: usize },
    /// Time until `clients` with a type subscription have received one transaction of `rows` rows.
    Burst { clients: usize, rows: usize },
    /// As `rate`, with a large write and one additional client that subscribes to the type and,
    /// without `--reads`, never reads.
    Stalled {
        clients: usize,
        writes: usize,
        #[arg(long)]
        reads: bool,
    },
}

fn user_id(n: usize) -> Uuid {
    Uuid::from_u128(0x5000_0000_0000 + (n % USERS) as u128)
}

fn entity_id(n: usize) -> Uuid {
    Uuid::from_u128(0x6000_0000_0000 + (n % ENTITIES) as u128)
}

fn project_id() -> Uuid {
    Uuid::from_u128(0x7000_0000_0000)
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Prints a measurement as one line of JSON.
fn print_result(name: &str, values: &mut [f64], details: Value) {
    values.sort_by(f64::total_cmp);
    let percentile =
        |part: f64| values.get(((values.len() as f64 * part) as usize).min(values.len().saturating_sub(1))).copied();
    println!(
        "{}",
        json!({
            "name": name, "p50": percentile(0.5), "p95": percentile(0.95), "p99": percentile(0.99),
            "count": values.len(), "details": details,
        })
    );
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> sqlx::Result<()> {
    let args = Args::parse();
    let address = args.service.as_str();
    match args.scenario {
        Scenario::Prepare => write::prepare().await?,
        Scenario::BroadcastServer => floor::run_broadcast_server(address).await,
        Scenario::Broadcast { clients } => floor::broadcast(address, clients).await,
        Scenario::Notify => floor::notify().await?,
        Scenario::Commit => scenario::commit(address).await?,
        Scenario::Rate { clients, writes } => scenario::rate(address, clients, writes, None).await?,
        Scenario::Stalled { clients, writes, reads } => scenario::rate(address, clients, writes, Some(reads)).await?,
        Scenario::Fan { clients } => scenario::fan_out(address, clients).await?,
        Scenario::Sustained { clients } => scenario::sustained(address, clients).await,
        Scenario::Idle { clients, watches } => scenario::idle(address, clients, watches, args.pid).await,
        Scenario::Burst { clients, rows } => scenario::burst(address, clients, rows).await?,
    }
    Ok(())
}
