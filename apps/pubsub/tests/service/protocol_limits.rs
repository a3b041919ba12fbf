//! Tokens, bad frames, limits.

use crate::service::{QUICK, Server, token};
use futures_util::SinkExt;
use serde_json::json;
use sqlx::PgPool;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn tokens_open_warn_and_close(pool: PgPool) {
    let server = Server::start(&pool).await;
    let person = server.person(None).await;
    assert_eq!(server.raw("/?token=nonsense").await.closed_with().await, 4001);
    assert_eq!(server.raw(&format!("/ws?token={}", token(person, -5))).await.closed_with().await, 4002);
    let mut by_message = server.raw("/ws").await;
    by_message.send(json!({"type": "AUTH", "payload": {"token": token(person, 900)}})).await;
    by_message.next("HELLO").await;
    let mut silent = server.raw("/ws").await;
    silent.send(json!({"type": "PING"})).await;
    assert_eq!(silent.closed_with().await, 4001, "the first message must say who it is");
    let mut soon = server.raw(&format!("/?token={}", token(person, 3))).await;
    soon.next("HELLO").await;
    assert!(soon.next("TOKEN_EXPIRING_SOON").await["expiresIn"].as_i64().unwrap() <= 3);
    soon.send(json!({"type": "TOKEN_REFRESH", "payload": {"token": token(person, 900)}})).await;
    soon.quiet().await;
    let mut over = server.raw(&format!("/?token={}", token(person, 2))).await;
    assert_eq!(over.closed_with().await, 4002);
    let other = server.person(None).await;
    soon.send(json!({"type": "TOKEN_REFRESH", "payload": {"token": token(other, 900)}})).await;
    assert_eq!(soon.closed_with().await, 4001, "a socket stays its person's");
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn bad_frames_are_answered_and_a_flood_is_ended(pool: PgPool) {
    let server = Server::start(&pool).await;
    let mut client = server.connect(server.person(None).await).await;
    for frame in [
        "",
        "[]",
        "{}",
        r#"{"type":"NOPE"}"#,
        r#"{"type":"SUBSCRIBE","payload":{"entityCode":"x; drop table"}}"#,
        r#"{"type":"SUBSCRIBE","payload":{"entityCode":"task","entityIds":["1"]}}"#,
    ] {
        client.socket.send(Message::text(frame)).await.unwrap();
        assert_eq!(client.next("ERROR").await["code"], "bad_message", "{frame}");
    }
    client.socket.send(Message::text(format!(r#"{{"type":"PING","x":"{}"}}"#, "y".repeat(300_000)))).await.unwrap();
    assert_eq!(client.next("ERROR").await["code"], "too_large");
    client.quiet().await;
    for _ in 0..60 {
        if client.socket.send(Message::text("nonsense")).await.is_err() {
            break;
        }
    }
    assert_eq!(client.closed_with().await, 1008);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_page_of_another_site_may_not_connect(pool: PgPool) {
    let server = Server::start(&pool).await;
    let mut request = format!("ws://{}/ws", server.address).into_client_request().unwrap();
    request.headers_mut().insert("origin", "https://evil.example".parse().unwrap());
    assert!(connect_async(request).await.is_err());
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn one_person_has_so_many_sockets_and_no_more(pool: PgPool) {
    let server = Server::start_with(&pool, &[&QUICK[..], &["--connections-per-person", "2"]].concat()).await;
    let (person, other) = (server.person(None).await, server.person(None).await);
    let (_first, mut second) = (server.connect(person).await, server.connect(person).await);
    assert_eq!(server.raw(&format!("/?token={}", token(person, 900))).await.closed_with().await, 1008);
    server.connect(other).await.quiet().await;
    second.quiet().await;
}
