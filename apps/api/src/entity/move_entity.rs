//! Moving a thing by hand: below another of its kind, before or after a sibling. For types that keep a rank.

use super::mutation::MutationKind;
use super::read::id_of;
use super::write::run_mutation;
use super::{MutationResponse, validation};
use crate::auth::AuthUser;
use crate::error::{ApiError, Result};
use crate::extract::JsonBody;
use crate::state::{AppState, EntityModel};
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use pmo_database::{Connection, row, sibling_order};
use pmo_domain::{EntityType, Permission, Row, fractional_index};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// Where to.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveRequest {
    /// The thing to be below; null: at the top.
    parent: Option<Uuid>,
    /// The sibling to come after; null: first of all.
    after: Option<Uuid>,
}

/// Move a thing in its outline, with everything below it. The numbers of the outline follow.
#[utoipa::path(post, path = "/{entity}/{id}/move", tag = "things", request_body = MoveRequest, params(
    ("entity" = String, Path, description = "The type's code", example = "task"), ("id" = Uuid, Path, description = "The thing"),
    ("If-Match" = Option<String>, Header, description = "The version that the asker knows"),
    ("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same key gets the first answer")), responses(
    (status = 200, description = "The row", body = Object), (status = 400, description = "Not JSON"), (status = 401, description = "Not signed in"),
    (status = 403, description = "May see, may not move"), (status = 404, description = "Not there, not for this writer, or its type has no order"),
    (status = 412, description = "Changed meanwhile"), (status = 413, description = "Too large"), (status = 415, description = "Not JSON by its type"),
    (status = 422, description = "It can't go there")))]
pub(super) async fn move_entity(
    State(app): State<AppState>,
    who: AuthUser,
    Path((code, id)): Path<(String, String)>,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<MutationResponse> {
    let to: MoveRequest =
        serde_json::from_value(body.clone()).map_err(|e| ApiError::unprocessable("body", e.to_string()))?;
    let model = app.model_for_type(&code).await?;
    let entity = model.entity(&code)?;
    if entity.column("rank").is_none() || entity.column(&parent_column(entity)).is_none() {
        return Err(ApiError::NotFound);
    }
    run_mutation(&app, &who, &model, MutationKind::Move(to), (&code, id_of(&id)?), &headers, body).await
}

/// The column that names the thing above, of the same type.
fn parent_column(entity: &EntityType) -> String {
    format!("parent__{}_id", entity.code)
}

/// Puts a thing, whose writer may edit it, where `to` says.
pub(super) async fn apply_move(
    c: &mut Connection,
    model: &EntityModel,
    who: &AuthUser,
    entity: &EntityType,
    (level, present): (Permission, &Row),
    to: &MoveRequest,
) -> Result<()> {
    let id = pmo_domain::api_types::row_id(present).ok_or(ApiError::Internal)?;
    let mut values = Row::from_iter([(parent_column(entity), to.parent.map_or(Value::Null, |p| json!(p)))]);
    values.retain(|name, value| present.get(name) != Some(value));
    validation::check_references(c, model, who.person, entity, &values, Some(present)).await?;
    validation::check_can_move(c, model, who.person, entity, level, present, &values).await?;
    let siblings = sibling_order::siblings(c, entity, id, to.parent).await?;
    let (low, high) = match to.after {
        None => (None, siblings.first()),
        Some(after) => {
            let at = siblings.iter().position(|s| s.0 == after);
            let at = at.ok_or_else(|| ApiError::unprocessable("after", "is no sibling there"))?;
            (siblings.get(at), siblings.get(at + 1))
        }
    };
    let rank = fractional_index::key_between(low.map(|s| s.1.as_str()), high.map(|s| s.1.as_str()));
    values.insert("rank".into(), json!(rank));
    row::update(c, entity, id, &values).await?;
    if entity.column("wbs").is_some() {
        sibling_order::renumber(c, entity, id).await?;
    }
    Ok(())
}
