//! Who looks at what: over real sockets, on one pod and between two.

use crate::service::{Client, Server};
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

async fn look(client: &mut Client, things: &[Uuid]) {
    let things: Vec<Value> = things.iter().map(|id| json!({"entityCode": "project", "entityId": id})).collect();
    client.send(json!({"type": "LOOKING", "payload": {"things": things}})).await;
}

fn people(told: &Value) -> Vec<Uuid> {
    told["people"].as_array().unwrap().iter().map(|p| p["personId"].as_str().unwrap().parse().unwrap()).collect()
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn who_looks_at_the_same_is_told_of_each_other_on_whichever_pod_until_access_ends(pool: PgPool) {
    let (one, two) = (Server::start(&pool).await, Server::start(&pool).await);
    let project = one.project().await;
    let (a, b, stranger) = (one.person(Some((project, 0))).await, one.person(None).await, one.person(None).await);
    let grant = one.grant(b, project, 0).await;
    let mut here = one.connect(a).await;
    let mut there = two.connect(b).await;
    let mut outside = one.connect(stranger).await;
    look(&mut here, &[project]).await;
    assert_eq!(people(&here.next("PRESENCE").await), [] as [Uuid; 0]);
    look(&mut outside, &[project]).await;
    outside.only_pong().await;
    look(&mut there, &[project]).await;
    // Whichever pod hears first: in the end each knows of the other.
    while people(&here.next("PRESENCE").await) != [b] {}
    while people(&there.next("PRESENCE").await) != [a] {}
    sqlx::query("delete from app.entity_rbac where id = $1").bind(grant).execute(&pool).await.unwrap();
    while people(&here.next("PRESENCE").await) != [] as [Uuid; 0] {}
    drop(here);
    outside.only_pong().await;
}
