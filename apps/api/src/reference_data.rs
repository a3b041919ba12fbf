//! Reference data that every page needs: entity types, option sets, settings.

use crate::admin::authorization::require_administrator;
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

/// Returns the routes of this module.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(entity_codes))
        .routes(routes!(datalabel))
        .routes(routes!(all_datalabels))
        .routes(routes!(global_settings, change_settings))
}

pub(crate) fn code_entry(entity: &EntityType, creatable: &[String]) -> Value {
    json!({
        "code": entity.code, "name": entity.name, "ui_label": entity.ui_label, "ui_icon": entity.ui_icon,
        "child_entity_codes": entity.children.iter().map(|child| &child.code).collect::<Vec<_>>(),
        "children": entity.children, "columns": entity.columns,
        "root_flag": entity.root_flag, "display_order": entity.display_order, "config_datatable": entity.config_datatable,
        "may_create": creatable.iter().any(|code| entity.code == **code),
    })
}

/// Lists all entity types.
#[utoipa::path(get, path = "/entity/codes", tag = "reference", responses(
    (status = 200, description = "[{code, name, ui_label, ui_icon, child_entity_codes, root_flag, display_order, config_datatable, columns, children, may_create}]; may_create: whether the caller may create one without a parent", body = Object),
    (status = 401, description = "Not signed in")))]
async fn entity_codes(State(app): State<AppState>, user: AuthUser) -> Result<Json<Value>> {
    // Read before a connection is acquired, because it may need a connection itself.
    let model = app.model().await?;
    let mut connection = app.pool.acquire().await.map_err(DatabaseError::from)?;
    let creatable = permission::creatable_types(&mut connection, user.person).await?;
    let mut types: Vec<&EntityType> = model.catalog.types.values().collect();
    types.sort_by_key(|entity| (entity.display_order, entity.code.clone()));
    Ok(Json(types.into_iter().map(|entity| code_entry(entity, &creatable)).collect()))
}

#[derive(serde::Deserialize)]
struct DatalabelQuery {
    name: Option<String>,
}

/// Returns one option set.
#[utoipa::path(get, path = "/datalabel", tag = "reference", params(("name" = String, Query, description = "Name of the option set", example = "project_stage")), responses(
    (status = 200, description = "{name, options}", body = Object), (status = 400, description = "Parameter `name` is missing"),
    (status = 401, description = "Not signed in"), (status = 404, description = "No such option set")))]
async fn datalabel(
    State(app): State<AppState>,
    _user: AuthUser,
    Query(query): Query<DatalabelQuery>,
) -> Result<Json<Value>> {
    let name = query.name.ok_or_else(|| ApiError::bad_request("name", "is required"))?;
    let model: std::sync::Arc<EntityModel> = app.model().await?;
    model.datalabels.get(&name).map(|set| Json(json!(set))).ok_or(ApiError::NotFound)
}

/// Lists all option sets.
#[utoipa::path(get, path = "/datalabel/all", tag = "reference", responses(
    (status = 200, description = "[{name, options}]", body = Object), (status = 401, description = "Not signed in")))]
async fn all_datalabels(State(app): State<AppState>, _user: AuthUser) -> Result<Json<Value>> {
    let model = app.model().await?;
    Ok(Json(model.datalabels.values().map(|set| json!(set)).collect()))
}

/// Returns the global settings.
#[utoipa::path(get, path = "/settings/global", tag = "reference", responses(
    (status = 200, description = "{currency, date, timestamp, boolean, …}", body = Object), (status = 401, description = "Not signed in")))]
async fn global_settings(State(app): State<AppState>, _user: AuthUser) -> Result<Json<Value>> {
    let mut connection = app.pool.acquire().await.map_err(DatabaseError::from)?;
    Ok(Json(setting::all(&mut connection).await?))
}

/// Changes global settings. For administrators.
#[utoipa::path(patch, path = "/settings/global", tag = "reference", request_body = Object, responses(
    (status = 200, description = "All settings", body = Object), (status = 400, description = "Not JSON"), (status = 401, description = "Not signed in"),
    (status = 403, description = "Not an administrator"), (status = 413, description = "Body too large"), (status = 415, description = "Unsupported media type; send JSON"),
    (status = 422, description = "No such setting")))]
async fn change_settings(
    State(app): State<AppState>,
    user: AuthUser,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<MutationResponse> {
    let object = body.as_object().ok_or_else(|| ApiError::bad_request("body", "must be a JSON object"))?;
    let mut transaction = pmo_database::begin(&app.pool, &user.actor).await?;
    require_administrator(&mut transaction, &user, "change the settings").await?;
    let key =
        match check_idempotency_header(&mut transaction, &user, &headers, &[b"SETTINGS", body.to_string().as_bytes()])
            .await?
        {
            IdempotencyCheck::Replay(response) => return Ok(response),
            IdempotencyCheck::New(key) => key,
        };
    for (key, value) in object {
        if key.contains('\0') || value.to_string().contains("\\u0000") || value.is_null() {
            return Err(ApiError::unprocessable(key, "has an invalid value"));
        }
        if !setting::set(&mut transaction, key, value).await? {
            return Err(ApiError::unprocessable(key, "is not a setting"));
        }
    }
    let settings = setting::all(&mut transaction).await?;
    commit_with_response(transaction, &user, key, MutationResponse { status: StatusCode::OK, body: Some(settings) })
        .await
}
