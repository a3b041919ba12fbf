//! The SQL that answers permissions in bulk agrees with the one definition in `pmo-domain`, on random graphs of things, links, grants,
//! roles, denies and expiries.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)] // a test that fails here says where

use pmo_database::row_cache::RowCache;
use pmo_database::visibility::{ReadContext, VisibilityCache};
use pmo_database::{list, permission};
use pmo_domain::grant_set::EntityLocation;
use pmo_domain::permission::{EntityLink, Grant, Inheritance, can_create, effective_permission};
use pmo_domain::query::ListQuery;
use pmo_domain::{EVERY_INSTANCE, EntityCode, EntityRef, Permission, PersonId};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use uuid::Uuid;

const CODES: [&str; 4] = ["business", "project", "task", "sprint"];
/// Ten thousand in all: four tests of ten loads of this many.
const GRAPHS_OF_A_LOAD: u128 = 250;
const LOADS: u128 = 10;

/// The person of a graph, and the role that they are in.
fn holders(graph: u128) -> (Uuid, Uuid) {
    (Uuid::from_u128((0xA11CE << 32) + graph), Uuid::from_u128((0x401E << 32) + graph))
}

fn thing(kind: usize, n: u128) -> EntityRef {
    EntityRef::new(EntityCode::new(CODES[kind]).unwrap(), Uuid::from_u128(kind as u128 * 100 + n + 1))
}

/// A thing of the pattern as it is called in a graph: ids are one thing each.
fn placed(graph: u128, thing: &EntityRef) -> Uuid {
    Uuid::from_u128(thing.id.as_u128() + (graph + 1) * 1000)
}

fn things() -> impl Iterator<Item = EntityRef> {
    (0..CODES.len()).flat_map(|kind| (0..4).map(move |n| thing(kind, n)))
}

#[derive(Clone, Debug)]
struct Graph {
    links: Vec<EntityLink>,
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
                Grant {
                    code: on.code,
                    instance: (!typed).then_some(on.id),
                    permission,
                    inheritance,
                    deny,
                    expires_at_ms: expires,
                },
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
        EntityLink { parent: thing(place(parent), a), child: thing(place(child), b), owned }
    });
    (proptest::collection::vec(link, 0..14), proptest::collection::vec(grant, 0..6))
        .prop_map(|(links, grants)| Graph { links, grants })
}

/// Without the triggers, which another test is about: thousands of graphs are there in one go, and their reach follows from the links.
async fn load(c: &mut sqlx::PgConnection, graphs: &[(u128, Graph)]) {
    let mut lines = String::from("truncate app.entity_instance_link, app.entity_rbac, app.thing;");
    for code in ["person", "role"].iter().chain(&CODES) {
        lines += &format!("truncate app.{code} cascade;");
    }
    for (n, graph) in graphs {
        let (person, role) = holders(*n);
        lines += &format!(
            "insert into app.person (id, code, name, email) values ('{person}', 'p{n}', 'p', 'p{n}@x.example');
             insert into app.role (id, code, name) values ('{role}', 'r{n}', 'r');
             insert into app.entity_instance_link (parent_code, parent_id, child_code, child_id) values ('role', '{role}', 'person', '{person}');"
        );
        for thing in things() {
            let (id, code) = (placed(*n, &thing), &thing.code);
            lines += &format!(
                "insert into app.{code} (id, code, name) values ('{id}', '{id}', 'x'); insert into app.thing (id, code, title) values ('{id}', '{code}', 'x');"
            );
        }
        for (at, link) in graph.links.iter().enumerate() {
            lines += &format!(
                "insert into app.entity_instance_link (parent_code, parent_id, child_code, child_id, owned, column_name) values ('{}', '{}', '{}', '{}', {}, '{at}');",
                link.parent.code,
                placed(*n, &link.parent),
                link.child.code,
                placed(*n, &link.child),
                link.owned
            );
        }
        for (grant, by_role) in &graph.grants {
            let (mode, map) = match &grant.inheritance {
                Inheritance::None => ("none", json!({})),
                Inheritance::Cascade => ("cascade", json!({})),
                Inheritance::Mapped(map) => {
                    ("mapped", json!(map.iter().map(|(k, v)| (k.clone(), u8::from(*v))).collect::<BTreeMap<_, _>>()))
                }
            };
            let instance =
                grant.instance.map_or(EVERY_INSTANCE, |id| placed(*n, &EntityRef::new(grant.code.clone(), id)));
            let (column, holder) = if *by_role { ("role_id", role) } else { ("person_id", person) };
            let expires = grant
                .expires_at_ms
                .map_or("null".to_owned(), |ms| format!("now() + make_interval(secs => {})", ms as f64 / 1000.0));
            lines += &format!(
                "insert into app.entity_rbac ({column}, entity_code, entity_instance_id, permission, inheritance_mode, child_permissions, is_deny, expires_ts)
                 values ('{holder}', '{}', '{instance}', {}, '{mode}', '{map}', {}, {expires});",
                grant.code, u8::from(grant.permission), grant.deny
            );
        }
    }
    lines += "update app.thing th set reach = app.reach_for(a.above, a.above_owned) from app.above((select array_agg(id) from app.thing)) a where a.id = th.id;";
    for code in CODES {
        lines += &format!("update app.{code} t set reach = th.reach from app.thing th where th.id = t.id;");
    }
    sqlx::raw_sql(sqlx::AssertSqlSafe(lines)).execute(c).await.unwrap();
}

