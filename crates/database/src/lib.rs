//! Database access of api and pubsub: repositories over PostgreSQL.
//!
//! Must not: decide what a request means or whether it is permitted.

pub mod administration; // option sets, entity types and grants, as administrators change them
pub mod audit_log; // the change log for people: history and recent changes
pub mod bootstrap; // first administrator of an installation
pub mod calendar_feed; // secret URLs of calendar feeds
pub mod catalog; // entity types and datalabels
pub mod change_log; // the change log as source of the feed
pub mod credential; // password hashes and refresh tokens
pub mod demo; // demo data
pub mod error; // error type of the crate
pub mod grant; // stored grants
pub mod idempotency; // stored responses of repeated writes
pub mod link; // links between parents and children
pub mod list; // list queries: filter, sort, page
mod notify_mode; // which side notifies the readers of the change log
pub mod permission; // effective permissions in bulk
pub mod row; // rows of one type: read, insert, update, delete
pub mod row_cache; // cache of rows as JSON
pub mod schedule; // queue, inputs and derived columns of the schedule worker
mod schema; // migrations and SQL functions, installed at start
pub mod search; // full-text search over all types
pub mod setting; // global settings
pub mod sibling_order; // manual order among siblings
mod sql; // construction of SQL statements
pub mod subscription_mirror; // subscriptions of all pods, mirrored in the database
pub mod upload; // uploads in progress
pub mod visibility; // visible entities per person and type, with caches

pub use error::DatabaseError;
pub use notify_mode::{InvalidNotifyMode, NotifyMode};
pub use schema::{MIGRATIONS, prepare};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use std::str::FromStr;
use std::time::Duration;

/// Connection pool.
pub type Pool = sqlx::PgPool;
/// Database connection.
pub type Connection = sqlx::PgConnection;
/// Connection borrowed from the pool.
pub type PoolConnection = sqlx::pool::PoolConnection<sqlx::Postgres>;
/// Database transaction; rolled back on drop unless committed.
pub type Transaction = sqlx::Transaction<'static, sqlx::Postgres>;
/// Nested transaction (SAVEPOINT); rolled back on drop unless released.
pub struct Savepoint<'c>(sqlx::Transaction<'c, sqlx::Postgres>);

impl<'c> Savepoint<'c> {
    /// Begins a savepoint inside the transaction of `conn`.
    pub async fn begin(conn: &'c mut Connection) -> Result<Self> {
        Ok(Self(sqlx::Connection::begin(conn).await?))
    }

    /// Releases the savepoint: its changes become part of the outer transaction.
    pub async fn release(self) -> Result<()> {
        Ok(self.0.commit().await?)
    }
}

impl std::ops::Deref for Savepoint<'_> {
    type Target = Connection;
    fn deref(&self) -> &Connection {
        &self.0
    }
}

impl std::ops::DerefMut for Savepoint<'_> {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.0
    }
}

/// Receiver of notifications (LISTEN).
pub type Listener = sqlx::postgres::PgListener;
/// Error of the database driver.
pub type DriverError = sqlx::Error;
/// Result with the error type of this crate.
pub type Result<T, E = DatabaseError> = std::result::Result<T, E>;

/// Oldest supported PostgreSQL version, as `server_version_num`.
const MIN_SERVER_VERSION: i32 = 150_000;

/// Opens a pool of at most `max_connections` connections and checks the server version.
///
/// # Errors
/// [`DatabaseError::Setup`] with a message of one line if the URL is invalid, no connection can be
/// opened, or the server is older than PostgreSQL 15.
pub async fn connect(url: &str, max_connections: u32, notify_mode: NotifyMode) -> Result<Pool> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| {
            DatabaseError::Setup(
                "DATABASE_URL is not a PostgreSQL URL (postgresql://user:password@host:port/name)".into(),
            )
        })?
        .options([
            ("timezone", "UTC"),
            ("search_path", "public"),
            ("statement_timeout", "30000"),
            // Statements run for a few milliseconds; JIT compilation of one takes about 40 ms.
            ("jit", "off"),
            // Planning costs more than executing most statements. Statements whose plan depends on
            // the bound values call `set_plan_mode`.
            ("plan_cache_mode", "force_generic_plan"),
            // Sized for two cores that serve many users: no query waits for parallel workers.
            ("max_parallel_workers_per_gather", "0"),
            ("idle_in_transaction_session_timeout", "60000"),
        ])
        .options(notify_mode.session_options())
        .statement_cache_capacity(200)
        .application_name("pmo");
    let pool = PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(Duration::from_secs(5))
        .connect_with(options)
        .await
        .map_err(|error| DatabaseError::Setup(format!("cannot connect to the database at DATABASE_URL: {error}")))?;
    let version: String = sqlx::query_scalar("show server_version_num").fetch_one(&pool).await?;
    if version.parse::<i32>().is_ok_and(|v| v < MIN_SERVER_VERSION) {
        return Err(DatabaseError::Setup(format!(
            "the database is too old ({version}): PostgreSQL 15 or newer is required"
        )));
    }
    Ok(pool)
}

