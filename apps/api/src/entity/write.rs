//! POST, PATCH, PUT, DELETE, restore and purge: one write per request and transaction.
//!
//! Responses are stored under the idempotency key for repeated requests.

pub(crate) use super::mutation::{IdempotencyCheck, MutationResponse, check_idempotency, store_response};
use super::mutation::{Mutation, MutationKind};
use super::read::{parse_id, row_response};
use crate::auth::AuthUser;
use crate::error::{ApiError, Result};
use crate::extract::JsonBody;
use crate::state::{AppState, EntityModel};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use pmo_database::{DatabaseError, Transaction, permission};
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

/// Returns the `Idempotency-Key` header, or `None` if it is absent.
///
/// Fails with 400 unless it has 1 to 200 visible ASCII characters.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let text = value.to_str().ok().map(str::trim).filter(|key| (1..=200).contains(&key.len()));
    text.map(|key| Some(key.to_owned()))
        .ok_or_else(|| ApiError::bad_request("Idempotency-Key", "must be 1 to 200 visible ASCII characters"))
}

/// Looks up the response stored under the idempotency key of a request.
pub(crate) async fn check_idempotency_header(
    transaction: &mut Transaction,
    user: &AuthUser,
    headers: &HeaderMap,
    request: &[&[u8]],
) -> Result<IdempotencyCheck> {
    check_idempotency(transaction, user, idempotency_key(headers)?.as_deref(), request).await
}

/// Stores the response under its idempotency key and commits.
pub(crate) async fn commit_with_response(
    mut transaction: Transaction,
    user: &AuthUser,
    key: Option<(String, Vec<u8>)>,
    response: MutationResponse,
) -> Result<MutationResponse> {
    store_response(&mut transaction, user, key, &response).await?;
    transaction.commit().await.map_err(DatabaseError::from)?;
    Ok(response)
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

/// Executes one write in a transaction of its own.
pub(super) async fn run_mutation(
    app: &AppState,
    user: &AuthUser,
    model: &EntityModel,
    action: MutationKind,
    (code, id): (&str, Uuid),
    headers: &HeaderMap,
    body: Value,
) -> Result<MutationResponse> {
    let entity = model.entity(code)?;
    let mutation = Mutation {
        action,
        entity,
        id,
        body,
        server_values: pmo_domain::Row::new(),
        version: parse_if_match(headers)?,
        idempotency_key: idempotency_key(headers)?,
        status_only: false,
    };
    let mut transaction = pmo_database::begin(&app.pool, &user.actor).await?;
    let response = mutation.execute(&mut transaction, model, user).await?;
    transaction.commit().await.map_err(DatabaseError::from)?;
    Ok(response)
}

/// Creates an entity.
#[utoipa::path(post, path = "/{entity}", tag = "entities", request_body(content = Object, example = json!({"name": "Website relaunch"})), params(
    ("entity" = String, Path, description = "Entity type code", example = "project"),
    ("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key returns the stored response")), responses(
    (status = 201, description = "The row. The client may generate the id (UUID v7)", body = Object), (status = 400, description = "Not JSON"),
    (status = 401, description = "Not signed in"), (status = 403, description = "Forbidden: requires CREATE"), (status = 404, description = "No such type"),
    (status = 409, description = "Unique constraint violated"), (status = 413, description = "Body too large"), (status = 415, description = "Unsupported media type; send JSON"),
    (status = 422, description = "Validation failed; see `errors`")))]
