//! GET routes: one entity, lists, children, parents.
//!
//! Invariant: an entity that the caller may not see is reported as 404 or left out, never as 403.

use super::responses::{self, ChildTab, ChildTabs, ParentEntry, ParentList};
use crate::auth::AuthUser;
use crate::error::{ApiError, Result};
use crate::openapi::{EntitySchema, NotVisible, References, RowSchema, Unauthorized};
use crate::state::{AppState, EntityModel};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pmo_database::list::{self, ParentFilter};
use pmo_database::visibility::ReadContext;
use pmo_database::{Connection, DatabaseError, permission, row};
use pmo_domain::api_types::{ReferenceNames, row_version};
use pmo_domain::query::ListQuery;
use pmo_domain::{EntityType, Permission, PersonId, Row};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::sync::Arc;
use utoipa::ToSchema;
use uuid::Uuid;

/// Response header with the feed position from before the reads of the response.
///
/// SUBSCRIBE takes it as `since`.
pub(crate) static FEED_CURSOR: HeaderName = HeaderName::from_static("feed-cursor");

type Parameters = Query<Vec<(String, String)>>;

pub(crate) fn parse_id(text: &str) -> Result<Uuid> {
    text.parse().map_err(|_| ApiError::NotFound)
}

/// Adds the caller's permission and the names of referenced entities to a row.
fn annotate_row(row: &mut Row, level: Permission, names: &ReferenceNames) {
    row.insert("permission".into(), json!(level));
    row.insert("ref_data_entityInstance".into(), json!(names));
}

/// Renders a row for its writer, within the writing transaction.
pub(crate) async fn render_row(
    connection: &mut Connection,
    entity: &EntityType,
    person: PersonId,
    level: Permission,
    mut row: Row,
) -> Result<Row> {
    let ids = row::referenced_ids(entity, std::slice::from_ref(&row));
    let names = row::reference_names_uncached(connection, person, entity, &ids).await?;
    annotate_row(&mut row, level, &names);
    Ok(row)
}

/// Returns the `ETag` of a row: its version and a hash of the representation.
///
/// The hash is needed because reference names and the caller's permission change without the
/// version.
pub(super) fn etag(row: &Row) -> String {
    let text = serde_json::to_vec(row).unwrap_or_default();
    let digest: String = Sha256::digest(&text).iter().take(6).map(|b| format!("{b:02x}")).collect();
    format!("\"{}-{digest}\"", row_version(row).0)
}

/// Builds a response with the row and its `ETag`.
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

/// Returns one entity.
#[utoipa::path(get, path = "/{entity}/{id}", tag = "entities", params(
    ("entity" = String, Path, description = "Entity type code", example = "task"), ("id" = Uuid, Path, description = "Entity id"),
    ("If-None-Match" = Option<String>, Header, description = "ETag of the cached response; 304 if it is current")), responses(
    (status = 200, description = "The row with `permission` and `ref_data_entityInstance`; headers ETag and Feed-Cursor", body = EntitySchema),
    (status = 304, description = "Not modified"), Unauthorized,
    NotVisible))]
