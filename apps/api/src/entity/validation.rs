//! What a write must obey before it reaches the database: known columns, right values, option sets, references that the writer
//! may see, and leave to put things where they go.

use crate::error::{ApiError, Result};
use crate::state::EntityModel;
use pmo_database::{Connection, permission, row};
use pmo_domain::api_types::FieldError;
use pmo_domain::{ChildRelation, ColumnKind, EntityCode, EntityType, Permission, PersonId, Row, SELF_CONTRIBUTION};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Checks a body against the type's columns and gives the values in their normal form; every wrong field is told.
pub fn validate_body(model: &EntityModel, entity: &EntityType, body: &Value, present: Option<&Row>) -> Result<Row> {
    let object = body.as_object().ok_or_else(|| ApiError::bad_request("body", "must be a JSON object"))?;
    let mut values = Row::new();
    let mut errors = Vec::new();
    for (name, value) in object {
        let creating_id = name == "id" && present.is_none();
        let checked = match entity.column(name) {
            // What every answer carries may come back with it; it says nothing here.
            None if matches!(name.as_str(), "permission" | "ref_data_entityInstance") => continue,
            None => Err("is not a column of this type".to_owned()),
            Some(column) if column.read_only && !creating_id => {
                if present.is_some_and(|row| row.get(name) == Some(value)) {
                    continue;
                }
                Err("can't be written".to_owned())
            }
            Some(column) => column.validate(value).and_then(|value| {
                if let (ColumnKind::Datalabel { set }, Some(option)) = (&column.kind, value.as_str()) {
                    let from = present.and_then(|row| row.get(name)).and_then(Value::as_str);
                    if let Some(set) = model.datalabels.get(set) {
                        set.check_transition(from, option)?;
                    }
                }
                Ok(value)
            }),
        };
        match checked {
            Ok(value) => {
                if present.is_none_or(|row| row.get(name) != Some(&value)) {
                    values.insert(name.clone(), value);
                }
            }
            Err(message) => errors.push(FieldError { field: name.chars().take(100).collect(), message }),
        }
    }
    if present.is_none() {
        for column in entity.columns.iter().filter(|c| c.required && !values.contains_key(&c.name)) {
            if !errors.iter().any(|e| e.field == column.name) {
                errors.push(FieldError { field: column.name.clone(), message: format!("{} is needed", column.label) });
            }
        }
    }
    if errors.is_empty() { Ok(values) } else { Err(ApiError::UnprocessableEntity(errors)) }
}

/// Checks that everything that `values` refer to anew exists and may be seen by the writer; what the row refers to already stays as it is.
pub async fn check_references(
    connection: &mut Connection,
    model: &EntityModel,
    person: PersonId,
    entity: &EntityType,
    values: &Row,
    present: Option<&Row>,
) -> Result<()> {
    let mut wanted: BTreeMap<&str, Vec<(&str, Uuid)>> = BTreeMap::new();
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
        let kept = present.and_then(|row| row.get(&column.name));
        let is_kept = |id: &str| match kept {
            Some(Value::String(present)) => present == id,
            Some(Value::Array(items)) => items.iter().any(|present| present.as_str() == Some(id)),
            _ => false,
        };
        for id in ids.into_iter().filter(|id| !is_kept(id)).filter_map(|id| id.parse().ok()) {
            wanted.entry(target).or_default().push((&column.name, id));
        }
    }
    let mut errors: Vec<FieldError> = Vec::new();
    for (target, uses) in wanted {
        let Some(target) = model.catalogue.get(target) else { continue };
        let ids: Vec<Uuid> = uses.iter().map(|u| u.1).collect();
        let existing = row::filter_existing(connection, target, &ids).await?;
        let levels = permission::permissions_of(connection, &[person], &target.code, &ids).await?;
        for (column, id) in uses {
            let visible = existing.contains(&id) && levels.contains_key(&(person, id));
            if !visible && !errors.iter().any(|e| e.field == column) {
                errors.push(FieldError {
                    field: column.to_owned(),
                    message: format!("there is no {} {id} that you may see", target.name.to_lowercase()),
                });
            }
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::UnprocessableEntity(errors)) }
}