pub(super) async fn create(
    State(app): State<AppState>,
    user: AuthUser,
    Path(code): Path<String>,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<MutationResponse> {
    let model = app.model_for_type(&code).await?;
    run_mutation(&app, &user, &model, MutationKind::Create { parent_link: None }, (&code, Uuid::nil()), &headers, body)
        .await
}

/// Creates a child of an entity.
#[utoipa::path(post, path = "/{parent}/{id}/{child}", tag = "entities", request_body(content = Object, example = json!({"name": "Write the brief"})), params(
    ("parent" = String, Path, description = "Parent type code", example = "project"), ("id" = Uuid, Path, description = "Parent id"),
    ("child" = String, Path, description = "Child type code", example = "task"),
    ("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key returns the stored response")), responses(
    (status = 201, description = "The row", body = Object), (status = 400, description = "Not JSON"), (status = 401, description = "Not signed in"),
    (status = 403, description = "Forbidden: requires CREATE"), (status = 404, description = "Parent not found, or not visible to the caller"),
    (status = 409, description = "Unique constraint violated"), (status = 413, description = "Body too large"), (status = 415, description = "Unsupported media type; send JSON"),
    (status = 422, description = "Validation failed; see `errors`")))]
pub(super) async fn create_child(
    State(app): State<AppState>,
    user: AuthUser,
    Path((parent, id, child)): Path<(String, String, String)>,
    headers: HeaderMap,
    JsonBody(mut body): JsonBody,
) -> Result<MutationResponse> {
    let model = app.model_for_type(&parent).await?;
    let (parent, id) = (model.entity(&parent)?, parse_id(&id)?);
    model.entity(&child)?;
    let relation = model.catalog.child_relation(parent.code.as_str(), &child).ok_or(ApiError::NotFound)?;
    {
        let mut connection = super::read::acquire_connection(&app).await?;
        permission::permission_on(&mut connection, user.person, &parent.code, id).await?.ok_or(ApiError::NotFound)?;
    }
    let parent_link = relation.parent_column.is_none().then(|| (parent.code.clone(), id));
    if let (Some(object), Some(column)) = (body.as_object_mut(), &relation.parent_column) {
        object.insert(column.clone(), json!(id));
        if let Some(code_column) = &relation.parent_type_column {
            object.insert(code_column.clone(), json!(parent.code));
        }
    }
    run_mutation(&app, &user, &model, MutationKind::Create { parent_link }, (&child, Uuid::nil()), &headers, body).await
}

/// Updates some columns of an entity.
#[utoipa::path(patch, path = "/{entity}/{id}", tag = "entities", request_body(content = Object, example = json!({"descr": "Relaunch of the public website"})), params(
    ("entity" = String, Path, description = "Entity type code", example = "task"), ("id" = Uuid, Path, description = "Entity id"),
    ("If-Match" = Option<String>, Header, description = "Version that the change is based on"),
    ("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key returns the stored response")), responses(
    (status = 200, description = "The row", body = Object), (status = 400, description = "Not JSON"), (status = 401, description = "Not signed in"),
    (status = 403, description = "Forbidden: requires EDIT"), (status = 404, description = "Not found, or not visible to the caller"),
    (status = 409, description = "Unique constraint violated"), (status = 412, description = "Precondition failed; `current` is the current row"),
    (status = 413, description = "Body too large"), (status = 415, description = "Unsupported media type; send JSON"), (status = 422, description = "Validation failed; see `errors`")))]
pub(super) async fn patch(
    State(app): State<AppState>,
    user: AuthUser,
    Path((code, id)): Path<(String, String)>,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<MutationResponse> {
    let model = app.model_for_type(&code).await?;
    run_mutation(&app, &user, &model, MutationKind::Update, (&code, parse_id(&id)?), &headers, body).await
}

/// Replaces an entity: columns missing from the body are cleared.
#[utoipa::path(put, path = "/{entity}/{id}", tag = "entities", request_body(content = Object, example = json!({"name": "Website relaunch"})), params(
    ("entity" = String, Path, description = "Entity type code", example = "task"), ("id" = Uuid, Path, description = "Entity id"),
    ("If-Match" = Option<String>, Header, description = "Version that the change is based on"),
    ("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key returns the stored response")), responses(
    (status = 200, description = "The row", body = Object), (status = 400, description = "Not JSON"), (status = 401, description = "Not signed in"),
    (status = 403, description = "Forbidden: requires EDIT"), (status = 404, description = "Not found, or not visible to the caller"),
    (status = 409, description = "Unique constraint violated"), (status = 412, description = "Version conflict"),
    (status = 413, description = "Body too large"), (status = 415, description = "Unsupported media type; send JSON"), (status = 422, description = "Validation failed; see `errors`")))]
