//! Exports: rows of a type (CSV, JSON), all visible rows (JSON), a project (Microsoft Project).
//!
//! Each export is streamed from one database snapshot and contains only rows that the user may see.

mod context; // what an export reads from
pub mod plan; // conversion of a project into a plan

pub use context::ExportContext;

use crate::auth::AuthUser;
use crate::error::{ApiError, Result};
use crate::import::csv::escape_formula;
use crate::openapi::{InvalidParameter, NotVisible, RowSchema, Unauthorized};
use crate::state::{AppState, EntityModel};
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use pmo_database::list::{ListRow, ParentFilter};
use pmo_database::{DatabaseError, list, permission, row};
use pmo_domain::api_types::{MAX_PAGE_SIZE, ReferenceNames};
use pmo_domain::query::ListQuery;
use pmo_domain::{Column, ColumnKind, EntityType, Row};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

/// Maximum time that a part waits for a slow client.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum duration of an export.
const STREAM_TIMEOUT: Duration = Duration::from_secs(300);
/// Permits for exports: each occupies a connection and a database snapshot.
static PERMITS: Semaphore = Semaphore::const_new(2);
/// Maximum time that a request waits for a permit.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Returns the routes of this module.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(export_all)).routes(routes!(export_rows)).routes(routes!(export_project))
}

/// Destination of an export.
pub enum Sink {
    /// Response stream of a client.
    Stream(mpsc::Sender<std::result::Result<Bytes, std::io::Error>>),
    /// Buffer in memory, for the command line.
    Memory(Vec<u8>),
}

impl Sink {
    /// Appends a part; fails if the client has disconnected or is slower than [`SEND_TIMEOUT`].
    async fn push(&mut self, part: String) -> Result<()> {
        match self {
            Self::Memory(buffer) => buffer.extend_from_slice(part.as_bytes()),
            Self::Stream(sender) => match tokio::time::timeout(SEND_TIMEOUT, sender.send(Ok(part.into()))).await {
                Ok(Ok(())) => {}
                _ => return Err(ApiError::Unavailable),
            },
        }
        Ok(())
    }
}

/// Format of an export of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// CSV with a header row, as `POST /{entity}/import` reads it.
    Csv,
    /// JSON, one row per line.
    Json,
}

/// Content of an export.
#[derive(Clone, Debug)]
pub enum ExportRequest {
    /// Rows of a type that match a query, optionally only the children of one parent.
    Rows(String, Box<ListQuery>, ExportFormat, Option<(String, Uuid)>),
    /// All rows of all types that the user may see.
    Everything,
}

/// Builds a response that streams the export; `name` is the suggested file name.
fn stream_response(
    app: AppState,
    user: AuthUser,
    request: ExportRequest,
    content_type: &'static str,
    name: &str,
) -> Response {
    let (sender, mut receiver) = mpsc::channel(2);
    tokio::spawn(async move {
        let export = async {
            let permit = tokio::time::timeout(PERMIT_TIMEOUT, PERMITS.acquire()).await;
            let _permit = permit.ok().and_then(std::result::Result::ok).ok_or(ApiError::Unavailable)?;
            let mut sink = Sink::Stream(sender.clone());
            let model = app.model().await?;
            let context = ExportContext {
                pool: &app.pool,
                visibility_cache: &app.visibility_cache,
                row_cache: &app.row_cache,
                model: &model,
            };
            tokio::time::timeout(STREAM_TIMEOUT, write(&context, &user, &request, &mut sink))
                .await
                .unwrap_or(Err(ApiError::Unavailable))
        };
        if export.await.is_err() {
            // The error aborts the response, so that the client does not take a partial file for a
            // complete one.
            let _ = sender.send(Err(std::io::Error::other("export interrupted"))).await;
        }
    });
    let stream = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context));
    let mut response = Body::from_stream(stream).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Ok(disposition) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, disposition);
    }
    response
}

