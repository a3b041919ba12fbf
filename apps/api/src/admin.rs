//! What administrators change for everybody: option sets, how types and columns are called, passwords, and a look at all grants. Administrators are those who may
//! make roles; nobody else gets further than 403. Nothing here changes what a type is: that is a migration's business.

mod options; // option sets, pure

use crate::auth::{AuthUser, hash, new_password};
use crate::entity::{IdempotencyCheck, MutationResponse, check_idempotency_header, commit_with_response, id_of};
use crate::error::{ApiError, Result};
use crate::extract::JsonBody;
use crate::state::AppState;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use options::{OptionInput, plan_change};
use pmo_database::administration::{self, GrantFilter};
use pmo_database::{Connection, DatabaseError, credential, permission, row};
use pmo_domain::catalog::{Datalabel, LabelOption};
use pmo_domain::{ColumnKind, EntityCode, EntityType};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

/// Most grants of one answer.
const PAGE: i64 = 200;
/// Rows that one change of names may touch.
const MAX_RENAMED_ROWS: i64 = 20_000;

/// The routes of this room.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(change_options))
        .routes(routes!(change_type))
        .routes(routes!(grants))
        .routes(routes!(reset_password))
}

/// Whether somebody administers; the refusal says what for.
pub(crate) async fn require_administrator(c: &mut Connection, who: &AuthUser, what: &str) -> Result<()> {
    let role = EntityCode::new("role").map_err(|_| ApiError::Internal)?;
    if permission::may_create(c, who.person, &role).await? {
        return Ok(());
    }
    Err(ApiError::Forbidden(format!("Only an administrator {what}.")))
}

/// The options of a set, in order.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateOptionSet {
    /// All of them: what is left out goes, if nothing holds it.
    options: Vec<OptionInput>,
    /// The options as they were read: where they are others by now, nothing is changed.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Object>>)]
    before: Option<Vec<LabelOption>>,
}

fn columns_using_set<'a>(types: &'a BTreeMap<EntityCode, EntityType>, set: &str) -> Vec<(&'a EntityType, &'a str)> {
    let of = |entity: &'a EntityType| {
        let labelled =
            entity.columns.iter().filter(|c| matches!(&c.kind, ColumnKind::Datalabel { set: of } if of == set));
        labelled.map(move |column| (entity, column.name.as_str()))
    };
    types.values().flat_map(of).collect()
}

/// Change an option set: order, names, colours, which option may follow which. Rows follow a new name.
#[utoipa::path(put, path = "/datalabel/{name}", tag = "administration", request_body = UpdateOptionSet, params(("name" = String, Path, description = "The set's name", example = "task_stage"),
    ("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same key gets the first answer")), responses(
    (status = 200, description = "{name, options}", body = Object), (status = 400, description = "Not JSON"), (status = 401, description = "Not signed in"), (status = 403, description = "Not an administrator"),
    (status = 404, description = "No such set"), (status = 409, description = "Changed since `before` was read"), (status = 413, description = "Too large"), (status = 415, description = "Not JSON by its type"), (status = 422, description = "Options are wrong, or one that goes is still held")))]
async fn change_options(
    State(app): State<AppState>,
    who: AuthUser,
    Path(name): Path<String>,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<MutationResponse> {
    let mut transaction = pmo_database::begin(&app.pool, &who.actor).await?;
    require_administrator(&mut transaction, &who, "changes option sets").await?;
    let written = body.to_string();
    let asked: UpdateOptionSet =
        serde_json::from_value(body).map_err(|e| ApiError::unprocessable("options", e.to_string()))?;
    administration::lock_administration(&mut transaction).await?;
    administration::set_short_lock_timeout(&mut transaction).await?;
    let key = match check_idempotency_header(
        &mut transaction,
        &who,
        &headers,
        &[b"OPTIONS", name.as_bytes(), written.as_bytes()],
    )
    .await?
    {
        IdempotencyCheck::Replay(answer) => return Ok(answer),
        IdempotencyCheck::New(key) => key,
    };
    // Read behind the lock: somebody else may just have changed it.
    let model = crate::state::load_model(&mut transaction).await?;
    let present = model.datalabels.get(&name).ok_or(ApiError::NotFound)?;
    if asked.before.is_some_and(|before| before != present.options) {
        return Err(ApiError::ConcurrentUpdate(
            "Somebody else has changed this set since you opened it. Open it again, and change it as it is now."
                .to_owned(),
        ));
    }
    let change = plan_change(present, &asked.options).map_err(ApiError::UnprocessableEntity)?;
    let columns = columns_using_set(&model.catalogue.types, &name);
    let moved: Vec<&str> = change.renamed.keys().map(String::as_str).collect();
    let mut rows = 0;
    for (entity, column) in &columns {
        for gone in &change.removed {
            let place = |what: &str| {
                ApiError::unprocessable(
                    "options",
                    format!("“{gone}” {what}: give those another first, or set it aside without taking it away"),
                )
            };
            if administration::column_default(&mut transaction, entity, column).await?.as_deref() == Some(gone) {
                return Err(place(&format!("is what a new {} begins with", entity.name.to_lowercase())));
            }
            let held = administration::count_rows_with(&mut transaction, entity, column, &[gone]).await?;
            if held > 0 {
                return Err(place(&format!("is held by {held} {}", entity.ui_label.to_lowercase())));
            }
        }
        rows += administration::count_rows_with(&mut transaction, entity, column, &moved).await?;
    }
    if rows > MAX_RENAMED_ROWS {
        return Err(ApiError::unprocessable(
            "options",
            format!("{rows} rows would be called otherwise; at most {MAX_RENAMED_ROWS} can be at once"),
        ));
    }
    administration::replace_options(&mut transaction, &name, &change.options).await?;
    for (entity, column) in &columns {
        administration::rename_option(&mut transaction, entity, column, &change.renamed).await?;
    }
    let body = Some(json!(Datalabel { name, options: change.options }));
    let answer =
        commit_with_response(transaction, &who, key, MutationResponse { status: StatusCode::OK, body }).await?;
    app.reload_model().await?;
    Ok(answer)
}

/// How a type and its columns are called and shown; what is left out stays.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateEntityType {
    /// One of them.
    name: Option<String>,
    /// Several of them.
    ui_label: Option<String>,
    /// An icon by name.
    ui_icon: Option<String>,
    /// Its place among the types.
    display_order: Option<i32>,
    /// Columns by name.
    #[serde(default)]
    columns: BTreeMap<String, UpdateColumn>,
}

