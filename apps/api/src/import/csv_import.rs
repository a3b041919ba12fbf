//! Import of rows of any type from a CSV file, upserted by code, in one transaction.
//!
//! Each row is written like a request of its own. A dry run writes the same and rolls back, so that
//! its report equals the result of the real import.

use super::csv;
use super::references::{ExistingReferences, ReferenceLookup};
use super::upload::read_upload;
use crate::auth::AuthUser;
use crate::entity::{
    IdempotencyCheck, Mutation, MutationKind, MutationResponse, check_idempotency_header, commit_with_response,
};
use crate::error::{ApiError, Result};
use crate::openapi::Unauthorized;
use crate::state::{AppState, EntityModel};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use pmo_database::{Connection, permission, row};
use pmo_domain::api_types::{FieldError, ReferenceNames, row_id};
use pmo_domain::{Column, ColumnKind, EntityType, PersonId, Row};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use tokio::sync::Semaphore;
use utoipa::ToSchema;
use uuid::Uuid;

/// Maximum number of lines in a report.
const MAX_REPORT_LINES: usize = 1000;
/// Permits for imports: each occupies a connection, holds locks and writes thousands of rows.
static PERMITS: Semaphore = Semaphore::const_new(2);
/// Maximum time that a request waits for a permit.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of invalid fields in an error response.
const MAX_REPORTED_ERRORS: usize = 100;

/// Query parameters of an import.
#[derive(Clone, Debug, Default, serde::Deserialize)]
pub struct ImportOptions {
    /// Whether to roll back and only report the result.
    #[serde(default)]
    dry_run: bool,
    /// Explicit mapping as JSON, `{"name in the file": "column"}`; an empty column skips it.
    mapping: Option<String>,
    /// Default parent of new rows, as `project:<id>`.
    parent: Option<String>,
}

/// Result of importing one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum RowOutcome {
    Created,
    Changed,
    Unchanged,
    Refused,
}

/// Report on one line of the file.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ImportReportLine)]
struct ReportLine {
    /// Number of the line, from 1.
    line: u64,
    /// Result of importing the row.
    outcome: RowOutcome,
    /// Code in the file.
    code: String,
    /// Name in the file.
    name: String,
    /// Invalid fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
}

/// A column of the file.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct ImportedColumn {
    /// Column of the entity type; null if the column of the file is not imported.
    #[schema(required)]
    column: Option<String>,
    /// Label of that column.
    #[schema(required)]
    label: Option<String>,
    /// Name in the file.
    name: String,
}

/// Report on an import of rows.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(examples(json!({
    "columns": [{"name": "Name", "column": "name", "label": "Name"}, {"name": "Remark", "column": null, "label": null}],
    "rows": 1, "created": 1, "changed": 0, "unchanged": 0, "refused": 0,
    "lines": [{"line": 2, "outcome": "created", "code": "", "name": "Write the brief"}]
})))]
pub struct ImportReport {
    /// Number of updated rows.
    changed: usize,
    /// Columns of the file.
    columns: Vec<ImportedColumn>,
    /// Number of new rows.
    created: usize,
    /// Lines of the file, at most 1,000.
    lines: Vec<ReportLine>,
    /// Number of rejected rows.
    refused: usize,
    /// Number of rows in the file.
    rows: usize,
    /// Number of rows that have the same values already.
    unchanged: usize,
}

/// Returns whether the body of a request is CSV.
pub fn is_csv(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .is_some_and(|media_type| media_type.to_lowercase().starts_with("text/csv"))
}

/// Imports rows from CSV; rows with an existing code are updated.
#[utoipa::path(post, path = "/{entity}/import", tag = "import",
    request_body(content = String, content_type = "text/csv", description = "CSV with a header row, as the body or as the multipart field 'file'. Columns are matched by name or label; \
      references by code, name or id; multiple references are separated by semicolons. Formulas are imported as text"),
    params(("entity" = String, Path, description = "Entity type code", example = "task"),
        ("dry_run" = Option<bool>, Query, description = "Only report the result; nothing is written"),
        ("mapping" = Option<String>, Query, description = "JSON: {\"name in the file\": \"column\"}; an empty column skips it"),
        ("parent" = Option<String>, Query, description = "`project:<id>`: default parent of new rows"),
        ("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key returns the stored response")), responses(Unauthorized,
    (status = 200, description = "The report of a dry run", body = ImportReport),
    (status = 201, description = "The report", body = ImportReport),
    (status = 400, description = "Body truncated, or invalid parameter"), (status = 404, description = "No such type"),
    (status = 413, description = "The file is too large"), (status = 415, description = "Unsupported media type"),
    (status = 422, description = "Invalid file, or a line was rejected: nothing is written; `errors` names lines and fields")))]
