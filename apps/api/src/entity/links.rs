//! Links that no column stands for: a project in a program, a person in a role. A link carries grants, so that making and undoing one asks
//! for more than editing.

use super::mutation::permission_message;
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

/// A link to make.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewLink {
    /// The type above,
    #[schema(example = "program")]
    parent_code: String,
    /// and the thing.
    parent_id: Uuid,
    /// The type below,
    #[schema(example = "project")]
    child_code: String,
    /// and the thing.
    child_id: Uuid,
}

/// The ends of a link.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct LinkEnds {
    /// The type above,
    #[param(example = "program")]
    parent_code: String,
    /// and the thing.
    parent_id: Uuid,
    /// The type below,
    #[param(example = "project")]
    child_code: String,
    /// and the thing.
    child_id: Uuid,
}

/// Checks that a person may tie the two, or part them.
async fn check_can_link(
    c: &mut Connection,
    person: PersonId,
    parent: (&EntityCode, Uuid),
    child: (&EntityCode, Uuid),
    owned: bool,
    making: bool,
) -> Result<()> {
    let nobody = |field: &str, code: &EntityCode, id| {
        ApiError::unprocessable(field, format!("there is no {code} {id} that you may see"))
    };
    let above = permission::permission_on(c, person, parent.0, parent.1).await?;
    let below = permission::permission_on(c, person, child.0, child.1).await?;
    let (above, below) = if making {
        (
            above.ok_or_else(|| nobody("parent_id", parent.0, parent.1))?,
            below.ok_or_else(|| nobody("child_id", child.0, child.1))?,
        )
    } else {
        // Whoever sees one end only does not learn of the other.
        (above.ok_or(ApiError::NotFound)?, below.ok_or(ApiError::NotFound)?)
    };
    let (least_above, least_below) = match (parent.0.as_str(), owned) {
        // Who is in a role holds all that it is granted.
        ("role", _) => (Permission::Owner, Permission::View),
        // Whoever may create above becomes one of its owners' company: that is for those who may share it.
        (_, true) if making => (Permission::Create, Permission::Share),
        (_, true) => (Permission::Edit, Permission::Share),
        (_, false) => (Permission::Edit, Permission::View),
    };
    if above < least_above {
        return Err(ApiError::Forbidden(format!("On the {}: {}", parent.0, permission_message(least_above, above))));
    }
    if below < least_below {
        return Err(ApiError::Forbidden(format!("On the {}: {}", child.0, permission_message(least_below, below))));
    }
    Ok(())
}

/// Hang a thing below another.
#[utoipa::path(post, path = "/entity_instance_link", tag = "sharing", request_body = NewLink, params(
    ("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same key gets the first answer")), responses(
    (status = 201, description = "The link; the one that is there already, if there is", body = Object), (status = 400, description = "Not JSON"),
    (status = 401, description = "Not signed in"), (status = 403, description = "May see both, may not tie them"),
    (status = 413, description = "Too large"), (status = 415, description = "Not JSON by its type"),
    (status = 422, description = "One is not there, these types are not tied, or a column says it")))]
pub(super) async fn create_link(
    State(app): State<AppState>,
    who: AuthUser,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<MutationResponse> {
    let asked = body.to_string();
    let new: NewLink = serde_json::from_value(body).map_err(|e| ApiError::unprocessable("body", e.to_string()))?;
    let model = app.model().await?;
    let unknown = |field: &str| ApiError::unprocessable(field, "is no entity type");
    let parent = &model.entity(&new.parent_code).map_err(|_| unknown("parent_code"))?.code;
    let child = &model.entity(&new.child_code).map_err(|_| unknown("child_code"))?.code;
    let tie = model
        .catalogue
        .child_relation(parent.as_str(), child.as_str())
        .ok_or_else(|| ApiError::unprocessable("child_code", format!("can't hang below a {parent}")))?;
    if let Some(column) = &tie.parent_column {
        return Err(ApiError::unprocessable(
            "child_code",
            format!("hangs below a {parent} by its column {column}: change that"),
        ));
    }
    if new.parent_id == new.child_id {
        return Err(ApiError::unprocessable("child_id", "can't hang below itself"));
    }
    let mut transaction = pmo_database::begin(&app.pool, &who.actor).await?;
    let (parent, child) = ((parent, new.parent_id), (child, new.child_id));
    check_can_link(&mut transaction, who.person, parent, child, tie.owned, true).await?;
    let key = match check_idempotency_header(&mut transaction, &who, &headers, &[b"LINK", asked.as_bytes()]).await? {
        IdempotencyCheck::Replay(answer) => return Ok(answer),
        IdempotencyCheck::New(key) => key,
    };
    let made = link::insert_or_get(&mut transaction, parent, child, tie.owned, false).await?;
    commit_with_response(transaction, &who, key, MutationResponse { status: StatusCode::CREATED, body: Some(made) })
        .await
}

/// Take a thing from below another.
#[utoipa::path(delete, path = "/entity_instance_link/{id}", tag = "sharing", params(("id" = Uuid, Path, description = "The link"),
    ("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same key gets the first answer")), responses(
    (status = 204, description = "Taken away"), (status = 400, description = "A header can't be read"), (status = 401, description = "Not signed in"),
    (status = 403, description = "May see both, may not part them"), (status = 404, description = "No such link for this person"),
    (status = 422, description = "It follows a column: change that")))]