/// How a column is called and shown.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateColumn {
    /// What it is called.
    label: Option<String>,
    /// Left out of forms and tables.
    hidden: Option<bool>,
    /// Whether a thing needs it.
    required: Option<bool>,
}

/// Change how a type and its columns are called and shown.
#[utoipa::path(patch, path = "/entity/{code}", tag = "administration", request_body = UpdateEntityType, params(("code" = String, Path, description = "The type", example = "task")), responses(
    (status = 200, description = "The type, as in /entity/codes", body = Object), (status = 400, description = "Not JSON"), (status = 401, description = "Not signed in"), (status = 403, description = "Not an administrator"),
    (status = 404, description = "No such type"), (status = 413, description = "Too large"), (status = 415, description = "Not JSON by its type"), (status = 422, description = "Fields are wrong")))]
async fn change_type(
    State(app): State<AppState>,
    who: AuthUser,
    Path(code): Path<String>,
    JsonBody(body): JsonBody,
) -> Result<Json<Value>> {
    let mut transaction = pmo_database::begin(&app.pool, &who.actor).await?;
    require_administrator(&mut transaction, &who, "changes types").await?;
    let asked: UpdateEntityType =
        serde_json::from_value(body).map_err(|e| ApiError::unprocessable("body", e.to_string()))?;
    administration::lock_administration(&mut transaction).await?;
    let model = crate::state::load_model(&mut transaction).await?;
    let entity = model.entity(&code)?;
    let words = |field: &str, text: &Option<String>| match text {
        Some(text)
            if text.trim() != text
                || !(1..=100).contains(&text.chars().count())
                || text.chars().any(char::is_control) =>
        {
            Err(ApiError::unprocessable(field, "must be 1 to 100 characters, without blanks at its ends"))
        }
        _ => Ok(()),
    };
    words("name", &asked.name)?;
    words("ui_label", &asked.ui_label)?;
    let is_icon = |icon: &String| {
        (1..=40).contains(&icon.len())
            && icon.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    if asked.ui_icon.as_ref().is_some_and(|icon| !is_icon(icon)) {
        return Err(ApiError::unprocessable("ui_icon", "must be the name of an icon, such as briefcase"));
    }
    let mut patch = serde_json::Map::new();
    for (name, column) in &asked.columns {
        let field = |part: &str| format!("columns.{name}.{part}");
        let known = entity.column(name).ok_or_else(|| {
            ApiError::unprocessable(
                &format!("columns.{}", name.chars().take(60).collect::<String>()),
                "is no column of this type",
            )
        })?;
        words(&field("label"), &column.label)?;
        if column.hidden == Some(true) && (known.required || name == "name") {
            return Err(ApiError::unprocessable(&field("hidden"), "is needed, and so it can't be hidden"));
        }
        if column.required == Some(false) && known.not_null {
            return Err(ApiError::unprocessable(&field("required"), "can't be empty: the table says so"));
        }
        let hidden = column.hidden.unwrap_or(known.hidden);
        if column.required.unwrap_or(known.required) && hidden && !known.read_only && !(known.required && known.hidden)
        {
            return Err(ApiError::unprocessable(&field("required"), "can't be needed and hidden at once"));
        }
        if column.required == Some(true) && (known.read_only || hidden) {
            return Err(ApiError::unprocessable(&field("required"), "can't be filled in by people"));
        }
        let parts = [
            ("label", column.label.as_ref().map(|l| json!(l))),
            ("hidden", column.hidden.map(|h| json!(h))),
            ("required", column.required.map(|r| json!(r))),
        ];
        patch.insert(
            name.clone(),
            parts.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect(),
        );
    }
    let words = (asked.name.as_deref(), asked.ui_label.as_deref(), asked.ui_icon.as_deref(), asked.display_order);
    administration::set_type(&mut transaction, entity, words, &Value::Object(patch)).await?;
    let creatable = permission::creatable_types(&mut transaction, who.person).await?;
    transaction.commit().await.map_err(DatabaseError::from)?;
    let model = app.reload_model().await?;
    Ok(Json(crate::reference_data::code_entry(model.entity(&code)?, &creatable)))
}

/// Which grants are asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantListQuery {
    person_id: Option<Uuid>,
    role_id: Option<Uuid>,
    entity_code: Option<String>,
    after: Option<Uuid>,
}

