//! GET: one thing, lists, children. What the reader may not see is 404 or absent, never 403.

use crate::auth::AuthUser;
use crate::error::{ApiError, Result};
use crate::state::{AppState, EntityModel};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pmo_database::list::{self, ParentFilter};
use pmo_database::visibility::ReadContext;
use pmo_database::{Connection, DatabaseError, PoolConnection, permission, row};
use pmo_domain::api_types::{ReferenceNames, row_version};
use pmo_domain::query::ListQuery;
use pmo_domain::{EntityType, Permission, PersonId, Row};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::sync::Arc;
use uuid::Uuid;

/// Where the feed stood before the answer's reads: SUBSCRIBE names it as `since`.
pub static FEED_CURSOR: HeaderName = HeaderName::from_static("feed-cursor");

type Parameters = Query<Vec<(String, String)>>;

pub(super) async fn connection(app: &AppState) -> Result<PoolConnection> {
    Ok(app.pool.acquire().await.map_err(DatabaseError::from)?)
}

pub(crate) fn id_of(text: &str) -> Result<Uuid> {
    text.parse().map_err(|_| ApiError::NotFound)
}

/// Adds the reader's level and the names of what the row refers to.
fn annotate_row(row: &mut Row, level: Permission, names: &ReferenceNames) {
    row.insert("permission".into(), json!(level));
    row.insert("ref_data_entityInstance".into(), json!(names));
}

/// One thing as its writer sees it, within the transaction that wrote it.
pub(crate) async fn render_row(
    connection: &mut Connection,
    entity: &EntityType,
    person: PersonId,
    level: Permission,
    mut row: Row,
) -> Result<Row> {
    let mentioned = row::referenced_ids(entity, std::slice::from_ref(&row));
    let references = row::reference_names_uncached(connection, person, entity, &mentioned).await?;
    annotate_row(&mut row, level, &references);
    Ok(row)
}

/// A tag of version and representation: names and the reader's level change without the version.
pub(super) fn etag(row: &Row) -> String {
    let text = serde_json::to_vec(row).unwrap_or_default();
    let digest: String = Sha256::digest(&text).iter().take(6).map(|b| format!("{b:02x}")).collect();
    format!("\"{}-{digest}\"", row_version(row).0)
}

/// The row as an answer with its ETag.
pub(super) fn row_response(status: StatusCode, row: &Row) -> Response {
    let mut response = (status, Json(row)).into_response();
    if let Ok(tag) = HeaderValue::from_str(&etag(row)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    response
}

fn with_cursor(mut response: Response, cursor: pmo_domain::FeedCursor) -> Response {
    if let Ok(value) = HeaderValue::from_str(&cursor.to_string()) {
        response.headers_mut().insert(FEED_CURSOR.clone(), value);
    }
    response
}

/// One thing.
#[utoipa::path(get, path = "/{entity}/{id}", tag = "things", params(
    ("entity" = String, Path, description = "The type's code", example = "task"), ("id" = Uuid, Path, description = "The thing"),
    ("If-None-Match" = Option<String>, Header, description = "An ETag: 304 where nothing has changed")), responses(
    (status = 200, description = "The row, with 'permission' and 'ref_data_entityInstance'; ETag and Feed-Cursor in the headers", body = Object),
    (status = 304, description = "Nothing has changed"), (status = 401, description = "Not signed in"),
    (status = 404, description = "Not there, or not for this reader")))]