pub(super) async fn delete_link(
    State(app): State<AppState>,
    who: AuthUser,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<MutationResponse> {
    let id: Uuid = id.parse().map_err(|_| ApiError::NotFound)?;
    let mut transaction = pmo_database::begin(&app.pool, &who.actor).await?;
    // The key comes first: a link that is gone can't be looked at any more, and the answer tells nothing.
    let key = match check_idempotency_header(&mut transaction, &who, &headers, &[b"UNLINK", id.as_bytes()]).await? {
        IdempotencyCheck::Replay(answer) => return Ok(answer),
        IdempotencyCheck::New(key) => key,
    };
    let found = link::find(&mut transaction, id).await?.ok_or(ApiError::NotFound)?;
    remove_link(transaction, &who, found, key).await
}

/// Take a thing from below another, named by its two ends: for whoever has not seen the link itself.
#[utoipa::path(delete, path = "/entity_instance_link", tag = "sharing", params(LinkEnds,
    ("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same key gets the first answer")), responses(
    (status = 204, description = "Taken away"), (status = 400, description = "An end is missing or can't be read"), (status = 401, description = "Not signed in"),
    (status = 403, description = "May see both, may not part them"), (status = 404, description = "No such link for this person"),
    (status = 422, description = "They are tied by a column alone: change that")))]
pub(super) async fn delete_link_by_ends(
    State(app): State<AppState>,
    who: AuthUser,
    Query(ends): Query<LinkEnds>,
    headers: HeaderMap,
) -> Result<MutationResponse> {
    let code = |text: &str| EntityCode::new(text).map_err(|_| ApiError::NotFound);
    let (parent, child) = (code(&ends.parent_code)?, code(&ends.child_code)?);
    let (parent, child) = ((&parent, ends.parent_id), (&child, ends.child_id));
    let mut transaction = pmo_database::begin(&app.pool, &who.actor).await?;
    let asked = format!("{} {} {} {}", parent.0, parent.1, child.0, child.1);
    let key = match check_idempotency_header(&mut transaction, &who, &headers, &[b"UNLINK", asked.as_bytes()]).await? {
        IdempotencyCheck::Replay(answer) => return Ok(answer),
        IdempotencyCheck::New(key) => key,
    };
    let found = link::find_between(&mut transaction, parent, child).await?.ok_or(ApiError::NotFound)?;
    remove_link(transaction, &who, found, key).await
}

async fn remove_link(
    mut transaction: Transaction,
    who: &AuthUser,
    found: link::EntityLink,
    key: Option<(String, Vec<u8>)>,
) -> Result<MutationResponse> {
    let (parent, child) = ((&found.parent.0, found.parent.1), (&found.child.0, found.child.1));
    check_can_link(&mut transaction, who.person, parent, child, found.owned, false).await?;
    if !found.column.is_empty() {
        return Err(ApiError::unprocessable("id", format!("follows the column {}: change that", found.column)));
    }
    link::delete(&mut transaction, found.id).await?;
    commit_with_response(transaction, who, key, MutationResponse { status: StatusCode::NO_CONTENT, body: None }).await
}
