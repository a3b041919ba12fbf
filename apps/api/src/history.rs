//! What happened: to a thing, and lately to everything that one may see; and back to what a thing once was.

use crate::auth::AuthUser;
use crate::entity::{
    Mutation, MutationKind, MutationResponse, id_of, idempotency_key, parse_if_match, permission_message,
};
use crate::error::{ApiError, Result};
use crate::state::AppState;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use pmo_database::{DatabaseError, audit_log, permission, row};
use pmo_domain::api_types::row_version;
use pmo_domain::{ColumnKind, Permission, Row};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

/// The routes of this room.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_entity_history))
        .routes(routes!(restore_version))
        .routes(routes!(list_activity))
}

#[derive(serde::Deserialize)]
struct PageParams {
    limit: Option<i64>,
    cursor: Option<String>,
}

impl PageParams {
    fn read(&self) -> Result<(i64, Option<i64>)> {
        let limit = self.limit.unwrap_or(50);
        if !(1..=200).contains(&limit) {
            return Err(ApiError::bad_request("limit", "must be a whole number from 1 to 200"));
        }
        let wrong = || ApiError::bad_request("cursor", "is not a cursor of this list");
        let before = self.cursor.as_ref().map(|c| c.parse::<i64>().map_err(|_| wrong())).transpose()?;
        Ok((limit, before))
    }
}

/// What happened to a thing, newest first.
#[utoipa::path(get, path = "/{entity}/{id}/history", tag = "history", params(
    ("entity" = String, Path, description = "The type's code", example = "task"), ("id" = Uuid, Path, description = "The thing"),
    ("limit" = Option<i64>, Query, description = "Most lines, 1 to 200"), ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before")), responses(
    (status = 200, description = "{data: [{version, action, at, person_id, person_name, changed: {column: {old, new}}}], ref_data_entityInstance, next_cursor}", body = Object),
    (status = 400, description = "A parameter is wrong"), (status = 401, description = "Not signed in"), (status = 404, description = "Not there, or not for this reader")))]
async fn list_entity_history(
    State(app): State<AppState>,
    who: AuthUser,
    Path((code, id)): Path<(String, String)>,
    Query(paging): Query<PageParams>,
) -> Result<Json<Value>> {
    let (limit, before) = paging.read()?;
    let model = app.model_for_type(&code).await?;
    let (entity, id) = (model.entity(&code)?, id_of(&id)?);
    let mut connection = app.pool.acquire().await.map_err(DatabaseError::from)?;
    let level =
        permission::permission_on(&mut connection, who.person, &entity.code, id).await?.ok_or(ApiError::NotFound)?;
    let alive = row::by_id(&mut connection, entity, id, level >= Permission::Delete).await?;
    alive.ok_or(ApiError::NotFound)?;
    let lines = audit_log::list_for_entity(&mut connection, &entity.code, id, before, limit + 1).await?;
    let more = lines.len() > usize::try_from(limit).unwrap_or(0);
    let lines: Vec<audit_log::AuditEntry> = lines.into_iter().take(usize::try_from(limit).unwrap_or(0)).collect();
    let next = lines.last().filter(|_| more).map(|l| l.seq.to_string());
    // Names of what the columns referred to, as far as the reader may see them.
    let mentioned: Vec<Row> = lines
        .iter()
        .flat_map(|line| line.changed.as_object().into_iter().flatten())
        .flat_map(|(column, change)| {
            ["old", "new"].map(|side| Row::from_iter([(column.clone(), change.get(side).cloned().unwrap_or_default())]))
        })
        .collect();
    let mentioned = row::referenced_ids(entity, &mentioned);
    let references = row::reference_names_uncached(&mut connection, who.person, entity, &mentioned).await?;
    Ok(Json(json!({"data": lines, "ref_data_entityInstance": references, "next_cursor": next})))
}

/// Make a thing again what it was at a version. That is a change like any other, with a version of its own.
#[utoipa::path(post, path = "/{entity}/{id}/history/{version}/restore", tag = "history", params(
    ("entity" = String, Path, description = "The type's code", example = "task"), ("id" = Uuid, Path, description = "The thing"),
    ("version" = i64, Path, description = "The version to go back to"),
    ("If-Match" = Option<String>, Header, description = "The present version, as far as the asker knows"),
    ("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same key gets the first answer")), responses(
    (status = 200, description = "The row", body = Object), (status = 400, description = "A header can't be read"), (status = 401, description = "Not signed in"),
    (status = 403, description = "May see, may not change"), (status = 404, description = "Not there, not for this writer, or no such version"),
    (status = 409, description = "A unique value is taken by now"), (status = 412, description = "Changed meanwhile"),
    (status = 422, description = "The log does not reach back so far, or what it was is not allowed any more")))]