pub(crate) async fn get_entity(
    State(app): State<AppState>,
    user: AuthUser,
    Path((code, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response> {
    let model = app.model_for_type(&code).await?;
    let (entity, id) = (model.entity(&code)?, parse_id(&id)?);
    let mut connection = pmo_database::begin_snapshot_read(&app.pool).await?;
    let mut reader = app.visibility_cache.begin_read(&mut connection, user.person).await?;
    let cursor = reader.cursor.clone();
    let level =
        permission::permission_on(&mut connection, user.person, &entity.code, id).await?.ok_or(ApiError::NotFound)?;
    let mut row =
        row::by_id(&mut connection, entity, id, row::DeletedRows::Exclude).await?.ok_or(ApiError::NotFound)?;
    let ids = row::referenced_ids(entity, std::slice::from_ref(&row));
    let names = row::reference_names(&mut connection, &mut reader, entity, &ids).await?;
    connection.commit().await.map_err(DatabaseError::from)?;
    annotate_row(&mut row, level, &names);
    let tag = etag(&row);
    let response =
        if if_none_match_hits(&headers, &tag) { not_modified(&tag) } else { row_response(StatusCode::OK, &row) };
    Ok(with_cursor(response, cursor))
}

/// Returns whether `If-None-Match` contains this `ETag` or `*`.
fn if_none_match_hits(headers: &HeaderMap, tag: &str) -> bool {
    let header_value = headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok());
    header_value.is_some_and(|header_value| {
        header_value
            .split(',')
            .any(|candidate| candidate.trim().trim_start_matches("W/") == tag || candidate.trim() == "*")
    })
}

fn not_modified(tag: &str) -> Response {
    let mut response = StatusCode::NOT_MODIFIED.into_response();
    if let Ok(tag) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// Lists the entities of a type that are visible to the caller.
#[utoipa::path(get, path = "/{entity}", tag = "entities", params(
    ("entity" = String, Path, description = "Entity type code", example = "project"),
    ("limit" = Option<usize>, Query, description = "Maximum number of rows, 1 to 1000"), ("offset" = Option<usize>, Query, description = "Number of rows to skip"),
    ("cursor" = Option<String>, Query, description = "`next_cursor` of the previous page"),
    ("sort" = Option<String>, Query, description = "Sort columns; prefix `-` for descending order"),
    ("search" = Option<String>, Query, description = "Search words in name, code or description"),
    ("ids" = Option<String>, Query, description = "At most 200 ids; an id missing from the response is deleted or not visible to the caller"),
    ("fields" = Option<String>, Query, description = "Columns to return"), ("content" = Option<String>, Query, description = "`metadata` returns column definitions instead of rows"),
    ("parent_entity_code" = Option<String>, Query, description = "With parent_entity_instance_id: only children of that entity"),
    ("parent_entity_instance_id" = Option<Uuid>, Query, description = "Parent id"),
    ("include_deleted" = Option<bool>, Query, description = "Also return deleted entities that the caller may restore"),
    ("If-None-Match" = Option<String>, Header, description = "ETag of the cached response; 304 if it is current")), responses(
    (status = 304, description = "Not modified"),
    (status = 200, description = "The page; headers ETag and Feed-Cursor. Every column is also a filter: `due_date[gte]=2026-01-01`", body = ListBody),
    (status = 400, description = "Unknown or invalid parameter; see `errors`"), Unauthorized,
    (status = 404, description = "No such type")))]
pub(super) async fn list_entities(
    State(app): State<AppState>,
    user: AuthUser,
    Path(code): Path<String>,
    Query(parameters): Parameters,
    headers: HeaderMap,
) -> Result<Response> {
    let model = app.model_for_type(&code).await?;
    let entity = model.entity(&code)?;
    let (parent_parameters, parameters): (Vec<_>, Vec<_>) =
        parameters.into_iter().partition(|(name, _)| name.starts_with("parent_entity_"));
    if parent_parameters.is_empty() {
        return list_response(&app, &user, &headers, entity, &parameters, None).await;
    }
    let parent_parameter = |name: &str| parent_parameters.iter().find(|p| p.0 == name).map(|p| p.1.as_str());
    let (Some(parent), Some(id)) =
        (parent_parameter("parent_entity_code"), parent_parameter("parent_entity_instance_id"))
    else {
        return Err(ApiError::bad_request(
            &parent_parameters[0].0,
            "parent_entity_code and parent_entity_instance_id must be used together",
        ));
    };
    let not_a_parent = || ApiError::bad_request("parent_entity_code", format!("is not a parent type of {code}"));
    let parent = model.catalog.get(parent).ok_or_else(not_a_parent)?;
    model.catalog.child_relation(parent.code.as_str(), &code).ok_or_else(not_a_parent)?;
    id.parse::<Uuid>().map_err(|_| ApiError::bad_request("parent_entity_instance_id", "must be an id (a UUID)"))?;
    list_children_of(&app, &user, &headers, &model, parent, id, entity, &parameters).await
}

/// Lists the children of an entity.
#[utoipa::path(get, path = "/{parent}/{id}/{child}", tag = "entities", params(
    ("parent" = String, Path, description = "Parent type code", example = "project"), ("id" = Uuid, Path, description = "Parent id"),
    ("child" = String, Path, description = "Child type code", example = "task")), responses(
    (status = 200, description = "Same as the list of the type, with the same parameters and headers", body = ListBody),
    (status = 304, description = "Not modified"),
    (status = 400, description = "Unknown or invalid parameter; see `errors`"), Unauthorized,
    (status = 404, description = "Parent not found or not visible to the caller, or no such child type")))]
pub(super) async fn list_children(
    State(app): State<AppState>,
    user: AuthUser,
    Path((parent, id, child)): Path<(String, String, String)>,
    Query(parameters): Parameters,
    headers: HeaderMap,
) -> Result<Response> {
    let model = app.model_for_type(&parent).await?;
    let parent = model.entity(&parent)?;
    list_children_of(&app, &user, &headers, &model, parent, &id, model.entity(&child)?, &parameters).await
}

/// Fails with 404 unless the entity exists and is visible to the reader.
async fn require_visible(
    conn: &mut Connection,
    reader: &mut ReadContext<'_>,
    entity: &EntityType,
    id: Uuid,
) -> Result<()> {
    permission::permission_on(conn, reader.person, &entity.code, id).await?.ok_or(ApiError::NotFound)?;
    row::filter_existing(conn, entity, &[id]).await?.contains(&id).then_some(()).ok_or(ApiError::NotFound)
}

