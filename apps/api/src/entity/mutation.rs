//! One write inside a transaction: who may do it, what it must obey, what it comes to. Single requests, batches and bulk edits all come
//! through here. It must never commit: the caller decides what belongs together.

use super::move_entity::{self, MoveRequest};
use super::read::render_row;
use super::validation;
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

/// What a write came to.
pub(crate) struct MutationResponse {
    /// 200, 201 or 204.
    pub status: StatusCode,
    /// The row; none with 204.
    pub body: Option<Value>,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub(crate) enum MutationKind {
    /// Make a thing; below another by a link where no column names the parent.
    Create { below: Option<(EntityCode, Uuid)> },
    /// Change the columns of the body.
    Update,
    /// The same, and what the body leaves out becomes empty.
    Replace,
    /// Put it elsewhere in its outline.
    Move(MoveRequest),
    /// Delete softly, with what belongs to it.
    Delete,
    /// Bring back.
    Restore,
    /// Take a deleted thing away for good, with what belongs to it.
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

    /// The level on the thing that it asks for.
    fn required_permission(&self) -> Permission {
        match self {
            // Those who may comment write themselves into what is for that, those who may log work what is for that.
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
    /// What.
    pub action: MutationKind,
    /// The type.
    pub entity: &'a EntityType,
    /// The thing; nil where it is to be made.
    pub id: Uuid,
    /// Its values.
    pub body: Value,
    /// Values that the service itself sets, whatever may be written.
    pub server_values: Row,
    /// The version that it was made on.
    pub version: Option<i64>,
    /// A repeat with the same key gets the first answer.
    pub key: Option<String>,
    /// Nobody reads the answer but for its status: 304 where nothing is another than before.
    pub status_only: bool,
}

/// Looks for the answer kept under a key. The caller has checked the permission: a repeat tells nobody more.
pub(crate) async fn check_idempotency(
    c: &mut Connection,
    who: &AuthUser,
    key: Option<&str>,
    asked: &[&[u8]],
) -> Result<IdempotencyCheck> {
    let Some(key) = key else { return Ok(IdempotencyCheck::New(None)) };
    let mut hash = Sha256::new();
    for part in asked {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let fingerprint = hash.finalize().to_vec();
    match idempotency::find(c, who.person.0, key).await? {
        None => Ok(IdempotencyCheck::New(Some((key.to_owned(), fingerprint)))),
        Some(kept) if kept.fingerprint == fingerprint => {
            let status = u16::try_from(kept.status).ok().and_then(|s| StatusCode::from_u16(s).ok());
            Ok(IdempotencyCheck::Replay(MutationResponse { status: status.unwrap_or(StatusCode::OK), body: kept.body }))
        }
        Some(_) => {
            Err(ApiError::unprocessable("Idempotency-Key", "was used before for another request; take a new key"))
        }
    }
}

/// Whether a write was seen before.
pub(crate) enum IdempotencyCheck {
    /// No: keep its answer under this key, if there is one.
    New(Option<(String, Vec<u8>)>),
    /// Yes: this was the answer.
    Replay(MutationResponse),
}

/// Keeps an answer for repeats.
pub(crate) async fn store_response(
    c: &mut Connection,
    who: &AuthUser,
    key: Option<(String, Vec<u8>)>,
    answer: &MutationResponse,
) -> Result<()> {
    if let Some((key, fingerprint)) = key {
        let status = i16::try_from(answer.status.as_u16()).map_err(|_| ApiError::Internal)?;
        idempotency::store(c, who.person.0, &key, &StoredResponse { fingerprint, status, body: answer.body.clone() })
            .await?;
    }
    Ok(())
}

impl Mutation<'_> {
    /// Does it, in the caller's transaction.
    pub async fn execute(&self, c: &mut Connection, model: &EntityModel, who: &AuthUser) -> Result<MutationResponse> {
        match &self.action {
            MutationKind::Create { below } => self.create(c, model, who, below.as_ref()).await,
            _ => self.execute_update(c, model, who).await,
        }
    }

    async fn idempotency_check(&self, c: &mut Connection, who: &AuthUser) -> Result<IdempotencyCheck> {
        let (entity, id, body) = (self.entity.code.as_str(), self.id.to_string(), self.body.to_string());
        let below = match &self.action {
            MutationKind::Create { below: Some((code, id)) } => format!("{code} {id}"),
            _ => String::new(),
        };
        let asked = [self.action.name(), entity, &id, &below, &body].map(str::as_bytes);
        check_idempotency(c, who, self.key.as_deref(), &asked).await
    }

    async fn create(
        &self,
        c: &mut Connection,
        model: &EntityModel,
        who: &AuthUser,
        below: Option<&(EntityCode, Uuid)>,
    ) -> Result<MutationResponse> {
        let entity = self.entity;
        let values = validation::validate_body(model, entity, &self.body, None)?;
        let tie = below.and_then(|(code, _)| model.catalogue.child_relation(code.as_str(), entity.code.as_str()));
        let linked = below.zip(tie).map(|((code, id), tie)| (code, *id, tie));
        validation::check_can_create(c, model, who.person, entity, &values, linked).await?;
        let key = match self.idempotency_check(c, who).await? {
            IdempotencyCheck::Replay(answer) => return Ok(answer),
            IdempotencyCheck::New(key) => key,
        };
        validation::check_self_only_columns(entity, who.person, &values, None)?;
        validation::check_references(c, model, who.person, entity, &values, None).await?;
        validation::check_mentions_visible(c, model, who.person, entity, &values, None).await?;
        let values = merge_values(values, &self.server_values);
        let id = row::insert(c, entity, &values).await?;
        if let Some((code, parent, tie)) = linked {
            link::insert_or_get(c, (code, parent), (&entity.code, id), tie.owned, true).await?;
        }
        permission::grant_owner(c, who.person, &entity.code, id).await?;
        if self.status_only {
            return Ok(MutationResponse { status: StatusCode::CREATED, body: None });
        }
        let row = row::by_id(c, entity, id, false).await?.ok_or(ApiError::Internal)?;
        let row = render_row(c, entity, who.person, Permission::Owner, row).await?;
        let answer = MutationResponse { status: StatusCode::CREATED, body: Some(Value::Object(row)) };
        store_response(c, who, key, &answer).await?;
        Ok(answer)
    }

    async fn execute_update(
        &self,
        c: &mut Connection,
        model: &EntityModel,
        who: &AuthUser,
    ) -> Result<MutationResponse> {
        let (entity, id) = (self.entity, self.id);
        row::lock(c, entity, id).await?;
        let level = permission::permission_on(c, who.person, &entity.code, id).await?.ok_or(ApiError::NotFound)?;
        let present = row::by_id(c, entity, id, true).await?.ok_or(ApiError::NotFound)?;
        let alive = present.get("active_flag") == Some(&Value::Bool(true));
        // What is deleted is there for those who may bring it back.
        if !alive && level < Permission::Delete {
            return Err(ApiError::NotFound);
        }
        let least = self.action.required_permission();
        if level < least {
            return Err(ApiError::Forbidden(permission_message(
                if matches!(self.action, MutationKind::Update) { Permission::Edit } else { least },
                level,
            )));
        }
        let key = match self.idempotency_check(c, who).await? {
            IdempotencyCheck::Replay(answer) => return Ok(answer),
            IdempotencyCheck::New(key) => key,
        };
        let wants_alive = !matches!(self.action, MutationKind::Restore | MutationKind::Purge);
        if alive != wants_alive && !matches!(self.action, MutationKind::Restore) {
            return Err(if wants_alive {
                ApiError::NotFound
            } else {
                ApiError::unprocessable("id", "is not deleted: delete it first, then it can be taken away for good")
            });
        }
        if self.version.is_some_and(|v| v != row_version(&present).0) {
            let current = render_row(c, entity, who.person, level, present).await?;
            return Err(ApiError::PreconditionFailed(Box::new(current)));
        }
        match &self.action {
            MutationKind::Move(to) => move_entity::apply_move(c, model, who, entity, (level, &present), to).await?,
            MutationKind::Update | MutationKind::Replace => self.write(c, model, who, level, &present).await?,
            MutationKind::Delete => drop(row::delete(c, entity, id).await?),
            MutationKind::Restore => drop(row::restore(c, entity, id).await?),
            MutationKind::Purge => drop(row::purge(c, entity, id).await?),
            MutationKind::Create { .. } => {}
        }
        let answer = if matches!(self.action, MutationKind::Delete | MutationKind::Purge) {
            MutationResponse { status: StatusCode::NO_CONTENT, body: None }
        } else {
            let row = row::by_id(c, entity, id, false).await?.ok_or(ApiError::NotFound)?;
            if self.status_only {
                let same = row_version(&row) == row_version(&present);
                return Ok(MutationResponse {
                    status: if same { StatusCode::NOT_MODIFIED } else { StatusCode::OK },
                    body: None,
                });
            }
            let row = render_row(c, entity, who.person, level, row).await?;
            MutationResponse { status: StatusCode::OK, body: Some(Value::Object(row)) }
        };
        store_response(c, who, key, &answer).await?;
        Ok(answer)
    }

    async fn write(
        &self,
        c: &mut Connection,
        model: &EntityModel,
        who: &AuthUser,
        level: Permission,
        present: &Row,
    ) -> Result<()> {
        let entity = self.entity;
        let values = match (&self.action, &self.body) {
            (MutationKind::Replace, Value::Object(body)) => {
                let mut whole = body.clone();
                let settable = |c: &&pmo_domain::Column| !c.read_only && !c.hidden && c.name != "code" && !c.not_null;
                for column in entity.columns.iter().filter(settable) {
                    whole.entry(column.name.clone()).or_insert(Value::Null);
                }
                validation::validate_body(model, entity, &json!(whole), Some(present))?
            }
            _ => validation::validate_body(model, entity, &self.body, Some(present))?,
        };
        if level < Permission::Edit {
            validation::check_contribution(c, model, who.person, entity, level, present, &values).await?;
        }
        validation::check_self_only_columns(entity, who.person, &values, Some(present))?;
        validation::check_references(c, model, who.person, entity, &values, Some(present)).await?;
        validation::check_mentions_visible(c, model, who.person, entity, &values, Some(present)).await?;
        validation::check_can_move(c, model, who.person, entity, level, present, &values).await?;
        row::update(c, entity, self.id, &merge_values(values, &self.server_values)).await?;
        Ok(())
    }
}

fn merge_values(mut values: Row, given: &Row) -> Row {
    values.extend(given.clone());
    values
}

/// The words for a level that is too low.
pub(crate) fn permission_message(least: Permission, level: Permission) -> String {
    format!("That asks for the right to {}; you may {}.", least.label(), level.label())
}
