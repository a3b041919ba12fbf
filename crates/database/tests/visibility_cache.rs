//! Tests of the visibility cache: cached values equal fresh ones after every change.
#![allow(clippy::unwrap_used)]

use pmo_database::visibility::{Visibility, VisibilityCache};
use pmo_domain::{EntityCode, PersonId};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::collections::BTreeMap;
use uuid::Uuid;

const CODES: [&str; 3] = ["business", "project", "task"];

fn id(kind: u128, n: u128) -> Uuid {
    Uuid::from_u128((0x5160 << 64) | (kind << 32) | n)
}
fn person(n: u128) -> Uuid {
    id(8, n)
}

async fn run(conn: &mut sqlx::PgConnection, statement: &str) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(conn).await.unwrap();
}

async fn insert_entities(conn: &mut sqlx::PgConnection) {
    let mut sql = String::new();
    for n in 0..3 {
        sql += &format!("insert into app.person (id, name, email) values ('{}', 'p', 'p{n}@x.example');", person(n));
        sql += &format!("insert into app.role (id, name) values ('{}', 'r{n}');", id(9, n));
        sql += &format!("insert into app.business (id, name) values ('{}', 'b');", id(0, n));
        sql += &format!(
            "insert into app.project (id, name, business_id) values ('{}', 'p', '{}');
             insert into app.task (id, name, project_id) values ('{}', 't', '{0}');",
            id(1, n),
            id(0, n),
            id(2, n)
        );
    }
    run(conn, &sql).await;
}

/// Random statements; most of them change the visibility of entities.
fn steps() -> impl Strategy<Value = String> {
    let n = || 0..3u128;
    let modes = prop::sample::select(vec!["none", "cascade", "mapped"]);
    prop_oneof![
        6 => (n(), any::<bool>(), 0..3usize, prop::option::weighted(0.8, n()), 0..8i16, modes, prop::bool::weighted(0.2), prop::option::weighted(0.3, any::<bool>()))
            .prop_map(|(holder, by_role, kind, target, level, mode, deny, expired)| format!(
                "insert into app.entity_rbac ({}, entity_code, entity_instance_id, permission, inheritance_mode, child_permissions, is_deny, expires_ts)
                 values ('{}', '{}', '{}', {level}, '{mode}', '{{\"_default\": 1}}', {deny}, {}) on conflict do nothing",
                if by_role { "role_id" } else { "person_id" },
                if by_role { id(9, holder) } else { person(holder) },
                CODES[kind],
                target.map_or(pmo_domain::EVERY_INSTANCE, |target| id(u128::try_from(kind).unwrap(), target)),
                match expired { None => "null", Some(true) => "now() - interval '1 day'", Some(false) => "now() + interval '1 day'" }
            )),
        3 => (0..6usize).prop_map(|offset| format!("delete from app.entity_rbac where id = (select id from app.entity_rbac order by id offset {offset} limit 1)")),
        2 => (0..6usize, 0..7i16).prop_map(|(offset, level)| format!("update app.entity_rbac set permission = {level} where id = (select id from app.entity_rbac order by id offset {offset} limit 1)")),
        1 => (0..6usize).prop_map(|offset| format!("update app.entity_rbac set expires_ts = now() - interval '1 hour' where id = (select id from app.entity_rbac order by id offset {offset} limit 1)")),
        3 => (n(), n()).prop_map(|(r, p)| format!("insert into app.entity_instance_link (parent_code, parent_id, child_code, child_id) values ('role', '{}', 'person', '{}') on conflict do nothing", id(9, r), person(p))),
        2 => (n(), n()).prop_map(|(r, p)| format!("delete from app.entity_instance_link where parent_id = '{}' and child_id = '{}'", id(9, r), person(p))),
        1 => n().prop_map(|p| format!("update app.person set active_flag = not active_flag where id = '{}'", person(p))),
        1 => n().prop_map(|r| format!("update app.role set active_flag = not active_flag where id = '{}'", id(9, r))),
        4 => (n(), n()).prop_map(|(p, t)| format!("insert into app.task (name, project_id, parent__task_id) select 'new', project_id, id from app.task where id = '{}' or project_id = '{}' order by random() limit 1", id(2, t), id(1, p))),
        2 => (n(), n()).prop_map(|(p, b)| format!("update app.project set business_id = '{}' where id = '{}'", id(0, b), id(1, p))),
        1 => n().prop_map(|t| format!("update app.task set name = name || 'x' where id = '{}'", id(2, t))),
    ]
}

