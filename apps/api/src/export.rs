//! Data goes out: rows of a type as CSV or JSON, everything that one may see as JSON, a plan for Microsoft Project. Each is one state of the database, told while it is
//! read, and holds what its reader may see and nothing else.

pub mod mspdi; // Microsoft Project XML, pure
pub mod plan; // a project as a plan

use crate::auth::AuthUser;
use crate::error::{ApiError, Result};
use crate::import::csv::escape_formula;
use crate::state::{AppState, EntityModel};
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use pmo_database::list::ParentFilter;
use pmo_database::row_cache::RowCache;
use pmo_database::visibility::VisibilityCache;
use pmo_database::{DatabaseError, Pool, list, permission, row};
use pmo_domain::api_types::{MAX_PAGE_SIZE, ReferenceNames};
use pmo_domain::query::ListQuery;
use pmo_domain::{Column, ColumnKind, EntityType, Row};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

/// How long a part may wait for its reader,
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// and how long all of them may take.
const STREAM_TIMEOUT: Duration = Duration::from_secs(300);
/// Exports that are read at once: each keeps a connection and a state of the database.
static PERMITS: Semaphore = Semaphore::const_new(2);
/// How long one waits for a turn.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(10);

/// The routes of this room.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(export_all)).routes(routes!(export_rows)).routes(routes!(export_project))
}

/// What an export reads from.
#[derive(Clone, Copy)]
pub struct ExportContext<'a> {
    /// The database.
    pub pool: &'a Pool,
    /// What is kept of people.
    pub memory: &'a VisibilityCache,
    /// What is kept of rows.
    pub texts: &'a RowCache,
    /// The types.
    pub model: &'a EntityModel,
}

/// Where parts of an export go: a browser, or a file.
pub enum Sink {
    /// To whoever asked.
    Reader(mpsc::Sender<std::result::Result<Bytes, std::io::Error>>),
    /// Into memory, for the command line.
    Memory(Vec<u8>),
}

impl Sink {
    /// Takes a part; an error where nobody reads any more.
    async fn take(&mut self, part: String) -> Result<()> {
        match self {
            Self::Memory(all) => all.extend_from_slice(part.as_bytes()),
            Self::Reader(reader) => match tokio::time::timeout(SEND_TIMEOUT, reader.send(Ok(part.into()))).await {
                Ok(Ok(())) => {}
                _ => return Err(ApiError::Unavailable),
            },
        }
        Ok(())
    }
}

/// The form of an export of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// With a first line of column names; what `POST /{entity}/import` reads.
    Csv,
    /// A line of JSON for each row.
    Json,
}

/// What is exported.
#[derive(Clone, Debug)]
pub enum ExportRequest {
    /// Rows of a type that pass a query, below one thing or anywhere.
    Rows(String, Box<ListQuery>, ExportFormat, Option<(String, Uuid)>),
    /// Everything that one may see.
    Everything,
}

/// An answer that is told while it is read; `name` is what a browser calls the file.
fn stream_response(app: AppState, who: AuthUser, what: ExportRequest, kind: &'static str, name: &str) -> Response {
    let (reader, mut parts) = mpsc::channel(2);
    tokio::spawn(async move {
        let all = async {
            let waited = tokio::time::timeout(PERMIT_TIMEOUT, PERMITS.acquire()).await;
            let _turn = waited.ok().and_then(std::result::Result::ok).ok_or(ApiError::Unavailable)?;
            let mut sink = Sink::Reader(reader.clone());
            let model = app.model().await?;
            let kept =
                ExportContext { pool: &app.pool, memory: &app.visibility_cache, texts: &app.row_cache, model: &model };
            tokio::time::timeout(STREAM_TIMEOUT, write(&kept, &who, &what, &mut sink))
                .await
                .unwrap_or(Err(ApiError::Unavailable))
        };
        if all.await.is_err() {
            // Cut short: a browser says that the download failed, and keeps no half of it.
            let _ = reader.send(Err(std::io::Error::other("the export can't go on"))).await;
        }
    });
    let stream = futures_util::stream::poll_fn(move |context| parts.poll_recv(context));
    let mut response = Body::from_stream(stream).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Ok(disposition) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, disposition);
    }
    response
}

/// Rows of a type, as CSV or JSON.
#[utoipa::path(get, path = "/{entity}/export", tag = "export", params(
    ("entity" = String, Path, description = "The type's code", example = "task"),
    ("format" = Option<String>, Query, description = "csv (the default) or json: one row a line"),
    ("parent" = Option<String>, Query, description = "`project:<id>`: only what hangs below this"),
    ("fields" = Option<String>, Query, description = "Columns, separated by commas; filters, sort and search are as of a list")), responses(
    (status = 200, description = "CSV that POST /{entity}/import reads: UTF-8, references by name; what a spreadsheet would calculate has an apostrophe before it. Or NDJSON", body = String, content_type = "text/csv"),
    (status = 400, description = "A parameter is wrong"), (status = 401, description = "Not signed in"), (status = 404, description = "No such type, or no such parent for this reader")))]