pub(super) async fn get_entity(
    State(app): State<AppState>,
    who: AuthUser,
    Path((code, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response> {
    let model = app.model_for_type(&code).await?;
    let (entity, id) = (model.entity(&code)?, id_of(&id)?);
    let mut connection = pmo_database::begin_snapshot_read(&app.pool).await?;
    let mut reader = app.visibility_cache.begin_read(&mut connection, who.person).await?;
    let cursor = reader.cursor.clone();
    let level =
        permission::permission_on(&mut connection, who.person, &entity.code, id).await?.ok_or(ApiError::NotFound)?;
    let mut row = row::by_id(&mut connection, entity, id, false).await?.ok_or(ApiError::NotFound)?;
    let mentioned = row::referenced_ids(entity, std::slice::from_ref(&row));
    let names = row::reference_names(&mut connection, &mut reader, entity, &mentioned).await?;
    connection.commit().await.map_err(DatabaseError::from)?;
    annotate_row(&mut row, level, &names);
    let tag = etag(&row);
    let response =
        if if_none_match_hits(&headers, &tag) { not_modified(&tag) } else { row_response(StatusCode::OK, &row) };
    Ok(with_cursor(response, cursor))
}

/// Whether the reader has what bears this ETag.
fn if_none_match_hits(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok());
    known.is_some_and(|known| known.split(',').any(|k| k.trim().trim_start_matches("W/") == tag || k.trim() == "*"))
}

fn not_modified(tag: &str) -> Response {
    let mut response = StatusCode::NOT_MODIFIED.into_response();
    if let Ok(tag) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// Things of a type, as far as the reader may see them.
#[utoipa::path(get, path = "/{entity}", tag = "things", params(
    ("entity" = String, Path, description = "The type's code", example = "project"),
    ("limit" = Option<usize>, Query, description = "Most rows, 1 to 1000"), ("offset" = Option<usize>, Query, description = "Rows to pass over"),
    ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ("sort" = Option<String>, Query, description = "Columns, `-` before one for descending"),
    ("search" = Option<String>, Query, description = "Words in name, code or description"),
    ("ids" = Option<String>, Query, description = "At most 200 ids; one that is absent from the answer is gone for this reader"),
    ("fields" = Option<String>, Query, description = "Columns to answer"), ("content" = Option<String>, Query, description = "`metadata`: the columns instead of rows"),
    ("parent_entity_code" = Option<String>, Query, description = "With parent_entity_instance_id: only what hangs below that thing"),
    ("parent_entity_instance_id" = Option<Uuid>, Query, description = "The thing above"),
    ("include_deleted" = Option<bool>, Query, description = "Deleted things too, as far as the reader may restore them"),
    ("If-None-Match" = Option<String>, Header, description = "An ETag: 304 where the page is the same")), responses(
    (status = 304, description = "The page is the same"),
    (status = 200, description = "The page; ETag and Feed-Cursor in the headers. Any column is a filter too: `due_date[gte]=2026-01-01`", body = Object),
    (status = 400, description = "A parameter is unknown or wrong; the problem names it"), (status = 401, description = "Not signed in"),
    (status = 404, description = "No such type")))]
pub(super) async fn list_entities(
    State(app): State<AppState>,
    who: AuthUser,
    Path(code): Path<String>,
    Query(parameters): Parameters,
    headers: HeaderMap,
) -> Result<Response> {
    let model = app.model_for_type(&code).await?;
    let entity = model.entity(&code)?;
    let (above, parameters): (Vec<_>, Vec<_>) =
        parameters.into_iter().partition(|(name, _)| name.starts_with("parent_entity_"));
    if above.is_empty() {
        return list_response(&app, &who, &headers, entity, &parameters, None).await;
    }
    let named = |name: &str| above.iter().find(|p| p.0 == name).map(|p| p.1.as_str());
    let (Some(parent), Some(id)) = (named("parent_entity_code"), named("parent_entity_instance_id")) else {
        return Err(ApiError::bad_request(&above[0].0, "parent_entity_code and parent_entity_instance_id go together"));
    };
    let unknown = || ApiError::bad_request("parent_entity_code", format!("is no type that a {code} hangs below"));
    let parent = model.catalogue.get(parent).ok_or_else(unknown)?;
    model.catalogue.child_relation(parent.code.as_str(), &code).ok_or_else(unknown)?;
    id.parse::<Uuid>().map_err(|_| ApiError::bad_request("parent_entity_instance_id", "must be an id (a UUID)"))?;
    list_below(&app, &who, &headers, &model, parent, id, entity, &parameters).await
}

/// Children of a thing.
#[utoipa::path(get, path = "/{parent}/{id}/{child}", tag = "things", params(
    ("parent" = String, Path, description = "The parent's type", example = "project"), ("id" = Uuid, Path, description = "The parent"),
    ("child" = String, Path, description = "The children's type", example = "task")), responses(
    (status = 200, description = "As the list of the type, with the same parameters and headers", body = Object),
    (status = 304, description = "The page is the same"),
    (status = 400, description = "A parameter is unknown or wrong"), (status = 401, description = "Not signed in"),
    (status = 404, description = "No such parent for this reader, or no such children")))]
pub(super) async fn list_children(
    State(app): State<AppState>,
    who: AuthUser,
    Path((parent, id, child)): Path<(String, String, String)>,
    Query(parameters): Parameters,
    headers: HeaderMap,
) -> Result<Response> {
    let model = app.model_for_type(&parent).await?;
    let parent = model.entity(&parent)?;
    list_below(&app, &who, &headers, &model, parent, &id, model.entity(&child)?, &parameters).await
}

