//! Tests of presence over real connections, on one pod and between two.

use crate::service::{Client, Server};
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

fn viewed(projects: &[Uuid]) -> Vec<Value> {
    projects.iter().map(|id| json!({"entityCode": "project", "entityId": id})).collect()
}

async fn view(client: &mut Client, projects: &[Uuid]) {
    client.send(json!({"type": "VIEWING", "payload": {"entities": viewed(projects)}})).await;
}

/// Sends the names of protocol version 1.
async fn view_as_version_1(client: &mut Client, projects: &[Uuid]) {
    client.send(json!({"type": "LOOKING", "payload": {"things": viewed(projects)}})).await;
}

fn people(payload: &Value) -> Vec<Uuid> {
    payload["people"].as_array().unwrap().iter().map(|p| p["personId"].as_str().unwrap().parse().unwrap()).collect()
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn viewers_see_each_other_on_all_pods_until_access_ends(pool: PgPool) {
    let (one, two) = (Server::start(&pool).await, Server::start(&pool).await);
    let project = one.project().await;
    let (a, b, other) = (one.person(Some((project, 0))).await, one.person(None).await, one.person(None).await);
    let grant = one.grant(b, project, 0).await;
    let mut first = one.connect(a).await;
    let mut second = two.connect(b).await;
    let mut unauthorized = one.connect(other).await;
    view_as_version_1(&mut first, &[project]).await;
    assert_eq!(people(&first.next("PRESENCE").await), [] as [Uuid; 0]);
    view(&mut unauthorized, &[project]).await;
    unauthorized.only_pong().await;
    view(&mut second, &[project]).await;
    // The order of the notifications is not fixed; in the end both clients know of each other.
    while people(&first.next("PRESENCE").await) != [b] {}
    while people(&second.next("PRESENCE").await) != [a] {}
    sqlx::query("delete from app.entity_rbac where id = $1").bind(grant).execute(&pool).await.unwrap();
    while people(&first.next("PRESENCE").await) != [] as [Uuid; 0] {}
    drop(first);
    unauthorized.only_pong().await;
}
