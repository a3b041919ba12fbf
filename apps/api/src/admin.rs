//! Administration: option sets, labels of types and columns, password resets, list of all grants.
//!
//! Administrators are the users who may create roles; all others get 403.
//!
//! Must not: change the structure of an entity type, which takes a migration.

pub(crate) mod authorization; // who is an administrator
mod options; // validation of option sets, pure

use crate::auth::{AuthUser, hash, new_password};
use crate::entity::{IdempotencyCheck, MutationResponse, check_idempotency_header, commit_with_response, parse_id};
use crate::error::{ApiError, Result};
use crate::extract::JsonBody;
use crate::grants::HeldGrant;
use crate::openapi::{AdministratorsOnly, InvalidJson, InvalidParameter};
use crate::reference_data::EntityTypeEntry;
use crate::state::AppState;
use authorization::require_administrator;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use options::{OptionInput, OptionSetPlan, plan_change};
use pmo_database::administration::{self, ColumnMetadata, GrantFilter};
use pmo_database::grant::HeldGrantRow;
use pmo_database::{Connection, DatabaseError, credential, permission, row};
use pmo_domain::catalog::{Datalabel, LabelOption};
use pmo_domain::{ColumnKind, EntityCode, EntityType};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

/// Maximum number of grants per page.
const PAGE: i64 = 200;
/// Maximum number of rows that one renaming of options may update.
const MAX_RENAMED_ROWS: i64 = 20_000;

/// Returns the routes of this module.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(change_options))
        .routes(routes!(change_type))
        .routes(routes!(grants))
        .routes(routes!(reset_password))
}

/// Request to replace the options of a set, in display order.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"options": [
    {"name": "Open", "color_code": "grey"}, {"name": "Done", "color_code": "green", "terminal_flag": true, "after": ["Open"]}
]})))]
pub(crate) struct UpdateOptionSet {
    /// All options of the set; an option that is missing here is removed unless rows use it.
    options: Vec<OptionInput>,
    /// The options as the client read them.
    ///
    /// If they differ from the current options, the request fails with 409.
    #[serde(default)]
    before: Option<Vec<LabelOption>>,
}

fn columns_using_set<'a>(types: &'a BTreeMap<EntityCode, EntityType>, set: &str) -> Vec<(&'a EntityType, &'a str)> {
    let using_set = |entity: &'a EntityType| {
        let columns =
            entity.columns.iter().filter(|c| matches!(&c.kind, ColumnKind::Datalabel { set: name } if name == set));
        columns.map(move |column| (entity, column.name.as_str()))
    };
    types.values().flat_map(using_set).collect()
}

/// Changes an option set: order, names, colors, allowed transitions. Rows follow a new name.
#[utoipa::path(put, path = "/datalabel/{name}", tag = "administration", request_body = UpdateOptionSet, params(("name" = String, Path, description = "Name of the option set", example = "task_stage"),
    ("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key returns the stored response")), responses(AdministratorsOnly, InvalidJson,
    (status = 200, description = "The changed option set", body = Datalabel), (status = 404, description = "No such option set"),
    (status = 409, description = "Version conflict: the options differ from `before`"), (status = 422, description = "Validation failed, or a removed option is still in use")))]
