//! The SQL that answers permissions in bulk agrees with the one definition in `pmo-domain`, on random graphs of things, links, grants,
//! roles, denies and expiries.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)] // a test that fails here says where

use pmo_database::permission::{self, Reach};
use pmo_domain::permission::{Grant, Inheritance, Link, effective, may_create};
use pmo_domain::{EVERY_INSTANCE, EntityCode, EntityRef, Permission, PersonId};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

const CODES: [&str; 4] = ["business", "project", "task", "sprint"];
const GRAPHS: usize = 400;
const PERSON: Uuid = Uuid::from_u128(0xA11CE);
const ROLE: Uuid = Uuid::from_u128(0x401E);

fn thing(kind: usize, n: u128) -> EntityRef {
    EntityRef::new(EntityCode::new(CODES[kind]).unwrap(), Uuid::from_u128(kind as u128 * 100 + n + 1))
}

#[derive(Clone, Debug)]
struct Graph {
    links: Vec<Link>,
    /// With whether it is held through the role.
    grants: Vec<(Grant, bool)>,
}

fn graphs() -> impl Strategy<Value = Graph> {
    let node = (0..CODES.len(), 0..4u128).prop_map(|(c, n)| thing(c, n));
    let level = || (0..8u8).prop_map(|l| Permission::try_from(l).unwrap());
    let map = proptest::collection::btree_map(
        prop_oneof![Just("task".to_owned()), Just("project".into()), Just("_default".into())],
        level(),
        0..3,
    );
    let inheritance = prop_oneof![2 => Just(Inheritance::Cascade), 1 => Just(Inheritance::None), 1 => map.prop_map(Inheritance::Mapped)];
    let grant = (
        node.clone(),
        prop::bool::weighted(0.25),
        level(),
        inheritance,
        prop::bool::weighted(0.12),
        prop::option::weighted(0.3, any::<bool>()),
        any::<bool>(),
    )
        .prop_map(|(on, typed, permission, inheritance, deny, over, by_role)| {
            // Time is a day ago or a day ahead, so that no clock has to be watched.
            let expires = over.map(|over| if over { -86_400_000 } else { 86_400_000 });
            (
                Grant { code: on.code, instance: (!typed).then_some(on.id), permission, inheritance, deny, expires },
                by_role,
            )
        });
    // Links only between registered types, as the schema makes them; cycles among tasks included.
    let ties = [
        ("business", "project", true),
        ("project", "task", true),
        ("task", "task", true),
        ("sprint", "task", false),
        ("project", "sprint", true),
        ("business", "business", true),
    ];
    let link = (0..ties.len(), 0..4u128, 0..4u128).prop_map(move |(tie, a, b)| {
        let (parent, child, owned) = ties[tie];
        let place = |code: &str| CODES.iter().position(|c| *c == code).unwrap();
        Link { parent: thing(place(parent), a), child: thing(place(child), b), owned }
    });
    (proptest::collection::vec(link, 0..14), proptest::collection::vec(grant, 0..6))
        .prop_map(|(links, grants)| Graph { links, grants })
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn the_sql_agrees_with_the_pure_function_on_random_graphs(pool: sqlx::PgPool) {
    let mut connection = pool.acquire().await.unwrap();
    let c = &mut *connection;
    sqlx::query("insert into app.person (id, name, email) values ($1, 'p', 'p@x.example')")
        .bind(PERSON)
        .execute(&mut *c)
        .await
        .unwrap();
    sqlx::query("insert into app.role (id, name) values ($1, 'r')").bind(ROLE).execute(&mut *c).await.unwrap();
    for n in 0..4u128 {
        for (kind, code) in CODES.iter().enumerate() {
            let id = thing(kind, n).id;
            sqlx::query(sqlx::AssertSqlSafe(format!("insert into app.{} (id, name) values ($1, 'x')", code)))
                .bind(id)
                .execute(&mut *c)
                .await
                .unwrap();
        }
    }
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    for round in 0..GRAPHS {
        let graph = graphs().new_tree(&mut runner).unwrap().current();
        store(c, &graph).await;
        let grants: Vec<Grant> = graph.grants.iter().map(|(g, _)| g.clone()).collect();
        for kind in 0..CODES.len() {
            let things: Vec<EntityRef> = (0..4).map(|n| thing(kind, n)).collect();
            let code = &things[0].code;
            let ids: Vec<Uuid> = things.iter().map(|t| t.id).collect();
            let levels = permission::levels(c, &[PersonId(PERSON)], code, &ids).await.unwrap();
            let mut visible = BTreeSet::new();
            for thing in &things {
                let expected = effective(&grants, &graph.links, thing, 0);
                assert_eq!(
                    levels.get(&(PersonId(PERSON), thing.id)).copied(),
                    expected,
                    "round {round}: {thing} in {graph:#?}"
                );
                if expected.is_some() {
                    visible.insert(thing.id);
                }
            }
            // The way down, which lists take, sees the same things.
            let reached: Vec<(Uuid, bool)> =
                sqlx::query_as("select id, bool_or(is_deny) from app.reached($1, $2) group by id")
                    .bind(PERSON)
                    .bind(code.as_str())
                    .fetch_all(&mut *c)
                    .await
                    .unwrap();
            let denied: BTreeSet<Uuid> = reached.iter().filter(|r| r.1).map(|r| r.0).collect();
            let listed: BTreeSet<Uuid> = match permission::reach(c, PersonId(PERSON), code).await.unwrap() {
                Reach::None => BTreeSet::new(),
                Reach::All => ids.iter().copied().collect(),
                Reach::AllBut => ids.iter().copied().filter(|id| !denied.contains(id)).collect(),
                Reach::Some => reached.iter().filter(|r| !r.1).map(|r| r.0).collect(),
            };
            assert_eq!(listed, visible, "round {round}: list of {code} in {graph:#?}");
            assert_eq!(
                permission::may_create(c, PersonId(PERSON), code).await.unwrap(),
                may_create(&grants, code, 0),
                "round {round}: create {code}"
            );
        }
    }
}

async fn store(c: &mut sqlx::PgConnection, graph: &Graph) {
    sqlx::query("truncate app.entity_instance_link, app.entity_rbac").execute(&mut *c).await.unwrap();
    sqlx::query("insert into app.entity_instance_link (parent_code, parent_id, child_code, child_id) values ('role', $1, 'person', $2)")
        .bind(ROLE).bind(PERSON).execute(&mut *c).await.unwrap();
    for (n, link) in graph.links.iter().enumerate() {
        sqlx::query("insert into app.entity_instance_link (parent_code, parent_id, child_code, child_id, owned, column_name) values ($1, $2, $3, $4, $5, $6)")
            .bind(link.parent.code.as_str()).bind(link.parent.id).bind(link.child.code.as_str()).bind(link.child.id).bind(link.owned).bind(n.to_string())
            .execute(&mut *c).await.unwrap();
    }
    for (grant, by_role) in &graph.grants {
        let (mode, map) = match &grant.inheritance {
            Inheritance::None => ("none", json!({})),
            Inheritance::Cascade => ("cascade", json!({})),
            Inheritance::Mapped(map) => {
                ("mapped", json!(map.iter().map(|(k, v)| (k.clone(), u8::from(*v))).collect::<BTreeMap<_, _>>()))
            }
        };
        sqlx::query(
            "insert into app.entity_rbac (person_id, role_id, entity_code, entity_instance_id, permission, inheritance_mode, child_permissions, is_deny, expires_ts)
             values ($1, $2, $3, $4, $5, $6, $7, $8, now() + make_interval(secs => $9))",
        )
        .bind((!by_role).then_some(PERSON)).bind(by_role.then_some(ROLE)).bind(grant.code.as_str()).bind(grant.instance.unwrap_or(EVERY_INSTANCE))
        .bind(i16::from(u8::from(grant.permission))).bind(mode).bind(map).bind(grant.deny).bind(grant.expires.map(|ms| ms as f64 / 1000.0))
        .execute(&mut *c).await.unwrap();
    }
}
