//! Moves within an outline: to another parent of the same type, or among siblings.
//!
//! Only types with a rank column support moves.

use super::authorization::{self, Change};
use super::write_context::{Target, WriteContext};
use crate::error::{ApiError, Result};
use pmo_database::{Connection, row, sibling_order};
use pmo_domain::api_types::row_id;
use pmo_domain::{EntityType, Row, fractional_index};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// Target position of a move.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"parent": "8a1f0c6e-3b57-4d0a-9c55-0d3b3d0f9a11", "after": null})))]
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

/// Checks that the writer may move an entity to `position`; returns the column values to write.
///
/// The caller has checked that the writer may edit the entity.
pub(super) async fn plan_move(
    context: &mut WriteContext<'_>,
    entity: &EntityType,
    target: &Target,
    position: &MoveRequest,
) -> Result<Row> {
    let current = &target.current;
    let id = row_id(current).ok_or(ApiError::Internal)?;
    let mut values =
        Row::from_iter([(parent_column(entity), position.parent.map_or(Value::Null, |parent| json!(parent)))]);
    values.retain(|name, value| current.get(name) != Some(value));
    let change = Change { entity, values: &values, current: Some(current) };
    authorization::check_references(context, &change).await?;
    authorization::check_can_move(context, target.level, &change).await?;
    let siblings = sibling_order::siblings(context.conn, entity, id, position.parent).await?;
    let (low, high) = match position.after {
        None => (None, siblings.first()),
        Some(after) => {
            let index = siblings.iter().position(|sibling| sibling.id == after);
            let index = index.ok_or_else(|| ApiError::unprocessable("after", "is not a child of that parent"))?;
            (siblings.get(index), siblings.get(index + 1))
        }
    };
    let (low, high) = (low.map(|s| s.rank.as_str()), high.map(|s| s.rank.as_str()));
    let mut rank = fractional_index::key_between(low, high);
    // A rank that a change of the parent leaves as it is counts as not set: the database would
    // append the entity to the new siblings.
    if !values.is_empty() && current.get("rank").and_then(Value::as_str) == Some(&rank) {
        rank = fractional_index::key_between(Some(&rank), high);
    }
    values.insert("rank".into(), json!(rank));
    Ok(values)
}

/// Writes the values of [`plan_move`] and renumbers the outline.
pub(super) async fn apply_move(conn: &mut Connection, entity: &EntityType, id: Uuid, values: &Row) -> Result<()> {
    row::update(conn, entity, id, values).await?;
    if entity.column("wbs").is_some() {
        sibling_order::renumber(conn, entity, id).await?;
    }
    Ok(())
}
