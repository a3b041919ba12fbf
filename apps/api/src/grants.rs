//! Permission grants: create, delete, list, explain.
//!
//! Invariant: a user cannot grant more than their own permission, and the last owner cannot be
//! removed.

mod responses; // bodies of the responses

use crate::auth::AuthUser;
use crate::entity::{MutationResponse, execute_once, parse_id, permission_message};
use crate::error::{ApiError, Result};
use crate::extract::JsonBody;
use crate::openapi::{InvalidJson, NotVisible, Unauthorized};
use crate::state::{AppState, EntityModel};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use pmo_database::grant::{self, Holder, InheritanceMode, NewGrant};
use pmo_database::{Connection, DatabaseError, PoolConnection, permission, row};
use pmo_domain::{EVERY_INSTANCE, EntityCode, EntityRef, Permission, PersonId};
pub(crate) use responses::HeldGrant;
use responses::{AccessExplanation, Audience, AudienceMember, Grant, GrantList, GrantReason};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

/// Returns the routes of this module.
#[expect(deprecated, reason = "the earlier route is served for one more version")]
pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(create_grant))
        .routes(routes!(delete_grant))
        .routes(routes!(list_grants))
        .routes(routes!(explain_access))
        .routes(routes!(explain_access_why))
        .routes(routes!(audience))
}

/// Grant to create.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({
    "person_id": "7894b35e-65a1-01ab-d33d-6d81e129cdf9", "entity_code": "project",
    "entity_instance_id": "0abb4da0-deec-9b5b-b295-27caaa6c94e5", "permission": 3, "inheritance_mode": "cascade"
})))]
pub(crate) struct CreateGrant {
    /// Person that receives the grant; exclusive with `role_id`.
    person_id: Option<Uuid>,
    /// Role that receives the grant; exclusive with `person_id`.
    role_id: Option<Uuid>,
    /// Entity type code.
    entity_code: String,
    /// Entity id, or the reserved id for all entities of the type.
    entity_instance_id: Uuid,
    /// Permission level, 0 to 7.
    permission: u8,
    /// Inheritance mode: `none`, `cascade` (default) or `mapped`.
    inheritance_mode: Option<String>,
    /// Levels by child type code for `mapped`, with `_default` for all other types.
    #[serde(default)]
    #[schema(value_type = Object)]
    child_permissions: BTreeMap<String, u8>,
    /// Whether the grant denies access instead of granting it.
    #[serde(default)]
    is_deny: bool,
    /// Expiry as an RFC 3339 timestamp; without it, the grant does not expire.
    expires_ts: Option<String>,
}

/// Checked values of a grant to create.
struct ValidGrant {
    level: Permission,
    inheritance_mode: InheritanceMode,
    holder: Holder,
    /// Highest of `level` and the levels of child types.
    max_level: Permission,
}

impl CreateGrant {
    fn validate(&self, model: &EntityModel) -> Result<ValidGrant> {
        let level =
            Permission::try_from(self.permission).map_err(|e| ApiError::unprocessable("permission", e.to_string()))?;
        let inheritance_mode = InheritanceMode::parse(self.inheritance_mode.as_deref().unwrap_or("cascade"))
            .ok_or_else(|| ApiError::unprocessable("inheritance_mode", "must be none, cascade or mapped"))?;
        let holder = match (self.person_id, self.role_id) {
            (Some(id), None) => Holder::Person(id),
            (None, Some(id)) => Holder::Role(id),
            _ => return Err(ApiError::unprocessable("person_id", "exactly one of person_id and role_id is required")),
        };
        let mut max_level = level;
        for (code, child_level) in &self.child_permissions {
            let child_level = Permission::try_from(*child_level)
                .map_err(|e| ApiError::unprocessable("child_permissions", e.to_string()))?;
            if code != "_default" && model.catalog.get(code).is_none() {
                return Err(ApiError::unprocessable(
                    "child_permissions",
                    format!("'{}' is not an entity type", code.chars().take(60).collect::<String>()),
                ));
            }
            max_level = max_level.max(child_level);
        }
        if let Some(text) = &self.expires_ts {
            text.parse::<jiff::Timestamp>().map_err(|_| {
                ApiError::unprocessable("expires_ts", "must be a timestamp such as 2026-01-31T09:00:00Z")
            })?;
        }
        Ok(ValidGrant { level, inheritance_mode, holder, max_level })
    }
}

