//! Tests of tokens, invalid frames and limits.

use crate::service::{QUICK, Server, token};
use futures_util::SinkExt;
use serde_json::json;
use sqlx::PgPool;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn tokens_authenticate_warn_and_expire(pool: PgPool) {
    let server = Server::start(&pool).await;
    let person = server.person(None).await;
    assert_eq!(server.raw("/?token=nonsense").await.closed_with().await, 4001);
    assert_eq!(server.raw(&format!("/ws?token={}", token(person, -5))).await.closed_with().await, 4002);
    let mut by_message = server.raw("/ws").await;
    by_message.send(json!({"type": "AUTH", "payload": {"token": token(person, 900)}})).await;
    by_message.next("HELLO").await;
    let mut unauthenticated = server.raw("/ws").await;
    unauthenticated.send(json!({"type": "PING"})).await;
    assert_eq!(unauthenticated.closed_with().await, 4001, "the first message must be AUTH");
    let mut expiring = server.raw(&format!("/?token={}", token(person, 3))).await;
    expiring.next("HELLO").await;
    assert!(expiring.next("TOKEN_EXPIRING_SOON").await["expiresIn"].as_i64().unwrap() <= 3);
    expiring.send(json!({"type": "TOKEN_REFRESH", "payload": {"token": token(person, 900)}})).await;
    expiring.quiet().await;
    let mut expired = server.raw(&format!("/?token={}", token(person, 2))).await;
    assert_eq!(expired.closed_with().await, 4002);
    let other = server.person(None).await;
    expiring.send(json!({"type": "TOKEN_REFRESH", "payload": {"token": token(other, 900)}})).await;
    assert_eq!(expiring.closed_with().await, 4001, "a connection never changes its user");
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn invalid_frames_get_errors_and_floods_close_the_connection(pool: PgPool) {
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
async fn pages_of_other_origins_cannot_connect(pool: PgPool) {
    let server = Server::start(&pool).await;
    let mut request = format!("ws://{}/ws", server.address).into_client_request().unwrap();
    request.headers_mut().insert("origin", "https://evil.example".parse().unwrap());
    assert!(connect_async(request).await.is_err());
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn connections_per_user_are_limited(pool: PgPool) {
    let server = Server::start_with(&pool, &[&QUICK[..], &["--connections-per-person", "2"]].concat()).await;
    let (person, other) = (server.person(None).await, server.person(None).await);
    let (_first, mut second) = (server.connect(person).await, server.connect(person).await);
    assert_eq!(server.raw(&format!("/?token={}", token(person, 900))).await.closed_with().await, 1008);
    server.connect(other).await.quiet().await;
    second.quiet().await;
}
