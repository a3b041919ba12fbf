//! List queries over visible rows: filter, sort, page, count.
//!
//! Keyset paging: rows inserted or deleted between two pages neither repeat nor hide other rows.

use crate::row_cache::{CachedRowJson, RowCache};
use crate::sql::{self, BindValue, WhereBuilder};
use crate::visibility::{ReadContext, Visibility};
use crate::{Connection, DatabaseError, PlanMode, Result};
use pmo_domain::query::{ListQuery, Operator};
use pmo_domain::{ChildRelation, EntityCode, EntityType, Permission, PersonId};
use std::collections::BTreeSet;
use std::sync::Arc;
use uuid::Uuid;

/// Number of rows up to which totals are exact; the total of a longer list may be a lower bound.
pub const COUNT_LIMIT: usize = 200;

/// Common page sizes, whose statements stay prepared.
const PREPARED_LIMITS: [usize; 7] = [1, 20, 50, 100, 200, 500, 1000];

/// Row of a list, as JSON that is not parsed here.
pub struct ListRow {
    /// Id of the entity.
    pub id: Uuid,
    /// Selected columns of the row.
    pub row: Arc<CachedRowJson>,
}

/// One page of a list.
pub struct RowPage {
    /// Rows in the order of the query.
    pub rows: Vec<ListRow>,
    /// Ids that the rows reference, without duplicates.
    pub referenced_ids: Vec<Uuid>,
    /// Number of matching rows over all pages; a lower bound unless `exact`.
    pub total: i64,
    /// Whether `total` is exact.
    pub exact: bool,
    /// Cursor of the next page; `None` on the last page.
    pub next_cursor: Option<String>,
}

/// Restricts a list to the children of one entity in one child relation.
pub struct ParentFilter<'a> {
    /// Type of the parent.
    pub parent_code: &'a EntityCode,
    /// Id of the parent.
    pub parent_id: Uuid,
    /// Child relation between the two types.
    pub relation: &'a ChildRelation,
}

/// Returns one page of the rows that match `query` and are visible to `reader`.
///
/// Must run in the transaction in which `reader` began. `query` must have been validated.
///
/// # Errors
/// [`DatabaseError::InvalidCursor`] if the cursor of `query` is malformed or of another list.
#[tracing::instrument(level = "debug", skip_all)]
pub async fn fetch_page(
    conn: &mut Connection,
    reader: &mut ReadContext<'_>,
    row_cache: &RowCache,
    entity: &EntityType,
    query: &ListQuery,
    parent: Option<&ParentFilter<'_>>,
) -> Result<RowPage> {
    let mut conditions = query_conditions(entity, query, parent);
    if query.include_deleted {
        exclude_unrestorable(&mut conditions, entity, reader.person);
    }
    let visibility = reader.visibility(&mut *conn, &entity.code).await?;
    if !visibility.is_any_visible() {
        return Ok(RowPage { rows: Vec::new(), referenced_ids: Vec::new(), total: 0, exact: true, next_cursor: None });
    }
    let plan = ListPlan::new(entity, query, parent.is_some(), &visibility)?;
    let statement = plan.statement(&visibility, &mut conditions)?;
    let mut page_rows = plan.fetch(conn, statement, conditions.values).await.map_err(|error| match error {
        // Filters are validated before; the keys of a cursor are converted by the database.
        DatabaseError::ConstraintViolation { .. } if query.cursor.is_some() => DatabaseError::InvalidCursor,
        error => error,
    })?;
    let has_more = page_rows.len() > query.limit;
    page_rows.truncate(query.limit);
    let (total, exact) = plan.total(&page_rows, has_more);
    let last_keys = page_rows.last().filter(|_| has_more).and_then(|last| last.keys.clone());
    let next_cursor = last_keys.map(|keys| write_cursor(query, &PageCursor { keys, total, exact }));
    let states = page_rows.iter().map(|row| (row.id, (row.version, row.transaction)));
    let mut cached_rows = row_cache.get_many(conn, entity, &query.fields, states).await?;
    let mut referenced_ids: BTreeSet<Uuid> = BTreeSet::new();
    let mut rows = Vec::with_capacity(page_rows.len());
    for page_row in page_rows {
        let Some(row) = cached_rows.remove(&page_row.id) else { continue };
        referenced_ids.extend(&row.referenced_ids);
        rows.push(ListRow { id: page_row.id, row });
    }
    Ok(RowPage { rows, referenced_ids: referenced_ids.into_iter().collect(), total, exact, next_cursor })
}

