//! Runs the demo data's script (db/demo.sql). What is in it is not decided here.

use crate::{Connection, Pool, Result};

/// How many projects there are, deleted ones too.
pub async fn count_projects(connection: &mut Connection) -> Result<i64> {
    Ok(sqlx::query_scalar("select count(*) from app.project").fetch_one(connection).await?)
}

/// Waits until nobody else loads demo data, until the end of the transaction.
pub async fn lock_seeding(connection: &mut Connection) -> Result<()> {
    sqlx::query("select pg_advisory_xact_lock(hashtext('pmo demo data'))").execute(connection).await?;
    Ok(())
}

/// Runs the script at the scale of `numbers`.
pub async fn load(connection: &mut Connection, numbers: &[(&str, i64)]) -> Result<()> {
    sqlx::query("select set_config('statement_timeout', '0', true)").execute(&mut *connection).await?;
    for (what, n) in numbers {
        sqlx::query("select set_config('seed.' || $1, $2, true)")
            .bind(*what)
            .bind(n.to_string())
            .execute(&mut *connection)
            .await?;
    }
    sqlx::raw_sql(include_str!("../../../db/demo.sql")).execute(connection).await?;
    Ok(())
}

/// Tells the planner of the new rows.
pub async fn analyze(pool: &Pool) -> Result<()> {
    sqlx::raw_sql("analyze").execute(pool).await?;
    Ok(())
}
