//! Rows of any type from a CSV file: each made, or changed where its code is there already, as a request of its own would do it, all in one transaction. A dry run does
//! the same and takes it back, so that what it says is what will happen.

use super::csv;
use super::read_upload;
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

/// Lines of the report that are told one by one.
const MAX_REPORT_LINES: usize = 1000;
/// Imports that are worked on at once: each keeps a connection and locks, and writes thousands of rows.
static PERMITS: Semaphore = Semaphore::const_new(2);
/// How long one waits for a turn.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(10);
/// Wrong fields that a refusal names.
const MAX_REPORTED_ERRORS: usize = 100;

/// How a file is to be read.
#[derive(Clone, Debug, Default, serde::Deserialize)]
pub struct ImportOptions {
    /// Only say what would happen.
    #[serde(default)]
    dry_run: bool,
    /// `{"name in the file": "column"}`, empty for 'leave out'.
    mapping: Option<String>,
    /// `project:<id>`: rows that name none hang below this.
    parent: Option<String>,
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
enum RowOutcome {
    Created,
    Changed,
    Unchanged,
    Refused,
}

/// A line of the report.
#[derive(Clone, Debug, serde::Serialize)]
struct ReportLine {
    line: u64,
    outcome: RowOutcome,
    code: String,
    name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
}

/// Whether a request brings CSV.
pub fn is_csv(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .is_some_and(|kind| kind.to_lowercase().starts_with("text/csv"))
}

/// Import rows from CSV: made, or changed where the code is there already.
#[utoipa::path(post, path = "/{entity}/import", tag = "import",
    request_body(content = String, content_type = "text/csv", description = "CSV with a first line of names, as the body or as the multipart field 'file'. Columns are found by name or label; \
      references by code, name or id; several are separated by semicolons. A formula is the text that it is"),
    params(("entity" = String, Path, description = "The type's code", example = "task"),
        ("dry_run" = Option<bool>, Query, description = "Only say what would happen"),
        ("mapping" = Option<String>, Query, description = "JSON: {\"name in the file\": \"column\"}, empty for 'leave out'"),
        ("parent" = Option<String>, Query, description = "`project:<id>`: rows that name none hang below this"),
        ("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same key gets the first answer")), responses(
    (status = 200, description = "The report of a dry run", body = Object),
    (status = 201, description = "{columns, rows, created, changed, unchanged, refused, lines: [{line, outcome, code, name, errors}]}", body = Object),
    (status = 400, description = "The body did not arrive whole, or a parameter is wrong"), (status = 401, description = "Not signed in"), (status = 404, description = "No such type"),
    (status = 413, description = "The file is too large"), (status = 415, description = "Another kind of file"),
    (status = 422, description = "The file can't be used, or a line of it is refused: nothing is written then; the problem names lines and fields")))]
pub(super) async fn import_rows(
    State(app): State<AppState>,
    who: AuthUser,
    Path(code): Path<String>,
    Query(options): Query<ImportOptions>,
    request: Request,
) -> Result<MutationResponse> {
    import(&app, &who, &code, options, request).await
}

/// The same for whoever has found out that it is CSV.
pub(super) async fn import(
    app: &AppState,
    who: &AuthUser,
    code: &str,
    options: ImportOptions,
    request: Request,
) -> Result<MutationResponse> {
    let headers = request.headers().clone();
    let model = app.model_for_type(code).await?;
    let entity = model.entity(code)?;
    let asked: BTreeMap<String, String> = match &options.mapping {
        Some(text) => serde_json::from_str(text)
            .map_err(|_| ApiError::bad_request("mapping", "must be JSON: {\"name in the file\": \"column\"}"))?,
        None => BTreeMap::new(),
    };
    let bytes = read_upload(app, request).await?;
    let (table, bytes) =
        tokio::task::spawn_blocking(move || (csv::read(&bytes), bytes)).await.map_err(|_| ApiError::Internal)?;
    let table = table.map_err(|wrong| ApiError::UnprocessableEntity(vec![wrong]))?;
    let columns = csv::map_columns(&table.head, entity, &asked).map_err(ApiError::UnprocessableEntity)?;
    let waited = tokio::time::timeout(PERMIT_TIMEOUT, PERMITS.acquire()).await;
    let _turn = waited.ok().and_then(std::result::Result::ok).ok_or(ApiError::Unavailable)?;
    let mut transaction = pmo_database::begin(&app.pool, &who.actor).await?;
    let parameters = format!("{} {:?} {:?}", options.dry_run, options.mapping, options.parent);
    let key = match check_idempotency_header(
        &mut transaction,
        who,
        &headers,
        &[b"IMPORT", code.as_bytes(), parameters.as_bytes(), &bytes],
    )
    .await?
    {
        IdempotencyCheck::Replay(answer) => return Ok(answer),
        IdempotencyCheck::New(key) => key,
    };
    let parent = parent(&model, entity, options.parent.as_deref())?;
    let lines = write(&mut transaction, &model, who, entity, &table, &columns, &parent).await?;
    let report = build_report(&table.head, &columns, &lines);
    if options.dry_run {
        transaction.rollback().await.map_err(pmo_database::DatabaseError::from)?;
        return Ok(MutationResponse { status: StatusCode::OK, body: Some(report) });
    }
    if let Some(refused) = rejection_error(&lines) {
        return Err(refused);
    }
    commit_with_response(transaction, who, key, MutationResponse { status: StatusCode::CREATED, body: Some(report) })
        .await
}