async fn restore_version(
    State(app): State<AppState>,
    who: AuthUser,
    Path((code, id, version)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<MutationResponse> {
    let model = app.model_for_type(&code).await?;
    let (entity, id) = (model.entity(&code)?, id_of(&id)?);
    let version: i64 = version.parse().map_err(|_| ApiError::NotFound)?;
    let mut transaction = pmo_database::begin(&app.pool, &who.actor).await?;
    row::lock(&mut transaction, entity, id).await?;
    let level =
        permission::permission_on(&mut transaction, who.person, &entity.code, id).await?.ok_or(ApiError::NotFound)?;
    if level < Permission::Edit {
        return Err(ApiError::Forbidden(permission_message(Permission::Edit, level)));
    }
    let present = row::by_id(&mut transaction, entity, id, false).await?.ok_or(ApiError::NotFound)?;
    let now = row_version(&present).0;
    if version < 1 || version > now {
        return Err(ApiError::NotFound);
    }
    let then = audit_log::values_at_version(&mut transaction, &entity.code, id, version, now)
        .await?
        .ok_or_else(|| ApiError::unprocessable("version", "is further back than the log is kept"))?;
    let mut values = Row::new();
    for (name, (value, text)) in then {
        let Some(column) = entity.column(&name).filter(|c| !c.read_only) else { continue };
        let value = if column.kind == ColumnKind::Money { text.map_or(Value::Null, Value::String) } else { value };
        values.insert(name, value);
    }
    let mutation = Mutation {
        action: MutationKind::Update,
        entity,
        id,
        body: Value::Object(values),
        server_values: Row::new(),
        version: parse_if_match(&headers)?,
        key: idempotency_key(&headers)?,
        status_only: false,
    };
    let answer = mutation.execute(&mut transaction, &model, &who).await?;
    transaction.commit().await.map_err(DatabaseError::from)?;
    Ok(answer)
}

/// What has happened lately to things that one may see, newest first.
#[utoipa::path(get, path = "/activity", tag = "history", params(
    ("limit" = Option<i64>, Query, description = "Most lines, 1 to 200"), ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before")), responses(
    (status = 200, description = "{data: [{entity, entity_id, title, version, action, at, person_id, person_name, changed}], next_cursor}", body = Object),
    (status = 400, description = "A parameter is wrong"), (status = 401, description = "Not signed in")))]
async fn list_activity(
    State(app): State<AppState>,
    who: AuthUser,
    Query(paging): Query<PageParams>,
) -> Result<Json<Value>> {
    /// Looks at the log before the answer is given as it is: who sees little of a busy company asks again with the cursor.
    const MAX_BATCHES: usize = 8;
    /// Lines of a look.
    const BATCH_ROWS: usize = 400;
    let (limit, mut before) = paging.read()?;
    let limit = usize::try_from(limit).unwrap_or(50);
    let mut connection = app.pool.acquire().await.map_err(DatabaseError::from)?;
    let mut data: Vec<Value> = Vec::new();
    // Whether the log goes on below the last line that was looked at.
    let mut more = true;
    for _ in 0..MAX_BATCHES {
        let lines =
            audit_log::list_recent(&mut connection, before, i64::try_from(BATCH_ROWS).unwrap_or(i64::MAX)).await?;
        more = lines.len() == BATCH_ROWS;
        let ids: Vec<Uuid> = lines.iter().map(|l| l.entity_id).collect::<BTreeSet<_>>().into_iter().collect();
        let titles: BTreeMap<Uuid, String> = permission::visible(&mut connection, who.person, &ids)
            .await?
            .into_iter()
            .map(|s| (s.id, s.title))
            .collect();
        for line in lines {
            if data.len() == limit {
                more = true;
                break;
            }
            before = Some(line.seq);
            if let Some(title) = titles.get(&line.entity_id) {
                let mut entry = serde_json::to_value(&line).map_err(|_| ApiError::Internal)?;
                entry["title"] = json!(title);
                data.push(entry);
            }
        }
        if !more || data.len() == limit {
            break;
        }
    }
    let next = before.filter(|_| more).map(|seq| seq.to_string());
    Ok(Json(json!({"data": data, "next_cursor": next})))
}
