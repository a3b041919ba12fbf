//! Authorization of writes: permission to create, change, move, refer to and mention entities.

use super::write_context::WriteContext;
use crate::error::{ApiError, Result};
use crate::state::EntityModel;
use pmo_database::{permission, row};
use pmo_domain::api_types::FieldError;
use pmo_domain::{
    ChildRelation, Column, ColumnKind, EntityCode, EntityType, Permission, PersonId, Row, SELF_CONTRIBUTION,
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Values that a write gives to an entity.
pub(super) struct Change<'a> {
    /// Entity type.
    pub entity: &'a EntityType,
    /// New values of columns.
    pub values: &'a Row,
    /// Current row; `None` for a create.
    pub current: Option<&'a Row>,
}

impl Change<'_> {
    /// Returns the row as it will be after the write.
    fn updated(&self) -> Row {
        let mut updated = self.current.cloned().unwrap_or_default();
        updated.extend(self.values.clone());
        updated
    }
}

/// Parent of an entity, with the relation between the two types.
#[derive(Clone, Copy)]
pub(super) struct Parent<'a> {
    /// Parent type code.
    pub code: &'a EntityCode,
    /// Parent id.
    pub id: Uuid,
    /// Relation that permits the parent.
    pub relation: &'a ChildRelation,
}

impl Parent<'_> {
    /// Returns whether both are the same parent in the same column.
    fn is_same(&self, other: &Parent<'_>) -> bool {
        self.code == other.code && self.id == other.id && self.relation.parent_column == other.relation.parent_column
    }

    /// Returns the error about a parent that does not exist, is deleted or is not visible.
    fn not_visible(&self) -> ApiError {
        let column = self.relation.parent_column.as_deref().unwrap_or("id");
        ApiError::unprocessable(column, format!("{} {} does not exist, or is not visible to you", self.code, self.id))
    }
}

/// Returns the ids in a column, which holds one id or a list of ids; other text is left out.
fn ids_in(row: &Row, column: &str) -> Vec<Uuid> {
    match row.get(column) {
        Some(Value::String(id)) => id.parse().into_iter().collect(),
        Some(Value::Array(ids)) => ids.iter().filter_map(|id| id.as_str()?.parse().ok()).collect(),
        _ => Vec::new(),
    }
}

/// Checks that the entities that `change` newly references exist and are visible to the writer.
///
/// References that the current row already has are not checked.
pub(super) async fn check_references(context: &mut WriteContext<'_>, change: &Change<'_>) -> Result<()> {
    let mut references: BTreeMap<&str, Vec<(&str, Uuid)>> = BTreeMap::new();
    for column in &change.entity.columns {
        let (ColumnKind::Reference { entity: target } | ColumnKind::References { entity: target }) = &column.kind
        else {
            continue;
        };
        let current = change.current.map(|row| ids_in(row, &column.name)).unwrap_or_default();
        for id in ids_in(change.values, &column.name).into_iter().filter(|id| !current.contains(id)) {
            references.entry(target).or_default().push((&column.name, id));
        }
    }
    let mut errors: Vec<FieldError> = Vec::new();
    let model = context.model;
    for (target, uses) in references {
        let Some(target) = model.catalog.get(target) else { continue };
        let ids: Vec<Uuid> = uses.iter().map(|u| u.1).collect();
        let existing = row::filter_existing(context.conn, target, &ids).await?;
        let visible = context.visible_ids(&target.code, &ids).await?;
        for (column, id) in uses {
            let is_valid = existing.contains(&id) && visible.contains(&id);
            if !is_valid && !errors.iter().any(|e| e.field == column) {
                errors.push(FieldError {
                    field: column.to_owned(),
                    message: format!("{} {id} does not exist, or is not visible to you", target.name.to_lowercase()),
                });
            }
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::UnprocessableEntity(errors)) }
}