/// Returns the conditions that the query and the parent state, without those of visibility.
fn query_conditions(entity: &EntityType, query: &ListQuery, parent: Option<&ParentFilter<'_>>) -> WhereBuilder {
    let mut conditions = WhereBuilder::default();
    if !query.include_deleted {
        conditions.push("t.active_flag");
    }
    if let Some(ids) = &query.ids {
        let ids = conditions.bind(BindValue::Ids(ids.clone()));
        conditions.push(format!("t.id = any ({ids})"));
    }
    if let Some(parent) = parent {
        let parent_id = conditions.bind(BindValue::Id(parent.parent_id));
        match (&parent.relation.parent_column, &parent.relation.parent_type_column) {
            (Some(column), None) => conditions.push(format!("t.{} = {parent_id}", sql::quote_ident(column))),
            _ => conditions.push(format!(
                "t.id in (select l.child_id from app.entity_instance_link l
                          where l.parent_code = '{}' and l.parent_id = {parent_id} and l.child_code = '{}')",
                parent.parent_code, entity.code
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
    conditions
}

/// Excludes the deleted rows that `person` may not restore.
///
/// The permissions of all deleted rows that match the other conditions are evaluated at once.
fn exclude_unrestorable(conditions: &mut WhereBuilder, entity: &EntityType, person: PersonId) {
    let (table, matching) = (sql::table(entity), conditions.joined());
    let (person, code) = (conditions.bind(BindValue::Id(person.0)), &entity.code);
    let required = u8::from(Permission::Delete);
    conditions.push(format!(
        "(t.active_flag or t.id = any (array(
           select p.id from app.permissions(array[{person}], '{code}', array(select t.id from {table} t where not t.active_flag and {matching})) p
           where p.level >= {required})))"
    ));
}

/// Method of finding the rows of a page.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Strategy {
    /// Scans an index in the order of the query until the page is full.
    ScanIndex,
    /// Collects the visible rows first and sorts them.
    CollectVisible,
    /// Same as `CollectVisible`, beginning with the ancestor sets that the reader may view.
    CollectByAncestorSet,
}

/// Plan of one page: strategy, order and position.
struct ListPlan<'a> {
    entity: &'a EntityType,
    query: &'a ListQuery,
    strategy: Strategy,
    /// Whether the best index depends on the values of the filters.
    needs_custom_plan: bool,
    /// Position of the page; `None` if the query has no cursor.
    cursor: Option<PageCursor>,
    /// Sort columns, each with whether it descends; the last is the id.
    order: Vec<(&'a str, bool)>,
}

impl<'a> ListPlan<'a> {
    /// Chooses the strategy and decodes the cursor.
    ///
    /// If a filter restricts the first sort column, an index scan from that value on finds a page
    /// soon. Otherwise all matching rows may be at the far end of the index, which the planner does
    /// not expect: the visible rows are collected first, at a cost proportional to their number.
    fn new(entity: &'a EntityType, query: &'a ListQuery, has_parent: bool, visibility: &Visibility) -> Result<Self> {
        let cursor = query.cursor.as_deref().map(|cursor| read_cursor(query, cursor)).transpose()?;
        let starts_at_filter = query.sort.first().is_some_and(|(column, _)| {
            query
                .filters
                .iter()
                .any(|f| f.column == *column && !matches!(f.operator, Operator::Ne | Operator::Contains))
        });
        let collects_first = query.ids.is_none() && !starts_at_filter && (!visibility.all_visible || has_parent);
        let strategy = match (collects_first, has_parent) {
            (false, _) => Strategy::ScanIndex,
            (true, true) => Strategy::CollectVisible,
            (true, false) => Strategy::CollectByAncestorSet,
        };
        let is_filtered = !query.filters.is_empty() || query.search.is_some();
        let sort = query.sort.iter().map(|(column, descending)| (column.as_str(), *descending));
        Ok(Self {
            entity,
            query,
            strategy,
            // Without a visibility condition the best index depends on the values of the filters.
            needs_custom_plan: visibility.all_visible && !starts_at_filter && is_filtered,
            cursor,
            order: sort.chain([("id", false)]).collect(),
        })
    }

    fn is_first_page(&self) -> bool {
        self.cursor.is_none() && self.query.offset == 0
    }

