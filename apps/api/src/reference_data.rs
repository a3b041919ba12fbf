//! Reference data that every page needs: entity types, option sets, settings.

use crate::admin::authorization::require_administrator;
use crate::auth::AuthUser;
use crate::entity::{IdempotencyCheck, MutationResponse, check_idempotency_header, commit_with_response};
use crate::error::{ApiError, Result};
use crate::extract::JsonBody;
use crate::openapi::{AdministratorsOnly, InvalidJson, Unauthorized};
use crate::state::{AppState, EntityModel};
use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use pmo_database::{DatabaseError, permission, setting};
use pmo_domain::catalog::Datalabel;
use pmo_domain::{ChildRelation, Column, EntityCode, EntityType};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use utoipa::openapi::schema::AdditionalProperties;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

/// Returns the routes of this module.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(entity_codes))
        .routes(routes!(datalabel))
        .routes(routes!(all_datalabels))
        .routes(routes!(global_settings, change_settings))
}

/// Entity type, with the caller's permission to create entities of it.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({
    "code": "milestone", "name": "Milestone", "ui_label": "Milestones", "ui_icon": "diamond", "root_flag": false,
    "display_order": 60, "config_datatable": {}, "can_create": true, "may_create": true,
    "columns": [{
        "name": "due_date", "label": "Due", "kind": "date", "sql_type": "date", "required": false, "read_only": false,
        "not_null": false, "hidden": false
    }],
    "children": [{"code": "message", "column": "target_id", "code_column": "target_code", "owned": true, "create_level": 1}],
    "child_entity_codes": ["message"]
})))]
pub(crate) struct EntityTypeEntry {
    /// Whether the caller may create an entity of the type without a parent.
    can_create: bool,
    /// Type codes of possible children.
    #[schema(value_type = Vec<String>)]
    child_entity_codes: Vec<EntityCode>,
    /// Relations to the types of possible children.
    children: Vec<ChildRelation>,
    /// Type code.
    #[schema(value_type = String)]
    code: EntityCode,
    /// Columns in the order of the database table.
    columns: Vec<Column>,
    /// Display settings, such as the visible table columns and their order.
    config_datatable: Value,
    /// Position in the navigation.
    display_order: i32,
    /// Same as `can_create`.
    #[schema(deprecated)]
    may_create: bool,
    /// Singular display name.
    name: String,
    /// Whether the main navigation contains the type.
    root_flag: bool,
    /// Name of the icon.
    ui_icon: String,
    /// Plural display name.
    ui_label: String,
}

impl EntityTypeEntry {
    /// Creates the entry of a type; `creatable` are the codes of the types that the caller may
    /// create.
    pub(crate) fn new(entity: &EntityType, creatable: &[String]) -> Self {
        let can_create = creatable.iter().any(|code| entity.code == **code);
        Self {
            can_create,
            child_entity_codes: entity.children.iter().map(|child| child.code.clone()).collect(),
            children: entity.children.clone(),
            code: entity.code.clone(),
            columns: entity.columns.clone(),
            config_datatable: entity.config_datatable.clone(),
            display_order: entity.display_order,
            may_create: can_create,
            name: entity.name.clone(),
            root_flag: entity.root_flag,
            ui_icon: entity.ui_icon.clone(),
            ui_label: entity.ui_label.clone(),
        }
    }
}

/// All entity types, in the order of the navigation.
#[derive(Serialize, ToSchema)]
struct EntityTypes(Vec<EntityTypeEntry>);

/// All option sets.
#[derive(Serialize, ToSchema)]
struct OptionSets(Vec<Datalabel>);

/// Global settings by key.
#[derive(Serialize)]
struct Settings(BTreeMap<String, Value>);

impl PartialSchema for Settings {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .description(Some("Global settings by key."))
            .additional_properties(Some(AdditionalProperties::FreeForm(true)))
            .examples([json!({
                "boolean": {"false": "No", "true": "Yes"},
                "currency": {"code": "EUR", "decimals": 2, "symbol": "€"},
                "date": {"first_day_of_week": 1, "format": "D MMM YYYY"},
                "feed": {"log_views": false, "resume_window_days": 90},
                "timestamp": {"format": "D MMM YYYY, HH:mm"}
            })])
            .into()
    }
}

impl ToSchema for Settings {}

/// Lists all entity types.
#[utoipa::path(get, path = "/entity/codes", tag = "reference", responses(Unauthorized,
    (status = 200, description = "All entity types", body = EntityTypes)))]
async fn entity_codes(State(app): State<AppState>, user: AuthUser) -> Result<Json<EntityTypes>> {
    // Read before a connection is acquired, because it may need a connection itself.
    let model = app.model().await?;
    let mut connection = app.pool.acquire().await.map_err(DatabaseError::from)?;
    let creatable = permission::creatable_types(&mut connection, user.person).await?;
    let mut types: Vec<&EntityType> = model.catalog.types.values().collect();
    types.sort_by_key(|entity| (entity.display_order, entity.code.clone()));
    Ok(Json(EntityTypes(types.into_iter().map(|entity| EntityTypeEntry::new(entity, &creatable)).collect())))
}

#[derive(serde::Deserialize)]
struct DatalabelQuery {
    name: Option<String>,
}

/// Returns one option set.
#[utoipa::path(get, path = "/datalabel", tag = "reference", params(("name" = String, Query, description = "Name of the option set", example = "project_stage")), responses(Unauthorized,
    (status = 200, description = "The option set", body = Datalabel), (status = 400, description = "Parameter `name` is missing"), (status = 404, description = "No such option set")))]
async fn datalabel(
    State(app): State<AppState>,
    _user: AuthUser,
    Query(query): Query<DatalabelQuery>,
) -> Result<Json<Datalabel>> {
    let name = query.name.ok_or_else(|| ApiError::bad_request("name", "is required"))?;
    let model: std::sync::Arc<EntityModel> = app.model().await?;
    model.datalabels.get(&name).cloned().map(Json).ok_or(ApiError::NotFound)
}

/// Lists all option sets.
#[utoipa::path(get, path = "/datalabel/all", tag = "reference", responses(Unauthorized,
    (status = 200, description = "All option sets", body = OptionSets)))]
async fn all_datalabels(State(app): State<AppState>, _user: AuthUser) -> Result<Json<OptionSets>> {
    let model = app.model().await?;
    Ok(Json(OptionSets(model.datalabels.values().cloned().collect())))
}

/// Returns the global settings.
#[utoipa::path(get, path = "/settings/global", tag = "reference", responses(Unauthorized,
    (status = 200, description = "All settings", body = Settings)))]
async fn global_settings(State(app): State<AppState>, _user: AuthUser) -> Result<Json<Settings>> {
    let mut connection = app.pool.acquire().await.map_err(DatabaseError::from)?;
    Ok(Json(Settings(setting::all(&mut connection).await?)))
}

/// Changes global settings. For administrators.
#[utoipa::path(patch, path = "/settings/global", tag = "reference", request_body(content = Object, example = json!({"date": {"first_day_of_week": 1}})), responses(
    AdministratorsOnly, InvalidJson, (status = 200, description = "All settings", body = Settings), (status = 422, description = "No such setting")))]
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
    let settings = json!(Settings(setting::all(&mut transaction).await?));
    commit_with_response(transaction, &user, key, MutationResponse { status: StatusCode::OK, body: Some(settings) })
        .await
}