async fn export_rows(
    State(app): State<AppState>,
    who: AuthUser,
    Path(code): Path<String>,
    Query(mut parameters): Query<Vec<(String, String)>>,
) -> Result<Response> {
    let model = app.model_for_type(&code).await?;
    let entity = model.entity(&code)?;
    let format = parameters.iter().find(|(name, _)| name == "format").map(|(_, value)| value.clone());
    let below = match parameters.iter().find(|(name, _)| name == "parent") {
        None => None,
        Some((_, value)) => Some(parent(&app, &who, &code, value).await?),
    };
    let left_out = ["format", "parent", "limit", "offset", "cursor"];
    parameters.retain(|(name, _)| !left_out.contains(&name.as_str()));
    let (form, kind, ending) = match format.as_deref() {
        None | Some("csv") => (ExportFormat::Csv, "text/csv; charset=utf-8", "csv"),
        Some("json") => (ExportFormat::Json, "application/x-ndjson", "ndjson"),
        Some(_) => return Err(ApiError::bad_request("format", "must be csv or json")),
    };
    let query = ListQuery::parse(&parameters, entity).map_err(ApiError::BadRequest)?;
    let name = format!("{}.{ending}", entity.code);
    Ok(stream_response(app, who, ExportRequest::Rows(code, Box::new(query), form, below), kind, &name))
}

/// What rows are to hang below: something that the reader sees, and that can have this type below it.
async fn parent(app: &AppState, who: &AuthUser, code: &str, asked: &str) -> Result<(String, Uuid)> {
    let wrong = || ApiError::bad_request("parent", "must be a type and an id, such as project:018f…");
    let (parent, id) = asked.split_once(':').ok_or_else(wrong)?;
    let id: Uuid = id.parse().map_err(|_| wrong())?;
    let model = app.model().await?;
    model.catalogue.child_relation(parent, code).ok_or_else(wrong)?;
    let parent = model.entity(parent)?;
    let mut connection = app.pool.acquire().await.map_err(DatabaseError::from)?;
    permission::permission_on(&mut connection, who.person, &parent.code, id).await?.ok_or(ApiError::NotFound)?;
    Ok((parent.code.to_string(), id))
}

/// Everything that one may see, of every type.
#[utoipa::path(get, path = "/export", tag = "export", responses(
    (status = 200, description = "NDJSON: lines of `entity_code` and up to 1,000 rows in `data`, type by type. The last line is `{\"complete\":true}`: without it the rest is missing", body = String, content_type = "application/x-ndjson"),
    (status = 401, description = "Not signed in")))]
async fn export_all(State(app): State<AppState>, who: AuthUser) -> Response {
    stream_response(app, who, ExportRequest::Everything, "application/x-ndjson", "pmo.ndjson")
}

/// A project as a plan for Microsoft Project.
#[utoipa::path(get, path = "/project/{id}/export", tag = "export", params(("id" = Uuid, Path, description = "The project")), responses(
    (status = 200, description = "Microsoft Project XML with outline, dates, links and assignments of the tasks that the reader may see", body = String, content_type = "application/xml"),
    (status = 401, description = "Not signed in"), (status = 404, description = "No such project for this reader")))]
async fn export_project(State(app): State<AppState>, who: AuthUser, Path(id): Path<String>) -> Result<Response> {
    let id = crate::entity::id_of(&id)?;
    let model = app.model_for_type("project").await?;
    let kept = ExportContext { pool: &app.pool, memory: &app.visibility_cache, texts: &app.row_cache, model: &model };
    let plan = plan::load_plan(&kept, who.person, id).await?;
    let xml = mspdi::write(&plan);
    let name: String = plan
        .title
        .unwrap_or_default()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(80)
        .collect();
    let mut response = xml.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml; charset=utf-8"));
    if let Ok(disposition) = HeaderValue::from_str(&format!("attachment; filename=\"{name}.xml\"")) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, disposition);
    }
    Ok(response)
}

