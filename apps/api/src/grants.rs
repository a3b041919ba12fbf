//! Grants: given up to one's own level, taken back, listed. The last owner of a thing can't be taken away.

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

/// The routes of this room.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(create_grant))
        .routes(routes!(delete_grant))
        .routes(routes!(list_grants))
        .routes(routes!(explain_access))
        .routes(routes!(audience))
}

/// A grant to give.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateGrant {
    /// To this person,
    person_id: Option<Uuid>,
    /// or to this role.
    role_id: Option<Uuid>,
    /// The type of the thing.
    entity_code: String,
    /// The thing.
    entity_instance_id: Uuid,
    /// The level, 0 to 7.
    permission: u8,
    /// none, cascade (the default) or mapped.
    inheritance_mode: Option<String>,
    /// Levels by child type, with `_default`, for mapped.
    #[serde(default)]
    #[schema(value_type = Object)]
    child_permissions: BTreeMap<String, u8>,
    /// Take away instead of giving.
    #[serde(default)]
    is_deny: bool,
    /// Until then, RFC 3339.
    expires_ts: Option<String>,
}

/// Checks that the asker may give or take `level` on the thing.
async fn check_can_share(
    connection: &mut pmo_database::Connection,
    who: &AuthUser,
    code: &EntityCode,
    id: Uuid,
    level: Permission,
    deny: bool,
) -> Result<()> {
    let own = if id == EVERY_INSTANCE {
        // Whoever may share every instance may share the type.
        (grant::type_level(connection, who.person, code).await?).ok_or(ApiError::NotFound)?
    } else {
        permission::permission_on(connection, who.person, code, id).await?.ok_or(ApiError::NotFound)?
    };
    if own < Permission::Share || level > own {
        return Err(ApiError::Forbidden(format!("You may {} here; you can share no more than that.", own.label())));
    }
    // A deny wins over every level, so that giving or taking one is the owner's business.
    if deny && own < Permission::Owner {
        return Err(ApiError::Forbidden("Only an owner denies access, or allows it again.".into()));
    }
    Ok(())
}

/// Share a thing.
#[utoipa::path(post, path = "/entity_rbac", tag = "sharing", request_body = CreateGrant, responses(
    (status = 201, description = "The grant", body = Object), (status = 400, description = "Not JSON"), (status = 401, description = "Not signed in"),
    (status = 403, description = "More than one's own level"), (status = 404, description = "No such thing for this person"),
    (status = 413, description = "Too large"), (status = 415, description = "Not JSON by its type"), (status = 422, description = "Fields are wrong")))]