pub(super) async fn import_rows(
    State(app): State<AppState>,
    user: AuthUser,
    Path(code): Path<String>,
    Query(options): Query<ImportOptions>,
    request: Request,
) -> Result<MutationResponse> {
    import(&app, &user, &code, options, request).await
}

/// Imports the CSV body of a request, for all routes that accept CSV.
pub(super) async fn import(
    app: &AppState,
    user: &AuthUser,
    code: &str,
    options: ImportOptions,
    request: Request,
) -> Result<MutationResponse> {
    let headers = request.headers().clone();
    let model = app.model_for_type(code).await?;
    let entity = model.entity(code)?;
    let mapping: BTreeMap<String, String> = match &options.mapping {
        Some(text) => serde_json::from_str(text)
            .map_err(|_| ApiError::bad_request("mapping", "must be JSON: {\"name in the file\": \"column\"}"))?,
        None => BTreeMap::new(),
    };
    let bytes = read_upload(app, request).await?;
    let (table, bytes) =
        tokio::task::spawn_blocking(move || (csv::parse(&bytes), bytes)).await.map_err(|_| ApiError::Internal)?;
    let table = table.map_err(|error| ApiError::UnprocessableEntity(vec![error]))?;
    let columns = csv::map_columns(&table.header, entity, &mapping).map_err(ApiError::UnprocessableEntity)?;
    let permit = tokio::time::timeout(PERMIT_TIMEOUT, PERMITS.acquire()).await;
    let _permit = permit.ok().and_then(std::result::Result::ok).ok_or(ApiError::Unavailable)?;
    let mut transaction = pmo_database::begin(&app.pool, &user.actor).await?;
    let parameters = format!("{} {:?} {:?}", options.dry_run, options.mapping, options.parent);
    let key = match check_idempotency_header(
        &mut transaction,
        user,
        &headers,
        &[b"IMPORT", code.as_bytes(), parameters.as_bytes(), &bytes],
    )
    .await?
    {
        IdempotencyCheck::Replay(response) => return Ok(response),
        IdempotencyCheck::New(key) => key,
    };
    let parent_values = parent_values(&model, entity, options.parent.as_deref())?;
    let lines = write(&mut transaction, &model, user, entity, &table, &columns, &parent_values).await?;
    let rejection = rejection_error(&lines);
    let report = json!(build_report(&table.header, &columns, lines));
    if options.dry_run {
        transaction.rollback().await.map_err(pmo_database::DatabaseError::from)?;
        return Ok(MutationResponse { status: StatusCode::OK, body: Some(report) });
    }
    if let Some(rejection) = rejection {
        return Err(rejection);
    }
    commit_with_response(transaction, user, key, MutationResponse { status: StatusCode::CREATED, body: Some(report) })
        .await
}

/// Imports a file on behalf of a user and returns the report, for the command line.
///
/// Nothing is written if a line is rejected, or in a dry run.
pub async fn import_file(
    pool: &pmo_database::Pool,
    model: &EntityModel,
    user: &AuthUser,
    code: &str,
    bytes: &[u8],
    dry_run: bool,
) -> Result<ImportReport> {
    let entity = model.entity(code)?;
    let table = csv::parse(bytes).map_err(|error| ApiError::UnprocessableEntity(vec![error]))?;
    let columns = csv::map_columns(&table.header, entity, &BTreeMap::new()).map_err(ApiError::UnprocessableEntity)?;
    let mut transaction = pmo_database::begin(pool, &user.actor).await?;
    let lines = write(&mut transaction, model, user, entity, &table, &columns, &Row::new()).await?;
    if let Some(rejection) = rejection_error(&lines).filter(|_| !dry_run) {
        return Err(rejection);
    }
    if dry_run {
        transaction.rollback().await.map_err(pmo_database::DatabaseError::from)?;
    } else {
        transaction.commit().await.map_err(pmo_database::DatabaseError::from)?;
    }
    Ok(build_report(&table.header, &columns, lines))
}