    /// Builds the statement that returns the rows of the page as [`PageRow`].
    ///
    /// One row beyond each limit shows that there are more rows.
    fn statement(&self, visibility: &Visibility, conditions: &mut WhereBuilder) -> Result<String> {
        let table = sql::table(self.entity);
        let source = self.source(visibility, conditions);
        let after = match &self.cursor {
            Some(cursor) => after_cursor(conditions, self.entity, self.query, &cursor.keys)?,
            None => "true".to_owned(),
        };
        let quoted = self.order.iter().map(|(column, descending)| (sql::quote_ident(column), *descending));
        let (keys, ordered): (Vec<String>, Vec<String>) = quoted
            .map(|(column, descending)| {
                (format!("t.{column}::text"), format!("t.{column} {}", if descending { "desc" } else { "asc" }))
            })
            .unzip();
        let (keys, ordered) = (keys.join(", "), ordered.join(", "));
        let (limit, offset) = (self.query.limit + 1, self.query.offset);
        let scan_limit = if self.is_first_page() { limit.max(COUNT_LIMIT + 1) } else { limit };
        let position = format!("row_number() over (order by {ordered}) as row_no");
        let ctes = if self.strategy == Strategy::ScanIndex {
            format!(
                "visible as materialized (select t.id, {position} from {table} t where {} and {after} order by {ordered} limit {scan_limit} offset {offset}),
             page as (select * from visible order by row_no limit {limit})",
                conditions.joined()
            )
        } else {
            format!(
                "visible as materialized ({source}),
             page as materialized (select t.id, {position} from visible t where {after} order by {ordered} limit {limit} offset {offset})"
            )
        };
        let last_position = offset + self.query.limit;
        Ok(format!(
            "with {ctes}
         select t.id, t.version, t.xmin::text::bigint as transaction,
                case when page.row_no = {last_position} then array[{keys}]::text[] end as keys, (select count(*) from visible) as counted
         from page join {table} t using (id) order by page.row_no"
        ))
    }

    /// Adds the conditions of visibility; returns the statement that collects the visible rows.
    fn source(&self, visibility: &Visibility, conditions: &mut WhereBuilder) -> String {
        let table = sql::table(self.entity);
        let columns: BTreeSet<String> =
            self.order.iter().map(|(column, _)| format!("t.{}", sql::quote_ident(column))).collect();
        let columns = columns.into_iter().collect::<Vec<_>>().join(", ");
        if self.strategy != Strategy::CollectByAncestorSet {
            visibility.apply_filter(conditions);
            return format!("select {columns} from {table} t where {}", conditions.joined());
        }
        visibility.apply_denies(conditions);
        let matching = conditions.joined();
        let (first, last) = visibility.ancestor_sets.ranges();
        let (first, last) = (conditions.bind(BindValue::Numbers(first)), conditions.bind(BindValue::Numbers(last)));
        let mut source = format!(
            "select {columns} from unnest({first}::integer[], {last}::integer[]) r (first, last)
                                   join {table} t on t.ancestor_set_id between r.first and r.last where {matching}"
        );
        if !visibility.direct_ids.is_empty() {
            let direct = conditions.bind(BindValue::Ids(visibility.direct_ids.iter().copied().collect()));
            let in_granted_set = visibility.ancestor_sets.sql_condition(conditions);
            source += &format!(
                " union all select {columns} from {table} t where {matching} and t.id = any ({direct}) and not {in_granted_set}"
            );
        }
        source
    }

    /// Executes the statement; returns up to one row more than the limit.
    async fn fetch(&self, conn: &mut Connection, statement: String, values: Vec<BindValue>) -> Result<Vec<PageRow>> {
        // Limit and offset are part of the text: only common ones stay prepared, to bound their
        // number.
        let has_common_limit = self.query.offset == 0 && PREPARED_LIMITS.contains(&self.query.limit);
        if self.needs_custom_plan {
            crate::set_plan_mode(conn, PlanMode::Custom).await?;
        }
        let page = sqlx::query_as::<_, PageRow>(sql::statement(statement))
            .persistent(has_common_limit && !self.needs_custom_plan);
        let page_rows = sql::bind_all!(page, values).fetch_all(&mut *conn).await?;
        if self.needs_custom_plan {
            crate::set_plan_mode(conn, PlanMode::Generic).await?;
        }
        Ok(page_rows)
    }

