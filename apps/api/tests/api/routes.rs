//! Every route with every permission level: which requests succeed, return 403 or return 404.
//!
//! Invariant: each route of the `OpenAPI` document has a row in the table.

use crate::harness::*;
use std::collections::BTreeSet;
use uuid::Uuid;

/// Entities that a request works on; created for each request.
struct Fixture {
    /// Feed cursor from before the entities were created.
    cursor: String,
    project: Uuid,
    task: Uuid,
    /// A deleted task.
    deleted: Uuid,
    risk: Uuid,
    /// A grant on the task.
    grant: Uuid,
    /// A link from an issue to the task; the issue has the same id.
    link: Uuid,
    artifact: Uuid,
}

/// Expected result of a route.
enum Expect {
    /// No sign-in required; not tested here.
    Public,
    /// 200 for every signed-in user.
    SignedIn,
    /// The same status for every signed-in user, whatever the access.
    FixedStatus(u16),
    /// 403, because no user of this test is an administrator.
    AdministratorsOnly,
    /// 200 for every signed-in user; contains the task only if the user may see it.
    Filtered,
    /// Depends on the permission level of the user.
    Level {
        /// Lowest level with which the request succeeds; 403 below it.
        min_level: u8,
        /// Status of a successful request.
        success: u16,
        /// Level below which the result is 404 instead of 403.
        hidden_below: u8,
        /// Status without any access.
        no_access: u16,
    },
}

/// Builds the path and the body of a request.
type BuildRequest = fn(&Fixture) -> (String, Option<Value>);

/// Returns the expectation of a minimum level: 403 with a lower level, 404 without access.
fn requires_level(min_level: u8, success: u16) -> Expect {
    Expect::Level { min_level, success, hidden_below: 0, no_access: 404 }
}

/// Method, path, expected result and request of a route.
type RouteRow = (&'static str, &'static str, Expect, BuildRequest);

/// Row of a route that the test does not call.
fn public_route(method: &'static str, path: &'static str) -> RouteRow {
    (method, path, Expect::Public, |_| (String::new(), None))
}

/// Returns the rows of all routes.
fn route_table() -> Vec<RouteRow> {
    [reference_routes(), exchange_routes(), entity_routes(), sharing_routes()].into_iter().flatten().collect()
}

/// Rows of sign-in, reference data and administration.
fn reference_routes() -> Vec<RouteRow> {
    vec![
        public_route("post", "/auth/login"),
        public_route("post", "/auth/refresh"),
        public_route("post", "/auth/logout"),
        ("get", "/auth/me", Expect::SignedIn, |_| ("/auth/me".into(), None)),
        ("get", "/entity/codes", Expect::SignedIn, |_| ("/entity/codes".into(), None)),
        ("get", "/datalabel", Expect::SignedIn, |_| ("/datalabel?name=task_stage".into(), None)),
        ("get", "/datalabel/all", Expect::SignedIn, |_| ("/datalabel/all".into(), None)),
        ("get", "/settings/global", Expect::SignedIn, |_| ("/settings/global".into(), None)),
        ("patch", "/settings/global", Expect::AdministratorsOnly, |_| {
            ("/settings/global".into(), Some(json!({"date": {}})))
        }),
        ("put", "/datalabel/{name}", Expect::AdministratorsOnly, |_| {
            ("/datalabel/task_stage".into(), Some(json!({"options": [{"name": "x"}]})))
        }),
        ("patch", "/entity/{code}", Expect::AdministratorsOnly, |_| ("/entity/task".into(), Some(json!({})))),
        ("get", "/entity_rbac", Expect::AdministratorsOnly, |_| ("/entity_rbac".into(), None)),
        ("post", "/person/{id}/password", Expect::AdministratorsOnly, |fixture| {
            (format!("/person/{}/password", fixture.task), None)
        }),
        ("post", "/demo", Expect::AdministratorsOnly, |_| ("/demo".into(), None)),
    ]
}