/// Rows in CSV with a header row.
#[derive(ToSchema)]
#[schema(value_type = String, examples("code,name\r\nTSK-1,Write the brief\r\n"))]
struct CsvText(#[expect(dead_code, reason = "describes a streamed body")] String);

/// A plan in Microsoft Project XML.
#[derive(ToSchema)]
#[schema(
    value_type = String,
    examples(r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?><Project xmlns="http://schemas.microsoft.com/project"/>"#)
)]
struct PlanText(#[expect(dead_code, reason = "describes a body of text")] String);

/// A line of an export: rows of a type, or the end marker of a complete response.
#[derive(ToSchema)]
#[schema(examples(json!({"complete": true})))]
#[expect(dead_code, reason = "describes a streamed body")]
struct ExportLine {
    /// Type code.
    #[schema(nullable = false)]
    entity_code: Option<String>,
    /// Up to 1,000 rows.
    #[schema(nullable = false, value_type = Option<Vec<RowSchema>>)]
    data: Option<Vec<Row>>,
    /// True on the last line.
    #[schema(nullable = false)]
    complete: Option<bool>,
}

/// Exports rows of a type as CSV or JSON.
#[utoipa::path(get, path = "/{entity}/export", tag = "export", params(
    ("entity" = String, Path, description = "Entity type code", example = "task"),
    ("format" = Option<String>, Query, description = "csv (default) or json (one row per line)"),
    ("parent" = Option<String>, Query, description = "`project:<id>`: only children of this entity"),
    ("fields" = Option<String>, Query, description = "Columns, separated by commas; filters, sort and search as in lists")), responses(InvalidParameter, Unauthorized,
    (status = 200, description = "CSV in UTF-8 as POST /{entity}/import reads it: references by name; text that a spreadsheet would evaluate as a formula has an apostrophe prefix. Or NDJSON, a row per line", content((CsvText = "text/csv"), (RowSchema = "application/x-ndjson"))),
    (status = 404, description = "No such type, or the parent was not found or is not visible to the caller")))]
async fn export_rows(
    State(app): State<AppState>,
    user: AuthUser,
    Path(code): Path<String>,
    Query(mut parameters): Query<Vec<(String, String)>>,
) -> Result<Response> {
    let model = app.model_for_type(&code).await?;
    let entity = model.entity(&code)?;
    let format = parameters.iter().find(|(name, _)| name == "format").map(|(_, value)| value.clone());
    let parent_ref = match parameters.iter().find(|(name, _)| name == "parent") {
        None => None,
        Some((_, value)) => Some(parse_parent(&app, &user, &code, value).await?),
    };
    let reserved = ["format", "parent", "limit", "offset", "cursor"];
    parameters.retain(|(name, _)| !reserved.contains(&name.as_str()));
    let (export_format, content_type, extension) = match format.as_deref() {
        None | Some("csv") => (ExportFormat::Csv, "text/csv; charset=utf-8", "csv"),
        Some("json") => (ExportFormat::Json, "application/x-ndjson", "ndjson"),
        Some(_) => return Err(ApiError::bad_request("format", "must be csv or json")),
    };
    let query = ListQuery::parse(&parameters, entity)?;
    let name = format!("{}.{extension}", entity.code);
    Ok(stream_response(
        app,
        user,
        ExportRequest::Rows(code, Box::new(query), export_format, parent_ref),
        content_type,
        &name,
    ))
}

/// Parses a parent filter such as `project:018f…`.
///
/// Fails unless the type may be a parent of `code` and the entity is visible to the user.
async fn parse_parent(app: &AppState, user: &AuthUser, code: &str, text: &str) -> Result<(String, Uuid)> {
    let invalid = || ApiError::bad_request("parent", "must be a type and an id, such as project:018f…");
    let (parent, id) = text.split_once(':').ok_or_else(invalid)?;
    let id: Uuid = id.parse().map_err(|_| invalid())?;
    let model = app.model().await?;
    model.catalog.child_relation(parent, code).ok_or_else(invalid)?;
    let parent = model.entity(parent)?;
    let mut connection = app.pool.acquire().await.map_err(DatabaseError::from)?;
    permission::permission_on(&mut connection, user.person, &parent.code, id).await?.ok_or(ApiError::NotFound)?;
    Ok((parent.code.to_string(), id))
}

