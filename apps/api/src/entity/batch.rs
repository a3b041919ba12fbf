//! Several writes in one request: a batch of operations, or one update of all matches of a filter.
//!
//! Invariant: each operation has the same result as a request of its own.

use super::mutation::{Mutation, MutationKind};
use super::write::{check_idempotency_header, commit_with_response};
use super::{IdempotencyCheck, MutationResponse};
use crate::auth::AuthUser;
use crate::error::{ApiError, Result};
use crate::extract::{JsonBody, LargeJsonBody};
use crate::state::{AppState, EntityModel};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use pmo_database::row_cache::RowCache;
use pmo_database::visibility::VisibilityCache;
use pmo_database::{Connection, list, permission};
use pmo_domain::query::ListQuery;
use pmo_domain::{EntityCode, Permission};
use serde::Deserialize;
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
        action,
        entity,
        id,
        body,
        server_values: pmo_domain::Row::new(),
        version: operation.version,
        idempotency_key: operation.idempotency_key.clone(),
        status_only: false,
    })
}

/// Executes several operations in one request.
#[utoipa::path(post, path = "/batch", tag = "entities", request_body = BatchRequest, params(
    ("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key returns the stored response")), responses(
    (status = 200, description = "{results: [{status, body | problem}]} in request order. With `atomic`, all succeeded", body = Object),
    (status = 400, description = "Not JSON"), (status = 401, description = "Not signed in"), (status = 403, description = "Atomic batch: an operation is forbidden"),
    (status = 404, description = "Atomic batch: an entity was not found"), (status = 409, description = "Atomic batch: unique constraint violated"),
    (status = 412, description = "Atomic batch: version conflict"), (status = 413, description = "Body too large"), (status = 415, description = "Unsupported media type; send JSON"),
    (status = 422, description = "Invalid batch, or atomic batch with an invalid operation; fields are named like mutations[3].name")))]
pub(super) async fn batch(
    State(app): State<AppState>,
    user: AuthUser,
    headers: HeaderMap,
    LargeJsonBody(body): LargeJsonBody,
) -> Result<MutationResponse> {
    let body_text = body.to_string();
    let batch: BatchRequest =
        serde_json::from_value(body).map_err(|e| ApiError::unprocessable("body", e.to_string()))?;
    if batch.mutations.is_empty() || batch.mutations.len() > MAX_BATCH_OPERATIONS {
        return Err(ApiError::unprocessable(
            "mutations",
            format!("must contain 1 to {MAX_BATCH_OPERATIONS} operations"),
        ));
    }
    let model = app.model().await?;
    let mut transaction = pmo_database::begin(&app.pool, &user.actor).await?;
    let key =
        match check_idempotency_header(&mut transaction, &user, &headers, &[b"BATCH", body_text.as_bytes()]).await? {
            IdempotencyCheck::Replay(response) => return Ok(response),
            IdempotencyCheck::New(key) => key,
        };
    let mut results = Vec::with_capacity(batch.mutations.len());
    for (index, operation) in batch.mutations.iter().enumerate() {
        let outcome = run_in_savepoint(&mut transaction, &model, &user, operation).await;
        match outcome {
            Ok(response) => results.push(json!({"status": response.status.as_u16(), "body": response.body})),
            // The transaction can no longer be used after an error of the database itself.
            Err(error @ (ApiError::Unavailable | ApiError::Internal)) => return Err(error),
            Err(error) if batch.atomic => return Err(error.with_field_prefix(&format!("mutations[{index}]"))),
            Err(error) => {
                let problem = error.problem();
                results.push(json!({"status": problem.status, "problem": problem}));
            }
        }
    }
    let body = json!({"results": results});
    commit_with_response(transaction, &user, key, MutationResponse { status: StatusCode::OK, body: Some(body) }).await
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

/// Updates all entities that match a filter, or counts them.
#[utoipa::path(post, path = "/{entity}/bulk", tag = "entities", request_body = BulkUpdateRequest, params(
    ("entity" = String, Path, description = "Entity type code", example = "task"),
    ("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key returns the stored response")), responses(
    (status = 200, description = "{matching, editable, changed}", body = Object), (status = 400, description = "Invalid filter; see `errors`"),
    (status = 401, description = "Not signed in"), (status = 403, description = "Forbidden: an entity cannot be moved to the new parent"), (status = 404, description = "No such type"),
    (status = 409, description = "Unique constraint violated"), (status = 413, description = "Body too large"), (status = 415, description = "Unsupported media type; send JSON"),
    (status = 422, description = "Validation failed, too many matches, or not the expected number")))]