async fn agree(pool: sqlx::PgPool, part: u128) {
    let mut connection = pool.acquire().await.unwrap();
    let c = &mut *connection;
    for table in ["person", "role", "entity_instance_link", "entity_rbac"].iter().chain(&CODES) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("alter table app.{table} disable trigger user")))
            .execute(&mut *c)
            .await
            .unwrap();
    }
    let markers = permission::type_markers(c).await.unwrap();
    let mut seed = [0; 32];
    seed[0] = u8::try_from(part).unwrap();
    let rng = proptest::test_runner::TestRng::from_seed(proptest::test_runner::RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    for _ in 0..LOADS {
        let graphs: Vec<(u128, Graph)> =
            (0..GRAPHS_OF_A_LOAD).map(|n| (n, graphs().new_tree(&mut runner).unwrap().current())).collect();
        load(c, &graphs).await;
        for (n, graph) in &graphs {
            check(c, &markers, *n, graph).await;
        }
    }
}

async fn check(c: &mut sqlx::PgConnection, markers: &HashMap<String, Uuid>, n: u128, graph: &Graph) {
    let person = PersonId(holders(n).0);
    let grants: Vec<Grant> = graph.grants.iter().map(|(g, _)| g.clone()).collect();
    let ids: Vec<Uuid> = things().map(|t| placed(n, &t)).collect();
    let levels: BTreeMap<Uuid, Permission> =
        permission::visible(c, person, &ids).await.unwrap().into_iter().map(|s| (s.id, s.level)).collect();
    // Of many things at once another way is gone.
    let many: Vec<Uuid> = ids.iter().copied().chain((0..60).map(|_| Uuid::new_v4())).collect();
    let also: BTreeMap<Uuid, Permission> =
        permission::visible(c, person, &many).await.unwrap().into_iter().map(|s| (s.id, s.level)).collect();
    assert_eq!(levels, also, "few and many at once");
    // As lists narrow what they read.
    let sights = VisibilityCache::new(1 << 20);
    let mut reader = sights.begin_read(c, person).await.unwrap();
    let reach: BTreeMap<Uuid, i32> = sqlx::query_as("select id, reach from app.thing where id = any ($1)")
        .bind(&ids)
        .fetch_all(&mut *c)
        .await
        .unwrap()
        .into_iter()
        .collect();
    // As the feed weighs them, from what a person holds and what is above a thing.
    let held = permission::grant_sets(c, &[person]).await.unwrap().remove(&person).unwrap();
    let numbers: Vec<i32> = reach.values().copied().collect();
    let above = permission::ancestor_sets(c, &numbers).await.unwrap();
    for thing in things() {
        let id = placed(n, &thing);
        let expected = effective_permission(&grants, &graph.links, &thing, 0);
        let (code, marker) = (thing.code.as_str(), markers[thing.code.as_str()]);
        let place = EntityLocation { id, type_marker: marker, code, ancestors: &above[&reach[&id]] };
        let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
        assert_eq!(held.effective_permission(&place, now), expected, "holdings: {thing} in {graph:#?}");
        let sight = reader.visibility(c, &thing.code).await.unwrap();
        assert_eq!(sight.is_visible(id, reach[&id]), expected.is_some(), "sight: {thing} in {graph:#?}");
        assert_eq!(levels.get(&id).copied(), expected, "{thing} in {graph:#?}");
    }
    let explained = n.is_multiple_of(25);
    if explained {
        listed(c, &mut reader, &levels, &ids).await;
    }
    for (kind, code) in CODES.iter().enumerate() {
        let code = EntityCode::new(*code).unwrap();
        let may = permission::may_create(c, person, &code).await.unwrap();
        assert_eq!(may, can_create(&grants, &code, 0), "create {code} in {graph:#?}");
        let thing = thing(kind, 0);
        if explained && thing.code == code {
            // Why: the grants that reach it, each with what it is worth there.
            let why = permission::explain(c, person, &code, placed(n, &thing)).await.unwrap();
            let denied = why.iter().any(|w| w.is_deny);
            let most = why.iter().map(|w| w.effective_permission).max().filter(|_| !denied);
            let expected = effective_permission(&grants, &graph.links, &thing, 0);
            assert_eq!(most, expected.map(|level| i16::from(u8::from(level))), "why {thing} in {graph:#?}");
        }
    }
}

