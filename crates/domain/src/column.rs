//! Columns: the kind that a column's name implies, and the values that it accepts.
//!
//! The name determines the kind: `*_amt` is money, `dl__x` is an option of the datalabel `x`.
//!
//! Must not: know a particular entity type.

mod validation;

pub use validation::ColumnError;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Maximum length of a `name` column, in characters.
pub const MAX_NAME_LEN: usize = 500;
/// Maximum length of any other text, in characters.
pub const MAX_TEXT_LEN: usize = 100_000;
/// Maximum number of elements in a list of references or texts.
pub const MAX_REFERENCES: usize = 500;

/// The kind of a column: type and format of its values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ColumnKind {
    /// The id of the row itself.
    Id,
    /// Text of one line.
    #[serde(rename = "line")]
    ShortText,
    /// Markdown text of any number of lines.
    #[serde(rename = "text")]
    LongText,
    /// Any JSON value.
    Json,
    /// `true` or `false`.
    #[serde(rename = "flag")]
    Boolean,
    /// A timestamp in RFC 3339 form.
    Timestamp,
    /// A date and time without a time zone in `YYYY-MM-DDTHH:MM:SS` form, as on the wall clock.
    LocalTimestamp,
    /// A calendar date in `YYYY-MM-DD` form.
    Date,
    /// An amount as decimal text, never as a float.
    Money,
    /// A percentage from 0 to 100.
    Percent,
    /// A number of hours, with fractions.
    Hours,
    /// A number of days, with fractions.
    Days,
    /// A number of minutes with one decimal; negative for a lag that brings forward.
    Minutes,
    /// A whole number.
    Integer,
    /// Any other number.
    Number,
    /// The name of an option of a datalabel.
    #[serde(rename = "label")]
    Datalabel {
        /// Name of the datalabel.
        set: String,
    },
    /// The id of another entity.
    Reference {
        /// Type code of the referenced entity.
        entity: String,
    },
    /// A list of ids of entities of one type.
    References {
        /// Type code of the referenced entities.
        entity: String,
    },
    /// An id of an entity whose type the name does not imply.
    Uuid,
    /// A list of short texts.
    #[serde(rename = "texts")]
    TextList,
}

/// A column of an entity type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Column {
    /// Name in the database and in JSON.
    pub name: String,
    /// Kind of the values.
    #[serde(flatten)]
    pub kind: ColumnKind,
    /// PostgreSQL type, such as `numeric`.
    pub sql_type: String,
    /// Label in the user interface.
    pub label: String,
    /// Whether the API requires a value.
    pub required: bool,
    /// Whether the database column is `NOT NULL`.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub not_null: bool,
    /// Whether only the server writes the column.
    pub read_only: bool,
    /// Whether tables and forms omit the column.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub hidden: bool,
    /// Column that lists the people who may write this column with CONTRIBUTE.
    ///
    /// [`SELF_CONTRIBUTION`] marks a JSON object of lists of people, such as reactions: each person
    /// with COMMENT may add and remove only themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contributor_column: Option<String>,
    /// Whether referenced people must be able to view the parent.
    ///
    /// Example: people who are mentioned in a comment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub must_see_parent: bool,
    /// Earlier name, which request bodies may still use.
    ///
    /// Devices may hold unsent writes that an earlier build queued under this name. Known to the
    /// server only.
    #[serde(skip)]
    pub formerly: Option<String>,
    /// Number of digits that the database stores; `None` without a limit. Known to the server only.
    #[serde(skip)]
    pub digits: Option<NumericDigits>,
}

/// Number of digits of a `numeric` column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumericDigits {
    /// Maximum number of digits before the decimal point.
    pub integer: u8,
    /// Number of digits after the decimal point; the database rounds to them.
    pub fraction: u8,
}

/// Whether a database column accepts null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nullability {
    /// The column accepts null.
    Nullable,
    /// The column is `NOT NULL`.
    NotNull,
}

/// Value of [`Column::contributor_column`]: each person may add and remove only themselves.
pub const SELF_CONTRIBUTION: &str = "self";

/// Columns that every entity table has and that only the server writes.
const SERVER_MANAGED_COLUMNS: [&str; 5] = ["id", "active_flag", "created_ts", "updated_ts", "version"];

impl Column {
    /// Infers kind, label and flags from the column's name and its PostgreSQL type.
    ///
    /// `entities` are the known type codes: a name such as `manager__employee_id` is a reference
    /// only if `employee` is one of them.
    pub fn infer(
        entity: &str,
        name: &str,
        sql_type: &str,
        nullability: Nullability,
        entities: &BTreeSet<String>,
    ) -> Self {
        let not_null = nullability == Nullability::NotNull;
        let kind = infer_kind(name, sql_type, entities);
        let read_only = SERVER_MANAGED_COLUMNS.contains(&name);
        let hidden = read_only || matches!(name, "metadata" | "from_ts" | "to_ts" | "rank");
        Self {
            label: infer_label(entity, name, &kind),
            required: not_null && name == "name",
            not_null,
            kind,
            name: name.to_owned(),
            sql_type: sql_type.to_owned(),
            read_only,
            hidden,
            contributor_column: None,
            must_see_parent: false,
            formerly: None,
            digits: None,
        }
    }