/// The owners that a row of these values hangs below.
pub fn owner_refs<'a>(
    model: &'a EntityModel,
    entity: &'a EntityType,
    values: &Row,
) -> Vec<(&'a EntityCode, Uuid, &'a ChildRelation)> {
    model
        .catalogue
        .parent_relations(entity.code.as_str())
        .filter(|(_, tie)| tie.owned)
        .filter_map(|(parent, tie)| {
            let id = values.get(tie.parent_column.as_ref()?)?.as_str()?.parse().ok()?;
            let fits = tie
                .parent_type_column
                .as_ref()
                .is_none_or(|c| values.get(c).and_then(Value::as_str) == Some(parent.code.as_str()));
            fits.then_some((&parent.code, id, tie))
        })
        .collect()
}

/// Checks that the writer may make a thing of these values: below its owners, or on its own.
pub async fn check_can_create(
    connection: &mut Connection,
    model: &EntityModel,
    person: PersonId,
    entity: &EntityType,
    values: &Row,
    linked: Option<(&EntityCode, Uuid, &ChildRelation)>,
) -> Result<()> {
    let mut owners = owner_refs(model, entity, values);
    match linked {
        Some((code, id, tie)) if tie.owned => owners.push((&model.entity(code.as_str())?.code, id, tie)),
        Some((code, id, _)) => {
            let level = permission::permission_on(connection, person, code, id).await?.ok_or(ApiError::NotFound)?;
            if level < Permission::Edit {
                return Err(ApiError::Forbidden(super::mutation::permission_message(Permission::Edit, level)));
            }
        }
        None => {}
    }
    // A comment on a thing is written by whoever may comment there.
    for (code, id, tie) in &owners {
        let level = permission::permission_on(connection, person, code, *id).await?;
        match level {
            None => {
                let column = tie.parent_column.as_deref().unwrap_or("id");
                return Err(ApiError::unprocessable(column, format!("there is no {code} {id} that you may see")));
            }
            Some(level) if level < tie.create_permission => {
                return Err(ApiError::Forbidden(format!(
                    "Making {} here asks for the right to {} on the {code}; you may {}.",
                    entity.with_article(),
                    tie.create_permission.label(),
                    level.label()
                )));
            }
            Some(_) => {}
        }
    }
    if owners.is_empty() && !permission::may_create(connection, person, &entity.code).await? {
        return Err(ApiError::Forbidden(format!("You may not make {} of its own.", entity.with_article())));
    }
    Ok(())
}

/// Checks that the writer may move a thing, where `values` give it another owner: SHARE on it and CREATE on the new owner.
pub async fn check_can_move(
    connection: &mut Connection,
    model: &EntityModel,
    person: PersonId,
    entity: &EntityType,
    level: Permission,
    present: &Row,
    values: &Row,
) -> Result<()> {
    let mut after = present.clone();
    after.extend(values.clone());
    let before = owner_refs(model, entity, present);
    let leaves = |(code, id, tie): &(&EntityCode, Uuid, &ChildRelation)| {
        !owner_refs(model, entity, &after)
            .iter()
            .any(|o| o.0 == *code && o.1 == *id && o.2.parent_column == tie.parent_column)
    };
    let moved_away = before.iter().any(leaves);
    let gained: Vec<_> = owner_refs(model, entity, &after)
        .into_iter()
        .filter(|o| !before.iter().any(|b| b.0 == o.0 && b.1 == o.1 && b.2.parent_column == o.2.parent_column))
        .map(|o| (o.0.clone(), o.1))
        .collect();
    if (moved_away || !gained.is_empty()) && level < Permission::Share {
        return Err(ApiError::Forbidden("Moving it elsewhere asks for the right to share it.".into()));
    }
    for (code, id) in gained {
        let there = permission::permission_on(connection, person, &code, id).await?;
        if there < Some(Permission::Create) {
            return Err(ApiError::Forbidden(format!(
                "Moving it there asks for the right to create below that {code}."
            )));
        }
    }
    Ok(())
}

