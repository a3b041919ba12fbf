//! Lists: filter, sort, page, count, as far as a person may see. Paging is by key: rows that come and go meanwhile neither
//! repeat nor hide others.

use crate::permission::{self, Reach};
use crate::sql::{self, Bound, Conditions};
use crate::{Connection, DatabaseError, Result};
use pmo_domain::query::ListQuery;
use pmo_domain::{Child, EntityCode, EntityType, PersonId, Row};
use uuid::Uuid;

/// The rows of one page.
pub struct Page {
    /// In order.
    pub rows: Vec<Row>,
    /// Rows that match, over all pages.
    pub total: i64,
    /// Where the next page begins; none: this is the last.
    pub next_cursor: Option<String>,
}

/// Only children of this thing, tied to it in this way.
pub struct Below<'a> {
    /// The parent's type.
    pub parent_code: &'a EntityCode,
    /// The parent.
    pub parent_id: Uuid,
    /// The tie.
    pub tie: &'a Child,
}

/// The page that `query` asks for, of what `person` may see.
pub async fn page(
    connection: &mut Connection,
    person: PersonId,
    entity: &EntityType,
    query: &ListQuery,
    below: Option<&Below<'_>>,
) -> Result<Page> {
    let mut conditions = Conditions::default();
    if !query.include_deleted {
        conditions.push("t.active_flag");
    }
    if let Some(ids) = &query.ids {
        let ids = conditions.bind(Bound::Ids(ids.clone()));
        conditions.push(format!("t.id = any ({ids})"));
    }
    if let Some(below) = below {
        let parent = conditions.bind(Bound::Id(below.parent_id));
        match (&below.tie.column, &below.tie.code_column) {
            (Some(column), None) => conditions.push(format!("t.{} = {parent}", sql::name(column))),
            _ => conditions.push(format!(
                "t.id in (select l.child_id from app.entity_instance_link l
                          where l.parent_code = '{}' and l.parent_id = {parent} and l.child_code = '{}')",
                below.parent_code, entity.code
            )),
        }
    }
    for filter in &query.filters {
        if let Some(column) = entity.column(&filter.column) {
            conditions.filter(column, filter);
        }
    }
    if let Some(search) = &query.search {
        let pattern = conditions.bind(Bound::Text(Some(sql::like(search))));
        conditions.push(format!(
            "(t.name ilike {pattern}::text or t.code ilike {pattern}::text or t.descr ilike {pattern}::text)"
        ));
    }
    let code = &entity.code;
    match permission::reach(&mut *connection, person, code).await? {
        Reach::All => {}
        Reach::None => return Ok(Page { rows: Vec::new(), total: 0, next_cursor: None }),
        Reach::AllBut => {
            let who = conditions.bind(Bound::Id(person.0));
            conditions.push(format!("t.id not in (select d.id from app.reached({who}, '{code}') d where d.is_deny)"));
        }
        Reach::Some => {
            let who = conditions.bind(Bound::Id(person.0));
            // For a few known ids the way up from them is shorter than the way down from every grant.
            if query.ids.is_some() {
                conditions.push(format!("t.id in (select p.id from app.permissions(array[{who}], '{code}', $1) p)"));
            } else {
                conditions.push(format!(
                    "t.id in (select d.id from app.reached({who}, '{code}') d group by d.id having not bool_or(d.is_deny))"
                ));
            }
        }
    }
    let table = sql::table(entity);
    let counted = format!("select count(*) from {table} t where {}", conditions.joined());

    // The cursor's conditions come after the count's, so that the count binds a prefix of the values.
    let shared_values = conditions.values.len();
    if let Some(cursor) = &query.cursor {
        let condition = after_cursor(&mut conditions, entity, query, cursor)?;
        conditions.push(condition);
    }
    let mut keys: Vec<String> = query.sort.iter().map(|(c, _)| format!("t.{}::text", sql::name(c))).collect();
    keys.push("t.id::text".to_owned());
    let mut order: Vec<String> = query
        .sort
        .iter()
        .map(|(c, down)| format!("t.{} {}", sql::name(c), if *down { "desc" } else { "asc" }))
        .collect();
    order.push("t.id asc".to_owned());
    let text = format!(
        "select (select to_json(r)::text from (select {projection}) r), array[{keys}]::text[]
         from {table} t where {conditions} order by {order} limit {limit} offset {offset}",
        projection = sql::projection(entity),
        keys = keys.join(", "),
        conditions = conditions.joined(),
        order = order.join(", "),
        limit = query.limit + 1,
        offset = query.offset,
    );
    let values = conditions.values;
    let counting = sqlx::query_scalar::<_, i64>(sql::statement(counted));
    let page = sqlx::query_as::<_, (String, Vec<Option<String>>)>(sql::statement(text));
    let total = sql::bind_all!(counting, clone_values(&values[..shared_values])).fetch_one(&mut *connection).await?;
    let mut found = sql::bind_all!(page, values).fetch_all(&mut *connection).await?;
    let more = found.len() > query.limit;
    found.truncate(query.limit);
    let next_cursor = found.last().filter(|_| more).map(|(_, keys)| write_cursor(query, keys));
    let rows = found.iter().map(|(text, _)| crate::row::parse(text)).collect::<Result<_>>()?;
    Ok(Page { rows, total, next_cursor })
}

