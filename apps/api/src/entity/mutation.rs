//! One write inside a transaction, in stages: load, authorize, replay, validate, execute, respond.
//!
//! Single requests, batches, bulk updates, imports and uploads all use it.
//!
//! Invariant: an entity that the writer may not see and an absent one give the same response.
//!
//! Must not: commit. The caller decides which writes form a transaction.

use super::authorization::{self, Change, Parent};
use super::outline_move::{self, MoveRequest};
use super::read::render_row;
use super::scheduling;
use super::stored_response::{IdempotencyCheck, MutationResponse, check_idempotency, store_response};
use super::validation;
use super::write_context::{Target, WriteContext};
use crate::auth::AuthUser;
use crate::error::{ApiError, Result};
use crate::state::EntityModel;
use axum::http::StatusCode;
use pmo_database::{Connection, link, permission, row};
use pmo_domain::api_types::row_version;
use pmo_domain::{EntityCode, EntityType, Permission, Row};
use serde_json::{Value, json};
use uuid::Uuid;

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

/// Entity that a write concerns.
enum Subject<'a> {
    /// Entity to create, with the parent to link it to.
    New { values: Row, link: Option<Parent<'a>> },
    /// Existing entity.
    Existing(Target),
}

/// Effect of an executed write.
struct Outcome {
    /// Id of the entity.
    id: Uuid,
    /// Whether the entity has a new version.
    is_changed: bool,
}

impl<'a> Mutation<'a> {
    /// Creates a write without version check and idempotency key.
    pub(crate) fn new(action: MutationKind, entity: &'a EntityType, id: Uuid, body: Value) -> Self {
        Self {
            action,
            entity,
            id,
            body,
            server_values: Row::new(),
            version: None,
            idempotency_key: None,
            status_only: false,
        }
    }

    /// Executes the write in the caller's transaction.
    pub(crate) async fn execute(
        &self,
        conn: &mut Connection,
        model: &EntityModel,
        user: &AuthUser,
    ) -> Result<MutationResponse> {
        self.execute_in(&mut WriteContext::new(conn, model, user)).await
    }

    /// Executes the write in a context that may know permissions already.
    pub(crate) async fn execute_in(&self, context: &mut WriteContext<'_>) -> Result<MutationResponse> {
        let subject = match &self.action {
            MutationKind::Create { parent_link } => self.parse_new(context.model, parent_link.as_ref())?,
            _ => match context.load(self.entity, self.id).await {
                Err(ApiError::NotFound) if matches!(self.action, MutationKind::Purge) => {
                    return self.repeated_purge(context).await;
                }
                target => Subject::Existing(target?),
            },
        };
        self.run(context, subject).await
    }

    /// Returns the stored response of an earlier purge; fails with 404 without one.
    ///
    /// The permission on a purged entity is unknown; the response has no body.
    async fn repeated_purge(&self, context: &mut WriteContext<'_>) -> Result<MutationResponse> {
        match self.check_idempotency(context).await? {
            IdempotencyCheck::Replay(response) => Ok(response),
            IdempotencyCheck::New(_) => Err(ApiError::NotFound),
        }
    }

    /// Executes the write on an entity that the caller has loaded with [`WriteContext::load`].
    pub(crate) async fn execute_on(&self, context: &mut WriteContext<'_>, target: Target) -> Result<MutationResponse> {
        self.run(context, Subject::Existing(target)).await
    }

    #[tracing::instrument(level = "debug", skip_all, fields(entity = %self.entity.code))]
    async fn run(&self, context: &mut WriteContext<'_>, subject: Subject<'_>) -> Result<MutationResponse> {
        self.authorize(context, &subject).await?;
        let key = match self.check_idempotency(context).await? {
            IdempotencyCheck::Replay(response) => return Ok(response),
            IdempotencyCheck::New(key) => key,
        };
        let values = self.validate(context, &subject).await?;
        let outcome = self.apply(context, &subject, values).await?;
        let response = self.respond(context, &subject, &outcome).await?;
        store_response(context.conn, context.user, key, &response).await?;
        Ok(response)
    }

