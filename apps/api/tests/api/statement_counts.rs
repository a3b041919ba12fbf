//! Number of SQL statements of each kind of write.

use crate::harness::*;
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use uuid::Uuid;

/// Records the statements that the database driver logs.
#[derive(Clone, Default)]
pub(crate) struct StatementLog(Arc<Mutex<Vec<String>>>);

impl StatementLog {
    /// Returns the statements since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// Joins the fields of an event that contain the text of a statement.
#[derive(Default)]
struct StatementText(String);

impl Visit for StatementText {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if matches!(field.name(), "summary" | "db.statement") {
            self.0 += &format!("{value:?} ");
        }
    }
}

impl Subscriber for StatementLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sqlx::query"
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = StatementText::default();
        event.record(&mut text);
        // The driver loads the definitions of types when it first meets them.
        if !text.0.contains("pg_catalog") {
            self.0.lock().unwrap().push(text.0);
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Client whose requests are counted in SQL statements.
struct Counter {
    client: ApiClient,
    log: StatementLog,
    /// Name, expected and actual number of statements of each request that needs more or fewer.
    differences: Vec<(&'static str, usize, usize)>,
}

impl Counter {
    /// Sends a request and compares the number of its statements with `expected`.
    async fn count(
        &mut self,
        name: &'static str,
        expected: usize,
        (method, path): (&str, &str),
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Value {
        // Reloads the catalog if it is old, so that the counted request does not.
        assert_eq!(self.client.get("/entity/codes").await.status, 200);
        self.log.take();
        let response = self.client.send(method, path, body, headers).await;
        assert!(response.status.is_success(), "{name}: {} {}", response.status, response.body);
        let statements = self.log.take();
        if statements.len() != expected {
            println!("{name}: {} instead of {expected}: {statements:#?}", statements.len());
            self.differences.push((name, expected, statements.len()));
        }
        response.body
    }
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn writes_need_a_fixed_number_of_statements(pool: PgPool) {
    let router = build_router(&pool).await;
    let admin = ApiClient::sign_in(&router, "admin").await;
    let (project, tasks) = create_plan(&admin).await;
    let (other_project, _) = create_plan(&admin).await;
    let viewer = ApiClient::sign_in(&router, "viewer").await.get("/auth/me").await.body["personId"].clone();
    let log = StatementLog::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let mut counter = Counter { client: admin, log, differences: Vec::new() };
    let task = |index: usize| format!("/task/{}", tasks[index]);
    let name = |name: &str| Some(json!({"name": name}));

    let task_body = Some(json!({"name": "n", "project_id": project}));
    counter.count("create without a parent", 8, ("POST", "/project"), name("p"), &[]).await;
    let key = [("idempotency-key", "create")];
    counter.count("create with a key", 14, ("POST", "/task"), task_body.clone(), &key).await;
    counter.count("repeated create", 5, ("POST", "/task"), task_body, &key).await;
    let path = format!("/project/{project}/task");
    counter.count("create of a child by a column", 11, ("POST", &path), name("child"), &[]).await;
    let path = format!("/project/{project}/wiki");
    let wiki = counter.count("create of a child by a link", 12, ("POST", &path), name("child"), &[]).await;
    let comment = Some(json!({"body": "b"}));
    counter.count("comment", 10, ("POST", &format!("{}/message", task(0))), comment, &[]).await;

    counter.count("update", 8, ("PATCH", &task(0)), name("renamed"), &[]).await;
    let key = [("idempotency-key", "update"), ("if-match", "\"2\"")];
    counter.count("update with a key", 11, ("PATCH", &task(0)), name("renamed again"), &key).await;
    counter.count("repeated update", 7, ("PATCH", &task(0)), name("renamed again"), &key).await;
    counter.count("update without changes", 7, ("PATCH", &task(0)), Some(json!({})), &[]).await;
    let replacement = Some(json!({"name": "replaced", "project_id": project}));
    counter.count("replace", 8, ("PUT", &task(0)), replacement, &[]).await;
    let reference = Some(json!({"parent__task_id": tasks[1]}));
    counter.count("update of the parent", 10, ("PATCH", &task(2)), reference, &[]).await;
    let reference = Some(json!({"project_id": other_project, "parent__task_id": null}));
    counter.count("move to another project", 10, ("PATCH", &task(2)), reference, &[]).await;

    let target = Some(json!({"parent": null, "after": tasks[1]}));
    counter.count("move among siblings", 10, ("POST", &format!("{}/move", task(0))), target, &[]).await;
    let target = Some(json!({"parent": tasks[1], "after": null}));
    counter.count("move to another parent", 12, ("POST", &format!("{}/move", task(0))), target, &[]).await;
    counter.count("restore a version", 9, ("POST", &format!("{}/history/1/restore", task(0))), None, &[]).await;

    let link =
        json!({"parent_code": "project", "parent_id": other_project, "child_code": "wiki", "child_id": wiki["id"]});
    let created = counter.count("link", 7, ("POST", "/entity_instance_link"), Some(link), &[]).await;
    let path = format!("/entity_instance_link/{}", text_of(&created["id"]));
    counter.count("unlink", 9, ("DELETE", &path), None, &[("idempotency-key", "unlink")]).await;
    let grant = json!({"person_id": viewer, "entity_code": "project", "entity_instance_id": project, "permission": 1});
    let created = counter.count("grant", 6, ("POST", "/entity_rbac"), Some(grant), &[]).await;
    let path = format!("/entity_rbac/{}", text_of(&created["id"]));
    counter.count("revoke", 6, ("DELETE", &path), None, &[]).await;

    let bulk = Some(json!({"filter": {"project_id": project}, "values": {"descr": "d"}}));
    counter.count("bulk update of 4 rows", 25, ("POST", "/task/bulk"), bulk, &[]).await;
    let id = Uuid::now_v7();
    let batch = Some(json!({"mutations": [
        {"action": "create", "entity": "task", "id": id, "below": {"entity": "project", "id": project}, "values": {"name": "n"}},
        {"action": "update", "entity": "task", "id": id, "values": {"name": "m"}},
        {"action": "delete", "entity": "task", "id": id},
        {"action": "restore", "entity": "task", "id": id},
    ]}));
    counter.count("batch of 4 operations", 31, ("POST", "/batch"), batch, &[]).await;

    counter.count("delete", 6, ("DELETE", &task(1)), None, &[]).await;
    counter.count("restore", 8, ("POST", &format!("{}/restore", task(1))), None, &[]).await;
    counter.count("delete again", 6, ("DELETE", &task(1)), None, &[]).await;
    counter.count("purge", 6, ("DELETE", &format!("{}/purge", task(1))), None, &[]).await;
    assert_eq!(counter.differences, [], "name, expected and actual number of statements");
}