/// Exports all rows of all types that the caller may see.
#[utoipa::path(get, path = "/export", tag = "export", responses(Unauthorized,
    (status = 200, description = "NDJSON: lines of `entity_code` and up to 1,000 rows in `data`, type by type. The last line is `{\"complete\":true}`; without it the response is incomplete", body = ExportLine, content_type = "application/x-ndjson")))]
async fn export_all(State(app): State<AppState>, user: AuthUser) -> Response {
    stream_response(app, user, ExportRequest::Everything, "application/x-ndjson", "pmo.ndjson")
}

/// Exports a project for Microsoft Project.
#[utoipa::path(get, path = "/project/{id}/export", tag = "export", params(("id" = Uuid, Path, description = "Project id")), responses(Unauthorized, NotVisible,
    (status = 200, description = "Microsoft Project XML with the plan that is visible to the caller: calendars, tasks, links, people, assignments, baselines, and computed dates", body = PlanText, content_type = "application/xml")))]
async fn export_project(State(app): State<AppState>, user: AuthUser, Path(id): Path<String>) -> Result<Response> {
    let id = crate::entity::parse_id(&id)?;
    let model = app.model_for_type("project").await?;
    let context = ExportContext {
        pool: &app.pool,
        visibility_cache: &app.visibility_cache,
        row_cache: &app.row_cache,
        model: &model,
    };
    let plan = plan::load_plan(&context, user.person, id).await?;
    let (xml, title) =
        tokio::task::spawn_blocking(move || (pmo_mspdi::write(&plan.file, &plan.computed), plan.file.project.title))
            .await
            .map_err(|_| ApiError::Internal)?;
    let name: String = title
        .unwrap_or_default()
        .chars()
        .map(|ch| if ch.is_ascii_alphanumeric() { ch } else { '-' })
        .take(80)
        .collect();
    let mut response = xml.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml; charset=utf-8"));
    if let Ok(disposition) = HeaderValue::from_str(&format!("attachment; filename=\"{name}.xml\"")) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, disposition);
    }
    Ok(response)
}

/// Writes an export into a sink, from one database snapshot.
pub async fn write(
    context: &ExportContext<'_>,
    user: &AuthUser,
    request: &ExportRequest,
    sink: &mut Sink,
) -> Result<()> {
    let model = context.model;
    let mut connection = pmo_database::begin_snapshot_read(context.pool).await?;
    let mut reader = context.visibility_cache.begin_read(&mut connection, user.person).await?;
    let exports: Vec<(&EntityType, ListQuery)> = match request {
        ExportRequest::Rows(code, query, ..) => vec![(model.entity(code)?, ListQuery::clone(query))],
        ExportRequest::Everything => {
            model.catalog.types.values().map(|entity| (entity, ListQuery::default())).collect()
        }
    };
    for (entity, mut query) in exports {
        let columns = columns(entity, &query);
        query.fields.clear();
        (query.limit, query.cursor) = (MAX_PAGE_SIZE, None);
        if let ExportRequest::Rows(_, _, ExportFormat::Csv, _) = request {
            sink.push(csv_line(columns.iter().map(|column| column.name.clone()))?).await?;
        }
        let parent_filter = match request {
            ExportRequest::Rows(code, _, _, Some((parent, id))) => {
                let relation = model.catalog.child_relation(parent, code).ok_or(ApiError::NotFound)?;
                Some(ParentFilter { parent_code: &model.entity(parent)?.code, parent_id: *id, relation })
            }
            _ => None,
        };
        loop {
            let page = list::fetch_page(
                &mut connection,
                &mut reader,
                context.row_cache,
                entity,
                &query,
                parent_filter.as_ref(),
            )
            .await?;
            let part = match request {
                ExportRequest::Rows(_, _, ExportFormat::Csv, _) => {
                    let names =
                        row::reference_names(&mut connection, &mut reader, entity, &page.referenced_ids).await?;
                    csv_lines(&page.rows, &columns, &names)?
                }
                ExportRequest::Rows(..) => {
                    page.rows.iter().map(|entry| format!("{}\n", entry.row.json.get())).collect()
                }
                ExportRequest::Everything => type_line(entity, &page.rows),
            };
            if !part.is_empty() {
                sink.push(part).await?;
            }
            let Some(next) = page.next_cursor else { break };
            query.cursor = Some(next);
        }
    }
    connection.commit().await.map_err(DatabaseError::from)?;
    if matches!(request, ExportRequest::Everything) {
        sink.push("{\"complete\":true}\n".to_owned()).await?;
    }
    Ok(())
}

