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
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Rings once for all who ask while the ring before is under way.
#[derive(Clone)]
pub struct FeedNotifier(Arc<Notify>);

impl FeedNotifier {
    /// Starts the one who rings, on a connection of its own.
    pub fn start(pool: Pool) -> Self {
        let asked = Arc::new(Notify::new());
        tokio::spawn(notify_loop(pool, asked.clone()));
        Self(asked)
    }
}

async fn notify_loop(pool: Pool, asked: Arc<Notify>) {
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
        tokio::time::sleep(RETRY_DELAY).await;
    }
}

/// Rings when a request that may have written is over, and so its transaction; also where its client went away meanwhile.
pub async fn notify_after_response(State(doorbell): State<FeedNotifier>, request: Request, next: Next) -> Response {
    let _ring = (!request.method().is_safe()).then(|| NotifyOnDrop(doorbell));
    next.run(request).await
}

struct NotifyOnDrop(FeedNotifier);

impl Drop for NotifyOnDrop {
    fn drop(&mut self) {
        self.0.0.notify_one();
    }
}
