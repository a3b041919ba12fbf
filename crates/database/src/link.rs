//! Links that no column stands for: made, found, undone. Whether one may is the caller's business.

use crate::{Connection, Result};
use pmo_domain::EntityCode;
use serde_json::Value;
use uuid::Uuid;

/// A link.
pub struct EntityLink {
    /// Its id.
    pub id: Uuid,
    /// The thing above, and its type.
    pub parent: (EntityCode, Uuid),
    /// The thing below, and its type.
    pub child: (EntityCode, Uuid),
    /// Whether grants come down it whole.
    pub owned: bool,
    /// The column that it follows; empty: none.
    pub column: String,
}

/// Makes a link, or finds the one that is there already, and answers it. `quiet`: the child is new, and its own log row tells of it.
pub async fn insert_or_get(
    c: &mut Connection,
    parent: (&EntityCode, Uuid),
    child: (&EntityCode, Uuid),
    owned: bool,
    quiet: bool,
) -> Result<Value> {
    if quiet {
        sqlx::query("select set_config('app.creator_grant', 'on', true)").execute(&mut *c).await?;
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
    .fetch_one(&mut *c)
    .await?;
    if quiet {
        sqlx::query("select set_config('app.creator_grant', '', true)").execute(c).await?;
    }
    Ok(link)
}

/// The link of that id, locked.
pub async fn find(c: &mut Connection, id: Uuid) -> Result<Option<EntityLink>> {
    let line: Option<LinkRow> = sqlx::query_as(
        "select id, parent_code, parent_id, child_code, child_id, owned, column_name from app.entity_instance_link where id = $1 for update",
    )
    .bind(id)
    .fetch_optional(c)
    .await?;
    Ok(line.and_then(read))
}

/// The link between two things, locked: the one that no column stands for, if there are several.
pub async fn find_between(
    c: &mut Connection,
    parent: (&EntityCode, Uuid),
    child: (&EntityCode, Uuid),
) -> Result<Option<EntityLink>> {
    let line: Option<LinkRow> = sqlx::query_as(
        "select id, parent_code, parent_id, child_code, child_id, owned, column_name from app.entity_instance_link
         where parent_code = $1 and parent_id = $2 and child_code = $3 and child_id = $4 order by column_name limit 1 for update",
    )
    .bind(parent.0.as_str())
    .bind(parent.1)
    .bind(child.0.as_str())
    .bind(child.1)
    .fetch_optional(c)
    .await?;
    Ok(line.and_then(read))
}

type LinkRow = (Uuid, String, Uuid, String, Uuid, bool, String);

fn read((id, parent, parent_id, child, child_id, owned, column): LinkRow) -> Option<EntityLink> {
    let (parent, child) = (EntityCode::new(parent).ok()?, EntityCode::new(child).ok()?);
    Some(EntityLink { id, parent: (parent, parent_id), child: (child, child_id), owned, column })
}

/// Undoes a link.
pub async fn delete(c: &mut Connection, id: Uuid) -> Result<()> {
    sqlx::query("delete from app.entity_instance_link where id = $1").bind(id).execute(c).await?;
    Ok(())
}

/// What a thing hangs below, and whether it is owned there; at most so many.
pub async fn parents(c: &mut Connection, code: &EntityCode, id: Uuid, most: usize) -> Result<Vec<(Uuid, bool)>> {
    Ok(sqlx::query_as(
        "select parent_id, bool_or(owned) from app.entity_instance_link where child_code = $1 and child_id = $2
         group by parent_id order by bool_or(owned) desc, parent_id limit $3",
    )
    .bind(code.as_str())
    .bind(id)
    .bind(i64::try_from(most).unwrap_or(i64::MAX))
    .fetch_all(c)
    .await?)
}

/// All that hangs below a thing by owned links, however deep, each once; at most so many.
pub async fn descendants(
    c: &mut Connection,
    code: &EntityCode,
    id: Uuid,
    most: usize,
) -> Result<Vec<(EntityCode, Uuid)>> {
    let lines: Vec<(String, Uuid)> = sqlx::query_as(
        "with recursive tree (code, id) as (
           select child_code, child_id from app.entity_instance_link where parent_code = $1 and parent_id = $2 and owned
           union
           select l.child_code, l.child_id from tree t join app.entity_instance_link l on l.parent_code = t.code and l.parent_id = t.id and l.owned)
         select code, id from tree limit $3",
    )
    .bind(code.as_str())
    .bind(id)
    .bind(i64::try_from(most).unwrap_or(i64::MAX))
    .fetch_all(c)
    .await?;
    Ok(lines.into_iter().filter_map(|(code, id)| Some((EntityCode::new(code).ok()?, id))).collect())
}

/// What hangs somewhere below a thing by owned links that no column stands for: a thing there or the root, a type, and the ids of that type that hang on it.
pub async fn free_links(
    c: &mut Connection,
    code: &EntityCode,
    id: Uuid,
) -> Result<Vec<(EntityCode, Uuid, EntityCode, Vec<Uuid>)>> {
    let lines: Vec<(String, Uuid, String, Vec<Uuid>)> = sqlx::query_as(
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
    .fetch_all(c)
    .await?;
    let read = |(parent, id, child, ids)| Some((EntityCode::new(parent).ok()?, id, EntityCode::new(child).ok()?, ids));
    Ok(lines.into_iter().filter_map(read).collect())
}
