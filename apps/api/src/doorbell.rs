//! The ring of the feed's doorbell by the api, after its writes are committed: the other way than by the writing transaction itself. It must never
//! be the only thing that tells the feed: a ring that is lost costs one look by the clock.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use pmo_database::Pool;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// How long a database that did not take a ring is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// Rings once for all who ask while the ring before is under way.
#[derive(Clone)]
pub struct Doorbell(Arc<Notify>);

impl Doorbell {
    /// Starts the one who rings, on a connection of its own.
    pub fn start(pool: Pool) -> Self {
        let asked = Arc::new(Notify::new());
        tokio::spawn(ring(pool, asked.clone()));
        Self(asked)
    }
}

async fn ring(pool: Pool, asked: Arc<Notify>) {
    while !pool.is_closed() {
        let rung: Result<(), pmo_database::DatabaseError> = async {
            let mut connection = pool.acquire().await?;
            loop {
                asked.notified().await;
                pmo_database::change_log::notify(&mut connection).await?;
            }
        }
        .await;
        if let Err(error) = rung {
            tracing::warn!(%error, "the doorbell could not be rung; the feed looks by itself now and then");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Rings when a request that may have written is over, and so its transaction; also where its client went away meanwhile.
pub async fn ring_after(State(doorbell): State<Doorbell>, request: Request, next: Next) -> Response {
    let _ring = (!request.method().is_safe()).then(|| AtTheEnd(doorbell));
    next.run(request).await
}

struct AtTheEnd(Doorbell);

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        self.0.0.notify_one();
    }
}
