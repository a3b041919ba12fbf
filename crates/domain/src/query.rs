//! Query parameters of a list, validated against the columns of its entity type.
//!
//! Must not: contain SQL or do I/O.

use crate::api_types::{DEFAULT_PAGE_SIZE, FieldError, MAX_IDS_PER_REQUEST, MAX_PAGE_SIZE};
use crate::column::ColumnError;
use crate::{Column, ColumnKind, EntityCode, EntityType};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::str::FromStr;
use uuid::Uuid;

/// Maximum number of values of an `[in]` filter.
pub const MAX_IN_VALUES: usize = 1000;
/// Maximum number of rows to skip.
const MAX_OFFSET: usize = 1_000_000;
/// Maximum length of the search text, in characters.
const MAX_SEARCH_LEN: usize = 200;
/// Maximum number of sort columns.
const MAX_SORT_COLUMNS: usize = 5;
/// Maximum number of filters.
const MAX_FILTERS: usize = 20;
/// Maximum length of a name from a request in an error, in characters.
const MAX_NAME_IN_ERROR: usize = 60;
/// Maximum length of the name of a parameter in an error, in characters.
const MAX_PARAMETER_IN_ERROR: usize = 100;

/// Error of one query parameter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{parameter}: {reason}")]
pub struct QueryError {
    /// Name of the parameter, limited to 100 characters.
    pub parameter: String,
    /// Reason; the text is a message for people.
    pub reason: QueryErrorReason,
}

/// Reason for which a query parameter is rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryErrorReason {
    /// The value is invalid.
    #[error(transparent)]
    InvalidValue(#[from] ColumnError),
    /// The number is not in the range.
    #[error("must be a whole number from {min} to {max}")]
    OutOfRange {
        /// Least number.
        min: usize,
        /// Greatest number.
        max: usize,
    },
    /// The parameter is unknown, and the type has no column of that name.
    #[error("is neither a parameter nor a column of {entity}")]
    UnknownParameter {
        /// Type code.
        entity: EntityCode,
    },
    /// The value names a column that the type does not have.
    #[error("unknown {subject} '{name}'")]
    UnknownColumn {
        /// Use of the column: `column` or `sort column`.
        subject: &'static str,
        /// Name from the request, limited to 60 characters.
        name: String,
    },
    /// The name in the brackets is not an operator.
    #[error("the operator must be ne, lt, lte, gt, gte, in, contains or is_null")]
    UnknownOperator,
    /// The column or the combination of parameters does not support the operation.
    #[error("cannot be {operation}")]
    Unsupported {
        /// Operation as a participle, such as `filtered`.
        operation: &'static str,
    },
}

impl From<QueryError> for FieldError {
    fn from(error: QueryError) -> Self {
        Self { field: error.parameter, message: error.reason.to_string() }
    }
}

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
    pub fn parse(parameters: &[(String, String)], entity: &EntityType) -> Result<Self, Vec<QueryError>> {
        let mut query = Self { limit: DEFAULT_PAGE_SIZE, ..Self::default() };
        let mut errors = Vec::new();
        for (name, text) in parameters {
            if let Err(reason) = query.apply_param(name, text, entity) {
                errors.push(QueryError { parameter: name.chars().take(MAX_PARAMETER_IN_ERROR).collect(), reason });
            }
        }
        if query.ids.is_some() && !parameters.iter().any(|(name, _)| name == "limit") {
            query.limit = MAX_IDS_PER_REQUEST;
        }
        if query.cursor.is_some() && query.offset > 0 {
            let reason = QueryErrorReason::Unsupported { operation: "combined with a cursor" };
            errors.push(QueryError { parameter: "offset".into(), reason });
        }
        if errors.is_empty() { Ok(query) } else { Err(errors) }
    }

    fn apply_param(&mut self, name: &str, text: &str, entity: &EntityType) -> Result<(), QueryErrorReason> {
        if text.contains('\0') {
            return Err(ColumnError::ContainsNul.into());
        }
        match name {
            "limit" => self.limit = parse_number(text, 1, MAX_PAGE_SIZE)?,
            "offset" => self.offset = parse_number(text, 0, MAX_OFFSET)?,
            "cursor" => self.cursor = Some(text.to_owned()),
            "search" | "q" => {
                check_count(text.chars().count(), MAX_SEARCH_LEN, "characters")?;
                self.search = Some(text.trim().to_owned()).filter(|s| !s.is_empty());
            }
            "sort" => self.add_sort_columns(text, entity)?,
            "fields" => {
                for part in split_list(text) {
                    let column = entity.column(part).ok_or_else(|| unknown_column("column", part))?;
                    self.fields.push(column.name.clone());
                }
            }
            "ids" => {
                let ids: Result<Vec<Uuid>, _> = split_list(text).map(str::parse).collect();
                let ids = ids.map_err(|_| invalid("a comma-separated list of UUIDs"))?;
                check_count(ids.len(), MAX_IDS_PER_REQUEST, "ids")?;
                self.ids = Some(ids);
            }
            "include_deleted" => self.include_deleted = parse_bool(text)?,
            "content" => {
                self.metadata_only = match text {
                    "metadata" => true,
                    "data" => false,
                    _ => return Err(invalid("'data' or 'metadata'")),
                };
            }
            _ => {
                let filter = parse_filter(name, text, entity)?;
                check_count(self.filters.len() + 1, MAX_FILTERS, "filters")?;
                self.filters.push(filter);
            }
        }
        Ok(())
    }

    /// Adds the columns of a `sort` parameter; a leading `-` means descending.
    fn add_sort_columns(&mut self, text: &str, entity: &EntityType) -> Result<(), QueryErrorReason> {
        for part in split_list(text) {
            let (name, descending) = part.strip_prefix('-').map_or((part, false), |name| (name, true));
            let column = entity.column(name).filter(|c| !matches!(c.kind, ColumnKind::Json));
            let column = column.ok_or_else(|| unknown_column("sort column", name))?;
            check_count(self.sort.len() + 1, MAX_SORT_COLUMNS, "columns")?;
            self.sort.push((column.name.clone(), descending));
        }
        Ok(())
    }
}

