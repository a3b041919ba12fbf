//! Route that moves an entity within its outline.

use super::mutation::MutationKind;
use super::outline_move::{MoveRequest, parent_column};
use super::stored_response::MutationResponse;
use super::write::WriteRequest;
use crate::error::{ApiError, Result};
use crate::extract::JsonBody;
use crate::openapi::{EntitySchema, InvalidJson, Unauthorized};
use axum::extract::Path;

/// Moves an entity and its subtree within its outline. Outline numbers are updated.
#[utoipa::path(post, path = "/{entity}/{id}/move", tag = "entities", request_body = MoveRequest, params(
    ("entity" = String, Path, description = "Entity type code", example = "task"), ("id" = Uuid, Path, description = "Entity id"),
    ("If-Match" = Option<String>, Header, description = "Version that the client knows"),
    ("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key returns the stored response")), responses(
    (status = 200, description = "The row", body = EntitySchema), InvalidJson, Unauthorized,
    (status = 403, description = "Forbidden: requires EDIT"), (status = 404, description = "Not found, not visible to the caller, or the type has no rank"),
    (status = 412, description = "Version conflict"),
    (status = 422, description = "Invalid target position")))]
pub(super) async fn move_entity(
    request: WriteRequest,
    Path(entity): Path<(String, String)>,
    JsonBody(body): JsonBody,
) -> Result<MutationResponse> {
    let position: MoveRequest =
        serde_json::from_value(body.clone()).map_err(|e| ApiError::unprocessable("body", e.to_string()))?;
    let model = request.app.model_for_type(&entity.0).await?;
    let entity_type = model.entity(&entity.0)?;
    if entity_type.column("rank").is_none() || entity_type.column(&parent_column(entity_type)).is_none() {
        return Err(ApiError::NotFound);
    }
    request.write(MutationKind::Move(position), entity, body).await
}