/// 404 where a thing is not there for the reader.
async fn require_visible(
    c: &mut Connection,
    reader: &mut ReadContext<'_>,
    entity: &EntityType,
    id: Uuid,
) -> Result<()> {
    permission::permission_on(c, reader.person, &entity.code, id).await?.ok_or(ApiError::NotFound)?;
    row::filter_existing(c, entity, &[id]).await?.contains(&id).then_some(()).ok_or(ApiError::NotFound)
}

/// Children of a thing that the reader may see.
#[expect(clippy::too_many_arguments, reason = "what a list of children is made of, handed on as it is")]
async fn list_below(
    app: &AppState,
    who: &AuthUser,
    headers: &HeaderMap,
    model: &EntityModel,
    parent: &EntityType,
    id: &str,
    entity: &EntityType,
    parameters: &[(String, String)],
) -> Result<Response> {
    let id = id_of(id)?;
    let tie = model.catalogue.child_relation(parent.code.as_str(), entity.code.as_str()).ok_or(ApiError::NotFound)?;
    let below = ParentFilter { parent_code: &parent.code, parent_id: id, tie };
    list_response(app, who, headers, entity, parameters, Some((parent, below))).await
}

async fn list_response(
    app: &AppState,
    who: &AuthUser,
    headers: &HeaderMap,
    entity: &EntityType,
    parameters: &[(String, String)],
    below: Option<(&EntityType, ParentFilter<'_>)>,
) -> Result<Response> {
    let query = ListQuery::parse(parameters, entity).map_err(ApiError::BadRequest)?;
    let fields: Vec<&str> = if query.fields.is_empty() {
        entity.columns.iter().map(|c| c.name.as_str()).collect()
    } else {
        query.fields.iter().map(String::as_str).collect()
    };
    let mut answer = ListBody {
        data: Vec::new(),
        fields,
        metadata: json!({}),
        references: ReferenceNames::new(),
        total: 0,
        total_is_exact: true,
        limit: query.limit,
        offset: query.offset,
        next_cursor: None,
    };
    if query.metadata_only {
        answer.metadata = entity.metadata();
        return Ok(Json(answer).into_response());
    }
    let _turn = app.acquire_list_permit().await;
    let mut connection = pmo_database::begin_snapshot_read(&app.pool).await?;
    let mut reader = app.visibility_cache.begin_read(&mut connection, who.person).await?;
    if let Some((parent, below)) = &below {
        require_visible(&mut connection, &mut reader, parent, below.parent_id).await?;
    }
    let below = below.as_ref().map(|(_, below)| below);
    let mut page = list::fetch_page(&mut connection, &mut reader, &app.row_cache, entity, &query, below).await?;
    if query.include_deleted {
        let deleted: Vec<Uuid> = page.rows.iter().filter(|r| !r.active).map(|r| r.id).collect();
        let levels = permission::permissions_of(&mut connection, &[who.person], &entity.code, &deleted).await?;
        page.rows.retain(|row| row.active || levels.get(&(who.person, row.id)) >= Some(&Permission::Delete));
    }
    answer.references = row::reference_names(&mut connection, &mut reader, entity, &page.referenced_ids).await?;
    let mut texts: Vec<Arc<RawValue>> = page.rows.iter().map(|listed| listed.row.json.clone()).collect();
    if let Some(ids) = &query.ids {
        // A client that refreshes single rows needs the reader's level as GET of one row tells it.
        let levels = permission::permissions_of(&mut connection, &[who.person], &entity.code, ids).await?;
        for (row, text) in page.rows.iter().zip(&mut texts) {
            if let Some(level) = levels.get(&(who.person, row.id)) {
                let with_level = with_permission(text.get(), *level);
                *text = RawValue::from_string(with_level).map_err(|_| ApiError::Internal)?.into();
            }
        }
    }
    connection.commit().await.map_err(DatabaseError::from)?;
    answer.data = texts.iter().map(|text| &**text).collect();
    answer.total = page.total;
    answer.total_is_exact = page.exact;
    answer.next_cursor = page.next_cursor;
    let body = serde_json::to_vec(&answer).map_err(|_| ApiError::Internal)?;
    // A page is what its bytes are: the reader's rights and the names of what it mentions are in them.
    let digest = Sha256::digest(&body);
    let tag = format!("\"{}\"", digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>());
    let mut response = if if_none_match_hits(headers, &tag) {
        not_modified(&tag)
    } else {
        let mut response = ([(header::CONTENT_TYPE, "application/json")], body).into_response();
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    Ok(with_cursor(response, reader.cursor))
}

/// A row's JSON with the reader's level in it.
pub(crate) fn with_permission(row: &str, level: Permission) -> String {
    format!("{{\"permission\":{},{}", u8::from(level), row.trim_start_matches('{'))
}

/// [`pmo_domain::rest::ListAnswer`] as it is written here: rows go through as the database made them.
#[derive(serde::Serialize)]
struct ListBody<'a> {
    data: Vec<&'a RawValue>,
    fields: Vec<&'a str>,
    metadata: Value,
    #[serde(rename = "ref_data_entityInstance")]
    references: ReferenceNames,
    total: i64,
    total_is_exact: bool,
    limit: usize,
    offset: usize,
    next_cursor: Option<String>,
}

/// The tabs of a thing's page: what can hang below it, and how much does.
#[utoipa::path(get, path = "/{parent}/{id}/dynamic-child-entity-tabs", tag = "things", params(
    ("parent" = String, Path, description = "The parent's type", example = "project"), ("id" = Uuid, Path, description = "The parent")), responses(
    (status = 200, description = "[{code, ui_label, ui_icon, count}]", body = Object), (status = 401, description = "Not signed in"),
    (status = 404, description = "No such thing for this reader")))]
