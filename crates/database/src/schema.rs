//! Schema of the database: migrations, SQL functions and their installation at start.
//!
//! **Two kinds of files.** `migrations/*.sql` contain tables, indexes, triggers and reference data.
//! Each runs once, in order, and is not edited after a release. `db/functions/*.sql` contain all
//! functions. These files are repeatable and are edited in place, so the history of a function is
//! the history of its file. Both are embedded in the binary.
//!
//! **Order.** Functions come first: triggers, defaults and `register_entity` calls in migrations
//! need them. In an empty database the function files run as version 0 of the migrations
//! ([`MIGRATIONS`]). In an existing database [`prepare`] first runs the function files whose hash
//! differs from the one in `app.function_file`, then the new migrations. Bodies are not checked at
//! creation (`check_function_bodies = off`), because their tables may not exist yet; a test checks
//! them against the finished schema.
//!
//! **Atomicity.** [`prepare`] runs in one transaction under an advisory lock: services that start
//! at the same time wait for each other, and a failure leaves the database unchanged. A migration
//! therefore must not use `-- no-transaction`.
//!
//! **Rules for function files.**
//! - Use `create or replace function`. To change a parameter name, a signature or a return type,
//!   the file first drops the old signature with `drop function if exists`. To remove a function,
//!   the file or a migration drops it.
//! - Do not use table row types in a signature and do not use `begin atomic`: both need the tables
//!   at creation.
//! - Migrations run with the newest functions. If a function needs a column that a migration adds,
//!   no earlier migration may call it. Every database test fails otherwise, because it starts from
//!   an empty database.
//! - A function change that is incompatible with the previous release comes with a migration: the
//!   previous release then refuses to start. Without a migration, the service that starts last
//!   installs its functions.
//!
//! Must not: modify a database that was created by the migrations before the baseline.

use crate::{Connection, DatabaseError, Pool, Result, ensure_partitions};
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use std::borrow::Cow;
use std::sync::LazyLock;

/// Version of the migration that installs the function files in an empty database.
const FUNCTIONS_VERSION: i64 = 0;

/// Embeds the function files: declares their names and texts, and the SQL of version 0.
macro_rules! function_files {
    ($($name:literal),+ $(,)?) => {
        /// Names and texts of the files in `db/functions`. Their order does not matter.
        const FUNCTION_FILES: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../../db/functions/", $name)))),+];
        const INSTALL_FUNCTIONS: &str = concat!(
            "create schema if not exists app;
             create table app.function_file (
               name text primary key,
               hash text not null,
               applied_ts timestamptz not null default now()
             );
             set local check_function_bodies = off;\n",
            $(include_str!(concat!("../../../db/functions/", $name))),+
        );
    };
}

function_files!(
    "access.sql",
    "access_changes.sql",
    "ancestor_sets.sql",
    "change_log.sql",
    "comments.sql",
    "entity_registration.sql",
    "entity_rows.sql",
    "feed.sql",
    "identifiers.sql",
    "links.sql",
    "outline.sql",
    "purge.sql",
    "scheduling.sql",
    "search.sql",
    "subscriptions.sql",
);

static MIGRATION_FILES: Migrator = sqlx::migrate!("../../migrations");

/// All embedded migrations: version 0 installs the functions, the others are in `migrations/`.
///
/// Sufficient for an empty database, as in tests; services call [`prepare`].
pub static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let functions = Migration {
        version: FUNCTIONS_VERSION,
        description: Cow::Borrowed("functions"),
        migration_type: MigrationType::Simple,
        sql: sqlx::SqlStr::from_static(INSTALL_FUNCTIONS),
        // Constant: the hashes in app.function_file detect changes.
        checksum: Cow::Borrowed(b"db/functions"),
        no_tx: false,
    };
    let mut migrator =
        Migrator::with_migrations(std::iter::once(functions).chain(MIGRATION_FILES.iter().cloned()).collect());
    // `prepare` holds a lock of its own until it commits.
    migrator.set_locking(false);
    migrator
});

