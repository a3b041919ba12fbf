//! Answers the feed's questions to the database. It must never decide anything.

use pmo_database::{Connection, DatabaseError, Pool, PoolConnection, change_log as log, permission};
use pmo_domain::PersonId;
use pmo_feed::{CatchUpBatch, CatchUpRequest, DatabaseRequest, LogBatch, LogRange, LookupRequest, LookupResult};
use pmo_feed::{DatabaseResponse, Lane};
use std::time::Duration;

/// A question that takes longer is asked again.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);
/// Looks that a returning client is told one by one; beyond that it is told to start over.
const MAX_BATCHES: usize = 5;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The database said so.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// It said nothing.
    #[error("the database did not answer in time")]
    Timeout,
}

/// Where the feed begins: epoch and snapshot, the types with their markers, the database's clock.
pub async fn initial_state(
    pool: &Pool,
) -> Result<((i64, pmo_domain::Snapshot), std::collections::HashMap<String, uuid::Uuid>, i64), DatabaseError> {
    let mut connection = pool.acquire().await?;
    let (epoch, present) = log::current_position(&mut connection).await?;
    let types = permission::type_markers(&mut connection).await?;
    let clock = log::db_now_ms(&mut connection).await?;
    Ok(((epoch, present), types, clock))
}

/// Answers a question that is asked in order, on a connection that is kept for the next. A new connection may be to another database: it is asked.
pub async fn run_ordered(
    pool: Pool,
    kept: Option<PoolConnection>,
    question: DatabaseRequest,
) -> (Option<PoolConnection>, Result<DatabaseResponse, QueryError>) {
    let asked = async {
        let mut connection = match kept {
            Some(connection) => connection,
            None => {
                let mut connection = pool.acquire().await.map_err(DatabaseError::from)?;
                // One that does not answer is given up, and not handed to others.
                connection.close_on_drop();
                log::renew_epoch_if_changed(&mut connection).await?;
                connection
            }
        };
        let answer = match question {
            DatabaseRequest::Look { ask, by_parent } => {
                read_batch(&mut connection, &ask, &by_parent).await.map(DatabaseResponse::Look)
            }
            DatabaseRequest::Facts(needs) => run_lookups(&mut connection, needs).await.map(DatabaseResponse::Facts),
            DatabaseRequest::Past(past) => {
                let id = past.connection;
                read_catch_up(&mut connection, &past).await.map(|missed| DatabaseResponse::Past(id, missed))
            }
        };
        Ok((connection, answer?))
    };
    match tokio::time::timeout(QUERY_TIMEOUT, asked).await {
        Ok(Ok((connection, answer))) => (Some(connection), Ok(answer)),
        Ok(Err(error)) => (None, Err(error)),
        Err(_) => (None, Err(QueryError::Timeout)),
    }
}

/// Answers what a client missed, on any connection.
pub async fn run_concurrent(pool: Pool, past: CatchUpRequest) -> Result<DatabaseResponse, (Lane, QueryError)> {
    let mut connection = match pool.acquire().await {
        Ok(connection) => connection,
        Err(error) => return Err((Lane::Past(past), DatabaseError::from(error).into())),
    };
    let outcome = tokio::time::timeout(QUERY_TIMEOUT, read_catch_up(&mut connection, &past)).await;
    match outcome {
        Ok(Ok(missed)) => Ok(DatabaseResponse::Past(past.connection, missed)),
        Ok(Err(error)) => Err((Lane::Past(past), error.into())),
        Err(_) => {
            connection.close_on_drop();
            Err((Lane::Past(past), QueryError::Timeout))
        }
    }
}

async fn read_batch(
    c: &mut Connection,
    ask: &LogRange,
    by_parent: &[pmo_domain::EntityCode],
) -> Result<LogBatch, DatabaseError> {
    let (epoch, from, finished, after) = (ask.epoch, ask.from, &ask.finished, ask.after);
    let range = log::LogRange { epoch, from, finished, until: ask.until.as_ref(), after, by_parent };
    let log::LogBatch { rows, now, epoch, has_more: cut_short, access, clock } = log::read_batch(c, &range).await?;
    Ok(LogBatch { rows, access, snapshot: now, epoch, has_more: cut_short, db_now_ms: clock })
}

async fn run_lookups(c: &mut Connection, needs: LookupRequest) -> Result<LookupResult, DatabaseError> {
    let mut facts = LookupResult::default();
    if !needs.people.is_empty() {
        let people: Vec<PersonId> = needs.people.into_iter().collect();
        facts.people = permission::grant_sets(c, &people).await?;
    }
    if !needs.things.is_empty() {
        facts.things = permission::locate_entities(c, &needs.things.into_iter().collect::<Vec<_>>()).await?;
    }
    if !needs.reaches.is_empty() {
        facts.reaches = permission::ancestor_sets(c, &needs.reaches.into_iter().collect::<Vec<_>>()).await?;
    }
    if needs.types {
        facts.types = Some(permission::type_markers(c).await?);
    }
    Ok(facts)
}

async fn read_catch_up(c: &mut Connection, past: &CatchUpRequest) -> Result<CatchUpBatch, DatabaseError> {
    let mut missed = CatchUpBatch::default();
    if !log::retains_since(c, &past.from).await? {
        return Ok(missed);
    }
    let mut after = None;
    for _ in 0..MAX_BATCHES {
        let (epoch, from, finished) = (past.from.epoch, past.from.snapshot.xmax, &past.from.snapshot.in_progress);
        let range =
            log::LogRange { epoch, from, finished, until: Some(&past.until), after, by_parent: &past.by_parent };
        let look = log::read_batch(c, &range).await?;
        missed.access.extend(look.access);
        missed.rows.extend(look.rows);
        after = missed.rows.last().map(|row| (row.xid, row.seq));
        if !look.has_more {
            missed.complete = true;
            break;
        }
    }
    if let Some(person) = past.person {
        missed.grant_expired = log::grant_expired_since(c, person.0, &past.from).await?;
    }
    Ok(missed)
}