/// Returns the owning parents that these values reference through columns.
fn owners<'a>(model: &'a EntityModel, entity: &'a EntityType, values: &Row) -> Vec<Parent<'a>> {
    model
        .catalog
        .parent_relations(entity.code.as_str())
        .filter(|(_, relation)| relation.owned)
        .filter_map(|(parent, relation)| {
            let id = values.get(relation.parent_column.as_ref()?)?.as_str()?.parse().ok()?;
            let type_matches = relation
                .parent_type_column
                .as_ref()
                .is_none_or(|column| values.get(column).and_then(Value::as_str) == Some(parent.code.as_str()));
            type_matches.then_some(Parent { code: &parent.code, id, relation })
        })
        .collect()
}

/// Checks that the parents that `change` newly gives the entity are not deleted.
///
/// `link` is the parent of a new entity that no column states. Parents in reference columns are
/// left to [`check_references`].
pub(super) async fn check_parents_active(
    context: &mut WriteContext<'_>,
    change: &Change<'_>,
    link: Option<Parent<'_>>,
) -> Result<()> {
    let (model, entity) = (context.model, change.entity);
    let is_reference = |parent: &Parent<'_>| {
        let column = parent.relation.parent_column.as_deref().and_then(|column| entity.column(column));
        column.is_some_and(|column| matches!(column.kind, ColumnKind::Reference { .. }))
    };
    let old_owners = change.current.map(|row| owners(model, entity, row)).unwrap_or_default();
    let new_owners = owners(model, entity, &change.updated());
    let gained = new_owners.iter().filter(|owner| !old_owners.iter().any(|other| other.is_same(owner)));
    for parent in gained.filter(|parent| !is_reference(parent)).chain(&link) {
        let parent_type = model.entity(parent.code.as_str())?;
        if !row::filter_existing(context.conn, parent_type, &[parent.id]).await?.contains(&parent.id) {
            return Err(parent.not_visible());
        }
    }
    Ok(())
}

/// Checks that the writer may create an entity with these values.
///
/// Requires the permission of each relation on its owner; without owners, the permission to create
/// entities of the type. A link that does not own requires EDIT on the parent.
pub(super) async fn check_can_create(
    context: &mut WriteContext<'_>,
    entity: &EntityType,
    values: &Row,
    link: Option<Parent<'_>>,
) -> Result<()> {
    let mut owners = owners(context.model, entity, values);
    match link {
        Some(link) if link.relation.owned => owners.push(link),
        Some(link) => {
            let level = context.permission_on(link.code, link.id).await?.ok_or(ApiError::NotFound)?;
            if level < Permission::Edit {
                return Err(ApiError::Forbidden(permission_message(Permission::Edit, level)));
            }
        }
        None => {}
    }
    // The relation determines the permission: comments, for example, require only COMMENT.
    for owner @ Parent { code, id, relation } in &owners {
        match context.permission_on(code, *id).await? {
            None => return Err(owner.not_visible()),
            Some(level) if level < relation.create_permission => {
                return Err(ApiError::Forbidden(format!(
                    "Creating {} here requires permission to {} on the {code}; you may {}.",
                    entity.with_article(),
                    relation.create_permission.label(),
                    level.label()
                )));
            }
            Some(_) => {}
        }
    }
    if owners.is_empty() && !permission::can_create(context.conn, context.user.person, &entity.code).await? {
        return Err(ApiError::Forbidden(format!("You cannot create {} without a parent.", entity.with_article())));
    }
    Ok(())
}