/// Lists show what has a level and nothing else, gathered or walked.
async fn listed(
    c: &mut sqlx::PgConnection,
    reader: &mut ReadContext<'_>,
    levels: &BTreeMap<Uuid, Permission>,
    ids: &[Uuid],
) {
    let catalogue = pmo_database::catalog::load(c).await.unwrap();
    let texts = RowCache::new(1 << 20);
    for walked in [true, false] {
        let mut found = BTreeSet::new();
        for code in CODES {
            let query = ListQuery { limit: 1000, ids: walked.then(|| ids.to_vec()), ..ListQuery::default() };
            let entity = catalogue.get(code).unwrap();
            let page = list::fetch_page(c, reader, &texts, entity, &query, None).await.unwrap();
            assert_eq!(page.total, i64::try_from(page.rows.len()).unwrap());
            found.extend(page.rows.iter().map(|row| row.id).filter(|id| ids.contains(id)));
        }
        assert_eq!(found, levels.keys().copied().collect::<BTreeSet<_>>(), "walked: {walked}");
    }
}

macro_rules! ten_thousand {
    ($($name:ident: $part:literal),*) => {$(
        #[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
        async fn $name(pool: sqlx::PgPool) {
            agree(pool, $part).await;
        }
    )*};
}
ten_thousand!(
    the_sql_agrees_with_the_pure_function_first: 1,
    the_sql_agrees_with_the_pure_function_second: 2,
    the_sql_agrees_with_the_pure_function_third: 3,
    the_sql_agrees_with_the_pure_function_fourth: 4
);

/// A step that changes what hangs where.
#[derive(Clone, Debug)]
enum Step {
    Link(usize, u128, u128, bool),
    Unlink(usize),
    Move(&'static str, &'static str, u128, Option<u128>),
    New(u128),
    Delete(u128),
}

