//! Several writes in one request: a batch of operations, or one update of all matches of a filter.
//!
//! Invariant: each operation has the same result as a request of its own.

use super::mutation::{Mutation, MutationKind};
use super::stored_response::{
    IdempotencyCheck, MutationResponse, check_idempotency_header, commit_with_response, execute_once,
};
use super::write::WriteRequest;
use crate::auth::AuthUser;
use crate::error::{ApiError, Result};
use crate::extract::{JsonBody, LargeJsonBody};
use crate::openapi::{InvalidJson, Unauthorized};
use crate::state::EntityModel;
use axum::extract::Path;
use axum::http::StatusCode;
use pmo_database::row_cache::RowCache;
use pmo_database::visibility::VisibilityCache;
use pmo_database::{Connection, list, permission};
use pmo_domain::api_types::Problem;
use pmo_domain::query::ListQuery;
use pmo_domain::{EntityCode, EntityType, Permission};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Maximum number of operations in a batch.
const MAX_BATCH_OPERATIONS: usize = 500;
/// Maximum number of entities that a bulk update may match.
const MAX_BULK_ROWS: usize = 1000;

/// Request to execute several operations.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"atomic": true, "mutations": [{
    "action": "update", "entity": "milestone", "id": "01a2056d-3563-7049-ab62-bfe1ca58ce3f", "version": 1,
    "values": {"name": "Hand over"}
}]})))]
pub(super) struct BatchRequest {
    /// Whether all operations fail if one fails; otherwise each succeeds or fails on its own.
    #[serde(default)]
    atomic: bool,
    /// Operations, executed in order; at most 500.
    mutations: Vec<BatchOperation>,
}

/// One operation of a batch.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchOperation {
    /// Kind of the operation.
    action: BatchAction,
    /// Entity type code.
    #[schema(example = "task")]
    entity: String,
    /// Entity id; for a create, the id may be given in the values instead.
    id: Option<Uuid>,
    /// Parent for a create, set through a column or a link.
    below: Option<ParentRef>,
    /// Column values of a create or an update.
    #[serde(default)]
    #[schema(value_type = Object)]
    values: Map<String, Value>,
    /// Version that the operation is based on.
    version: Option<i64>,
    /// Idempotency key; a repeated operation with the same key returns the stored response.
    idempotency_key: Option<String>,
}

/// Kind of a batch operation.
#[derive(Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum BatchAction {
    /// Creation of an entity.
    Create,
    /// Update of some columns.
    Update,
    /// Soft deletion.
    Delete,
    /// Restoration of a deleted entity.
    Restore,
}

/// Reference to a parent entity.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ParentRef {
    /// Parent type code.
    entity: String,
    /// Parent id.
    id: Uuid,
}

/// Response to a batch.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = BatchAnswer)]
pub(super) struct BatchResponse {
    /// Results, in the order of the operations.
    results: Vec<OperationResult>,
}

/// Result of one operation of a batch.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(untagged)]
enum OperationResult {
    /// Succeeded.
    Success {
        /// HTTP status of the operation as a request of its own.
        status: u16,
        /// The row; null after a deletion.
        #[schema(required, value_type = Option<Object>)]
        body: Option<Value>,
    },
    /// Failed.
    Failure {
        /// HTTP status of the operation as a request of its own.
        status: u16,
        /// Error as problem details.
        #[schema(value_type = Object)]
        problem: Box<Problem>,
    },
}

/// Returns an example of the response to a batch.
fn batch_example() -> Value {
    json!({"results": [
        {"status": 200, "body": {"id": "01a2056d-3563-7049-ab62-bfe1ca58ce3f", "name": "Hand-over", "version": 2, "permission": 7}},
        {"status": 404, "problem": {"type": "/problems/not-found", "title": "Not found", "status": 404}},
    ]})
}

