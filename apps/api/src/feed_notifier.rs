//! NOTIFY to the change feed after a request has committed.
//!
//! The alternative to NOTIFY by the writing transaction itself.
//!
//! Must not: be the only way for the feed to learn of changes. A lost NOTIFY delays delivery until
//! the next poll.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use pmo_database::Pool;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Pause after a failed NOTIFY.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Handle to the notifier task.
///
/// Requests that arrive during a NOTIFY are coalesced into the next one.
#[derive(Clone)]
pub(crate) struct FeedNotifier(Arc<Notify>);

impl FeedNotifier {
    /// Starts the notifier task, which uses a connection of its own.
    pub(crate) fn start(pool: Pool) -> Self {
        let notify = Arc::new(Notify::new());
        tokio::spawn(notify_loop(pool, notify.clone()));
        Self(notify)
    }
}

async fn notify_loop(pool: Pool, notify: Arc<Notify>) {
    while !pool.is_closed() {
        let result: Result<(), pmo_database::DatabaseError> = async {
            let mut connection = pool.acquire().await?;
            loop {
                notify.notified().await;
                pmo_database::change_log::notify(&mut connection).await?;
            }
        }
        .await;
        if let Err(error) = result {
            tracing::warn!(%error, "NOTIFY failed; the feed falls back to polling");
        }
        tokio::time::sleep(RETRY_DELAY).await;
    }
}

/// Requests a NOTIFY when a request that may have written ends.
///
/// By then the transaction has ended, too. Also covers requests that are dropped because the client
/// disconnects.
pub(crate) async fn notify_after_response(
    State(notifier): State<FeedNotifier>,
    request: Request,
    next: Next,
) -> Response {
    let _guard = (!request.method().is_safe()).then(|| NotifyOnDrop(notifier));
    next.run(request).await
}

struct NotifyOnDrop(FeedNotifier);

impl Drop for NotifyOnDrop {
    fn drop(&mut self) {
        self.0.0.notify_one();
    }
}