pub(super) async fn child_tabs(
    State(app): State<AppState>,
    who: AuthUser,
    Path((code, id)): Path<(String, String)>,
) -> Result<Json<Value>> {
    let model = app.model_for_type(&code).await?;
    let (parent, id) = (model.entity(&code)?, id_of(&id)?);
    let _turn = app.acquire_list_permit().await;
    let mut connection = pmo_database::begin_snapshot_read(&app.pool).await?;
    let mut reader = app.visibility_cache.begin_read(&mut connection, who.person).await?;
    require_visible(&mut connection, &mut reader, parent, id).await?;
    let mut tabs = Vec::new();
    for tie in &parent.children {
        let Some(child) = model.catalogue.get(tie.code.as_str()) else { continue };
        let below = ParentFilter { parent_code: &parent.code, parent_id: id, tie };
        let query = ListQuery { limit: 1, ..ListQuery::default() };
        let page = list::fetch_page(&mut connection, &mut reader, &app.row_cache, child, &query, Some(&below)).await?;
        tabs.push(
            json!({"code": child.code, "ui_label": child.ui_label, "ui_icon": child.ui_icon, "count": page.total}),
        );
    }
    Ok(Json(Value::Array(tabs)))
}

/// What a thing hangs below, as far as its reader sees that: by columns and by links alone.
#[utoipa::path(get, path = "/{entity}/{id}/parents", tag = "things", params(
    ("entity" = String, Path, description = "The type's code", example = "artifact"), ("id" = Uuid, Path, description = "The thing")), responses(
    (status = 200, description = "{data: [{code, id, title, owned}]}: at most 100, those that own it first", body = Object), (status = 401, description = "Not signed in"),
    (status = 404, description = "No such thing for this reader")))]
pub(super) async fn parents(
    State(app): State<AppState>,
    who: AuthUser,
    Path((code, id)): Path<(String, String)>,
) -> Result<Json<Value>> {
    /// Most that are told.
    const MAX_PARENTS: usize = 100;
    let model = app.model_for_type(&code).await?;
    let (entity, id) = (model.entity(&code)?, id_of(&id)?);
    let mut connection = pmo_database::begin_snapshot_read(&app.pool).await?;
    let mut reader = app.visibility_cache.begin_read(&mut connection, who.person).await?;
    require_visible(&mut connection, &mut reader, entity, id).await?;
    let above = pmo_database::link::parents(&mut connection, &entity.code, id, 10 * MAX_PARENTS).await?;
    let ids: Vec<Uuid> = above.iter().map(|(id, _)| *id).collect();
    let mut seen = permission::visible(&mut connection, who.person, &ids).await?;
    // What is deleted is there for nobody.
    let mut alive = BTreeSet::new();
    for code in seen.iter().map(|parent| parent.code.clone()).collect::<BTreeSet<_>>() {
        let of_type: Vec<Uuid> = seen.iter().filter(|parent| parent.code == code).map(|parent| parent.id).collect();
        alive.extend(row::filter_existing(&mut connection, model.entity(&code)?, &of_type).await?);
    }
    seen.retain(|parent| alive.contains(&parent.id));
    let told = above.iter().filter_map(|(id, owned)| {
        let parent = seen.iter().find(|parent| parent.id == *id)?;
        Some(json!({"code": parent.code, "id": id, "title": parent.title, "owned": owned}))
    });
    Ok(Json(json!({"data": told.take(MAX_PARENTS).collect::<Vec<_>>()})))
}