pub(super) async fn bulk(
    State(app): State<AppState>,
    user: AuthUser,
    Path(code): Path<String>,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<MutationResponse> {
    let model = app.model_for_type(&code).await?;
    let entity = model.entity(&code)?;
    let body_text = body.to_string();
    let bulk: BulkUpdateRequest =
        serde_json::from_value(body).map_err(|e| ApiError::unprocessable("body", e.to_string()))?;
    let parameters: Vec<(String, String)> = bulk.filter.into_iter().collect();
    if let Some((name, _)) = parameters.iter().find(|(n, _)| {
        matches!(n.as_str(), "limit" | "offset" | "cursor" | "sort" | "fields" | "content" | "include_deleted")
    }) {
        return Err(ApiError::bad_request(name, "is not a filter"));
    }
    let mut query = ListQuery::parse(&parameters, entity)?;
    if query.filters.is_empty() && query.ids.is_none() && query.search.is_none() {
        return Err(ApiError::unprocessable("filter", "is required for bulk updates"));
    }
    if bulk.values.is_empty() && !bulk.preview {
        return Err(ApiError::unprocessable("values", "are required"));
    }
    query.limit = MAX_BULK_ROWS;
    let mut transaction = pmo_database::begin(&app.pool, &user.actor).await?;
    let key = match check_idempotency_header(
        &mut transaction,
        &user,
        &headers,
        &[b"BULK", code.as_bytes(), body_text.as_bytes()],
    )
    .await?
    {
        IdempotencyCheck::Replay(response) => return Ok(response),
        IdempotencyCheck::New(key) => key,
    };
    // A cache of its own: rows read in a writing transaction must not be shared with other
    // requests.
    let (visibility_cache, row_cache) = (VisibilityCache::new(1 << 20), RowCache::new(1 << 20));
    let mut reader = visibility_cache.begin_read(&mut transaction, user.person).await?;
    let page = list::fetch_page(&mut transaction, &mut reader, &row_cache, entity, &query, None).await?;
    if page.next_cursor.is_some() {
        return Err(ApiError::unprocessable(
            "filter",
            format!("matches more than {MAX_BULK_ROWS} entities; narrow the filter"),
        ));
    }
    let ids: Vec<Uuid> = page.rows.iter().map(|row| row.id).collect();
    let levels = permission::permissions_of(&mut transaction, &[user.person], &entity.code, &ids).await?;
    let editable: Vec<Uuid> =
        ids.iter().copied().filter(|id| levels.get(&(user.person, *id)) >= Some(&Permission::Edit)).collect();
    if let Some(expected) = bulk.expected.filter(|n| *n != editable.len()) {
        return Err(ApiError::unprocessable(
            "expected",
            format!("was {expected}, but {} entities match now; preview again", editable.len()),
        ));
    }
    let mut changed = 0;
    if !bulk.preview {
        for id in &editable {
            let body = Value::Object(bulk.values.clone());
            let mutation = Mutation {
                action: MutationKind::Update,
                entity,
                id: *id,
                body,
                server_values: pmo_domain::Row::new(),
                version: None,
                idempotency_key: None,
                status_only: false,
            };
            mutation.execute(&mut transaction, &model, &user).await?;
            changed += 1;
        }
    }
    let body = json!({"matching": ids.len(), "editable": editable.len(), "changed": changed});
    commit_with_response(transaction, &user, key, MutationResponse { status: StatusCode::OK, body: Some(body) }).await
}