/// Installs functions and migrations and returns the epoch of the feed.
///
/// Also creates the log partitions of this and the next month.
///
/// # Errors
/// [`DatabaseError::Setup`] if a file fails or the database was created by an earlier schema.
#[tracing::instrument(skip_all)]
pub async fn prepare(pool: &Pool) -> Result<i64> {
    let mut transaction = pool.begin().await?;
    sqlx::raw_sql("set local statement_timeout = 0; set local lock_timeout = '60s'; set local search_path = public")
        .execute(&mut *transaction)
        .await?;
    sqlx::query("select pg_advisory_xact_lock(hashtext('pmo schema'))").execute(&mut *transaction).await?;
    let is_new = match applied_versions(&mut transaction).await? {
        versions if versions.is_empty() => true,
        versions if versions.contains(&FUNCTIONS_VERSION) => false,
        _ => {
            return Err(DatabaseError::Setup(
                "this database was created by an earlier schema that cannot be upgraded; \
                 export your data with the earlier version, then recreate it: just db-reset"
                    .into(),
            ));
        }
    };
    if !is_new {
        replace_changed_functions(&mut transaction).await?;
    }
    MIGRATIONS.run_direct(None, &mut *transaction, false).await.map_err(|error| {
        DatabaseError::Setup(match error {
            MigrateError::VersionMissing(_) => {
                "the schema of this database is newer than this program: start the newer version".into()
            }
            error => format!("a migration failed: {error}"),
        })
    })?;
    if is_new {
        record_functions(&mut transaction, FUNCTION_FILES).await?;
    }
    transaction.commit().await?;
    ensure_partitions(pool).await?;
    Ok(sqlx::query_scalar("select app.renew_epoch_if_changed()").fetch_one(pool).await?)
}

/// Returns the versions of the applied migrations; empty for an empty database.
async fn applied_versions(conn: &mut Connection) -> Result<Vec<i64>> {
    let is_present: bool =
        sqlx::query_scalar("select to_regclass('public._sqlx_migrations') is not null").fetch_one(&mut *conn).await?;
    if !is_present {
        return Ok(Vec::new());
    }
    Ok(sqlx::query_scalar("select version from public._sqlx_migrations").fetch_all(conn).await?)
}

/// Runs changed and new function files, and deletes the records of files that no longer exist.
async fn replace_changed_functions(conn: &mut Connection) -> Result<()> {
    let (names, texts): (Vec<&str>, Vec<&str>) = FUNCTION_FILES.iter().copied().unzip();
    sqlx::query("delete from app.function_file where name <> all ($1)").bind(&names).execute(&mut *conn).await?;
    let changed: Vec<String> = sqlx::query_scalar(
        "select f.name from unnest($1::text[], $2::text[]) f (name, content) left join app.function_file i using (name)
         where i.hash is distinct from encode(sha256(convert_to(f.content, 'UTF8')), 'hex')",
    )
    .bind(&names)
    .bind(&texts)
    .fetch_all(&mut *conn)
    .await?;
    if changed.is_empty() {
        return Ok(());
    }
    sqlx::raw_sql("set local check_function_bodies = off").execute(&mut *conn).await?;
    for file in FUNCTION_FILES.iter().filter(|(name, _)| changed.iter().any(|other| other == name)) {
        sqlx::raw_sql(file.1)
            .execute(&mut *conn)
            .await
            .map_err(|error| DatabaseError::Setup(format!("db/functions/{} failed: {error}", file.0)))?;
        record_functions(&mut *conn, &[*file]).await?;
    }
    Ok(())
}

/// Records the hashes of function files that were run.
async fn record_functions(conn: &mut Connection, files: &[(&str, &str)]) -> Result<()> {
    let (names, texts): (Vec<&str>, Vec<&str>) = files.iter().copied().unzip();
    sqlx::query(
        "insert into app.function_file (name, hash)
         select f.name, encode(sha256(convert_to(f.content, 'UTF8')), 'hex') from unnest($1::text[], $2::text[]) f (name, content)
         on conflict (name) do update set hash = excluded.hash, applied_ts = now()",
    )
    .bind(&names)
    .bind(&texts)
    .execute(conn)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::FUNCTION_FILES;
    use std::collections::BTreeSet;

    const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../db/functions");

    #[test]
    fn every_function_file_is_embedded() {
        let on_disk: BTreeSet<String> = std::fs::read_dir(FOLDER)
            .unwrap_or_else(|error| panic!("{FOLDER}: {error}"))
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        let embedded: BTreeSet<String> = FUNCTION_FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(on_disk, embedded, "add the file to function_files! in schema.rs");
    }

    #[test]
    fn function_files_are_repeatable() {
        for (name, text) in FUNCTION_FILES {
            for line in text.lines().filter(|line| !line.starts_with([' ', '-', '#']) && !line.is_empty()) {
                let is_definition = !line.starts_with("create ") || line.starts_with("create or replace function app.");
                let is_removal = !line.starts_with("drop ") || line.starts_with("drop function if exists app.");
                assert!(is_definition && is_removal, "{name}: {line}");
            }
        }
    }
}
