//! A sight that is kept is worth as much as one that is worked out afresh, whatever happened in between.
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

async fn run(c: &mut sqlx::PgConnection, statement: &str) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(c).await.unwrap();
}

async fn world(c: &mut sqlx::PgConnection) {
    let mut lines = String::new();
    for n in 0..3 {
        lines += &format!("insert into app.person (id, name, email) values ('{}', 'p', 'p{n}@x.example');", person(n));
        lines += &format!("insert into app.role (id, name) values ('{}', 'r{n}');", id(9, n));
        lines += &format!("insert into app.business (id, name) values ('{}', 'b');", id(0, n));
        lines += &format!(
            "insert into app.project (id, name, business_id) values ('{}', 'p', '{}');
             insert into app.task (id, name, project_id) values ('{}', 't', '{0}');",
            id(1, n),
            id(0, n),
            id(2, n)
        );
    }
    run(c, &lines).await;
}

/// Statements that change who sees what, and some that don't.
fn steps() -> impl Strategy<Value = String> {
    let n = || 0..3u128;
    let modes = prop::sample::select(vec!["none", "cascade", "mapped"]);
    prop_oneof![
        6 => (n(), any::<bool>(), 0..3usize, prop::option::weighted(0.8, n()), 0..8i16, modes, prop::bool::weighted(0.2), prop::option::weighted(0.3, any::<bool>()))
            .prop_map(|(who, role, kind, on, level, mode, deny, over)| format!(
                "insert into app.entity_rbac ({}, entity_code, entity_instance_id, permission, inheritance_mode, child_permissions, is_deny, expires_ts)
                 values ('{}', '{}', '{}', {level}, '{mode}', '{{\"_default\": 1}}', {deny}, {}) on conflict do nothing",
                if role { "role_id" } else { "person_id" },
                if role { id(9, who) } else { person(who) },
                CODES[kind],
                on.map_or(pmo_domain::EVERY_INSTANCE, |on| id(u128::try_from(kind).unwrap(), on)),
                match over { None => "null", Some(true) => "now() - interval '1 day'", Some(false) => "now() + interval '1 day'" }
            )),
        3 => (0..6usize).prop_map(|at| format!("delete from app.entity_rbac where id = (select id from app.entity_rbac order by id offset {at} limit 1)")),
        2 => (0..6usize, 0..7i16).prop_map(|(at, level)| format!("update app.entity_rbac set permission = {level} where id = (select id from app.entity_rbac order by id offset {at} limit 1)")),
        1 => (0..6usize).prop_map(|at| format!("update app.entity_rbac set expires_ts = now() - interval '1 hour' where id = (select id from app.entity_rbac order by id offset {at} limit 1)")),
        3 => (n(), n()).prop_map(|(r, p)| format!("insert into app.entity_instance_link (parent_code, parent_id, child_code, child_id) values ('role', '{}', 'person', '{}') on conflict do nothing", id(9, r), person(p))),
        2 => (n(), n()).prop_map(|(r, p)| format!("delete from app.entity_instance_link where parent_id = '{}' and child_id = '{}'", id(9, r), person(p))),
        1 => n().prop_map(|p| format!("update app.person set active_flag = not active_flag where id = '{}'", person(p))),
        1 => n().prop_map(|r| format!("update app.role set active_flag = not active_flag where id = '{}'", id(9, r))),
        4 => (n(), n()).prop_map(|(p, t)| format!("insert into app.task (name, project_id, parent__task_id) select 'new', project_id, id from app.task where id = '{}' or project_id = '{}' order by random() limit 1", id(2, t), id(1, p))),
        2 => (n(), n()).prop_map(|(p, b)| format!("update app.project set business_id = '{}' where id = '{}'", id(0, b), id(1, p))),
        1 => n().prop_map(|t| format!("update app.task set name = name || 'x' where id = '{}'", id(2, t))),
    ]
}

async fn names_of(memory: &VisibilityCache, c: &mut sqlx::PgConnection, who: u128) -> BTreeMap<Uuid, String> {
    let ids: Vec<Uuid> = (0..3).flat_map(|kind| (0..3).map(move |n| id(kind, n))).collect();
    let mut reader = memory.begin_read(c, PersonId(person(who))).await.unwrap();
    // Twice: what the first has kept, the second uses.
    reader.visible_titles(c, &ids).await.unwrap();
    reader.visible_titles(c, &ids).await.unwrap().into_iter().map(|(id, _, title)| (id, title.to_string())).collect()
}

async fn sights_of(sights: &VisibilityCache, c: &mut sqlx::PgConnection, who: u128) -> Vec<Visibility> {
    let mut reader = sights.begin_read(c, PersonId(person(who))).await.unwrap();
    let mut all = Vec::new();
    for code in CODES {
        all.push((*reader.visibility(c, &EntityCode::new(code).unwrap()).await.unwrap()).clone());
    }
    all
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_kept_sight_follows_every_change(pool: sqlx::PgPool) {
    let mut c = pool.acquire().await.unwrap();
    world(&mut c).await;
    let kept = VisibilityCache::new(1 << 20);
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    for _ in 0..400 {
        let step = steps().new_tree(&mut runner).unwrap().current();
        run(&mut c, &step).await;
        for who in 0..3 {
            let fresh = sights_of(&VisibilityCache::new(1 << 20), &mut c, who).await;
            assert_eq!(sights_of(&kept, &mut c, who).await, fresh, "person {who} after {step}");
            let fresh = names_of(&VisibilityCache::new(1 << 20), &mut c, who).await;
            assert_eq!(names_of(&kept, &mut c, who).await, fresh, "names for person {who} after {step}");
        }
    }
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_sight_kept_while_its_loss_was_being_written_is_lost(pool: sqlx::PgPool) {
    let mut c = pool.acquire().await.unwrap();
    world(&mut c).await;
    let give = format!(
        "insert into app.entity_rbac (person_id, entity_code, entity_instance_id, permission) values ('{}', 'project', '{}', 0)",
        person(0),
        id(1, 0)
    );
    run(&mut c, &give).await;
    let mut writer = pool.begin().await.unwrap();
    run(&mut writer, "delete from app.entity_rbac").await;
    // Work goes on meanwhile: the writer's transaction is older than what is read here.
    run(&mut c, "update app.task set name = 'other'").await;
    let kept = VisibilityCache::new(1 << 20);
    let before = sights_of(&kept, &mut c, 0).await;
    assert!(before[1].is_any_visible());
    assert_eq!(sights_of(&kept, &mut c, 0).await, before);
    writer.commit().await.unwrap();
    assert!(!sights_of(&kept, &mut c, 0).await.iter().any(Visibility::is_any_visible));
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_sight_ends_with_the_first_grant_that_expires(pool: sqlx::PgPool) {
    let mut c = pool.acquire().await.unwrap();
    world(&mut c).await;
    run(&mut c, &format!("insert into app.entity_rbac (person_id, entity_code, entity_instance_id, permission, expires_ts) values ('{}', 'project', '{}', 0, now() + interval '300 ms')", person(0), id(1, 0))).await;
    let kept = VisibilityCache::new(1 << 20);
    assert!(sights_of(&kept, &mut c, 0).await[1].is_any_visible());
    run(&mut c, "select pg_sleep(0.35)").await;
    assert!(!sights_of(&kept, &mut c, 0).await[1].is_any_visible());
}
