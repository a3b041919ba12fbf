//! Links between parents and children.
//!
//! Writes only free links: links that no column represents. Triggers maintain all other links.
//! Callers check permissions.

use crate::{Connection, Result};
use pmo_domain::EntityCode;
use serde_json::Value;
use uuid::Uuid;

/// Link between a parent and a child.
pub struct EntityLink {
    /// Id of the link.
    pub id: Uuid,
    /// Type and id of the parent.
    pub parent: (EntityCode, Uuid),
    /// Type and id of the child.
    pub child: (EntityCode, Uuid),
    /// Whether grants are inherited in full; otherwise they give at most COMMENT.
    pub owned: bool,
    /// Column that the link represents; empty for a free link.
    pub column: String,
}

/// Whether the child of a new link is created in the same transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildAge {
    /// The child is new: the link is not logged, because the log row of the child covers it.
    New,
    /// The child existed before: the link is logged.
    Existing,
}

/// Inserts a free link, or updates `owned` of an existing one; returns the row as JSON.
pub async fn insert_or_get(
    conn: &mut Connection,
    parent: (&EntityCode, Uuid),
    child: (&EntityCode, Uuid),
    owned: bool,
    age: ChildAge,
) -> Result<Value> {
    if age == ChildAge::New {
        sqlx::query("select set_config('app.creator_grant', 'on', true)").execute(&mut *conn).await?;
    }
    let link = sqlx::query_scalar(
        "insert into app.entity_instance_link as l (parent_code, parent_id, child_code, child_id, owned) values ($1, $2, $3, $4, $5)
         on conflict (child_code, child_id, parent_code, parent_id, column_name) do update set owned = excluded.owned
         returning to_jsonb(l) - 'column_name'",
    )
    .bind(parent.0.as_str())
    .bind(parent.1)
    .bind(child.0.as_str())
    .bind(child.1)
    .bind(owned)
    .fetch_one(&mut *conn)
    .await?;
    if age == ChildAge::New {
        sqlx::query("select set_config('app.creator_grant', '', true)").execute(conn).await?;
    }
    Ok(link)
}

/// Returns a link by id and locks it until the transaction ends.
pub async fn find(conn: &mut Connection, id: Uuid) -> Result<Option<EntityLink>> {
    let row: Option<LinkRow> = sqlx::query_as(
        "select id, parent_code, parent_id, child_code, child_id, owned, column_name from app.entity_instance_link where id = $1 for update",
    )
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(row.and_then(from_row))
}

/// Returns the link between two entities and locks it until the transaction ends.
///
/// If there are several, returns the free link.
pub async fn find_between(
    conn: &mut Connection,
    parent: (&EntityCode, Uuid),
    child: (&EntityCode, Uuid),
) -> Result<Option<EntityLink>> {
    let row: Option<LinkRow> = sqlx::query_as(
        "select id, parent_code, parent_id, child_code, child_id, owned, column_name from app.entity_instance_link
         where parent_code = $1 and parent_id = $2 and child_code = $3 and child_id = $4 order by column_name limit 1 for update",
    )
    .bind(parent.0.as_str())
    .bind(parent.1)
    .bind(child.0.as_str())
    .bind(child.1)
    .fetch_optional(conn)
    .await?;
    Ok(row.and_then(from_row))
}

type LinkRow = (Uuid, String, Uuid, String, Uuid, bool, String);

/// Converts a row; returns `None` if it has an invalid type code.
fn from_row((id, parent, parent_id, child, child_id, owned, column): LinkRow) -> Option<EntityLink> {
    let (parent, child) = (EntityCode::new(parent).ok()?, EntityCode::new(child).ok()?);
    Some(EntityLink { id, parent: (parent, parent_id), child: (child, child_id), owned, column })
}

/// Deletes a link.
pub async fn delete(conn: &mut Connection, id: Uuid) -> Result<()> {
    sqlx::query("delete from app.entity_instance_link where id = $1").bind(id).execute(conn).await?;
    Ok(())
}

/// Returns the parents of an entity, each with whether the link is owned; at most `limit`.
///
/// Parents by owned links come first.
pub async fn parents(conn: &mut Connection, code: &EntityCode, id: Uuid, limit: usize) -> Result<Vec<(Uuid, bool)>> {
    Ok(sqlx::query_as(
        "select parent_id, bool_or(owned) from app.entity_instance_link where child_code = $1 and child_id = $2
         group by parent_id order by bool_or(owned) desc, parent_id limit $3",
    )
    .bind(code.as_str())
    .bind(id)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(conn)
    .await?)
}

/// Returns the descendants of an entity by owned links, each once; at most `limit`.
pub async fn descendants(
    conn: &mut Connection,
    code: &EntityCode,
    id: Uuid,
    limit: usize,
) -> Result<Vec<(EntityCode, Uuid)>> {
    let rows: Vec<(String, Uuid)> = sqlx::query_as(
        "with recursive tree (code, id) as (
           select child_code, child_id from app.entity_instance_link where parent_code = $1 and parent_id = $2 and owned
           union
           select l.child_code, l.child_id from tree t join app.entity_instance_link l on l.parent_code = t.code and l.parent_id = t.id and l.owned)
         select code, id from tree limit $3",
    )
    .bind(code.as_str())
    .bind(id)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().filter_map(|(code, id)| Some((EntityCode::new(code).ok()?, id))).collect())
}

/// Returns the owned free links in the tree below an entity, including those of the entity itself.
///
/// Each item contains type and id of a parent in the tree, a child type, and the ids of the
/// parent's children of that type.
pub async fn free_links(
    conn: &mut Connection,
    code: &EntityCode,
    id: Uuid,
) -> Result<Vec<(EntityCode, Uuid, EntityCode, Vec<Uuid>)>> {
    let rows: Vec<(String, Uuid, String, Vec<Uuid>)> = sqlx::query_as(
        "with recursive tree (code, id) as (
           select $1, $2
           union
           select l.child_code, l.child_id from tree t join app.entity_instance_link l on l.parent_code = t.code and l.parent_id = t.id and l.owned)
         select l.parent_code, l.parent_id, l.child_code, array_agg(l.child_id order by l.child_id)
         from tree t join app.entity_instance_link l on l.parent_code = t.code and l.parent_id = t.id and l.owned and l.column_name = ''
         group by 1, 2, 3 order by 1, 2, 3",
    )
    .bind(code.as_str())
    .bind(id)
    .fetch_all(conn)
    .await?;
    let parse = |(parent, id, child, ids)| Some((EntityCode::new(parent).ok()?, id, EntityCode::new(child).ok()?, ids));
    Ok(rows.into_iter().filter_map(parse).collect())
}
