//! Entity types as the database registers them: columns, children, labels. Everything generic (API, pages, feed) reads this and
//! must never ask for a type by name.

use crate::{Column, ColumnKind, EntityCode, Permission};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A type of child and how it is tied to its parent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildRelation {
    /// The child's type.
    pub code: EntityCode,
    /// Grants flow down whole to owned children; through a lookup they are worth a comment at most.
    pub owned: bool,
    /// The child's column that names the parent; `None` where only a link ties them.
    #[serde(default)]
    #[serde(rename = "column")]
    pub parent_column: Option<String>,
    /// The child's column that names the parent's type, where that varies.
    #[serde(default)]
    #[serde(rename = "code_column")]
    pub parent_type_column: Option<String>,
    /// The level on the parent that making such a child asks for.
    #[serde(default = "create_level")]
    #[serde(rename = "create_level")]
    pub create_permission: Permission,
}

fn create_level() -> Permission {
    Permission::Create
}

/// An entity type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntityType {
    /// The code, which is also the table's name.
    pub code: EntityCode,
    /// One of them, in words.
    pub name: String,
    /// Several of them, in words.
    pub ui_label: String,
    /// An icon of the set that the app carries.
    pub ui_icon: String,
    /// Shown in the main navigation.
    pub root_flag: bool,
    /// Order in the navigation.
    pub display_order: i32,
    /// What can hang below.
    pub children: Vec<ChildRelation>,
    /// Columns in the table's order.
    pub columns: Vec<Column>,
    /// Which columns a table shows, in order.
    #[serde(default)]
    pub config_datatable: Value,
    /// Whether the reader may make one that hangs below nothing. What the database knows of types says nothing of readers; the api adds it.
    #[serde(default = "default_true")]
    #[serde(rename = "may_create")]
    pub can_create: bool,
}

/// A reader who was not told may try.
fn default_true() -> bool {
    true
}

impl EntityType {
    /// A type that the database does not register: its code and its columns with their SQL types, kinds inferred as the database's are. `entities` are the
    /// types that columns may refer to. Without children, and in no navigation.
    pub fn from_columns(code: EntityCode, columns: &[(&str, &str)], entities: &[&str]) -> Self {
        let entities = entities.iter().map(|entity| (*entity).to_owned()).collect();
        let columns = columns.iter().map(|(name, sql)| Column::infer(code.as_str(), name, sql, false, &entities));
        Self {
            columns: columns.collect(),
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

    /// One of them in a sentence: 'a task', 'an event'.
    pub fn with_article(&self) -> String {
        let name = self.name.to_lowercase();
        let article = if name.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" };
        format!("{article} {name}")
    }

    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// The column that says how far along a thing is: the type's `*_stage`, else its `*_status`.
    pub fn stage_column(&self) -> Option<&Column> {
        let ending = |suffix: &str| {
            self.columns.iter().find(move |c| matches!(&c.kind, ColumnKind::Datalabel { set } if set.ends_with(suffix)))
        };
        ending("_stage").or_else(|| ending("_status"))
    }

    /// The `metadata` of `?content=metadata`.
    pub fn metadata(&self) -> Value {
        let entries = |shown: &dyn Fn(&Column) -> bool, entry: &dyn Fn(&Column) -> Value| -> Value {
            Value::Object(
                self.columns.iter().filter(|c| shown(c)).map(|c| (c.name.clone(), entry(c))).collect::<Map<_, _>>(),
            )
        };
        let view = entries(&|c| !c.hidden, &Column::view_metadata);
        let edit = entries(&|c| !c.hidden && !c.read_only, &Column::edit_metadata);
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
    /// By code.
    pub types: BTreeMap<EntityCode, EntityType>,
}

impl Catalog {
    /// The type of that code.
    pub fn get(&self, code: &str) -> Option<&EntityType> {
        self.types.iter().find(|(c, _)| c.as_str() == code).map(|(_, t)| t)
    }

    /// The tie between a parent type and a child type, if there is one.
    pub fn child_relation(&self, parent: &str, child: &str) -> Option<&ChildRelation> {
        self.get(parent)?.children.iter().find(|c| c.code == child)
    }

    /// The types that can be above `child`, each with its tie.
    pub fn parent_relations<'a>(&'a self, child: &'a str) -> impl Iterator<Item = (&'a EntityType, &'a ChildRelation)> {
        self.types.values().flat_map(move |t| t.children.iter().filter(move |c| c.code == child).map(move |c| (t, c)))
    }
}

/// An option of a datalabel set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelOption {
    /// Its place in the set, from 1.
    pub id: i32,
    /// What rows store and people read.
    pub name: String,
    /// What it means.
    #[serde(default)]
    pub descr: Option<String>,
    /// Colour by name.
    #[serde(default)]
    pub color_code: Option<String>,
    /// Order of display.
    pub display_order: i32,
    /// Options that may come before this one; none: any.
    #[serde(default)]
    pub parent_ids: Vec<i32>,
    /// Nothing comes after it.
    #[serde(default)]
    pub terminal_flag: bool,
    /// Offered for choice.
    #[serde(default = "default_true")]
    pub active_flag: bool,
}

/// A named, ordered option set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Datalabel {
    /// The set's name, such as `task_stage`.
    pub name: String,
    /// In order of display.
    pub options: Vec<LabelOption>,
}

impl Datalabel {
    /// Whether a row may go from option `from` (`None`: it had none) to option `to`: `to` must be an active option, and where
    /// the set draws arrows, one must lead there.
    pub fn check_transition(&self, from: Option<&str>, to: &str) -> Result<(), String> {
        let Some(target) = self.options.iter().find(|o| o.name == to && o.active_flag) else {
            let names: Vec<_> = self.options.iter().filter(|o| o.active_flag).map(|o| o.name.as_str()).collect();
            return Err(format!("must be one of {}", names.join(", ")));
        };
        let Some(from) = from.filter(|f| *f != to) else { return Ok(()) };
        let source = self.options.iter().find(|o| o.name == from);
        match source {
            Some(source) if !target.parent_ids.is_empty() && !target.parent_ids.contains(&source.id) => {
                Err(format!("can't go from {from} to {to}"))
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
    fn a_stage_moves_only_along_the_arrows_that_its_set_draws() {
        let set = Datalabel {
            name: "s".into(),
            options: vec![option(1, "Draft", vec![]), option(2, "Sent", vec![1]), option(3, "Paid", vec![2])],
        };
        assert!(set.check_transition(Some("Draft"), "Sent").is_ok());
        assert!(set.check_transition(Some("Sent"), "Draft").is_ok());
        assert!(set.check_transition(None, "Paid").is_ok());
        assert_eq!(set.check_transition(Some("Draft"), "Paid").unwrap_err(), "can't go from Draft to Paid");
        assert!(set.check_transition(None, "Lost").unwrap_err().contains("Draft, Sent, Paid"));
    }
}