    /// Validates the body of a create, which states the owners that determine the permission.
    fn parse_new<'m>(
        &self,
        model: &'m EntityModel,
        parent_link: Option<&'m (EntityCode, Uuid)>,
    ) -> Result<Subject<'m>> {
        let values = validation::validate_body(model, self.entity, &self.body, None)?;
        let link = parent_link.and_then(|(code, id)| {
            let relation = model.catalog.child_relation(code.as_str(), self.entity.code.as_str())?;
            Some(Parent { code, id: *id, relation })
        });
        Ok(Subject::New { values, link })
    }

    /// Checks the permission that the kind of the write requires, whatever the values.
    async fn authorize(&self, context: &mut WriteContext<'_>, subject: &Subject<'_>) -> Result<()> {
        let level = match subject {
            Subject::New { values, link } => {
                return authorization::check_can_create(context, self.entity, values, *link).await;
            }
            Subject::Existing(target) => target.level,
        };
        let required = self.action.required_permission();
        if level < required {
            let named = if matches!(self.action, MutationKind::Update) { Permission::Edit } else { required };
            return Err(ApiError::Forbidden(authorization::permission_message(named, level)));
        }
        Ok(())
    }

    async fn check_idempotency(&self, context: &mut WriteContext<'_>) -> Result<IdempotencyCheck> {
        let (entity, id, body) = (self.entity.code.as_str(), self.id.to_string(), self.body.to_string());
        let parent_text = match &self.action {
            MutationKind::Create { parent_link: Some((code, id)) } => format!("{code} {id}"),
            _ => String::new(),
        };
        let request = [self.action.name(), entity, &id, &parent_text, &body].map(str::as_bytes);
        check_idempotency(context.conn, context.user, self.idempotency_key.as_deref(), &request).await
    }

    /// Checks state, version and values; returns the column values to write.
    async fn validate(&self, context: &mut WriteContext<'_>, subject: &Subject<'_>) -> Result<Row> {
        let (entity, person) = (self.entity, context.user.person);
        let target = match subject {
            Subject::New { values, link } => {
                let mut values = values.clone();
                scheduling::prepare_values(context, entity, &mut values, None).await?;
                let change = Change { entity, values: &values, current: None };
                validation::check_self_only_columns(entity, person, &values, None)?;
                authorization::check_references(context, &change).await?;
                authorization::check_parents_active(context, &change, *link).await?;
                authorization::check_mentions_visible(context, &change).await?;
                return Ok(values);
            }
            Subject::Existing(target) => target,
        };
        self.check_state(target.is_active)?;
        if self.version.is_some_and(|version| !scheduling::is_current_version(&target.current, version)) {
            let rendered = render_row(context.conn, entity, person, target.level, target.current.clone()).await?;
            return Err(ApiError::PreconditionFailed(Box::new(rendered)));
        }
        match &self.action {
            MutationKind::Move(position) => outline_move::plan_move(context, entity, target, position).await,
            MutationKind::Update | MutationKind::Replace => self.validate_update(context, target).await,
            _ => Ok(Row::new()),
        }
    }

    /// Checks that the entity is deleted or not deleted, as the kind of the write requires.
    fn check_state(&self, is_active: bool) -> Result<()> {
        match self.action {
            MutationKind::Restore => Ok(()),
            MutationKind::Purge if is_active => {
                Err(ApiError::unprocessable("id", "is not deleted; delete it before purging it"))
            }
            MutationKind::Purge => Ok(()),
            _ if is_active => Ok(()),
            _ => Err(ApiError::NotFound),
        }
    }

    async fn validate_update(&self, context: &mut WriteContext<'_>, target: &Target) -> Result<Row> {
        let (entity, current) = (self.entity, Some(&target.current));
        let body = match (&self.action, &self.body) {
            (MutationKind::Replace, Value::Object(body)) => &json!(with_cleared_columns(entity, body)?),
            (_, body) => body,
        };
        let mut values = validation::validate_body(context.model, entity, body, current)?;
        scheduling::prepare_values(context, entity, &mut values, current).await?;
        let change = Change { entity, values: &values, current };
        if target.level < Permission::Edit {
            authorization::check_contribution(context, target.level, &change).await?;
        }
        validation::check_self_only_columns(entity, context.user.person, &values, current)?;
        authorization::check_references(context, &change).await?;
        authorization::check_parents_active(context, &change, None).await?;
        authorization::check_mentions_visible(context, &change).await?;
        authorization::check_can_move(context, target.level, &change).await?;
        Ok(values)
    }

    /// Writes to the database.
    async fn apply(&self, context: &mut WriteContext<'_>, subject: &Subject<'_>, mut values: Row) -> Result<Outcome> {
        let (entity, id) = (self.entity, self.id);
        values.extend(self.server_values.clone());
        let mut outcome = Outcome { id, is_changed: true };
        match (&self.action, subject) {
            (_, Subject::New { link, .. }) => {
                outcome.id = row::insert(context.conn, entity, &values).await?;
                let child = (&entity.code, outcome.id);
                if let Some(Parent { code, id, relation }) = link {
                    link::insert_or_get(context.conn, (code, *id), child, relation.owned, link::ChildAge::New).await?;
                }
                permission::grant_owner(context.conn, context.user.person, child.0, child.1).await?;
            }
            (MutationKind::Move(_), _) => outline_move::apply_move(context.conn, entity, id, &values).await?,
            (MutationKind::Delete, _) => drop(row::delete(context.conn, entity, id).await?),
            (MutationKind::Restore, _) => drop(row::restore(context.conn, entity, id).await?),
            (MutationKind::Purge, _) => drop(row::purge(context.conn, entity, id).await?),
            (_, Subject::Existing(target)) => {
                let version = row::update(context.conn, entity, id, &values).await?;
                outcome.is_changed = version.is_some_and(|version| version != row_version(&target.current));
            }
        }
        Ok(outcome)
    }

    /// Builds the response: the row as its writer may see it, or only the status.
    async fn respond(
        &self,
        context: &mut WriteContext<'_>,
        subject: &Subject<'_>,
        outcome: &Outcome,
    ) -> Result<MutationResponse> {
        let (status, level, missing) = match (&self.action, subject) {
            (MutationKind::Delete | MutationKind::Purge, _) => return Ok(MutationResponse::no_content()),
            (_, Subject::New { .. }) => (StatusCode::CREATED, Permission::Owner, ApiError::Internal),
            (_, Subject::Existing(target)) => (StatusCode::OK, target.level, ApiError::NotFound),
        };
        if self.status_only {
            let status = if outcome.is_changed { status } else { StatusCode::NOT_MODIFIED };
            return Ok(MutationResponse { status, body: None });
        }
        let row = row::by_id(context.conn, self.entity, outcome.id, row::DeletedRows::Exclude).await?.ok_or(missing)?;
        let row = render_row(context.conn, self.entity, context.user.person, level, row).await?;
        Ok(MutationResponse { status, body: Some(Value::Object(row)) })
    }
}

/// Adds a null for each column that a replacement clears because its body lacks it.
fn with_cleared_columns(entity: &EntityType, body: &Row) -> Result<Row> {
    let mut merged = validation::with_current_names(entity, body)?;
    let is_cleared =
        |column: &&pmo_domain::Column| !column.read_only && !column.hidden && column.name != "code" && !column.not_null;
    for column in entity.columns.iter().filter(is_cleared) {
        merged.entry(column.name.clone()).or_insert(Value::Null);
    }
    Ok(merged)
}
