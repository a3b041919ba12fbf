//! Execution of the demo data script (`db/demo.sql`).

use crate::{Connection, Pool, Result};

/// Returns the number of projects, including deleted ones.
pub async fn count_projects(conn: &mut Connection) -> Result<i64> {
    Ok(sqlx::query_scalar("select count(*) from app.project").fetch_one(conn).await?)
}

/// Locks the loading of demo data until the transaction ends; waits for a concurrent load.
pub async fn lock_seeding(conn: &mut Connection) -> Result<()> {
    sqlx::query("select pg_advisory_xact_lock(hashtext('pmo demo data'))").execute(conn).await?;
    Ok(())
}

/// Runs the script; `counts` are the numbers of entities that it creates of each kind.
///
/// Must run in a transaction: the counts and the missing statement timeout apply until its end.
pub async fn load(conn: &mut Connection, counts: &[(&str, i64)]) -> Result<()> {
    sqlx::query("select set_config('statement_timeout', '0', true)").execute(&mut *conn).await?;
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

/// Updates the statistics of the planner after the load.
pub async fn analyze(pool: &Pool) -> Result<()> {
    sqlx::raw_sql("analyze").execute(pool).await?;
    Ok(())
}
