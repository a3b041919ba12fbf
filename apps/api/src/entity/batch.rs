//! Many writes in one request: a batch of different ones, or one edit of all that a filter finds. Each comes to what it would alone.

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

/// Most mutations of a batch.
const MAX_BATCH_OPERATIONS: usize = 500;
/// Most things that one bulk edit changes.
const MAX_BULK_ROWS: usize = 1000;

/// A batch.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchRequest {
    /// All or nothing. Otherwise each counts for itself.
    #[serde(default)]
    atomic: bool,
    /// At most 500, done in order.
    mutations: Vec<BatchOperation>,
}

/// One write of a batch.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchOperation {
    /// What is done.
    action: StepAction,
    /// The type's code.
    #[schema(example = "task")]
    entity: String,
    /// The thing; for a create the id may stand in the values.
    id: Option<Uuid>,
    /// For a create: the thing that it hangs below, by its column or by a link.
    below: Option<ParentRef>,
    /// The values of a create or an update.
    #[serde(default)]
    #[schema(value_type = Object)]
    values: Map<String, Value>,
    /// The version that it was made on.
    version: Option<i64>,
    /// A repeat with the same key gets the first answer.
    idempotency_key: Option<String>,
}

/// What a step does.
#[derive(Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepAction {
    /// Make.
    Create,
    /// Change.
    Update,
    /// Delete.
    Delete,
    /// Bring back.
    Restore,
}

/// A thing above.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ParentRef {
    /// Its type.
    entity: String,
    /// The thing.
    id: Uuid,
}

fn mutation<'a>(model: &'a EntityModel, step: &BatchOperation) -> Result<Mutation<'a>> {
    let entity = model.entity(&step.entity).map_err(|_| ApiError::unprocessable("entity", "is no entity type"))?;
    let mut values = step.values.clone();
    let needed = || step.id.ok_or_else(|| ApiError::unprocessable("id", "is needed"));
    let (action, id) = match step.action {
        StepAction::Create => {
            if let Some(id) = step.id {
                values.insert("id".into(), json!(id));
            }
            let mut below = None;
            if let Some(above) = &step.below {
                let tie = (model.catalogue.child_relation(&above.entity, &step.entity))
                    .ok_or_else(|| ApiError::unprocessable("below", "can't have this type below it"))?;
                match &tie.parent_column {
                    Some(column) => {
                        values.insert(column.clone(), json!(above.id));
                        values.extend(tie.parent_type_column.clone().map(|c| (c, json!(above.entity))));
                    }
                    None => below = EntityCode::new(above.entity.as_str()).ok().map(|code| (code, above.id)),
                }
            }
            (MutationKind::Create { below }, Uuid::nil())
        }
        StepAction::Update => (MutationKind::Update, needed()?),
        StepAction::Delete => (MutationKind::Delete, needed()?),
        StepAction::Restore => (MutationKind::Restore, needed()?),
    };
    if step.idempotency_key.as_ref().is_some_and(|k| !(1..=200).contains(&k.len()) || k.contains('\0')) {
        return Err(ApiError::unprocessable("idempotency_key", "must be 1 to 200 characters"));
    }
    let body = if matches!(step.action, StepAction::Create | StepAction::Update) { json!(values) } else { Value::Null };
    Ok(Mutation {
        action,
        entity,
        id,
        body,
        server_values: pmo_domain::Row::new(),
        version: step.version,
        key: step.idempotency_key.clone(),
        status_only: false,
    })
}

/// Many writes at once.
#[utoipa::path(post, path = "/batch", tag = "things", request_body = BatchRequest, params(
    ("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same key gets the first answer")), responses(
    (status = 200, description = "{results: [{status, body | problem}]} in order. With 'atomic' all went through", body = Object),
    (status = 400, description = "Not JSON"), (status = 401, description = "Not signed in"), (status = 403, description = "Atomic, and one may not be done"),
    (status = 404, description = "Atomic, and one thing is not there"), (status = 409, description = "Atomic, and a unique value is taken"),
    (status = 412, description = "Atomic, and one was changed meanwhile"), (status = 413, description = "Too large"), (status = 415, description = "Not JSON by its type"),
    (status = 422, description = "The batch is wrong, or atomic and one write is; fields are named mutations[3].name")))]
pub(super) async fn batch(
    State(app): State<AppState>,
    who: AuthUser,
    headers: HeaderMap,
    LargeJsonBody(body): LargeJsonBody,
) -> Result<MutationResponse> {
    let asked = body.to_string();
    let batch: BatchRequest =
        serde_json::from_value(body).map_err(|e| ApiError::unprocessable("body", e.to_string()))?;
    if batch.mutations.is_empty() || batch.mutations.len() > MAX_BATCH_OPERATIONS {
        return Err(ApiError::unprocessable("mutations", format!("must be 1 to {MAX_BATCH_OPERATIONS}")));
    }
    let model = app.model().await?;
    let mut transaction = pmo_database::begin(&app.pool, &who.actor).await?;
    let key = match check_idempotency_header(&mut transaction, &who, &headers, &[b"BATCH", asked.as_bytes()]).await? {
        IdempotencyCheck::Replay(answer) => return Ok(answer),
        IdempotencyCheck::New(key) => key,
    };
    let mut results = Vec::with_capacity(batch.mutations.len());
    for (index, step) in batch.mutations.iter().enumerate() {
        let outcome = run_in_savepoint(&mut transaction, &model, &who, step).await;
        match outcome {
            Ok(answer) => results.push(json!({"status": answer.status.as_u16(), "body": answer.body})),
            // The database itself: nothing more can be done in this transaction.
            Err(error @ (ApiError::Unavailable | ApiError::Internal)) => return Err(error),
            Err(error) if batch.atomic => return Err(error.with_field_prefix(&format!("mutations[{index}]"))),
            Err(error) => {
                let problem = error.problem();
                results.push(json!({"status": problem.status, "problem": problem}));
            }
        }
    }
    let body = json!({"results": results});
    commit_with_response(transaction, &who, key, MutationResponse { status: StatusCode::OK, body: Some(body) }).await
}

