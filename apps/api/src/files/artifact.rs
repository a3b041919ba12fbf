//! Helpers of all file routes: a connection, and the artifacts that represent files.

use crate::error::{ApiError, Result};
use crate::state::{AppState, EntityModel};
use pmo_database::{Connection, DatabaseError, permission, row};
use pmo_domain::{EntityCode, Permission, PersonId, Row};
use uuid::Uuid;

/// Acquires a database connection.
pub(super) async fn connection(app: &AppState) -> Result<pmo_database::PoolConnection> {
    Ok(app.pool.acquire().await.map_err(DatabaseError::from)?)
}

/// Returns an artifact and the permission of a person on it; 404 if they may not see it.
pub(super) async fn visible_artifact(
    conn: &mut Connection,
    model: &EntityModel,
    person: PersonId,
    id: Uuid,
) -> Result<(Permission, Row)> {
    let code = EntityCode::new("artifact").map_err(|_| ApiError::Internal)?;
    let level = permission::permission_on(conn, person, &code, id).await?.ok_or(ApiError::NotFound)?;
    let row =
        row::by_id(conn, model.entity("artifact")?, id, row::DeletedRows::Exclude).await?.ok_or(ApiError::NotFound)?;
    Ok((level, row))
}