/// Checks that the writer may change the owners of an entity, if `change` does so.
///
/// Requires SHARE on the entity and CREATE on each new owner. `level` is the writer's permission on
/// the entity.
pub(super) async fn check_can_move(
    context: &mut WriteContext<'_>,
    level: Permission,
    change: &Change<'_>,
) -> Result<()> {
    let Some(current) = change.current else { return Ok(()) };
    let old_owners = owners(context.model, change.entity, current);
    let new_owners = owners(context.model, change.entity, &change.updated());
    let is_in = |owners: &[Parent<'_>], owner: &Parent<'_>| owners.iter().any(|other| other.is_same(owner));
    let loses_owner = old_owners.iter().any(|owner| !is_in(&new_owners, owner));
    let gained: Vec<Parent<'_>> = new_owners.iter().filter(|owner| !is_in(&old_owners, owner)).copied().collect();
    if (loses_owner || !gained.is_empty()) && level < Permission::Share {
        return Err(ApiError::Forbidden("Moving it to another parent requires permission to share it.".into()));
    }
    for Parent { code, id, .. } in gained {
        if context.permission_on(code, id).await? < Some(Permission::Create) {
            return Err(ApiError::Forbidden(format!("Moving it there requires permission to create in that {code}.")));
        }
    }
    Ok(())
}

/// Checks that a writer below EDIT changes only columns of contributors.
///
/// The `contributor_column` of such a column, for example `assignee__employee_ids`, lists the
/// contributors, who must include the writer. The writer needs CONTRIBUTE. Columns with
/// [`SELF_CONTRIBUTION`] instead are checked by [`super::validation::check_self_only_columns`].
pub(super) async fn check_contribution(
    context: &mut WriteContext<'_>,
    level: Permission,
    change: &Change<'_>,
) -> Result<()> {
    let forbidden = || ApiError::Forbidden(permission_message(Permission::Edit, level));
    for name in change.values.keys() {
        let contributor_column =
            change.entity.column(name).and_then(|c| c.contributor_column.as_deref()).ok_or_else(forbidden)?;
        if contributor_column == SELF_CONTRIBUTION {
            continue; // checked for every permission level by `check_self_only_columns`
        }
        if level < Permission::Contribute {
            return Err(forbidden());
        }
        let Some(ColumnKind::Reference { entity: target } | ColumnKind::References { entity: target }) =
            change.entity.column(contributor_column).map(|c| &c.kind)
        else {
            return Err(forbidden());
        };
        let contributors = change.current.map(|row| ids_in(row, contributor_column)).unwrap_or_default();
        let (target, person) = (context.model.entity(target)?, context.user.person);
        if !row::any_represents_person(context.conn, target, &contributors, person).await? {
            return Err(forbidden());
        }
    }
    Ok(())
}

/// Checks that newly mentioned people may see the parents, in columns with `must_see_parent`.
pub(super) async fn check_mentions_visible(context: &mut WriteContext<'_>, change: &Change<'_>) -> Result<()> {
    let is_checked = |column: &&Column| column.must_see_parent && change.values.contains_key(&column.name);
    let columns: Vec<&Column> = change.entity.columns.iter().filter(is_checked).collect();
    if columns.is_empty() {
        return Ok(());
    }
    let owners = owners(context.model, change.entity, &change.updated());
    for column in columns {
        let old_ids = change.current.map(|row| ids_in(row, &column.name)).unwrap_or_default();
        let new_ids: BTreeSet<Uuid> = ids_in(change.values, &column.name).into_iter().collect();
        let mentioned: Vec<PersonId> = new_ids.into_iter().filter(|id| !old_ids.contains(id)).map(PersonId).collect();
        for Parent { code, id, .. } in &owners {
            let levels = permission::permissions_of(context.conn, &mentioned, code, &[*id]).await?;
            let without_access: Vec<Uuid> =
                mentioned.iter().filter(|person| !levels.contains_key(&(**person, *id))).map(|p| p.0).collect();
            if !without_access.is_empty() {
                return Err(mention_error(context, &column.name, code, &without_access).await?);
            }
        }
    }
    Ok(())
}

/// Builds the error about mentioned people without access; names those that the writer may see.
async fn mention_error(
    context: &mut WriteContext<'_>,
    column: &str,
    parent: &EntityCode,
    people: &[Uuid],
) -> Result<ApiError> {
    let visible = permission::visible(context.conn, context.user.person, people).await?;
    let names: Vec<String> = visible.into_iter().map(|person| person.title).collect();
    let (subject, verb) = match names.len() {
        0 => ("A mentioned person".to_owned(), "does"),
        1 => (names.join(", "), "does"),
        _ => (names.join(", "), "do"),
    };
    Ok(ApiError::unprocessable(
        column,
        format!("{subject} {verb} not have access to this {parent}: share it first, or remove the mention"),
    ))
}

/// Renders the error message for a missing permission.
pub(crate) fn permission_message(required: Permission, level: Permission) -> String {
    format!("Requires permission to {}; you may {}.", required.label(), level.label())
}
