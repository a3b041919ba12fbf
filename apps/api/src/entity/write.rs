//! POST, PATCH, PUT, DELETE, restore, purge: one write, one transaction, one answer kept for a repeat.

pub(crate) use super::mutation::{IdempotencyCheck, MutationResponse, check_idempotency, store_response};
use super::mutation::{Mutation, MutationKind};
use super::read::{id_of, row_response};
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

/// The key of a repeatable write, if the client gave one.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let text = value.to_str().ok().map(str::trim).filter(|t| (1..=200).contains(&t.len()));
    text.map(|t| Some(t.to_owned()))
        .ok_or_else(|| ApiError::bad_request("Idempotency-Key", "must be 1 to 200 visible ASCII characters"))
}

/// Looks for the answer kept under the request's key.
pub(crate) async fn check_idempotency_header(
    transaction: &mut Transaction,
    who: &AuthUser,
    headers: &HeaderMap,
    asked: &[&[u8]],
) -> Result<IdempotencyCheck> {
    check_idempotency(transaction, who, idempotency_key(headers)?.as_deref(), asked).await
}

/// Keeps the answer and commits.
pub(crate) async fn commit_with_response(
    mut transaction: Transaction,
    who: &AuthUser,
    key: Option<(String, Vec<u8>)>,
    answer: MutationResponse,
) -> Result<MutationResponse> {
    store_response(&mut transaction, who, key, &answer).await?;
    transaction.commit().await.map_err(DatabaseError::from)?;
    Ok(answer)
}

/// The version that If-Match names; a whole ETag counts by its version.
pub(crate) fn parse_if_match(headers: &HeaderMap) -> Result<Option<i64>> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let wrong = || ApiError::bad_request("If-Match", "must be a version such as \"3\", or an ETag");
    let text = value.to_str().map_err(|_| wrong())?.trim().trim_start_matches("W/").trim_matches('"');
    if text == "*" {
        return Ok(None);
    }
    let version = text.split('-').next().unwrap_or_default();
    version.parse().map(Some).map_err(|_| wrong())
}

/// Does one write in a transaction of its own.
pub(super) async fn run_mutation(
    app: &AppState,
    who: &AuthUser,
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
        key: idempotency_key(headers)?,
        status_only: false,
    };
    let mut transaction = pmo_database::begin(&app.pool, &who.actor).await?;
    let answer = mutation.execute(&mut transaction, model, who).await?;
    transaction.commit().await.map_err(DatabaseError::from)?;
    Ok(answer)
}

/// Make a thing.
#[utoipa::path(post, path = "/{entity}", tag = "things", request_body(content = Object, example = json!({"name": "Website relaunch"})), params(
    ("entity" = String, Path, description = "The type's code", example = "project"),
    ("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same key gets the first answer")), responses(
    (status = 201, description = "The row. The client may mint the id (UUID v7)", body = Object), (status = 400, description = "Not JSON"),
    (status = 401, description = "Not signed in"), (status = 403, description = "May see, may not make"), (status = 404, description = "No such type"),
    (status = 409, description = "A unique value is taken"), (status = 413, description = "Too large"), (status = 415, description = "Not JSON by its type"),
    (status = 422, description = "Fields are wrong; the problem names them")))]
pub(super) async fn create(
    State(app): State<AppState>,
    who: AuthUser,
    Path(code): Path<String>,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<MutationResponse> {
    let model = app.model_for_type(&code).await?;
    run_mutation(&app, &who, &model, MutationKind::Create { below: None }, (&code, Uuid::nil()), &headers, body).await
}

/// Make a thing below another.
#[utoipa::path(post, path = "/{parent}/{id}/{child}", tag = "things", request_body(content = Object, example = json!({"name": "Write the brief"})), params(
    ("parent" = String, Path, description = "The parent's type", example = "project"), ("id" = Uuid, Path, description = "The parent"),
    ("child" = String, Path, description = "The child's type", example = "task"),
    ("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same key gets the first answer")), responses(
    (status = 201, description = "The row", body = Object), (status = 400, description = "Not JSON"), (status = 401, description = "Not signed in"),
    (status = 403, description = "May see, may not make"), (status = 404, description = "No such parent for this writer"),
    (status = 409, description = "A unique value is taken"), (status = 413, description = "Too large"), (status = 415, description = "Not JSON by its type"),
    (status = 422, description = "Fields are wrong")))]
pub(super) async fn create_child(
    State(app): State<AppState>,
    who: AuthUser,
    Path((parent, id, child)): Path<(String, String, String)>,
    headers: HeaderMap,
    JsonBody(mut body): JsonBody,
) -> Result<MutationResponse> {
    let model = app.model_for_type(&parent).await?;
    let (parent, id) = (model.entity(&parent)?, id_of(&id)?);
    model.entity(&child)?;
    let tie = model.catalogue.child_relation(parent.code.as_str(), &child).ok_or(ApiError::NotFound)?;
    {
        let mut connection = super::read::connection(&app).await?;
        permission::permission_on(&mut connection, who.person, &parent.code, id).await?.ok_or(ApiError::NotFound)?;
    }
    let below = tie.parent_column.is_none().then(|| (parent.code.clone(), id));
    if let (Some(object), Some(column)) = (body.as_object_mut(), &tie.parent_column) {
        object.insert(column.clone(), json!(id));
        if let Some(code_column) = &tie.parent_type_column {
            object.insert(code_column.clone(), json!(parent.code));
        }
    }
    run_mutation(&app, &who, &model, MutationKind::Create { below }, (&child, Uuid::nil()), &headers, body).await
}

