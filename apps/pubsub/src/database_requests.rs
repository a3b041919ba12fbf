//! Execution of the database requests of the feed.
//!
//! Must not: decide anything about delivery.

use pmo_database::{Connection, DatabaseError, Pool, PoolConnection, change_log as log, permission};
use pmo_domain::change_log::CatchUpBatch;
use pmo_domain::{PersonId, Snapshot, UnixMillis};
use pmo_feed::{CatchUpRequest, DatabaseRequest, DatabaseResponse, Lane, LookupRequest, LookupResult};
use std::collections::HashMap;
use std::time::Duration;
use uuid::Uuid;

/// Time after which a query fails and is retried.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);

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

/// State of the database at the start of the feed.
pub(crate) struct InitialState {
    /// Epoch and snapshot.
    pub(crate) position: (i64, Snapshot),
    /// Type markers by type code.
    pub(crate) types: HashMap<String, Uuid>,
    /// Time of the database clock.
    pub(crate) db_now: UnixMillis,
}

/// Reads the initial state of the feed.
pub(crate) async fn initial_state(pool: &Pool) -> Result<InitialState, DatabaseError> {
    let mut connection = pool.acquire().await?;
    let position = log::current_position(&mut connection).await?;
    let types = permission::type_markers(&mut connection).await?;
    let db_now = log::db_now(&mut connection).await?;
    Ok(InitialState { position, types, db_now })
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
            DatabaseRequest::Poll { range, by_parent } => {
                log::read_batch(&mut connection, &range, &by_parent).await.map(DatabaseResponse::LogBatch)
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

/// Reads the changes that a client missed.
async fn read_catch_up(conn: &mut Connection, request: &CatchUpRequest) -> Result<CatchUpBatch, DatabaseError> {
    log::read_catch_up(conn, &request.from, Some(&request.until), &request.by_parent, request.person).await
}
