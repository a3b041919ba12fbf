//! State that the stages of a write share: connection, model, user, and permissions already read.

use crate::auth::AuthUser;
use crate::error::{ApiError, Result};
use crate::state::EntityModel;
use pmo_database::{Connection, permission, row};
use pmo_domain::{EntityCode, EntityType, Permission, Row};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Context of one write in a transaction.
///
/// Keeps the permissions that its stages read, so that each is queried once.
///
/// Must not: outlive the write, which may itself change permissions.
pub(crate) struct WriteContext<'a> {
    /// Connection with the open transaction.
    pub conn: &'a mut Connection,
    /// Entity types and option sets.
    pub model: &'a EntityModel,
    /// Writer.
    pub user: &'a AuthUser,
    permissions: BTreeMap<(EntityCode, Uuid), Option<Permission>>,
}

/// Existing entity that a write concerns, locked until the transaction ends.
pub(crate) struct Target {
    /// Permission of the writer on the entity.
    pub level: Permission,
    /// Current row.
    pub current: Row,
    /// Whether the entity is not deleted.
    pub is_active: bool,
}

impl<'a> WriteContext<'a> {
    /// Creates the context of a write in the transaction of `conn`.
    pub(crate) fn new(conn: &'a mut Connection, model: &'a EntityModel, user: &'a AuthUser) -> Self {
        Self { conn, model, user, permissions: BTreeMap::new() }
    }

    /// Returns the permission of the writer on an entity; `None` without access.
    pub(crate) async fn permission_on(&mut self, code: &EntityCode, id: Uuid) -> Result<Option<Permission>> {
        if let Some(level) = self.permissions.get(&(code.clone(), id)) {
            return Ok(*level);
        }
        let level = permission::permission_on(self.conn, self.user.person, code, id).await?;
        self.permissions.insert((code.clone(), id), level);
        Ok(level)
    }

    /// Returns the subset of `ids` of one type that the writer may view.
    pub(crate) async fn visible_ids(&mut self, code: &EntityCode, ids: &[Uuid]) -> Result<BTreeSet<Uuid>> {
        let key = |id: Uuid| (code.clone(), id);
        let unknown: Vec<Uuid> = ids.iter().copied().filter(|id| !self.permissions.contains_key(&key(*id))).collect();
        let person = self.user.person;
        let levels = permission::permissions_of(self.conn, &[person], code, &unknown).await?;
        for id in unknown {
            self.permissions.insert(key(id), levels.get(&(person, id)).copied());
        }
        Ok(ids.iter().copied().filter(|id| self.permissions.get(&key(*id)).is_some_and(Option::is_some)).collect())
    }

    /// Locks an entity and reads the writer's permission and the current row.
    ///
    /// Fails with 404 if the entity does not exist or is not visible to the writer. Users who may
    /// restore a deleted entity can see it.
    pub(crate) async fn load(&mut self, entity: &EntityType, id: Uuid) -> Result<Target> {
        row::lock(self.conn, entity, id).await?;
        let level = self.permission_on(&entity.code, id).await?.ok_or(ApiError::NotFound)?;
        let current = row::by_id(self.conn, entity, id, row::DeletedRows::Include).await?.ok_or(ApiError::NotFound)?;
        let is_active = current.get("active_flag") == Some(&Value::Bool(true));
        if !is_active && level < Permission::Delete {
            return Err(ApiError::NotFound);
        }
        Ok(Target { level, current, is_active })
    }
}
