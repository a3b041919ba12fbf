//! Permission grants: create, delete, list, explain.
//!
//! Invariant: a user cannot grant more than their own permission, and the last owner cannot be
//! removed.

use crate::auth::AuthUser;
use crate::entity::{IdempotencyCheck, MutationResponse, check_idempotency_header, commit_with_response};
use crate::error::{ApiError, Result};
use crate::extract::JsonBody;
use crate::state::AppState;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use pmo_database::grant::{self, NewGrant};
use pmo_database::{DatabaseError, permission, row};
use pmo_domain::{EVERY_INSTANCE, EntityCode, Permission, PersonId};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

/// Returns the routes of this module.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(create_grant))
        .routes(routes!(delete_grant))
        .routes(routes!(list_grants))
        .routes(routes!(explain_access))
        .routes(routes!(audience))
}

/// Grant to create.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
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

/// Checks that the user may create or delete a grant of `level` on the entity.
///
/// Requires SHARE and at least `level`; a deny requires OWNER.
async fn check_can_share(
    connection: &mut pmo_database::Connection,
    user: &AuthUser,
    code: &EntityCode,
    id: Uuid,
    level: Permission,
    deny: bool,
) -> Result<()> {
    let own_level = if id == EVERY_INSTANCE {
        // Sharing a type requires SHARE on all its entities.
        (grant::type_level(connection, user.person, code).await?).ok_or(ApiError::NotFound)?
    } else {
        permission::permission_on(connection, user.person, code, id).await?.ok_or(ApiError::NotFound)?
    };
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

/// Grants access to an entity or to all entities of a type.
#[utoipa::path(post, path = "/entity_rbac", tag = "sharing", request_body = CreateGrant, responses(
    (status = 201, description = "The grant", body = Object), (status = 400, description = "Not JSON"), (status = 401, description = "Not signed in"),
    (status = 403, description = "Forbidden: exceeds the caller's own permission"), (status = 404, description = "Not found, or not visible to the caller"),
    (status = 413, description = "Body too large"), (status = 415, description = "Unsupported media type; send JSON"), (status = 422, description = "Validation failed; see `errors`")))]
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
    let entity = model.entity(&request.entity_code)?;
    let level =
        Permission::try_from(request.permission).map_err(|e| ApiError::unprocessable("permission", e.to_string()))?;
    let inheritance_mode = request.inheritance_mode.unwrap_or_else(|| "cascade".into());
    if !["none", "cascade", "mapped"].contains(&inheritance_mode.as_str()) {
        return Err(ApiError::unprocessable("inheritance_mode", "must be none, cascade or mapped"));
    }
    if request.person_id.is_some() == request.role_id.is_some() {
        return Err(ApiError::unprocessable("person_id", "exactly one of person_id and role_id is required"));
    }
    let mut max_level = level;
    for (code, child_level) in &request.child_permissions {
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
    if let Some(text) = &request.expires_ts {
        text.parse::<jiff::Timestamp>()
            .map_err(|_| ApiError::unprocessable("expires_ts", "must be a timestamp such as 2026-01-31T09:00:00Z"))?;
    }
    let mut transaction = pmo_database::begin(&app.pool, &user.actor).await?;
    let instance = request.entity_instance_id;
    check_can_share(&mut transaction, &user, &entity.code, instance, max_level, request.is_deny).await?;
    let key =
        match check_idempotency_header(&mut transaction, &user, &headers, &[b"GRANT", body_text.as_bytes()]).await? {
            IdempotencyCheck::Replay(response) => return Ok(response),
            IdempotencyCheck::New(key) => key,
        };
    if !request.is_deny {
        // A grant must not exceed the user's own grants: neither further down the hierarchy, nor in
        // time.
        let expires = request.expires_ts.as_deref();
        let grantable = grant::max_grantable(
            &mut transaction,
            user.person,
            &entity.code,
            instance,
            inheritance_mode != "none",
            expires,
        )
        .await?;
        if grantable.is_none_or(|grantable| grantable < max_level) {
            return Err(ApiError::Forbidden(
                "Your own grant does not cover this: share without inheritance (inheritance_mode none), or with an earlier expiry.".into(),
            ));
        }
    }
    let (holder, holder_code) = match (request.person_id, request.role_id) {
        (Some(id), _) => (id, "person"),
        (None, id) => (id.unwrap_or_default(), "role"),
    };
    let holders = model.entity(holder_code)?;
    if !row::filter_existing(&mut transaction, holders, &[holder]).await?.contains(&holder) {
        return Err(ApiError::unprocessable(
            if holder_code == "person" { "person_id" } else { "role_id" },
            "does not exist",
        ));
    }
    let new_grant = NewGrant {
        person_id: request.person_id,
        role_id: request.role_id,
        code: &entity.code,
        instance: request.entity_instance_id,
        level,
        inheritance_mode: &inheritance_mode,
        child_permissions: json!(request.child_permissions),
        deny: request.is_deny,
        granted_by: user.person,
        expires: request.expires_ts.as_deref(),
    };
    let grant = grant::insert(&mut transaction, &new_grant).await?;
    if request.is_deny {
        // The creator of a deny must remain an owner; otherwise the deny could not be deleted any
        // more.
        let remaining = if instance == EVERY_INSTANCE {
            grant::type_level(&mut transaction, user.person, &entity.code).await?
        } else {
            permission::permission_on(&mut transaction, user.person, &entity.code, instance).await?
        };
        if remaining != Some(Permission::Owner) {
            return Err(ApiError::unprocessable("is_deny", "would remove your own ownership"));
        }
    }
    commit_with_response(transaction, &user, key, MutationResponse { status: StatusCode::CREATED, body: Some(grant) })
        .await
}

