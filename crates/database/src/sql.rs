//! Construction of SQL statements from catalog names and bound values.
//!
//! Must not: put a name from a request or any value into the text of a statement. Names come from
//! the catalog and are quoted; values are bound.

use pmo_domain::query::{Filter, Operator};
use pmo_domain::{Column, ColumnKind, EntityType};
use sqlx::AssertSqlSafe;

/// Marks a statement that contains only catalog names and constants as safe.
pub(crate) fn statement(text: String) -> AssertSqlSafe<String> {
    AssertSqlSafe(text)
}

/// Returns a quoted identifier.
///
/// Catalog names cannot contain quotes; doubling them is a second safeguard.
pub(crate) fn quote_ident(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// Returns the qualified table name of an entity type.
pub(crate) fn table(entity: &EntityType) -> String {
    format!("app.{}", quote_ident(entity.code.as_str()))
}

/// Returns the select list of a row, for `to_json`: money columns as text, all others unchanged.
///
/// `fields` restricts the columns; `id` and `version` are always included. Empty: all columns.
pub(crate) fn projection(entity: &EntityType, fields: &[String]) -> String {
    let select_item = |c: &Column| {
        let column = quote_ident(&c.name);
        if c.kind == ColumnKind::Money { format!("t.{column}::text as {column}") } else { format!("t.{column}") }
    };
    let is_selected =
        |c: &&Column| fields.is_empty() || c.name == "id" || c.name == "version" || fields.contains(&c.name);
    entity.columns.iter().filter(is_selected).map(select_item).collect::<Vec<_>>().join(", ")
}

/// Returns an SQL array of all ids that a row references through the columns of [`projection`].
pub(crate) fn references(entity: &EntityType, fields: &[String]) -> String {
    let mut single_ids = Vec::new();
    let mut arrays = Vec::new();
    for column in entity.columns.iter().filter(|c| fields.is_empty() || fields.contains(&c.name)) {
        match &column.kind {
            ColumnKind::Reference { .. } => single_ids.push(format!("t.{}", quote_ident(&column.name))),
            ColumnKind::References { .. } => arrays.push(format!("t.{}", quote_ident(&column.name))),
            _ => {}
        }
    }
    arrays.insert(0, format!("array[{}]::uuid[]", single_ids.join(", ")));
    arrays.join(" || ")
}

/// Builder of a WHERE clause: conditions and their bound values.
#[derive(Default)]
pub(crate) struct WhereBuilder {
    pub conditions: Vec<String>,
    pub values: Vec<BindValue>,
}

/// Value of a bind parameter.
pub(crate) enum BindValue {
    Text(Option<String>),
    Texts(Vec<String>),
    Ids(Vec<uuid::Uuid>),
    Id(uuid::Uuid),
    Number(i32),
    Numbers(Vec<i32>),
    Bytes(Vec<u8>),
}

impl WhereBuilder {
    /// Adds a value and returns its placeholder (`$1`, `$2`, …).
    pub(crate) fn bind(&mut self, value: BindValue) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    /// Adds a condition.
    pub(crate) fn push(&mut self, condition: impl Into<String>) {
        self.conditions.push(condition.into());
    }

    /// Adds a filter on a column; its values must have been validated.
    pub(crate) fn filter(&mut self, column: &Column, filter: &Filter) {
        let left = format!("t.{}", quote_ident(&column.name));
        let sql_type = &column.sql_type;
        let is_array = sql_type.ends_with("[]");
        let operand = filter.values.first().cloned().unwrap_or_default();
        let condition = match filter.operator {
            Operator::IsNull => {
                return self.push(format!("{left} is {}null", if operand == "true" { "" } else { "not " }));
            }
            Operator::In if is_array => {
                let values = self.bind(BindValue::Texts(filter.values.clone()));
                format!("{left} && cast({values}::text[] as {sql_type})")
            }
            Operator::In => {
                let values = self.bind(BindValue::Texts(filter.values.clone()));
                format!("{left} = any (cast({values}::text[] as {sql_type}[]))")
            }
            Operator::Contains if !is_array => {
                let value = self.bind(BindValue::Text(Some(escape_like(&operand))));
                format!("{left} ilike {value}::text")
            }
            operator => {
                let value = self.bind(BindValue::Text(Some(operand)));
                if is_array {
                    let element = sql_type.trim_end_matches("[]");
                    let contains = format!("cast({value}::text as {element}) = any ({left})");
                    return self.push(if operator == Operator::Ne {
                        format!("({contains}) is not true")
                    } else {
                        contains
                    });
                }
                let comparison = match operator {
                    Operator::Ne => "is distinct from",
                    Operator::Lt => "<",
                    Operator::Lte => "<=",
                    Operator::Gt => ">",
                    Operator::Gte => ">=",
                    _ => "=",
                };
                format!("{left} {comparison} cast({value}::text as {sql_type})")
            }
        };
        self.push(condition);
    }

    /// Returns the conjunction of all conditions; `true` if there are none.
    pub(crate) fn joined(&self) -> String {
        if self.conditions.is_empty() { "true".to_owned() } else { self.conditions.join(" and ") }
    }
}

/// Returns a LIKE pattern that matches `text` anywhere; wildcards in `text` are escaped.
pub(crate) fn escape_like(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

/// Binds a list of [`BindValue`] to a query, in order.
macro_rules! bind_all {
    ($query:expr, $values:expr) => {{
        let mut query = $query;
        for value in $values {
            query = match value {
                $crate::sql::BindValue::Text(v) => query.bind(v),
                $crate::sql::BindValue::Texts(v) => query.bind(v),
                $crate::sql::BindValue::Ids(v) => query.bind(v),
                $crate::sql::BindValue::Id(v) => query.bind(v),
                $crate::sql::BindValue::Number(v) => query.bind(v),
                $crate::sql::BindValue::Numbers(v) => query.bind(v),
                $crate::sql::BindValue::Bytes(v) => query.bind(v),
            };
        }
        query
    }};
}
pub(crate) use bind_all;
