//! Calendar feeds: secret URLs for calendar programs.
//!
//! Callers check permissions.

use crate::{Connection, Result};
use pmo_domain::{EntityCode, PersonId};
use uuid::Uuid;

/// Content of a calendar feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CalendarFeed {
    /// Person whose permissions apply.
    pub person: PersonId,
    /// Entity whose descendants the feed covers; `None` for the person's own work.
    pub scope: Option<(EntityCode, Uuid)>,
}

/// Inserts a feed with the hash of its secret.
pub async fn insert(conn: &mut Connection, id: Uuid, feed: &CalendarFeed, secret_hash: &[u8]) -> Result<()> {
    let (about_code, about_id) = feed.scope.as_ref().map(|(code, id)| (code.as_str(), *id)).unzip();
    sqlx::query(
        "insert into app.calendar_feed (id, person_id, secret_hash, about_code, about_id) values ($1, $2, $3, $4, $5)",
    )
    .bind(id)
    .bind(feed.person.0)
    .bind(secret_hash)
    .bind(about_code)
    .bind(about_id)
    .execute(conn)
    .await?;
    Ok(())
}

/// A calendar feed of a person, without its secret.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct CalendarFeedRecord {
    /// Feed id.
    pub id: Uuid,
    /// Type of the entity whose descendants the feed covers; `None` for the person's own work.
    pub about_code: Option<String>,
    /// Id of that entity.
    pub about_id: Option<Uuid>,
    /// Time of creation, RFC 3339.
    pub created_ts: String,
    /// Time of the last use, RFC 3339; `None` if the feed was never used.
    pub used_ts: Option<String>,
}

/// Returns the feeds of a person, oldest first.
pub async fn list_for_person(conn: &mut Connection, person: PersonId) -> Result<Vec<CalendarFeedRecord>> {
    let statement = "select f.id, f.about_code, f.about_id, to_jsonb(f.created_ts) #>> '{}' as created_ts, to_jsonb(f.used_ts) #>> '{}' as used_ts
                from app.calendar_feed f where f.person_id = $1 order by f.created_ts, f.id";
    Ok(sqlx::query_as(statement).bind(person.0).fetch_all(conn).await?)
}

/// Returns the number of feeds of a person.
pub async fn count(conn: &mut Connection, person: PersonId) -> Result<i64> {
    Ok(sqlx::query_scalar("select count(*) from app.calendar_feed where person_id = $1")
        .bind(person.0)
        .fetch_one(conn)
        .await?)
}

/// Deletes a feed of a person; returns `false` if they have none with that id.
pub async fn revoke(conn: &mut Connection, person: PersonId, id: Uuid) -> Result<bool> {
    let result = sqlx::query("delete from app.calendar_feed where id = $1 and person_id = $2")
        .bind(id)
        .bind(person.0)
        .execute(conn)
        .await?;
    Ok(result.rows_affected() > 0)
}

/// Returns the feed with a secret, and records the time of use.
///
/// `None` if there is none or its person is not active.
pub async fn find_by_secret(conn: &mut Connection, secret_hash: &[u8]) -> Result<Option<CalendarFeed>> {
    let row: Option<(Uuid, Option<String>, Option<Uuid>)> = sqlx::query_as(
        "update app.calendar_feed f set used_ts = now() from app.person p
         where f.secret_hash = $1 and p.id = f.person_id and p.active_flag returning f.person_id, f.about_code, f.about_id",
    )
    .bind(secret_hash)
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|(person, about_code, about_id)| CalendarFeed {
        person: PersonId(person),
        scope: about_code.and_then(|code| EntityCode::new(&code).ok()).zip(about_id),
    }))
}

/// Returns the id of the active employee that represents a person.
pub async fn find_employee(conn: &mut Connection, person: PersonId) -> Result<Option<Uuid>> {
    Ok(sqlx::query_scalar("select id from app.employee where person_id = $1 and active_flag order by id limit 1")
        .bind(person.0)
        .fetch_optional(conn)
        .await?)
}