pub(super) async fn put(
    State(app): State<AppState>,
    user: AuthUser,
    Path((code, id)): Path<(String, String)>,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<MutationResponse> {
    let model = app.model_for_type(&code).await?;
    run_mutation(&app, &user, &model, MutationKind::Replace, (&code, parse_id(&id)?), &headers, body).await
}

/// Deletes an entity and its owned descendants. They can be restored.
#[utoipa::path(delete, path = "/{entity}/{id}", tag = "entities", params(
    ("entity" = String, Path, description = "Entity type code", example = "task"), ("id" = Uuid, Path, description = "Entity id"),
    ("If-Match" = Option<String>, Header, description = "Version to delete"),
    ("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key returns the stored response")), responses(
    (status = 204, description = "Deleted"), (status = 400, description = "Invalid header"), (status = 401, description = "Not signed in"),
    (status = 403, description = "Forbidden: requires DELETE"), (status = 404, description = "Not found, or not visible to the caller"),
    (status = 412, description = "Version conflict"), (status = 422, description = "The idempotency key was used for another request")))]
pub(super) async fn delete(
    State(app): State<AppState>,
    user: AuthUser,
    Path((code, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<MutationResponse> {
    let model = app.model_for_type(&code).await?;
    run_mutation(&app, &user, &model, MutationKind::Delete, (&code, parse_id(&id)?), &headers, Value::Null).await
}

/// Restores a deleted entity and the descendants that were deleted with it.
#[utoipa::path(post, path = "/{entity}/{id}/restore", tag = "entities", params(
    ("entity" = String, Path, description = "Entity type code", example = "task"), ("id" = Uuid, Path, description = "Entity id"),
    ("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key returns the stored response")), responses(
    (status = 200, description = "The row", body = Object), (status = 400, description = "Invalid header"), (status = 401, description = "Not signed in"),
    (status = 403, description = "Forbidden: requires DELETE"), (status = 404, description = "Not found, or not visible to the caller"),
    (status = 409, description = "Unique constraint violated: its code is in use"), (status = 412, description = "Version conflict"),
    (status = 422, description = "The idempotency key was used for another request")))]
pub(super) async fn restore(
    State(app): State<AppState>,
    user: AuthUser,
    Path((code, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<MutationResponse> {
    let model = app.model_for_type(&code).await?;
    run_mutation(&app, &user, &model, MutationKind::Restore, (&code, parse_id(&id)?), &headers, Value::Null).await
}

/// Deletes a soft-deleted entity and its owned descendants permanently. Requires OWNER.
#[utoipa::path(delete, path = "/{entity}/{id}/purge", tag = "entities", params(
    ("entity" = String, Path, description = "Entity type code", example = "task"), ("id" = Uuid, Path, description = "Entity id"),
    ("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key returns the stored response")), responses(
    (status = 204, description = "Deleted permanently"), (status = 400, description = "Invalid header"), (status = 401, description = "Not signed in"),
    (status = 403, description = "Forbidden: requires OWNER"), (status = 404, description = "Not found, or not visible to the caller"),
    (status = 409, description = "Still referenced by another entity"), (status = 412, description = "Version conflict"),
    (status = 422, description = "Not deleted yet, or still referenced")))]
pub(super) async fn purge(
    State(app): State<AppState>,
    user: AuthUser,
    Path((code, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<MutationResponse> {
    let model = app.model_for_type(&code).await?;
    run_mutation(&app, &user, &model, MutationKind::Purge, (&code, parse_id(&id)?), &headers, Value::Null).await
}
