//! Authorization of writes: who may create, change, move, refer to and mention what.

use crate::error::{ApiError, Result};
use crate::state::EntityModel;
use pmo_database::{Connection, permission, row};
use pmo_domain::api_types::FieldError;
use pmo_domain::{ChildRelation, ColumnKind, EntityCode, EntityType, Permission, PersonId, Row, SELF_CONTRIBUTION};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Checks that the entities that `values` newly reference exist and are visible to the writer.
///
/// References that the current row already has are not checked.
pub(super) async fn check_references(
    connection: &mut Connection,
    model: &EntityModel,
    person: PersonId,
    entity: &EntityType,
    values: &Row,
    current: Option<&Row>,
) -> Result<()> {
    let mut references: BTreeMap<&str, Vec<(&str, Uuid)>> = BTreeMap::new();
    for column in &entity.columns {
        let (ColumnKind::Reference { entity: target } | ColumnKind::References { entity: target }) = &column.kind
        else {
            continue;
        };
        let ids = match values.get(&column.name) {
            Some(Value::String(id)) => vec![id.as_str()],
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
            _ => continue,
        };
        let current_value = current.and_then(|row| row.get(&column.name));
        let is_unchanged = |id: &str| match current_value {
            Some(Value::String(current)) => current == id,
            Some(Value::Array(items)) => items.iter().any(|current| current.as_str() == Some(id)),
            _ => false,
        };
        for id in ids.into_iter().filter(|id| !is_unchanged(id)).filter_map(|id| id.parse().ok()) {
            references.entry(target).or_default().push((&column.name, id));
        }
    }
    let mut errors: Vec<FieldError> = Vec::new();
    for (target, uses) in references {
        let Some(target) = model.catalog.get(target) else { continue };
        let ids: Vec<Uuid> = uses.iter().map(|u| u.1).collect();
        let existing = row::filter_existing(connection, target, &ids).await?;
        let levels = permission::permissions_of(connection, &[person], &target.code, &ids).await?;
        for (column, id) in uses {
            let visible = existing.contains(&id) && levels.contains_key(&(person, id));
            if !visible && !errors.iter().any(|e| e.field == column) {
                errors.push(FieldError {
                    field: column.to_owned(),
                    message: format!("{} {id} does not exist, or is not visible to you", target.name.to_lowercase()),
                });
            }
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::UnprocessableEntity(errors)) }
}

/// Returns the owning parents that these values reference through columns, with their relations.
pub(super) fn owner_refs<'a>(
    model: &'a EntityModel,
    entity: &'a EntityType,
    values: &Row,
) -> Vec<(&'a EntityCode, Uuid, &'a ChildRelation)> {
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
            type_matches.then_some((&parent.code, id, relation))
        })
        .collect()
}