/// Lists the children of an entity after checking that it is visible.
#[expect(clippy::too_many_arguments, reason = "the parameters of a list of children, passed on unchanged")]
async fn list_children_of(
    app: &AppState,
    user: &AuthUser,
    headers: &HeaderMap,
    model: &EntityModel,
    parent: &EntityType,
    id: &str,
    entity: &EntityType,
    parameters: &[(String, String)],
) -> Result<Response> {
    let id = parse_id(id)?;
    let relation =
        model.catalog.child_relation(parent.code.as_str(), entity.code.as_str()).ok_or(ApiError::NotFound)?;
    let parent_filter = ParentFilter { parent_code: &parent.code, parent_id: id, relation };
    list_response(app, user, headers, entity, parameters, Some((parent, parent_filter))).await
}

async fn list_response(
    app: &AppState,
    user: &AuthUser,
    headers: &HeaderMap,
    entity: &EntityType,
    parameters: &[(String, String)],
    parent_filter: Option<(&EntityType, ParentFilter<'_>)>,
) -> Result<Response> {
    let query = ListQuery::parse(parameters, entity)?;
    let fields: Vec<&str> = if query.fields.is_empty() {
        entity.columns.iter().map(|c| c.name.as_str()).collect()
    } else {
        query.fields.iter().map(String::as_str).collect()
    };
    let mut list_body = ListBody {
        data: Vec::new(),
        fields,
        metadata: json!({}),
        references: References(ReferenceNames::new()),
        total: 0,
        total_is_exact: true,
        limit: query.limit,
        offset: query.offset,
        next_cursor: None,
    };
    if query.metadata_only {
        list_body.metadata = entity.metadata();
        return Ok(Json(list_body).into_response());
    }
    let _permit = app.acquire_list_permit().await;
    let mut connection = pmo_database::begin_snapshot_read(&app.pool).await?;
    let mut reader = app.visibility_cache.begin_read(&mut connection, user.person).await?;
    if let Some((parent, parent_filter)) = &parent_filter {
        require_visible(&mut connection, &mut reader, parent, parent_filter.parent_id).await?;
    }
    let parent_filter = parent_filter.as_ref().map(|(_, parent_filter)| parent_filter);
    let page = list::fetch_page(&mut connection, &mut reader, &app.row_cache, entity, &query, parent_filter).await?;
    list_body.references =
        References(row::reference_names(&mut connection, &mut reader, entity, &page.referenced_ids).await?);
    let mut rows: Vec<Arc<RawValue>> = page.rows.iter().map(|entry| entry.row.json.clone()).collect();
    if let Some(ids) = &query.ids {
        // Clients that refresh single rows by `ids` need the same `permission` field as in GET of
        // one entity.
        let levels = permission::permissions_of(&mut connection, &[user.person], &entity.code, ids).await?;
        for (row, json) in page.rows.iter().zip(&mut rows) {
            if let Some(level) = levels.get(&(user.person, row.id)) {
                let annotated = with_permission(json.get(), *level);
                *json = RawValue::from_string(annotated).map_err(|_| ApiError::Internal)?.into();
            }
        }
    }
    connection.commit().await.map_err(DatabaseError::from)?;
    list_body.data = rows.iter().map(|json| &**json).collect();
    list_body.total = page.total;
    list_body.total_is_exact = page.exact;
    list_body.next_cursor = page.next_cursor;
    let body = serde_json::to_vec(&list_body).map_err(|_| ApiError::Internal)?;
    // The `ETag` hashes the whole body, because it contains the caller's permissions and the names
    // of referenced entities.
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

/// Adds the caller's permission to the JSON of a row.
pub(crate) fn with_permission(row: &str, level: Permission) -> String {
    format!("{{\"permission\":{},{}", u8::from(level), row.trim_start_matches('{'))
}

/// A page of a list.
///
/// `total` counts all pages; if `total_is_exact` is false, it is a lower bound.
#[derive(serde::Serialize, ToSchema)]
#[schema(as = Listing, examples(json!({
    "data": [{
        "id": "01a2056d-3563-7049-ab62-bfe1ca58ce3f", "name": "Hand-over", "version": 1,
        "project_id": "0abb4da0-deec-9b5b-b295-27caaa6c94e5"
    }],
    "fields": ["name", "project_id"], "metadata": {},
    "ref_data_entityInstance": {"employee": {}, "project": {"0abb4da0-deec-9b5b-b295-27caaa6c94e5": "ERP upgrade"}},
    "total": 18, "total_is_exact": true, "limit": 1, "offset": 0, "next_cursor": "5b5b5d2c5b22"
})))]
struct ListBody<'a> {
    /// Rows of the page, as raw JSON.
    #[schema(value_type = Vec<RowSchema>)]
    data: Vec<&'a RawValue>,
    /// Names of the returned columns.
    fields: Vec<&'a str>,
    /// Column definitions, if requested instead of rows.
    #[schema(value_type = Object)]
    metadata: Value,
    /// Titles of the entities that the rows reference.
    #[serde(rename = "ref_data_entityInstance")]
    references: References,
    /// Number of matching rows.
    total: i64,
    /// Whether `total` is exact.
    total_is_exact: bool,
    /// Maximum number of rows of the page.
    limit: usize,
    /// Number of skipped rows.
    offset: usize,
    /// Cursor of the next page; null on the last page.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// Returns the child types of an entity with the number of visible children of each.