    /// Applies an entry of `column_metadata`.
    ///
    /// Supported keys: `label`, `required`, `read_only`, `hidden`, `contributor_column`,
    /// `must_see_parent`, `formerly` and `kind`. The value of `kind` is `line`, `text`,
    /// `percent`, `number` or, for a `uuid[]` column, `references` with `entity`; other values are
    /// ignored.
    pub fn override_with(&mut self, entry: &Value) {
        if let Some(label) = entry.get("label").and_then(Value::as_str) {
            self.label = label.to_owned();
        }
        let apply_flag = |key: &str, target: &mut bool| {
            if let Some(value) = entry.get(key).and_then(Value::as_bool) {
                *target = value;
            }
        };
        if let Some(contributor_column) = entry.get("contributor_column").and_then(Value::as_str) {
            self.contributor_column = Some(contributor_column.to_owned());
        }
        if let Some(formerly) = entry.get("formerly").and_then(Value::as_str) {
            self.formerly = Some(formerly.to_owned());
        }
        apply_flag("must_see_parent", &mut self.must_see_parent);
        apply_flag("required", &mut self.required);
        apply_flag("read_only", &mut self.read_only);
        apply_flag("hidden", &mut self.hidden);
        if let Some(kind) = entry.get("kind").and_then(Value::as_str) {
            let entity = || entry.get("entity").and_then(Value::as_str).map(str::to_owned);
            match kind {
                "references" if self.sql_type == "uuid[]" => {
                    self.kind = entity().map_or(self.kind.clone(), |entity| ColumnKind::References { entity });
                }
                "line" => self.kind = ColumnKind::ShortText,
                "text" => self.kind = ColumnKind::LongText,
                "percent" => self.kind = ColumnKind::Percent,
                "number" => self.kind = ColumnKind::Number,
                _ => {}
            }
        }
    }

    /// Returns the column's entry in `viewType`.
    pub fn view_metadata(&self) -> Value {
        let mut entry = json!({"dtype": self.dtype(), "label": self.label, "renderType": self.render_type()});
        self.add_lookup(&mut entry);
        entry
    }

    /// Returns the column's entry in `editType`.
    pub fn edit_metadata(&self) -> Value {
        let mut entry = json!({
            "dtype": self.dtype(), "label": self.label, "inputType": self.render_type(), "required": self.required,
        });
        self.add_lookup(&mut entry);
        entry
    }

    fn add_lookup(&self, entry: &mut Value) {
        match &self.kind {
            ColumnKind::Datalabel { set } => entry["lookupDatalabel"] = json!(set),
            ColumnKind::Reference { entity } | ColumnKind::References { entity } => {
                entry["lookupEntity"] = json!(entity);
            }
            _ => {}
        }
    }

    /// Returns the data type that the metadata states for the column's values.
    pub fn dtype(&self) -> &'static str {
        match self.kind {
            ColumnKind::Boolean => "boolean",
            ColumnKind::Percent | ColumnKind::Hours | ColumnKind::Days | ColumnKind::Minutes | ColumnKind::Number => {
                "number"
            }
            ColumnKind::Integer => "integer",
            ColumnKind::References { .. } => "uuid[]",
            ColumnKind::TextList => "text[]",
            ColumnKind::Json => "json",
            ColumnKind::Id | ColumnKind::Uuid | ColumnKind::Reference { .. } => "uuid",
            ColumnKind::Date => "date",
            ColumnKind::Timestamp => "timestamp",
            ColumnKind::LocalTimestamp => "local_timestamp",
            ColumnKind::Money => "decimal",
            ColumnKind::ShortText | ColumnKind::LongText | ColumnKind::Datalabel { .. } => "text",
        }
    }

    /// Returns the name of the renderer and editor for the column.
    pub fn render_type(&self) -> &'static str {
        match self.kind {
            ColumnKind::Id | ColumnKind::Uuid => "id",
            ColumnKind::ShortText => "line",
            ColumnKind::LongText => "markdown",
            ColumnKind::Json => "json",
            ColumnKind::Boolean => "flag",
            ColumnKind::Timestamp => "timestamp",
            ColumnKind::LocalTimestamp => "local_timestamp",
            ColumnKind::Date => "date",
            ColumnKind::Money => "money",
            ColumnKind::Percent => "percent",
            ColumnKind::Hours => "hours",
            ColumnKind::Days => "days",
            ColumnKind::Minutes => "minutes",
            ColumnKind::Integer => "integer",
            ColumnKind::Number => "number",
            ColumnKind::Datalabel { .. } => "badge",
            ColumnKind::Reference { .. } => "reference",
            ColumnKind::References { .. } => "references",
            ColumnKind::TextList => "texts",
        }
    }
}