/// Imports a file in somebody's name, for the command line; the answer is the report. Nothing is written where a line is refused.
pub async fn import_file(
    pool: &pmo_database::Pool,
    model: &EntityModel,
    who: &AuthUser,
    code: &str,
    bytes: &[u8],
    dry_run: bool,
) -> Result<Value> {
    let entity = model.entity(code)?;
    let table = csv::read(bytes).map_err(|wrong| ApiError::UnprocessableEntity(vec![wrong]))?;
    let columns = csv::map_columns(&table.head, entity, &BTreeMap::new()).map_err(ApiError::UnprocessableEntity)?;
    let mut transaction = pmo_database::begin(pool, &who.actor).await?;
    let lines = write(&mut transaction, model, who, entity, &table, &columns, &Row::new()).await?;
    if let Some(refused) = rejection_error(&lines).filter(|_| !dry_run) {
        return Err(refused);
    }
    if dry_run {
        transaction.rollback().await.map_err(pmo_database::DatabaseError::from)?;
    } else {
        transaction.commit().await.map_err(pmo_database::DatabaseError::from)?;
    }
    Ok(build_report(&table.head, &columns, &lines))
}

/// The columns that say what all rows hang below.
fn parent(model: &EntityModel, entity: &EntityType, asked: Option<&str>) -> Result<Row> {
    let mut values = Row::new();
    let Some(asked) = asked else { return Ok(values) };
    let wrong = || {
        ApiError::bad_request(
            "parent",
            "must be a type and an id, such as project:018f…, of something that can have this type below it",
        )
    };
    let (code, id) = asked.split_once(':').ok_or_else(wrong)?;
    let id: Uuid = id.parse().map_err(|_| wrong())?;
    let tie = model.catalogue.child_relation(code, entity.code.as_str()).ok_or_else(wrong)?;
    values.insert(tie.parent_column.clone().ok_or_else(wrong)?, json!(id));
    values.extend(tie.parent_type_column.clone().map(|column| (column, json!(code))));
    Ok(values)
}

