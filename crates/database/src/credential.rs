//! Password hashes and refresh tokens.
//!
//! Must not: process passwords or tokens; the api computes and verifies the hashes.

use crate::{Actor, Connection, Result};
use pmo_domain::api_types::User;
use uuid::Uuid;

/// Account of a person who can sign in.
#[derive(Clone, Debug)]
pub struct Account {
    /// Person as shown in the app.
    pub user: User,
    /// Person as recorded in the change log.
    pub actor: Actor,
    /// Argon2id hash of the password; `None` if no password is set.
    pub password_hash: Option<String>,
}

/// Returns the account of the active person with the given email address or id.
async fn find(conn: &mut Connection, email: Option<&str>, person: Option<Uuid>) -> Result<Option<Account>> {
    type CredentialRow = (Uuid, String, String, Option<String>, Option<String>, String, Option<Uuid>, Option<String>);
    let row: Option<CredentialRow> = sqlx::query_as(
        "select p.id, p.name, p.email, p.first_name, p.last_name, p.dl__person_type,
                (select e.id from app.employee e where e.person_id = p.id and e.active_flag order by e.id limit 1),
                c.password_hash
         from app.person p left join app.person_credential c on c.person_id = p.id
         where p.active_flag and (lower(p.email) = lower($1) or p.id = $2)",
    )
    .bind(email)
    .bind(person)
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|(id, name, email, first_name, last_name, person_type, employee, password_hash)| Account {
        user: User {
            id: employee.unwrap_or(id),
            person_id: id,
            name,
            email: email.clone(),
            entity_code: if employee.is_some() { "employee" } else { "person" }.to_owned(),
        },
        actor: Actor {
            person_id: Some(id),
            first_name: first_name.unwrap_or_default(),
            last_name: last_name.unwrap_or_default(),
            username: email,
            person_type,
        },
        password_hash,
    }))
}

/// Returns the account with an email address, ignoring case; `None` if the person is not active.
pub async fn by_email(conn: &mut Connection, email: &str) -> Result<Option<Account>> {
    find(conn, Some(email), None).await
}

/// Returns the account of a person; `None` if the person is not active.
pub async fn by_person(conn: &mut Connection, person: Uuid) -> Result<Option<Account>> {
    find(conn, None, Some(person)).await
}

/// Sets a person's password hash.
pub async fn set_password(conn: &mut Connection, person: Uuid, hash: &str) -> Result<()> {
    sqlx::query(
        "insert into app.person_credential (person_id, password_hash) values ($1, $2)
         on conflict (person_id) do update set password_hash = excluded.password_hash, updated_ts = now()",
    )
    .bind(person)
    .bind(hash)
    .execute(conn)
    .await?;
    Ok(())
}

/// Records on a person that an administrator set a new password.
pub async fn record_password_reset(conn: &mut Connection, person: Uuid) -> Result<()> {
    sqlx::query("update app.person set password_reset_ts = now() where id = $1").bind(person).execute(conn).await?;
    Ok(())
}

/// Revokes all refresh tokens of a person.
///
/// Each session ends when its access token expires.
pub async fn revoke_all_sessions(conn: &mut Connection, person: Uuid) -> Result<()> {
    sqlx::query("update app.refresh_token set revoked_ts = now() where person_id = $1 and revoked_ts is null")
        .bind(person)
        .execute(conn)
        .await?;
    Ok(())
}

/// Outcome of using a refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefreshOutcome {
    /// The token was valid, and its successor is stored.
    Rotated {
        /// Owner of the token.
        person: Uuid,
    },
    /// The token is unknown, expired or revoked.
    Invalid,
    /// The token was used again after the grace period, so it may have been copied.
    ///
    /// The whole family is revoked.
    Reused,
}

/// Inserts a refresh token of a family, valid for `days` days.
///
/// Does nothing if the token exists.
pub async fn insert_refresh_token(
    conn: &mut Connection,
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
    .execute(conn)
    .await?;
    Ok(())
}

/// Uses the token with `hash` and stores its successor, valid for `days` days.
///
/// A repeat within `grace_seconds` of the first use succeeds and changes nothing.
pub async fn rotate_refresh_token(
    conn: &mut Connection,
    hash: &[u8],
    successor: &[u8],
    grace_seconds: i32,
    days: i32,
) -> Result<RefreshOutcome> {
    type TokenRow = (Uuid, Uuid, bool, bool, bool);
    let row: Option<TokenRow> = sqlx::query_as(
        "select family_id, person_id, expires_ts < now() or revoked_ts is not null, rotated_ts is not null,
                coalesce(rotated_ts < now() - make_interval(secs => $2), false)
         from app.refresh_token where token_hash = $1 for update",
    )
    .bind(hash)
    .bind(f64::from(grace_seconds))
    .fetch_optional(&mut *conn)
    .await?;
    let Some((family, person, is_invalid, is_rotated, is_past_grace)) = row else { return Ok(RefreshOutcome::Invalid) };
    if is_invalid {
        return Ok(RefreshOutcome::Invalid);
    }
    if is_past_grace {
        revoke_family(conn, family).await?;
        return Ok(RefreshOutcome::Reused);
    }
    if !is_rotated {
        sqlx::query("update app.refresh_token set rotated_ts = now() where token_hash = $1")
            .bind(hash)
            .execute(&mut *conn)
            .await?;
        insert_refresh_token(conn, successor, family, person, days).await?;
    }
    Ok(RefreshOutcome::Rotated { person })
}

/// Revokes all tokens of a token's family, for sign-out.
pub async fn revoke(conn: &mut Connection, hash: &[u8]) -> Result<()> {
    let family: Option<Uuid> = sqlx::query_scalar("select family_id from app.refresh_token where token_hash = $1")
        .bind(hash)
        .fetch_optional(&mut *conn)
        .await?;
    if let Some(family) = family {
        revoke_family(conn, family).await?;
    }
    Ok(())
}

async fn revoke_family(conn: &mut Connection, family: Uuid) -> Result<()> {
    sqlx::query("update app.refresh_token set revoked_ts = now() where family_id = $1 and revoked_ts is null")
        .bind(family)
        .execute(conn)
        .await?;
    Ok(())
}

/// Deletes refresh tokens that expired more than seven days ago.
pub async fn delete_expired(conn: &mut Connection) -> Result<()> {
    sqlx::query("delete from app.refresh_token where expires_ts < now() - interval '7 days'")
        .execute(&mut *conn)
        .await?;
    Ok(())
}