/// Rows of import, export, calendars and files.
fn exchange_routes() -> Vec<RouteRow> {
    vec![
        ("post", "/project/import", Expect::AdministratorsOnly, |_| ("/project/import".into(), None)),
        ("post", "/{entity}/import", Expect::FixedStatus(415), |_| ("/task/import".into(), None)),
        ("get", "/{entity}/export", Expect::Filtered, |fixture| {
            (format!("/task/export?format=json&ids={}", fixture.task), None)
        }),
        ("get", "/export", Expect::Filtered, |_| ("/export".into(), None)),
        (
            "get",
            "/project/{id}/export",
            Expect::Level { min_level: 0, success: 200, hidden_below: 0, no_access: 404 },
            |fixture| (format!("/project/{}/export", fixture.project), None),
        ),
        ("get", "/calendar_feed", Expect::SignedIn, |_| ("/calendar_feed".into(), None)),
        ("post", "/calendar_feed", requires_level(0, 201), |fixture| {
            ("/calendar_feed".into(), Some(json!({"entity": "task", "id": fixture.task})))
        }),
        ("delete", "/calendar_feed/{id}", Expect::FixedStatus(404), |fixture| {
            (format!("/calendar_feed/{}", fixture.task), None)
        }),
        public_route("get", "/calendar/{token}"),
        ("get", "/upload", Expect::SignedIn, |_| ("/upload".into(), None)),
        ("post", "/upload", requires_level(2, 201), |fixture| {
            ("/upload".into(), Some(json!({"name": "f", "size_bytes": 1, "entity": "task", "id": fixture.task})))
        }),
        ("get", "/upload/{id}", Expect::FixedStatus(404), |fixture| (format!("/upload/{}", fixture.task), None)),
        ("patch", "/upload/{id}", Expect::FixedStatus(404), |fixture| (format!("/upload/{}", fixture.task), None)),
        ("delete", "/upload/{id}", Expect::FixedStatus(404), |fixture| (format!("/upload/{}", fixture.task), None)),
        ("post", "/upload/{id}/complete", Expect::FixedStatus(404), |fixture| {
            (format!("/upload/{}/complete", fixture.task), None)
        }),
        ("post", "/upload/{id}/finish", Expect::FixedStatus(404), |fixture| {
            (format!("/upload/{}/finish", fixture.task), None)
        }),
        ("get", "/artifact/{id}/download-url", requires_level(0, 200), |fixture| {
            (format!("/artifact/{}/download-url", fixture.artifact), None)
        }),
        ("get", "/artifact/{id}/address", requires_level(0, 200), |fixture| {
            (format!("/artifact/{}/address", fixture.artifact), None)
        }),
        public_route("get", "/file/{token}"),
    ]
}

/// Rows of entities, lists and synchronization.
fn entity_routes() -> Vec<RouteRow> {
    vec![
        ("get", "/{entity}", Expect::Filtered, |fixture| (format!("/task?ids={}", fixture.task), None)),
        ("get", "/search", Expect::Filtered, |_| ("/search?q=findable".into(), None)),
        ("get", "/sync/changes", Expect::Filtered, |fixture| {
            (format!("/sync/changes?cursor={}", fixture.cursor), None)
        }),
        ("get", "/sync/snapshot", requires_level(0, 200), |fixture| {
            (format!("/sync/snapshot?entity=task&id={}", fixture.task), None)
        }),
        ("get", "/activity", Expect::Filtered, |_| ("/activity?limit=200".into(), None)),
        ("post", "/{entity}/bulk", Expect::Filtered, |fixture| {
            ("/task/bulk".into(), Some(json!({"filter": {"ids": fixture.task}, "values": {}, "preview": true})))
        }),
        ("post", "/batch", Expect::Filtered, |fixture| {
            (
                "/batch".into(),
                Some(json!({"mutations": [{"action": "update", "entity": "task", "id": fixture.task, "values": {}}]})),
            )
        }),
        (
            "post",
            "/{entity}",
            Expect::Level { min_level: 6, success: 201, hidden_below: 0, no_access: 422 },
            |fixture| ("/task".into(), Some(json!({"name": "n", "project_id": fixture.project}))),
        ),
        ("get", "/{entity}/{id}", requires_level(0, 200), |fixture| (format!("/task/{}", fixture.task), None)),
        ("patch", "/{entity}/{id}", requires_level(3, 200), |fixture| {
            (format!("/task/{}", fixture.task), Some(json!({"name": "n"})))
        }),
        ("put", "/{entity}/{id}", requires_level(3, 200), |fixture| {
            (format!("/task/{}", fixture.task), Some(json!({"name": "n", "project_id": fixture.project})))
        }),
        ("delete", "/{entity}/{id}", requires_level(5, 204), |fixture| (format!("/task/{}", fixture.task), None)),
        (
            "post",
            "/{entity}/{id}/restore",
            Expect::Level { min_level: 5, success: 200, hidden_below: 5, no_access: 404 },
            |fixture| (format!("/task/{}/restore", fixture.deleted), None),
        ),
        (
            "delete",
            "/{entity}/{id}/purge",
            Expect::Level { min_level: 7, success: 204, hidden_below: 5, no_access: 404 },
            |fixture| (format!("/task/{}/purge", fixture.deleted), None),
        ),
        ("post", "/{entity}/{id}/move", requires_level(3, 200), |fixture| {
            (format!("/task/{}/move", fixture.task), Some(json!({"parent": null, "after": null})))
        }),
        ("get", "/{parent}/{id}/dynamic-child-entity-tabs", requires_level(0, 200), |fixture| {
            (format!("/project/{}/dynamic-child-entity-tabs", fixture.project), None)
        }),
        ("get", "/{parent}/{id}/{child}", requires_level(0, 200), |fixture| {
            (format!("/project/{}/task", fixture.project), None)
        }),
        ("post", "/{parent}/{id}/{child}", requires_level(6, 201), |fixture| {
            (format!("/project/{}/task", fixture.project), Some(json!({"name": "n"})))
        }),
        ("get", "/{entity}/{id}/history", requires_level(0, 200), |fixture| {
            (format!("/task/{}/history", fixture.task), None)
        }),
        ("post", "/{entity}/{id}/history/{version}/restore", requires_level(3, 200), |fixture| {
            (format!("/task/{}/history/1/restore", fixture.task), None)
        }),
    ]
}