    /// Returns the number of matching rows over all pages, and whether it is exact.
    fn total(&self, page_rows: &[PageRow], has_more: bool) -> (i64, bool) {
        let counted = page_rows.first().map_or(0, |row| row.counted);
        let skipped = i64::try_from(self.query.offset).unwrap_or(0);
        match &self.cursor {
            Some(cursor) => (cursor.total, cursor.exact),
            // The offset is beyond the last row: no row carries the count.
            None if page_rows.is_empty() && skipped > 0 => (0, false),
            None if self.strategy != Strategy::ScanIndex => (counted, true),
            None if self.is_first_page() && counted <= count_limit() => (counted, true),
            // `counted` excludes the rows that the offset skips.
            None if !has_more => (counted + skipped, true),
            None => (counted.min(count_limit()) + skipped, false),
        }
    }
}

/// Returns [`COUNT_LIMIT`] in the type of SQL counts.
fn count_limit() -> i64 {
    i64::try_from(COUNT_LIMIT).unwrap_or(i64::MAX)
}

#[derive(sqlx::FromRow)]
struct PageRow {
    id: Uuid,
    version: i64,
    transaction: i64,
    /// Sort keys as text; only on the last row of a full page.
    keys: Option<Vec<Option<String>>>,
    counted: i64,
}

/// Decoded cursor: sort keys of the last row of a page, and the total of the list.
struct PageCursor {
    keys: Vec<Option<String>>,
    total: i64,
    exact: bool,
}

/// Encodes a cursor as hexadecimal JSON.
///
/// Contains the sort order, so that a cursor of a list with another order is rejected.
fn write_cursor(query: &ListQuery, cursor: &PageCursor) -> String {
    let json = serde_json::json!([query.sort, cursor.keys, cursor.total, cursor.exact]).to_string();
    json.bytes().map(|b| format!("{b:02x}")).collect()
}

/// Decodes a cursor and checks that it has the sort order of `query`.
fn read_cursor(query: &ListQuery, cursor: &str) -> Result<PageCursor> {
    let bytes: Option<Vec<u8>> = cursor
        .as_bytes()
        .chunks(2)
        .map(|pair| {
            std::str::from_utf8(pair).ok().filter(|p| p.len() == 2).and_then(|p| u8::from_str_radix(p, 16).ok())
        })
        .collect();
    type CursorParts = (Vec<(String, bool)>, Vec<Option<String>>, i64, bool);
    let parts: Option<CursorParts> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    match parts {
        Some((sort, keys, total, exact)) if sort == query.sort && keys.len() == sort.len() + 1 => {
            Ok(PageCursor { keys, total, exact })
        }
        _ => Err(DatabaseError::InvalidCursor),
    }
}

/// Returns the condition that a row comes after the row with these sort keys.
///
/// Nulls sort last in ascending order and first in descending order, as in PostgreSQL.
fn after_cursor(
    conditions: &mut WhereBuilder,
    entity: &EntityType,
    query: &ListQuery,
    keys: &[Option<String>],
) -> Result<String> {
    let mut alternatives = Vec::new();
    let mut equal_keys: Vec<String> = Vec::new();
    let id = ("id".to_owned(), false);
    for ((column, descending), key) in query.sort.iter().chain([&id]).zip(keys) {
        let sql_type = &entity.column(column).ok_or(DatabaseError::InvalidCursor)?.sql_type;
        let left = format!("t.{}", sql::quote_ident(column));
        let (after, equal) = match key {
            None => (
                if *descending { format!("{left} is not null") } else { "false".to_owned() },
                format!("{left} is null"),
            ),
            Some(value) => {
                if column == "id" && value.parse::<Uuid>().is_err() {
                    return Err(DatabaseError::InvalidCursor);
                }
                let value =
                    format!("cast({}::text as {sql_type})", conditions.bind(BindValue::Text(Some(value.clone()))));
                let after = if *descending {
                    format!("{left} < {value}")
                } else {
                    format!("({left} > {value} or {left} is null)")
                };
                (after, format!("{left} = {value}"))
            }
        };
        alternatives.push(equal_keys.iter().cloned().chain([after]).collect::<Vec<_>>().join(" and "));
        equal_keys.push(equal);
    }
    Ok(format!("({})", alternatives.iter().map(|a| format!("({a})")).collect::<Vec<_>>().join(" or ")))
}
