//! Test data and writes.

use crate::receive::{ClientPool, Results};
use crate::{ENTITIES, USERS, entity_id, project_id, user_id};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgConnection, PgPool};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use uuid::Uuid;

pub(crate) fn database_url() -> String {
    std::env::var("DATABASE_URL").expect("DATABASE_URL is not set")
}

pub(crate) async fn connect_database() -> PgConnection {
    PgConnection::connect(&database_url()).await.expect("cannot connect to the database")
}

pub(crate) async fn update_entity(connection: &mut PgConnection, id: Uuid) -> sqlx::Result<()> {
    sqlx::query("update app.wiki set name = 'w' || (version + 1) where id = $1").bind(id).execute(connection).await?;
    Ok(())
}

pub(crate) async fn insert_linked_entities(
    connection: &mut PgConnection,
    ids: &[Uuid],
    name: &str,
) -> sqlx::Result<()> {
    sqlx::query("insert into app.wiki (id, name) select id, $2 from unnest($1::uuid[]) id")
        .bind(ids)
        .bind(name)
        .execute(&mut *connection)
        .await?;
    sqlx::query("insert into app.entity_instance_link (parent_code, parent_id, child_code, child_id, owned) select 'project', $2, 'wiki', id, true from unnest($1::uuid[]) id")
        .bind(ids)
        .bind(project_id())
        .execute(&mut *connection)
        .await?;
    Ok(())
}

/// Creates users, entities and grants.
pub(crate) async fn prepare() -> sqlx::Result<()> {
    let mut connection = connect_database().await;
    sqlx::query("insert into app.project (id, name) values ($1, 'bench') on conflict do nothing")
        .bind(project_id())
        .execute(&mut connection)
        .await?;
    for n in 0..USERS {
        sqlx::query("insert into app.person (id, name, email) values ($1, 'p', $1::text || '@bench.example') on conflict do nothing")
            .bind(user_id(n))
            .execute(&mut connection)
            .await?;
        sqlx::query("insert into app.entity_rbac (person_id, entity_code, entity_instance_id, permission) values ($1, 'project', $2, 0)")
            .bind(user_id(n))
            .bind(project_id())
            .execute(&mut connection)
            .await?;
    }
    let ids: Vec<Uuid> = (0..ENTITIES).map(entity_id).collect();
    insert_linked_entities(&mut connection, &ids, "w").await
}

/// Writes of a period at a constant rate.
#[derive(Default)]
pub(crate) struct Writes {
    /// Numbers of the committed writes.
    pub committed: Vec<usize>,
    pub failed: usize,
}

/// Updates one entity per tick, `rate` times a second for `seconds`.
///
/// `entity` maps the number of a write to its entity.
pub(crate) async fn write_at_rate(
    pool: &ClientPool,
    rate: usize,
    seconds: usize,
    entity: impl Fn(usize) -> Uuid,
) -> Writes {
    let options = PgPoolOptions::new().max_connections(4).acquire_timeout(Duration::from_secs(120));
    let database = options.connect(&database_url()).await.expect("cannot connect to the database");
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / rate as f64));
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..rate * seconds {
        ticks.tick().await;
        let (database, results, id) = (database.clone(), pool.results.clone(), entity(n));
        tasks.spawn(async move { (n, write_one(&database, &results, id).await) });
    }
    let mut writes = Writes::default();
    while let Some(finished) = tasks.join_next().await {
        match finished {
            Ok((n, Ok(()))) => writes.committed.push(n),
            _ => writes.failed += 1,
        }
    }
    writes
}

/// Updates one entity and records the time just before the commit.
async fn write_one(database: &PgPool, results: &Mutex<Results>, id: Uuid) -> sqlx::Result<()> {
    let mut transaction = database.begin().await?;
    update_entity(&mut transaction, id).await?;
    results.lock().unwrap().written_at.insert(id, Instant::now());
    transaction.commit().await
}