/// Rows of grants, links and parents.
fn sharing_routes() -> Vec<RouteRow> {
    vec![
        ("get", "/{entity}/{id}/access", requires_level(0, 200), |fixture| {
            (format!("/task/{}/access", fixture.task), None)
        }),
        ("get", "/{entity}/{id}/access/explain", requires_level(0, 200), |fixture| {
            (format!("/task/{}/access/explain", fixture.task), None)
        }),
        ("get", "/{entity}/{id}/access/why", requires_level(0, 200), |fixture| {
            (format!("/task/{}/access/why", fixture.task), None)
        }),
        ("get", "/{entity}/{id}/parents", requires_level(0, 200), |fixture| {
            (format!("/task/{}/parents", fixture.task), None)
        }),
        ("get", "/{entity}/{id}/audience", requires_level(1, 200), |fixture| {
            (format!("/task/{}/audience", fixture.task), None)
        }),
        ("post", "/entity_rbac", requires_level(4, 201), |fixture| {
            (
                "/entity_rbac".into(),
                Some(
                    json!({"role_id": ROLE, "entity_code": "task", "entity_instance_id": fixture.task, "permission": 0, "inheritance_mode": "none"}),
                ),
            )
        }),
        ("delete", "/entity_rbac/{id}", requires_level(4, 204), |fixture| {
            (format!("/entity_rbac/{}", fixture.grant), None)
        }),
        (
            "post",
            "/entity_instance_link",
            Expect::Level { min_level: 6, success: 201, hidden_below: 0, no_access: 422 },
            |fixture| {
                (
                    "/entity_instance_link".into(),
                    Some(
                        json!({"parent_code": "risk", "parent_id": fixture.risk, "child_code": "task", "child_id": fixture.task}),
                    ),
                )
            },
        ),
        ("delete", "/entity_instance_link", requires_level(4, 204), |fixture| {
            let (issue, task) = (fixture.link, fixture.task);
            let ends = format!("parent_code=issue&parent_id={issue}&child_code=task&child_id={task}");
            (format!("/entity_instance_link?{ends}"), None)
        }),
        ("delete", "/entity_instance_link/{id}", requires_level(4, 204), |fixture| {
            (format!("/entity_instance_link/{}", fixture.link), None)
        }),
    ]
}

/// Role that holds the grants of the fixtures.
const ROLE: Uuid = Uuid::from_u128(0x401E);

/// Access of the user to the project and its entities.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Access {
    /// A grant of the given level on the project, inherited by its children.
    Granted(u8),
    /// An owner grant on each entity, without inheritance.
    DirectOwner,
    /// No grant.
    NoGrant,
    /// An owner grant and a deny.
    Denied,
    /// An expired owner grant.
    Expired,
}

impl Access {
    /// Returns the effective permission level, or `None` without access.
    fn level(self) -> Option<u8> {
        match self {
            Self::Granted(level) => Some(level),
            Self::DirectOwner => Some(7),
            _ => None,
        }
    }
}