/// Returns the column values that make the given entity the parent of a new row.
fn parent_values(model: &EntityModel, entity: &EntityType, text: Option<&str>) -> Result<Row> {
    let mut values = Row::new();
    let Some(text) = text else { return Ok(values) };
    let invalid = || {
        ApiError::bad_request(
            "parent",
            "must be a type and an id, such as project:018f…, of an entity that can be a parent of this type",
        )
    };
    let (code, id) = text.split_once(':').ok_or_else(invalid)?;
    let id: Uuid = id.parse().map_err(|_| invalid())?;
    let relation = model.catalog.child_relation(code, entity.code.as_str()).ok_or_else(invalid)?;
    values.insert(relation.parent_column.clone().ok_or_else(invalid)?, json!(id));
    values.extend(relation.parent_type_column.clone().map(|column| (column, json!(code))));
    Ok(values)
}

fn build_report(head: &[String], columns: &[Option<&Column>], lines: Vec<ReportLine>) -> ImportReport {
    let count = |outcome: RowOutcome| lines.iter().filter(|line| line.outcome == outcome).count();
    let mapped = head.iter().zip(columns).map(|(name, column)| ImportedColumn {
        column: column.map(|column| column.name.clone()),
        label: column.map(|column| column.label.clone()),
        name: name.clone(),
    });
    ImportReport {
        changed: count(RowOutcome::Changed),
        columns: mapped.collect(),
        created: count(RowOutcome::Created),
        refused: count(RowOutcome::Refused),
        rows: lines.len(),
        unchanged: count(RowOutcome::Unchanged),
        lines: reported_lines(lines),
    }
}

/// Returns at most [`MAX_REPORT_LINES`] lines; rejected ones take precedence.
fn reported_lines(lines: Vec<ReportLine>) -> Vec<ReportLine> {
    let (mut reported, others): (Vec<ReportLine>, Vec<ReportLine>) =
        lines.into_iter().partition(|line| line.outcome == RowOutcome::Refused);
    reported.extend(others);
    reported.truncate(MAX_REPORT_LINES);
    reported.sort_by_key(|line| line.line);
    reported
}

fn rejection_error(lines: &[ReportLine]) -> Option<ApiError> {
    let errors: Vec<FieldError> = lines
        .iter()
        .flat_map(|line| {
            line.errors.iter().map(|error| FieldError {
                field: format!("line {}: {}", line.line, error.field),
                message: error.message.clone(),
            })
        })
        .take(MAX_REPORTED_ERRORS)
        .collect();
    (!errors.is_empty()).then_some(ApiError::UnprocessableEntity(errors))
}

/// Index of existing rows by code.
///
/// A code matches exactly, or case-insensitively if only one row has it.
struct CodeIndex {
    exact: HashMap<String, Uuid>,
    case_insensitive: HashMap<String, Vec<Uuid>>,
}

impl CodeIndex {
    fn find(&self, code: &str) -> Option<Uuid> {
        if code.is_empty() {
            return None;
        }
        let only_id = |ids: &Vec<Uuid>| if let [id] = ids[..] { Some(id) } else { None };
        self.exact.get(code).copied().or_else(|| self.case_insensitive.get(&code.to_lowercase()).and_then(only_id))
    }
}

impl CodeIndex {
    /// Looks up the rows that have one of the codes.
    ///
    /// Only visible rows match. The code of an invisible row stays in use, so the database rejects
    /// the line.
    async fn look_up(conn: &mut Connection, entity: &EntityType, person: PersonId, codes: &[String]) -> Result<Self> {
        let matches = row::find_by_code_or_name(conn, entity, codes).await?;
        let ids: Vec<Uuid> = matches.iter().map(|(id, ..)| *id).collect();
        let visible = permission::permissions_of(conn, &[person], &entity.code, &ids).await?;
        let mut index = Self { exact: HashMap::new(), case_insensitive: HashMap::new() };
        for (id, code, _) in
            matches.into_iter().filter(|(id, code, _)| !code.is_empty() && visible.contains_key(&(person, *id)))
        {
            index.case_insensitive.entry(code.to_lowercase()).or_default().push(id);
            index.exact.insert(code, id);
        }
        Ok(index)
    }
}