async fn titles_for(cache: &VisibilityCache, conn: &mut sqlx::PgConnection, n: u128) -> BTreeMap<Uuid, String> {
    let ids: Vec<Uuid> = (0..3).flat_map(|kind| (0..3).map(move |entity| id(kind, entity))).collect();
    let mut reader = cache.begin_read(conn, PersonId(person(n))).await.unwrap();
    // Twice: the second call uses the titles that the first has cached.
    reader.visible_titles(conn, &ids).await.unwrap();
    reader.visible_titles(conn, &ids).await.unwrap().into_iter().map(|(id, _, title)| (id, title.to_string())).collect()
}

async fn visibility_for(cache: &VisibilityCache, conn: &mut sqlx::PgConnection, n: u128) -> Vec<Visibility> {
    let mut reader = cache.begin_read(conn, PersonId(person(n))).await.unwrap();
    let mut by_type = Vec::new();
    for code in CODES {
        by_type.push((*reader.visibility(conn, &EntityCode::new(code).unwrap()).await.unwrap()).clone());
    }
    by_type
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn cached_visibility_equals_fresh_after_every_change(pool: sqlx::PgPool) {
    let mut conn = pool.acquire().await.unwrap();
    insert_entities(&mut conn).await;
    let cache = VisibilityCache::new(1 << 20);
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    for _ in 0..400 {
        let step = steps().new_tree(&mut runner).unwrap().current();
        run(&mut conn, &step).await;
        for n in 0..3 {
            let fresh = visibility_for(&VisibilityCache::new(1 << 20), &mut conn, n).await;
            assert_eq!(visibility_for(&cache, &mut conn, n).await, fresh, "visibility for person {n} after {step}");
            let fresh = titles_for(&VisibilityCache::new(1 << 20), &mut conn, n).await;
            assert_eq!(titles_for(&cache, &mut conn, n).await, fresh, "titles for person {n} after {step}");
        }
    }
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn visibility_cached_during_a_revoking_transaction_is_discarded(pool: sqlx::PgPool) {
    let mut conn = pool.acquire().await.unwrap();
    insert_entities(&mut conn).await;
    let grant = format!(
        "insert into app.entity_rbac (person_id, entity_code, entity_instance_id, permission) values ('{}', 'project', '{}', 0)",
        person(0),
        id(1, 0)
    );
    run(&mut conn, &grant).await;
    let mut writer = pool.begin().await.unwrap();
    run(&mut writer, "delete from app.entity_rbac").await;
    // Another transaction commits meanwhile: the writer's transaction is older than the read.
    run(&mut conn, "update app.task set name = 'other'").await;
    let cache = VisibilityCache::new(1 << 20);
    let before = visibility_for(&cache, &mut conn, 0).await;
    assert!(before[1].is_any_visible());
    assert_eq!(visibility_for(&cache, &mut conn, 0).await, before);
    writer.commit().await.unwrap();
    assert!(!visibility_for(&cache, &mut conn, 0).await.iter().any(Visibility::is_any_visible));
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn cached_visibility_expires_with_the_first_grant(pool: sqlx::PgPool) {
    let mut conn = pool.acquire().await.unwrap();
    insert_entities(&mut conn).await;
    run(&mut conn, &format!("insert into app.entity_rbac (person_id, entity_code, entity_instance_id, permission, expires_ts) values ('{}', 'project', '{}', 0, now() + interval '300 ms')", person(0), id(1, 0))).await;
    let cache = VisibilityCache::new(1 << 20);
    assert!(visibility_for(&cache, &mut conn, 0).await[1].is_any_visible());
    run(&mut conn, "select pg_sleep(0.35)").await;
    assert!(!visibility_for(&cache, &mut conn, 0).await[1].is_any_visible());
}
