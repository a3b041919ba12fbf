//! Property tests of permissions and ancestor sets on random graphs.
//!
//! Permissions in SQL equal the rule in `pmo_domain`, for random entities, links, grants, roles,
//! denies and expiries. Ancestor sets equal a fresh walk of the links.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)] // a failing test reports the line

use pmo_database::row_cache::RowCache;
use pmo_database::visibility::{ReadContext, VisibilityCache};
use pmo_database::{list, permission};
use pmo_domain::grant_set::EntityLocation;
use pmo_domain::permission::{EntityLink, Grant, Inheritance, can_create, effective_permission};
use pmo_domain::query::ListQuery;
use pmo_domain::{AncestorSetId, EVERY_INSTANCE, EntityCode, EntityRef, Permission, PersonId};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use uuid::Uuid;

const CODES: [&str; 4] = ["business", "project", "task", "sprint"];
/// Number of graphs that are loaded together; 10,000 graphs in all, in four tests of ten loads.
const GRAPHS_PER_LOAD: u128 = 250;
const LOADS: u128 = 10;

/// Returns the person of a graph and their role.
fn person_and_role(graph: u128) -> (Uuid, Uuid) {
    (Uuid::from_u128((0xA11CE << 32) + graph), Uuid::from_u128((0x401E << 32) + graph))
}

fn test_entity(kind: usize, n: u128) -> EntityRef {
    EntityRef::new(EntityCode::new(CODES[kind]).unwrap(), Uuid::from_u128(kind as u128 * 100 + n + 1))
}

/// Returns the id of an entity within one graph; ids are unique over all graphs of a load.
fn id_in_graph(graph: u128, entity: &EntityRef) -> Uuid {
    Uuid::from_u128(entity.id.as_u128() + (graph + 1) * 1000)
}

fn test_entities() -> impl Iterator<Item = EntityRef> {
    (0..CODES.len()).flat_map(|kind| (0..4).map(move |n| test_entity(kind, n)))
}

#[derive(Clone, Debug)]
struct Graph {
    links: Vec<EntityLink>,
    /// Each with whether the role has the grant, instead of the person.
    grants: Vec<(Grant, bool)>,
}

fn graphs() -> impl Strategy<Value = Graph> {
    let node = (0..CODES.len(), 0..4u128).prop_map(|(kind, n)| test_entity(kind, n));
    let level = || (0..8u8).prop_map(|level| Permission::try_from(level).unwrap());
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
        .prop_map(|(target, type_wide, permission, inheritance, deny, expired, by_role)| {
            // Expiry is a day ago or in a day, so that the duration of the test does not matter.
            let expires_at_ms = expired.map(|expired| if expired { -86_400_000 } else { 86_400_000 });
            (
                Grant {
                    code: target.code,
                    instance: (!type_wide).then_some(target.id),
                    permission,
                    inheritance,
                    deny,
                    expires_at_ms,
                },
                by_role,
            )
        });
    // The schema registers all of these relations. They allow cycles of tasks.
    let relations = [
        ("business", "project", true),
        ("project", "task", true),
        ("task", "task", true),
        ("sprint", "task", false),
        ("project", "sprint", true),
        ("business", "business", true),
    ];
    let link = (0..relations.len(), 0..4u128, 0..4u128).prop_map(move |(relation, a, b)| {
        let (parent, child, owned) = relations[relation];
        let kind_of = |code: &str| CODES.iter().position(|c| *c == code).unwrap();
        EntityLink { parent: test_entity(kind_of(parent), a), child: test_entity(kind_of(child), b), owned }
    });
    (proptest::collection::vec(link, 0..14), proptest::collection::vec(grant, 0..6))
        .prop_map(|(links, grants)| Graph { links, grants })
}