/// Checks that somebody who may log work, and no more, changes only what is for that: columns whose metadata name the column of the
/// people who may (`"contribute": "assignee__employee_ids"`), with the writer among them.
pub async fn check_contribution(
    connection: &mut Connection,
    model: &EntityModel,
    person: PersonId,
    entity: &EntityType,
    level: Permission,
    present: &Row,
    values: &Row,
) -> Result<()> {
    let refusal = || ApiError::Forbidden(super::mutation::permission_message(Permission::Edit, level));
    for name in values.keys() {
        let by = entity.column(name).and_then(|c| c.contributor_column.as_deref()).ok_or_else(refusal)?;
        if by == SELF_CONTRIBUTION {
            continue; // what each may write there is the same for every level: `each_writes_themselves`
        }
        if level < Permission::Contribute {
            return Err(refusal());
        }
        let Some(ColumnKind::Reference { entity: target } | ColumnKind::References { entity: target }) =
            entity.column(by).map(|c| &c.kind)
        else {
            return Err(refusal());
        };
        let named: Vec<Uuid> = match present.get(by) {
            Some(Value::String(id)) => id.parse().into_iter().collect(),
            Some(Value::Array(ids)) => ids.iter().filter_map(|id| id.as_str()?.parse().ok()).collect(),
            _ => Vec::new(),
        };
        if !row::any_represents_person(connection, model.entity(target)?, &named, person).await? {
            return Err(refusal());
        }
    }
    Ok(())
}

/// Most keys of a column in which everybody writes themselves, and the longest of them, in characters.
const SELF_COLUMN_LIMITS: (usize, usize) = (24, 16);

/// Checks the columns in which everybody writes themselves (`"contribute": "self"`): lists of people by a short key, of which a writer adds and takes away
/// their own id alone, whatever else they may do.
pub fn check_self_only_columns(
    entity: &EntityType,
    person: PersonId,
    values: &Row,
    present: Option<&Row>,
) -> Result<()> {
    for column in entity.columns.iter().filter(|c| c.contributor_column.as_deref() == Some(SELF_CONTRIBUTION)) {
        let Some(after) = values.get(&column.name) else { continue };
        let before = present.and_then(|row| row.get(&column.name)).cloned().unwrap_or_default();
        let people = |all: &Value, key: &str| -> Option<BTreeSet<Uuid>> {
            let list = all.get(key).map_or(Some(&[][..]), |list| list.as_array().map(Vec::as_slice))?;
            list.iter().map(|id| id.as_str()?.parse().ok()).collect()
        };
        let wrong = |message: &str| ApiError::unprocessable(&column.name, message);
        let keys = after.as_object().ok_or_else(|| wrong("must be lists of people by key"))?;
        if keys.len() > SELF_COLUMN_LIMITS.0
            || keys.keys().any(|key| key.is_empty() || key.chars().count() > SELF_COLUMN_LIMITS.1)
        {
            return Err(wrong("has too many keys, or one that is too long"));
        }
        for key in keys.keys().chain(before.as_object().into_iter().flat_map(|before| before.keys())) {
            let now = people(after, key).ok_or_else(|| wrong("must be lists of people by key"))?;
            let then = people(&before, key).unwrap_or_default();
            if now.symmetric_difference(&then).any(|id| *id != person.0) {
                return Err(wrong("everybody adds and takes away themselves alone"));
            }
        }
    }
    Ok(())
}

/// Checks that whoever `values` name anew in a column for those who see the thing above (`"sees_owner": true`) does.
pub async fn check_mentions_visible(
    connection: &mut Connection,
    model: &EntityModel,
    person: PersonId,
    entity: &EntityType,
    values: &Row,
    present: Option<&Row>,
) -> Result<()> {
    let mut whole = present.cloned().unwrap_or_default();
    whole.extend(values.clone());
    let ids = |row: &Row, name: &str| -> BTreeSet<Uuid> {
        row.get(name)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|id| id.as_str()?.parse().ok())
            .collect()
    };
    for column in entity.columns.iter().filter(|c| c.must_see_parent && values.contains_key(&c.name)) {
        let known = present.map(|row| ids(row, &column.name)).unwrap_or_default();
        let named: Vec<PersonId> = ids(&whole, &column.name).difference(&known).copied().map(PersonId).collect();
        for (code, id, _) in owner_refs(model, entity, &whole) {
            let levels = permission::permissions_of(connection, &named, code, &[id]).await?;
            let blind: Vec<Uuid> = named.iter().filter(|p| !levels.contains_key(&(**p, id))).map(|p| p.0).collect();
            if !blind.is_empty() {
                let names: Vec<String> =
                    permission::visible(connection, person, &blind).await?.into_iter().map(|seen| seen.title).collect();
                let (who, verb) = if names.is_empty() {
                    ("Somebody".to_owned(), "does")
                } else {
                    (names.join(", "), if names.len() == 1 { "does" } else { "do" })
                };
                return Err(ApiError::unprocessable(
                    &column.name,
                    format!(
                        "{who} {verb} not see this {code}, and would not read it: share it first, or take the name out"
                    ),
                ));
            }
        }
    }
    Ok(())
}