const TIES: [(&str, &str); 5] =
    [("business", "project"), ("project", "task"), ("task", "task"), ("sprint", "task"), ("business", "business")];

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..TIES.len(), 0..4u128, 0..4u128, any::<bool>()).prop_map(|(tie, a, b, owned)| Step::Link(tie, a, b, owned)),
        2 => (0..8usize).prop_map(Step::Unlink),
        3 => (0..4u128, prop::option::of(0..4u128)).prop_map(|(a, b)| Step::Move("project", "business_id", a, b)),
        2 => (0..4u128, prop::option::of(0..4u128)).prop_map(|(a, b)| Step::Move("task", "sprint_id", a, b)),
        2 => (0..4u128, prop::option::of(0..4u128)).prop_map(|(a, b)| Step::Move("task", "parent__task_id", a, b)),
        2 => (0..4u128, prop::option::of(0..4u128)).prop_map(|(a, b)| Step::Move("business", "parent__business_id", a, b)),
        2 => (0..4u128).prop_map(Step::New),
        1 => (0..4u128).prop_map(Step::Delete),
    ]
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn the_reach_of_everything_follows_each_link_and_move(pool: sqlx::PgPool) {
    let rng = proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut c = pool.acquire().await.unwrap();
    for round in 0..30u128 {
        for thing in things() {
            sqlx::query(sqlx::AssertSqlSafe(format!("insert into app.{} (id, name) values ($1, 'x')", thing.code)))
                .bind(placed(round, &thing))
                .execute(&mut *c)
                .await
                .unwrap();
        }
        for _ in 0..14 {
            let step = steps().new_tree(&mut runner).unwrap().current();
            let id = |code: &str, n: u128| placed(round, &thing(CODES.iter().position(|k| *k == code).unwrap(), n));
            let statement = match &step {
                Step::Link(tie, a, b, owned) => {
                    let (parent, child) = TIES[*tie];
                    format!(
                        "insert into app.entity_instance_link (parent_code, parent_id, child_code, child_id, owned) values ('{parent}', '{}', '{child}', '{}', {owned}) on conflict do nothing",
                        id(parent, *a),
                        id(child, *b)
                    )
                }
                Step::Unlink(at) => format!(
                    "delete from app.entity_instance_link where id = (select id from app.entity_instance_link where column_name = '' order by id desc offset {at} limit 1)"
                ),
                Step::Move(code, column, a, b) => {
                    let target = match *column {
                        "sprint_id" => "sprint",
                        "parent__task_id" => "task",
                        _ => "business",
                    };
                    let to = b.map_or("null".to_owned(), |b| format!("'{}'", id(target, b)));
                    format!("update app.{code} set {column} = {to} where id = '{}'", id(code, *a))
                }
                Step::New(a) => format!(
                    "insert into app.task (name, parent__task_id) select 'new', id from app.task where id = '{}'",
                    id("task", *a)
                ),
                Step::Delete(a) => format!(
                    "delete from app.sprint where id = '{}' and not exists (select from app.task where sprint_id = '{0}')",
                    id("sprint", *a)
                ),
            };
            // A ring of tasks, say, is refused; then nothing has changed.
            let _refused = sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut *c).await;
            let wrong: Vec<(String, Uuid)> = sqlx::query_as(
                "select th.code, th.id from app.thing th join app.above((select array_agg(id) from app.thing)) a using (id) join app.reach r on r.id = th.reach
                 left join (select id, reach from app.business union all select id, reach from app.project union all select id, reach from app.task
                            union all select id, reach from app.sprint) t on t.id = th.id
                 where (r.above, r.above_owned) is distinct from (a.above, a.above_owned) or t.reach is distinct from th.reach",
            )
            .fetch_all(&mut *c)
            .await
            .unwrap();
            assert_eq!(wrong, [], "after {step:?} in round {round}");
        }
        sqlx::raw_sql(
            "delete from app.task; delete from app.sprint; delete from app.project; delete from app.business",
        )
        .execute(&mut *c)
        .await
        .unwrap();
        let left: i64 = sqlx::query_scalar("select count(*) from app.thing").fetch_one(&mut *c).await.unwrap();
        assert_eq!(left, 0);
    }
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_child_made_while_its_parent_moves_has_the_new_reach(pool: sqlx::PgPool) {
    let [old, new, project] = [1u128, 2, 3].map(|n| Uuid::from_u128(0xB0 + n));
    sqlx::query("insert into app.business (id, name) values ($1, 'old'), ($2, 'new')")
        .bind(old)
        .bind(new)
        .execute(&pool)
        .await
        .unwrap();
    sqlx::query("insert into app.project (id, name, business_id) values ($1, 'p', $2)")
        .bind(project)
        .bind(old)
        .execute(&pool)
        .await
        .unwrap();
    // A task is being made below the project; it is not committed when the move begins.
    let mut making = pool.begin().await.unwrap();
    let task: Uuid = sqlx::query_scalar("insert into app.task (name, project_id) values ('t', $1) returning id")
        .bind(project)
        .fetch_one(&mut *making)
        .await
        .unwrap();
    let mover = pool.clone();
    let moving = tokio::spawn(async move {
        sqlx::query("update app.project set business_id = $2 where id = $1")
            .bind(project)
            .bind(new)
            .execute(&mover)
            .await
            .unwrap();
    });
    // It waits for the one that makes: seen in the table of locks, not guessed by time.
    loop {
        let waits: bool = sqlx::query_scalar("select exists (select from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database()))")
            .fetch_one(&pool).await.unwrap();
        if waits {
            break;
        }
        tokio::task::yield_now().await;
    }
    making.commit().await.unwrap();
    moving.await.unwrap();
    let reach: Vec<Uuid> =
        sqlx::query_scalar("select unnest(r.above) from app.task t join app.reach r on r.id = t.reach where t.id = $1")
            .bind(task)
            .fetch_all(&pool)
            .await
            .unwrap();
    assert!(reach.contains(&new) && !reach.contains(&old), "{reach:?}");
}
