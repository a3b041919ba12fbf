//! POST, PATCH, PUT, DELETE, restore. A write, its log rows and the answer kept for a repeat are one transaction.

use super::read::{id_of, represent, row_response};
use super::rule;
use crate::auth::AuthUser;
use crate::body::JsonBody;
use crate::error::{ApiError, Result};
use crate::state::{App, Model};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pmo_database::idempotency::{self, Kept};
use pmo_database::{DatabaseError, Transaction, permission, row};
use pmo_domain::rest::version_of;
use pmo_domain::{EntityType, Permission, Row};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// What a write came to.
pub(crate) struct Answer {
    /// 200, 201 or 204.
    pub status: StatusCode,
    /// The row; none with 204.
    pub body: Option<Value>,
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        match self.body {
            Some(Value::Object(row)) => row_response(self.status, &row),
            Some(other) => (self.status, axum::Json(other)).into_response(),
            None => self.status.into_response(),
        }
    }
}

/// The key of a repeatable write, if the client gave one.
fn key_of(headers: &HeaderMap) -> Result<Option<String>> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let text = value.to_str().ok().map(str::trim).filter(|t| (1..=200).contains(&t.len()));
    text.map(|t| Some(t.to_owned()))
        .ok_or_else(|| ApiError::bad("Idempotency-Key", "must be 1 to 200 visible ASCII characters"))
}

/// Looks for the answer kept under the request's key. The caller has checked the permission: a repeat tells nobody more.
pub(crate) async fn once(
    transaction: &mut Transaction,
    who: &AuthUser,
    headers: &HeaderMap,
    asked: &[&[u8]],
) -> Result<Once> {
    let Some(key) = key_of(headers)? else { return Ok(Once::Fresh(None)) };
    let mut hash = Sha256::new();
    for part in asked {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let fingerprint = hash.finalize().to_vec();
    match idempotency::find(transaction, who.person.0, &key).await? {
        None => Ok(Once::Fresh(Some((key, fingerprint)))),
        Some(kept) if kept.fingerprint == fingerprint => {
            let status = u16::try_from(kept.status).ok().and_then(|s| StatusCode::from_u16(s).ok());
            Ok(Once::Repeat(Answer { status: status.unwrap_or(StatusCode::OK), body: kept.body }))
        }
        Some(_) => Err(ApiError::invalid("Idempotency-Key", "was used before for another request; take a new key")),
    }
}

/// Whether a write was seen before.
pub(crate) enum Once {
    /// No: keep its answer under this key, if there is one.
    Fresh(Option<(String, Vec<u8>)>),
    /// Yes: this was the answer.
    Repeat(Answer),
}

/// Keeps the answer and commits.
pub(crate) async fn finish(
    mut transaction: Transaction,
    who: &AuthUser,
    key: Option<(String, Vec<u8>)>,
    answer: Answer,
) -> Result<Answer> {
    if let Some((key, fingerprint)) = key {
        #[allow(clippy::cast_possible_wrap)] // a status has three digits
        let status = answer.status.as_u16() as i16;
        idempotency::keep(
            &mut transaction,
            who.person.0,
            &key,
            &Kept { fingerprint, status, body: answer.body.clone() },
        )
        .await?;
    }
    transaction.commit().await.map_err(DatabaseError::from)?;
    Ok(answer)
}

/// The version that If-Match names; a whole ETag counts by its version.
fn if_match(headers: &HeaderMap) -> Result<Option<i64>> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let wrong = || ApiError::bad("If-Match", "must be a version such as \"3\", or an ETag");
    let text = value.to_str().map_err(|_| wrong())?.trim().trim_start_matches("W/").trim_matches('"');
    if text == "*" {
        return Ok(None);
    }
    let version = text.split('-').next().unwrap_or_default();
    version.parse().map(Some).map_err(|_| wrong())
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
    State(app): State<App>,
    who: AuthUser,
    Path(code): Path<String>,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Answer> {
    let model = app.model_with(&code).await?;
    insert(&app, &model, &who, model.entity(&code)?, &headers, body).await
}

/// Make a thing below another.
#[utoipa::path(post, path = "/{parent}/{id}/{child}", tag = "things", request_body(content = Object, example = json!({"name": "Write the brief"})), params(
    ("parent" = String, Path, description = "The parent's type", example = "project"), ("id" = Uuid, Path, description = "The parent"),
    ("child" = String, Path, description = "The child's type", example = "task")), responses(
    (status = 201, description = "The row", body = Object), (status = 400, description = "Not JSON"), (status = 401, description = "Not signed in"),
    (status = 403, description = "May see, may not make"), (status = 404, description = "No such parent for this writer"),
    (status = 409, description = "A unique value is taken"), (status = 413, description = "Too large"), (status = 415, description = "Not JSON by its type"),
    (status = 422, description = "Fields are wrong")))]
