//! Floors: a bare WebSocket broadcast and a bare LISTEN/NOTIFY loop.

use crate::connect::open_broadcast_clients;
use crate::receive::{ClientPool, Rounds};
use crate::write::{connect_database, database_url};
use crate::{milliseconds, print_result};
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use sqlx::postgres::PgListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// Broadcasts each text frame to all connections.
pub(crate) async fn run_broadcast_server(address: &str) {
    let listener = TcpListener::bind(address).await.expect("cannot listen");
    let senders: Arc<Mutex<Vec<mpsc::UnboundedSender<Message>>>> = Arc::default();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Usually too many open files: wait until connections are closed.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        tokio::spawn(serve_broadcast(stream, senders.clone()));
    }
}

/// Serves one connection of the broadcast server.
async fn serve_broadcast(stream: TcpStream, senders: Arc<Mutex<Vec<mpsc::UnboundedSender<Message>>>>) {
    let config = WebSocketConfig::default().read_buffer_size(1024);
    let Ok(socket) = tokio_tungstenite::accept_async_with_config(stream, Some(config)).await else { return };
    let (mut outgoing, mut incoming) = socket.split();
    let (sender, mut frames) = mpsc::unbounded_channel();
    senders.lock().unwrap().push(sender);
    loop {
        tokio::select! {
            frame = frames.recv() => {
                let Some(frame) = frame else { return };
                if outgoing.send(frame).await.is_err() {
                    return;
                }
            }
            frame = incoming.next() => match frame {
                Some(Ok(frame @ Message::Text(_))) => {
                    senders.lock().unwrap().retain(|other| other.send(frame.clone()).is_ok());
                }
                Some(Ok(_)) => {}
                _ => return,
            }
        }
    }
}

/// Measures the time from a frame to the broadcast server until its last client has received it.
pub(crate) async fn broadcast(address: &str, count: usize) {
    // One client more than receivers: it sends.
    let opened = open_broadcast_clients(address, count + 1).await;
    let connections = opened.report();
    let mut clients = opened.into_clients();
    let mut sender = clients.pop().unwrap_or_else(|| panic!("cannot open a client: {connections}"));
    let receivers = clients.len();
    let pool = ClientPool::new(clients, false);
    let mut rounds = Rounds::default();
    // The same length as a frame of the feed with one change.
    let frame = format!("INVALIDATE \"entityId\" {}", "x".repeat(200));
    for _ in 0..if count > 1000 { 20 } else { 60 } {
        pool.expect(receivers);
        let started_at = Instant::now();
        if sender.send(Message::text(frame.clone())).await.is_err() {
            break;
        }
        rounds.add(started_at, &pool.wait_for_changes().await);
        if rounds.should_stop() {
            break;
        }
    }
    rounds.print("broadcast", &pool, connections);
}

/// Measures the time from NOTIFY to its arrival at a LISTEN connection.
pub(crate) async fn notify() -> sqlx::Result<()> {
    let mut listener = PgListener::connect(&database_url()).await?;
    listener.listen("bench").await?;
    let mut writer = connect_database().await;
    let mut latencies = Vec::new();
    for n in 0..600 {
        let started_at = Instant::now();
        sqlx::query("select pg_notify('bench', '')").execute(&mut writer).await?;
        listener.recv().await?;
        if n >= 100 {
            latencies.push(milliseconds(started_at.elapsed()));
        }
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
    print_result("notify", &mut latencies, json!({}));
    Ok(())
}