fn build_mutation<'a>(model: &'a EntityModel, operation: &BatchOperation) -> Result<Mutation<'a>> {
    let entity =
        model.entity(&operation.entity).map_err(|_| ApiError::unprocessable("entity", "is not an entity type"))?;
    let mut values = operation.values.clone();
    let required_id = || operation.id.ok_or_else(|| ApiError::unprocessable("id", "is required"));
    let (action, id) = match operation.action {
        BatchAction::Create => {
            if let Some(id) = operation.id {
                values.insert("id".into(), json!(id));
            }
            let mut parent_link = None;
            if let Some(parent) = &operation.below {
                let relation = (model.catalog.child_relation(&parent.entity, &operation.entity))
                    .ok_or_else(|| ApiError::unprocessable("below", "cannot be a parent of this type"))?;
                match &relation.parent_column {
                    Some(column) => {
                        values.insert(column.clone(), json!(parent.id));
                        values.extend(relation.parent_type_column.clone().map(|column| (column, json!(parent.entity))));
                    }
                    None => parent_link = EntityCode::new(parent.entity.as_str()).ok().map(|code| (code, parent.id)),
                }
            }
            (MutationKind::Create { parent_link }, Uuid::nil())
        }
        BatchAction::Update => (MutationKind::Update, required_id()?),
        BatchAction::Delete => (MutationKind::Delete, required_id()?),
        BatchAction::Restore => (MutationKind::Restore, required_id()?),
    };
    if operation.idempotency_key.as_ref().is_some_and(|key| !(1..=200).contains(&key.len()) || key.contains('\0')) {
        return Err(ApiError::unprocessable("idempotency_key", "must be 1 to 200 characters"));
    }
    let body =
        if matches!(operation.action, BatchAction::Create | BatchAction::Update) { json!(values) } else { Value::Null };
    Ok(Mutation {
        version: operation.version,
        idempotency_key: operation.idempotency_key.clone(),
        ..Mutation::new(action, entity, id, body)
    })
}

/// Executes several operations in one request.
#[utoipa::path(post, path = "/batch", tag = "entities", request_body = BatchRequest, params(
    ("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key returns the stored response")), responses(
    (status = 200, description = "{results: [{status, body | problem}]} in request order. With `atomic`, all succeeded", body = BatchResponse, example = json!(batch_example())),
    InvalidJson, Unauthorized, (status = 403, description = "Atomic batch: an operation is forbidden"),
    (status = 404, description = "Atomic batch: an entity was not found"), (status = 409, description = "Atomic batch: unique constraint violated"),
    (status = 412, description = "Atomic batch: version conflict"),
    (status = 422, description = "Invalid batch, or atomic batch with an invalid operation; fields are named like mutations[3].name")))]
pub(super) async fn batch(request: WriteRequest, LargeJsonBody(body): LargeJsonBody) -> Result<MutationResponse> {
    let body_text = body.to_string();
    let batch: BatchRequest =
        serde_json::from_value(body).map_err(|e| ApiError::unprocessable("body", e.to_string()))?;
    if batch.mutations.is_empty() || batch.mutations.len() > MAX_BATCH_OPERATIONS {
        return Err(ApiError::unprocessable(
            "mutations",
            format!("must contain 1 to {MAX_BATCH_OPERATIONS} operations"),
        ));
    }
    let WriteRequest { app, user, headers } = request;
    let model = app.model().await?;
    let mut transaction = pmo_database::begin(&app.pool, &user.actor).await?;
    match check_idempotency_header(&mut transaction, &user, &headers, &[b"BATCH", body_text.as_bytes()]).await? {
        IdempotencyCheck::Replay(response) => without_hidden_rows(&mut transaction, &user, response).await,
        IdempotencyCheck::New(key) => {
            let results = run_operations(&mut transaction, &model, &user, &batch).await?;
            let response = MutationResponse::with_body(StatusCode::OK, &BatchResponse { results })?;
            commit_with_response(transaction, &user, key, response).await
        }
    }
}

