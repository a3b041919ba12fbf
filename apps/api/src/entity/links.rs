//! Links that no column represents, such as a project in a program or a person in a role.
//!
//! Grants are inherited along links, so creating or deleting one requires more than EDIT.

use super::authorization::permission_message;
use super::read::parse_id;
use super::stored_response::{MutationResponse, execute_once};
use super::write::WriteRequest;
use crate::auth::AuthUser;
use crate::error::{ApiError, Result};
use crate::extract::JsonBody;
use crate::openapi::{InvalidJson, NotVisible, Unauthorized};
use crate::state::EntityModel;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use pmo_database::link::EntityLink;
use pmo_database::{Connection, link, permission, row};
use pmo_domain::{EntityCode, EntityRef, Permission};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Parent and child of a link.
#[derive(Deserialize, utoipa::IntoParams, utoipa::ToSchema)]
#[into_params(parameter_in = Query)]
#[schema(as = NewLink, examples(json!({
    "parent_code": "risk", "parent_id": "01a2056d-35e9-7372-a09e-c0ea29b1624d",
    "child_code": "task", "child_id": "046813d2-6aba-604c-8fd7-d3123495ac5e"
})))]
#[serde(deny_unknown_fields)]
pub(super) struct LinkEnds {
    /// Parent type code.
    #[param(example = "program")]
    #[schema(example = "program")]
    parent_code: String,
    /// Parent id.
    parent_id: Uuid,
    /// Child type code.
    #[param(example = "project")]
    #[schema(example = "project")]
    child_code: String,
    /// Child id.
    child_id: Uuid,
}

/// Link between a parent and a child.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Link {
    /// Link id.
    id: Uuid,
    /// Parent type code.
    parent_code: String,
    /// Parent id.
    parent_id: Uuid,
    /// Child type code.
    child_code: String,
    /// Child id.
    child_id: Uuid,
    /// Whether the child inherits the grants on the parent in full; otherwise at most COMMENT.
    owned: bool,
    /// Time of creation.
    #[schema(format = DateTime)]
    created_ts: String,
}

impl From<EntityLink> for Link {
    fn from(link: EntityLink) -> Self {
        Self {
            id: link.id,
            parent_code: link.parent.code.to_string(),
            parent_id: link.parent.id,
            child_code: link.child.code.to_string(),
            child_id: link.child.id,
            owned: link.owned,
            created_ts: link.created_ts,
        }
    }
}

/// Change of a link whose permission is checked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LinkChange {
    Create,
    Delete,
}

/// Checks that the user may create or delete a link between the two entities.
async fn check_can_link(
    conn: &mut Connection,
    user: &AuthUser,
    parent: &EntityRef,
    child: &EntityRef,
    owned: bool,
    change: LinkChange,
) -> Result<()> {
    // To create a link, the caller states both ends. To delete one, the same 404 for both ends: a
    // caller who sees one end must not learn that the other exists.
    let not_visible = |field: &str, end: &EntityRef| match change {
        LinkChange::Create => end_not_visible(field, end),
        LinkChange::Delete => ApiError::NotFound,
    };
    let parent_level = permission::permission_on(conn, user.person, &parent.code, parent.id).await?;
    let child_level = permission::permission_on(conn, user.person, &child.code, child.id).await?;
    let parent_level = parent_level.ok_or_else(|| not_visible("parent_id", parent))?;
    let child_level = child_level.ok_or_else(|| not_visible("child_id", child))?;
    let (parent_required, child_required) = match (parent.code.as_str(), owned, change) {
        // A member of a role holds all grants of the role: only its owners may change the members.
        ("role", ..) => (Permission::Owner, Permission::View),
        // An owned link passes the grants on the parent down to the child: requires SHARE on the
        // child.
        (_, true, LinkChange::Create) => (Permission::Create, Permission::Share),
        (_, true, LinkChange::Delete) => (Permission::Edit, Permission::Share),
        (_, false, _) => (Permission::Edit, Permission::View),
    };
    for (end, level, required) in [(parent, parent_level, parent_required), (child, child_level, child_required)] {
        if level < required {
            let message = permission_message(required, level);
            return Err(ApiError::Forbidden(format!("On the {}: {message}", end.code)));
        }
    }
    Ok(())
}

/// Checks that neither end of a new link is deleted.
async fn check_ends_active(
    conn: &mut Connection,
    model: &EntityModel,
    parent: &EntityRef,
    child: &EntityRef,
) -> Result<()> {
    for (field, end) in [("parent_id", parent), ("child_id", child)] {
        let entity = model.entity(end.code.as_str())?;
        if !row::filter_existing(conn, entity, &[end.id]).await?.contains(&end.id) {
            return Err(end_not_visible(field, end));
        }
    }
    Ok(())
}

/// Returns the error about an end that does not exist, is deleted or is not visible.
fn end_not_visible(field: &str, end: &EntityRef) -> ApiError {
    ApiError::unprocessable(field, format!("{} {} does not exist, or is not visible to you", end.code, end.id))
}