fn csv_lines(rows: &[ListRow], columns: &[&Column], names: &ReferenceNames) -> Result<String> {
    let mut lines = String::new();
    for entry in rows {
        let row: Row = serde_json::from_str(entry.row.json.get()).map_err(|_| ApiError::Internal)?;
        lines += &csv_line(columns.iter().map(|column| format_cell(column, &row, names)))?;
    }
    Ok(lines)
}

/// Returns the line of [`ExportLine`] for rows of a type; empty without rows.
fn type_line(entity: &EntityType, rows: &[ListRow]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let rows: Vec<&str> = rows.iter().map(|entry| entry.row.json.get()).collect();
    format!("{{\"entity_code\":{},\"data\":[{}]}}\n", json!(entity.code), rows.join(","))
}

/// Returns the requested columns; by default all visible ones, beginning with code and name.
fn columns<'a>(entity: &'a EntityType, query: &ListQuery) -> Vec<&'a Column> {
    if !query.fields.is_empty() {
        return query.fields.iter().filter_map(|name| entity.column(name)).collect();
    }
    let is_exported = |column: &&Column| (!column.hidden || column.name == "id") && column.kind != ColumnKind::Json;
    let mut columns: Vec<&Column> = entity.columns.iter().filter(is_exported).collect();
    columns.sort_by_key(|column| match column.name.as_str() {
        "code" => 0,
        "name" => 1,
        "id" => 3,
        _ => 2,
    });
    columns
}

fn csv_line(cells: impl Iterator<Item = String>) -> Result<String> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    writer.write_record(cells).map_err(|_| ApiError::Internal)?;
    let line = writer.into_inner().map_err(|_| ApiError::Internal)?;
    String::from_utf8(line).map_err(|_| ApiError::Internal)
}

/// Formats a value as a CSV cell.
///
/// References become names, as far as the user may see them.
fn format_cell(column: &Column, row: &Row, names: &ReferenceNames) -> String {
    let name_of = |entity: &str, id: &str| {
        let id: Option<Uuid> = id.parse().ok();
        id.and_then(|id| names.get(entity)?.get(&id)).map(|name| escape_formula(name))
    };
    match (&column.kind, row.get(&column.name).unwrap_or(&Value::Null)) {
        (_, Value::Null) => String::new(),
        (ColumnKind::Reference { entity }, Value::String(id)) => name_of(entity, id).unwrap_or_default(),
        (ColumnKind::References { entity }, Value::Array(ids)) => {
            ids.iter().filter_map(Value::as_str).filter_map(|id| name_of(entity, id)).collect::<Vec<_>>().join("; ")
        }
        (ColumnKind::TextList, Value::Array(items)) => {
            items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
        }
        // Only texts are escaped: they may begin like a formula, while amounts and dates are plain
        // values.
        (ColumnKind::ShortText | ColumnKind::LongText | ColumnKind::Datalabel { .. }, Value::String(text)) => {
            escape_formula(text)
        }
        (_, Value::String(text)) => text.clone(),
        // Writes 30 instead of 30.0.
        (_, Value::Number(number)) => {
            number.as_f64().filter(|_| number.is_f64()).map_or_else(|| number.to_string(), |number| number.to_string())
        }
        (_, other) => other.to_string(),
    }
}

/// Exports on behalf of a user into memory, for the command line.
pub async fn export_to_bytes(context: &ExportContext<'_>, user: &AuthUser, request: &ExportRequest) -> Result<Vec<u8>> {
    let mut sink = Sink::Memory(Vec::new());
    write(context, user, request, &mut sink).await?;
    match sink {
        Sink::Memory(buffer) => Ok(buffer),
        Sink::Stream(_) => Err(ApiError::Internal),
    }
}

/// Returns a query for all rows of a type.
pub fn all_rows(model: &EntityModel, code: &str) -> Result<ListQuery> {
    model.entity(code)?;
    Ok(ListQuery::default())
}