/// Replaces the rows in a stored response that the user may no longer view by null.
///
/// The rows are the bodies of successful operations, and the current rows of version conflicts.
async fn without_hidden_rows(
    conn: &mut Connection,
    user: &AuthUser,
    mut response: MutationResponse,
) -> Result<MutationResponse> {
    let row_id = |row: &Value| row.get("id")?.as_str()?.parse::<Uuid>().ok();
    let results = response.body.as_mut().and_then(|body| body.get_mut("results")?.as_array_mut());
    let mut rows: Vec<&mut Value> = results
        .into_iter()
        .flatten()
        .filter_map(|result| match result.get("body") {
            Some(_) => result.get_mut("body"),
            None => result.get_mut("problem")?.get_mut("current"),
        })
        .collect();
    let ids: Vec<Uuid> = rows.iter().filter_map(|row| row_id(row)).collect();
    let visible = permission::visible(conn, user.person, &ids).await?;
    for row in &mut rows {
        if !row_id(row).is_some_and(|id| visible.iter().any(|entity| entity.id == id)) {
            **row = Value::Null;
        }
    }
    Ok(response)
}

/// Executes the operations in order; fails if one of an atomic batch fails.
async fn run_operations(
    conn: &mut Connection,
    model: &EntityModel,
    user: &AuthUser,
    batch: &BatchRequest,
) -> Result<Vec<OperationResult>> {
    let mut results = Vec::with_capacity(batch.mutations.len());
    for (index, operation) in batch.mutations.iter().enumerate() {
        results.push(match run_in_savepoint(conn, model, user, operation).await {
            Ok(response) => OperationResult::Success { status: response.status.as_u16(), body: response.body },
            // The transaction can no longer be used after an error of the database itself.
            Err(error @ (ApiError::Unavailable | ApiError::Internal)) => return Err(error),
            Err(error) if batch.atomic => return Err(error.with_field_prefix(&format!("mutations[{index}]"))),
            Err(error) => {
                let problem = Box::new(error.problem());
                OperationResult::Failure { status: problem.status, problem }
            }
        });
    }
    Ok(results)
}

/// Executes one operation in a savepoint, so that a failure leaves no partial changes.
async fn run_in_savepoint(
    conn: &mut Connection,
    model: &EntityModel,
    user: &AuthUser,
    operation: &BatchOperation,
) -> Result<MutationResponse> {
    let mutation = build_mutation(model, operation)?;
    let mut savepoint = pmo_database::Savepoint::begin(conn).await?;
    let response = mutation.execute(&mut savepoint, model, user).await?;
    savepoint.release().await?;
    Ok(response)
}

/// Request to update all entities that match a filter.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({
    "filter": {"dl__task_stage": "To Do"}, "values": {"dl__task_priority": "High"}, "preview": true
})))]
pub(super) struct BulkUpdateRequest {
    /// Filter in the form of list parameters: `{"due_date[lt]": "2026-01-01"}`.
    #[schema(value_type = Object)]
    filter: BTreeMap<String, String>,
    /// New column values.
    #[schema(value_type = Object)]
    values: Map<String, Value>,
    /// Whether to only count the matches.
    #[serde(default)]
    preview: bool,
    /// Number of editable entities according to the preview; if it has changed, nothing is updated.
    expected: Option<usize>,
}

impl BulkUpdateRequest {
    /// Parses the filter; fails if it is empty or has other list parameters.
    fn query(&self, entity: &EntityType) -> Result<ListQuery> {
        let parameters: Vec<(String, String)> =
            self.filter.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let is_other = |name: &str| {
            matches!(name, "limit" | "offset" | "cursor" | "sort" | "fields" | "content" | "include_deleted")
        };
        if let Some((name, _)) = parameters.iter().find(|(name, _)| is_other(name)) {
            return Err(ApiError::bad_request(name, "is not a filter"));
        }
        let query = ListQuery::parse(&parameters, entity)?;
        if query.filters.is_empty() && query.ids.is_none() && query.search.is_none() {
            return Err(ApiError::unprocessable("filter", "is required for bulk updates"));
        }
        Ok(ListQuery { limit: MAX_BULK_ROWS, ..query })
    }
}

