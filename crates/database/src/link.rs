//! Links between parents and children.
//!
//! Writes only free links: links that no column represents. Triggers maintain all other links.
//! Callers check permissions.

use crate::{Connection, Result};
use pmo_domain::{EntityCode, EntityRef};
use uuid::Uuid;

/// Link between a parent and a child.
pub struct EntityLink {
    /// Id of the link.
    pub id: Uuid,
    /// Parent.
    pub parent: EntityRef,
    /// Child.
    pub child: EntityRef,
    /// Whether grants are inherited in full; otherwise they give at most COMMENT.
    pub owned: bool,
    /// Column that the link represents; empty for a free link.
    pub column: String,
    /// Time of creation, RFC 3339.
    pub created_ts: String,
}

/// Whether the child of a new link is created in the same transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildAge {
    /// The child is new: the link is not logged, because the log row of the child covers it.
    New,
    /// The child existed before: the link is logged.
    Existing,
}

/// Owned free links of a parent to its children of one type.
#[derive(serde::Serialize)]
pub struct FreeLinks {
    /// Parent.
    pub parent: EntityRef,
    /// Type code of the children.
    pub child: EntityCode,
    /// Ids of the children, in ascending order.
    pub ids: Vec<Uuid>,
}

/// Parent of an entity by links.
#[derive(sqlx::FromRow)]
pub struct ParentLink {
    /// Id of the parent.
    pub id: Uuid,
    /// Whether one of the links is owned.
    pub owned: bool,
}

/// Inserts a free link, or updates `owned` of an existing one, and returns it.
pub async fn insert_or_get(
    conn: &mut Connection,
    parent: (&EntityCode, Uuid),
    child: (&EntityCode, Uuid),
    owned: bool,
    age: ChildAge,
) -> Result<EntityLink> {
    if age == ChildAge::New {
        sqlx::query("select set_config('app.creator_grant', 'on', true)").execute(&mut *conn).await?;
    }
    let (id, created_ts) = sqlx::query_as(
        "insert into app.entity_instance_link as l (parent_code, parent_id, child_code, child_id, owned) values ($1, $2, $3, $4, $5)
         on conflict (child_code, child_id, parent_code, parent_id, column_name) do update set owned = excluded.owned
         returning l.id, to_json(l.created_ts) #>> '{}'",
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
    let entity = |(code, id): (&EntityCode, Uuid)| EntityRef::new(code.clone(), id);
    Ok(EntityLink { id, parent: entity(parent), child: entity(child), owned, column: String::new(), created_ts })
}

/// Returns a link by id and locks it until the transaction ends.
pub async fn find(conn: &mut Connection, id: Uuid) -> Result<Option<EntityLink>> {
    let row: Option<LinkRow> = sqlx::query_as(
        "select id, parent_code, parent_id, child_code, child_id, owned, column_name, to_json(created_ts) #>> '{}'
         from app.entity_instance_link where id = $1 for update",
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
        "select id, parent_code, parent_id, child_code, child_id, owned, column_name, to_json(created_ts) #>> '{}'
         from app.entity_instance_link where parent_code = $1 and parent_id = $2 and child_code = $3 and child_id = $4 order by column_name limit 1 for update",
    )
    .bind(parent.0.as_str())
    .bind(parent.1)
    .bind(child.0.as_str())
    .bind(child.1)
    .fetch_optional(conn)
    .await?;
    Ok(row.and_then(from_row))
}

type LinkRow = (Uuid, String, Uuid, String, Uuid, bool, String, String);

/// Converts a row; returns `None` if it has an invalid type code.
fn from_row(row: LinkRow) -> Option<EntityLink> {
    let (id, parent, parent_id, child, child_id, owned, column, created_ts) = row;
    let entity = |code: String, id| Some(EntityRef::new(EntityCode::new(code).ok()?, id));
    Some(EntityLink {
        id,
        parent: entity(parent, parent_id)?,
        child: entity(child, child_id)?,
        owned,
        column,
        created_ts,
    })
}

/// Deletes a link.
pub async fn delete(conn: &mut Connection, id: Uuid) -> Result<()> {
    sqlx::query("delete from app.entity_instance_link where id = $1").bind(id).execute(conn).await?;
    Ok(())
}

/// Returns the parents of an entity; at most `limit`.
///
/// Parents by owned links come first.
pub async fn parents(conn: &mut Connection, code: &EntityCode, id: Uuid, limit: usize) -> Result<Vec<ParentLink>> {
    Ok(sqlx::query_as(
        "select parent_id as id, bool_or(owned) as owned from app.entity_instance_link where child_code = $1 and child_id = $2
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
/// Sorted by type and id of the parent and by type of the children.
pub async fn free_links(conn: &mut Connection, code: &EntityCode, id: Uuid) -> Result<Vec<FreeLinks>> {
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
    let parse = |(parent, id, child, ids)| {
        let parent = EntityRef::new(EntityCode::new(parent).ok()?, id);
        Some(FreeLinks { parent, child: EntityCode::new(child).ok()?, ids })
    };
    Ok(rows.into_iter().filter_map(parse).collect())
}