/// Revokes a grant.
#[utoipa::path(delete, path = "/entity_rbac/{id}", tag = "sharing", params(("id" = Uuid, Path, description = "Grant id")), responses(
    (status = 204, description = "Revoked"), (status = 401, description = "Not signed in"), (status = 403, description = "Forbidden: requires SHARE"),
    (status = 404, description = "Not found, or not visible to the caller"), (status = 422, description = "Cannot remove the last owner")))]
async fn delete_grant(
    State(app): State<AppState>,
    user: AuthUser,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<MutationResponse> {
    let id: Uuid = id.parse().map_err(|_| ApiError::NotFound)?;
    let mut transaction = pmo_database::begin(&app.pool, &user.actor).await?;
    // The key is checked first: a revoked grant cannot be read any more, and the stored response
    // discloses nothing.
    let key = match check_idempotency_header(&mut transaction, &user, &headers, &[b"TAKE", id.as_bytes()]).await? {
        IdempotencyCheck::Replay(response) => return Ok(response),
        IdempotencyCheck::New(key) => key,
    };
    let grant = grant::find(&mut transaction, id).await?.ok_or(ApiError::NotFound)?;
    check_can_share(&mut transaction, &user, &grant.code, grant.instance, grant.level, grant.deny).await?;
    if grant::is_last_owner(&mut transaction, id).await? {
        return Err(ApiError::unprocessable("id", "cannot remove the last owner; add another owner first"));
    }
    grant::delete(&mut transaction, id).await?;
    commit_with_response(transaction, &user, key, MutationResponse { status: StatusCode::NO_CONTENT, body: None }).await
}

/// Lists the direct grants on an entity.
///
/// Without SHARE, the list is empty.
#[utoipa::path(get, path = "/{entity}/{id}/access", tag = "sharing", params(
    ("entity" = String, Path, description = "Entity type code", example = "project"), ("id" = Uuid, Path, description = "Entity id")), responses(
    (status = 200, description = "Direct grants, and the caller's own permission", body = Object), (status = 401, description = "Not signed in"),
    (status = 404, description = "Not found, or not visible to the caller")))]
async fn list_grants(
    State(app): State<AppState>,
    user: AuthUser,
    Path((code, id)): Path<(String, String)>,
) -> Result<Json<Value>> {
    let model = app.model_for_type(&code).await?;
    let entity = model.entity(&code)?;
    let id: Uuid = id.parse().map_err(|_| ApiError::NotFound)?;
    let mut connection = app.pool.acquire().await.map_err(DatabaseError::from)?;
    let level =
        permission::permission_on(&mut connection, user.person, &entity.code, id).await?.ok_or(ApiError::NotFound)?;
    let grants = if level >= Permission::Share {
        grant::list_for_entity(&mut connection, &entity.code, id).await?
    } else {
        Vec::new()
    };
    Ok(Json(json!({"permission": level, "grants": grants})))
}

#[derive(Deserialize)]
struct ExplainQuery {
    person_id: Option<Uuid>,
}

/// Explains the access of a person: every grant that applies to the entity, with its path.
#[utoipa::path(get, path = "/{entity}/{id}/access/why", tag = "sharing", params(
    ("entity" = String, Path, description = "Entity type code", example = "project"), ("id" = Uuid, Path, description = "Entity id"),
    ("person_id" = Option<Uuid>, Query, description = "Person to explain; default: the caller. Other persons require SHARE")), responses(
    (status = 200, description = "{permission, reasons: [{grant_id, role_name, permission, worth, is_deny, way: [{entity, id, title}]}]}", body = Object),
    (status = 400, description = "person_id is not an id"), (status = 401, description = "Not signed in"), (status = 403, description = "Requires SHARE to query other users"),
    (status = 404, description = "Not found, or not visible to the caller")))]