/// Writes an export into a sink, from one state of the database.
pub async fn write(kept: &ExportContext<'_>, who: &AuthUser, what: &ExportRequest, sink: &mut Sink) -> Result<()> {
    let model = kept.model;
    let mut connection = pmo_database::begin_snapshot_read(kept.pool).await?;
    let mut reader = kept.memory.begin_read(&mut connection, who.person).await?;
    let kinds: Vec<(&EntityType, ListQuery)> = match what {
        ExportRequest::Rows(code, query, ..) => vec![(model.entity(code)?, ListQuery::clone(query))],
        ExportRequest::Everything => model.catalogue.types.values().map(|kind| (kind, ListQuery::default())).collect(),
    };
    for (entity, mut query) in kinds {
        let columns = columns(entity, &query);
        query.fields.clear();
        (query.limit, query.cursor) = (MAX_PAGE_SIZE, None);
        if let ExportRequest::Rows(_, _, ExportFormat::Csv, _) = what {
            sink.take(csv_line(columns.iter().map(|column| column.name.clone()))?).await?;
        }
        let below = match what {
            ExportRequest::Rows(code, _, _, Some((parent, id))) => {
                let tie = model.catalogue.child_relation(parent, code).ok_or(ApiError::NotFound)?;
                Some(ParentFilter { parent_code: &model.entity(parent)?.code, parent_id: *id, tie })
            }
            _ => None,
        };
        loop {
            let page =
                list::fetch_page(&mut connection, &mut reader, kept.texts, entity, &query, below.as_ref()).await?;
            let part = match what {
                ExportRequest::Rows(_, _, ExportFormat::Csv, _) => {
                    let names =
                        row::reference_names(&mut connection, &mut reader, entity, &page.referenced_ids).await?;
                    let mut part = String::new();
                    for listed in &page.rows {
                        let row: Row = serde_json::from_str(listed.row.json.get()).map_err(|_| ApiError::Internal)?;
                        part += &csv_line(columns.iter().map(|column| format_cell(column, &row, &names)))?;
                    }
                    part
                }
                ExportRequest::Rows(..) => {
                    page.rows.iter().map(|listed| format!("{}\n", listed.row.json.get())).collect()
                }
                ExportRequest::Everything if page.rows.is_empty() => String::new(),
                ExportRequest::Everything => {
                    let rows: Vec<&str> = page.rows.iter().map(|listed| listed.row.json.get()).collect();
                    format!("{{\"entity_code\":{},\"data\":[{}]}}\n", json!(entity.code), rows.join(","))
                }
            };
            if !part.is_empty() {
                sink.take(part).await?;
            }
            let Some(next) = page.next_cursor else { break };
            query.cursor = Some(next);
        }
    }
    connection.commit().await.map_err(DatabaseError::from)?;
    if matches!(what, ExportRequest::Everything) {
        sink.take("{\"complete\":true}\n".to_owned()).await?;
    }
    Ok(())
}

/// The columns of an export: those that were asked for, else all that a person reads, the code first.
fn columns<'a>(entity: &'a EntityType, query: &ListQuery) -> Vec<&'a Column> {
    if !query.fields.is_empty() {
        return query.fields.iter().filter_map(|name| entity.column(name)).collect();
    }
    let told = |c: &&Column| (!c.hidden || c.name == "id") && c.kind != ColumnKind::Json;
    let mut columns: Vec<&Column> = entity.columns.iter().filter(told).collect();
    columns.sort_by_key(|c| match c.name.as_str() {
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

/// A value as a cell: what refers to something says its name, as far as the reader may see it.
fn format_cell(column: &Column, row: &Row, names: &ReferenceNames) -> String {
    let name = |entity: &str, id: &str| {
        let id: Option<Uuid> = id.parse().ok();
        id.and_then(|id| names.get(entity)?.get(&id)).map(|name| escape_formula(name))
    };
    match (&column.kind, row.get(&column.name).unwrap_or(&Value::Null)) {
        (_, Value::Null) => String::new(),
        (ColumnKind::Reference { entity }, Value::String(id)) => name(entity, id).unwrap_or_default(),
        (ColumnKind::References { entity }, Value::Array(ids)) => {
            ids.iter().filter_map(Value::as_str).filter_map(|id| name(entity, id)).collect::<Vec<_>>().join("; ")
        }
        (ColumnKind::TextList, Value::Array(texts)) => {
            texts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
        }
        // Amounts, days and moments are what they are; a text might begin as a calculation does.
        (ColumnKind::ShortText | ColumnKind::LongText | ColumnKind::Datalabel { .. }, Value::String(text)) => {
            escape_formula(text)
        }
        (_, Value::String(text)) => text.clone(),
        // 30, not 30.0.
        (_, Value::Number(n)) => n.as_f64().filter(|_| n.is_f64()).map_or_else(|| n.to_string(), |n| n.to_string()),
        (_, other) => other.to_string(),
    }
}

/// For the command line: an export in somebody's name, whole.
pub async fn export_to_bytes(kept: &ExportContext<'_>, who: &AuthUser, what: &ExportRequest) -> Result<Vec<u8>> {
    let mut sink = Sink::Memory(Vec::new());
    write(kept, who, what, &mut sink).await?;
    match sink {
        Sink::Memory(all) => Ok(all),
        Sink::Reader(_) => Err(ApiError::Internal),
    }
}

/// The query of an export of all rows of a type.
pub fn all_rows(model: &EntityModel, code: &str) -> Result<ListQuery> {
    model.entity(code)?;
    Ok(ListQuery::default())
}
