//! Links that no column represents, such as a project in a program or a person in a role.
//!
//! Grants are inherited along links, so creating or deleting one requires more than EDIT.

use super::authorization::permission_message;
use super::write::{check_idempotency_header, commit_with_response};
use super::{IdempotencyCheck, MutationResponse};
use crate::auth::AuthUser;
use crate::error::{ApiError, Result};
use crate::extract::JsonBody;
use crate::state::AppState;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use pmo_database::{Connection, Transaction, link, permission};
use pmo_domain::{EntityCode, Permission, PersonId};
use serde::Deserialize;
use uuid::Uuid;

/// Link to create.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewLink {
    /// Parent type code.
    #[schema(example = "program")]
    parent_code: String,
    /// Parent id.
    parent_id: Uuid,
    /// Child type code.
    #[schema(example = "project")]
    child_code: String,
    /// Child id.
    child_id: Uuid,
}

/// Parent and child of a link.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct LinkEnds {
    /// Parent type code.
    #[param(example = "program")]
    parent_code: String,
    /// Parent id.
    parent_id: Uuid,
    /// Child type code.
    #[param(example = "project")]
    child_code: String,
    /// Child id.
    child_id: Uuid,
}

/// Checks that `person` may create (`creating`) or delete a link between the two entities.
async fn check_can_link(
    conn: &mut Connection,
    person: PersonId,
    parent: (&EntityCode, Uuid),
    child: (&EntityCode, Uuid),
    owned: bool,
    creating: bool,
) -> Result<()> {
    let not_visible = |field: &str, code: &EntityCode, id| {
        ApiError::unprocessable(field, format!("{code} {id} does not exist, or is not visible to you"))
    };
    let parent_level = permission::permission_on(conn, person, parent.0, parent.1).await?;
    let child_level = permission::permission_on(conn, person, child.0, child.1).await?;
    let (parent_level, child_level) = if creating {
        (
            parent_level.ok_or_else(|| not_visible("parent_id", parent.0, parent.1))?,
            child_level.ok_or_else(|| not_visible("child_id", child.0, child.1))?,
        )
    } else {
        // The same 404 for both ends: a caller who sees one end must not learn that the other
        // exists.
        (parent_level.ok_or(ApiError::NotFound)?, child_level.ok_or(ApiError::NotFound)?)
    };
    let (parent_required, child_required) = match (parent.0.as_str(), owned) {
        // A member of a role holds all grants of the role: only its owners may change the members.
        ("role", _) => (Permission::Owner, Permission::View),
        // An owned link passes the grants on the parent down to the child: requires SHARE on the
        // child.
        (_, true) if creating => (Permission::Create, Permission::Share),
        (_, true) => (Permission::Edit, Permission::Share),
        (_, false) => (Permission::Edit, Permission::View),
    };
    if parent_level < parent_required {
        return Err(ApiError::Forbidden(format!(
            "On the {}: {}",
            parent.0,
            permission_message(parent_required, parent_level)
        )));
    }
    if child_level < child_required {
        return Err(ApiError::Forbidden(format!(
            "On the {}: {}",
            child.0,
            permission_message(child_required, child_level)
        )));
    }
    Ok(())
}

/// Creates a link between a parent and a child.
#[utoipa::path(post, path = "/entity_instance_link", tag = "sharing", request_body = NewLink, params(
    ("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key returns the stored response")), responses(
    (status = 201, description = "The link; an existing link is returned unchanged", body = Object), (status = 400, description = "Not JSON"),
    (status = 401, description = "Not signed in"), (status = 403, description = "Forbidden: requires more permission on an end"),
    (status = 413, description = "Body too large"), (status = 415, description = "Unsupported media type; send JSON"),
    (status = 422, description = "An end was not found, the types cannot be linked, or a column represents the link")))]
