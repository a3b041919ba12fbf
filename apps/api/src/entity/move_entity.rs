//! Route that moves an entity within its outline.

use super::MutationResponse;
use super::mutation::MutationKind;
use super::outline_move::{MoveRequest, parent_column};
use super::read::parse_id;
use super::write::run_mutation;
use crate::auth::AuthUser;
use crate::error::{ApiError, Result};
use crate::extract::JsonBody;
use crate::state::AppState;
use axum::extract::{Path, State};
use axum::http::HeaderMap;

/// Moves an entity and its subtree within its outline. Outline numbers are updated.
#[utoipa::path(post, path = "/{entity}/{id}/move", tag = "entities", request_body = MoveRequest, params(
    ("entity" = String, Path, description = "Entity type code", example = "task"), ("id" = Uuid, Path, description = "Entity id"),
    ("If-Match" = Option<String>, Header, description = "Version that the client knows"),
    ("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key returns the stored response")), responses(
    (status = 200, description = "The row", body = Object), (status = 400, description = "Not JSON"), (status = 401, description = "Not signed in"),
    (status = 403, description = "Forbidden: requires EDIT"), (status = 404, description = "Not found, not visible to the caller, or the type has no rank"),
    (status = 412, description = "Version conflict"), (status = 413, description = "Body too large"), (status = 415, description = "Unsupported media type; send JSON"),
    (status = 422, description = "Invalid target position")))]
pub(super) async fn move_entity(
    State(app): State<AppState>,
    user: AuthUser,
    Path((code, id)): Path<(String, String)>,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<MutationResponse> {
    let target: MoveRequest =
        serde_json::from_value(body.clone()).map_err(|e| ApiError::unprocessable("body", e.to_string()))?;
    let model = app.model_for_type(&code).await?;
    let entity = model.entity(&code)?;
    if entity.column("rank").is_none() || entity.column(&parent_column(entity)).is_none() {
        return Err(ApiError::NotFound);
    }
    run_mutation(&app, &user, &model, MutationKind::Move(target), (&code, parse_id(&id)?), &headers, body).await
}