async fn change_options(
    State(app): State<AppState>,
    user: AuthUser,
    Path(name): Path<String>,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<MutationResponse> {
    let mut transaction = pmo_database::begin(&app.pool, &user.actor).await?;
    require_administrator(&mut transaction, &user, "change option sets").await?;
    let body_text = body.to_string();
    let request: UpdateOptionSet =
        serde_json::from_value(body).map_err(|e| ApiError::unprocessable("options", e.to_string()))?;
    administration::lock_administration(&mut transaction).await?;
    administration::set_short_lock_timeout(&mut transaction).await?;
    let key = match check_idempotency_header(
        &mut transaction,
        &user,
        &headers,
        &[b"OPTIONS", name.as_bytes(), body_text.as_bytes()],
    )
    .await?
    {
        IdempotencyCheck::Replay(response) => return Ok(response),
        IdempotencyCheck::New(key) => key,
    };
    // Loaded after the lock was acquired, because another administrator may just have changed the
    // set.
    let model = crate::state::load_model(&mut transaction).await?;
    let current = model.datalabels.get(&name).ok_or(ApiError::NotFound)?;
    if current.is_fixed {
        return Err(ApiError::unprocessable("name", "is a fixed option set: scheduling depends on its options"));
    }
    if request.before.is_some_and(|before| before != current.options) {
        return Err(ApiError::ConcurrentUpdate(
            "This option set was changed by someone else since you opened it. Reload it and apply your changes again."
                .to_owned(),
        ));
    }
    let plan = plan_change(current, &request.options).map_err(ApiError::UnprocessableEntity)?;
    let columns = columns_using_set(&model.catalog.types, &name);
    check_option_use(&mut transaction, &columns, &plan).await?;
    administration::replace_options(&mut transaction, &name, &plan.options).await?;
    for (entity, column) in &columns {
        administration::rename_option(&mut transaction, entity, column, &plan.renamed).await?;
    }
    let body = Some(json!(Datalabel { name, options: plan.options, is_fixed: false }));
    let response =
        commit_with_response(transaction, &user, key, MutationResponse { status: StatusCode::OK, body }).await?;
    app.reload_model().await?;
    Ok(response)
}

/// Checks that no default and no row uses a removed option, and that few rows use renamed ones.
async fn check_option_use(conn: &mut Connection, columns: &[(&EntityType, &str)], plan: &OptionSetPlan) -> Result<()> {
    let renamed: Vec<&str> = plan.renamed.keys().map(String::as_str).collect();
    let mut rows = 0;
    for (entity, column) in columns {
        for removed in &plan.removed {
            let still_used = |reason: &str| {
                ApiError::unprocessable(
                    "options",
                    format!(
                        "“{removed}” {reason}: choose another value there first, or deactivate the option instead of removing it"
                    ),
                )
            };
            if administration::column_default(conn, entity, column).await?.as_deref() == Some(removed) {
                return Err(still_used(&format!("is the default of a new {}", entity.name.to_lowercase())));
            }
            let row_count = administration::count_rows_with(conn, entity, column, &[removed]).await?;
            if row_count > 0 {
                return Err(still_used(&format!("is used by {row_count} {}", entity.ui_label.to_lowercase())));
            }
        }
        rows += administration::count_rows_with(conn, entity, column, &renamed).await?;
    }
    if rows > MAX_RENAMED_ROWS {
        return Err(ApiError::unprocessable(
            "options",
            format!("{rows} rows use renamed options; at most {MAX_RENAMED_ROWS} can be updated at once"),
        ));
    }
    Ok(())
}

/// Request to change labels and display of a type and its columns; omitted fields stay unchanged.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"ui_label": "Dangers", "columns": {"impact_amt": {"label": "Damage"}}})))]
pub(crate) struct UpdateEntityType {
    /// Singular display name.
    name: Option<String>,
    /// Plural display name.
    ui_label: Option<String>,
    /// Name of the icon.
    ui_icon: Option<String>,
    /// Sort order among the types.
    display_order: Option<i32>,
    /// Changes to columns, by column name.
    #[serde(default)]
    columns: BTreeMap<String, UpdateColumn>,
}

/// Labels and display of a column.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateColumn {
    /// Display name.
    label: Option<String>,
    /// Whether forms and tables omit the column.
    hidden: Option<bool>,
    /// Whether a value is required.
    required: Option<bool>,
}

impl From<UpdateColumn> for ColumnMetadata {
    fn from(column: UpdateColumn) -> Self {
        Self { label: column.label, hidden: column.hidden, required: column.required }
    }
}

/// Changes labels and display of a type and its columns.
#[utoipa::path(patch, path = "/entity/{code}", tag = "administration", request_body = UpdateEntityType, params(("code" = String, Path, description = "Entity type code", example = "task")), responses(
    AdministratorsOnly, InvalidJson, (status = 200, description = "The type, as in /entity/codes", body = EntityTypeEntry),
    (status = 404, description = "No such type"), (status = 422, description = "Validation failed; see `errors`")))]
