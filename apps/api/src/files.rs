//! Files of artifacts: resumable uploads, content-addressed storage, downloads by signed URL.
//!
//! An upload is created, receives parts (each continues at the stored offset) and is completed into
//! an artifact. A download URL is signed for one person; each download checks the person's
//! permission again. File contents never change: a new version is another artifact that supersedes
//! the first.
//!
//! Must not: serve content for inline display if a browser could execute it.

mod artifact; // what all routes need
pub mod blob_store; // content-addressed storage
mod download; // signed URLs and downloads
pub mod media_type; // media type detection and file names
mod uploads; // resumable uploads

pub use download::is_compressible;

use crate::error::ApiError;
use crate::state::AppState;
use blob_store::{BlobStore, StoreError};
use pmo_database::{Connection, DatabaseError, upload};
use std::time::Duration;
use utoipa_axum::{router::OpenApiRouter, routes};

/// Minimum age of unreferenced blobs before they are deleted.
///
/// An upload that is being completed touches its blob first and is therefore safe.
const ORPHAN_AGE: Duration = Duration::from_secs(86_400);

/// Returns the routes of this module.
#[expect(deprecated, reason = "clients of the previous version use the old paths")]
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(uploads::list_uploads, uploads::create_upload))
        .routes(routes!(uploads::get_upload, uploads::upload_part, uploads::cancel_upload))
        .routes(routes!(uploads::complete_upload))
        .routes(routes!(uploads::complete_upload_at_old_path))
        .routes(routes!(download::get_download_url))
        .routes(routes!(download::get_download_url_at_old_path))
        .routes(routes!(download::download))
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Locked => Self::Locked,
            StoreError::OffsetMismatch(offset) => Self::UploadOffsetMismatch(offset),
            StoreError::SizeExceeded => Self::PayloadTooLarge("The upload is larger than announced.".into()),
            StoreError::Interrupted => Self::bad_request("body", "is truncated; received bytes are kept"),
            StoreError::StorageFull => Self::InsufficientStorage,
            StoreError::NotFound => Self::NotFound,
            StoreError::Io(error) => {
                tracing::error!(%error, "blob store error");
                Self::Internal
            }
        }
    }
}

/// Deletes abandoned uploads, and blobs that no artifact references.
///
/// An upload is abandoned after two days without a new part.
pub async fn collect_garbage(conn: &mut Connection, files: &dyn BlobStore) -> Result<(), DatabaseError> {
    let log_error = |error: &StoreError| tracing::warn!(%error, "blob cleanup failed; retrying in 1 h");
    for id in upload::delete_abandoned(conn).await? {
        let _ = files.discard(id).await.inspect_err(log_error);
    }
    let old = files.list_older_than(ORPHAN_AGE).await.inspect_err(log_error).unwrap_or_default();
    for keys in old.chunks(1000) {
        let referenced = upload::referenced_keys(conn, keys).await?;
        for orphan in keys.iter().filter(|key| !referenced.contains(key)) {
            let _ = files.delete_if_older(orphan, ORPHAN_AGE).await.inspect_err(log_error);
        }
    }
    Ok(())
}
