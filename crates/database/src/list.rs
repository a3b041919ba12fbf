//! Lists: filter, sort, page, count, as far as a person may see. Paging is by key: rows that come and go meanwhile neither
//! repeat nor hide others.

use crate::row_cache::{CachedRowJson, RowCache};
use crate::sql::{self, BindValue, WhereBuilder};
use crate::visibility::ReadContext;
use crate::{Connection, DatabaseError, Result};
use pmo_domain::query::{ListQuery, Operator};
use pmo_domain::{ChildRelation, EntityCode, EntityType};
use std::collections::BTreeSet;
use std::sync::Arc;
use uuid::Uuid;

/// Rows are counted up to here at least; a longer list may say that there are more.
pub const COUNT_LIMIT: usize = 200;

/// Limits that are asked for often.
const PREPARED_LIMITS: [usize; 7] = [1, 20, 50, 100, 200, 500, 1000];

/// A row of a list as JSON, which nobody here needs to read.
pub struct ListRow {
    /// The thing.
    pub id: Uuid,
    /// False: deleted.
    pub active: bool,
    /// The row.
    pub row: Arc<CachedRowJson>,
}

/// The rows of one page.
pub struct RowPage {
    /// In order.
    pub rows: Vec<ListRow>,
    /// What they refer to.
    pub referenced_ids: Vec<Uuid>,
    /// Rows that match, over all pages, as far as they were counted.
    pub total: i64,
    /// Whether that is all of them.
    pub exact: bool,
    /// Where the next page begins; none: this is the last.
    pub next_cursor: Option<String>,
}

/// Only children of this thing, tied to it in this way.
pub struct ParentFilter<'a> {
    /// The parent's type.
    pub parent_code: &'a EntityCode,
    /// The parent.
    pub parent_id: Uuid,
    /// The tie.
    pub tie: &'a ChildRelation,
}

