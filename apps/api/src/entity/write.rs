//! POST, PATCH, PUT, DELETE, restore and purge: one write per request and transaction.

use super::mutation::{Mutation, MutationKind};
use super::read::{parse_id, row_response};
use super::stored_response::{MutationResponse, idempotency_key};
use super::write_context::WriteContext;
use crate::auth::AuthUser;
use crate::error::{ApiError, Result};
use crate::extract::JsonBody;
use crate::openapi::{EntitySchema, InvalidJson, NotVisible, Unauthorized};
use crate::state::{AppState, EntityModel};
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use pmo_database::DatabaseError;
use serde_json::{Value, json};
use uuid::Uuid;

impl IntoResponse for MutationResponse {
    fn into_response(self) -> Response {
        match self.body {
            Some(Value::Object(row)) if row.contains_key("version") => row_response(self.status, &row),
            Some(other) => (self.status, axum::Json(other)).into_response(),
            None => self.status.into_response(),
        }
    }
}

/// Returns the version in `If-Match`; of an `ETag`, only the version counts.
///
/// Returns `None` if the header is absent or `*`.
pub(crate) fn parse_if_match(headers: &HeaderMap) -> Result<Option<i64>> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let invalid = || ApiError::bad_request("If-Match", "must be a version such as \"3\", or an ETag");
    let text = value.to_str().map_err(|_| invalid())?.trim().trim_start_matches("W/").trim_matches('"');
    if text == "*" {
        return Ok(None);
    }
    let version = text.split('-').next().unwrap_or_default();
    version.parse().map(Some).map_err(|_| invalid())
}

/// Parts of a request that all writes need; the request fails with 401 without a valid token.
pub(crate) struct WriteRequest {
    /// State of the service.
    pub app: AppState,
    /// Writer.
    pub user: AuthUser,
    /// Headers, with version and idempotency key.
    pub headers: HeaderMap,
}

impl FromRequestParts<AppState> for WriteRequest {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self> {
        let user = AuthUser::from_request_parts(parts, app).await?;
        Ok(Self { app: app.clone(), user, headers: parts.headers.clone() })
    }
}

impl WriteRequest {
    /// Executes a write on an existing entity in a transaction of its own.
    pub(crate) async fn write(
        &self,
        action: MutationKind,
        (code, id): (String, String),
        body: Value,
    ) -> Result<MutationResponse> {
        let model = self.app.model_for_type(&code).await?;
        let id = parse_id(&id)?;
        self.execute(&model, Mutation::new(action, model.entity(&code)?, id, body)).await
    }

    /// Executes a write in a transaction of its own, with the version and key of the headers.
    async fn execute(&self, model: &EntityModel, mutation: Mutation<'_>) -> Result<MutationResponse> {
        let mutation = self.with_headers(mutation)?;
        let mut transaction = pmo_database::begin(&self.app.pool, &self.user.actor).await?;
        let response = mutation.execute(&mut transaction, model, &self.user).await?;
        transaction.commit().await.map_err(DatabaseError::from)?;
        Ok(response)
    }

    fn with_headers<'m>(&self, mutation: Mutation<'m>) -> Result<Mutation<'m>> {
        Ok(Mutation {
            version: parse_if_match(&self.headers)?,
            idempotency_key: idempotency_key(&self.headers)?,
            ..mutation
        })
    }
}

/// Creates an entity.
#[utoipa::path(post, path = "/{entity}", tag = "entities", request_body(content = Object, example = json!({"name": "Website relaunch"})), params(
    ("entity" = String, Path, description = "Entity type code", example = "project"),
    ("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key returns the stored response")), responses(
    (status = 201, description = "The row. The client may generate the id (UUID v7)", body = EntitySchema), InvalidJson,
    Unauthorized, (status = 403, description = "Forbidden: requires CREATE"), (status = 404, description = "No such type"),
    (status = 409, description = "Unique constraint violated"),
    (status = 422, description = "Validation failed; see `errors`")))]
pub(super) async fn create(
    request: WriteRequest,
    Path(code): Path<String>,
    JsonBody(body): JsonBody,
) -> Result<MutationResponse> {
    let model = request.app.model_for_type(&code).await?;
    let action = MutationKind::Create { parent_link: None };
    request.execute(&model, Mutation::new(action, model.entity(&code)?, Uuid::nil(), body)).await
}

/// Creates a child of an entity.
#[utoipa::path(post, path = "/{parent}/{id}/{child}", tag = "entities", request_body(content = Object, example = json!({"name": "Write the brief"})), params(
    ("parent" = String, Path, description = "Parent type code", example = "project"), ("id" = Uuid, Path, description = "Parent id"),
    ("child" = String, Path, description = "Child type code", example = "task"),
    ("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key returns the stored response")), responses(
    (status = 201, description = "The row", body = EntitySchema), InvalidJson, Unauthorized,
    (status = 403, description = "Forbidden: requires CREATE"), (status = 404, description = "Parent not found, or not visible to the caller"),
    (status = 409, description = "Unique constraint violated"),
    (status = 422, description = "Validation failed; see `errors`")))]
