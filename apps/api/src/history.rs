//! History of an entity, recent activity of all visible entities, and restoring of an old version.

mod responses; // bodies of the responses

use crate::auth::AuthUser;
use crate::entity::{
    IdempotencyCheck, Mutation, MutationKind, MutationResponse, WriteContext, check_idempotency, commit_with_response,
    idempotency_key, parse_id, parse_if_match, permission_message, without_derived,
};
use crate::error::{ApiError, Result};
use crate::openapi::{EntitySchema, InvalidParameter, NotVisible, References, Unauthorized};
use crate::state::AppState;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use pmo_database::{DatabaseError, audit_log, permission, row};
use pmo_domain::api_types::row_version;
use pmo_domain::{ColumnKind, Permission, Row};
use responses::{Activity, ActivityEntry, History};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

/// Returns the routes of this module.
pub(crate) fn router() -> OpenApiRouter<AppState> {
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
        let invalid = || ApiError::bad_request("cursor", "is not a valid cursor for this list");
        let before = self.cursor.as_ref().map(|cursor| cursor.parse::<i64>().map_err(|_| invalid())).transpose()?;
        Ok((limit, before))
    }
}

/// Lists the changes of an entity, newest first.
#[utoipa::path(get, path = "/{entity}/{id}/history", tag = "history", params(
    ("entity" = String, Path, description = "Entity type code", example = "task"), ("id" = Uuid, Path, description = "Entity id"),
    ("limit" = Option<i64>, Query, description = "Maximum number of entries, 1 to 200"), ("cursor" = Option<String>, Query, description = "`next_cursor` of the previous page")), responses(
    (status = 200, description = "{data: [{version, action, at, person_id, person_name, changed: {column: {old, new}}}], ref_data_entityInstance, next_cursor}", body = History, example = json!(responses::history_example())),
    InvalidParameter, Unauthorized, NotVisible))]
async fn list_entity_history(
    State(app): State<AppState>,
    user: AuthUser,
    Path((code, id)): Path<(String, String)>,
    Query(page_params): Query<PageParams>,
) -> Result<Json<History>> {
    let (limit, before) = page_params.read()?;
    let model = app.model_for_type(&code).await?;
    let (entity, id) = (model.entity(&code)?, parse_id(&id)?);
    let mut connection = app.pool.acquire().await.map_err(DatabaseError::from)?;
    let level =
        permission::permission_on(&mut connection, user.person, &entity.code, id).await?.ok_or(ApiError::NotFound)?;
    let deleted = if level >= Permission::Delete { row::DeletedRows::Include } else { row::DeletedRows::Exclude };
    let current = row::by_id(&mut connection, entity, id, deleted).await?;
    current.ok_or(ApiError::NotFound)?;
    let entries = audit_log::list_for_entity(&mut connection, &entity.code, id, before, limit + 1).await?;
    let has_more = entries.len() > usize::try_from(limit).unwrap_or(0);
    let entries: Vec<audit_log::AuditEntry> = entries.into_iter().take(usize::try_from(limit).unwrap_or(0)).collect();
    let next = entries.last().filter(|_| has_more).map(|entry| entry.seq.to_string());
    // Names of referenced entities, old and new, as far as the caller may see them.
    let referencing: Vec<Row> = entries
        .iter()
        .flat_map(|entry| entry.changed.as_object().into_iter().flatten())
        .flat_map(|(column, change)| {
            ["old", "new"].map(|side| Row::from_iter([(column.clone(), change.get(side).cloned().unwrap_or_default())]))
        })
        .collect();
    let ids = row::referenced_ids(entity, &referencing);
    let references = row::reference_names_uncached(&mut connection, user.person, entity, &ids).await?;
    let data = entries.into_iter().map(Into::into).collect();
    Ok(Json(History { data, next_cursor: next, references: References(references) }))
}

/// Restores the column values of an old version as a new version.
#[utoipa::path(post, path = "/{entity}/{id}/history/{version}/restore", tag = "history", params(
    ("entity" = String, Path, description = "Entity type code", example = "task"), ("id" = Uuid, Path, description = "Entity id"),
    ("version" = i64, Path, description = "Version to restore"),
    ("If-Match" = Option<String>, Header, description = "Current version that the client knows"),
    ("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key returns the stored response")), responses(
    (status = 200, description = "The row", body = EntitySchema), (status = 400, description = "Invalid header"), Unauthorized,
    (status = 403, description = "Forbidden: requires EDIT"), (status = 404, description = "Not found, not visible to the caller, or no such version"),
    (status = 409, description = "Unique constraint violated"), (status = 412, description = "Version conflict"),
    (status = 422, description = "The version is older than the log retention, or its values are no longer valid")))]
