//! Execution of the database requests of the feed.
//!
//! Must not: decide anything about delivery.

use pmo_database::{Connection, DatabaseError, Pool, PoolConnection, change_log as log, permission};
use pmo_domain::PersonId;
use pmo_feed::{CatchUpBatch, CatchUpRequest, DatabaseRequest, LogBatch, LogRange, LookupRequest, LookupResult};
use pmo_feed::{DatabaseResponse, Lane};
use std::time::Duration;

/// Time after which a query fails and is retried.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of log batches per catch-up.
///
/// A client that missed more has to reload its data.
const MAX_BATCHES: usize = 5;

/// Reason why a query failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QueryError {
    /// The database returned an error.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The database did not respond in time.
    #[error("the database did not respond in time")]
    Timeout,
}

/// Returns the initial state of the feed.
///
/// In order: epoch and snapshot, type markers by type code, time of the database in milliseconds
/// since 1970.
pub(crate) async fn initial_state(
    pool: &Pool,
) -> Result<((i64, pmo_domain::Snapshot), std::collections::HashMap<String, uuid::Uuid>, i64), DatabaseError> {
    let mut connection = pool.acquire().await?;
    let (epoch, snapshot) = log::current_position(&mut connection).await?;
    let types = permission::type_markers(&mut connection).await?;
    let db_now = log::db_now_ms(&mut connection).await?;
    Ok(((epoch, snapshot), types, db_now))
}

/// Executes a request of the ordered lane and returns its connection for reuse.
///
/// `reused`: the connection of the previous request. A new connection may lead to another
/// database (failover), so the epoch is checked first.
#[tracing::instrument(level = "debug", skip_all)]
pub(crate) async fn run_ordered(
    pool: Pool,
    reused: Option<PoolConnection>,
    request: DatabaseRequest,
) -> (Option<PoolConnection>, Result<DatabaseResponse, QueryError>) {
    let query = async {
        let mut connection = match reused {
            Some(connection) => connection,
            None => {
                let mut connection = pool.acquire().await.map_err(DatabaseError::from)?;
                // Discard a connection that does not respond instead of returning it to the pool.
                connection.close_on_drop();
                log::renew_epoch_if_changed(&mut connection).await?;
                connection
            }
        };
        let response = match request {
            DatabaseRequest::Poll { range: ask, by_parent } => {
                read_batch(&mut connection, &ask, &by_parent).await.map(DatabaseResponse::LogBatch)
            }
            DatabaseRequest::Lookup(needs) => run_lookups(&mut connection, needs).await.map(DatabaseResponse::Lookup),
            DatabaseRequest::CatchUp(catch_up) => {
                let id = catch_up.connection;
                read_catch_up(&mut connection, &catch_up).await.map(|batch| DatabaseResponse::CatchUp(id, batch))
            }
        };
        Ok((connection, response?))
    };
    match tokio::time::timeout(QUERY_TIMEOUT, query).await {
        Ok(Ok((connection, response))) => (Some(connection), Ok(response)),
        Ok(Err(error)) => (None, Err(error)),
        Err(_) => (None, Err(QueryError::Timeout)),
    }
}

/// Executes a catch-up on any connection of the pool.
#[tracing::instrument(level = "debug", skip_all)]
pub(crate) async fn run_concurrent(
    pool: Pool,
    request: CatchUpRequest,
) -> Result<DatabaseResponse, (Lane, QueryError)> {
    let mut connection = match pool.acquire().await {
        Ok(connection) => connection,
        Err(error) => return Err((Lane::CatchUp(request), DatabaseError::from(error).into())),
    };
    let outcome = tokio::time::timeout(QUERY_TIMEOUT, read_catch_up(&mut connection, &request)).await;
    match outcome {
        Ok(Ok(batch)) => Ok(DatabaseResponse::CatchUp(request.connection, batch)),
        Ok(Err(error)) => Err((Lane::CatchUp(request), error.into())),
        Err(_) => {
            connection.close_on_drop();
            Err((Lane::CatchUp(request), QueryError::Timeout))
        }
    }
}

/// Reads one batch of the change log.
async fn read_batch(
    conn: &mut Connection,
    requested: &LogRange,
    by_parent: &[pmo_domain::EntityCode],
) -> Result<LogBatch, DatabaseError> {
    let (epoch, from, finished, after) = (requested.epoch, requested.from, &requested.finished, requested.after);
    let range = log::LogRange { epoch, from, finished, until: requested.until.as_ref(), after, by_parent };
    let log::LogBatch { rows, snapshot: now, epoch, has_more, access, db_now_ms: clock } =
        log::read_batch(conn, &range).await?;
    Ok(LogBatch { rows, access, snapshot: now, epoch, has_more, db_now_ms: clock })
}

/// Loads the requested grants, entities, ancestor sets and types.
async fn run_lookups(conn: &mut Connection, lookups: LookupRequest) -> Result<LookupResult, DatabaseError> {
    let mut result = LookupResult::default();
    if !lookups.people.is_empty() {
        let people: Vec<PersonId> = lookups.people.into_iter().collect();
        result.people = permission::grant_sets(conn, &people).await?;
    }
    if !lookups.entities.is_empty() {
        result.entities = permission::locate_entities(conn, &lookups.entities.into_iter().collect::<Vec<_>>()).await?;
    }
    if !lookups.ancestor_sets.is_empty() {
        result.ancestor_sets =
            permission::ancestor_sets(conn, &lookups.ancestor_sets.into_iter().collect::<Vec<_>>()).await?;
    }
    if lookups.types {
        result.types = Some(permission::type_markers(conn).await?);
    }
    Ok(result)
}

/// Reads missed changes. The batch is incomplete if the log does not have all of them.
async fn read_catch_up(conn: &mut Connection, request: &CatchUpRequest) -> Result<CatchUpBatch, DatabaseError> {
    let mut catch_up = CatchUpBatch::default();
    if !log::retains_since(conn, &request.from).await? {
        return Ok(catch_up);
    }
    let mut after = None;
    for _ in 0..MAX_BATCHES {
        let (epoch, from, finished) =
            (request.from.epoch, request.from.snapshot.xmax, &request.from.snapshot.in_progress);
        let range =
            log::LogRange { epoch, from, finished, until: Some(&request.until), after, by_parent: &request.by_parent };
        let batch = log::read_batch(conn, &range).await?;
        catch_up.access.extend(batch.access);
        catch_up.rows.extend(batch.rows);
        after = catch_up.rows.last().map(|row| (row.xid, row.seq));
        if !batch.has_more {
            catch_up.complete = true;
            break;
        }
    }
    if let Some(person) = request.person {
        catch_up.grant_expired = log::grant_expired_since(conn, person.0, &request.from).await?;
    }
    Ok(catch_up)
}