/// Returns the user's own level on an entity or, for [`EVERY_INSTANCE`], on all entities of a type.
async fn own_level(conn: &mut Connection, user: &AuthUser, code: &EntityCode, id: Uuid) -> Result<Option<Permission>> {
    Ok(if id == EVERY_INSTANCE {
        grant::type_level(conn, user.person, code).await?
    } else {
        permission::permission_on(conn, user.person, code, id).await?
    })
}

/// Checks that the user may create or delete a grant of `level` on the entity.
///
/// Requires SHARE and at least `level`; a deny requires OWNER.
async fn check_can_share(
    conn: &mut Connection,
    user: &AuthUser,
    code: &EntityCode,
    id: Uuid,
    level: Permission,
    deny: bool,
) -> Result<()> {
    let own_level = own_level(conn, user, code, id).await?.ok_or(ApiError::NotFound)?;
    if own_level < Permission::Share || level > own_level {
        return Err(ApiError::Forbidden(format!(
            "You may {} here and cannot grant more than that.",
            own_level.label()
        )));
    }
    // A deny overrides every level, so creating and deleting one requires OWNER.
    if deny && own_level < Permission::Owner {
        return Err(ApiError::Forbidden("Only an owner may create or revoke a deny.".into()));
    }
    Ok(())
}

/// Checks that a grant does not exceed the user's own grants.
///
/// Neither further down the hierarchy, nor in time. A deny gives no access and is not checked.
async fn check_grantable(
    conn: &mut Connection,
    user: &AuthUser,
    code: &EntityCode,
    request: &CreateGrant,
    valid: &ValidGrant,
) -> Result<()> {
    if request.is_deny {
        return Ok(());
    }
    let cascading = valid.inheritance_mode != InheritanceMode::None;
    let (id, expires) = (request.entity_instance_id, request.expires_ts.as_deref());
    let grantable = grant::max_grantable(conn, user.person, code, id, cascading, expires).await?;
    if grantable.is_none_or(|grantable| grantable < valid.max_level) {
        return Err(ApiError::Forbidden(
            "Your own grant does not cover this: share without inheritance (inheritance_mode none), or with an earlier expiry.".into(),
        ));
    }
    Ok(())
}

/// Checks that the person or role exists.
async fn check_holder_exists(conn: &mut Connection, model: &EntityModel, holder: Holder) -> Result<()> {
    let (id, code, field) = match holder {
        Holder::Person(id) => (id, "person", "person_id"),
        Holder::Role(id) => (id, "role", "role_id"),
    };
    let exists = row::filter_existing(conn, model.entity(code)?, &[id]).await?.contains(&id);
    if exists { Ok(()) } else { Err(ApiError::unprocessable(field, "does not exist")) }
}

/// Grants access to an entity or to all entities of a type.
#[utoipa::path(post, path = "/entity_rbac", tag = "sharing", request_body = CreateGrant, responses(
    (status = 201, description = "The grant", body = Grant, example = json!(responses::grant_example())), InvalidJson, Unauthorized,
    (status = 403, description = "Forbidden: exceeds the caller's own permission"), NotVisible, (status = 422, description = "Validation failed; see `errors`")))]
async fn create_grant(
    State(app): State<AppState>,
    user: AuthUser,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<MutationResponse> {
    let body_text = body.to_string();
    let request: CreateGrant =
        serde_json::from_value(body).map_err(|e| ApiError::unprocessable("body", e.to_string()))?;
    let model = app
        .model_for_type(&request.entity_code)
        .await
        .map_err(|_| ApiError::unprocessable("entity_code", "is not an entity type"))?;
    let (code, id) = (&model.entity(&request.entity_code)?.code, request.entity_instance_id);
    let valid = request.validate(&model)?;
    let mut transaction = pmo_database::begin(&app.pool, &user.actor).await?;
    check_can_share(&mut transaction, &user, code, id, valid.max_level, request.is_deny).await?;
    execute_once(transaction, &user, &headers, &[b"GRANT", body_text.as_bytes()], async |conn| {
        check_grantable(conn, &user, code, &request, &valid).await?;
        check_holder_exists(conn, &model, valid.holder).await?;
        let new_grant = NewGrant {
            holder: valid.holder,
            code,
            instance: id,
            level: valid.level,
            inheritance_mode: valid.inheritance_mode,
            child_permissions: json!(request.child_permissions),
            deny: request.is_deny,
            granted_by: user.person,
            expires: request.expires_ts.as_deref(),
        };
        let grant = grant::insert(conn, &new_grant).await?;
        // The creator of a deny must remain an owner; otherwise the deny could not be deleted any
        // more.
        if request.is_deny && own_level(conn, &user, code, id).await? != Some(Permission::Owner) {
            return Err(ApiError::unprocessable("is_deny", "would remove your own ownership"));
        }
        MutationResponse::with_body(StatusCode::CREATED, &Grant::from(grant))
    })
    .await
}

/// Revokes a grant.
#[utoipa::path(delete, path = "/entity_rbac/{id}", tag = "sharing", params(("id" = Uuid, Path, description = "Grant id")), responses(
    (status = 204, description = "Revoked"), Unauthorized, (status = 403, description = "Forbidden: requires SHARE"),
    NotVisible, (status = 422, description = "Cannot remove the last owner")))]
