//! First administrator of an installation: a person with OWNER on every type.

use crate::{Connection, Result};
use uuid::Uuid;

/// Adds the person with the given email address to the role 'Administrators'; returns their id.
///
/// Creates person and role if missing, and restores a deleted person. Grants the role OWNER on
/// every type, without expiry.
pub async fn add_administrator(conn: &mut Connection, email: &str) -> Result<Uuid> {
    let role: Option<Uuid> =
        sqlx::query_scalar("select id from app.role where name = 'Administrators' and active_flag order by id limit 1")
            .fetch_optional(&mut *conn)
            .await?;
    let role = match role {
        Some(role) => role,
        None => {
            sqlx::query_scalar("insert into app.role (name, descr, dl__role_category) values ('Administrators', 'Full access to all types.', 'Administration') returning id")
                .fetch_one(&mut *conn)
                .await?
        }
    };
    sqlx::query(
        "insert into app.entity_rbac (role_id, entity_code, permission)
         select $1, e.code, 7 from app.entity e
         where not exists (select from app.entity_rbac g where g.role_id = $1 and g.entity_code = e.code and g.permission = 7 and not g.is_deny
                             and g.expires_ts is null and g.entity_instance_id = '11111111-1111-1111-1111-111111111111')",
    )
    .bind(role)
    .execute(&mut *conn)
    .await?;
    let existing: Option<Uuid> = sqlx::query_scalar("select id from app.person where lower(email) = lower($1)")
        .bind(email)
        .fetch_optional(&mut *conn)
        .await?;
    let person = match existing {
        Some(person) => {
            sqlx::query("select app.restore('person', $1)").bind(person).execute(&mut *conn).await?;
            // A person that was deleted with another entity is not restored as a root.
            sqlx::query("update app.person set active_flag = true where id = $1 and not active_flag")
                .bind(person)
                .execute(&mut *conn)
                .await?;
            person
        }
        None => {
            let name = email.split('@').next().unwrap_or(email);
            sqlx::query_scalar("insert into app.person (name, email) values ($1, $2) returning id")
                .bind(name)
                .bind(email)
                .fetch_one(&mut *conn)
                .await?
        }
    };
    sqlx::query("insert into app.entity_instance_link (parent_code, parent_id, child_code, child_id) values ('role', $1, 'person', $2) on conflict do nothing")
        .bind(role)
        .bind(person)
        .execute(conn)
        .await?;
    Ok(person)
}