/// The page that `query` asks for, of what the reader may see. To be asked in the transaction that the reader began in.
pub async fn fetch_page(
    connection: &mut Connection,
    reader: &mut ReadContext<'_>,
    texts: &RowCache,
    entity: &EntityType,
    query: &ListQuery,
    below: Option<&ParentFilter<'_>>,
) -> Result<RowPage> {
    let mut conditions = WhereBuilder::default();
    if !query.include_deleted {
        conditions.push("t.active_flag");
    }
    if let Some(ids) = &query.ids {
        let ids = conditions.bind(BindValue::Ids(ids.clone()));
        conditions.push(format!("t.id = any ({ids})"));
    }
    if let Some(below) = below {
        let parent = conditions.bind(BindValue::Id(below.parent_id));
        match (&below.tie.parent_column, &below.tie.parent_type_column) {
            (Some(column), None) => conditions.push(format!("t.{} = {parent}", sql::quote_ident(column))),
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
        let pattern = conditions.bind(BindValue::Text(Some(sql::escape_like(search))));
        conditions.push(format!(
            "(t.name ilike {pattern}::text or t.code ilike {pattern}::text or t.descr ilike {pattern}::text)"
        ));
    }
    let sight = reader.visibility(&mut *connection, &entity.code).await?;
    if !sight.is_any_visible() {
        return Ok(RowPage { rows: Vec::new(), referenced_ids: Vec::new(), total: 0, exact: true, next_cursor: None });
    }
    let begun = query.cursor.as_deref().map(|c| read_cursor(query, c)).transpose()?;
    // Where a filter says where in the sort order to begin, walking on from there is short. Elsewhere rows that match may all lie at the
    // far end, where the planner does not expect them: what a person sees is gathered first, which costs by what they see and no more.
    let begins_at = query.sort.first().is_some_and(|(column, _)| {
        query.filters.iter().any(|f| f.column == *column && !matches!(f.operator, Operator::Ne | Operator::Contains))
    });
    let gathers = query.ids.is_none() && !begins_at && (!sight.sees_all || below.is_some());
    let by_reach = gathers && below.is_none();
    let table = sql::table(entity);
    let by_id = ("id".to_owned(), false);
    let order: Vec<&(String, bool)> = query.sort.iter().chain([&by_id]).collect();
    let columns: BTreeSet<String> = order.iter().map(|(c, _)| format!("t.{}", sql::quote_ident(c))).collect();
    let columns = columns.into_iter().collect::<Vec<_>>().join(", ");
    let gathered = if by_reach {
        sight.apply_denies(&mut conditions);
        let matching = conditions.joined();
        let (first, last) = sight.ancestor_sets.ranges();
        let (first, last) = (conditions.bind(BindValue::Numbers(first)), conditions.bind(BindValue::Numbers(last)));
        let mut ways = format!(
            "select {columns} from unnest({first}::integer[], {last}::integer[]) r (first, last)
                                   join {table} t on t.reach between r.first and r.last where {matching}"
        );
        if !sight.direct_ids.is_empty() {
            let direct = conditions.bind(BindValue::Ids(sight.direct_ids.iter().copied().collect()));
            let again = sight.ancestor_sets.sql_condition(&mut conditions);
            ways += &format!(
                " union all select {columns} from {table} t where {matching} and t.id = any ({direct}) and not {again}"
            );
        }
        ways
    } else {
        sight.apply_filter(&mut conditions);
        format!("select {columns} from {table} t where {}", conditions.joined())
    };
    let after = match &begun {
        Some(begun) => after_cursor(&mut conditions, entity, query, &begun.keys)?,
        None => "true".to_owned(),
    };
    let keys: Vec<String> = order.iter().map(|(c, _)| format!("t.{}::text", sql::quote_ident(c))).collect();
    let ordered: Vec<String> = order
        .iter()
        .map(|(c, down)| format!("t.{} {}", sql::quote_ident(c), if *down { "desc" } else { "asc" }))
        .collect();
    let (keys, ordered) = (keys.join(", "), ordered.join(", "));
    let (limit, offset) = (query.limit + 1, query.offset);
    let first_page = begun.is_none() && offset == 0;
    // One more than is counted says that there are more.
    let counted = if first_page { limit.max(COUNT_LIMIT + 1) } else { limit };
    let place = format!("row_number() over (order by {ordered}) as place");
    let found = if gathers {
        format!(
            "seen as materialized ({gathered}),
             page as materialized (select t.id, {place} from seen t where {after} order by {ordered} limit {limit} offset {offset})"
        )
    } else {
        format!(
            "seen as materialized (select t.id, {place} from {table} t where {} and {after} order by {ordered} limit {counted} offset {offset}),
             page as (select * from seen order by place limit {limit})",
            conditions.joined()
        )
    };
    let last = offset + query.limit;
    let text = format!(
        "with {found}
         select t.id, t.active_flag, t.version, t.xmin::text::bigint as transaction,
                case when page.place = {last} then array[{keys}]::text[] end as keys, (select count(*) from seen) as counted
         from page join {table} t using (id) order by page.place"
    );
    // A plan for each way of asking is kept, but not for each number that somebody may think of.
    let usual = offset == 0 && PREPARED_LIMITS.contains(&query.limit);
    // Who sees everything is served by whichever index fits their filter best, and that depends on the values.
    let by_value = sight.sees_all && !begins_at && !(query.filters.is_empty() && query.search.is_none());
    if by_value {
        crate::use_custom_plan(connection, true).await?;
    }
    let page = sqlx::query_as::<_, PageRow>(sql::statement(text)).persistent(usual && !by_value);
    let values = conditions.values;
    let mut found = sql::bind_all!(page, values).fetch_all(&mut *connection).await?;
    if by_value {
        crate::use_custom_plan(connection, false).await?;
    }
    let more = found.len() > query.limit;
    found.truncate(query.limit);
    let counted = found.first().map_or(0, |f| f.counted);
    let (total, exact) = match &begun {
        Some(begun) => (begun.total, begun.exact),
        // Past the end nothing says how many there are.
        None if found.is_empty() && offset > 0 => (0, false),
        None if gathers || (first_page && counted <= count_limit()) => (counted, true),
        // Counted from the first row that was not passed over.
        None if !more => (counted + i64::try_from(offset).unwrap_or(0), true),
        None => (counted.min(count_limit()) + i64::try_from(offset).unwrap_or(0), false),
    };
    let last = found.last().filter(|_| more).and_then(|last| last.keys.clone());
    let next_cursor = last.map(|keys| write_cursor(query, &PageCursor { keys, total, exact }));
    let states = found.iter().map(|line| (line.id, (line.version, line.transaction)));
    let mut known = texts.get_many(connection, entity, &query.fields, states).await?;
    let mut mentioned: BTreeSet<Uuid> = BTreeSet::new();
    let mut rows = Vec::with_capacity(found.len());
    for line in found {
        let Some(row) = known.remove(&line.id) else { continue };
        mentioned.extend(&row.mentioned);
        rows.push(ListRow { id: line.id, active: line.active_flag, row });
    }
    Ok(RowPage { rows, referenced_ids: mentioned.into_iter().collect(), total, exact, next_cursor })
}

fn count_limit() -> i64 {
    i64::try_from(COUNT_LIMIT).unwrap_or(i64::MAX)
}

#[derive(sqlx::FromRow)]
struct PageRow {
    id: Uuid,
    active_flag: bool,
    version: i64,
    transaction: i64,
    /// Of the last row of a full page alone.
    keys: Option<Vec<Option<String>>>,
    counted: i64,
}

/// Where a page ended, and what is known of the whole.
struct PageCursor {
    keys: Vec<Option<String>>,
    total: i64,
    exact: bool,
}

/// A cursor names its sort order, so that one of another list is noticed.
fn write_cursor(query: &ListQuery, begun: &PageCursor) -> String {
    let text = serde_json::json!([query.sort, begun.keys, begun.total, begun.exact]).to_string();
    text.bytes().map(|b| format!("{b:02x}")).collect()
}

fn read_cursor(query: &ListQuery, cursor: &str) -> Result<PageCursor> {
    let bytes: Option<Vec<u8>> = cursor
        .as_bytes()
        .chunks(2)
        .map(|pair| {
            std::str::from_utf8(pair).ok().filter(|p| p.len() == 2).and_then(|p| u8::from_str_radix(p, 16).ok())
        })
        .collect();
    type PageSqlParts = (Vec<(String, bool)>, Vec<Option<String>>, i64, bool);
    let parts: Option<PageSqlParts> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    match parts {
        Some((sort, keys, total, exact)) if sort == query.sort && keys.len() == sort.len() + 1 => {
            Ok(PageCursor { keys, total, exact })
        }
        _ => Err(DatabaseError::InvalidCursor),
    }
}

/// The condition 'after the row with these keys' in the query's order: nulls last going up, first going down.
fn after_cursor(
    conditions: &mut WhereBuilder,
    entity: &EntityType,
    query: &ListQuery,
    keys: &[Option<String>],
) -> Result<String> {
    let mut alternatives = Vec::new();
    let mut ties: Vec<String> = Vec::new();
    let id = ("id".to_owned(), false);
    for ((column, down), key) in query.sort.iter().chain([&id]).zip(keys) {
        let sql_type = &entity.column(column).ok_or(DatabaseError::InvalidCursor)?.sql_type;
        let left = format!("t.{}", sql::quote_ident(column));
        let (beyond, tie) = match key {
            None => (if *down { format!("{left} is not null") } else { "false".to_owned() }, format!("{left} is null")),
            Some(value) => {
                if column == "id" && value.parse::<Uuid>().is_err() {
                    return Err(DatabaseError::InvalidCursor);
                }
                let value =
                    format!("cast({}::text as {sql_type})", conditions.bind(BindValue::Text(Some(value.clone()))));
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