async fn delete_grant(
    State(app): State<AppState>,
    user: AuthUser,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<MutationResponse> {
    let id = parse_id(&id)?;
    let transaction = pmo_database::begin(&app.pool, &user.actor).await?;
    // The key is checked first: a revoked grant cannot be read any more, and the stored response
    // discloses nothing.
    execute_once(transaction, &user, &headers, &[b"TAKE", id.as_bytes()], async |conn| {
        let grant = grant::find(conn, id).await?.ok_or(ApiError::NotFound)?;
        check_can_share(conn, &user, &grant.code, grant.instance, grant.level, grant.deny).await?;
        if grant::is_last_owner(conn, id).await? {
            return Err(ApiError::unprocessable("id", "cannot remove the last owner; add another owner first"));
        }
        grant::delete(conn, id).await?;
        Ok(MutationResponse::no_content())
    })
    .await
}

/// Parses the type and the id of a path; 404 unless the type exists and the id is a UUID.
async fn parse_entity(app: &AppState, (code, id): (String, String)) -> Result<EntityRef> {
    let model = app.model_for_type(&code).await?;
    Ok(EntityRef::new(model.entity(&code)?.code.clone(), parse_id(&id)?))
}

/// Returns a connection and the user's permission on an entity; 404 without access.
async fn connect_visible(app: &AppState, user: &AuthUser, entity: &EntityRef) -> Result<(PoolConnection, Permission)> {
    let mut connection = app.pool.acquire().await.map_err(DatabaseError::from)?;
    let level = permission::permission_on(&mut connection, user.person, &entity.code, entity.id).await?;
    Ok((connection, level.ok_or(ApiError::NotFound)?))
}

/// Lists the direct grants on an entity.
///
/// Without SHARE, the list is empty.
#[utoipa::path(get, path = "/{entity}/{id}/access", tag = "sharing", params(
    ("entity" = String, Path, description = "Entity type code", example = "project"), ("id" = Uuid, Path, description = "Entity id")), responses(
    (status = 200, description = "Direct grants, and the caller's own permission", body = GrantList, example = json!(responses::grant_list_example())), Unauthorized,
    NotVisible))]
async fn list_grants(
    State(app): State<AppState>,
    user: AuthUser,
    Path(entity): Path<(String, String)>,
) -> Result<Json<GrantList>> {
    let entity = parse_entity(&app, entity).await?;
    let (mut connection, level) = connect_visible(&app, &user, &entity).await?;
    let grants = if level >= Permission::Share {
        grant::list_for_entity(&mut connection, &entity.code, entity.id).await?
    } else {
        Vec::new()
    };
    Ok(Json(GrantList { grants: grants.into_iter().map(Into::into).collect(), permission: level }))
}

#[derive(Deserialize)]
struct ExplainQuery {
    person_id: Option<Uuid>,
}

/// Explains the access of a person: every grant that applies to the entity, with its path.
#[utoipa::path(get, path = "/{entity}/{id}/access/explain", tag = "sharing", params(
    ("entity" = String, Path, description = "Entity type code", example = "project"), ("id" = Uuid, Path, description = "Entity id"),
    ("person_id" = Option<Uuid>, Query, description = "Person to explain; default: the caller. Other persons require SHARE")), responses(
    (status = 200, description = "The permission of the person, and the grants that apply", body = AccessExplanation, example = json!(responses::explanation_example())),
    (status = 400, description = "person_id is not an id"), Unauthorized, (status = 403, description = "Requires SHARE to query other users"),
    NotVisible))]
