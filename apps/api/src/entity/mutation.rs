//! Execution of one write inside a transaction: authorization, validation, idempotency, response.
//!
//! Single requests, batches and bulk updates all use it.
//!
//! Must not: commit. The caller decides which writes form a transaction.

use super::outline_move::{self, MoveRequest};
use super::read::render_row;
use super::{authorization, validation};
use crate::auth::AuthUser;
use crate::error::{ApiError, Result};
use crate::state::EntityModel;
use axum::http::StatusCode;
use pmo_database::idempotency::{self, StoredResponse};
use pmo_database::{Connection, link, permission, row};
use pmo_domain::api_types::row_version;
use pmo_domain::{EntityCode, EntityType, Permission, Row};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Response of a write.
pub(crate) struct MutationResponse {
    /// Status: 200, 201 or 204; with [`Mutation::status_only`] also 304.
    pub status: StatusCode,
    /// The row; `None` with 204.
    pub body: Option<Value>,
}

/// Kind of a write.
#[derive(Clone, Debug)]
pub(crate) enum MutationKind {
    /// Creation of an entity, with a link to its parent if no column represents the relation.
    Create { parent_link: Option<(EntityCode, Uuid)> },
    /// Update of the columns in the body.
    Update,
    /// Replacement: columns that are not in the body are cleared.
    Replace,
    /// Move within the outline.
    Move(MoveRequest),
    /// Soft deletion of the entity and its owned descendants.
    Delete,
    /// Restoration of a deleted entity.
    Restore,
    /// Permanent deletion of a soft-deleted entity and its owned descendants.
    Purge,
}

impl MutationKind {
    fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "POST",
            Self::Update => "PATCH",
            Self::Replace => "PUT",
            Self::Move(_) => "MOVE",
            Self::Delete => "DELETE",
            Self::Restore => "RESTORE",
            Self::Purge => "PURGE",
        }
    }

    /// Returns the permission on the entity that this kind requires at least.
    fn required_permission(&self) -> Permission {
        match self {
            // COMMENT suffices for columns in which users write only themselves, CONTRIBUTE for
            // those of contributors. `check_contribution` checks both.
            Self::Create { .. } | Self::Update => Permission::Comment,
            Self::Replace | Self::Move(_) => Permission::Edit,
            Self::Delete | Self::Restore => Permission::Delete,
            Self::Purge => Permission::Owner,
        }
    }
}

/// One write.
#[derive(Clone, Debug)]
pub(crate) struct Mutation<'a> {
    /// Kind of the write.
    pub action: MutationKind,
    /// Entity type.
    pub entity: &'a EntityType,
    /// Entity id; nil for a create.
    pub id: Uuid,
    /// Column values, as a JSON object.
    pub body: Value,
    /// Values set by the service itself, which clients cannot write.
    pub server_values: Row,
    /// Version that the write is based on; `None` skips the check.
    pub version: Option<i64>,
    /// Idempotency key; a repeated write with the same key returns the stored response.
    pub idempotency_key: Option<String>,
    /// Whether to return only the status, without the row; 304 if the version did not change.
    pub status_only: bool,
}