/// Change some columns.
#[utoipa::path(patch, path = "/{entity}/{id}", tag = "things", request_body(content = Object, example = json!({"descr": "What it is for"})), params(
    ("entity" = String, Path, description = "The type's code", example = "task"), ("id" = Uuid, Path, description = "The thing"),
    ("If-Match" = Option<String>, Header, description = "The version that the change was made on"),
    ("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same key gets the first answer")), responses(
    (status = 200, description = "The row", body = Object), (status = 400, description = "Not JSON"), (status = 401, description = "Not signed in"),
    (status = 403, description = "May see, may not change"), (status = 404, description = "Not there, or not for this writer"),
    (status = 409, description = "A unique value is taken"), (status = 412, description = "Changed meanwhile; 'current' is the present row"),
    (status = 413, description = "Too large"), (status = 415, description = "Not JSON by its type"), (status = 422, description = "Fields are wrong")))]
pub(super) async fn patch(
    State(app): State<AppState>,
    who: AuthUser,
    Path((code, id)): Path<(String, String)>,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<MutationResponse> {
    let model = app.model_for_type(&code).await?;
    run_mutation(&app, &who, &model, MutationKind::Update, (&code, id_of(&id)?), &headers, body).await
}

/// Replace a thing: columns that the body leaves out become empty.
#[utoipa::path(put, path = "/{entity}/{id}", tag = "things", request_body(content = Object, example = json!({"name": "Website relaunch"})), params(
    ("entity" = String, Path, description = "The type's code", example = "task"), ("id" = Uuid, Path, description = "The thing"),
    ("If-Match" = Option<String>, Header, description = "The version that the change was made on"),
    ("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same key gets the first answer")), responses(
    (status = 200, description = "The row", body = Object), (status = 400, description = "Not JSON"), (status = 401, description = "Not signed in"),
    (status = 403, description = "May see, may not change"), (status = 404, description = "Not there, or not for this writer"),
    (status = 409, description = "A unique value is taken"), (status = 412, description = "Changed meanwhile"),
    (status = 413, description = "Too large"), (status = 415, description = "Not JSON by its type"), (status = 422, description = "Fields are wrong")))]
pub(super) async fn put(
    State(app): State<AppState>,
    who: AuthUser,
    Path((code, id)): Path<(String, String)>,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<MutationResponse> {
    let model = app.model_for_type(&code).await?;
    run_mutation(&app, &who, &model, MutationKind::Replace, (&code, id_of(&id)?), &headers, body).await
}

/// Delete a thing, with what belongs to it. It can be restored.
#[utoipa::path(delete, path = "/{entity}/{id}", tag = "things", params(
    ("entity" = String, Path, description = "The type's code", example = "task"), ("id" = Uuid, Path, description = "The thing"),
    ("If-Match" = Option<String>, Header, description = "The version that is to be deleted"),
    ("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same key gets the first answer")), responses(
    (status = 204, description = "Deleted"), (status = 400, description = "A header can't be read"), (status = 401, description = "Not signed in"),
    (status = 403, description = "May see, may not delete"), (status = 404, description = "Not there, or not for this writer"),
    (status = 412, description = "Changed meanwhile"), (status = 422, description = "The key was used for another request")))]
pub(super) async fn delete(
    State(app): State<AppState>,
    who: AuthUser,
    Path((code, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<MutationResponse> {
    let model = app.model_for_type(&code).await?;
    run_mutation(&app, &who, &model, MutationKind::Delete, (&code, id_of(&id)?), &headers, Value::Null).await
}

/// Bring a deleted thing back, with what went with it.
#[utoipa::path(post, path = "/{entity}/{id}/restore", tag = "things", params(
    ("entity" = String, Path, description = "The type's code", example = "task"), ("id" = Uuid, Path, description = "The thing"),
    ("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same key gets the first answer")), responses(
    (status = 200, description = "The row", body = Object), (status = 400, description = "A header can't be read"), (status = 401, description = "Not signed in"),
    (status = 403, description = "May see, may not restore"), (status = 404, description = "Not there, or not for this writer"),
    (status = 409, description = "Its code is taken by now"), (status = 412, description = "Changed meanwhile"),
    (status = 422, description = "The key was used for another request")))]
pub(super) async fn restore(
    State(app): State<AppState>,
    who: AuthUser,
    Path((code, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<MutationResponse> {
    let model = app.model_for_type(&code).await?;
    run_mutation(&app, &who, &model, MutationKind::Restore, (&code, id_of(&id)?), &headers, Value::Null).await
}

/// Take a deleted thing away for good, with what belongs to it. Only its owner may, and nothing brings it back.
#[utoipa::path(delete, path = "/{entity}/{id}/purge", tag = "things", params(
    ("entity" = String, Path, description = "The type's code", example = "task"), ("id" = Uuid, Path, description = "The thing"),
    ("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same key gets the first answer")), responses(
    (status = 204, description = "Gone"), (status = 400, description = "A header can't be read"), (status = 401, description = "Not signed in"),
    (status = 403, description = "Not the owner"), (status = 404, description = "Not there, or not for this writer"),
    (status = 409, description = "Something else refers to it"), (status = 412, description = "Changed meanwhile"),
    (status = 422, description = "Not deleted yet, or something refers to it still")))]
pub(super) async fn purge(
    State(app): State<AppState>,
    who: AuthUser,
    Path((code, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<MutationResponse> {
    let model = app.model_for_type(&code).await?;
    run_mutation(&app, &who, &model, MutationKind::Purge, (&code, id_of(&id)?), &headers, Value::Null).await
}