async fn explain_access(
    State(app): State<AppState>,
    user: AuthUser,
    Path(entity): Path<(String, String)>,
    Query(query): Query<ExplainQuery>,
) -> Result<Json<AccessExplanation>> {
    let entity = parse_entity(&app, entity).await?;
    let (mut connection, level) = connect_visible(&app, &user, &entity).await?;
    let person = query.person_id.map_or(user.person, PersonId);
    if person != user.person && level < Permission::Share {
        return Err(ApiError::Forbidden(format!(
            "Requires permission to share to query other users; you may {}.",
            level.label()
        )));
    }
    let reasons = permission::explain(&mut connection, person, &entity.code, entity.id).await?;
    let person_level = permission::permission_on(&mut connection, person, &entity.code, entity.id).await?;
    // Entities on the paths get a title only if the caller may see them.
    let path_ids: Vec<Uuid> = reasons.iter().flat_map(|reason| reason.path_ids.iter().copied()).collect();
    let titles: BTreeMap<Uuid, String> = permission::visible(&mut connection, user.person, &path_ids)
        .await?
        .into_iter()
        .map(|entity| (entity.id, entity.title))
        .collect();
    let reasons = reasons.into_iter().map(|reason| GrantReason::new(reason, &titles)).collect();
    Ok(Json(AccessExplanation { permission: person_level, reasons }))
}

/// Explains the access of a person, under the earlier path of the route.
#[utoipa::path(get, path = "/{entity}/{id}/access/why", tag = "sharing", params(
    ("entity" = String, Path, description = "Entity type code", example = "project"), ("id" = Uuid, Path, description = "Entity id"),
    ("person_id" = Option<Uuid>, Query, description = "Person to explain; default: the caller. Other persons require SHARE")), responses(
    (status = 200, description = "Same as `access/explain`", body = AccessExplanation, example = json!(responses::explanation_example())),
    (status = 400, description = "person_id is not an id"), Unauthorized, (status = 403, description = "Requires SHARE to query other users"),
    NotVisible))]
#[deprecated]
async fn explain_access_why(
    app: State<AppState>,
    user: AuthUser,
    entity: Path<(String, String)>,
    query: Query<ExplainQuery>,
) -> Result<Json<AccessExplanation>> {
    explain_access(app, user, entity, query).await
}

#[derive(Deserialize)]
struct AudienceQuery {
    q: Option<String>,
}

/// Lists the users with access to an entity, for mentions.
///
/// Callers with SHARE also get the permission of each user.
#[utoipa::path(get, path = "/{entity}/{id}/audience", tag = "sharing", params(
    ("entity" = String, Path, description = "Entity type code", example = "project"), ("id" = Uuid, Path, description = "Entity id"),
    ("q" = Option<String>, Query, description = "Part of the name")), responses(
    (status = 200, description = "{data: [{id, name, permission}], more}: the first 200 by name; `permission` only if the caller has SHARE", body = Audience, example = json!(responses::audience_example())),
    (status = 400, description = "q is too long"), Unauthorized, (status = 403, description = "Forbidden: requires COMMENT"),
    NotVisible))]
async fn audience(
    State(app): State<AppState>,
    user: AuthUser,
    Path(entity): Path<(String, String)>,
    Query(query): Query<AudienceQuery>,
) -> Result<Json<Audience>> {
    /// Maximum number of users returned.
    const MAX_VIEWERS: usize = 200;
    let entity = parse_entity(&app, entity).await?;
    let search_text = query.q.unwrap_or_default();
    if search_text.chars().count() > 200 || search_text.contains('\0') {
        return Err(ApiError::bad_request("q", "must have at most 200 characters"));
    }
    let (mut connection, level) = connect_visible(&app, &user, &entity).await?;
    if level < Permission::Comment {
        return Err(ApiError::Forbidden(permission_message(Permission::Comment, level)));
    }
    let (text, limit) = (search_text.trim(), MAX_VIEWERS + 1);
    let mut people = grant::list_viewers(&mut connection, &entity.code, entity.id, user.person, text, limit).await?;
    let has_more = people.len() > MAX_VIEWERS;
    people.truncate(MAX_VIEWERS);
    let shows_levels = level >= Permission::Share;
    let data = people.into_iter().map(|person| AudienceMember {
        id: person.id,
        name: person.name,
        permission: shows_levels.then_some(person.level),
    });
    Ok(Json(Audience { data: data.collect(), more: has_more }))
}