fn clone_values(values: &[Bound]) -> Vec<Bound> {
    values
        .iter()
        .map(|v| match v {
            Bound::Text(v) => Bound::Text(v.clone()),
            Bound::Texts(v) => Bound::Texts(v.clone()),
            Bound::Ids(v) => Bound::Ids(v.clone()),
            Bound::Id(v) => Bound::Id(*v),
        })
        .collect()
}

/// A cursor names its sort order, so that one of another list is noticed.
fn write_cursor(query: &ListQuery, keys: &[Option<String>]) -> String {
    let text = serde_json::json!([query.sort, keys]).to_string();
    text.bytes().map(|b| format!("{b:02x}")).collect()
}

fn read_cursor(query: &ListQuery, cursor: &str) -> Result<Vec<Option<String>>> {
    let bytes: Option<Vec<u8>> = cursor
        .as_bytes()
        .chunks(2)
        .map(|pair| {
            std::str::from_utf8(pair).ok().filter(|p| p.len() == 2).and_then(|p| u8::from_str_radix(p, 16).ok())
        })
        .collect();
    type Parts = (Vec<(String, bool)>, Vec<Option<String>>);
    let parts: Option<Parts> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    match parts {
        Some((sort, keys)) if sort == query.sort && keys.len() == sort.len() + 1 => Ok(keys),
        _ => Err(DatabaseError::BadCursor),
    }
}

/// The condition 'after the row with these keys' in the query's order: nulls last going up, first going down.
fn after_cursor(conditions: &mut Conditions, entity: &EntityType, query: &ListQuery, cursor: &str) -> Result<String> {
    let keys = read_cursor(query, cursor)?;
    let mut alternatives = Vec::new();
    let mut ties: Vec<String> = Vec::new();
    let id = ("id".to_owned(), false);
    for ((column, down), key) in query.sort.iter().chain([&id]).zip(keys) {
        let sql_type = &entity.column(column).ok_or(DatabaseError::BadCursor)?.sql_type;
        let left = format!("t.{}", sql::name(column));
        let (beyond, tie) = match key {
            None => (if *down { format!("{left} is not null") } else { "false".to_owned() }, format!("{left} is null")),
            Some(value) => {
                if column == "id" && value.parse::<Uuid>().is_err() {
                    return Err(DatabaseError::BadCursor);
                }
                let value = format!("cast({}::text as {sql_type})", conditions.bind(Bound::Text(Some(value))));
                let beyond =
                    if *down { format!("{left} < {value}") } else { format!("({left} > {value} or {left} is null)") };
                (beyond, format!("{left} = {value}"))
            }
        };
        alternatives.push(ties.iter().cloned().chain([beyond]).collect::<Vec<_>>().join(" and "));
        ties.push(tie);
    }
    Ok(format!("({})", alternatives.iter().map(|a| format!("({a})")).collect::<Vec<_>>().join(" or ")))
}
