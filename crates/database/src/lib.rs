//! PostgreSQL behind repositories. Everything that api and pubsub know of the database is here; this crate must never decide
//! what a request means, only what the database says.

pub mod administration; // what administrators change
pub mod audit_log; // the change log read by people
pub mod bootstrap; // the first person of an installation
pub mod calendar_feed; // addresses of calendars
pub mod catalog; // entity types and datalabels, read from the database
pub mod change_log; // the change log as a feed
pub mod credential; // passwords, refresh tokens
pub mod demo; // demo data
pub mod error; // what can go wrong, by name
pub mod grant; // grants as stored
pub mod idempotency; // answers kept for repeats
pub mod link; // links that no column stands for
pub mod list; // lists: filter, sort, page
pub mod permission; // effective permissions in bulk
pub mod row; // one row: read, insert, update, delete
pub mod row_cache; // rows as JSON, kept while they are the newest
pub mod search; // words in all things
pub mod setting; // global settings
pub mod sibling_order; // the order of things by hand
mod sql; // the only place where SQL is put together
pub mod subscription_mirror; // the durable mirror of who watches what
pub mod upload;
pub mod visibility; // what a person sees of a type, and names, kept while they hold // files on their way

pub use error::DatabaseError;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use std::str::FromStr;
use std::time::Duration;

/// Connections to the database.
pub type Pool = sqlx::PgPool;
/// One connection.
pub type Connection = sqlx::PgConnection;
/// One connection of the pool.
pub type PoolConnection = sqlx::pool::PoolConnection<sqlx::Postgres>;
/// A transaction.
pub type Transaction = sqlx::Transaction<'static, sqlx::Postgres>;
/// A part of a transaction that is kept or undone by itself: dropped, it is undone.
pub struct Savepoint<'c>(sqlx::Transaction<'c, sqlx::Postgres>);

impl<'c> Savepoint<'c> {
    /// Begins one inside the transaction of `connection`.
    pub async fn begin(connection: &'c mut Connection) -> Result<Self> {
        Ok(Self(sqlx::Connection::begin(connection).await?))
    }

    /// Keeps what was done.
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

/// Waits for notifications.
pub type Listener = sqlx::postgres::PgListener;
/// What the driver reports.
pub type DriverError = sqlx::Error;
/// Result of this crate.
pub type Result<T, E = DatabaseError> = std::result::Result<T, E>;

/// The migrations, embedded.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations");

/// The oldest PostgreSQL that works, as `server_version_num`.
const MIN_SERVER_VERSION: i32 = 150_000;

/// Connects; fails with a plain sentence where the address is wrong, nobody answers or the server is too old.
pub async fn connect(url: &str, most: u32, ring: change_log::NotifyMode) -> Result<Pool> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| {
            DatabaseError::Setup(
                "DATABASE_URL is not a PostgreSQL address (postgresql://user:password@host:port/name)".into(),
            )
        })?
        .options([
            ("timezone", "UTC"),
            ("search_path", "public"),
            ("statement_timeout", "30000"),
            // Statements here take a few milliseconds; compiling one takes forty.
            ("jit", "off"),
            // Planning costs more than most of them; what must be planned for its values says so itself.
            ("plan_cache_mode", "force_generic_plan"),
            // Two cores that serve many: none of them waits for workers.
            ("max_parallel_workers_per_gather", "0"),
            ("idle_in_transaction_session_timeout", "60000"),
        ])
        .options(ring.session_options())
        .statement_cache_capacity(200)
        .application_name("pmo");
    let pool = PgPoolOptions::new()
        .max_connections(most)
        .acquire_timeout(Duration::from_secs(5))
        .connect_with(options)
        .await
        .map_err(|error| DatabaseError::Setup(format!("no database answers at DATABASE_URL: {error}")))?;
    let version: String = sqlx::query_scalar("show server_version_num").fetch_one(&pool).await?;
    if version.parse::<i32>().is_ok_and(|v| v < MIN_SERVER_VERSION) {
        return Err(DatabaseError::Setup(format!(
            "the database is too old ({version}): PostgreSQL 15 or newer is needed"
        )));
    }
    Ok(pool)
}

/// Brings the schema up to date, makes this and next month's log partitions and checks the epoch, which it answers.
pub async fn prepare(pool: &Pool) -> Result<i64> {
    MIGRATIONS
        .run(pool)
        .await
        .map_err(|error| DatabaseError::Setup(format!("the migrations did not go through: {error}")))?;
    ensure_partitions(pool).await?;
    Ok(sqlx::query_scalar("select app.check_epoch()").fetch_one(pool).await?)
}

/// Makes this and next month's partitions of the log; call daily.
pub async fn ensure_partitions(pool: &Pool) -> Result<()> {
    sqlx::query("select app.ensure_log_partition(current_date), app.ensure_log_partition((current_date + interval '1 month')::date)")
        .execute(pool)
        .await?;
    Ok(())
}

/// Takes away months of the log that are older than the setting `feed.keep_days` allows; answers which.
pub async fn drop_expired_log_partitions(pool: &Pool) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar("select app.cut_log()").fetch_one(pool).await?)
}

/// Whether the database answers.
pub async fn ping(pool: &Pool) -> Result<()> {
    sqlx::query("select 1").execute(pool).await?;
    Ok(())
}

/// Begins to read: everything that is asked in it comes from one state of the database.
pub async fn begin_snapshot_read(pool: &Pool) -> Result<Transaction> {
    Ok(pool.begin_with("begin isolation level repeatable read read only").await?)
}

/// Plans the statements of a transaction for their values from here on, or again for any.
pub(crate) async fn use_custom_plan(c: &mut Connection, yes: bool) -> Result<()> {
    let mode = if yes { "force_custom_plan" } else { "force_generic_plan" };
    sqlx::query("select set_config('plan_cache_mode', $1, true)").bind(mode).execute(c).await?;
    Ok(())
}

/// Takes away what no kept sight may be older than.
pub async fn prune_access_changes(pool: &Pool) -> Result<()> {
    const PRUNE_BATCH_ROWS: i32 = 10_000;
    loop {
        let gone: i32 =
            sqlx::query_scalar("select app.forget_access_changes($1)").bind(PRUNE_BATCH_ROWS).fetch_one(pool).await?;
        if gone < PRUNE_BATCH_ROWS {
            return Ok(());
        }
    }
}

/// In whose name a transaction writes; it ends in the change log.
#[derive(Clone, Debug, Default)]
pub struct Actor {
    /// The person; `None`: the system.
    pub person_id: Option<uuid::Uuid>,
    /// Given name.
    pub first_name: String,
    /// Family name.
    pub last_name: String,
    /// Sign-in name.
    pub username: String,
    /// employee, customer, system or guest.
    pub person_type: String,
}

/// Until the transaction ends statements find rows by indexes, whatever the tables' sizes were when they were planned: for a transaction that makes thousands of
/// rows, of which the planner hears nothing.
pub async fn force_index_scans(connection: &mut Connection) -> Result<()> {
    sqlx::raw_sql("set local enable_seqscan = off; set local jit = off; discard plans").execute(connection).await?;
    Ok(())
}

/// Ends what [`by_indexes`] began: the connection goes back to the pool, and plans anew.
pub async fn reset_planner_settings(connection: &mut Connection) -> Result<()> {
    sqlx::raw_sql("set local enable_seqscan to default; set local jit to default; discard plans")
        .execute(connection)
        .await?;
    Ok(())
}

/// Begins a transaction in the name of `actor`.
pub async fn begin(pool: &Pool, actor: &Actor) -> Result<Transaction> {
    let mut transaction = pool.begin().await?;
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
