//! Query parameters of a list, validated against the columns of its entity type.
//!
//! Must not: contain SQL or do I/O.

use crate::api_types::{DEFAULT_PAGE_SIZE, FieldError, MAX_IDS_PER_REQUEST, MAX_PAGE_SIZE};
use crate::{ColumnKind, EntityType};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

/// Maximum number of values of an `[in]` filter.
pub const MAX_IN_VALUES: usize = 1000;

/// Comparison operator of a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// Equal; for a list column: contains the value.
    Eq,
    /// Not equal; also matches null.
    Ne,
    /// Less than.
    Lt,
    /// Less than or equal.
    Lte,
    /// Greater than.
    Gt,
    /// Greater than or equal.
    Gte,
    /// Equal to one of the comma-separated values.
    In,
    /// Contains the text, ignoring case; for a list column: contains the value.
    Contains,
    /// Null (`true`) or not null (`false`).
    IsNull,
}

/// One filter condition on a column.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Filter {
    /// Name of the column.
    pub column: String,
    /// Comparison operator.
    pub operator: Operator,
    /// Operands as texts in the column's normal form; exactly one except for [`Operator::In`].
    pub values: Vec<String>,
}

impl Operator {
    /// Returns the operator with the given name, as in the brackets of a query parameter.
    ///
    /// Returns `None` for unknown names and for `eq`, which has no brackets.
    pub fn from_param(name: &str) -> Option<Self> {
        Some(match name {
            "ne" => Self::Ne,
            "lt" => Self::Lt,
            "lte" => Self::Lte,
            "gt" => Self::Gt,
            "gte" => Self::Gte,
            "in" => Self::In,
            "contains" => Self::Contains,
            "is_null" => Self::IsNull,
            _ => return None,
        })
    }
}

impl Filter {
    /// Returns the name and the value of the query parameter for this filter.
    pub fn to_query_pair(&self) -> (String, String) {
        let operator = match self.operator {
            Operator::Eq => return (self.column.clone(), self.values.join(",")),
            Operator::Ne => "ne",
            Operator::Lt => "lt",
            Operator::Lte => "lte",
            Operator::Gt => "gt",
            Operator::Gte => "gte",
            Operator::In => "in",
            Operator::Contains => "contains",
            Operator::IsNull => "is_null",
        };
        (format!("{}[{operator}]", self.column), self.values.join(","))
    }
}

/// A validated list query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Filters; a row must satisfy all of them.
    pub filters: Vec<Filter>,
    /// Sort columns, each with a descending flag; the id is always the last sort key.
    pub sort: Vec<(String, bool)>,
    /// Search text for name, code and description.
    pub search: Option<String>,
    /// Limits the result to these ids.
    pub ids: Option<Vec<Uuid>>,
    /// Maximum number of rows.
    pub limit: usize,
    /// Number of rows to skip.
    pub offset: usize,
    /// Cursor that marks the end of the previous page.
    pub cursor: Option<String>,
    /// Columns of the response in order; empty for all columns.
    pub fields: Vec<String>,
    /// Whether the result includes deleted rows.
    pub include_deleted: bool,
    /// Whether the response contains metadata instead of rows.
    pub metadata_only: bool,
}

impl ListQuery {
    /// Parses the query parameters of a URL.
    ///
    /// On failure, returns the errors of all parameters, not only the first.
    pub fn parse(parameters: &[(String, String)], entity: &EntityType) -> Result<Self, Vec<FieldError>> {
        let mut query = Self { limit: DEFAULT_PAGE_SIZE, ..Self::default() };
        let mut errors = Vec::new();
        for (name, text) in parameters {
            if let Err(message) = query.apply_param(name, text, entity) {
                errors.push(FieldError { field: name.chars().take(100).collect(), message });
            }
        }
        if query.cursor.is_some() && query.offset > 0 {
            errors.push(FieldError { field: "offset".into(), message: "cannot be combined with a cursor".into() });
        }
        if errors.is_empty() { Ok(query) } else { Err(errors) }
    }

    fn apply_param(&mut self, name: &str, text: &str, entity: &EntityType) -> Result<(), String> {
        if text.contains('\0') {
            return Err("must not contain the NUL character".into());
        }
        match name {
            "limit" => {
                self.limit = text
                    .parse()
                    .ok()
                    .filter(|n| (1..=MAX_PAGE_SIZE).contains(n))
                    .ok_or_else(|| format!("must be a whole number from 1 to {MAX_PAGE_SIZE}"))?;
            }
            "offset" => {
                self.offset =
                    text.parse().ok().filter(|n| *n <= 1_000_000).ok_or("must be a whole number from 0 to 1000000")?;
            }
            "cursor" => self.cursor = Some(text.to_owned()),
            "search" | "q" => {
                if text.chars().count() > 200 {
                    return Err("must have at most 200 characters".into());
                }
                self.search = Some(text.trim().to_owned()).filter(|s| !s.is_empty());
            }
            "sort" => {
                for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
                    let (column, descending) = part.strip_prefix('-').map_or((part, false), |c| (c, true));
                    let Some(column) = entity.column(column).filter(|c| !matches!(c.kind, ColumnKind::Json)) else {
                        return Err(format!("unknown sort column '{}'", truncate(column)));
                    };
                    if self.sort.len() == 5 {
                        return Err("must have at most 5 columns".into());
                    }
                    self.sort.push((column.name.clone(), descending));
                }
            }
            "fields" => {
                for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
                    let Some(column) = entity.column(part) else {
                        return Err(format!("unknown column '{}'", truncate(part)));
                    };
                    self.fields.push(column.name.clone());
                }
            }
            "ids" => {
                let ids: Result<Vec<Uuid>, _> =
                    text.split(',').map(str::trim).filter(|p| !p.is_empty()).map(str::parse).collect();
                let ids = ids.map_err(|_| "must be a comma-separated list of UUIDs")?;
                if ids.len() > MAX_IDS_PER_REQUEST {
                    return Err(format!("must have at most {MAX_IDS_PER_REQUEST} ids"));
                }
                self.limit = MAX_IDS_PER_REQUEST;
                self.ids = Some(ids);
            }
            "include_deleted" => self.include_deleted = parse_bool(text)?,
            "content" => {
                self.metadata_only = text == "metadata";
                if !self.metadata_only && text != "data" {
                    return Err("must be 'data' or 'metadata'".into());
                }
            }
            _ => {
                let filter = parse_filter(name, text, entity)?;
                if self.filters.len() == 20 {
                    return Err("must have at most 20 filters".into());
                }
                self.filters.push(filter);
            }
        }
        Ok(())
    }
}

