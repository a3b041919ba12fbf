//! Manual order among siblings, for types with a rank.

use crate::sql;
use crate::{Connection, Result};
use pmo_domain::EntityType;
use uuid::Uuid;

/// Position of an entity among its siblings.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Sibling {
    /// Id of the entity.
    pub id: Uuid,
    /// Rank, a fractional index; empty if the entity has none.
    pub rank: String,
}

/// Returns the active siblings that an entity has or would have below `parent`.
///
/// In the order of rank, without the entity itself. Without `parent`: the top level of its project.
pub async fn siblings(
    conn: &mut Connection,
    entity: &EntityType,
    id: Uuid,
    parent: Option<Uuid>,
) -> Result<Vec<Sibling>> {
    let (table, parent_column) = (sql::table(entity), sql::quote_ident(&format!("parent__{}_id", entity.code)));
    let statement = format!(
        "select t.id, coalesce(t.rank, '') as rank from {table} t join {table} it on it.id = $1
         where t.{parent_column} is not distinct from $2 and t.project_id is not distinct from it.project_id and t.active_flag and t.id <> $1
         order by t.rank, t.id"
    );
    Ok(sqlx::query_as(sql::statement(statement)).bind(id).bind(parent).fetch_all(conn).await?)
}

/// Renumbers the outline that contains an entity; returns the number of changed rows.
pub async fn renumber(conn: &mut Connection, entity: &EntityType, id: Uuid) -> Result<i32> {
    Ok(sqlx::query_scalar("select app.renumber_outline($1, $2)")
        .bind(entity.code.as_str())
        .bind(id)
        .fetch_one(conn)
        .await?)
}
