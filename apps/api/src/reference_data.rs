//! What every page needs to know before it shows a thing: types, option sets, settings.

use crate::admin::require_administrator;
use crate::auth::AuthUser;
use crate::entity::{IdempotencyCheck, MutationResponse, check_idempotency_header, commit_with_response};
use crate::error::{ApiError, Result};
use crate::extract::JsonBody;
use crate::state::{AppState, EntityModel};
use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use pmo_database::{DatabaseError, permission, setting};
use pmo_domain::EntityType;
use serde_json::{Value, json};
use utoipa_axum::{router::OpenApiRouter, routes};

/// The routes of this room.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(entity_codes))
        .routes(routes!(datalabel))
        .routes(routes!(all_datalabels))
        .routes(routes!(global_settings, change_settings))
}

pub(crate) fn code_entry(entity: &EntityType, creatable: &[String]) -> Value {
    json!({
        "code": entity.code, "name": entity.name, "ui_label": entity.ui_label, "ui_icon": entity.ui_icon,
        "child_entity_codes": entity.children.iter().map(|c| &c.code).collect::<Vec<_>>(),
        "children": entity.children, "columns": entity.columns,
        "root_flag": entity.root_flag, "display_order": entity.display_order, "config_datatable": entity.config_datatable,
        "may_create": creatable.iter().any(|code| entity.code == **code),
    })
}

/// All entity types.
#[utoipa::path(get, path = "/entity/codes", tag = "reference", responses(
    (status = 200, description = "[{code, name, ui_label, ui_icon, child_entity_codes, root_flag, display_order, config_datatable, columns, children, may_create}]; may_create: whether you may make one that hangs below nothing", body = Object),
    (status = 401, description = "Not signed in")))]
async fn entity_codes(State(app): State<AppState>, who: AuthUser) -> Result<Json<Value>> {
    // First, because it may need a connection of its own.
    let model = app.model().await?;
    let mut connection = app.pool.acquire().await.map_err(DatabaseError::from)?;
    let creatable = permission::creatable_types(&mut connection, who.person).await?;
    let mut types: Vec<&EntityType> = model.catalogue.types.values().collect();
    types.sort_by_key(|t| (t.display_order, t.code.clone()));
    Ok(Json(types.into_iter().map(|entity| code_entry(entity, &creatable)).collect()))
}

#[derive(serde::Deserialize)]
struct DatalabelQuery {
    name: Option<String>,
}

/// One option set.
#[utoipa::path(get, path = "/datalabel", tag = "reference", params(("name" = String, Query, description = "The set's name", example = "project_stage")), responses(
    (status = 200, description = "{name, options}", body = Object), (status = 400, description = "No name given"),
    (status = 401, description = "Not signed in"), (status = 404, description = "No such set")))]
async fn datalabel(
    State(app): State<AppState>,
    _who: AuthUser,
    Query(query): Query<DatalabelQuery>,
) -> Result<Json<Value>> {
    let name = query.name.ok_or_else(|| ApiError::bad_request("name", "is needed: the set's name"))?;
    let model: std::sync::Arc<EntityModel> = app.model().await?;
    model.datalabels.get(&name).map(|set| Json(json!(set))).ok_or(ApiError::NotFound)
}

/// All option sets.
#[utoipa::path(get, path = "/datalabel/all", tag = "reference", responses(
    (status = 200, description = "[{name, options}]", body = Object), (status = 401, description = "Not signed in")))]
async fn all_datalabels(State(app): State<AppState>, _who: AuthUser) -> Result<Json<Value>> {
    let model = app.model().await?;
    Ok(Json(model.datalabels.values().map(|set| json!(set)).collect()))
}

/// Settings that hold for everybody.
#[utoipa::path(get, path = "/settings/global", tag = "reference", responses(
    (status = 200, description = "{currency, date, timestamp, boolean, …}", body = Object), (status = 401, description = "Not signed in")))]
async fn global_settings(State(app): State<AppState>, _who: AuthUser) -> Result<Json<Value>> {
    let mut connection = app.pool.acquire().await.map_err(DatabaseError::from)?;
    Ok(Json(setting::all(&mut connection).await?))
}

/// Change settings; for administrators, who are those that own the type 'role'.
#[utoipa::path(patch, path = "/settings/global", tag = "reference", request_body = Object, responses(
    (status = 200, description = "All settings", body = Object), (status = 400, description = "Not JSON"), (status = 401, description = "Not signed in"),
    (status = 403, description = "Not an administrator"), (status = 413, description = "Too large"), (status = 415, description = "Not JSON by its type"),
    (status = 422, description = "No such setting")))]
async fn change_settings(
    State(app): State<AppState>,
    who: AuthUser,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<MutationResponse> {
    let object = body.as_object().ok_or_else(|| ApiError::bad_request("body", "must be a JSON object"))?;
    let mut transaction = pmo_database::begin(&app.pool, &who.actor).await?;
    require_administrator(&mut transaction, &who, "changes the settings").await?;
    let key =
        match check_idempotency_header(&mut transaction, &who, &headers, &[b"SETTINGS", body.to_string().as_bytes()])
            .await?
        {
            IdempotencyCheck::Replay(answer) => return Ok(answer),
            IdempotencyCheck::New(key) => key,
        };
    for (key, value) in object {
        if key.contains('\0') || value.to_string().contains("\\u0000") || value.is_null() {
            return Err(ApiError::unprocessable(key, "has a value that can't be stored"));
        }
        if !setting::set(&mut transaction, key, value).await? {
            return Err(ApiError::unprocessable(key, "is not a setting"));
        }
    }
    let all = setting::all(&mut transaction).await?;
    commit_with_response(transaction, &who, key, MutationResponse { status: StatusCode::OK, body: Some(all) }).await
}
