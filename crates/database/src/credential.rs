//! Passwords and refresh tokens. Only hashes pass through here; making and checking them is the api's business.

use crate::{Actor, Connection, Result};
use pmo_domain::api_types::User;
use uuid::Uuid;

/// A person who can sign in.
#[derive(Clone, Debug)]
pub struct Account {
    /// As the app shows them.
    pub user: User,
    /// As the log names them.
    pub actor: Actor,
    /// The argon2id hash.
    pub password_hash: Option<String>,
}

async fn find(connection: &mut Connection, email: Option<&str>, person: Option<Uuid>) -> Result<Option<Account>> {
    type CredentialRow = (Uuid, String, String, Option<String>, Option<String>, String, Option<Uuid>, Option<String>);
    let line: Option<CredentialRow> = sqlx::query_as(
        "select p.id, p.name, p.email, p.first_name, p.last_name, p.dl__person_type,
                (select e.id from app.employee e where e.person_id = p.id and e.active_flag order by e.id limit 1),
                c.password_hash
         from app.person p left join app.person_credential c on c.person_id = p.id
         where p.active_flag and (lower(p.email) = lower($1) or p.id = $2)",
    )
    .bind(email)
    .bind(person)
    .fetch_optional(connection)
    .await?;
    Ok(line.map(|(id, name, email, first, last, person_type, employee, password_hash)| Account {
        user: User {
            id: employee.unwrap_or(id),
            person_id: id,
            name,
            email: email.clone(),
            entity_code: if employee.is_some() { "employee" } else { "person" }.to_owned(),
        },
        actor: Actor {
            person_id: Some(id),
            first_name: first.unwrap_or_default(),
            last_name: last.unwrap_or_default(),
            username: email,
            person_type,
        },
        password_hash,
    }))
}

/// The account with that address, if its person is active.
pub async fn by_email(connection: &mut Connection, email: &str) -> Result<Option<Account>> {
    find(connection, Some(email), None).await
}

/// The account of that person, if active.
pub async fn by_person(connection: &mut Connection, person: Uuid) -> Result<Option<Account>> {
    find(connection, None, Some(person)).await
}

/// Sets a person's password hash.
pub async fn set_password(connection: &mut Connection, person: Uuid, hash: &str) -> Result<()> {
    sqlx::query(
        "insert into app.person_credential (person_id, password_hash) values ($1, $2)
         on conflict (person_id) do update set password_hash = excluded.password_hash, updated_ts = now()",
    )
    .bind(person)
    .bind(hash)
    .execute(connection)
    .await?;
    Ok(())
}

/// Notes on a person that they were given a new password.
pub async fn record_password_reset(connection: &mut Connection, person: Uuid) -> Result<()> {
    sqlx::query("update app.person set password_given_ts = now() where id = $1")
        .bind(person)
        .execute(connection)
        .await?;
    Ok(())
}

/// Ends all sessions of a person: each goes on until its access token is over, and no longer.
pub async fn revoke_all_sessions(connection: &mut Connection, person: Uuid) -> Result<()> {
    sqlx::query("update app.refresh_token set revoked_ts = now() where person_id = $1 and revoked_ts is null")
        .bind(person)
        .execute(connection)
        .await?;
    Ok(())
}

/// What using a refresh token came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefreshOutcome {
    /// It was good; the successor is in store.
    Rotated {
        /// Whose it is.
        person: Uuid,
    },
    /// Unknown, expired or revoked.
    Invalid,
    /// Used before, longer ago than the grace: somebody has a copy. The whole family is revoked.
    Reused,
}

/// Enters the first token of a family.
pub async fn insert_refresh_token(
    connection: &mut Connection,
    hash: &[u8],
    family: Uuid,
    person: Uuid,
    days: i32,
) -> Result<()> {
    sqlx::query(
        "insert into app.refresh_token (token_hash, family_id, person_id, expires_ts)
         values ($1, $2, $3, now() + make_interval(days => $4)) on conflict do nothing",
    )
    .bind(hash)
    .bind(family)
    .bind(person)
    .bind(days)
    .execute(connection)
    .await?;
    Ok(())
}

/// Uses the token of `hash` and enters its successor. A repeat within `grace_seconds` is as good as the first time.
pub async fn rotate_refresh_token(
    connection: &mut Connection,
    hash: &[u8],
    successor: &[u8],
    grace_seconds: i32,
    days: i32,
) -> Result<RefreshOutcome> {
    type CredentialRow = (Uuid, Uuid, bool, bool, bool);
    let line: Option<CredentialRow> = sqlx::query_as(
        "select family_id, person_id, expires_ts < now() or revoked_ts is not null, rotated_ts is not null,
                coalesce(rotated_ts < now() - make_interval(secs => $2), false)
         from app.refresh_token where token_hash = $1 for update",
    )
    .bind(hash)
    .bind(f64::from(grace_seconds))
    .fetch_optional(&mut *connection)
    .await?;
    let Some((family, person, dead, rotated, late)) = line else { return Ok(RefreshOutcome::Invalid) };
    if dead {
        return Ok(RefreshOutcome::Invalid);
    }
    if late {
        revoke_family(connection, family).await?;
        return Ok(RefreshOutcome::Reused);
    }
    if !rotated {
        sqlx::query("update app.refresh_token set rotated_ts = now() where token_hash = $1")
            .bind(hash)
            .execute(&mut *connection)
            .await?;
        insert_refresh_token(connection, successor, family, person, days).await?;
    }
    Ok(RefreshOutcome::Rotated { person })
}

/// Revokes the family of a token, as signing out does.
pub async fn revoke(connection: &mut Connection, hash: &[u8]) -> Result<()> {
    let family: Option<Uuid> = sqlx::query_scalar("select family_id from app.refresh_token where token_hash = $1")
        .bind(hash)
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(family) = family {
        revoke_family(connection, family).await?;
    }
    Ok(())
}

async fn revoke_family(connection: &mut Connection, family: Uuid) -> Result<()> {
    sqlx::query("update app.refresh_token set revoked_ts = now() where family_id = $1 and revoked_ts is null")
        .bind(family)
        .execute(connection)
        .await?;
    Ok(())
}

/// Forgets tokens whose time has long been over.
pub async fn delete_expired(connection: &mut Connection) -> Result<()> {
    sqlx::query("delete from app.refresh_token where expires_ts < now() - interval '7 days'")
        .execute(&mut *connection)
        .await?;
    Ok(())
}