fn parse_filter(name: &str, text: &str, entity: &EntityType) -> Result<Filter, QueryErrorReason> {
    let (column_name, operator) = match name.split_once('[') {
        None => (name, Operator::Eq),
        Some((column, rest)) => {
            let operator = rest.strip_suffix(']').and_then(Operator::from_param);
            (column, operator.ok_or(QueryErrorReason::UnknownOperator)?)
        }
    };
    let unknown = || QueryErrorReason::UnknownParameter { entity: entity.code.clone() };
    let column = entity.column(column_name).ok_or_else(unknown)?;
    let is_list = matches!(column.kind, ColumnKind::References { .. } | ColumnKind::TextList);
    let is_ordered = !is_list && !matches!(column.kind, ColumnKind::Boolean | ColumnKind::Json);
    let is_text = matches!(column.kind, ColumnKind::ShortText | ColumnKind::LongText | ColumnKind::Datalabel { .. });
    let values = match operator {
        Operator::IsNull => vec![parse_bool(text)?.to_string()],
        Operator::Contains if is_text => vec![text.to_owned()],
        Operator::Contains if is_list => vec![normalize_operand(column, text)?],
        Operator::Contains => return Err(invalid("a text or list column for the contains operator")),
        Operator::Lt | Operator::Lte | Operator::Gt | Operator::Gte if !is_ordered => {
            return Err(QueryErrorReason::Unsupported { operation: "compared by order" });
        }
        Operator::In => {
            let values: Vec<_> =
                split_list(text).map(|part| normalize_operand(column, part)).collect::<Result<_, _>>()?;
            check_count(values.len(), MAX_IN_VALUES, "values")?;
            values
        }
        _ => vec![normalize_operand(column, text)?],
    };
    Ok(Filter { column: column.name.clone(), operator, values })
}

/// Validates an operand of a filter and returns it in the normal form of the column.
fn normalize_operand(column: &Column, text: &str) -> Result<String, QueryErrorReason> {
    let value = match &column.kind {
        ColumnKind::Boolean => json!(parse_bool(text)?),
        ColumnKind::ShortText | ColumnKind::LongText | ColumnKind::Datalabel { .. } | ColumnKind::TextList => {
            return Ok(text.to_owned());
        }
        ColumnKind::References { .. } => {
            let id = Uuid::from_str(text).map_err(|_| invalid("an id (a UUID)"))?;
            return Ok(id.to_string());
        }
        ColumnKind::Json => return Err(QueryErrorReason::Unsupported { operation: "filtered" }),
        _ => column.validate(&json!(text))?,
    };
    Ok(match value {
        Value::String(s) => s,
        other => other.to_string(),
    })
}

/// Returns the non-empty parts of a comma-separated list, without surrounding space.
fn split_list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

fn parse_number(text: &str, min: usize, max: usize) -> Result<usize, QueryErrorReason> {
    let number = text.parse().ok().filter(|number| (min..=max).contains(number));
    number.ok_or(QueryErrorReason::OutOfRange { min, max })
}

fn parse_bool(text: &str) -> Result<bool, QueryErrorReason> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(invalid("true or false")),
    }
}

fn check_count(count: usize, limit: usize, unit: &'static str) -> Result<(), ColumnError> {
    if count > limit { Err(ColumnError::TooLong { limit, unit }) } else { Ok(()) }
}

fn invalid(expected: &'static str) -> QueryErrorReason {
    ColumnError::Invalid { expected }.into()
}

fn unknown_column(subject: &'static str, name: &str) -> QueryErrorReason {
    QueryErrorReason::UnknownColumn { subject, name: name.chars().take(MAX_NAME_IN_ERROR).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    fn parse(pairs: &[(&str, &str)]) -> Result<ListQuery, Vec<QueryError>> {
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
    fn limit_applies_to_ids_in_any_order_of_the_parameters() {
        let id = "00000000-0000-0000-0000-000000000001";
        assert_eq!(parse(&[("ids", id)]).unwrap().limit, MAX_IDS_PER_REQUEST);
        assert_eq!(parse(&[("ids", id), ("limit", "5")]).unwrap().limit, 5);
        assert_eq!(parse(&[("limit", "5"), ("ids", id)]).unwrap().limit, 5);
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
            let error = FieldError::from(errors[0].clone());
            assert_eq!(error.field, name);
            assert!(error.message.contains(expected), "{name}: {}", error.message);
        }
    }
}
