//! Validation of writes before they are sent to the database: columns, values, option sets.

use crate::error::{ApiError, Result};
use crate::state::EntityModel;
use pmo_domain::api_types::FieldError;
use pmo_domain::{ColumnKind, EntityType, PersonId, Row, SELF_CONTRIBUTION};
use serde_json::Value;
use std::collections::BTreeSet;
use uuid::Uuid;

/// Replaces earlier names of columns by the current ones; fails if a body has both.
pub(super) fn with_current_names(entity: &EntityType, body: &Row) -> Result<Row> {
    let mut renamed = Row::new();
    for (name, value) in body {
        let current = entity.column(name).map_or(name, |column| &column.name);
        if renamed.insert(current.clone(), value.clone()).is_some() {
            return Err(ApiError::unprocessable(current, "is given twice, also under its earlier name"));
        }
    }
    Ok(renamed)
}

/// Validates a body against the columns of the type and returns the normalized values.
///
/// Without a current row (create), required columns must be present. Unchanged values are left out.
/// The error lists all invalid fields.
pub(super) fn validate_body(
    model: &EntityModel,
    entity: &EntityType,
    body: &Value,
    current: Option<&Row>,
) -> Result<Row> {
    let object = body.as_object().ok_or_else(|| ApiError::bad_request("body", "must be a JSON object"))?;
    let object = with_current_names(entity, object)?;
    let mut values = Row::new();
    let mut errors = Vec::new();
    for (name, value) in &object {
        let creating_id = name == "id" && current.is_none();
        let checked = match entity.column(name) {
            // Every response contains these fields, so clients may send them back; they are
            // ignored.
            None if matches!(name.as_str(), "permission" | "ref_data_entityInstance") => continue,
            None => Err("is not a column of this type".to_owned()),
            Some(column) if column.read_only && !creating_id => {
                if current.is_some_and(|row| row.get(name) == Some(value)) {
                    continue;
                }
                Err("is read-only".to_owned())
            }
            Some(column) => column.validate(value).map_err(|error| error.to_string()).and_then(|value| {
                if let (ColumnKind::Datalabel { set }, Some(option)) = (&column.kind, value.as_str()) {
                    let previous = current.and_then(|row| row.get(name)).and_then(Value::as_str);
                    if let Some(set) = model.datalabels.get(set) {
                        set.check_transition(previous, option).map_err(|error| error.to_string())?;
                    }
                }
                Ok(value)
            }),
        };
        match checked {
            Ok(value) => {
                if current.is_none_or(|row| row.get(name) != Some(&value)) {
                    values.insert(name.clone(), value);
                }
            }
            Err(message) => errors.push(FieldError { field: name.chars().take(100).collect(), message }),
        }
    }
    if current.is_none() {
        for column in entity.columns.iter().filter(|c| c.required && !values.contains_key(&c.name)) {
            if !errors.iter().any(|e| e.field == column.name) {
                errors
                    .push(FieldError { field: column.name.clone(), message: format!("{} is required", column.label) });
            }
        }
    }
    if errors.is_empty() { Ok(values) } else { Err(ApiError::UnprocessableEntity(errors)) }
}

/// Maximum number of keys in a self-only column, and maximum length of a key in characters.
const SELF_COLUMN_LIMITS: (usize, usize) = (24, 16);

/// Checks columns in which users may add and remove only themselves.
///
/// The value maps short keys to lists of person ids. Applies at every permission level.
pub(super) fn check_self_only_columns(
    entity: &EntityType,
    person: PersonId,
    values: &Row,
    current: Option<&Row>,
) -> Result<()> {
    for column in entity.columns.iter().filter(|c| c.contributor_column.as_deref() == Some(SELF_CONTRIBUTION)) {
        let Some(new_value) = values.get(&column.name) else { continue };
        let old_value = current.and_then(|row| row.get(&column.name)).cloned().unwrap_or_default();
        let person_ids = |value: &Value, key: &str| -> Option<BTreeSet<Uuid>> {
            let list = value.get(key).map_or(Some(&[][..]), |list| list.as_array().map(Vec::as_slice))?;
            list.iter().map(|id| id.as_str()?.parse().ok()).collect()
        };
        let invalid = |message: &str| ApiError::unprocessable(&column.name, message);
        let keys = new_value.as_object().ok_or_else(|| invalid("must be an object of lists of person ids"))?;
        if keys.len() > SELF_COLUMN_LIMITS.0
            || keys.keys().any(|key| key.is_empty() || key.chars().count() > SELF_COLUMN_LIMITS.1)
        {
            return Err(invalid("has too many keys, or a key that is too long"));
        }
        for key in keys.keys().chain(old_value.as_object().into_iter().flat_map(|old_value| old_value.keys())) {
            let new_ids =
                person_ids(new_value, key).ok_or_else(|| invalid("must be an object of lists of person ids"))?;
            if new_value.get(key).and_then(Value::as_array).is_some_and(|list| list.len() > new_ids.len()) {
                return Err(invalid("must name each person at most once per key"));
            }
            let old_ids = person_ids(&old_value, key).unwrap_or_default();
            if new_ids.symmetric_difference(&old_ids).any(|id| *id != person.0) {
                return Err(invalid("users may add or remove only themselves"));
            }
        }
    }
    Ok(())
}