fn build_report(head: &[String], columns: &[Option<&Column>], lines: &[ReportLine]) -> Value {
    let count = |outcome: RowOutcome| lines.iter().filter(|line| line.outcome == outcome).count();
    // What was refused comes first where not all can be told.
    let mut told: Vec<&ReportLine> =
        lines.iter().filter(|line| line.outcome == RowOutcome::Refused).take(MAX_REPORT_LINES).collect();
    let left = MAX_REPORT_LINES - told.len();
    told.extend(lines.iter().filter(|line| line.outcome != RowOutcome::Refused).take(left));
    told.sort_by_key(|line| line.line);
    let mapped: Vec<Value> = head.iter().zip(columns).map(|(name, column)| json!({"name": name, "column": column.map(|c| &c.name), "label": column.map(|c| &c.label)})).collect();
    json!({
        "columns": mapped, "rows": lines.len(), "created": count(RowOutcome::Created), "changed": count(RowOutcome::Changed),
        "unchanged": count(RowOutcome::Unchanged), "refused": count(RowOutcome::Refused), "lines": told,
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

/// What words refer to, by type: of what the importer may see.
struct ReferenceLookup(HashMap<(String, String), Vec<Uuid>>);

impl ReferenceLookup {
    async fn look_up(
        c: &mut Connection,
        model: &EntityModel,
        person: PersonId,
        table: &csv::CsvTable,
        columns: &[Option<&Column>],
    ) -> Result<Self> {
        let mut words: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for (n, column) in columns.iter().enumerate().filter_map(|(n, column)| Some((n, (*column)?))) {
            let (ColumnKind::Reference { entity } | ColumnKind::References { entity }) = &column.kind else { continue };
            let cells = table.rows.iter().flat_map(|(_, cells)| csv::split_references(column, &cells[n]));
            words.entry(entity).or_default().extend(cells.map(|word| word.to_lowercase()));
        }
        let mut known: HashMap<(String, String), Vec<Uuid>> = HashMap::new();
        for (code, words) in words {
            let entity = model.entity(code)?;
            let ids: Vec<Uuid> = words.iter().filter_map(|word| word.parse().ok()).collect();
            let mut found = row::find_by_code_or_name(c, entity, &words.into_iter().collect::<Vec<_>>()).await?;
            found.extend(ids.into_iter().map(|id| (id, id.to_string(), String::new())));
            let all: Vec<Uuid> = found.iter().map(|(id, ..)| *id).collect();
            let seen = permission::permissions_of(c, &[person], &entity.code, &all).await?;
            for (id, own_code, name) in found.into_iter().filter(|(id, ..)| seen.contains_key(&(person, *id))) {
                for word in [own_code, name].into_iter().filter(|word| !word.is_empty()) {
                    let ids = known.entry((code.to_owned(), word.to_lowercase())).or_default();
                    if !ids.contains(&id) {
                        ids.push(id);
                    }
                }
            }
        }
        Ok(Self(known))
    }

    /// What a cell refers to. What the row refers to already comes first, by the name that it has: it may share it with others, or be gone since. What the importer
    /// can't see stays.
    fn resolve_references(
        &self,
        column: &Column,
        cell: &str,
        held: &ExistingReferences,
    ) -> std::result::Result<Vec<Value>, String> {
        let (ColumnKind::Reference { entity } | ColumnKind::References { entity }) = &column.kind else {
            return Ok(Vec::new());
        };
        let already = |word: &str| held.0.iter().find(|(_, name)| name.as_deref() == Some(word)).map(|(id, _)| *id);
        let short = |word: &str| word.chars().take(60).collect::<String>();
        let one = |word: String| {
            let lower = word.to_lowercase();
            if let Some(id) = already(&lower) {
                return Ok(json!(id));
            }
            match self.0.get(&(entity.clone(), lower)).map(Vec::as_slice) {
                Some([id]) => Ok(json!(id)),
                None | Some([]) => Err(format!("there is no {entity} called '{}' that you may see", short(&word))),
                Some(several) => {
                    Err(format!("{} are called '{}': say which by its code or id", several.len(), short(&word)))
                }
            }
        };
        let mut ids: Vec<Value> =
            csv::split_references(column, cell).into_iter().map(one).collect::<std::result::Result<_, _>>()?;
        if matches!(column.kind, ColumnKind::References { .. }) || ids.is_empty() {
            ids.extend(held.untitled_ids().map(|id| json!(id)));
        }
        Ok(ids)
    }
}

/// What a row refers to by a column before the import, each with its name in small letters as far as the importer sees it.
struct ExistingReferences(Vec<(Uuid, Option<String>)>);

impl ExistingReferences {
    fn of(row: Option<&Row>, column: &Column, names: &ReferenceNames) -> Self {
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

/// Rows that are there already, by their codes: exactly, or whatever the case where only one has it.
struct CodeIndex {
    exactly: HashMap<String, Uuid>,
    case_insensitive: HashMap<String, Vec<Uuid>>,
}

impl CodeIndex {
    fn find(&self, code: &str) -> Option<Uuid> {
        if code.is_empty() {
            return None;
        }
        let alone = |ids: &Vec<Uuid>| if let [id] = ids[..] { Some(id) } else { None };
        self.exactly.get(code).copied().or_else(|| self.case_insensitive.get(&code.to_lowercase()).and_then(alone))
    }
}

async fn write(
    c: &mut Connection,
    model: &EntityModel,
    who: &AuthUser,
    entity: &EntityType,
    table: &csv::CsvTable,
    columns: &[Option<&Column>],
    parent: &Row,
) -> Result<Vec<ReportLine>> {
    // Thousands of rows, and statements whose plans are from when there were few.
    pmo_database::force_index_scans(c).await?;
    let known = ReferenceLookup::look_up(c, model, who.person, table, columns).await?;
    let place = |name: &str| columns.iter().position(|column| column.is_some_and(|c| c.name == name));
    let (code_at, name_at) = (place("code"), place("name"));
    let cell = |cells: &[String], at: Option<usize>| at.map(|at| cells[at].trim().to_owned()).unwrap_or_default();
    // Codes that are there already, and who may see what has them: what one may not see keeps its code, and the line is refused by the database.
    let codes: Vec<String> =
        table.rows.iter().map(|(_, cells)| cell(cells, code_at)).filter(|code| !code.is_empty()).collect();
    let there = row::find_by_code_or_name(c, entity, &codes).await?;
    let ids: Vec<Uuid> = there.iter().map(|(id, ..)| *id).collect();
    let seen = permission::permissions_of(c, &[who.person], &entity.code, &ids).await?;
    let mut by_code = CodeIndex { exactly: HashMap::new(), case_insensitive: HashMap::new() };
    for (id, code, _) in
        there.into_iter().filter(|(id, code, _)| !code.is_empty() && seen.contains_key(&(who.person, *id)))
    {
        by_code.case_insensitive.entry(code.to_lowercase()).or_default().push(id);
        by_code.exactly.insert(code, id);
    }
    // What they hold now, and what that is called: the same words mean the same again.
    let held: Vec<Uuid> = by_code.exactly.values().copied().collect();
    let rows = row::by_ids(c, entity, &held, false).await?;
    let names = row::reference_names_uncached(c, who.person, entity, &row::referenced_ids(entity, &rows)).await?;
    let id_of = |row: &Row| row.get("id").and_then(Value::as_str).and_then(|id| id.parse::<Uuid>().ok());
    let rows: HashMap<Uuid, Row> = rows.into_iter().filter_map(|row| Some((id_of(&row)?, row))).collect();
    let options = |column: &Column| match &column.kind {
        ColumnKind::Datalabel { set } => model
            .datalabels
            .get(set)
            .map(|set| set.options.iter().filter(|o| o.active_flag).map(|o| o.name.clone()).collect())
            .unwrap_or_default(),
        _ => Vec::new(),
    };
    let offered: Vec<Vec<String>> = columns.iter().map(|column| column.map(options).unwrap_or_default()).collect();
    let mut lines = Vec::with_capacity(table.rows.len());
    let mut used: HashMap<String, u64> = HashMap::new();
    for (number, cells) in &table.rows {
        let (code, name) = (cell(cells, code_at), cell(cells, name_at));
        let mut errors = Vec::new();
        let present = by_code.find(&code);
        let before = present.and_then(|id| rows.get(&id));
        let mut values = if present.is_none() { parent.clone() } else { Row::new() };
        for (n, column) in columns.iter().enumerate().filter_map(|(n, column)| Some((n, (*column)?))) {
            let empty = cells[n].trim().is_empty();
            // A new row takes what its type has for what the file leaves empty; a code that is left empty is minted.
            if empty && (present.is_none() || column.name == "code") {
                if column.required && present.is_none() {
                    errors.push(FieldError { field: column.name.clone(), message: "is needed".into() });
                }
                continue;
            }
            if present.is_some() && column.name == "code" {
                continue;
            }
            let held = ExistingReferences::of(before, column, &names);
            // What the importer can't see, and so the file doesn't say, stays.
            if empty && matches!(column.kind, ColumnKind::Reference { .. }) && held.untitled_ids().next().is_some() {
                continue;
            }
            let ids = known.resolve_references(column, &cells[n], &held);
            match ids.and_then(|ids| csv::value(column, &cells[n], &offered[n], &ids)) {
                Ok(value) => drop(values.insert(column.name.clone(), value)),
                Err(message) => errors.push(FieldError { field: column.name.clone(), message }),
            }
        }
        // The same row twice, or the same new code.
        let which = present.map_or_else(|| code.clone(), |id| id.to_string());
        if let Some(line) = used.insert(which, *number).filter(|_| !code.is_empty()) {
            errors.push(FieldError { field: "code".into(), message: format!("stands in line {line} as well") });
        }
        let mut outcome = RowOutcome::Refused;
        if errors.is_empty() {
            match import_row(c, model, who, entity, present, values).await {
                Ok(done) => outcome = done,
                // The database itself: nothing more can be done in this transaction.
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
        lines.push(ReportLine { line: *number, outcome, code, name: name.chars().take(200).collect(), errors });
    }
    pmo_database::reset_planner_settings(c).await?;
    Ok(lines)
}

/// One row between savepoints: what fails leaves nothing behind.
async fn import_row(
    c: &mut Connection,
    model: &EntityModel,
    who: &AuthUser,
    entity: &EntityType,
    present: Option<Uuid>,
    values: Row,
) -> Result<RowOutcome> {
    let mut savepoint = pmo_database::Savepoint::begin(c).await?;
    let action = if present.is_some() { MutationKind::Update } else { MutationKind::Create { below: None } };
    let mutation = Mutation {
        action,
        entity,
        id: present.unwrap_or_default(),
        body: Value::Object(values),
        server_values: Row::new(),
        version: None,
        key: None,
        status_only: true,
    };
    let answer = mutation.execute(&mut savepoint, model, who).await?;
    savepoint.release().await?;
    Ok(match present {
        None => RowOutcome::Created,
        Some(_) if answer.status == StatusCode::NOT_MODIFIED => RowOutcome::Unchanged,
        Some(_) => RowOutcome::Changed,
    })
}
