//! Moves within an outline: to another parent of the same type, or among siblings.
//!
//! Only types with a rank column support moves.

use super::authorization;
use crate::auth::AuthUser;
use crate::error::{ApiError, Result};
use crate::state::EntityModel;
use pmo_database::{Connection, row, sibling_order};
use pmo_domain::{EntityType, Permission, Row, fractional_index};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// Target position of a move.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MoveRequest {
    /// New parent; null moves the entity to the top level.
    parent: Option<Uuid>,
    /// Sibling that precedes the entity; null makes it the first.
    after: Option<Uuid>,
}

/// Returns the name of the column that references a parent of the same type.
pub(super) fn parent_column(entity: &EntityType) -> String {
    format!("parent__{}_id", entity.code)
}

/// Moves an entity to `target`.
///
/// The caller has checked that the user may edit the entity and passes the user's permission and
/// the current row. Checks here that the user may move it to the new parent.
pub(super) async fn apply_move(
    conn: &mut Connection,
    model: &EntityModel,
    user: &AuthUser,
    entity: &EntityType,
    (level, current): (Permission, &Row),
    target: &MoveRequest,
) -> Result<()> {
    let id = pmo_domain::api_types::row_id(current).ok_or(ApiError::Internal)?;
    let mut values =
        Row::from_iter([(parent_column(entity), target.parent.map_or(Value::Null, |parent| json!(parent)))]);
    values.retain(|name, value| current.get(name) != Some(value));
    authorization::check_references(conn, model, user.person, entity, &values, Some(current)).await?;
    authorization::check_can_move(conn, model, user.person, entity, level, current, &values).await?;
    let siblings = sibling_order::siblings(conn, entity, id, target.parent).await?;
    let (low, high) = match target.after {
        None => (None, siblings.first()),
        Some(after) => {
            let index = siblings.iter().position(|s| s.0 == after);
            let index = index.ok_or_else(|| ApiError::unprocessable("after", "is not a child of that parent"))?;
            (siblings.get(index), siblings.get(index + 1))
        }
    };
    let rank = fractional_index::key_between(low.map(|s| s.1.as_str()), high.map(|s| s.1.as_str()));
    values.insert("rank".into(), json!(rank));
    row::update(conn, entity, id, &values).await?;
    if entity.column("wbs").is_some() {
        sibling_order::renumber(conn, entity, id).await?;
    }
    Ok(())
}
