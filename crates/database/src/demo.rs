//! Loading of demo data: the scripts `db/demo.sql` and `db/demo/access.sql`, and rows in bulk.

use crate::sql::{quote_ident, statement};
use crate::{Connection, Pool, Result};
use pmo_domain::Row;
use sqlx::types::Json;
use std::collections::BTreeSet;

/// Number of rows of one statement.
const MAX_ROWS: usize = 2000;

/// Returns the number of projects, including deleted ones.
pub async fn count_projects(conn: &mut Connection) -> Result<i64> {
    Ok(sqlx::query_scalar("select count(*) from app.project").fetch_one(conn).await?)
}

/// Locks the loading of demo data until the transaction ends; waits for a concurrent load.
pub async fn lock_seeding(conn: &mut Connection) -> Result<()> {
    sqlx::query("select pg_advisory_xact_lock(hashtext('pmo demo data'))").execute(conn).await?;
    Ok(())
}

/// Inserts roles, offices and the demo accounts; `counts` are the numbers of entities of each kind.
///
/// Must run in a transaction: the counts and the missing statement timeout apply until its end.
/// Until then, inserted dependencies are not checked for rings, and assignments and assignees are
/// inserted by the caller.
pub async fn begin_load(conn: &mut Connection, counts: &[(&str, i64)]) -> Result<()> {
    sqlx::query(
        "select set_config('statement_timeout', '0', true), set_config('app.bulk_import', 'on', true), set_config('app.sync_assignments', 'off', true)",
    )
    .execute(&mut *conn)
    .await?;
    for (name, count) in counts {
        sqlx::query("select set_config('seed.' || $1, $2, true)")
            .bind(*name)
            .bind(count.to_string())
            .execute(&mut *conn)
            .await?;
    }
    sqlx::raw_sql(include_str!("../../../db/demo.sql")).execute(conn).await?;
    Ok(())
}

/// Inserts rows into the table of an entity type, in their order.
///
/// A column that some of the rows lack is null in them; one that all rows lack gets its default.
pub async fn insert_rows(conn: &mut Connection, table: &'static str, rows: &[Row]) -> Result<()> {
    let columns: BTreeSet<&str> = rows.iter().flat_map(|row| row.keys().map(String::as_str)).collect();
    if columns.is_empty() {
        return Ok(());
    }
    let table = quote_ident(table);
    let columns = columns.into_iter().map(quote_ident).collect::<Vec<_>>().join(", ");
    let text = format!(
        "insert into app.{table} ({columns}) select {columns} from jsonb_populate_recordset(null::app.{table}, $1)"
    );
    for part in rows.chunks(MAX_ROWS) {
        sqlx::query(statement(text.clone())).bind(Json(part)).execute(&mut *conn).await?;
    }
    Ok(())
}

/// Inserts rows of comments with the authors that they name, not with the actor.
pub async fn insert_comments(conn: &mut Connection, rows: &[Row]) -> Result<()> {
    let actor: Option<String> =
        sqlx::query_scalar("select current_setting('app.actor_person_id', true)").fetch_one(&mut *conn).await?;
    let set_actor = "select set_config('app.actor_person_id', $1, true)";
    sqlx::query(set_actor).bind("").execute(&mut *conn).await?;
    insert_rows(conn, "message", rows).await?;
    sqlx::query(set_actor).bind(actor.unwrap_or_default()).execute(conn).await?;
    Ok(())
}

/// Inserts the grants of the demo roles and people, and ends what [`begin_load`] began.
///
/// The dates of all projects are computed already: their changes are removed from the queue of the
/// schedule worker.
pub async fn finish_load(conn: &mut Connection) -> Result<()> {
    sqlx::raw_sql(include_str!("../../../db/demo/access.sql")).execute(&mut *conn).await?;
    sqlx::query("delete from app.schedule_queue").execute(&mut *conn).await?;
    sqlx::query("select set_config('app.bulk_import', '', true), set_config('app.sync_assignments', '', true)")
        .execute(conn)
        .await?;
    Ok(())
}

/// Updates the statistics of the planner after the load.
pub async fn analyze(pool: &Pool) -> Result<()> {
    sqlx::raw_sql("analyze").execute(pool).await?;
    Ok(())
}