/// One step between savepoints: what fails leaves nothing behind.
async fn run_in_savepoint(
    c: &mut Connection,
    model: &EntityModel,
    who: &AuthUser,
    step: &BatchOperation,
) -> Result<MutationResponse> {
    let mutation = mutation(model, step)?;
    let mut savepoint = pmo_database::Savepoint::begin(c).await?;
    let answer = mutation.execute(&mut savepoint, model, who).await?;
    savepoint.release().await?;
    Ok(answer)
}

/// An edit of everything that a filter finds.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkUpdateRequest {
    /// Parameters as of a list: `{"due_date[lt]": "2026-01-01"}`.
    #[schema(value_type = Object)]
    filter: BTreeMap<String, String>,
    /// The new values.
    #[schema(value_type = Object)]
    values: Map<String, Value>,
    /// Only count.
    #[serde(default)]
    preview: bool,
    /// The count that the preview told: where it is another by now, nothing is changed.
    expected: Option<usize>,
}

/// Change everything that a filter finds, or count first.
#[utoipa::path(post, path = "/{entity}/bulk", tag = "things", request_body = BulkUpdateRequest, params(
    ("entity" = String, Path, description = "The type's code", example = "task"),
    ("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same key gets the first answer")), responses(
    (status = 200, description = "{matching, editable, changed}", body = Object), (status = 400, description = "The filter is wrong; the problem names it"),
    (status = 401, description = "Not signed in"), (status = 403, description = "One may not be moved there"), (status = 404, description = "No such type"),
    (status = 409, description = "A unique value is taken"), (status = 413, description = "Too large"), (status = 415, description = "Not JSON by its type"),
    (status = 422, description = "Fields are wrong, too many things match, or another number than expected")))]
pub(super) async fn bulk(
    State(app): State<AppState>,
    who: AuthUser,
    Path(code): Path<String>,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<MutationResponse> {
    let model = app.model_for_type(&code).await?;
    let entity = model.entity(&code)?;
    let asked = body.to_string();
    let bulk: BulkUpdateRequest =
        serde_json::from_value(body).map_err(|e| ApiError::unprocessable("body", e.to_string()))?;
    let parameters: Vec<(String, String)> = bulk.filter.into_iter().collect();
    if let Some((name, _)) = parameters.iter().find(|(n, _)| {
        matches!(n.as_str(), "limit" | "offset" | "cursor" | "sort" | "fields" | "content" | "include_deleted")
    }) {
        return Err(ApiError::bad_request(name, "is no filter"));
    }
    let mut query = ListQuery::parse(&parameters, entity).map_err(ApiError::BadRequest)?;
    if query.filters.is_empty() && query.ids.is_none() && query.search.is_none() {
        return Err(ApiError::unprocessable("filter", "is needed: nobody changes everything by an empty filter"));
    }
    if bulk.values.is_empty() && !bulk.preview {
        return Err(ApiError::unprocessable("values", "are needed"));
    }
    query.limit = MAX_BULK_ROWS;
    let mut transaction = pmo_database::begin(&app.pool, &who.actor).await?;
    let key =
        match check_idempotency_header(&mut transaction, &who, &headers, &[b"BULK", code.as_bytes(), asked.as_bytes()])
            .await?
        {
            IdempotencyCheck::Replay(answer) => return Ok(answer),
            IdempotencyCheck::New(key) => key,
        };
    // Read within a transaction: kept for nobody else.
    let (memory, texts) = (VisibilityCache::new(1 << 20), RowCache::new(1 << 20));
    let mut reader = memory.begin_read(&mut transaction, who.person).await?;
    let page = list::fetch_page(&mut transaction, &mut reader, &texts, entity, &query, None).await?;
    if page.next_cursor.is_some() {
        return Err(ApiError::unprocessable("filter", format!("finds more than {MAX_BULK_ROWS} things: narrow it")));
    }
    let ids: Vec<Uuid> = page.rows.iter().map(|row| row.id).collect();
    let levels = permission::permissions_of(&mut transaction, &[who.person], &entity.code, &ids).await?;
    let editable: Vec<Uuid> =
        ids.iter().copied().filter(|id| levels.get(&(who.person, *id)) >= Some(&Permission::Edit)).collect();
    if let Some(expected) = bulk.expected.filter(|n| *n != editable.len()) {
        return Err(ApiError::unprocessable(
            "expected",
            format!("was {expected}, and is {} by now: look again", editable.len()),
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
                key: None,
                status_only: false,
            };
            mutation.execute(&mut transaction, &model, &who).await?;
            changed += 1;
        }
    }
    let body = json!({"matching": ids.len(), "editable": editable.len(), "changed": changed});
    commit_with_response(transaction, &who, key, MutationResponse { status: StatusCode::OK, body: Some(body) }).await
}