async fn create_grant(
    State(app): State<AppState>,
    who: AuthUser,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<MutationResponse> {
    let asked = body.to_string();
    let give: CreateGrant = serde_json::from_value(body).map_err(|e| ApiError::unprocessable("body", e.to_string()))?;
    let model = app
        .model_for_type(&give.entity_code)
        .await
        .map_err(|_| ApiError::unprocessable("entity_code", "is no entity type"))?;
    let entity = model.entity(&give.entity_code)?;
    let level = Permission::try_from(give.permission).map_err(|m| ApiError::unprocessable("permission", m))?;
    let mode = give.inheritance_mode.unwrap_or_else(|| "cascade".into());
    if !["none", "cascade", "mapped"].contains(&mode.as_str()) {
        return Err(ApiError::unprocessable("inheritance_mode", "must be none, cascade or mapped"));
    }
    if give.person_id.is_some() == give.role_id.is_some() {
        return Err(ApiError::unprocessable("person_id", "exactly one of person_id and role_id is needed"));
    }
    let mut highest = level;
    for (code, child) in &give.child_permissions {
        let child = Permission::try_from(*child).map_err(|m| ApiError::unprocessable("child_permissions", m))?;
        if code != "_default" && model.catalogue.get(code).is_none() {
            return Err(ApiError::unprocessable(
                "child_permissions",
                format!("'{}' is no entity type", code.chars().take(60).collect::<String>()),
            ));
        }
        highest = highest.max(child);
    }
    if let Some(text) = &give.expires_ts {
        text.parse::<jiff::Timestamp>()
            .map_err(|_| ApiError::unprocessable("expires_ts", "must be a moment such as 2026-01-31T09:00:00Z"))?;
    }
    let mut transaction = pmo_database::begin(&app.pool, &who.actor).await?;
    let instance = give.entity_instance_id;
    check_can_share(&mut transaction, &who, &entity.code, instance, highest, give.is_deny).await?;
    let key = match check_idempotency_header(&mut transaction, &who, &headers, &[b"GRANT", asked.as_bytes()]).await? {
        IdempotencyCheck::Replay(answer) => return Ok(answer),
        IdempotencyCheck::New(key) => key,
    };
    if !give.is_deny {
        // Nobody passes on more than they hold: not further down, and not for longer.
        let until = give.expires_ts.as_deref();
        let most =
            grant::max_grantable(&mut transaction, who.person, &entity.code, instance, mode != "none", until).await?;
        if most.is_none_or(|most| most < highest) {
            return Err(ApiError::Forbidden(
                "Your own right does not reach that far: share without inheritance (inheritance_mode none), or for no longer than it lasts.".into(),
            ));
        }
    }
    let (holder, holder_code) = match (give.person_id, give.role_id) {
        (Some(id), _) => (id, "person"),
        (None, id) => (id.unwrap_or_default(), "role"),
    };
    let holders = model.entity(holder_code)?;
    if !row::filter_existing(&mut transaction, holders, &[holder]).await?.contains(&holder) {
        return Err(ApiError::unprocessable(
            if holder_code == "person" { "person_id" } else { "role_id" },
            "there is no such holder",
        ));
    }
    let new = NewGrant {
        person_id: give.person_id,
        role_id: give.role_id,
        code: &entity.code,
        instance: give.entity_instance_id,
        level,
        inheritance_mode: &mode,
        child_permissions: json!(give.child_permissions),
        deny: give.is_deny,
        granted_by: who.person,
        expires: give.expires_ts.as_deref(),
    };
    let grant = grant::insert(&mut transaction, &new).await?;
    if give.is_deny {
        // Whoever denies must still own it afterwards, or nobody could take the deny back.
        let left = if instance == EVERY_INSTANCE {
            grant::type_level(&mut transaction, who.person, &entity.code).await?
        } else {
            permission::permission_on(&mut transaction, who.person, &entity.code, instance).await?
        };
        if left != Some(Permission::Owner) {
            return Err(ApiError::unprocessable("is_deny", "would shut its own giver out"));
        }
    }
    commit_with_response(transaction, &who, key, MutationResponse { status: StatusCode::CREATED, body: Some(grant) })
        .await
}

/// Take a grant back.
#[utoipa::path(delete, path = "/entity_rbac/{id}", tag = "sharing", params(("id" = Uuid, Path, description = "The grant")), responses(
    (status = 204, description = "Taken back"), (status = 401, description = "Not signed in"), (status = 403, description = "May not share that thing"),
    (status = 404, description = "No such grant for this person"), (status = 422, description = "It is the last owner")))]
async fn delete_grant(
    State(app): State<AppState>,
    who: AuthUser,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<MutationResponse> {
    let id: Uuid = id.parse().map_err(|_| ApiError::NotFound)?;
    let mut transaction = pmo_database::begin(&app.pool, &who.actor).await?;
    // The key comes first here: a grant that was taken back can't be looked at any more, and the answer tells nothing.
    let key = match check_idempotency_header(&mut transaction, &who, &headers, &[b"TAKE", id.as_bytes()]).await? {
        IdempotencyCheck::Replay(answer) => return Ok(answer),
        IdempotencyCheck::New(key) => key,
    };
    let found = grant::find(&mut transaction, id).await?.ok_or(ApiError::NotFound)?;
    check_can_share(&mut transaction, &who, &found.code, found.instance, found.level, found.deny).await?;
    if grant::is_last_owner(&mut transaction, id).await? {
        return Err(ApiError::unprocessable("id", "is the grant of the last owner; make somebody else owner first"));
    }
    grant::delete(&mut transaction, id).await?;
    commit_with_response(transaction, &who, key, MutationResponse { status: StatusCode::NO_CONTENT, body: None }).await
}

/// Who has grants on a thing itself.
#[utoipa::path(get, path = "/{entity}/{id}/access", tag = "sharing", params(
    ("entity" = String, Path, description = "The type's code", example = "project"), ("id" = Uuid, Path, description = "The thing")), responses(
    (status = 200, description = "The grants on it, and the asker's own level", body = Object), (status = 401, description = "Not signed in"),
    (status = 404, description = "Not there, or not for this reader")))]
async fn list_grants(
    State(app): State<AppState>,
    who: AuthUser,
    Path((code, id)): Path<(String, String)>,
) -> Result<Json<Value>> {
    let model = app.model_for_type(&code).await?;
    let entity = model.entity(&code)?;
    let id: Uuid = id.parse().map_err(|_| ApiError::NotFound)?;
    let mut connection = app.pool.acquire().await.map_err(DatabaseError::from)?;
    let level =
        permission::permission_on(&mut connection, who.person, &entity.code, id).await?.ok_or(ApiError::NotFound)?;
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

/// Why a person sees a thing: every grant that reaches it, and by which way it comes down.
#[utoipa::path(get, path = "/{entity}/{id}/access/why", tag = "sharing", params(
    ("entity" = String, Path, description = "The type's code", example = "project"), ("id" = Uuid, Path, description = "The thing"),
    ("person_id" = Option<Uuid>, Query, description = "The person; default: who asks. Asking about others takes the right to share")), responses(
    (status = 200, description = "{permission, reasons: [{grant_id, role_name, permission, worth, is_deny, way: [{entity, id, title}]}]}", body = Object),
    (status = 400, description = "person_id is no id"), (status = 401, description = "Not signed in"), (status = 403, description = "Asks about somebody else, and may not share"),
    (status = 404, description = "Not there, or not for this reader")))]