/// Replaces the contents of the database with `graphs`; derives ancestor sets from the links.
///
/// Triggers are disabled, so that hundreds of graphs load at once; another test covers them.
async fn load(conn: &mut sqlx::PgConnection, graphs: &[(u128, Graph)]) {
    let mut sql = String::from("truncate app.entity_instance_link, app.entity_rbac, app.entity_instance;");
    for code in ["person", "role"].iter().chain(&CODES) {
        sql += &format!("truncate app.{code} cascade;");
    }
    for (n, graph) in graphs {
        let (person, role) = person_and_role(*n);
        sql += &format!(
            "insert into app.person (id, code, name, email) values ('{person}', 'p{n}', 'p', 'p{n}@x.example');
             insert into app.role (id, code, name) values ('{role}', 'r{n}', 'r');
             insert into app.entity_instance_link (parent_code, parent_id, child_code, child_id) values ('role', '{role}', 'person', '{person}');"
        );
        for entity in test_entities() {
            let (id, code) = (id_in_graph(*n, &entity), &entity.code);
            sql += &format!(
                "insert into app.{code} (id, code, name) values ('{id}', '{id}', 'x'); insert into app.entity_instance (id, code, title) values ('{id}', '{code}', 'x');"
            );
        }
        for (index, link) in graph.links.iter().enumerate() {
            sql += &format!(
                "insert into app.entity_instance_link (parent_code, parent_id, child_code, child_id, owned, column_name) values ('{}', '{}', '{}', '{}', {}, '{index}');",
                link.parent.code,
                id_in_graph(*n, &link.parent),
                link.child.code,
                id_in_graph(*n, &link.child),
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
                grant.instance.map_or(EVERY_INSTANCE, |id| id_in_graph(*n, &EntityRef::new(grant.code.clone(), id)));
            let (column, holder) = if *by_role { ("role_id", role) } else { ("person_id", person) };
            let expires = grant
                .expires_at_ms
                .map_or("null".to_owned(), |ms| format!("now() + make_interval(secs => {})", ms as f64 / 1000.0));
            sql += &format!(
                "insert into app.entity_rbac ({column}, entity_code, entity_instance_id, permission, inheritance_mode, child_permissions, is_deny, expires_ts)
                 values ('{holder}', '{}', '{instance}', {}, '{mode}', '{map}', {}, {expires});",
                grant.code, u8::from(grant.permission), grant.deny
            );
        }
    }
    sql += "update app.entity_instance i set ancestor_set_id = app.ancestor_set_id_for(a.ancestors, a.owning_ancestors) from app.ancestors_of((select array_agg(id) from app.entity_instance)) a where a.id = i.id;";
    for code in CODES {
        sql += &format!(
            "update app.{code} t set ancestor_set_id = i.ancestor_set_id from app.entity_instance i where i.id = t.id;"
        );
    }
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(conn).await.unwrap();
}

async fn compare_sql_with_rule(pool: sqlx::PgPool, part: u128) {
    let mut connection = pool.acquire().await.unwrap();
    let conn = &mut *connection;
    for table in ["person", "role", "entity_instance_link", "entity_rbac"].iter().chain(&CODES) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("alter table app.{table} disable trigger user")))
            .execute(&mut *conn)
            .await
            .unwrap();
    }
    let markers = permission::type_markers(conn).await.unwrap();
    let mut seed = [0; 32];
    seed[0] = u8::try_from(part).unwrap();
    let rng = proptest::test_runner::TestRng::from_seed(proptest::test_runner::RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    for _ in 0..LOADS {
        let graphs: Vec<(u128, Graph)> =
            (0..GRAPHS_PER_LOAD).map(|n| (n, graphs().new_tree(&mut runner).unwrap().current())).collect();
        load(conn, &graphs).await;
        for (n, graph) in &graphs {
            check(conn, &markers, *n, graph).await;
        }
    }
}