/// An import of rows: the file, and the entities and options that its cells refer to.
struct RowImport<'a> {
    model: &'a EntityModel,
    user: &'a AuthUser,
    entity: &'a EntityType,
    columns: &'a [Option<&'a Column>],
    /// Values that make the given parent the parent of a new row.
    parent_values: &'a Row,
    lookup: ReferenceLookup,
    by_code: CodeIndex,
    /// Existing rows of the file by id.
    rows: HashMap<Uuid, Row>,
    /// Titles of the entities that these rows reference.
    names: ReferenceNames,
    /// Active options of each column of the file.
    options_by_column: Vec<Vec<String>>,
    code_index: Option<usize>,
    name_index: Option<usize>,
    /// First line of each row, by id or new code.
    first_lines: HashMap<String, u64>,
}

/// Writes the rows of a table; returns a report on each line.
async fn write(
    conn: &mut Connection,
    model: &EntityModel,
    user: &AuthUser,
    entity: &EntityType,
    table: &csv::CsvTable,
    columns: &[Option<&Column>],
    parent_values: &Row,
) -> Result<Vec<ReportLine>> {
    // Cached plans may date from when the tables were nearly empty.
    pmo_database::force_index_scans(conn).await?;
    let mut import = RowImport::prepare(conn, model, user, entity, table, columns, parent_values).await?;
    let mut lines = Vec::with_capacity(table.rows.len());
    for (line_number, cells) in &table.rows {
        lines.push(import.import_line(conn, *line_number, cells).await?);
    }
    pmo_database::reset_planner_settings(conn).await?;
    Ok(lines)
}

fn trimmed_cell(cells: &[String], index: Option<usize>) -> String {
    index.map(|index| cells[index].trim().to_owned()).unwrap_or_default()
}