pub(super) async fn create_child(
    State(app): State<App>,
    who: AuthUser,
    Path((parent, id, child)): Path<(String, String, String)>,
    headers: HeaderMap,
    JsonBody(mut body): JsonBody,
) -> Result<Answer> {
    let model = app.model_with(&parent).await?;
    let (parent, id) = (model.entity(&parent)?, id_of(&id)?);
    let entity = model.entity(&child)?;
    let tie = model.catalogue.child(parent.code.as_str(), &child).ok_or(ApiError::NotFound)?;
    let Some(column) = &tie.column else {
        return Err(ApiError::Forbidden(format!("A {} is linked here, not made here.", entity.name.to_lowercase())));
    };
    {
        let mut connection = super::read::connection(&app).await?;
        permission::level(&mut connection, who.person, &parent.code, id).await?.ok_or(ApiError::NotFound)?;
    }
    if let Some(object) = body.as_object_mut() {
        object.insert(column.clone(), json!(id));
        if let Some(code_column) = &tie.code_column {
            object.insert(code_column.clone(), json!(parent.code));
        }
    }
    insert(&app, &model, &who, entity, &headers, body).await
}

async fn insert(
    app: &App,
    model: &Model,
    who: &AuthUser,
    entity: &EntityType,
    headers: &HeaderMap,
    body: Value,
) -> Result<Answer> {
    let values = rule::check(model, entity, &body, None)?;
    let mut transaction = pmo_database::begin(&app.pool, &who.actor).await?;
    rule::may_create(&mut transaction, model, who.person, entity, &values).await?;
    let key = match once(
        &mut transaction,
        who,
        headers,
        &[b"POST", entity.code.as_str().as_bytes(), body.to_string().as_bytes()],
    )
    .await?
    {
        Once::Repeat(answer) => return Ok(answer),
        Once::Fresh(key) => key,
    };
    rule::check_references(&mut transaction, model, who.person, entity, &values, None).await?;
    let id = row::insert(&mut transaction, entity, &values).await?;
    permission::own(&mut transaction, who.person, &entity.code, id).await?;
    let row = row::by_id(&mut transaction, entity, id, false).await?.ok_or(ApiError::Internal)?;
    let row = represent(&mut transaction, entity, who.person, Permission::Owner, row).await?;
    finish(transaction, who, key, Answer { status: StatusCode::CREATED, body: Some(Value::Object(row)) }).await
}

/// Change some columns.
#[utoipa::path(patch, path = "/{entity}/{id}", tag = "things", request_body(content = Object, example = json!({"completion_pct": 40})), params(
    ("entity" = String, Path, description = "The type's code", example = "task"), ("id" = Uuid, Path, description = "The thing"),
    ("If-Match" = Option<String>, Header, description = "The version that the change was made on"),
    ("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same key gets the first answer")), responses(
    (status = 200, description = "The row", body = Object), (status = 400, description = "Not JSON"), (status = 401, description = "Not signed in"),
    (status = 403, description = "May see, may not change"), (status = 404, description = "Not there, or not for this writer"),
    (status = 409, description = "A unique value is taken"), (status = 412, description = "Changed meanwhile; 'current' is the present row"),
    (status = 413, description = "Too large"), (status = 415, description = "Not JSON by its type"), (status = 422, description = "Fields are wrong")))]
