//! What all routes of files need: a connection, and the type that represents files.

use crate::error::{ApiError, Result};
use crate::state::AppState;
use pmo_database::DatabaseError;
use pmo_domain::EntityCode;

/// Acquires a database connection.
pub(super) async fn connection(app: &AppState) -> Result<pmo_database::PoolConnection> {
    Ok(app.pool.acquire().await.map_err(DatabaseError::from)?)
}

/// Returns the type code of artifacts.
pub(super) fn artifact_code() -> Result<EntityCode> {
    EntityCode::new("artifact").map_err(|_| ApiError::Internal)
}