fn parse_filter(name: &str, text: &str, entity: &EntityType) -> Result<Filter, String> {
    let (column_name, operator) = match name.split_once('[') {
        None => (name, Operator::Eq),
        Some((column, rest)) => {
            let operator = rest.strip_suffix(']').and_then(Operator::from_param);
            (column, operator.ok_or("the operator must be ne, lt, lte, gt, gte, in, contains or is_null")?)
        }
    };
    let column =
        entity.column(column_name).ok_or_else(|| format!("is neither a parameter nor a column of {}", entity.code))?;
    let is_list = matches!(column.kind, ColumnKind::References { .. } | ColumnKind::TextList);
    let is_ordered = !is_list && !matches!(column.kind, ColumnKind::Boolean | ColumnKind::Json);
    let is_text = matches!(column.kind, ColumnKind::ShortText | ColumnKind::LongText | ColumnKind::Datalabel { .. });
    let normalize = |text: &str| -> Result<String, String> {
        let value = match &column.kind {
            ColumnKind::Boolean => json!(parse_bool(text)?),
            ColumnKind::ShortText | ColumnKind::LongText | ColumnKind::Datalabel { .. } => return Ok(text.to_owned()),
            ColumnKind::References { .. } => {
                return text.parse::<Uuid>().map(|u| u.to_string()).map_err(|_| "must be an id (a UUID)".to_owned());
            }
            ColumnKind::TextList => return Ok(text.to_owned()),
            ColumnKind::Json => return Err("cannot be filtered".into()),
            _ => column.validate(&json!(text))?,
        };
        Ok(match value {
            Value::String(s) => s,
            other => other.to_string(),
        })
    };
    let values = match operator {
        Operator::IsNull => vec![parse_bool(text)?.to_string()],
        Operator::Contains if is_text => vec![text.to_owned()],
        Operator::Contains if is_list => vec![normalize(text)?],
        Operator::Contains => return Err("must be a text or list column for the contains operator".into()),
        Operator::Lt | Operator::Lte | Operator::Gt | Operator::Gte if !is_ordered => {
            return Err("cannot be compared by order".into());
        }
        Operator::In => {
            let values: Vec<_> =
                text.split(',').map(str::trim).filter(|p| !p.is_empty()).map(normalize).collect::<Result<_, _>>()?;
            if values.len() > MAX_IN_VALUES {
                return Err(format!("must have at most {MAX_IN_VALUES} values"));
            }
            values
        }
        _ => vec![normalize(text)?],
    };
    Ok(Filter { column: column.name.clone(), operator, values })
}

fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err("must be true or false".into()),
    }
}

fn truncate(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EntityCode;

    fn task() -> EntityType {
        let columns = [
            ("id", "uuid"),
            ("name", "text"),
            ("due_date", "date"),
            ("active_flag", "boolean"),
            ("metadata", "jsonb"),
            ("assignee__employee_ids", "uuid[]"),
        ];
        EntityType::from_columns(EntityCode::new("task").unwrap(), &columns, &["task", "employee"])
    }

    fn parse(pairs: &[(&str, &str)]) -> Result<ListQuery, Vec<FieldError>> {
        let pairs: Vec<_> = pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        ListQuery::parse(&pairs, &task())
    }

    #[test]
    fn filters_sort_and_limit_are_parsed() {
        let query =
            parse(&[("due_date[gte]", "2026-01-01"), ("sort", "-due_date,name"), ("limit", "5"), ("name[in]", "a, b")])
                .unwrap();
        assert_eq!(query.limit, 5);
        assert_eq!(query.sort, [("due_date".to_owned(), true), ("name".to_owned(), false)]);
        assert_eq!(query.filters[1].values, ["a", "b"]);
    }

    #[test]
    fn each_invalid_parameter_is_reported_by_name() {
        for (name, value, expected) in [
            ("nope", "1", "neither"),
            ("limit", "0", "1000"),
            ("limit", "-1", "1000"),
            ("offset", "x", "whole"),
            ("sort", "nope", "nope"),
            ("ids", "1,2", "UUID"),
            ("due_date[lt]", "tomorrow", "date"),
            ("due_date[like]", "x", "operator"),
            ("active_flag[lt]", "true", "order"),
            ("metadata", "{}", "filtered"),
            ("name", "a\0b", "NUL"),
            ("assignee__employee_ids", "me", "UUID"),
        ] {
            let errors = parse(&[("limit", "3"), (name, value)]).unwrap_err();
            assert_eq!(errors.len(), 1, "{name}");
            assert_eq!(errors[0].field, name);
            assert!(errors[0].message.contains(expected), "{name}: {}", errors[0].message);
        }
    }
}