async fn explain_access(
    State(app): State<AppState>,
    who: AuthUser,
    Path((code, id)): Path<(String, String)>,
    Query(whose): Query<ExplainQuery>,
) -> Result<Json<Value>> {
    let model = app.model_for_type(&code).await?;
    let entity = model.entity(&code)?;
    let id: Uuid = id.parse().map_err(|_| ApiError::NotFound)?;
    let mut connection = app.pool.acquire().await.map_err(DatabaseError::from)?;
    let level =
        permission::permission_on(&mut connection, who.person, &entity.code, id).await?.ok_or(ApiError::NotFound)?;
    let person = whose.person_id.map_or(who.person, PersonId);
    if person != who.person && level < Permission::Share {
        return Err(ApiError::Forbidden(format!(
            "Who else may see it is told to those who may share it; you may {}.",
            level.label()
        )));
    }
    let reasons = permission::explain(&mut connection, person, &entity.code, id).await?;
    let theirs = permission::permission_on(&mut connection, person, &entity.code, id).await?;
    // What lies on the way is named as far as the asker may see it.
    let on_the_way: Vec<Uuid> = reasons.iter().flat_map(|r| r.path_ids.iter().copied()).collect();
    let titles: BTreeMap<Uuid, String> = permission::visible(&mut connection, who.person, &on_the_way)
        .await?
        .into_iter()
        .map(|s| (s.id, s.title))
        .collect();
    let reasons: Vec<Value> = reasons
        .iter()
        .map(|reason| {
            let way: Vec<Value> = reason
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
                "expires_ts": reason.expires_ts, "worth": reason.effective_permission, "way": way})
        })
        .collect();
    Ok(Json(json!({"permission": theirs, "reasons": reasons})))
}

#[derive(Deserialize)]
struct AudienceQuery {
    q: Option<String>,
}

/// Who sees a thing: for naming somebody in a comment, and for those who may share it with what each may do.
#[utoipa::path(get, path = "/{entity}/{id}/audience", tag = "sharing", params(
    ("entity" = String, Path, description = "The type's code", example = "project"), ("id" = Uuid, Path, description = "The thing"),
    ("q" = Option<String>, Query, description = "A part of the name")), responses(
    (status = 200, description = "{data: [{id, name, permission}], more}: the first 200 by name; `permission` for those who may share alone", body = Object),
    (status = 400, description = "q is too long"), (status = 401, description = "Not signed in"), (status = 403, description = "May look only"),
    (status = 404, description = "Not there, or not for this reader")))]
async fn audience(
    State(app): State<AppState>,
    who: AuthUser,
    Path((code, id)): Path<(String, String)>,
    Query(asked): Query<AudienceQuery>,
) -> Result<Json<Value>> {
    /// Most people who are told at once.
    const MAX_VIEWERS: usize = 200;
    let model = app.model_for_type(&code).await?;
    let entity = model.entity(&code)?;
    let id: Uuid = id.parse().map_err(|_| ApiError::NotFound)?;
    let words = asked.q.unwrap_or_default();
    if words.chars().count() > 200 || words.contains('\0') {
        return Err(ApiError::bad_request("q", "must have at most 200 characters"));
    }
    let mut connection = app.pool.acquire().await.map_err(DatabaseError::from)?;
    let level =
        permission::permission_on(&mut connection, who.person, &entity.code, id).await?.ok_or(ApiError::NotFound)?;
    if level < Permission::Comment {
        return Err(ApiError::Forbidden(crate::entity::permission_message(Permission::Comment, level)));
    }
    let mut people =
        grant::list_viewers(&mut connection, &entity.code, id, who.person, words.trim(), MAX_VIEWERS + 1).await?;
    let more = people.len() > MAX_VIEWERS;
    people.truncate(MAX_VIEWERS);
    let data: Vec<Value> = people
        .into_iter()
        .map(|(id, name, theirs)| match level >= Permission::Share {
            true => json!({"id": id, "name": name, "permission": theirs}),
            false => json!({"id": id, "name": name}),
        })
        .collect();
    Ok(Json(json!({"data": data, "more": more})))
}