fn infer_kind(name: &str, sql_type: &str, entities: &BTreeSet<String>) -> ColumnKind {
    if name == "id" {
        return ColumnKind::Id;
    }
    if let Some(set) = name.strip_prefix("dl__") {
        return ColumnKind::Datalabel { set: set.to_owned() };
    }
    let reference_target = |suffix: &str| -> Option<String> {
        let stem = name.strip_suffix(suffix)?;
        let stem = stem.rsplit_once("__").map_or(stem, |(_, entity)| entity);
        entities.contains(stem).then(|| stem.to_owned())
    };
    if sql_type == "uuid[]"
        && let Some(entity) = reference_target("_ids")
    {
        return ColumnKind::References { entity };
    }
    if sql_type == "uuid"
        && let Some(entity) = reference_target("_id")
    {
        return ColumnKind::Reference { entity };
    }
    let ends_with = |suffix: &str| name.ends_with(suffix);
    match sql_type {
        "uuid" => ColumnKind::Uuid,
        "jsonb" | "json" => ColumnKind::Json,
        "boolean" => ColumnKind::Boolean,
        "date" => ColumnKind::Date,
        "timestamp with time zone" => ColumnKind::Timestamp,
        "timestamp without time zone" => ColumnKind::LocalTimestamp,
        "integer" | "bigint" | "smallint" => ColumnKind::Integer,
        "text[]" => ColumnKind::TextList,
        "numeric" | "double precision" | "real" => {
            if ends_with("_amt") {
                ColumnKind::Money
            } else if ends_with("_pct") {
                ColumnKind::Percent
            } else if ends_with("_hours") {
                ColumnKind::Hours
            } else if ends_with("_days") {
                ColumnKind::Days
            } else if ends_with("_minutes") {
                ColumnKind::Minutes
            } else {
                ColumnKind::Number
            }
        }
        _ if matches!(
            name,
            "descr" | "content" | "body" | "note" | "rationale" | "goal" | "resolution" | "response"
        ) =>
        {
            ColumnKind::LongText
        }
        _ => ColumnKind::ShortText,
    }
}

/// Returns the label that a column's name implies.
///
/// `manager__employee_id` gives "Manager", `budget_allocated_amt` gives "Budget allocated" and
/// `dl__task_stage` of a task gives "Stage".
fn infer_label(entity: &str, name: &str, kind: &ColumnKind) -> String {
    if name == "descr" {
        return "Description".to_owned();
    }
    let stem = match kind {
        ColumnKind::Datalabel { set } => {
            let without_entity = set.strip_prefix(entity).and_then(|rest| rest.strip_prefix('_'));
            without_entity.unwrap_or(set)
        }
        ColumnKind::Reference { .. } | ColumnKind::References { .. } => {
            let stem = name.trim_end_matches("_ids").trim_end_matches("_id");
            stem.rsplit_once("__").map_or(stem, |(role, _)| role)
        }
        _ => ["_amt", "_pct", "_ts", "_date", "_flag", "_hours", "_days", "_minutes"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix))
            .unwrap_or(name),
    };
    let mut words = stem.replace('_', " ");
    if let Some(first) = words.get_mut(0..1) {
        first.make_ascii_uppercase();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates a column of type `task`; only `name` is not null.
    pub(super) fn column(name: &str, sql_type: &str) -> Column {
        let entities = ["task", "employee", "project"].map(str::to_owned).into();
        let nullability = if name == "name" { Nullability::NotNull } else { Nullability::Nullable };
        Column::infer("task", name, sql_type, nullability, &entities)
    }

    #[test]
    fn name_implies_kind_and_label() {
        let cases = [
            ("budget_allocated_amt", "numeric", "money", "Budget allocated"),
            ("completion_pct", "numeric", "percent", "Completion"),
            ("dl__task_stage", "text", "badge", "Stage"),
            ("dl__tasklist_state", "text", "badge", "Tasklist state"),
            ("dl__task", "text", "badge", "Task"),
            ("assignee__employee_ids", "uuid[]", "references", "Assignee"),
            ("parent__task_id", "uuid", "reference", "Parent"),
            ("project_id", "uuid", "reference", "Project"),
            ("about_uuid", "uuid", "id", "About uuid"),
            ("due_date", "date", "date", "Due"),
            ("estimated_hours", "numeric", "hours", "Estimated"),
            ("lag_minutes", "numeric", "minutes", "Lag"),
            ("constraint_ts", "timestamp without time zone", "local_timestamp", "Constraint"),
            ("milestone_flag", "boolean", "flag", "Milestone"),
            ("descr", "text", "markdown", "Description"),
        ];
        for (name, sql_type, render_type, label) in cases {
            let column = column(name, sql_type);
            assert_eq!((column.render_type(), column.label.as_str()), (render_type, label), "{name}");
        }
    }
}