async fn restore_version(
    State(app): State<AppState>,
    user: AuthUser,
    Path((code, id, version)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<MutationResponse> {
    let model = app.model_for_type(&code).await?;
    let (entity, id) = (model.entity(&code)?, parse_id(&id)?);
    let version: i64 = version.parse().map_err(|_| ApiError::NotFound)?;
    let mut transaction = pmo_database::begin(&app.pool, &user.actor).await?;
    let mut context = WriteContext::new(&mut transaction, &model, &user);
    let target = context.load(entity, id).await?;
    if target.level < Permission::Edit {
        return Err(ApiError::Forbidden(permission_message(Permission::Edit, target.level)));
    }
    // The key identifies the request, not the values to write: after later changes, a repeated
    // request would write other columns.
    let key = idempotency_key(&headers)?;
    let request: [&[u8]; 4] = [b"RESTORE VERSION", code.as_bytes(), id.as_bytes(), &version.to_le_bytes()];
    let key = match check_idempotency(context.conn, &user, key.as_deref(), &request).await? {
        IdempotencyCheck::Replay(response) => return Ok(response),
        IdempotencyCheck::New(key) => key,
    };
    let current_version = row_version(&target.current).0;
    if !target.is_active || version < 1 || version > current_version {
        return Err(ApiError::NotFound);
    }
    let old_values = audit_log::values_at_version(context.conn, &entity.code, id, version, current_version)
        .await?
        .ok_or_else(|| ApiError::unprocessable("version", "is older than the log retention"))?;
    let mut values = Row::new();
    for (name, (value, text)) in old_values {
        let Some(column) = entity.column(&name).filter(|c| !c.read_only) else { continue };
        let value = if column.kind == ColumnKind::Money { text.map_or(Value::Null, Value::String) } else { value };
        values.insert(name, value);
    }
    without_derived(entity, &mut values, &target.current);
    let mutation = Mutation {
        version: parse_if_match(&headers)?,
        ..Mutation::new(MutationKind::Update, entity, id, Value::Object(values))
    };
    let response = mutation.execute_on(&mut context, target).await?;
    commit_with_response(transaction, &user, key, response).await
}

/// Lists recent changes of entities visible to the caller, newest first.
#[utoipa::path(get, path = "/activity", tag = "history", params(
    ("limit" = Option<i64>, Query, description = "Maximum number of entries, 1 to 200"), ("cursor" = Option<String>, Query, description = "`next_cursor` of the previous page")), responses(
    (status = 200, description = "{data: [{entity, entity_id, title, version, action, at, person_id, person_name, changed}], next_cursor}", body = Activity, example = json!(responses::activity_example())),
    InvalidParameter, Unauthorized))]
async fn list_activity(
    State(app): State<AppState>,
    user: AuthUser,
    Query(page_params): Query<PageParams>,
) -> Result<Json<Activity>> {
    /// Maximum number of log batches per request.
    ///
    /// A caller who sees few of the recent changes may get a short page and continues with its
    /// cursor.
    const MAX_BATCHES: usize = 8;
    /// Number of log entries per batch.
    const BATCH_ROWS: usize = 400;
    let (limit, mut before) = page_params.read()?;
    let limit = usize::try_from(limit).unwrap_or(50);
    let mut connection = app.pool.acquire().await.map_err(DatabaseError::from)?;
    let mut data: Vec<ActivityEntry> = Vec::new();
    // Whether the log has entries before the last one that was read.
    let mut has_more = true;
    for _ in 0..MAX_BATCHES {
        let entries =
            audit_log::list_recent(&mut connection, before, i64::try_from(BATCH_ROWS).unwrap_or(i64::MAX)).await?;
        has_more = entries.len() == BATCH_ROWS;
        let ids: Vec<Uuid> =
            entries.iter().map(|log_entry| log_entry.entity_id).collect::<BTreeSet<_>>().into_iter().collect();
        let titles: BTreeMap<Uuid, String> = permission::visible(&mut connection, user.person, &ids)
            .await?
            .into_iter()
            .map(|entity| (entity.id, entity.title))
            .collect();
        for log_entry in entries {
            if data.len() == limit {
                has_more = true;
                break;
            }
            before = Some(log_entry.seq);
            if let Some(title) = titles.get(&log_entry.entity_id).cloned() {
                data.push(ActivityEntry { entry: log_entry.into(), title });
            }
        }
        if !has_more || data.len() == limit {
            break;
        }
    }
    let next = before.filter(|_| has_more).map(|seq| seq.to_string());
    Ok(Json(Activity { data, next_cursor: next }))
}