/// Creates a project with one entity of each kind and gives `person` the access.
async fn create_fixture(pool: &PgPool, person: Uuid, access: Access) -> Fixture {
    let id = Uuid::new_v4;
    let cursor =
        pmo_database::change_log::current_cursor(&mut pool.acquire().await.unwrap()).await.unwrap().to_string();
    let fixture = Fixture {
        cursor,
        project: id(),
        task: id(),
        deleted: id(),
        risk: id(),
        grant: id(),
        link: id(),
        artifact: id(),
    };
    let mut sql = format!(
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
        fixture.project, fixture.task, fixture.deleted, fixture.risk, fixture.grant, fixture.link, fixture.artifact
    );
    let mut add_grant = |code: &str, entity_id: Uuid, level: u8, mode: &str, deny: bool, expires: &str| {
        sql += &format!(
            "insert into app.entity_rbac (person_id, entity_code, entity_instance_id, permission, inheritance_mode, is_deny, expires_ts)
             values ('{person}', '{code}', '{entity_id}', {level}, '{mode}', {deny}, {expires});"
        );
    };
    match access {
        Access::Granted(level) => add_grant("project", fixture.project, level, "cascade", false, "null"),
        Access::DirectOwner => {
            for (code, entity_id) in [
                ("project", fixture.project),
                ("task", fixture.task),
                ("task", fixture.deleted),
                ("risk", fixture.risk),
                ("issue", fixture.link),
                ("artifact", fixture.artifact),
            ] {
                add_grant(code, entity_id, 7, "none", false, "null");
            }
        }
        Access::NoGrant => {}
        Access::Denied => {
            add_grant("project", fixture.project, 7, "cascade", false, "null");
            add_grant("project", fixture.project, 0, "cascade", true, "null");
        }
        Access::Expired => add_grant("project", fixture.project, 7, "cascade", false, "now() - interval '1 second'"),
    }
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(pool).await.unwrap();
    fixture
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn every_route_enforces_its_required_permission_level(pool: PgPool) {
    let router = build_router(&pool).await;
    sqlx::query("insert into app.role (id, name) values ($1, 'r')").bind(ROLE).execute(&pool).await.unwrap();
    let mut access_cases: Vec<Access> = (0..8).map(Access::Granted).collect();
    access_cases.extend([Access::DirectOwner, Access::NoGrant, Access::Denied, Access::Expired]);
    for (method, path, expect, build_request) in route_table() {
        if matches!(expect, Expect::Public) {
            continue;
        }
        for access in &access_cases {
            // The person has no role and no other grant.
            let person = Uuid::new_v4();
            sqlx::query("insert into app.person (id, name, email) values ($1, 'p', $1::text || '@x.example')")
                .bind(person)
                .execute(&pool)
                .await
                .unwrap();
            let fixture = create_fixture(&pool, person, *access).await;
            let client = ApiClient::for_person(&router, person);
            let (request_path, body) = build_request(&fixture);
            let response = client.send(&method.to_uppercase(), &request_path, body, &[]).await;
            let context = format!("{method} {path} as {access:?}: {} {}", response.status, response.body);
            match &expect {
                Expect::Public => {}
                Expect::SignedIn => assert_eq!(response.status, 200, "{context}"),
                Expect::FixedStatus(status) => assert_eq!(response.status, *status, "{context}"),
                Expect::AdministratorsOnly => assert_eq!(response.status, 403, "{context}"),
                Expect::Filtered => {
                    assert_eq!(response.status, 200, "{context}");
                    let ndjson = response.body.as_array().map(|_| response.body.to_string()).unwrap_or_default();
                    let is_listed = response.body["matching"] == 1
                        || ndjson.contains(&fixture.task.to_string())
                        || response.body["data"].to_string().contains(&fixture.task.to_string())
                        || response.body["results"][0]["status"].as_u64().is_some_and(|s| s != 404);
                    assert_eq!(is_listed, access.level().is_some(), "{context}");
                }
                Expect::Level { min_level, success, hidden_below, no_access } => {
                    let expected = match access.level() {
                        None => *no_access,
                        Some(level) if level < *hidden_below => 404,
                        Some(level) if level < *min_level => 403,
                        Some(_) => *success,
                    };
                    assert_eq!(response.status, expected, "{context}");
                }
            }
            if response.status.is_client_error() {
                assert_eq!(response.headers[header::CONTENT_TYPE], "application/problem+json", "{context}");
            }
        }
        // The same request without a token.
        let fixture = create_fixture(&pool, Uuid::new_v4(), Access::NoGrant).await;
        let (request_path, body) = build_request(&fixture);
        let mut request =
            Request::builder().method(method.to_uppercase().as_str()).uri(format!("/api/v1{request_path}"));
        request = request.header("content-type", "application/json");
        let response =
            send_request(&router, request.body(body.map_or_else(Body::empty, |b| Body::from(b.to_string()))).unwrap())
                .await;
        assert_eq!(response.status, 401, "{method} {path} without a token");
    }
}

#[test]
fn every_route_is_in_the_route_table() {
    let document = pmo_api::api_router().1;
    let in_document: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| methods.as_object().unwrap().keys().map(move |m| (m.clone(), path.clone())))
        .collect();
    let in_table: BTreeSet<(String, String)> =
        route_table().iter().map(|(m, p, ..)| ((*m).to_owned(), (*p).to_owned())).collect();
    assert_eq!(
        in_document.difference(&in_table).collect::<Vec<_>>(),
        Vec::<&(String, String)>::new(),
        "routes without a table row"
    );
    assert_eq!(
        in_table.difference(&in_document).collect::<Vec<_>>(),
        Vec::<&(String, String)>::new(),
        "table rows without a route"
    );
}
