//! Every route against every level: what one may do, what one may see but not do, and what is not there for one. A route that is not in
//! the table fails the test.

use crate::harness::*;
use std::collections::BTreeSet;
use uuid::Uuid;

/// What a request works on, made anew for each.
struct Ground {
    since: String,
    project: Uuid,
    task: Uuid,
    deleted: Uuid,
    risk: Uuid,
    grant: Uuid,
    link: Uuid,
    artifact: Uuid,
}

enum Expect {
    /// Anybody, signed in or not.
    Public,
    /// Whoever is signed in.
    SignedIn,
    /// The same answer for whoever is signed in: what it says depends on no thing.
    Same(u16),
    /// Those who administer; nobody of this test does.
    Administrators,
    /// The answer is 200 for all, and names the task only for those who see it.
    Listed,
    /// From this level on it is done; below that 403, or 404 below `hidden`; for those who don't see it `unseen`.
    Level { least: u8, done: u16, hidden: u8, unseen: u16 },
}

type Ask = fn(&Ground) -> (String, Option<Value>);

fn from(least: u8, done: u16) -> Expect {
    Expect::Level { least, done, hidden: 0, unseen: 404 }
}

fn table() -> Vec<(&'static str, &'static str, Expect, Ask)> {
    let none: Ask = |_| (String::new(), None);
    vec![
        ("post", "/auth/login", Expect::Public, none),
        ("post", "/auth/refresh", Expect::Public, none),
        ("post", "/auth/logout", Expect::Public, none),
        ("get", "/auth/me", Expect::SignedIn, |_| ("/auth/me".into(), None)),
        ("get", "/entity/codes", Expect::SignedIn, |_| ("/entity/codes".into(), None)),
        ("get", "/datalabel", Expect::SignedIn, |_| ("/datalabel?name=task_stage".into(), None)),
        ("get", "/datalabel/all", Expect::SignedIn, |_| ("/datalabel/all".into(), None)),
        ("get", "/settings/global", Expect::SignedIn, |_| ("/settings/global".into(), None)),
        ("patch", "/settings/global", Expect::Administrators, |_| {
            ("/settings/global".into(), Some(json!({"date": {}})))
        }),
        ("put", "/datalabel/{name}", Expect::Administrators, |_| {
            ("/datalabel/task_stage".into(), Some(json!({"options": [{"name": "x"}]})))
        }),
        ("patch", "/entity/{code}", Expect::Administrators, |_| ("/entity/task".into(), Some(json!({})))),
        ("get", "/entity_rbac", Expect::Administrators, |_| ("/entity_rbac".into(), None)),
        ("post", "/person/{id}/password", Expect::Administrators, |g| (format!("/person/{}/password", g.task), None)),
        ("post", "/demo", Expect::Administrators, |_| ("/demo".into(), None)),
        ("post", "/project/import", Expect::Administrators, |_| ("/project/import".into(), None)),
        ("post", "/{entity}/import", Expect::Same(415), |_| ("/task/import".into(), None)),
        ("get", "/{entity}/export", Expect::Listed, |g| (format!("/task/export?format=json&ids={}", g.task), None)),
        ("get", "/export", Expect::Listed, |_| ("/export".into(), None)),
        ("get", "/project/{id}/export", Expect::Level { least: 0, done: 200, hidden: 0, unseen: 404 }, |g| {
            (format!("/project/{}/export", g.project), None)
        }),
        ("get", "/calendar_feed", Expect::SignedIn, |_| ("/calendar_feed".into(), None)),
        ("post", "/calendar_feed", from(0, 201), |g| {
            ("/calendar_feed".into(), Some(json!({"entity": "task", "id": g.task})))
        }),
        ("delete", "/calendar_feed/{id}", Expect::Same(404), |g| (format!("/calendar_feed/{}", g.task), None)),
        ("get", "/calendar/{address}", Expect::Public, none),
        ("get", "/upload", Expect::SignedIn, |_| ("/upload".into(), None)),
        ("post", "/upload", from(2, 201), |g| {
            ("/upload".into(), Some(json!({"name": "f", "size_bytes": 1, "entity": "task", "id": g.task})))
        }),
        ("get", "/upload/{id}", Expect::Same(404), |g| (format!("/upload/{}", g.task), None)),
        ("patch", "/upload/{id}", Expect::Same(404), |g| (format!("/upload/{}", g.task), None)),
        ("delete", "/upload/{id}", Expect::Same(404), |g| (format!("/upload/{}", g.task), None)),
        ("post", "/upload/{id}/finish", Expect::Same(404), |g| (format!("/upload/{}/finish", g.task), None)),
        ("get", "/artifact/{id}/address", from(0, 200), |g| (format!("/artifact/{}/address", g.artifact), None)),
        ("get", "/file/{address}", Expect::Public, none),
        ("get", "/{entity}", Expect::Listed, |g| (format!("/task?ids={}", g.task), None)),
        ("get", "/search", Expect::Listed, |_| ("/search?q=findable".into(), None)),
        ("get", "/sync/changes", Expect::Listed, |g| (format!("/sync/changes?cursor={}", g.since), None)),
        ("get", "/sync/snapshot", from(0, 200), |g| (format!("/sync/snapshot?entity=task&id={}", g.task), None)),
        ("get", "/activity", Expect::Listed, |_| ("/activity?limit=200".into(), None)),
        ("post", "/{entity}/bulk", Expect::Listed, |g| {
            ("/task/bulk".into(), Some(json!({"filter": {"ids": g.task}, "values": {}, "preview": true})))
        }),
        ("post", "/batch", Expect::Listed, |g| {
            (
                "/batch".into(),
                Some(json!({"mutations": [{"action": "update", "entity": "task", "id": g.task, "values": {}}]})),
            )
        }),
        ("post", "/{entity}", Expect::Level { least: 6, done: 201, hidden: 0, unseen: 422 }, |g| {
            ("/task".into(), Some(json!({"name": "n", "project_id": g.project})))
        }),
        ("get", "/{entity}/{id}", from(0, 200), |g| (format!("/task/{}", g.task), None)),
        ("patch", "/{entity}/{id}", from(3, 200), |g| (format!("/task/{}", g.task), Some(json!({"name": "n"})))),
        ("put", "/{entity}/{id}", from(3, 200), |g| {
            (format!("/task/{}", g.task), Some(json!({"name": "n", "project_id": g.project})))
        }),
        ("delete", "/{entity}/{id}", from(5, 204), |g| (format!("/task/{}", g.task), None)),
        ("post", "/{entity}/{id}/restore", Expect::Level { least: 5, done: 200, hidden: 5, unseen: 404 }, |g| {
            (format!("/task/{}/restore", g.deleted), None)
        }),
        ("delete", "/{entity}/{id}/purge", Expect::Level { least: 7, done: 204, hidden: 5, unseen: 404 }, |g| {
            (format!("/task/{}/purge", g.deleted), None)
        }),
        ("post", "/{entity}/{id}/move", from(3, 200), |g| {
            (format!("/task/{}/move", g.task), Some(json!({"parent": null, "after": null})))
        }),
        ("get", "/{parent}/{id}/dynamic-child-entity-tabs", from(0, 200), |g| {
            (format!("/project/{}/dynamic-child-entity-tabs", g.project), None)
        }),
        ("get", "/{parent}/{id}/{child}", from(0, 200), |g| (format!("/project/{}/task", g.project), None)),
        ("post", "/{parent}/{id}/{child}", from(6, 201), |g| {
            (format!("/project/{}/task", g.project), Some(json!({"name": "n"})))
        }),
        ("get", "/{entity}/{id}/history", from(0, 200), |g| (format!("/task/{}/history", g.task), None)),
        ("post", "/{entity}/{id}/history/{version}/restore", from(3, 200), |g| {
            (format!("/task/{}/history/1/restore", g.task), None)
        }),
        ("get", "/{entity}/{id}/access", from(0, 200), |g| (format!("/task/{}/access", g.task), None)),
        ("get", "/{entity}/{id}/access/why", from(0, 200), |g| (format!("/task/{}/access/why", g.task), None)),
        ("get", "/{entity}/{id}/parents", from(0, 200), |g| (format!("/task/{}/parents", g.task), None)),
        ("get", "/{entity}/{id}/audience", from(1, 200), |g| (format!("/task/{}/audience", g.task), None)),
        ("post", "/entity_rbac", from(4, 201), |g| {
            (
                "/entity_rbac".into(),
                Some(
                    json!({"role_id": ROLE, "entity_code": "task", "entity_instance_id": g.task, "permission": 0, "inheritance_mode": "none"}),
                ),
            )
        }),
        ("delete", "/entity_rbac/{id}", from(4, 204), |g| (format!("/entity_rbac/{}", g.grant), None)),
        ("post", "/entity_instance_link", Expect::Level { least: 6, done: 201, hidden: 0, unseen: 422 }, |g| {
            (
                "/entity_instance_link".into(),
                Some(json!({"parent_code": "risk", "parent_id": g.risk, "child_code": "task", "child_id": g.task})),
            )
        }),
        ("delete", "/entity_instance_link", from(4, 204), |g| {
            let (issue, task) = (g.link, g.task);
            let ends = format!("parent_code=issue&parent_id={issue}&child_code=task&child_id={task}");
            (format!("/entity_instance_link?{ends}"), None)
        }),
        ("delete", "/entity_instance_link/{id}", from(4, 204), |g| (format!("/entity_instance_link/{}", g.link), None)),
    ]
}