/// Numbers of entities that a bulk update concerns.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = BulkAnswer)]
pub(super) struct BulkResponse {
    /// Number of updated entities; 0 in a preview.
    changed: usize,
    /// Number of matching entities that the caller may edit.
    editable: usize,
    /// Number of matching entities that the caller may see.
    matching: usize,
}

/// Updates all entities that match a filter, or counts them.
#[utoipa::path(post, path = "/{entity}/bulk", tag = "entities", request_body = BulkUpdateRequest, params(
    ("entity" = String, Path, description = "Entity type code", example = "task"),
    ("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key returns the stored response")), responses(
    (status = 200, description = "{matching, editable, changed}", body = BulkResponse, example = json!({"matching": 12, "editable": 9, "changed": 0})), (status = 400, description = "Invalid filter; see `errors`"),
    Unauthorized, (status = 403, description = "Forbidden: an entity cannot be moved to the new parent"), (status = 404, description = "No such type"),
    (status = 409, description = "Unique constraint violated"), (status = 413, description = "Body too large"), (status = 415, description = "Unsupported media type; send JSON"),
    (status = 422, description = "Validation failed, too many matches, or not the expected number")))]
pub(super) async fn bulk(
    request: WriteRequest,
    Path(code): Path<String>,
    JsonBody(body): JsonBody,
) -> Result<MutationResponse> {
    let WriteRequest { app, user, headers } = request;
    let model = app.model_for_type(&code).await?;
    let entity = model.entity(&code)?;
    let body_text = body.to_string();
    let bulk: BulkUpdateRequest =
        serde_json::from_value(body).map_err(|e| ApiError::unprocessable("body", e.to_string()))?;
    let query = bulk.query(entity)?;
    if bulk.values.is_empty() && !bulk.preview {
        return Err(ApiError::unprocessable("values", "are required"));
    }
    let transaction = pmo_database::begin(&app.pool, &user.actor).await?;
    execute_once(transaction, &user, &headers, &[b"BULK", code.as_bytes(), body_text.as_bytes()], async |conn| {
        let (matching, editable) = matching_and_editable(conn, &user, entity, &query).await?;
        if let Some(expected) = bulk.expected.filter(|expected| *expected != editable.len()) {
            return Err(ApiError::unprocessable(
                "expected",
                format!("was {expected}, but {} entities match now; preview again", editable.len()),
            ));
        }
        let updated: &[Uuid] = if bulk.preview { &[] } else { &editable };
        for id in updated {
            let body = Value::Object(bulk.values.clone());
            let mutation = Mutation { status_only: true, ..Mutation::new(MutationKind::Update, entity, *id, body) };
            mutation.execute(conn, &model, &user).await?;
        }
        let counts = BulkResponse { changed: updated.len(), editable: editable.len(), matching };
        MutationResponse::with_body(StatusCode::OK, &counts)
    })
    .await
}

/// Returns the number of visible entities that match, and the ids of those that the user may edit.
///
/// Fails with 422 if more than [`MAX_BULK_ROWS`] match.
async fn matching_and_editable(
    conn: &mut Connection,
    user: &AuthUser,
    entity: &EntityType,
    query: &ListQuery,
) -> Result<(usize, Vec<Uuid>)> {
    // A cache of its own: rows read in a writing transaction must not be shared with other
    // requests.
    let (visibility_cache, row_cache) = (VisibilityCache::new(1 << 20), RowCache::new(1 << 20));
    let mut reader = visibility_cache.begin_read(conn, user.person).await?;
    let page = list::fetch_page(conn, &mut reader, &row_cache, entity, query, None).await?;
    if page.next_cursor.is_some() {
        return Err(ApiError::unprocessable(
            "filter",
            format!("matches more than {MAX_BULK_ROWS} entities; narrow the filter"),
        ));
    }
    let ids: Vec<Uuid> = page.rows.iter().map(|row| row.id).collect();
    let levels = permission::permissions_of(conn, &[user.person], &entity.code, &ids).await?;
    let is_editable = |id: &Uuid| levels.get(&(user.person, *id)) >= Some(&Permission::Edit);
    Ok((ids.len(), ids.iter().copied().filter(is_editable).collect()))
}
