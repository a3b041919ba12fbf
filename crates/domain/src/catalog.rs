//! Entity types as registered in the database: columns, child relations and datalabels.
//!
//! All generic code (API, pages, feed) works from the catalog.
//!
//! Must not: contain a rule for a hard-coded entity type.

use crate::column::Nullability;
use crate::{Column, ColumnKind, EntityCode, Permission};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Relation between a parent type and a child type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(examples(json!({"code": "message", "column": "target_id", "code_column": "target_code", "owned": true, "create_level": 1}))))]
pub struct ChildRelation {
    /// Type code of the child.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub code: EntityCode,
    /// Whether children inherit grants in full.
    ///
    /// Without ownership (lookup), inherited grants are capped at [`Permission::Comment`].
    pub owned: bool,
    /// Column of the child that holds the parent's id; `None` if only a link connects the two.
    #[serde(default)]
    #[serde(rename = "column")]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub parent_column: Option<String>,
    /// Column of the child that holds the parent's type, if the type varies.
    #[serde(default)]
    #[serde(rename = "code_column")]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub parent_type_column: Option<String>,
    /// Permission on the parent that the creation of a child requires.
    #[serde(default = "default_create_permission")]
    #[serde(rename = "create_level")]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub create_permission: Permission,
}

fn default_create_permission() -> Permission {
    Permission::Create
}

/// An entity type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntityType {
    /// Type code; also the name of the table.
    pub code: EntityCode,
    /// Singular display name.
    pub name: String,
    /// Plural display name.
    pub ui_label: String,
    /// Name of an icon from the icon set of the app.
    pub ui_icon: String,
    /// Whether the main navigation contains the type.
    pub root_flag: bool,
    /// Position in the navigation.
    pub display_order: i32,
    /// Relations to the types of possible children.
    pub children: Vec<ChildRelation>,
    /// Columns in the order of the database table.
    pub columns: Vec<Column>,
    /// Display settings of the type, such as the visible table columns and their order.
    #[serde(default)]
    pub config_datatable: Value,
    /// Whether the user may create entities of the type without a parent.
    ///
    /// Depends on the user: the database does not store it, the API adds it to each response.
    #[serde(default = "default_true")]
    #[serde(rename = "may_create")]
    pub can_create: bool,
}

/// Returns the default of flags that are `true` if they are missing.
fn default_true() -> bool {
    true
}

impl EntityType {
    /// Creates a type that is not registered in the database.
    ///
    /// `columns` are names with SQL types; their kinds are inferred as for registered types.
    /// `entities` are the type codes that columns may reference. The type has no children and does
    /// not appear in the navigation.
    pub fn from_columns(code: EntityCode, columns: &[(&str, &str)], entities: &[&str]) -> Self {
        let entities = entities.iter().map(|entity| (*entity).to_owned()).collect();
        let to_column =
            |(name, sql): &(&str, &str)| Column::infer(code.as_str(), name, sql, Nullability::Nullable, &entities);
        Self {
            columns: columns.iter().map(to_column).collect(),
            name: code.to_string(),
            ui_label: code.to_string(),
            ui_icon: String::new(),
            root_flag: false,
            display_order: 0,
            children: Vec::new(),
            config_datatable: Value::Null,
            can_create: default_true(),
            code,
        }
    }

    /// Returns the lower-case singular name with its article, such as "a task" or "an event".
    pub fn with_article(&self) -> String {
        let name = self.name.to_lowercase();
        let article = if name.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" };
        format!("{article} {name}")
    }

    /// Returns the column with the given name, or else the column that had this name earlier.
    ///
    /// Callers that accept names from outside use the name of the returned column from then on.
    pub fn column(&self, name: &str) -> Option<&Column> {
        let by_name = self.columns.iter().find(|c| c.name == name);
        by_name.or_else(|| self.columns.iter().find(|c| c.formerly.as_deref() == Some(name)))
    }

    /// Returns the column that holds the workflow stage of an entity.
    ///
    /// The first datalabel column whose set ends with `_stage`, otherwise with `_status`.
    pub fn stage_column(&self) -> Option<&Column> {
        let find_by_suffix = |suffix: &str| {
            self.columns.iter().find(move |c| matches!(&c.kind, ColumnKind::Datalabel { set } if set.ends_with(suffix)))
        };
        find_by_suffix("_stage").or_else(|| find_by_suffix("_status"))
    }

    /// Returns the `metadata` of a response to `?content=metadata`.
    pub fn metadata(&self) -> Value {
        let collect_entries = |is_included: &dyn Fn(&Column) -> bool, to_entry: &dyn Fn(&Column) -> Value| -> Value {
            Value::Object(
                self.columns
                    .iter()
                    .filter(|c| is_included(c))
                    .map(|c| (c.name.clone(), to_entry(c)))
                    .collect::<Map<_, _>>(),
            )
        };
        let view = collect_entries(&|c| !c.hidden, &Column::view_metadata);
        let edit = collect_entries(&|c| !c.hidden && !c.read_only, &Column::edit_metadata);
        let mut metadata = json!({
            "entityListOfInstancesTable": {"viewType": view, "editType": edit},
            "entityInstanceFormContainer": {"viewType": view, "editType": edit},
        });
        if let Some(stage) = self.stage_column() {
            metadata["kanbanView"] = json!({"groupBy": stage.name, "lookupDatalabel": match &stage.kind {
                ColumnKind::Datalabel { set } => set.as_str(),
                _ => "",
            }});
        }
        metadata
    }
}

