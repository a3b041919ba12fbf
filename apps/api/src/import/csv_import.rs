//! Import of rows of any type from a CSV file, upserted by code, in one transaction.
//!
//! Each row is written like a request of its own. A dry run writes the same and rolls back, so that
//! its report equals the result of the real import.

use super::csv;
use super::upload::read_upload;
use crate::auth::AuthUser;
use crate::entity::{
    IdempotencyCheck, Mutation, MutationKind, MutationResponse, check_idempotency_header, commit_with_response,
};
use crate::error::{ApiError, Result};
use crate::state::{AppState, EntityModel};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use pmo_database::{Connection, permission, row};
use pmo_domain::api_types::{FieldError, ReferenceNames};
use pmo_domain::{Column, ColumnKind, EntityType, PersonId, Row};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;
use tokio::sync::Semaphore;
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
enum RowOutcome {
    Created,
    Changed,
    Unchanged,
    Refused,
}

/// Report on one line of the file.
#[derive(Clone, Debug, serde::Serialize)]
struct ReportLine {
    line: u64,
    outcome: RowOutcome,
    code: String,
    name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
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
        ("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key returns the stored response")), responses(
    (status = 200, description = "The report of a dry run", body = Object),
    (status = 201, description = "{columns, rows, created, changed, unchanged, refused, lines: [{line, outcome, code, name, errors}]}", body = Object),
    (status = 400, description = "Body truncated, or invalid parameter"), (status = 401, description = "Not signed in"), (status = 404, description = "No such type"),
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
    let report = build_report(&table.header, &columns, &lines);
    if options.dry_run {
        transaction.rollback().await.map_err(pmo_database::DatabaseError::from)?;
        return Ok(MutationResponse { status: StatusCode::OK, body: Some(report) });
    }
    if let Some(rejection) = rejection_error(&lines) {
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
) -> Result<Value> {
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
    Ok(build_report(&table.header, &columns, &lines))
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

fn build_report(head: &[String], columns: &[Option<&Column>], lines: &[ReportLine]) -> Value {
    let count = |outcome: RowOutcome| lines.iter().filter(|line| line.outcome == outcome).count();
    // Rejected lines take precedence if the report exceeds its limit.
    let mut reported: Vec<&ReportLine> =
        lines.iter().filter(|line| line.outcome == RowOutcome::Refused).take(MAX_REPORT_LINES).collect();
    let remaining = MAX_REPORT_LINES - reported.len();
    reported.extend(lines.iter().filter(|line| line.outcome != RowOutcome::Refused).take(remaining));
    reported.sort_by_key(|line| line.line);
    let mapped: Vec<Value> = head.iter().zip(columns).map(|(name, column)| json!({"name": name, "column": column.map(|c| &c.name), "label": column.map(|c| &c.label)})).collect();
    json!({
        "columns": mapped, "rows": lines.len(), "created": count(RowOutcome::Created), "changed": count(RowOutcome::Changed),
        "unchanged": count(RowOutcome::Unchanged), "refused": count(RowOutcome::Refused), "lines": reported,
    })
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

/// Ids of the entities that cells may refer to, by type and lowercase code, name or id.
///
/// Contains only entities that the importer may see.
struct ReferenceLookup(HashMap<(String, String), Vec<Uuid>>);

impl ReferenceLookup {
    async fn look_up(
        conn: &mut Connection,
        model: &EntityModel,
        person: PersonId,
        table: &csv::CsvTable,
        columns: &[Option<&Column>],
    ) -> Result<Self> {
        let mut references: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for (index, column) in columns.iter().enumerate().filter_map(|(index, column)| Some((index, (*column)?))) {
            let (ColumnKind::Reference { entity } | ColumnKind::References { entity }) = &column.kind else { continue };
            let cells = table.rows.iter().flat_map(|(_, cells)| csv::split_references(column, &cells[index]));
            references.entry(entity).or_default().extend(cells.map(|reference| reference.to_lowercase()));
        }
        let mut ids_by_reference: HashMap<(String, String), Vec<Uuid>> = HashMap::new();
        for (code, references) in references {
            let entity = model.entity(code)?;
            let ids: Vec<Uuid> = references.iter().filter_map(|reference| reference.parse().ok()).collect();
            let mut candidates =
                row::find_by_code_or_name(conn, entity, &references.into_iter().collect::<Vec<_>>()).await?;
            candidates.extend(ids.into_iter().map(|id| (id, id.to_string(), String::new())));
            let candidate_ids: Vec<Uuid> = candidates.iter().map(|(id, ..)| *id).collect();
            let visible = permission::permissions_of(conn, &[person], &entity.code, &candidate_ids).await?;
            for (id, own_code, name) in candidates.into_iter().filter(|(id, ..)| visible.contains_key(&(person, *id))) {
                for reference in [own_code, name].into_iter().filter(|reference| !reference.is_empty()) {
                    let ids = ids_by_reference.entry((code.to_owned(), reference.to_lowercase())).or_default();
                    if !ids.contains(&id) {
                        ids.push(id);
                    }
                }
            }
        }
        Ok(Self(ids_by_reference))
    }

    /// Resolves the references of a cell to ids.
    ///
    /// References that the row already has are matched first by their current title, because other
    /// entities may have the same title or the referenced entity may have been deleted. References
    /// that the importer cannot see are kept.
    fn resolve_references(
        &self,
        column: &Column,
        cell: &str,
        existing: &ExistingReferences,
    ) -> std::result::Result<Vec<Value>, String> {
        let (ColumnKind::Reference { entity } | ColumnKind::References { entity }) = &column.kind else {
            return Ok(Vec::new());
        };
        let existing_id =
            |word: &str| existing.0.iter().find(|(_, name)| name.as_deref() == Some(word)).map(|(id, _)| *id);
        let excerpt = |word: &str| word.chars().take(60).collect::<String>();
        let resolve = |word: String| {
            let lower = word.to_lowercase();
            if let Some(id) = existing_id(&lower) {
                return Ok(json!(id));
            }
            match self.0.get(&(entity.clone(), lower)).map(Vec::as_slice) {
                Some([id]) => Ok(json!(id)),
                None | Some([]) => {
                    Err(format!("{entity} '{}' does not exist, or is not visible to you", excerpt(&word)))
                }
                Some(matches) => {
                    Err(format!("{} entities match '{}': use the code or id", matches.len(), excerpt(&word)))
                }
            }
        };
        let mut ids: Vec<Value> =
            csv::split_references(column, cell).into_iter().map(resolve).collect::<std::result::Result<_, _>>()?;
        if matches!(column.kind, ColumnKind::References { .. }) || ids.is_empty() {
            ids.extend(existing.untitled_ids().map(|id| json!(id)));
        }
        Ok(ids)
    }
}

/// References that a row has before the import.
///
/// Each has its lowercase title, if the importer may see it.
struct ExistingReferences(Vec<(Uuid, Option<String>)>);

impl ExistingReferences {
    fn from_row(row: Option<&Row>, column: &Column, names: &ReferenceNames) -> Self {
        let (ColumnKind::Reference { entity } | ColumnKind::References { entity }) = &column.kind else {
            return Self(Vec::new());
        };
        let ids: Vec<Uuid> = match row.and_then(|row| row.get(&column.name)) {
            Some(Value::String(id)) => id.parse().into_iter().collect(),
            Some(Value::Array(ids)) => ids.iter().filter_map(|id| id.as_str()?.parse().ok()).collect(),
            _ => Vec::new(),
        };
        let name = |id: &Uuid| names.get(entity).and_then(|names| names.get(id)).map(|name| name.to_lowercase());
        Self(ids.into_iter().map(|id| (id, name(&id))).collect())
    }

    fn untitled_ids(&self) -> impl Iterator<Item = Uuid> {
        self.0.iter().filter(|(_, name)| name.is_none()).map(|(id, _)| *id)
    }
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
    let lookup = ReferenceLookup::look_up(conn, model, user.person, table, columns).await?;
    let column_index = |name: &str| columns.iter().position(|column| column.is_some_and(|column| column.name == name));
    let (code_index, name_index) = (column_index("code"), column_index("name"));
    let cell =
        |cells: &[String], index: Option<usize>| index.map(|index| cells[index].trim().to_owned()).unwrap_or_default();
    // Only visible rows are matched. The code of an invisible row stays in use, so the database
    // rejects the line.
    let codes: Vec<String> =
        table.rows.iter().map(|(_, cells)| cell(cells, code_index)).filter(|code| !code.is_empty()).collect();
    let matches = row::find_by_code_or_name(conn, entity, &codes).await?;
    let ids: Vec<Uuid> = matches.iter().map(|(id, ..)| *id).collect();
    let visible = permission::permissions_of(conn, &[user.person], &entity.code, &ids).await?;
    let mut by_code = CodeIndex { exact: HashMap::new(), case_insensitive: HashMap::new() };
    for (id, code, _) in
        matches.into_iter().filter(|(id, code, _)| !code.is_empty() && visible.contains_key(&(user.person, *id)))
    {
        by_code.case_insensitive.entry(code.to_lowercase()).or_default().push(id);
        by_code.exact.insert(code, id);
    }
    // Current references and their titles: a cell with the same title keeps the same reference.
    let existing_ids: Vec<Uuid> = by_code.exact.values().copied().collect();
    let rows = row::by_ids(conn, entity, &existing_ids, row::DeletedRows::Exclude).await?;
    let names = row::reference_names_uncached(conn, user.person, entity, &row::referenced_ids(entity, &rows)).await?;
    let row_id = |row: &Row| row.get("id").and_then(Value::as_str).and_then(|id| id.parse::<Uuid>().ok());
    let rows: HashMap<Uuid, Row> = rows.into_iter().filter_map(|row| Some((row_id(&row)?, row))).collect();
    let options = |column: &Column| match &column.kind {
        ColumnKind::Datalabel { set } => model
            .datalabels
            .get(set)
            .map(|set| {
                set.options.iter().filter(|option| option.active_flag).map(|option| option.name.clone()).collect()
            })
            .unwrap_or_default(),
        _ => Vec::new(),
    };
    let options_by_column: Vec<Vec<String>> =
        columns.iter().map(|column| column.map(options).unwrap_or_default()).collect();
    let mut lines = Vec::with_capacity(table.rows.len());
    let mut first_lines: HashMap<String, u64> = HashMap::new();
    for (line_number, cells) in &table.rows {
        let (code, name) = (cell(cells, code_index), cell(cells, name_index));
        let mut errors = Vec::new();
        let existing_id = by_code.find(&code);
        let current_row = existing_id.and_then(|id| rows.get(&id));
        let mut values = if existing_id.is_none() { parent_values.clone() } else { Row::new() };
        for (index, column) in columns.iter().enumerate().filter_map(|(index, column)| Some((index, (*column)?))) {
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
            let existing = ExistingReferences::from_row(current_row, column, &names);
            // References that the importer cannot see are missing in the file and must be kept.
            if empty && matches!(column.kind, ColumnKind::Reference { .. }) && existing.untitled_ids().next().is_some()
            {
                continue;
            }
            let ids = lookup.resolve_references(column, &cells[index], &existing);
            match ids.and_then(|ids| csv::parse_cell(column, &cells[index], &options_by_column[index], &ids)) {
                Ok(value) => drop(values.insert(column.name.clone(), value)),
                Err(message) => errors.push(FieldError { field: column.name.clone(), message }),
            }
        }
        // The same row or the same new code must not appear twice.
        let row_key = existing_id.map_or_else(|| code.clone(), |id| id.to_string());
        if let Some(line) = first_lines.insert(row_key, *line_number).filter(|_| !code.is_empty()) {
            errors.push(FieldError { field: "code".into(), message: format!("also appears in line {line}") });
        }
        let mut outcome = RowOutcome::Refused;
        if errors.is_empty() {
            match import_row(conn, model, user, entity, existing_id, values).await {
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
        lines.push(ReportLine { line: *line_number, outcome, code, name: name.chars().take(200).collect(), errors });
    }
    pmo_database::reset_planner_settings(conn).await?;
    Ok(lines)
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