#[utoipa::path(get, path = "/{parent}/{id}/dynamic-child-entity-tabs", tag = "entities", params(
    ("parent" = String, Path, description = "Parent type code", example = "project"), ("id" = Uuid, Path, description = "Parent id")), responses(
    (status = 200, description = "[{code, ui_label, ui_icon, count}]", body = ChildTabs, example = json!(responses::child_tabs_example())), Unauthorized,
    NotVisible))]
pub(super) async fn child_tabs(
    State(app): State<AppState>,
    user: AuthUser,
    Path((code, id)): Path<(String, String)>,
) -> Result<Json<ChildTabs>> {
    let model = app.model_for_type(&code).await?;
    let (parent, id) = (model.entity(&code)?, parse_id(&id)?);
    let _permit = app.acquire_list_permit().await;
    let mut connection = pmo_database::begin_snapshot_read(&app.pool).await?;
    let mut reader = app.visibility_cache.begin_read(&mut connection, user.person).await?;
    require_visible(&mut connection, &mut reader, parent, id).await?;
    let mut tabs = Vec::new();
    for relation in &parent.children {
        let Some(child) = model.catalog.get(relation.code.as_str()) else { continue };
        let parent_filter = ParentFilter { parent_code: &parent.code, parent_id: id, relation };
        let query = ListQuery { limit: 1, ..ListQuery::default() };
        let page =
            list::fetch_page(&mut connection, &mut reader, &app.row_cache, child, &query, Some(&parent_filter)).await?;
        tabs.push(ChildTab {
            code: child.code.to_string(),
            count: page.total,
            ui_icon: child.ui_icon.clone(),
            ui_label: child.ui_label.clone(),
        });
    }
    Ok(Json(ChildTabs(tabs)))
}

/// Lists the parents of an entity that are visible to the caller, by columns and by links.
#[utoipa::path(get, path = "/{entity}/{id}/parents", tag = "entities", params(
    ("entity" = String, Path, description = "Entity type code", example = "artifact"), ("id" = Uuid, Path, description = "Entity id")), responses(
    (status = 200, description = "{data: [{code, id, title, owned}]}: at most 100, owners first", body = ParentList, example = json!(responses::parent_list_example())), Unauthorized,
    NotVisible))]
pub(super) async fn parents(
    State(app): State<AppState>,
    user: AuthUser,
    Path((code, id)): Path<(String, String)>,
) -> Result<Json<ParentList>> {
    /// Maximum number of parents returned.
    const MAX_PARENTS: usize = 100;
    let model = app.model_for_type(&code).await?;
    let (entity, id) = (model.entity(&code)?, parse_id(&id)?);
    let mut connection = pmo_database::begin_snapshot_read(&app.pool).await?;
    let mut reader = app.visibility_cache.begin_read(&mut connection, user.person).await?;
    require_visible(&mut connection, &mut reader, entity, id).await?;
    let links = pmo_database::link::parents(&mut connection, &entity.code, id, 10 * MAX_PARENTS).await?;
    let ids: Vec<Uuid> = links.iter().map(|link| link.id).collect();
    let mut visible = permission::visible(&mut connection, user.person, &ids).await?;
    // Deleted parents are omitted.
    let mut existing = BTreeSet::new();
    for code in visible.iter().map(|parent| parent.code.clone()).collect::<BTreeSet<_>>() {
        let ids_of_type: Vec<Uuid> =
            visible.iter().filter(|parent| parent.code == code).map(|parent| parent.id).collect();
        existing.extend(row::filter_existing(&mut connection, model.entity(&code)?, &ids_of_type).await?);
    }
    visible.retain(|parent| existing.contains(&parent.id));
    let entries = links.iter().filter_map(|link| {
        let parent = visible.iter().find(|parent| parent.id == link.id)?;
        let (code, title) = (parent.code.clone(), parent.title.clone());
        Some(ParentEntry { code, id: link.id, owned: link.owned, title })
    });
    Ok(Json(ParentList { data: entries.take(MAX_PARENTS).collect() }))
}
