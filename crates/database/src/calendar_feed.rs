//! Addresses of calendars as they are stored. Whether one may have one is the caller's business.

use crate::{Connection, Result};
use pmo_domain::{EntityCode, PersonId};
use serde_json::Value;
use uuid::Uuid;

/// What a calendar is about, for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CalendarFeed {
    /// Whose rights count.
    pub person: PersonId,
    /// What is below this; none: what is the person's own.
    pub about: Option<(EntityCode, Uuid)>,
}

/// Keeps an address.
pub async fn insert(c: &mut Connection, id: Uuid, feed: &CalendarFeed, secret_hash: &[u8]) -> Result<()> {
    let (code, about) = feed.about.as_ref().map(|(code, id)| (code.as_str(), *id)).unzip();
    sqlx::query(
        "insert into app.calendar_feed (id, person_id, secret_hash, about_code, about_id) values ($1, $2, $3, $4, $5)",
    )
    .bind(id)
    .bind(feed.person.0)
    .bind(secret_hash)
    .bind(code)
    .bind(about)
    .execute(c)
    .await?;
    Ok(())
}

/// A person's addresses, without their secrets.
pub async fn list_for_person(c: &mut Connection, person: PersonId) -> Result<Vec<Value>> {
    let text = "select jsonb_build_object('id', f.id, 'about_code', f.about_code, 'about_id', f.about_id, 'created_ts', f.created_ts, 'used_ts', f.used_ts)
                from app.calendar_feed f where f.person_id = $1 order by f.created_ts, f.id";
    Ok(sqlx::query_scalar(text).bind(person.0).fetch_all(c).await?)
}

/// How many a person has.
pub async fn count(c: &mut Connection, person: PersonId) -> Result<i64> {
    Ok(sqlx::query_scalar("select count(*) from app.calendar_feed where person_id = $1")
        .bind(person.0)
        .fetch_one(c)
        .await?)
}

/// Takes one of a person's addresses away; false where they have none of that id.
pub async fn revoke(c: &mut Connection, person: PersonId, id: Uuid) -> Result<bool> {
    let gone = sqlx::query("delete from app.calendar_feed where id = $1 and person_id = $2")
        .bind(id)
        .bind(person.0)
        .execute(c)
        .await?;
    Ok(gone.rows_affected() > 0)
}

/// The calendar of a secret, if there is one and its person is still here; remembers that it was asked for.
pub async fn find_by_secret(c: &mut Connection, secret_hash: &[u8]) -> Result<Option<CalendarFeed>> {
    let found: Option<(Uuid, Option<String>, Option<Uuid>)> = sqlx::query_as(
        "update app.calendar_feed f set used_ts = now() from app.person p
         where f.secret_hash = $1 and p.id = f.person_id and p.active_flag returning f.person_id, f.about_code, f.about_id",
    )
    .bind(secret_hash)
    .fetch_optional(c)
    .await?;
    Ok(found.map(|(person, code, id)| CalendarFeed {
        person: PersonId(person),
        about: code.and_then(|c| EntityCode::new(&c).ok()).zip(id),
    }))
}

/// The employee that a person is, if they are one.
pub async fn employee(c: &mut Connection, person: PersonId) -> Result<Option<Uuid>> {
    Ok(sqlx::query_scalar("select id from app.employee where person_id = $1 and active_flag order by id limit 1")
        .bind(person.0)
        .fetch_optional(c)
        .await?)
}