async fn change_type(
    State(app): State<AppState>,
    user: AuthUser,
    Path(code): Path<String>,
    JsonBody(body): JsonBody,
) -> Result<Json<EntityTypeEntry>> {
    let mut transaction = pmo_database::begin(&app.pool, &user.actor).await?;
    require_administrator(&mut transaction, &user, "change entity types").await?;
    let request: UpdateEntityType =
        serde_json::from_value(body).map_err(|e| ApiError::unprocessable("body", e.to_string()))?;
    administration::lock_administration(&mut transaction).await?;
    let model = crate::state::load_model(&mut transaction).await?;
    let entity = model.entity(&code)?;
    check_type_change(entity, &request)?;
    let labels =
        (request.name.as_deref(), request.ui_label.as_deref(), request.ui_icon.as_deref(), request.display_order);
    let columns = request.columns.into_iter().map(|(name, column)| (name, column.into())).collect();
    administration::update_entity_type(&mut transaction, entity, labels, &columns).await?;
    let creatable = permission::creatable_types(&mut transaction, user.person).await?;
    transaction.commit().await.map_err(DatabaseError::from)?;
    let model = app.reload_model().await?;
    Ok(Json(EntityTypeEntry::new(model.entity(&code)?, &creatable)))
}

/// Checks labels, icon and columns of a change to a type.
fn check_type_change(entity: &EntityType, request: &UpdateEntityType) -> Result<()> {
    check_label("name", request.name.as_deref())?;
    check_label("ui_label", request.ui_label.as_deref())?;
    let is_icon = |icon: &String| {
        (1..=40).contains(&icon.len())
            && icon.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    if request.ui_icon.as_ref().is_some_and(|icon| !is_icon(icon)) {
        return Err(ApiError::unprocessable("ui_icon", "must be the name of an icon, such as briefcase"));
    }
    request.columns.iter().try_for_each(|(name, column)| check_column_change(entity, name, column))
}

fn check_label(field: &str, text: Option<&str>) -> Result<()> {
    match text {
        Some(text)
            if text.trim() != text
                || !(1..=100).contains(&text.chars().count())
                || text.chars().any(char::is_control) =>
        {
            Err(ApiError::unprocessable(field, "must be 1 to 100 characters, without leading or trailing spaces"))
        }
        _ => Ok(()),
    }
}

fn check_column_change(entity: &EntityType, name: &str, column: &UpdateColumn) -> Result<()> {
    let field = |part: &str| format!("columns.{name}.{part}");
    let current = entity.column(name).ok_or_else(|| {
        ApiError::unprocessable(
            &format!("columns.{}", name.chars().take(60).collect::<String>()),
            "is not a column of this type",
        )
    })?;
    check_label(&field("label"), column.label.as_deref())?;
    if column.hidden == Some(true) && (current.required || name == "name") {
        return Err(ApiError::unprocessable(&field("hidden"), "is required and cannot be hidden"));
    }
    if column.required == Some(false) && current.not_null {
        return Err(ApiError::unprocessable(
            &field("required"),
            "cannot be optional: the table column is not nullable",
        ));
    }
    let hidden = column.hidden.unwrap_or(current.hidden);
    if column.required.unwrap_or(current.required)
        && hidden
        && !current.read_only
        && !(current.required && current.hidden)
    {
        return Err(ApiError::unprocessable(&field("required"), "cannot be both required and hidden"));
    }
    if column.required == Some(true) && (current.read_only || hidden) {
        return Err(ApiError::unprocessable(&field("required"), "cannot be required: users cannot enter a value"));
    }
    Ok(())
}

/// Query parameters of the grant list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantListQuery {
    person_id: Option<Uuid>,
    role_id: Option<Uuid>,
    entity_code: Option<String>,
    after: Option<Uuid>,
}

/// A grant with the names of its holder and its entity.
#[derive(Serialize, ToSchema)]
struct GrantEntry {
    /// The grant.
    #[serde(flatten)]
    grant: HeldGrant,
    /// Title of the entity; null if the caller may not see it.
    #[schema(required)]
    title: Option<String>,
}

/// A page of grants.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({"data": [{
    "id": "01a2056d-3569-7f85-b043-7e27da76ec8d", "person_id": "7894b35e-65a1-01ab-d33d-6d81e129cdf9", "role_id": null,
    "entity_code": "milestone", "entity_instance_id": "01a2056d-3563-7049-ab62-bfe1ca58ce3f", "permission": 7,
    "inheritance_mode": "cascade", "child_permissions": {}, "is_deny": false,
    "granted_by__person_id": "7894b35e-65a1-01ab-d33d-6d81e129cdf9", "expires_ts": null,
    "created_ts": "2026-11-22T22:42:52.891842+00:00", "updated_ts": "2026-11-22T22:42:52.891842+00:00",
    "holder_name": "Ada Admin", "title": "Hand-over"
}], "next": null})))]
struct GrantList {
    /// Grants in the order of their ids.
    data: Vec<GrantEntry>,
    /// `after` of the next page; null on the last page.
    #[schema(required)]
    next: Option<Uuid>,
}