/// Creates a link between a parent and a child.
#[utoipa::path(post, path = "/entity_instance_link", tag = "sharing", request_body = LinkEnds, params(
    ("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key returns the stored response")), responses(
    (status = 201, description = "The link; an existing link is returned unchanged", body = Link, example = json!({"id": "01a2056d-35f4-7972-ab07-9da1f251e176", "parent_code": "risk", "parent_id": "01a2056d-35e9-7372-a09e-c0ea29b1624d", "child_code": "task", "child_id": "046813d2-6aba-604c-8fd7-d3123495ac5e", "owned": true, "created_ts": "2026-11-22T22:42:53.042513+00:00"})), InvalidJson,
    Unauthorized, (status = 403, description = "Forbidden: requires more permission on an end"),
    (status = 422, description = "An end was not found, the types cannot be linked, or a column represents the link")))]
pub(super) async fn create_link(request: WriteRequest, JsonBody(body): JsonBody) -> Result<MutationResponse> {
    let body_text = body.to_string();
    let ends: LinkEnds = serde_json::from_value(body).map_err(|e| ApiError::unprocessable("body", e.to_string()))?;
    let WriteRequest { app, user, headers } = request;
    let model = app.model().await?;
    let unknown_type = |field: &str| ApiError::unprocessable(field, "is not an entity type");
    let parent = &model.entity(&ends.parent_code).map_err(|_| unknown_type("parent_code"))?.code;
    let child = &model.entity(&ends.child_code).map_err(|_| unknown_type("child_code"))?.code;
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
    if ends.parent_id == ends.child_id {
        return Err(ApiError::unprocessable("child_id", "cannot be a child of itself"));
    }
    let (parent, child) =
        (EntityRef::new(parent.clone(), ends.parent_id), EntityRef::new(child.clone(), ends.child_id));
    let mut transaction = pmo_database::begin(&app.pool, &user.actor).await?;
    check_can_link(&mut transaction, &user, &parent, &child, relation.owned, LinkChange::Create).await?;
    execute_once(transaction, &user, &headers, &[b"LINK", body_text.as_bytes()], async |conn| {
        check_ends_active(conn, &model, &parent, &child).await?;
        let (parent, child) = ((&parent.code, parent.id), (&child.code, child.id));
        let link = link::insert_or_get(conn, parent, child, relation.owned, link::ChildAge::Existing).await?;
        MutationResponse::with_body(StatusCode::CREATED, &Link::from(link))
    })
    .await
}

/// Deletes a link by its id.
#[utoipa::path(delete, path = "/entity_instance_link/{id}", tag = "sharing", params(("id" = Uuid, Path, description = "Link id"),
    ("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key returns the stored response")), responses(
    (status = 204, description = "Deleted"), (status = 400, description = "Invalid header"), Unauthorized,
    (status = 403, description = "Forbidden: requires more permission on an end"), NotVisible,
    (status = 422, description = "The link comes from a column; update the column")))]
pub(super) async fn delete_link(request: WriteRequest, Path(id): Path<String>) -> Result<MutationResponse> {
    let id = parse_id(&id)?;
    let selector = id.as_bytes().to_vec();
    remove_link(request, &selector, async |conn| link::find(conn, id).await).await
}

/// Deletes the link between a parent and a child, for clients that do not know its id.
#[utoipa::path(delete, path = "/entity_instance_link", tag = "sharing", params(LinkEnds,
    ("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key returns the stored response")), responses(
    (status = 204, description = "Deleted"), (status = 400, description = "A parameter is missing or invalid"), Unauthorized,
    (status = 403, description = "Forbidden: requires more permission on an end"), NotVisible,
    (status = 422, description = "The link comes from a column; update the column")))]
pub(super) async fn delete_link_by_ends(
    request: WriteRequest,
    Query(ends): Query<LinkEnds>,
) -> Result<MutationResponse> {
    let entity_code = |text: &str| EntityCode::new(text).map_err(|_| ApiError::NotFound);
    let (parent, child) = (entity_code(&ends.parent_code)?, entity_code(&ends.child_code)?);
    let (parent, child) = ((&parent, ends.parent_id), (&child, ends.child_id));
    let selector = format!("{} {} {} {}", parent.0, parent.1, child.0, child.1);
    remove_link(request, selector.as_bytes(), async |conn| link::find_between(conn, parent, child).await).await
}

/// Deletes the link that `find` returns; `selector` identifies it in the request.
async fn remove_link(
    request: WriteRequest,
    selector: &[u8],
    find: impl AsyncFnOnce(&mut Connection) -> pmo_database::Result<Option<EntityLink>>,
) -> Result<MutationResponse> {
    let WriteRequest { app, user, headers } = request;
    let transaction = pmo_database::begin(&app.pool, &user.actor).await?;
    // The key is checked first: a deleted link cannot be read any more, and the stored response
    // discloses nothing.
    execute_once(transaction, &user, &headers, &[b"UNLINK", selector], async |conn| {
        let link = find(conn).await?.ok_or(ApiError::NotFound)?;
        check_can_link(conn, &user, &link.parent, &link.child, link.owned, LinkChange::Delete).await?;
        if !link.column.is_empty() {
            return Err(ApiError::unprocessable(
                "id",
                format!("comes from the column {}; update that column", link.column),
            ));
        }
        link::delete(conn, link.id).await?;
        Ok(MutationResponse::no_content())
    })
    .await
}