/// Compares all SQL evaluations of permissions with the rule, for one graph.
async fn check(conn: &mut sqlx::PgConnection, markers: &HashMap<String, Uuid>, n: u128, graph: &Graph) {
    let person = PersonId(person_and_role(n).0);
    let grants: Vec<Grant> = graph.grants.iter().map(|(g, _)| g.clone()).collect();
    let ids: Vec<Uuid> = test_entities().map(|entity| id_in_graph(n, &entity)).collect();
    let levels: BTreeMap<Uuid, Permission> =
        permission::visible(conn, person, &ids).await.unwrap().into_iter().map(|v| (v.id, v.level)).collect();
    // Many entities at once take another code path.
    let many: Vec<Uuid> = ids.iter().copied().chain((0..60).map(|_| Uuid::new_v4())).collect();
    let levels_of_many: BTreeMap<Uuid, Permission> =
        permission::visible(conn, person, &many).await.unwrap().into_iter().map(|v| (v.id, v.level)).collect();
    assert_eq!(levels, levels_of_many, "few and many entities at once");
    // Visibility, as in list queries.
    let cache = VisibilityCache::new(1 << 20);
    let mut reader = cache.begin_read(conn, person).await.unwrap();
    let set_ids: Vec<(Uuid, i32)> =
        sqlx::query_as("select id, ancestor_set_id from app.entity_instance where id = any ($1)")
            .bind(&ids)
            .fetch_all(&mut *conn)
            .await
            .unwrap();
    let set_ids: BTreeMap<Uuid, AncestorSetId> =
        set_ids.into_iter().map(|(id, set_id)| (id, AncestorSetId(set_id))).collect();
    // Grant sets and ancestor sets, as in the feed.
    let grant_set = permission::grant_sets(conn, &[person]).await.unwrap().remove(&person).unwrap();
    let all_set_ids: Vec<AncestorSetId> = set_ids.values().copied().collect();
    let ancestor_sets = permission::ancestor_sets(conn, &all_set_ids).await.unwrap();
    for entity in test_entities() {
        let id = id_in_graph(n, &entity);
        let expected = effective_permission(&grants, &graph.links, &entity, 0);
        let (code, type_marker) = (entity.code.as_str(), markers[entity.code.as_str()]);
        let location = EntityLocation { id, type_marker, code, ancestors: &ancestor_sets[&set_ids[&id]] };
        let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
        let in_feed = grant_set.effective_permission(&location, now);
        assert_eq!(in_feed, expected, "grant set: {entity} in {graph:#?}");
        let visibility = reader.visibility(conn, &entity.code).await.unwrap();
        assert_eq!(visibility.is_visible(id, set_ids[&id]), expected.is_some(), "visibility: {entity} in {graph:#?}");
        assert_eq!(levels.get(&id).copied(), expected, "entity levels: {entity} in {graph:#?}");
    }
    // Lists and explanations are slower: a sample of the graphs.
    let is_sampled = n.is_multiple_of(25);
    if is_sampled {
        check_lists(conn, &mut reader, &levels, &ids).await;
    }
    for (kind, code) in CODES.iter().enumerate() {
        let code = EntityCode::new(*code).unwrap();
        let creatable = permission::can_create(conn, person, &code).await.unwrap();
        assert_eq!(creatable, can_create(&grants, &code, 0), "create {code} in {graph:#?}");
        let entity = test_entity(kind, 0);
        if is_sampled && entity.code == code {
            let reasons = permission::explain(conn, person, &code, id_in_graph(n, &entity)).await.unwrap();
            let denied = reasons.iter().any(|reason| reason.is_deny);
            let max = reasons.iter().map(|reason| reason.effective_permission).max().filter(|_| !denied);
            let expected = effective_permission(&grants, &graph.links, &entity, 0);
            assert_eq!(max, expected, "explain {entity} in {graph:#?}");
        }
    }
}

/// Checks that lists contain exactly the entities with a level, with both query strategies.
async fn check_lists(
    conn: &mut sqlx::PgConnection,
    reader: &mut ReadContext<'_>,
    levels: &BTreeMap<Uuid, Permission>,
    ids: &[Uuid],
) {
    let catalog = pmo_database::catalog::load(conn).await.unwrap();
    let row_cache = RowCache::new(1 << 20);
    for by_ids in [true, false] {
        let mut found = BTreeSet::new();
        for code in CODES {
            let query = ListQuery { limit: 1000, ids: by_ids.then(|| ids.to_vec()), ..ListQuery::default() };
            let entity = catalog.get(code).unwrap();
            let page = list::fetch_page(conn, reader, &row_cache, entity, &query, None).await.unwrap();
            assert_eq!(page.total, i64::try_from(page.rows.len()).unwrap());
            found.extend(page.rows.iter().map(|row| row.id).filter(|id| ids.contains(id)));
        }
        assert_eq!(found, levels.keys().copied().collect::<BTreeSet<_>>(), "by ids: {by_ids}");
    }
}

macro_rules! sql_equals_rule_tests {
    ($($name:ident: $part:literal),*) => {$(
        #[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
        async fn $name(pool: sqlx::PgPool) {
            compare_sql_with_rule(pool, $part).await;
        }
    )*};
}
sql_equals_rule_tests!(
    sql_permissions_equal_the_rule_in_random_graphs_part_1: 1,
    sql_permissions_equal_the_rule_in_random_graphs_part_2: 2,
    sql_permissions_equal_the_rule_in_random_graphs_part_3: 3,
    sql_permissions_equal_the_rule_in_random_graphs_part_4: 4
);

/// Random change of the hierarchy.
#[derive(Clone, Debug)]
enum Step {
    Link(usize, u128, u128, bool),
    Unlink(usize),
    Move(&'static str, &'static str, u128, Option<u128>),
    Create(u128),
    Delete(u128),
}