pub(super) async fn patch(
    State(app): State<App>,
    who: AuthUser,
    Path((code, id)): Path<(String, String)>,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Answer> {
    update(&app, &who, &code, &id, &headers, body, "PATCH").await
}

/// Replace a thing: columns that the body leaves out become empty.
#[utoipa::path(put, path = "/{entity}/{id}", tag = "things", request_body(content = Object, example = json!({"name": "Website relaunch"})), params(
    ("entity" = String, Path, description = "The type's code", example = "task"), ("id" = Uuid, Path, description = "The thing"),
    ("If-Match" = Option<String>, Header, description = "The version that the change was made on")), responses(
    (status = 200, description = "The row", body = Object), (status = 400, description = "Not JSON"), (status = 401, description = "Not signed in"),
    (status = 403, description = "May see, may not change"), (status = 404, description = "Not there, or not for this writer"),
    (status = 409, description = "A unique value is taken"), (status = 412, description = "Changed meanwhile"),
    (status = 413, description = "Too large"), (status = 415, description = "Not JSON by its type"), (status = 422, description = "Fields are wrong")))]
pub(super) async fn put(
    State(app): State<App>,
    who: AuthUser,
    Path((code, id)): Path<(String, String)>,
    headers: HeaderMap,
    JsonBody(mut body): JsonBody,
) -> Result<Answer> {
    let model = app.model_with(&code).await?;
    if let Some(object) = body.as_object_mut() {
        for column in
            model.entity(&code)?.columns.iter().filter(|c| !c.read_only && !c.hidden && c.name != "code" && !c.not_null)
        {
            object.entry(column.name.clone()).or_insert(Value::Null);
        }
    }
    update(&app, &who, &code, &id, &headers, body, "PUT").await
}

/// A thing locked for writing, as its writer sees it.
struct Target<'a> {
    entity: &'a EntityType,
    id: Uuid,
    level: Permission,
    present: Row,
}

/// Locks a living thing that the writer may see and has `least` on.
async fn target<'a>(
    transaction: &mut Transaction,
    model: &'a Model,
    who: &AuthUser,
    code: &str,
    id: &str,
    least: Permission,
) -> Result<Target<'a>> {
    let (entity, id) = (model.entity(code)?, id_of(id)?);
    row::lock(transaction, entity, id).await?;
    let level = permission::level(transaction, who.person, &entity.code, id).await?.ok_or(ApiError::NotFound)?;
    let present = row::by_id(transaction, entity, id, true).await?.ok_or(ApiError::NotFound)?;
    if level < least {
        return Err(ApiError::Forbidden(format!(
            "That asks for the right to {}; you may {}.",
            least.label(),
            level.label()
        )));
    }
    Ok(Target { entity, id, level, present })
}

fn alive(row: &Row) -> bool {
    row.get("active_flag") == Some(&Value::Bool(true))
}