async fn explain_access(
    State(app): State<AppState>,
    user: AuthUser,
    Path((code, id)): Path<(String, String)>,
    Query(query): Query<ExplainQuery>,
) -> Result<Json<Value>> {
    let model = app.model_for_type(&code).await?;
    let entity = model.entity(&code)?;
    let id: Uuid = id.parse().map_err(|_| ApiError::NotFound)?;
    let mut connection = app.pool.acquire().await.map_err(DatabaseError::from)?;
    let level =
        permission::permission_on(&mut connection, user.person, &entity.code, id).await?.ok_or(ApiError::NotFound)?;
    let person = query.person_id.map_or(user.person, PersonId);
    if person != user.person && level < Permission::Share {
        return Err(ApiError::Forbidden(format!(
            "Requires permission to share to query other users; you may {}.",
            level.label()
        )));
    }
    let reasons = permission::explain(&mut connection, person, &entity.code, id).await?;
    let person_level = permission::permission_on(&mut connection, person, &entity.code, id).await?;
    // Entities on the paths get a title only if the caller may see them.
    let path_ids: Vec<Uuid> = reasons.iter().flat_map(|reason| reason.path_ids.iter().copied()).collect();
    let titles: BTreeMap<Uuid, String> = permission::visible(&mut connection, user.person, &path_ids)
        .await?
        .into_iter()
        .map(|entity| (entity.id, entity.title))
        .collect();
    let reasons: Vec<Value> = reasons
        .iter()
        .map(|reason| {
            let path: Vec<Value> = reason
                .path_codes
                .iter()
                .zip(&reason.path_ids)
                .map(|(code, id)| match titles.get(id) {
                    Some(title) => json!({"entity": code, "id": id, "title": title}),
                    None => json!({"entity": code}),
                })
                .collect();
            json!({"grant_id": reason.grant_id, "role_id": reason.role_id, "role_name": reason.role_name, "on_every": reason.type_wide,
                "permission": reason.permission, "inheritance_mode": reason.inheritance_mode, "is_deny": reason.is_deny,
                "expires_ts": reason.expires_ts, "worth": reason.effective_permission, "way": path})
        })
        .collect();
    Ok(Json(json!({"permission": person_level, "reasons": reasons})))
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
    (status = 200, description = "{data: [{id, name, permission}], more}: the first 200 by name; `permission` only if the caller has SHARE", body = Object),
    (status = 400, description = "q is too long"), (status = 401, description = "Not signed in"), (status = 403, description = "Forbidden: requires COMMENT"),
    (status = 404, description = "Not found, or not visible to the caller")))]
async fn audience(
    State(app): State<AppState>,
    user: AuthUser,
    Path((code, id)): Path<(String, String)>,
    Query(query): Query<AudienceQuery>,
) -> Result<Json<Value>> {
    /// Maximum number of users returned.
    const MAX_VIEWERS: usize = 200;
    let model = app.model_for_type(&code).await?;
    let entity = model.entity(&code)?;
    let id: Uuid = id.parse().map_err(|_| ApiError::NotFound)?;
    let search_text = query.q.unwrap_or_default();
    if search_text.chars().count() > 200 || search_text.contains('\0') {
        return Err(ApiError::bad_request("q", "must have at most 200 characters"));
    }
    let mut connection = app.pool.acquire().await.map_err(DatabaseError::from)?;
    let level =
        permission::permission_on(&mut connection, user.person, &entity.code, id).await?.ok_or(ApiError::NotFound)?;
    if level < Permission::Comment {
        return Err(ApiError::Forbidden(crate::entity::permission_message(Permission::Comment, level)));
    }
    let mut people =
        grant::list_viewers(&mut connection, &entity.code, id, user.person, search_text.trim(), MAX_VIEWERS + 1)
            .await?;
    let has_more = people.len() > MAX_VIEWERS;
    people.truncate(MAX_VIEWERS);
    let data: Vec<Value> = people
        .into_iter()
        .map(|(id, name, person_level)| match level >= Permission::Share {
            true => json!({"id": id, "name": name, "permission": person_level}),
            false => json!({"id": id, "name": name}),
        })
        .collect();
    Ok(Json(json!({"data": data, "more": has_more})))
}