/// Checks that the writer may create an entity with these values.
///
/// Requires the permission of each relation on its owner; without owners, the permission to create
/// entities of the type. A link that does not own requires EDIT on the parent.
pub(super) async fn check_can_create(
    connection: &mut Connection,
    model: &EntityModel,
    person: PersonId,
    entity: &EntityType,
    values: &Row,
    linked: Option<(&EntityCode, Uuid, &ChildRelation)>,
) -> Result<()> {
    let mut owners = owner_refs(model, entity, values);
    match linked {
        Some((code, id, relation)) if relation.owned => owners.push((&model.entity(code.as_str())?.code, id, relation)),
        Some((code, id, _)) => {
            let level = permission::permission_on(connection, person, code, id).await?.ok_or(ApiError::NotFound)?;
            if level < Permission::Edit {
                return Err(ApiError::Forbidden(permission_message(Permission::Edit, level)));
            }
        }
        None => {}
    }
    // The relation determines the permission: comments, for example, require only COMMENT.
    for (code, id, relation) in &owners {
        let level = permission::permission_on(connection, person, code, *id).await?;
        match level {
            None => {
                let column = relation.parent_column.as_deref().unwrap_or("id");
                return Err(ApiError::unprocessable(
                    column,
                    format!("{code} {id} does not exist, or is not visible to you"),
                ));
            }
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
    if owners.is_empty() && !permission::can_create(connection, person, &entity.code).await? {
        return Err(ApiError::Forbidden(format!("You cannot create {} without a parent.", entity.with_article())));
    }
    Ok(())
}

/// Checks that the writer may change the owners of an entity, if `values` do so.
///
/// Requires SHARE on the entity and CREATE on each new owner.
pub(super) async fn check_can_move(
    connection: &mut Connection,
    model: &EntityModel,
    person: PersonId,
    entity: &EntityType,
    level: Permission,
    current: &Row,
    values: &Row,
) -> Result<()> {
    let mut updated = current.clone();
    updated.extend(values.clone());
    let old_owners = owner_refs(model, entity, current);
    let is_lost = |(code, id, relation): &(&EntityCode, Uuid, &ChildRelation)| {
        !owner_refs(model, entity, &updated)
            .iter()
            .any(|owner| owner.0 == *code && owner.1 == *id && owner.2.parent_column == relation.parent_column)
    };
    let loses_owner = old_owners.iter().any(is_lost);
    let gained: Vec<_> = owner_refs(model, entity, &updated)
        .into_iter()
        .filter(|owner| {
            !old_owners
                .iter()
                .any(|old| old.0 == owner.0 && old.1 == owner.1 && old.2.parent_column == owner.2.parent_column)
        })
        .map(|owner| (owner.0.clone(), owner.1))
        .collect();
    if (loses_owner || !gained.is_empty()) && level < Permission::Share {
        return Err(ApiError::Forbidden("Moving it to another parent requires permission to share it.".into()));
    }
    for (code, id) in gained {
        let target_level = permission::permission_on(connection, person, &code, id).await?;
        if target_level < Some(Permission::Create) {
            return Err(ApiError::Forbidden(format!("Moving it there requires permission to create in that {code}.")));
        }
    }
    Ok(())
}

/// Checks that a writer below EDIT changes only columns of contributors.
///
/// The `contributor_column` of such a column, for example `assignee__employee_ids`, lists the
/// contributors, who must include the writer. The writer needs CONTRIBUTE. Columns with
/// [`SELF_CONTRIBUTION`] instead are checked by [`check_self_only_columns`].
pub(super) async fn check_contribution(
    connection: &mut Connection,
    model: &EntityModel,
    person: PersonId,
    entity: &EntityType,
    level: Permission,
    current: &Row,
    values: &Row,
) -> Result<()> {
    let forbidden = || ApiError::Forbidden(permission_message(Permission::Edit, level));
    for name in values.keys() {
        let contributor_column =
            entity.column(name).and_then(|c| c.contributor_column.as_deref()).ok_or_else(forbidden)?;
        if contributor_column == SELF_CONTRIBUTION {
            continue; // checked for every permission level by `check_self_only_columns`
        }
        if level < Permission::Contribute {
            return Err(forbidden());
        }
        let Some(ColumnKind::Reference { entity: target } | ColumnKind::References { entity: target }) =
            entity.column(contributor_column).map(|c| &c.kind)
        else {
            return Err(forbidden());
        };
        let contributors: Vec<Uuid> = match current.get(contributor_column) {
            Some(Value::String(id)) => id.parse().into_iter().collect(),
            Some(Value::Array(ids)) => ids.iter().filter_map(|id| id.as_str()?.parse().ok()).collect(),
            _ => Vec::new(),
        };
        if !row::any_represents_person(connection, model.entity(target)?, &contributors, person).await? {
            return Err(forbidden());
        }
    }
    Ok(())
}

/// Checks that newly mentioned people may see the parents, in columns with `must_see_parent`.
pub(super) async fn check_mentions_visible(
    connection: &mut Connection,
    model: &EntityModel,
    person: PersonId,
    entity: &EntityType,
    values: &Row,
    current: Option<&Row>,
) -> Result<()> {
    let mut merged = current.cloned().unwrap_or_default();
    merged.extend(values.clone());
    let ids = |row: &Row, name: &str| -> BTreeSet<Uuid> {
        row.get(name)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|id| id.as_str()?.parse().ok())
            .collect()
    };
    for column in entity.columns.iter().filter(|c| c.must_see_parent && values.contains_key(&c.name)) {
        let old_ids = current.map(|row| ids(row, &column.name)).unwrap_or_default();
        let mentioned: Vec<PersonId> = ids(&merged, &column.name).difference(&old_ids).copied().map(PersonId).collect();
        for (code, id, _) in owner_refs(model, entity, &merged) {
            let levels = permission::permissions_of(connection, &mentioned, code, &[id]).await?;
            let without_access: Vec<Uuid> =
                mentioned.iter().filter(|p| !levels.contains_key(&(**p, id))).map(|p| p.0).collect();
            if !without_access.is_empty() {
                let names: Vec<String> = permission::visible(connection, person, &without_access)
                    .await?
                    .into_iter()
                    .map(|visible| visible.title)
                    .collect();
                let (subject, verb) = if names.is_empty() {
                    ("A mentioned person".to_owned(), "does")
                } else {
                    (names.join(", "), if names.len() == 1 { "does" } else { "do" })
                };
                return Err(ApiError::unprocessable(
                    &column.name,
                    format!("{subject} {verb} not have access to this {code}: share it first, or remove the mention"),
                ));
            }
        }
    }
    Ok(())
}

/// Renders the error message for a missing permission.
pub(crate) fn permission_message(required: Permission, level: Permission) -> String {
    format!("Requires permission to {}; you may {}.", required.label(), level.label())
}