/// Creates the log partitions of this and the next month; must be called daily.
pub async fn ensure_partitions(pool: &Pool) -> Result<()> {
    sqlx::query("select app.ensure_log_partition(current_date), app.ensure_log_partition((current_date + interval '1 month')::date)")
        .execute(pool)
        .await?;
    Ok(())
}

/// Drops log partitions older than the setting `feed.log_retention_days`; returns their names.
pub async fn drop_expired_log_partitions(pool: &Pool) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar("select app.drop_expired_log_partitions()").fetch_one(pool).await?)
}

/// Checks that the database executes a query.
pub async fn ping(pool: &Pool) -> Result<()> {
    sqlx::query("select 1").execute(pool).await?;
    Ok(())
}

/// Begins a read-only `REPEATABLE READ` transaction: all its queries read one snapshot.
pub async fn begin_snapshot_read(pool: &Pool) -> Result<Transaction> {
    begin_transaction(pool, "begin isolation level repeatable read read only").await
}

/// Begins a transaction in a task of its own, which is not cancelled with the caller.
///
/// sqlx rolls a dropped transaction back only after the server has answered `begin`. A request that
/// is cancelled before would return a connection with an open transaction to the pool, and the next
/// request would run inside it.
async fn begin_transaction(pool: &Pool, statement: &'static str) -> Result<Transaction> {
    let pool = pool.clone();
    let begun = tokio::spawn(async move { pool.begin_with(statement).await }).await;
    Ok(begun.map_err(|_| DatabaseError::Unavailable(sqlx::Error::WorkerCrashed))??)
}

/// Kind of plan that the database makes for a prepared statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlanMode {
    /// One plan for all values; the default of the pool.
    Generic,
    /// A plan for the bound values.
    Custom,
}

/// Sets the kind of plans until the transaction ends.
pub(crate) async fn set_plan_mode(conn: &mut Connection, mode: PlanMode) -> Result<()> {
    let mode = match mode {
        PlanMode::Generic => "force_generic_plan",
        PlanMode::Custom => "force_custom_plan",
    };
    sqlx::query("select set_config('plan_cache_mode', $1, true)").bind(mode).execute(conn).await?;
    Ok(())
}

/// Deletes access and title changes that are more than one million transactions old, in batches.
///
/// A cached value of that age is recomputed, so no validation needs these changes.
pub async fn prune_access_changes(pool: &Pool) -> Result<()> {
    const PRUNE_BATCH_ROWS: i32 = 10_000;
    loop {
        let deleted: i32 =
            sqlx::query_scalar("select app.prune_access_changes($1)").bind(PRUNE_BATCH_ROWS).fetch_one(pool).await?;
        if deleted < PRUNE_BATCH_ROWS {
            return Ok(());
        }
    }
}

/// Author of the changes of a transaction, as recorded in the change log.
#[derive(Clone, Debug, Default)]
pub struct Actor {
    /// Id of the person; `None` for the system.
    pub person_id: Option<uuid::Uuid>,
    /// Given name.
    pub first_name: String,
    /// Family name.
    pub last_name: String,
    /// Sign-in name.
    pub username: String,
    /// Kind of account: employee, customer, system or guest.
    pub person_type: String,
}

/// Makes all statements use indexes until the transaction ends, regardless of table statistics.
///
/// For transactions that insert thousands of rows, which the statistics of the planner do not
/// include yet.
pub async fn force_index_scans(conn: &mut Connection) -> Result<()> {
    sqlx::raw_sql("set local enable_seqscan = off; set local jit = off; discard plans").execute(conn).await?;
    Ok(())
}

/// Ends the effect of [`force_index_scans`] and discards its plans.
///
/// Must be called before the connection returns to the pool, which would keep the plans.
pub async fn reset_planner_settings(conn: &mut Connection) -> Result<()> {
    sqlx::raw_sql("set local enable_seqscan to default; set local jit to default; discard plans").execute(conn).await?;
    Ok(())
}

/// Begins a transaction whose changes are logged in the name of `actor`.
pub async fn begin(pool: &Pool, actor: &Actor) -> Result<Transaction> {
    let mut transaction = begin_transaction(pool, "begin").await?;
    sqlx::query(
        "select set_config('app.actor_person_id', $1, true), set_config('app.actor_first_name', $2, true),
                set_config('app.actor_last_name', $3, true), set_config('app.actor_username', $4, true),
                set_config('app.actor_person_type', $5, true)",
    )
    .bind(actor.person_id.map(|id| id.to_string()).unwrap_or_default())
    .bind(&actor.first_name)
    .bind(&actor.last_name)
    .bind(&actor.username)
    .bind(&actor.person_type)
    .execute(&mut *transaction)
    .await?;
    Ok(transaction)
}