async fn update(
    app: &App,
    who: &AuthUser,
    code: &str,
    id: &str,
    headers: &HeaderMap,
    body: Value,
    method: &str,
) -> Result<Answer> {
    let model = app.model_with(code).await?;
    let mut transaction = pmo_database::begin(&app.pool, &who.actor).await?;
    let Target { entity, id, level, present } =
        target(&mut transaction, &model, who, code, id, Permission::Edit).await?;
    let asked: [&[u8]; 3] = [method.as_bytes(), id.as_bytes(), &body.to_string().into_bytes()];
    let key = match once(&mut transaction, who, headers, &asked).await? {
        Once::Repeat(answer) => return Ok(answer),
        Once::Fresh(key) => key,
    };
    if !alive(&present) {
        return Err(ApiError::NotFound);
    }
    if if_match(headers)?.is_some_and(|v| v != version_of(&present).0) {
        let current = represent(&mut transaction, entity, who.person, level, present).await?;
        return Err(ApiError::Changed(Box::new(current)));
    }
    let values = rule::check(&model, entity, &body, Some(&present))?;
    rule::check_references(&mut transaction, &model, who.person, entity, &values, Some(&present)).await?;
    rule::may_move(&mut transaction, &model, who.person, entity, level, &present, &values).await?;
    row::update(&mut transaction, entity, id, &values).await?;
    let row = row::by_id(&mut transaction, entity, id, false).await?.ok_or(ApiError::Internal)?;
    let row = represent(&mut transaction, entity, who.person, level, row).await?;
    finish(transaction, who, key, Answer { status: StatusCode::OK, body: Some(Value::Object(row)) }).await
}

/// Delete a thing, with what belongs to it. It can be restored.
#[utoipa::path(delete, path = "/{entity}/{id}", tag = "things", params(
    ("entity" = String, Path, description = "The type's code", example = "task"), ("id" = Uuid, Path, description = "The thing"),
    ("If-Match" = Option<String>, Header, description = "The version that is to be deleted")), responses(
    (status = 204, description = "Deleted"), (status = 401, description = "Not signed in"), (status = 403, description = "May see, may not delete"),
    (status = 404, description = "Not there, or not for this writer"), (status = 412, description = "Changed meanwhile")))]
pub(super) async fn delete(
    State(app): State<App>,
    who: AuthUser,
    Path((code, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Answer> {
    let model = app.model_with(&code).await?;
    let mut transaction = pmo_database::begin(&app.pool, &who.actor).await?;
    let Target { entity, id, level, present } =
        target(&mut transaction, &model, &who, &code, &id, Permission::Delete).await?;
    let key = match once(&mut transaction, &who, &headers, &[b"DELETE", id.as_bytes()]).await? {
        Once::Repeat(answer) => return Ok(answer),
        Once::Fresh(key) => key,
    };
    if !alive(&present) {
        return Err(ApiError::NotFound);
    }
    if if_match(&headers)?.is_some_and(|v| v != version_of(&present).0) {
        let current = represent(&mut transaction, entity, who.person, level, present).await?;
        return Err(ApiError::Changed(Box::new(current)));
    }
    row::delete(&mut transaction, entity, id).await?;
    finish(transaction, &who, key, Answer { status: StatusCode::NO_CONTENT, body: None }).await
}

/// Bring a deleted thing back, with what went with it.
#[utoipa::path(post, path = "/{entity}/{id}/restore", tag = "things", params(
    ("entity" = String, Path, description = "The type's code", example = "task"), ("id" = Uuid, Path, description = "The thing")), responses(
    (status = 200, description = "The row", body = Object), (status = 401, description = "Not signed in"), (status = 403, description = "May see, may not restore"),
    (status = 404, description = "Not there, or not for this writer"), (status = 409, description = "Its code is taken by now")))]
pub(super) async fn restore(
    State(app): State<App>,
    who: AuthUser,
    Path((code, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Answer> {
    let model = app.model_with(&code).await?;
    let mut transaction = pmo_database::begin(&app.pool, &who.actor).await?;
    let Target { entity, id, level, .. } =
        target(&mut transaction, &model, &who, &code, &id, Permission::Delete).await?;
    let key = match once(&mut transaction, &who, &headers, &[b"RESTORE", id.as_bytes()]).await? {
        Once::Repeat(answer) => return Ok(answer),
        Once::Fresh(key) => key,
    };
    row::restore(&mut transaction, entity, id).await?;
    let row = row::by_id(&mut transaction, entity, id, false).await?.ok_or(ApiError::NotFound)?;
    let row = represent(&mut transaction, entity, who.person, level, row).await?;
    finish(transaction, &who, key, Answer { status: StatusCode::OK, body: Some(Value::Object(row)) }).await
}
