//! The first person of an installation: one who owns every type of thing.

use crate::{Connection, Result};
use uuid::Uuid;

/// Makes a person with that address and puts them into the role 'Administrators', which owns every type; both are made where they are
/// missing. Answers the person.
pub async fn add_administrator(connection: &mut Connection, email: &str) -> Result<Uuid> {
    let role: Option<Uuid> =
        sqlx::query_scalar("select id from app.role where name = 'Administrators' and active_flag order by id limit 1")
            .fetch_optional(&mut *connection)
            .await?;
    let role = match role {
        Some(role) => role,
        None => {
            sqlx::query_scalar("insert into app.role (name, descr, dl__role_category) values ('Administrators', 'Own every type of thing.', 'Administration') returning id")
                .fetch_one(&mut *connection)
                .await?
        }
    };
    sqlx::query(
        "insert into app.entity_rbac (role_id, entity_code, permission)
         select $1, e.code, 7 from app.entity e
         where not exists (select from app.entity_rbac g where g.role_id = $1 and g.entity_code = e.code and g.permission = 7 and not g.is_deny
                             and g.entity_instance_id = '11111111-1111-1111-1111-111111111111')",
    )
    .bind(role)
    .execute(&mut *connection)
    .await?;
    let known: Option<Uuid> = sqlx::query_scalar("select id from app.person where lower(email) = lower($1)")
        .bind(email)
        .fetch_optional(&mut *connection)
        .await?;
    let person = match known {
        Some(person) => person,
        None => {
            let name = email.split('@').next().unwrap_or(email);
            sqlx::query_scalar("insert into app.person (name, email) values ($1, $2) returning id")
                .bind(name)
                .bind(email)
                .fetch_one(&mut *connection)
                .await?
        }
    };
    sqlx::query("insert into app.entity_instance_link (parent_code, parent_id, child_code, child_id) values ('role', $1, 'person', $2) on conflict do nothing")
        .bind(role)
        .bind(person)
        .execute(connection)
        .await?;
    Ok(person)
}