/// Looks up the response stored under an idempotency key.
///
/// `request` identifies the request; reusing a key for a different request is a 422 error. The
/// caller must check the permission first, because a stored response may contain a row.
pub(crate) async fn check_idempotency(
    conn: &mut Connection,
    user: &AuthUser,
    key: Option<&str>,
    request: &[&[u8]],
) -> Result<IdempotencyCheck> {
    let Some(key) = key else { return Ok(IdempotencyCheck::New(None)) };
    let mut hash = Sha256::new();
    for part in request {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let fingerprint = hash.finalize().to_vec();
    match idempotency::find(conn, user.person.0, key).await? {
        None => Ok(IdempotencyCheck::New(Some((key.to_owned(), fingerprint)))),
        Some(stored) if stored.fingerprint == fingerprint => {
            let status = u16::try_from(stored.status).ok().and_then(|s| StatusCode::from_u16(s).ok());
            Ok(IdempotencyCheck::Replay(MutationResponse {
                status: status.unwrap_or(StatusCode::OK),
                body: stored.body,
            }))
        }
        Some(_) => {
            Err(ApiError::unprocessable("Idempotency-Key", "was already used for another request; use a new key"))
        }
    }
}

/// Result of looking up an idempotency key.
pub(crate) enum IdempotencyCheck {
    /// First request: store its response under this key and fingerprint, if there is a key.
    New(Option<(String, Vec<u8>)>),
    /// Repeated request: the stored response.
    Replay(MutationResponse),
}

/// Stores a response under its idempotency key, if there is one.
pub(crate) async fn store_response(
    conn: &mut Connection,
    user: &AuthUser,
    key: Option<(String, Vec<u8>)>,
    response: &MutationResponse,
) -> Result<()> {
    if let Some((key, fingerprint)) = key {
        let status = i16::try_from(response.status.as_u16()).map_err(|_| ApiError::Internal)?;
        idempotency::store(
            conn,
            user.person.0,
            &key,
            &StoredResponse { fingerprint, status, body: response.body.clone() },
        )
        .await?;
    }
    Ok(())
}

impl Mutation<'_> {
    /// Executes the write in the caller's transaction.
    #[tracing::instrument(level = "debug", skip_all, fields(entity = %self.entity.code))]
    pub(crate) async fn execute(
        &self,
        conn: &mut Connection,
        model: &EntityModel,
        user: &AuthUser,
    ) -> Result<MutationResponse> {
        match &self.action {
            MutationKind::Create { parent_link } => self.create(conn, model, user, parent_link.as_ref()).await,
            _ => self.execute_update(conn, model, user).await,
        }
    }

    async fn idempotency_check(&self, conn: &mut Connection, user: &AuthUser) -> Result<IdempotencyCheck> {
        let (entity, id, body) = (self.entity.code.as_str(), self.id.to_string(), self.body.to_string());
        let parent_text = match &self.action {
            MutationKind::Create { parent_link: Some((code, id)) } => format!("{code} {id}"),
            _ => String::new(),
        };
        let request = [self.action.name(), entity, &id, &parent_text, &body].map(str::as_bytes);
        check_idempotency(conn, user, self.idempotency_key.as_deref(), &request).await
    }

    async fn create(
        &self,
        conn: &mut Connection,
        model: &EntityModel,
        user: &AuthUser,
        parent_link: Option<&(EntityCode, Uuid)>,
    ) -> Result<MutationResponse> {
        let entity = self.entity;
        let values = validation::validate_body(model, entity, &self.body, None)?;
        let relation =
            parent_link.and_then(|(code, _)| model.catalog.child_relation(code.as_str(), entity.code.as_str()));
        let linked = parent_link.zip(relation).map(|((code, id), relation)| (code, *id, relation));
        authorization::check_can_create(conn, model, user.person, entity, &values, linked).await?;
        let key = match self.idempotency_check(conn, user).await? {
            IdempotencyCheck::Replay(response) => return Ok(response),
            IdempotencyCheck::New(key) => key,
        };
        validation::check_self_only_columns(entity, user.person, &values, None)?;
        authorization::check_references(conn, model, user.person, entity, &values, None).await?;
        authorization::check_mentions_visible(conn, model, user.person, entity, &values, None).await?;
        let values = merge_values(values, &self.server_values);
        let id = row::insert(conn, entity, &values).await?;
        if let Some((code, parent, relation)) = linked {
            link::insert_or_get(conn, (code, parent), (&entity.code, id), relation.owned, link::ChildAge::New).await?;
        }
        permission::grant_owner(conn, user.person, &entity.code, id).await?;
        if self.status_only {
            return Ok(MutationResponse { status: StatusCode::CREATED, body: None });
        }
        let row = row::by_id(conn, entity, id, row::DeletedRows::Exclude).await?.ok_or(ApiError::Internal)?;
        let row = render_row(conn, entity, user.person, Permission::Owner, row).await?;
        let response = MutationResponse { status: StatusCode::CREATED, body: Some(Value::Object(row)) };
        store_response(conn, user, key, &response).await?;
        Ok(response)
    }

    async fn execute_update(
        &self,
        conn: &mut Connection,
        model: &EntityModel,
        user: &AuthUser,
    ) -> Result<MutationResponse> {
        let (entity, id) = (self.entity, self.id);
        row::lock(conn, entity, id).await?;
        let level = permission::permission_on(conn, user.person, &entity.code, id).await?.ok_or(ApiError::NotFound)?;
        let current = row::by_id(conn, entity, id, row::DeletedRows::Include).await?.ok_or(ApiError::NotFound)?;
        let is_active = current.get("active_flag") == Some(&Value::Bool(true));
        // Only users who may restore a deleted entity can see it.
        if !is_active && level < Permission::Delete {
            return Err(ApiError::NotFound);
        }
        let required = self.action.required_permission();
        if level < required {
            return Err(ApiError::Forbidden(authorization::permission_message(
                if matches!(self.action, MutationKind::Update) { Permission::Edit } else { required },
                level,
            )));
        }
        let key = match self.idempotency_check(conn, user).await? {
            IdempotencyCheck::Replay(response) => return Ok(response),
            IdempotencyCheck::New(key) => key,
        };
        let must_be_active = !matches!(self.action, MutationKind::Restore | MutationKind::Purge);
        if is_active != must_be_active && !matches!(self.action, MutationKind::Restore) {
            return Err(if must_be_active {
                ApiError::NotFound
            } else {
                ApiError::unprocessable("id", "is not deleted; delete it before purging it")
            });
        }
        if self.version.is_some_and(|v| v != row_version(&current).0) {
            let rendered = render_row(conn, entity, user.person, level, current).await?;
            return Err(ApiError::PreconditionFailed(Box::new(rendered)));
        }
        match &self.action {
            MutationKind::Move(target) => {
                outline_move::apply_move(conn, model, user, entity, (level, &current), target).await?
            }
            MutationKind::Update | MutationKind::Replace => self.write(conn, model, user, level, &current).await?,
            MutationKind::Delete => drop(row::delete(conn, entity, id).await?),
            MutationKind::Restore => drop(row::restore(conn, entity, id).await?),
            MutationKind::Purge => drop(row::purge(conn, entity, id).await?),
            MutationKind::Create { .. } => {}
        }
        let response = if matches!(self.action, MutationKind::Delete | MutationKind::Purge) {
            MutationResponse { status: StatusCode::NO_CONTENT, body: None }
        } else {
            let row = row::by_id(conn, entity, id, row::DeletedRows::Exclude).await?.ok_or(ApiError::NotFound)?;
            if self.status_only {
                let unchanged = row_version(&row) == row_version(&current);
                return Ok(MutationResponse {
                    status: if unchanged { StatusCode::NOT_MODIFIED } else { StatusCode::OK },
                    body: None,
                });
            }
            let row = render_row(conn, entity, user.person, level, row).await?;
            MutationResponse { status: StatusCode::OK, body: Some(Value::Object(row)) }
        };
        store_response(conn, user, key, &response).await?;
        Ok(response)
    }

    async fn write(
        &self,
        conn: &mut Connection,
        model: &EntityModel,
        user: &AuthUser,
        level: Permission,
        current: &Row,
    ) -> Result<()> {
        let entity = self.entity;
        let values = match (&self.action, &self.body) {
            (MutationKind::Replace, Value::Object(body)) => {
                let mut merged = validation::with_current_names(entity, body)?;
                let settable = |column: &&pmo_domain::Column| {
                    !column.read_only && !column.hidden && column.name != "code" && !column.not_null
                };
                for column in entity.columns.iter().filter(settable) {
                    merged.entry(column.name.clone()).or_insert(Value::Null);
                }
                validation::validate_body(model, entity, &json!(merged), Some(current))?
            }
            _ => validation::validate_body(model, entity, &self.body, Some(current))?,
        };
        if level < Permission::Edit {
            authorization::check_contribution(conn, model, user.person, entity, level, current, &values).await?;
        }
        validation::check_self_only_columns(entity, user.person, &values, Some(current))?;
        authorization::check_references(conn, model, user.person, entity, &values, Some(current)).await?;
        authorization::check_mentions_visible(conn, model, user.person, entity, &values, Some(current)).await?;
        authorization::check_can_move(conn, model, user.person, entity, level, current, &values).await?;
        row::update(conn, entity, self.id, &merge_values(values, &self.server_values)).await?;
        Ok(())
    }
}

fn merge_values(mut values: Row, server_values: &Row) -> Row {
    values.extend(server_values.clone());
    values
}