pub(super) async fn create_link(
    State(app): State<AppState>,
    user: AuthUser,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<MutationResponse> {
    let body_text = body.to_string();
    let link: NewLink = serde_json::from_value(body).map_err(|e| ApiError::unprocessable("body", e.to_string()))?;
    let model = app.model().await?;
    let unknown_type = |field: &str| ApiError::unprocessable(field, "is not an entity type");
    let parent = &model.entity(&link.parent_code).map_err(|_| unknown_type("parent_code"))?.code;
    let child = &model.entity(&link.child_code).map_err(|_| unknown_type("child_code"))?.code;
    let relation = model
        .catalog
        .child_relation(parent.as_str(), child.as_str())
        .ok_or_else(|| ApiError::unprocessable("child_code", format!("cannot be a child of {parent}")))?;
    if let Some(column) = &relation.parent_column {
        return Err(ApiError::unprocessable(
            "child_code",
            format!("is a child of {parent} through column {column}; update that column"),
        ));
    }
    if link.parent_id == link.child_id {
        return Err(ApiError::unprocessable("child_id", "cannot be a child of itself"));
    }
    let mut transaction = pmo_database::begin(&app.pool, &user.actor).await?;
    let (parent, child) = ((parent, link.parent_id), (child, link.child_id));
    check_can_link(&mut transaction, user.person, parent, child, relation.owned, true).await?;
    let key =
        match check_idempotency_header(&mut transaction, &user, &headers, &[b"LINK", body_text.as_bytes()]).await? {
            IdempotencyCheck::Replay(response) => return Ok(response),
            IdempotencyCheck::New(key) => key,
        };
    let created =
        link::insert_or_get(&mut transaction, parent, child, relation.owned, link::ChildAge::Existing).await?;
    commit_with_response(transaction, &user, key, MutationResponse { status: StatusCode::CREATED, body: Some(created) })
        .await
}

/// Deletes a link by its id.
#[utoipa::path(delete, path = "/entity_instance_link/{id}", tag = "sharing", params(("id" = Uuid, Path, description = "Link id"),
    ("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key returns the stored response")), responses(
    (status = 204, description = "Deleted"), (status = 400, description = "Invalid header"), (status = 401, description = "Not signed in"),
    (status = 403, description = "Forbidden: requires more permission on an end"), (status = 404, description = "Not found, or not visible to the caller"),
    (status = 422, description = "The link comes from a column; update the column")))]
pub(super) async fn delete_link(
    State(app): State<AppState>,
    user: AuthUser,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<MutationResponse> {
    let id: Uuid = id.parse().map_err(|_| ApiError::NotFound)?;
    let mut transaction = pmo_database::begin(&app.pool, &user.actor).await?;
    // The key is checked first: a deleted link cannot be read any more, and the stored response
    // discloses nothing.
    let key = match check_idempotency_header(&mut transaction, &user, &headers, &[b"UNLINK", id.as_bytes()]).await? {
        IdempotencyCheck::Replay(response) => return Ok(response),
        IdempotencyCheck::New(key) => key,
    };
    let link = link::find(&mut transaction, id).await?.ok_or(ApiError::NotFound)?;
    remove_link(transaction, &user, link, key).await
}

/// Deletes the link between a parent and a child, for clients that do not know its id.
#[utoipa::path(delete, path = "/entity_instance_link", tag = "sharing", params(LinkEnds,
    ("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key returns the stored response")), responses(
    (status = 204, description = "Deleted"), (status = 400, description = "A parameter is missing or invalid"), (status = 401, description = "Not signed in"),
    (status = 403, description = "Forbidden: requires more permission on an end"), (status = 404, description = "Not found, or not visible to the caller"),
    (status = 422, description = "The link comes from a column; update the column")))]
pub(super) async fn delete_link_by_ends(
    State(app): State<AppState>,
    user: AuthUser,
    Query(ends): Query<LinkEnds>,
    headers: HeaderMap,
) -> Result<MutationResponse> {
    let entity_code = |text: &str| EntityCode::new(text).map_err(|_| ApiError::NotFound);
    let (parent, child) = (entity_code(&ends.parent_code)?, entity_code(&ends.child_code)?);
    let (parent, child) = ((&parent, ends.parent_id), (&child, ends.child_id));
    let mut transaction = pmo_database::begin(&app.pool, &user.actor).await?;
    let ends_text = format!("{} {} {} {}", parent.0, parent.1, child.0, child.1);
    let key =
        match check_idempotency_header(&mut transaction, &user, &headers, &[b"UNLINK", ends_text.as_bytes()]).await? {
            IdempotencyCheck::Replay(response) => return Ok(response),
            IdempotencyCheck::New(key) => key,
        };
    let link = link::find_between(&mut transaction, parent, child).await?.ok_or(ApiError::NotFound)?;
    remove_link(transaction, &user, link, key).await
}

async fn remove_link(
    mut transaction: Transaction,
    user: &AuthUser,
    link: link::EntityLink,
    key: Option<(String, Vec<u8>)>,
) -> Result<MutationResponse> {
    let (parent, child) = ((&link.parent.0, link.parent.1), (&link.child.0, link.child.1));
    check_can_link(&mut transaction, user.person, parent, child, link.owned, false).await?;
    if !link.column.is_empty() {
        return Err(ApiError::unprocessable(
            "id",
            format!("comes from the column {}; update that column", link.column),
        ));
    }
    link::delete(&mut transaction, link.id).await?;
    commit_with_response(transaction, user, key, MutationResponse { status: StatusCode::NO_CONTENT, body: None }).await
}