const RELATIONS: [(&str, &str); 5] =
    [("business", "project"), ("project", "task"), ("task", "task"), ("sprint", "task"), ("business", "business")];

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..RELATIONS.len(), 0..4u128, 0..4u128, any::<bool>()).prop_map(|(relation, a, b, owned)| Step::Link(relation, a, b, owned)),
        2 => (0..8usize).prop_map(Step::Unlink),
        3 => (0..4u128, prop::option::of(0..4u128)).prop_map(|(a, b)| Step::Move("project", "business_id", a, b)),
        2 => (0..4u128, prop::option::of(0..4u128)).prop_map(|(a, b)| Step::Move("task", "sprint_id", a, b)),
        2 => (0..4u128, prop::option::of(0..4u128)).prop_map(|(a, b)| Step::Move("task", "parent__task_id", a, b)),
        2 => (0..4u128, prop::option::of(0..4u128)).prop_map(|(a, b)| Step::Move("business", "parent__business_id", a, b)),
        2 => (0..4u128).prop_map(Step::Create),
        1 => (0..4u128).prop_map(Step::Delete),
    ]
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn ancestor_sets_equal_a_fresh_walk_after_each_link_and_move(pool: sqlx::PgPool) {
    let rng = proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut conn = pool.acquire().await.unwrap();
    for round in 0..30u128 {
        for entity in test_entities() {
            sqlx::query(sqlx::AssertSqlSafe(format!("insert into app.{} (id, name) values ($1, 'x')", entity.code)))
                .bind(id_in_graph(round, &entity))
                .execute(&mut *conn)
                .await
                .unwrap();
        }
        for _ in 0..14 {
            let step = steps().new_tree(&mut runner).unwrap().current();
            let id = |code: &str, n: u128| {
                id_in_graph(round, &test_entity(CODES.iter().position(|k| *k == code).unwrap(), n))
            };
            let statement = match &step {
                Step::Link(relation, a, b, owned) => {
                    let (parent, child) = RELATIONS[*relation];
                    format!(
                        "insert into app.entity_instance_link (parent_code, parent_id, child_code, child_id, owned) values ('{parent}', '{}', '{child}', '{}', {owned}) on conflict do nothing",
                        id(parent, *a),
                        id(child, *b)
                    )
                }
                Step::Unlink(offset) => format!(
                    "delete from app.entity_instance_link where id = (select id from app.entity_instance_link where column_name = '' order by id desc offset {offset} limit 1)"
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
                Step::Create(a) => format!(
                    "insert into app.task (name, parent__task_id) select 'new', id from app.task where id = '{}'",
                    id("task", *a)
                ),
                Step::Delete(a) => format!(
                    "delete from app.sprint where id = '{}' and not exists (select from app.task where sprint_id = '{0}')",
                    id("sprint", *a)
                ),
            };
            // The schema may reject the step, such as a cycle of tasks; nothing has changed then.
            let _result = sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut *conn).await;
            let mismatches: Vec<(String, Uuid)> = sqlx::query_as(
                "select i.code, i.id from app.entity_instance i join app.ancestors_of((select array_agg(id) from app.entity_instance)) a using (id) join app.ancestor_set s on s.id = i.ancestor_set_id
                 left join (select id, ancestor_set_id from app.business union all select id, ancestor_set_id from app.project union all select id, ancestor_set_id from app.task
                            union all select id, ancestor_set_id from app.sprint) t on t.id = i.id
                 where (s.ancestors, s.owning_ancestors) is distinct from (a.ancestors, a.owning_ancestors) or t.ancestor_set_id is distinct from i.ancestor_set_id",
            )
            .fetch_all(&mut *conn)
            .await
            .unwrap();
            assert_eq!(mismatches, [], "after {step:?} in round {round}");
        }
        sqlx::raw_sql(
            "delete from app.task; delete from app.sprint; delete from app.project; delete from app.business",
        )
        .execute(&mut *conn)
        .await
        .unwrap();
        let remaining: i64 =
            sqlx::query_scalar("select count(*) from app.entity_instance").fetch_one(&mut *conn).await.unwrap();
        assert_eq!(remaining, 0);
    }
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn child_created_during_a_move_gets_the_new_ancestor_set(pool: sqlx::PgPool) {
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
    // The task is inserted below the project, and not yet committed when the move begins.
    let mut creation = pool.begin().await.unwrap();
    let task: Uuid = sqlx::query_scalar("insert into app.task (name, project_id) values ('t', $1) returning id")
        .bind(project)
        .fetch_one(&mut *creation)
        .await
        .unwrap();
    let move_pool = pool.clone();
    let move_task = tokio::spawn(async move {
        sqlx::query("update app.project set business_id = $2 where id = $1")
            .bind(project)
            .bind(new)
            .execute(&move_pool)
            .await
            .unwrap();
    });
    // Polls pg_locks until the move waits for the lock of the creation, instead of sleeping.
    loop {
        let is_waiting: bool = sqlx::query_scalar("select exists (select from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database()))")
            .fetch_one(&pool).await.unwrap();
        if is_waiting {
            break;
        }
        tokio::task::yield_now().await;
    }
    creation.commit().await.unwrap();
    move_task.await.unwrap();
    let ancestors: Vec<Uuid> =
        sqlx::query_scalar("select unnest(s.ancestors) from app.task t join app.ancestor_set s on s.id = t.ancestor_set_id where t.id = $1")
            .bind(task)
            .fetch_all(&pool)
            .await
            .unwrap();
    assert!(ancestors.contains(&new) && !ancestors.contains(&old), "{ancestors:?}");
}
