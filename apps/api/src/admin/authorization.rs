//! Check that a user may administer the installation.

use crate::auth::AuthUser;
use crate::error::{ApiError, Result};
use pmo_database::{Connection, permission};
use pmo_domain::EntityCode;

/// Fails with 403 unless the user is an administrator.
///
/// `action` completes the error message "Only administrators may …".
pub(crate) async fn require_administrator(conn: &mut Connection, user: &AuthUser, action: &str) -> Result<()> {
    let role = EntityCode::new("role").map_err(|_| ApiError::Internal)?;
    if permission::can_create(conn, user.person, &role).await? {
        return Ok(());
    }
    Err(ApiError::Forbidden(format!("Only administrators may {action}.")))
}