pub(super) async fn create_child(
    request: WriteRequest,
    Path((parent, id, child)): Path<(String, String, String)>,
    JsonBody(mut body): JsonBody,
) -> Result<MutationResponse> {
    let model = request.app.model_for_type(&parent).await?;
    let (parent, id, child) = (model.entity(&parent)?, parse_id(&id)?, model.entity(&child)?);
    let relation = model.catalog.child_relation(parent.code.as_str(), child.code.as_str()).ok_or(ApiError::NotFound)?;
    let parent_link = relation.parent_column.is_none().then(|| (parent.code.clone(), id));
    if let (Some(object), Some(column)) = (body.as_object_mut(), &relation.parent_column) {
        object.insert(column.clone(), json!(id));
        if let Some(code_column) = &relation.parent_type_column {
            object.insert(code_column.clone(), json!(parent.code));
        }
    }
    let mut transaction = pmo_database::begin(&request.app.pool, &request.user.actor).await?;
    let mut context = WriteContext::new(&mut transaction, &model, &request.user);
    context.permission_on(&parent.code, id).await?.ok_or(ApiError::NotFound)?;
    let mutation =
        request.with_headers(Mutation::new(MutationKind::Create { parent_link }, child, Uuid::nil(), body))?;
    let response = mutation.execute_in(&mut context).await?;
    transaction.commit().await.map_err(DatabaseError::from)?;
    Ok(response)
}

/// Updates some columns of an entity.
#[utoipa::path(patch, path = "/{entity}/{id}", tag = "entities", request_body(content = Object, example = json!({"descr": "Relaunch of the public website"})), params(
    ("entity" = String, Path, description = "Entity type code", example = "task"), ("id" = Uuid, Path, description = "Entity id"),
    ("If-Match" = Option<String>, Header, description = "Version that the change is based on"),
    ("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key returns the stored response")), responses(
    (status = 200, description = "The row", body = EntitySchema), InvalidJson, Unauthorized,
    (status = 403, description = "Forbidden: requires EDIT"), NotVisible,
    (status = 409, description = "Unique constraint violated"), (status = 412, description = "Precondition failed; `current` is the current row"), (status = 422, description = "Validation failed; see `errors`")))]
pub(super) async fn patch(
    request: WriteRequest,
    Path(entity): Path<(String, String)>,
    JsonBody(body): JsonBody,
) -> Result<MutationResponse> {
    request.write(MutationKind::Update, entity, body).await
}

/// Replaces an entity: columns missing from the body are cleared.
#[utoipa::path(put, path = "/{entity}/{id}", tag = "entities", request_body(content = Object, example = json!({"name": "Website relaunch"})), params(
    ("entity" = String, Path, description = "Entity type code", example = "task"), ("id" = Uuid, Path, description = "Entity id"),
    ("If-Match" = Option<String>, Header, description = "Version that the change is based on"),
    ("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key returns the stored response")), responses(
    (status = 200, description = "The row", body = EntitySchema), InvalidJson, Unauthorized,
    (status = 403, description = "Forbidden: requires EDIT"), NotVisible,
    (status = 409, description = "Unique constraint violated"), (status = 412, description = "Version conflict"), (status = 422, description = "Validation failed; see `errors`")))]
pub(super) async fn put(
    request: WriteRequest,
    Path(entity): Path<(String, String)>,
    JsonBody(body): JsonBody,
) -> Result<MutationResponse> {
    request.write(MutationKind::Replace, entity, body).await
}

/// Deletes an entity and its owned descendants. They can be restored.
#[utoipa::path(delete, path = "/{entity}/{id}", tag = "entities", params(
    ("entity" = String, Path, description = "Entity type code", example = "task"), ("id" = Uuid, Path, description = "Entity id"),
    ("If-Match" = Option<String>, Header, description = "Version to delete"),
    ("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key returns the stored response")), responses(
    (status = 204, description = "Deleted"), (status = 400, description = "Invalid header"), Unauthorized,
    (status = 403, description = "Forbidden: requires DELETE"), NotVisible,
    (status = 412, description = "Version conflict"), (status = 422, description = "The idempotency key was used for another request")))]
pub(super) async fn delete(request: WriteRequest, Path(entity): Path<(String, String)>) -> Result<MutationResponse> {
    request.write(MutationKind::Delete, entity, Value::Null).await
}

/// Restores a deleted entity and the descendants that were deleted with it.
#[utoipa::path(post, path = "/{entity}/{id}/restore", tag = "entities", params(
    ("entity" = String, Path, description = "Entity type code", example = "task"), ("id" = Uuid, Path, description = "Entity id"),
    ("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key returns the stored response")), responses(
    (status = 200, description = "The row", body = EntitySchema), (status = 400, description = "Invalid header"), Unauthorized,
    (status = 403, description = "Forbidden: requires DELETE"), NotVisible,
    (status = 409, description = "Unique constraint violated: its code is in use"), (status = 412, description = "Version conflict"),
    (status = 422, description = "The idempotency key was used for another request")))]
pub(super) async fn restore(request: WriteRequest, Path(entity): Path<(String, String)>) -> Result<MutationResponse> {
    request.write(MutationKind::Restore, entity, Value::Null).await
}

/// Deletes a soft-deleted entity and its owned descendants permanently. Requires OWNER.
#[utoipa::path(delete, path = "/{entity}/{id}/purge", tag = "entities", params(
    ("entity" = String, Path, description = "Entity type code", example = "task"), ("id" = Uuid, Path, description = "Entity id"),
    ("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key returns the stored response")), responses(
    (status = 204, description = "Deleted permanently"), (status = 400, description = "Invalid header"), Unauthorized,
    (status = 403, description = "Forbidden: requires OWNER"), NotVisible,
    (status = 409, description = "Still referenced by another entity"), (status = 412, description = "Version conflict"),
    (status = 422, description = "Not deleted yet, or still referenced")))]
pub(super) async fn purge(request: WriteRequest, Path(entity): Path<(String, String)>) -> Result<MutationResponse> {
    request.write(MutationKind::Purge, entity, Value::Null).await
}