/// Lists grants of a person or a role, or without either the type-wide grants. For administrators.
#[utoipa::path(get, path = "/entity_rbac", tag = "administration", params(
    ("person_id" = Option<Uuid>, Query, description = "Grants of this person"), ("role_id" = Option<Uuid>, Query, description = "Grants of this role"),
    ("entity_code" = Option<String>, Query, description = "Grants on entities of this type"), ("after" = Option<Uuid>, Query, description = "`next` of the previous page")), responses(
    InvalidParameter, AdministratorsOnly, (status = 200, description = "A page of grants, with the names of holders and entities", body = GrantList)))]
async fn grants(
    State(app): State<AppState>,
    user: AuthUser,
    Query(query): Query<GrantListQuery>,
) -> Result<Json<GrantList>> {
    let mut connection = app.pool.acquire().await.map_err(DatabaseError::from)?;
    require_administrator(&mut connection, &user, "list all grants").await?;
    let filter = match (query.person_id, query.role_id) {
        (Some(id), None) => GrantFilter::Person(id),
        (None, Some(id)) => GrantFilter::Role(id),
        (None, None) => GrantFilter::Types,
        _ => return Err(ApiError::bad_request("person_id", "cannot be combined with role_id")),
    };
    let mut grants =
        administration::list_grants(&mut connection, &filter, query.entity_code.as_deref(), query.after, PAGE + 1)
            .await?;
    let has_more = grants.len() > usize::try_from(PAGE).unwrap_or(usize::MAX);
    grants.truncate(usize::try_from(PAGE).unwrap_or(usize::MAX));
    let next = grants.last().filter(|_| has_more).map(|last| last.grant.id);
    // Titles are included only for entities that the caller may see.
    let ids: Vec<Uuid> = grants.iter().map(|held| held.grant.entity_instance_id).collect();
    let titles: BTreeMap<Uuid, String> = permission::visible(&mut connection, user.person, &ids)
        .await?
        .into_iter()
        .map(|entity| (entity.id, entity.title))
        .collect();
    let with_title = |held: HeldGrantRow| {
        let title = titles.get(&held.grant.entity_instance_id).cloned();
        GrantEntry { grant: held.into(), title }
    };
    Ok(Json(GrantList { data: grants.into_iter().map(with_title).collect(), next }))
}

/// A password that was just set.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({"password": "kJ8-sTq2bX0mVw5RzN7cYg"})))]
struct NewPassword {
    /// The password, which is not shown again.
    password: String,
}

/// Resets the password of a person and ends their sessions. For administrators.
///
/// The response contains the new password, which is not shown again.
#[utoipa::path(post, path = "/person/{id}/password", tag = "administration", params(("id" = Uuid, Path, description = "Person id")), responses(
    AdministratorsOnly, (status = 201, description = "The new password", body = NewPassword), (status = 404, description = "No such person"), (status = 422, description = "The person has no email address")))]
async fn reset_password(
    State(app): State<AppState>,
    user: AuthUser,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<NewPassword>)> {
    let mut transaction = pmo_database::begin(&app.pool, &user.actor).await?;
    require_administrator(&mut transaction, &user, "reset passwords").await?;
    let id = parse_id(&id)?;
    let model = app.model_for_type("person").await?;
    let person = row::by_id(&mut transaction, model.entity("person")?, id, row::DeletedRows::Exclude)
        .await?
        .ok_or(ApiError::NotFound)?;
    if person.get("email").and_then(Value::as_str).is_none_or(str::is_empty) {
        return Err(ApiError::unprocessable(
            "email",
            "is required to sign in: set the email address of this person first",
        ));
    }
    let password = new_password();
    let hashed = {
        let _permit = app.password_hash_permits.acquire().await.map_err(|_| ApiError::Internal)?;
        let password = password.clone();
        tokio::task::spawn_blocking(move || hash(&password)).await.ok().flatten().ok_or(ApiError::Internal)?
    };
    credential::set_password(&mut transaction, id, &hashed).await?;
    credential::revoke_all_sessions(&mut transaction, id).await?;
    credential::record_password_reset(&mut transaction, id).await?;
    tracing::info!(by = %user.person.0, user = %id, "password reset by administrator");
    transaction.commit().await.map_err(DatabaseError::from)?;
    Ok((StatusCode::CREATED, Json(NewPassword { password })))
}
