//! The order of things by hand, in types that keep a rank.

use crate::sql;
use crate::{Connection, Result};
use pmo_domain::EntityType;
use uuid::Uuid;

/// The living siblings that a thing would have below `parent`, in order, each with its rank; itself left out. At the top they are those of
/// its project.
pub async fn siblings(
    c: &mut Connection,
    entity: &EntityType,
    id: Uuid,
    parent: Option<Uuid>,
) -> Result<Vec<(Uuid, String)>> {
    let (table, above) = (sql::table(entity), sql::quote_ident(&format!("parent__{}_id", entity.code)));
    let text = format!(
        "select t.id, coalesce(t.rank, '') from {table} t join {table} it on it.id = $1
         where t.{above} is not distinct from $2 and t.project_id is not distinct from it.project_id and t.active_flag and t.id <> $1
         order by t.rank, t.id"
    );
    Ok(sqlx::query_as(sql::statement(text)).bind(id).bind(parent).fetch_all(c).await?)
}

/// Numbers the outline that a thing lies in anew; answers how many numbers have changed.
pub async fn renumber(c: &mut Connection, entity: &EntityType, id: Uuid) -> Result<i32> {
    Ok(sqlx::query_scalar("select app.renumber_outline($1, $2)")
        .bind(entity.code.as_str())
        .bind(id)
        .fetch_one(c)
        .await?)
}