/// Grants, all that there are; without a holder those on whole types. For administrators.
#[utoipa::path(get, path = "/entity_rbac", tag = "administration", params(
    ("person_id" = Option<Uuid>, Query, description = "Those of a person"), ("role_id" = Option<Uuid>, Query, description = "Those of a role"),
    ("entity_code" = Option<String>, Query, description = "Those on things of a type"), ("after" = Option<Uuid>, Query, description = "`next` of the page before")), responses(
    (status = 200, description = "{data: [grants, with holder_name and title], next}", body = Object), (status = 400, description = "A parameter is wrong"), (status = 401, description = "Not signed in"), (status = 403, description = "Not an administrator")))]
async fn grants(
    State(app): State<AppState>,
    who: AuthUser,
    Query(asked): Query<GrantListQuery>,
) -> Result<Json<Value>> {
    let mut connection = app.pool.acquire().await.map_err(DatabaseError::from)?;
    require_administrator(&mut connection, &who, "sees all grants").await?;
    let of = match (asked.person_id, asked.role_id) {
        (Some(id), None) => GrantFilter::Person(id),
        (None, Some(id)) => GrantFilter::Role(id),
        (None, None) => GrantFilter::Types,
        _ => return Err(ApiError::bad_request("person_id", "person_id and role_id don't go together")),
    };
    let mut data =
        administration::grants(&mut connection, &of, asked.entity_code.as_deref(), asked.after, PAGE + 1).await?;
    let more = data.len() > usize::try_from(PAGE).unwrap_or(usize::MAX);
    data.truncate(usize::try_from(PAGE).unwrap_or(usize::MAX));
    let next = data.last().filter(|_| more).map(|last| last["id"].clone());
    // Things are named as far as the asker sees them.
    let ids: Vec<Uuid> = data.iter().filter_map(|g| g["entity_instance_id"].as_str()?.parse().ok()).collect();
    let titles: BTreeMap<String, String> = permission::visible(&mut connection, who.person, &ids)
        .await?
        .into_iter()
        .map(|seen| (seen.id.to_string(), seen.title))
        .collect();
    for grant in &mut data {
        grant["title"] = json!(grant["entity_instance_id"].as_str().and_then(|id| titles.get(id)));
    }
    Ok(Json(json!({"data": data, "next": next})))
}

/// Give a person a new password, which is told once, and end their sessions. For administrators.
#[utoipa::path(post, path = "/person/{id}/password", tag = "administration", params(("id" = Uuid, Path, description = "The person")), responses(
    (status = 201, description = "{password}", body = Object), (status = 401, description = "Not signed in"), (status = 403, description = "Not an administrator"), (status = 404, description = "No such person"), (status = 422, description = "A person without an address can't sign in")))]
async fn reset_password(
    State(app): State<AppState>,
    who: AuthUser,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<Value>)> {
    let mut transaction = pmo_database::begin(&app.pool, &who.actor).await?;
    require_administrator(&mut transaction, &who, "gives passwords").await?;
    let id = id_of(&id)?;
    let model = app.model_for_type("person").await?;
    let person = row::by_id(&mut transaction, model.entity("person")?, id, false).await?.ok_or(ApiError::NotFound)?;
    if person.get("email").and_then(Value::as_str).is_none_or(str::is_empty) {
        return Err(ApiError::unprocessable("email", "is needed to sign in: give this person an address first"));
    }
    let password = new_password();
    let hashed = {
        let _turn = app.password_hash_permits.acquire().await.map_err(|_| ApiError::Internal)?;
        let password = password.clone();
        tokio::task::spawn_blocking(move || hash(&password)).await.ok().flatten().ok_or(ApiError::Internal)?
    };
    credential::set_password(&mut transaction, id, &hashed).await?;
    credential::revoke_all_sessions(&mut transaction, id).await?;
    credential::record_password_reset(&mut transaction, id).await?;
    tracing::info!(by = %who.person.0, of = %id, "a person was given a new password");
    transaction.commit().await.map_err(DatabaseError::from)?;
    Ok((StatusCode::CREATED, Json(json!({"password": password}))))
}