impl<'a> RowImport<'a> {
    /// Loads the entities and options that the cells of a table refer to.
    async fn prepare(
        conn: &mut Connection,
        model: &'a EntityModel,
        user: &'a AuthUser,
        entity: &'a EntityType,
        table: &csv::CsvTable,
        columns: &'a [Option<&'a Column>],
        parent_values: &'a Row,
    ) -> Result<Self> {
        let lookup = ReferenceLookup::look_up(conn, model, user.person, table, columns).await?;
        let column_index =
            |name: &str| columns.iter().position(|column| column.is_some_and(|column| column.name == name));
        let (code_index, name_index) = (column_index("code"), column_index("name"));
        let codes: Vec<String> = table
            .rows
            .iter()
            .map(|(_, cells)| trimmed_cell(cells, code_index))
            .filter(|code| !code.is_empty())
            .collect();
        let by_code = CodeIndex::look_up(conn, entity, user.person, &codes).await?;
        // Current references and their titles: a cell with the same title keeps the same reference.
        let existing_ids: Vec<Uuid> = by_code.exact.values().copied().collect();
        let rows = row::by_ids(conn, entity, &existing_ids, row::DeletedRows::Exclude).await?;
        let names =
            row::reference_names_uncached(conn, user.person, entity, &row::referenced_ids(entity, &rows)).await?;
        let rows = rows.into_iter().filter_map(|row| Some((row_id(&row)?, row))).collect();
        let options_by_column = columns
            .iter()
            .map(|column| column.map(|column| active_options(model, column)).unwrap_or_default())
            .collect();
        Ok(Self {
            model,
            user,
            entity,
            columns,
            parent_values,
            lookup,
            by_code,
            rows,
            names,
            options_by_column,
            code_index,
            name_index,
            first_lines: HashMap::new(),
        })
    }

    /// Writes the row of a line, unless a cell is invalid.
    async fn import_line(&mut self, conn: &mut Connection, line_number: u64, cells: &[String]) -> Result<ReportLine> {
        let (code, name) = (trimmed_cell(cells, self.code_index), trimmed_cell(cells, self.name_index));
        let existing_id = self.by_code.find(&code);
        let (values, mut errors) = self.parse_line(existing_id, cells);
        // The same row or the same new code must not appear twice.
        let row_key = existing_id.map_or_else(|| code.clone(), |id| id.to_string());
        if let Some(line) = self.first_lines.insert(row_key, line_number).filter(|_| !code.is_empty()) {
            errors.push(FieldError { field: "code".into(), message: format!("also appears in line {line}") });
        }
        let mut outcome = RowOutcome::Refused;
        if errors.is_empty() {
            match import_row(conn, self.model, self.user, self.entity, existing_id, values).await {
                Ok(row_outcome) => outcome = row_outcome,
                // The transaction can no longer be used after an error of the database itself.
                Err(error @ (ApiError::Unavailable | ApiError::Internal)) => return Err(error),
                Err(error) => {
                    let problem = error.problem();
                    errors = problem.errors;
                    if errors.is_empty() {
                        errors
                            .push(FieldError { field: "row".into(), message: problem.detail.unwrap_or(problem.title) });
                    }
                }
            }
        }
        Ok(ReportLine { line: line_number, outcome, code, name: name.chars().take(200).collect(), errors })
    }

    /// Converts the cells of a line into values; also returns the errors of invalid cells.
    fn parse_line(&self, existing_id: Option<Uuid>, cells: &[String]) -> (Row, Vec<FieldError>) {
        let mut errors = Vec::new();
        let current_row = existing_id.and_then(|id| self.rows.get(&id));
        let mut values = if existing_id.is_none() { self.parent_values.clone() } else { Row::new() };
        for (index, column) in self.columns.iter().enumerate().filter_map(|(index, column)| Some((index, (*column)?))) {
            let empty = cells[index].trim().is_empty();
            // An empty cell of a new row gets the default of its column; an empty code is
            // generated.
            if empty && (existing_id.is_none() || column.name == "code") {
                if column.required && existing_id.is_none() {
                    errors.push(FieldError { field: column.name.clone(), message: "is required".into() });
                }
                continue;
            }
            if existing_id.is_some() && column.name == "code" {
                continue;
            }
            let existing = ExistingReferences::from_row(current_row, column, &self.names);
            // References that the importer cannot see are missing in the file and must be kept.
            if empty && matches!(column.kind, ColumnKind::Reference { .. }) && existing.untitled_ids().next().is_some()
            {
                continue;
            }
            let ids = self.lookup.resolve_references(column, &cells[index], &existing);
            match ids.and_then(|ids| csv::parse_cell(column, &cells[index], &self.options_by_column[index], &ids)) {
                Ok(value) => drop(values.insert(column.name.clone(), value)),
                Err(error) => errors.push(FieldError { field: column.name.clone(), message: error.to_string() }),
            }
        }
        (values, errors)
    }
}

/// Returns the names of the active options of a column; none if it has no option set.
fn active_options(model: &EntityModel, column: &Column) -> Vec<String> {
    let ColumnKind::Datalabel { set } = &column.kind else { return Vec::new() };
    let options = model.datalabels.get(set).map(|set| set.options.iter().filter(|option| option.active_flag));
    options.into_iter().flatten().map(|option| option.name.clone()).collect()
}

/// Imports one row in a savepoint, so that a failure leaves no partial changes.
async fn import_row(
    conn: &mut Connection,
    model: &EntityModel,
    user: &AuthUser,
    entity: &EntityType,
    existing_id: Option<Uuid>,
    values: Row,
) -> Result<RowOutcome> {
    let mut savepoint = pmo_database::Savepoint::begin(conn).await?;
    let action = if existing_id.is_some() { MutationKind::Update } else { MutationKind::Create { parent_link: None } };
    let mutation = Mutation {
        action,
        entity,
        id: existing_id.unwrap_or_default(),
        body: Value::Object(values),
        server_values: Row::new(),
        version: None,
        idempotency_key: None,
        status_only: true,
    };
    let response = mutation.execute(&mut savepoint, model, user).await?;
    savepoint.release().await?;
    Ok(match existing_id {
        None => RowOutcome::Created,
        Some(_) if response.status == StatusCode::NOT_MODIFIED => RowOutcome::Unchanged,
        Some(_) => RowOutcome::Changed,
    })
}
