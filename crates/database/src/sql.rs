//! The only place where SQL is put together. Names come from the catalogue, never from a request, and are quoted; values are
//! always bound.

use pmo_domain::query::{Filter, Operator};
use pmo_domain::{Column, ColumnKind, EntityType};
use sqlx::AssertSqlSafe;

/// A statement made of catalogue names.
pub(crate) fn statement(text: String) -> AssertSqlSafe<String> {
    AssertSqlSafe(text)
}

/// A quoted name. Names are from the catalogue, where a check forbids quotes; doubling them costs nothing.
pub(crate) fn quote_ident(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// The type's table.
pub(crate) fn table(entity: &EntityType) -> String {
    format!("app.{}", quote_ident(entity.code.as_str()))
}

/// What to select so that `to_json` of it is the row: money as text, the rest as it is. `fields` picks columns, id and version
/// always among them; none: all.
pub(crate) fn projection(entity: &EntityType, fields: &[String]) -> String {
    let part = |c: &Column| {
        let column = quote_ident(&c.name);
        if c.kind == ColumnKind::Money { format!("t.{column}::text as {column}") } else { format!("t.{column}") }
    };
    let picked = |c: &&Column| fields.is_empty() || c.name == "id" || c.name == "version" || fields.contains(&c.name);
    entity.columns.iter().filter(picked).map(part).collect::<Vec<_>>().join(", ")
}

/// An array of everything that a row refers to by the columns of [`projection`].
pub(crate) fn references(entity: &EntityType, fields: &[String]) -> String {
    let mut single = Vec::new();
    let mut parts = Vec::new();
    for column in entity.columns.iter().filter(|c| fields.is_empty() || fields.contains(&c.name)) {
        match &column.kind {
            ColumnKind::Reference { .. } => single.push(format!("t.{}", quote_ident(&column.name))),
            ColumnKind::References { .. } => parts.push(format!("t.{}", quote_ident(&column.name))),
            _ => {}
        }
    }
    parts.insert(0, format!("array[{}]::uuid[]", single.join(", ")));
    parts.join(" || ")
}

/// Bound values and the text around them.
#[derive(Default)]
pub(crate) struct WhereBuilder {
    pub text: Vec<String>,
    pub values: Vec<BindValue>,
}

/// A value to bind.
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
    /// Adds a value and answers its placeholder.
    pub fn bind(&mut self, value: BindValue) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    /// Adds a condition.
    pub fn push(&mut self, text: impl Into<String>) {
        self.text.push(text.into());
    }

    /// Adds a checked filter on a column.
    pub fn filter(&mut self, column: &Column, filter: &Filter) {
        let left = format!("t.{}", quote_ident(&column.name));
        let kind = &column.sql_type;
        let listed = kind.ends_with("[]");
        let one = filter.values.first().cloned().unwrap_or_default();
        let text = match filter.operator {
            Operator::IsNull => {
                return self.push(format!("{left} is {}null", if one == "true" { "" } else { "not " }));
            }
            Operator::In if listed => {
                let values = self.bind(BindValue::Texts(filter.values.clone()));
                format!("{left} && cast({values}::text[] as {kind})")
            }
            Operator::In => {
                let values = self.bind(BindValue::Texts(filter.values.clone()));
                format!("{left} = any (cast({values}::text[] as {kind}[]))")
            }
            Operator::Contains if !listed => {
                let value = self.bind(BindValue::Text(Some(escape_like(&one))));
                format!("{left} ilike {value}::text")
            }
            operator => {
                let value = self.bind(BindValue::Text(Some(one)));
                if listed {
                    let element = kind.trim_end_matches("[]");
                    let holds = format!("cast({value}::text as {element}) = any ({left})");
                    return self.push(if operator == Operator::Ne { format!("not ({holds})") } else { holds });
                }
                let sign = match operator {
                    Operator::Ne => "is distinct from",
                    Operator::Lt => "<",
                    Operator::Lte => "<=",
                    Operator::Gt => ">",
                    Operator::Gte => ">=",
                    _ => "=",
                };
                format!("{left} {sign} cast({value}::text as {kind})")
            }
        };
        self.push(text);
    }

    /// The conditions as one, `true` where there is none.
    pub fn joined(&self) -> String {
        if self.text.is_empty() { "true".to_owned() } else { self.text.join(" and ") }
    }
}

/// A pattern that finds `text` anywhere, its own wildcards taken literally.
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

/// Binds `values` to a query in order.
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