/// All entity types.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    /// Entity types by code.
    pub types: BTreeMap<EntityCode, EntityType>,
}

impl Catalog {
    /// Returns the type with the given code.
    pub fn get(&self, code: &str) -> Option<&EntityType> {
        self.types.iter().find(|(c, _)| c.as_str() == code).map(|(_, t)| t)
    }

    /// Returns the relation between a parent type and a child type, if one exists.
    pub fn child_relation(&self, parent: &str, child: &str) -> Option<&ChildRelation> {
        self.get(parent)?.children.iter().find(|c| c.code == child)
    }

    /// Returns the possible parent types of `child`, each with the relation.
    pub fn parent_relations<'a>(&'a self, child: &'a str) -> impl Iterator<Item = (&'a EntityType, &'a ChildRelation)> {
        self.types.values().flat_map(move |t| t.children.iter().filter(move |c| c.code == child).map(move |c| (t, c)))
    }
}

/// An option of a datalabel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(examples(json!({"id": 4, "name": "In Progress", "descr": null, "color_code": "amber", "display_order": 40, "parent_ids": [], "terminal_flag": false, "active_flag": true}))))]
pub struct LabelOption {
    /// Number of the option in its datalabel, from 1.
    pub id: i32,
    /// Display name; rows store this name.
    pub name: String,
    /// Description.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub descr: Option<String>,
    /// Name of a color.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub color_code: Option<String>,
    /// Position in the display order.
    pub display_order: i32,
    /// Numbers of the options from which a transition to this one is allowed; empty for all.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub parent_ids: Vec<i32>,
    /// Whether the option is a final state.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub terminal_flag: bool,
    /// Whether users can select the option.
    #[serde(default = "default_true")]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub active_flag: bool,
}

/// Error for a change of an option that the datalabel does not allow.
///
/// The text is a message for people: a predicate for the name of the column.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransitionError {
    /// The new value is not an active option.
    #[error("must be one of {}", options.join(", "))]
    UnknownOption {
        /// Names of the active options in display order.
        options: Vec<String>,
    },
    /// The new option does not list the previous one as a parent.
    #[error("cannot change from {from} to {to}")]
    NotAllowed {
        /// Name of the previous option.
        from: String,
        /// Name of the new option.
        to: String,
    },
}

/// A named, ordered set of options.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(examples(json!({"name": "task_stage", "options": [{"id": 4, "name": "In Progress", "descr": null, "color_code": "amber", "display_order": 40, "parent_ids": [], "terminal_flag": false, "active_flag": true}]}))))]
pub struct Datalabel {
    /// Name of the datalabel, such as `task_stage`.
    pub name: String,
    /// Options in display order.
    pub options: Vec<LabelOption>,
    /// Whether the code knows the names of the options, so that administrators cannot change them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[serde(rename = "fixed_flag")]
    pub is_fixed: bool,
}

impl Datalabel {
    /// Checks whether a row may change from option `from` to option `to`.
    ///
    /// Always allowed if the two are equal, even if the option is no longer active. Otherwise `to`
    /// must be an active option. If it lists parent options, `from` must be one of them, unless
    /// `from` is `None` (no value yet) or an unknown option.
    pub fn check_transition(&self, from: Option<&str>, to: &str) -> Result<(), TransitionError> {
        if from == Some(to) {
            return Ok(());
        }
        let active = || self.options.iter().filter(|o| o.active_flag);
        let Some(target) = active().find(|o| o.name == to) else {
            return Err(TransitionError::UnknownOption { options: active().map(|o| o.name.clone()).collect() });
        };
        let Some(from) = from else { return Ok(()) };
        let source = self.options.iter().find(|o| o.name == from);
        match source {
            Some(source) if !target.parent_ids.is_empty() && !target.parent_ids.contains(&source.id) => {
                Err(TransitionError::NotAllowed { from: from.to_owned(), to: to.to_owned() })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(id: i32, name: &str, parent_ids: Vec<i32>) -> LabelOption {
        LabelOption {
            id,
            name: name.into(),
            descr: None,
            color_code: None,
            display_order: id,
            parent_ids,
            terminal_flag: false,
            active_flag: true,
        }
    }

    #[test]
    fn row_keeps_an_option_that_was_deactivated() {
        let retired = LabelOption { active_flag: false, ..option(1, "Retired", vec![]) };
        let datalabel =
            Datalabel { name: "s".into(), options: vec![retired, option(2, "Open", vec![])], is_fixed: false };
        assert_eq!(datalabel.check_transition(Some("Retired"), "Retired"), Ok(()));
        assert_eq!(datalabel.check_transition(Some("Retired"), "Open"), Ok(()));
        assert!(datalabel.check_transition(Some("Open"), "Retired").is_err());
    }

    #[test]
    fn transition_follows_the_parent_options() {
        let datalabel = Datalabel {
            name: "s".into(),
            options: vec![option(1, "Draft", vec![]), option(2, "Sent", vec![1]), option(3, "Paid", vec![2])],
            is_fixed: false,
        };
        assert!(datalabel.check_transition(Some("Draft"), "Sent").is_ok());
        assert!(datalabel.check_transition(Some("Sent"), "Draft").is_ok());
        assert!(datalabel.check_transition(None, "Paid").is_ok());
        assert_eq!(
            datalabel.check_transition(Some("Draft"), "Paid").unwrap_err().to_string(),
            "cannot change from Draft to Paid"
        );
        assert!(datalabel.check_transition(None, "Lost").unwrap_err().to_string().contains("Draft, Sent, Paid"));
    }
}
