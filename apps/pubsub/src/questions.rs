//! Answers the feed's questions to the database. It must never decide anything.

use pmo_database::{Connection, DatabaseError, Pool, PoolConnection, feed as log, permission};
use pmo_domain::PersonId;
use pmo_feed::{Answer, Lane};
use pmo_feed::{Ask, Facts, Look, Missed, Needs, Past, Question};
use std::time::Duration;

/// A question that takes longer is asked again.
const PATIENCE: Duration = Duration::from_secs(10);
/// Looks that a returning client is told one by one; beyond that it is told to start over.
const MOST_LOOKS: usize = 5;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// The database said so.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// It said nothing.
    #[error("the database did not answer in time")]
    Late,
}

/// Where the feed begins: epoch and snapshot, the types with their markers, the database's clock.
pub async fn beginning(
    pool: &Pool,
) -> Result<((i64, pmo_domain::Snapshot), std::collections::HashMap<String, uuid::Uuid>, i64), DatabaseError> {
    let mut connection = pool.acquire().await?;
    let (epoch, present) = log::present(&mut connection).await?;
    let types = permission::markers(&mut connection).await?;
    let clock = log::clock(&mut connection).await?;
    Ok(((epoch, present), types, clock))
}

/// Answers a question that is asked in order, on a connection that is kept for the next. A new connection may be to another database: it is asked.
pub async fn in_order(
    pool: Pool,
    kept: Option<PoolConnection>,
    question: Question,
) -> (Option<PoolConnection>, Result<Answer, Unanswered>) {
    let asked = async {
        let mut connection = match kept {
            Some(connection) => connection,
            None => {
                let mut connection = pool.acquire().await.map_err(DatabaseError::from)?;
                // One that does not answer is given up, and not handed to others.
                connection.close_on_drop();
                log::check_epoch(&mut connection).await?;
                connection
            }
        };
        let answer = match question {
            Question::Look { ask, by_parent } => look(&mut connection, &ask, &by_parent).await.map(Answer::Look),
            Question::Facts(needs) => facts(&mut connection, needs).await.map(Answer::Facts),
            Question::Past(past) => {
                let id = past.connection;
                missed(&mut connection, &past).await.map(|missed| Answer::Past(id, missed))
            }
        };
        Ok((connection, answer?))
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok((connection, answer))) => (Some(connection), Ok(answer)),
        Ok(Err(error)) => (None, Err(error)),
        Err(_) => (None, Err(Unanswered::Late)),
    }
}

/// Answers what a client missed, on any connection.
pub async fn beside(pool: Pool, past: Past) -> Result<Answer, (Lane, Unanswered)> {
    let mut connection = match pool.acquire().await {
        Ok(connection) => connection,
        Err(error) => return Err((Lane::Past(past), DatabaseError::from(error).into())),
    };
    let outcome = tokio::time::timeout(PATIENCE, missed(&mut connection, &past)).await;
    match outcome {
        Ok(Ok(missed)) => Ok(Answer::Past(past.connection, missed)),
        Ok(Err(error)) => Err((Lane::Past(past), error.into())),
        Err(_) => {
            connection.close_on_drop();
            Err((Lane::Past(past), Unanswered::Late))
        }
    }
}

async fn look(c: &mut Connection, ask: &Ask, by_parent: &[pmo_domain::EntityCode]) -> Result<Look, DatabaseError> {
    let (epoch, from, finished, after) = (ask.epoch, ask.from, &ask.finished, ask.after);
    let range = log::Range { epoch, from, finished, until: ask.until.as_ref(), after, by_parent };
    let log::Look { rows, now, epoch, cut_short, access, clock } = log::look(c, &range).await?;
    Ok(Look { rows, access, now, epoch, cut_short, clock })
}

async fn facts(c: &mut Connection, needs: Needs) -> Result<Facts, DatabaseError> {
    let mut facts = Facts::default();
    if !needs.people.is_empty() {
        let people: Vec<PersonId> = needs.people.into_iter().collect();
        facts.people = permission::holdings(c, &people).await?;
    }
    if !needs.things.is_empty() {
        facts.things = permission::things(c, &needs.things.into_iter().collect::<Vec<_>>()).await?;
    }
    if !needs.reaches.is_empty() {
        facts.reaches = permission::above(c, &needs.reaches.into_iter().collect::<Vec<_>>()).await?;
    }
    if needs.types {
        facts.types = Some(permission::markers(c).await?);
    }
    Ok(facts)
}

async fn missed(c: &mut Connection, past: &Past) -> Result<Missed, DatabaseError> {
    let mut missed = Missed::default();
    if !log::holds_since(c, &past.from).await? {
        return Ok(missed);
    }
    let mut after = None;
    for _ in 0..MOST_LOOKS {
        let (epoch, from, finished) = (past.from.epoch, past.from.snapshot.xmax, &past.from.snapshot.in_progress);
        let range = log::Range { epoch, from, finished, until: Some(&past.until), after, by_parent: &past.by_parent };
        let look = log::look(c, &range).await?;
        missed.access.extend(look.access);
        missed.rows.extend(look.rows);
        after = missed.rows.last().map(|row| (row.xid, row.seq));
        if !look.cut_short {
            missed.complete = true;
            break;
        }
    }
    if let Some(person) = past.person {
        missed.ran_out = log::lost_since(c, person.0, &past.from).await?;
    }
    Ok(missed)
}