const ROLE: Uuid = Uuid::from_u128(0x401E);

/// How the asker stands to the project and what is in it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Standing {
    /// A grant of that level on the project, which goes down.
    Granted(u8),
    /// Owner of each thing itself.
    Own,
    /// No grant here.
    Other,
    /// A grant, and a deny.
    Denied,
    /// A grant that is over.
    Expired,
}

impl Standing {
    fn level(self) -> Option<u8> {
        match self {
            Self::Granted(level) => Some(level),
            Self::Own => Some(7),
            _ => None,
        }
    }
}

async fn ground(pool: &PgPool, person: Uuid, standing: Standing) -> Ground {
    let id = Uuid::new_v4;
    let since = pmo_database::change_log::cursor(&mut pool.acquire().await.unwrap()).await.unwrap().to_string();
    let g =
        Ground { since, project: id(), task: id(), deleted: id(), risk: id(), grant: id(), link: id(), artifact: id() };
    let mut lines = format!(
        "insert into app.project (id, name) values ('{0}', 'p');
         insert into app.task (id, name, project_id) values ('{1}', 'findable', '{0}'), ('{2}', 'deleted', '{0}');
         update app.task set name = 'findable still' where id = '{1}';
         select app.soft_delete('task', '{2}');
         insert into app.risk (id, name, project_id) values ('{3}', 'r', '{0}');
         insert into app.milestone (id, name, project_id) values (gen_random_uuid(), 'm', '{0}');
         insert into app.issue (id, name, project_id) values ('{5}', 'i', '{0}');
         insert into app.entity_instance_link (id, parent_code, parent_id, child_code, child_id, owned) values ('{5}', 'issue', '{5}', 'task', '{1}', true);
         insert into app.artifact (id, name, storage_key, size_bytes) values ('{6}', 'a', 'k', 1);
         insert into app.entity_instance_link (parent_code, parent_id, child_code, child_id, owned) values ('project', '{0}', 'artifact', '{6}', true);
         insert into app.entity_rbac (id, role_id, entity_code, entity_instance_id, permission, inheritance_mode) values ('{4}', '{ROLE}', 'task', '{1}', 0, 'none');",
        g.project, g.task, g.deleted, g.risk, g.grant, g.link, g.artifact
    );
    let mut give = |code: &str, thing: Uuid, level: u8, mode: &str, deny: bool, expires: &str| {
        lines += &format!(
            "insert into app.entity_rbac (person_id, entity_code, entity_instance_id, permission, inheritance_mode, is_deny, expires_ts)
             values ('{person}', '{code}', '{thing}', {level}, '{mode}', {deny}, {expires});"
        );
    };
    match standing {
        Standing::Granted(level) => give("project", g.project, level, "cascade", false, "null"),
        Standing::Own => {
            for (code, thing) in [
                ("project", g.project),
                ("task", g.task),
                ("task", g.deleted),
                ("risk", g.risk),
                ("issue", g.link),
                ("artifact", g.artifact),
            ] {
                give(code, thing, 7, "none", false, "null");
            }
        }
        Standing::Other => {}
        Standing::Denied => {
            give("project", g.project, 7, "cascade", false, "null");
            give("project", g.project, 0, "cascade", true, "null");
        }
        Standing::Expired => give("project", g.project, 7, "cascade", false, "now() - interval '1 second'"),
    }
    sqlx::raw_sql(sqlx::AssertSqlSafe(lines)).execute(pool).await.unwrap();
    g
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn every_route_does_for_each_level_what_it_says_and_no_more(pool: PgPool) {
    let router = router(&pool).await;
    sqlx::query("insert into app.role (id, name) values ($1, 'r')").bind(ROLE).execute(&pool).await.unwrap();
    let mut standings: Vec<Standing> = (0..8).map(Standing::Granted).collect();
    standings.extend([Standing::Own, Standing::Other, Standing::Denied, Standing::Expired]);
    for (method, path, expect, ask_for) in table() {
        if matches!(expect, Expect::Public) {
            continue;
        }
        for standing in &standings {
            // Somebody who has nothing else: no role, no grant from elsewhere.
            let person = Uuid::new_v4();
            sqlx::query("insert into app.person (id, name, email) values ($1, 'p', $1::text || '@x.example')")
                .bind(person)
                .execute(&pool)
                .await
                .unwrap();
            let ground = ground(&pool, person, *standing).await;
            let api = Api::person(&router, person);
            let (address, body) = ask_for(&ground);
            let answer = api.send(&method.to_uppercase(), &address, body, &[]).await;
            let said = format!("{method} {path} as {standing:?}: {} {}", answer.status, answer.body);
            match &expect {
                Expect::Public => {}
                Expect::SignedIn => assert_eq!(answer.status, 200, "{said}"),
                Expect::Same(status) => assert_eq!(answer.status, *status, "{said}"),
                Expect::Administrators => assert_eq!(answer.status, 403, "{said}"),
                Expect::Listed => {
                    assert_eq!(answer.status, 200, "{said}");
                    let lines = answer.body.as_array().map(|_| answer.body.to_string()).unwrap_or_default();
                    let named = answer.body["matching"] == 1
                        || lines.contains(&ground.task.to_string())
                        || answer.body["data"].to_string().contains(&ground.task.to_string())
                        || answer.body["results"][0]["status"].as_u64().is_some_and(|s| s != 404);
                    assert_eq!(named, standing.level().is_some(), "{said}");
                }
                Expect::Level { least, done, hidden, unseen } => {
                    let expected = match standing.level() {
                        None => *unseen,
                        Some(level) if level < *hidden => 404,
                        Some(level) if level < *least => 403,
                        Some(_) => *done,
                    };
                    assert_eq!(answer.status, expected, "{said}");
                }
            }
            if answer.status.is_client_error() {
                assert_eq!(answer.headers[header::CONTENT_TYPE], "application/problem+json", "{said}");
            }
        }
        // Nobody at all.
        let ground = ground(&pool, Uuid::new_v4(), Standing::Other).await;
        let (address, body) = ask_for(&ground);
        let mut request = Request::builder().method(method.to_uppercase().as_str()).uri(format!("/api/v1{address}"));
        request = request.header("content-type", "application/json");
        let answer =
            ask(&router, request.body(body.map_or_else(Body::empty, |b| Body::from(b.to_string()))).unwrap()).await;
        assert_eq!(answer.status, 401, "{method} {path} as nobody");
    }
}

#[test]
fn every_route_is_in_the_table() {
    let document = pmo_api::api_router().1;
    let described: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| methods.as_object().unwrap().keys().map(move |m| (m.clone(), path.clone())))
        .collect();
    let tabled: BTreeSet<(String, String)> =
        table().iter().map(|(m, p, ..)| ((*m).to_owned(), (*p).to_owned())).collect();
    assert_eq!(
        described.difference(&tabled).collect::<Vec<_>>(),
        Vec::<&(String, String)>::new(),
        "routes without a row"
    );
    assert_eq!(
        tabled.difference(&described).collect::<Vec<_>>(),
        Vec::<&(String, String)>::new(),
        "rows without a route"
    );
}
