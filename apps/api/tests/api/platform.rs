//! Batches, bulk edits, links, moves by hand, history, search: what each promises.

use crate::harness::*;
use uuid::Uuid;

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

async fn plan(api: &Api) -> (String, Vec<String>) {
    let project = text(&api.post("/project", json!({"name": "Plan"})).await.body["id"]);
    let mut tasks = Vec::new();
    for name in ["one", "two", "three"] {
        tasks.push(text(&api.post(&format!("/project/{project}/task"), json!({"name": name})).await.body["id"]));
    }
    (project, tasks)
}

async fn count(pool: &PgPool, what: &str) -> i64 {
    sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select count(*) from {what}"))).fetch_one(pool).await.unwrap()
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_batch_answers_each_write_and_an_atomic_one_does_all_or_nothing(pool: PgPool) {
    let router = router(&pool).await;
    let editor = Api::of(&router, "editor").await;
    let (project, tasks) = plan(&editor).await;
    let new = Uuid::now_v7();
    let steps = json!([
        {"action": "create", "entity": "task", "id": new, "below": {"entity": "project", "id": project}, "values": {"name": "four"}},
        {"action": "update", "entity": "task", "id": new, "values": {"name": "four again"}, "version": 1},
        {"action": "update", "entity": "task", "id": tasks[0], "values": {"name": "late"}, "version": 7},
        {"action": "update", "entity": "task", "id": Uuid::new_v4(), "values": {"name": "nobody"}},
        {"action": "update", "entity": "task", "id": tasks[1], "values": {"completion_pct": "much"}},
        {"action": "delete", "entity": "task", "id": tasks[2]},
        {"action": "create", "entity": "nothing", "values": {}},
    ]);
    let logged = count(&pool, "app.system_logging").await;
    let atomic = editor.post("/batch", json!({"atomic": true, "mutations": steps})).await;
    assert_eq!(atomic.status, StatusCode::PRECONDITION_FAILED, "{}", atomic.body);
    assert_eq!(count(&pool, "app.system_logging").await, logged, "nothing of it is done");
    let answer = editor.post("/batch", json!({"mutations": steps})).await;
    let statuses: Vec<u64> =
        answer.body["results"].as_array().unwrap().iter().map(|r| r["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [201, 200, 412, 404, 422, 204, 422]);
    assert_eq!(answer.body["results"][2]["problem"]["current"]["name"], "one");
    assert_eq!(answer.body["results"][4]["problem"]["errors"][0]["field"], "completion_pct");
    assert_eq!(editor.get(&format!("/task/{new}")).await.body["name"], "four again");
    let wrong = json!({"atomic": true, "mutations": [{"action": "create", "entity": "task", "values": {"name": ""}}]});
    let wrong = editor.post("/batch", wrong).await;
    assert_eq!((wrong.status.as_u16(), &wrong.body["errors"][0]["field"]), (422, &json!("mutations[0].name")));
    let many: Vec<Value> = (0..501).map(|_| json!({"action": "restore", "entity": "task", "id": tasks[0]})).collect();
    assert_eq!(editor.post("/batch", json!({"mutations": many})).await.status, 422);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_batch_sent_twice_is_done_once(pool: PgPool) {
    let router = router(&pool).await;
    let editor = Api::of(&router, "editor").await;
    let (project, _) = plan(&editor).await;
    let step = |name: &str| json!({"action": "create", "entity": "task", "values": {"name": name, "project_id": project}, "idempotency_key": "one-step"});
    let before = count(&pool, "app.task").await;
    for _ in 0..2 {
        let answer = editor.post("/batch", json!({"mutations": [step("by its own key")]})).await;
        assert_eq!(answer.body["results"][0]["status"], 201);
    }
    let other = editor.post("/batch", json!({"mutations": [step("another body")]})).await;
    assert_eq!(other.body["results"][0]["status"], 422);
    for _ in 0..2 {
        let batch = json!({"mutations": [{"action": "create", "entity": "task", "values": {"name": "n", "project_id": project}}]});
        assert_eq!(editor.send("POST", "/batch", Some(batch), &[("idempotency-key", "whole")]).await.status, 200);
    }
    assert_eq!(count(&pool, "app.task").await, before + 2);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_bulk_edit_counts_first_and_changes_what_it_counted(pool: PgPool) {
    let router = router(&pool).await;
    let editor = Api::of(&router, "editor").await;
    let (project, tasks) = plan(&editor).await;
    let filter = json!({"project_id": project, "name[ne]": "three"});
    let preview = editor.post("/task/bulk", json!({"filter": filter, "values": {}, "preview": true})).await;
    assert_eq!(preview.body, json!({"matching": 2, "editable": 2, "changed": 0}));
    let edit = |expected: u64| json!({"filter": filter, "values": {"dl__task_stage": "Blocked"}, "expected": expected});
    let other = editor.post("/task/bulk", edit(3)).await;
    assert_eq!((other.status.as_u16(), &other.body["errors"][0]["field"]), (422, &json!("expected")));
    assert_eq!(editor.post("/task/bulk", edit(2)).await.body["changed"], 2);
    assert_eq!(editor.get(&format!("/task/{}", tasks[0])).await.body["dl__task_stage"], "Blocked");
    assert_eq!(editor.get(&format!("/task/{}", tasks[2])).await.body["dl__task_stage"], "To Do");
    assert_eq!(editor.post("/task/bulk", json!({"filter": {}, "values": {"name": "all"}})).await.status, 422);
    assert_eq!(
        editor.post("/task/bulk", json!({"filter": {"sort": "name"}, "values": {"name": "all"}})).await.status,
        400
    );
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn things_hang_below_others_by_links_and_grants_come_down_them(pool: PgPool) {
    let router = router(&pool).await;
    let (admin, viewer) = (Api::of(&router, "admin").await, Api::of(&router, "viewer").await);
    let me = viewer.get("/auth/me").await.body["personId"].clone();
    let portfolio = text(&admin.post("/portfolio", json!({"name": "All of it"})).await.body["id"]);
    let program = admin.post(&format!("/portfolio/{portfolio}/program"), json!({"name": "A part"})).await;
    assert_eq!(program.status, StatusCode::CREATED, "{}", program.body);
    let program = text(&program.body["id"]);
    assert_eq!(admin.get(&format!("/portfolio/{portfolio}/program")).await.body["total"], 1);
    let (project, tasks) = plan(&admin).await;
    let grant = json!({"person_id": me, "entity_code": "portfolio", "entity_instance_id": portfolio, "permission": 0});
    assert_eq!(admin.post("/entity_rbac", grant).await.status, StatusCode::CREATED);
    assert_eq!(viewer.get(&format!("/program/{program}")).await.status, 200);
    assert_eq!(viewer.get(&format!("/task/{}", tasks[0])).await.status, 404);
    let link = json!({"parent_code": "program", "parent_id": program, "child_code": "project", "child_id": project});
    assert_eq!(viewer.post("/entity_instance_link", link.clone()).await.status, 422, "they don't see the project");
    let made = admin.post("/entity_instance_link", link.clone()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    assert_eq!(admin.post("/entity_instance_link", link).await.body["id"], made.body["id"], "twice is once");
    assert_eq!(viewer.get(&format!("/task/{}", tasks[0])).await.status, 200, "it came down three links");
    let why = viewer.get(&format!("/task/{}/access/why", tasks[0])).await.body;
    let way: Vec<&str> =
        why["reasons"][0]["way"].as_array().unwrap().iter().map(|w| w["entity"].as_str().unwrap()).collect();
    assert_eq!(way, ["portfolio", "program", "project", "task"]);
    assert_eq!(why["reasons"][0]["way"][3]["title"], "one");
    let path = format!("/entity_instance_link/{}", text(&made.body["id"]));
    assert_eq!(viewer.send("DELETE", &path, None, &[]).await.status, 403);
    assert_eq!(admin.send("DELETE", &path, None, &[]).await.status, 204);
    assert_eq!(viewer.get(&format!("/task/{}", tasks[0])).await.status, 404, "and went with the link");
    // Named by its ends it is undone as well, and a column's link is not.
    let ends = |above: &str, id: &str, below: &str, child: &str| {
        format!("/entity_instance_link?parent_code={above}&parent_id={id}&child_code={below}&child_id={child}")
    };
    let link = json!({"parent_code": "program", "parent_id": program, "child_code": "project", "child_id": project});
    assert_eq!(admin.post("/entity_instance_link", link).await.status, StatusCode::CREATED);
    let path = ends("program", &program, "project", &project);
    assert_eq!(viewer.send("DELETE", &path, None, &[]).await.status, 403);
    let key = [("idempotency-key", "parted-once")];
    assert_eq!(admin.send("DELETE", &path, None, &key).await.status, 204);
    assert_eq!(admin.send("DELETE", &path, None, &key).await.status, 204, "the repeat gets the first answer");
    assert_eq!(admin.send("DELETE", &path, None, &[]).await.status, 404);
    assert_eq!(admin.send("DELETE", &ends("project", &project, "task", &tasks[0]), None, &[]).await.status, 422);
    assert_eq!(admin.send("DELETE", "/entity_instance_link?parent_code=program", None, &[]).await.status, 400);
    let by_column = json!({"parent_code": "project", "parent_id": project, "child_code": "task", "child_id": tasks[0]});
    assert_eq!(admin.post("/entity_instance_link", by_column).await.status, 422);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn nobody_lets_themselves_into_a_role(pool: PgPool) {
    let router = router(&pool).await;
    let (admin, editor) = (Api::of(&router, "admin").await, Api::of(&router, "editor").await);
    let me = editor.get("/auth/me").await.body["personId"].clone();
    let roles = editor.get("/role?sort=code").await.body;
    let role = roles["data"].as_array().unwrap().iter().find(|r| r["name"] == "Administrators").unwrap()["id"].clone();
    let join = json!({"parent_code": "role", "parent_id": role, "child_code": "person", "child_id": me});
    assert_eq!(editor.post("/entity_instance_link", join.clone()).await.status, 403);
    let grant = json!({"person_id": me, "entity_code": "role", "entity_instance_id": role, "permission": 5});
    assert_eq!(admin.post("/entity_rbac", grant).await.status, 201);
    assert_eq!(editor.post("/entity_instance_link", join.clone()).await.status, 403, "not even who may delete it");
    assert_eq!(admin.post("/entity_instance_link", join).await.status, 201);
    assert_eq!(editor.get("/project?limit=1").await.body["total"], admin.get("/project?limit=1").await.body["total"]);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_task_moves_in_its_outline_with_what_is_below_and_the_numbers_follow(pool: PgPool) {
    let router = router(&pool).await;
    let editor = Api::of(&router, "editor").await;
    let (project, tasks) = plan(&editor).await;
    let child = editor.post(&format!("/task/{}/task", tasks[2]), json!({"name": "below three"})).await.body;
    let outline = || async {
        let rows = editor.get(&format!("/project/{project}/task?sort=wbs")).await.body["data"].clone();
        rows.as_array().unwrap().iter().map(|r| format!("{} {}", text(&r["wbs"]), text(&r["name"]))).collect::<Vec<_>>()
    };
    assert_eq!(outline().await, ["1 one", "2 two", "3 three", "3.1 below three"]);
    let go = |id: &str, to: Value| {
        let path = format!("/task/{id}/move");
        let editor = &editor;
        async move { editor.post(&path, to).await }
    };
    let moved = go(&tasks[2], json!({"parent": null, "after": null})).await;
    assert_eq!(moved.status, 200, "{}", moved.body);
    assert_eq!(outline().await, ["1 three", "1.1 below three", "2 one", "3 two"]);
    assert_eq!(go(&tasks[2], json!({"parent": null, "after": tasks[0]})).await.status, 200);
    assert_eq!(outline().await, ["1 one", "2 three", "2.1 below three", "3 two"]);
    assert_eq!(go(&tasks[1], json!({"parent": tasks[2], "after": null})).await.status, 200);
    assert_eq!(outline().await, ["1 one", "2 three", "2.1 two", "2.2 below three"]);
    let ring = go(&tasks[2], json!({"parent": child["id"], "after": null})).await;
    assert_eq!((ring.status.as_u16(), &ring.body["errors"][0]["field"]), (422, &json!("parent__task_id")));
    assert_eq!(go(&tasks[0], json!({"parent": null, "after": child["id"]})).await.status, 422);
    assert_eq!(go(&project, json!({"parent": null})).await.status, 404);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn history_tells_who_changed_what_and_goes_back(pool: PgPool) {
    let router = router(&pool).await;
    let (editor, admin) = (Api::of(&router, "editor").await, Api::of(&router, "admin").await);
    let project = text(
        &editor.post("/project", json!({"name": "first", "budget_allocated_amt": "1234567890123.4567"})).await.body["id"],
    );
    let path = format!("/project/{project}");
    editor.patch(&path, json!({"name": "second", "budget_allocated_amt": "1.5"})).await;
    admin.patch(&path, json!({"dl__project_health": "Red", "descr": "why"})).await;
    let history = editor.get(&format!("{path}/history")).await.body;
    let lines = history["data"].as_array().unwrap();
    let told: Vec<(i64, &str, &str)> = lines
        .iter()
        .map(|l| (l["version"].as_i64().unwrap(), l["action"].as_str().unwrap(), l["person_name"].as_str().unwrap()))
        .collect();
    assert_eq!(told, [(3, "changed", "Ada Admin"), (2, "changed", "Edda Editor"), (1, "created", "Edda Editor")]);
    assert_eq!(lines[1]["changed"]["name"], json!({"old": "first", "new": "second"}));
    let page = editor.get(&format!("{path}/history?limit=2")).await.body;
    let rest = editor.get(&format!("{path}/history?limit=2&cursor={}", text(&page["next_cursor"]))).await.body;
    assert_eq!((rest["data"][0]["version"].as_i64(), &rest["next_cursor"]), (Some(1), &Value::Null));
    let back = editor.send("POST", &format!("{path}/history/1/restore"), None, &[("if-match", "\"3\"")]).await;
    assert_eq!(back.status, 200, "{}", back.body);
    assert_eq!(
        (&back.body["name"], &back.body["version"], &back.body["descr"]),
        (&json!("first"), &json!(4), &Value::Null)
    );
    assert_eq!(back.body["budget_allocated_amt"], "1234567890123.4567", "to the last digit");
    assert_eq!(editor.send("POST", &format!("{path}/history/3/restore"), None, &[]).await.body["name"], "second");
    assert_eq!(editor.send("POST", &format!("{path}/history/9/restore"), None, &[]).await.status, 404);
    editor.send("DELETE", &path, None, &[]).await;
    editor.send("POST", &format!("{path}/restore"), None, &[]).await;
    let history = editor.get(&format!("{path}/history?limit=2")).await.body;
    assert_eq!((&history["data"][0]["action"], &history["data"][1]["action"]), (&json!("restored"), &json!("deleted")));
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn activity_tells_what_one_may_see_and_pages_through_the_rest(pool: PgPool) {
    let router = router(&pool).await;
    let (admin, viewer, outsider) =
        (Api::of(&router, "admin").await, Api::of(&router, "viewer").await, Api::of(&router, "outsider").await);
    let (project, tasks) = plan(&admin).await;
    let share = json!({"person_id": viewer.get("/auth/me").await.body["personId"], "entity_code": "task", "entity_instance_id": tasks[1], "permission": 0});
    admin.post("/entity_rbac", share).await;
    let first = |body: Value| (text(&body["data"][0]["title"]), text(&body["data"][0]["entity_id"]));
    assert_eq!(first(admin.get("/activity?limit=1").await.body), ("three".into(), tasks[2].clone()));
    assert_eq!(first(viewer.get("/activity?limit=1").await.body), ("two".into(), tasks[1].clone()));
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = admin.get(&format!("/activity?limit=200{cursor}")).await.body;
        seen.extend(page["data"].as_array().unwrap().iter().map(|l| text(&l["entity_id"])));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let told = count(&pool, "app.system_logging where action in (1, 3, 5, 6)").await;
    assert_eq!(i64::try_from(seen.len()).unwrap(), told, "neither skipped nor repeated");
    let theirs = outsider.get("/activity?limit=200").await.body.to_string();
    assert!(!theirs.contains(&project) && !theirs.contains(&tasks[1]));
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn search_finds_words_in_everything_one_may_see_best_first(pool: PgPool) {
    let router = router(&pool).await;
    let (admin, outsider) = (Api::of(&router, "admin").await, Api::of(&router, "outsider").await);
    let (project, tasks) = plan(&admin).await;
    admin.patch(&format!("/task/{}", tasks[0]), json!({"name": "Paint the Gänseblümchen fence"})).await;
    admin.patch(&format!("/task/{}", tasks[1]), json!({"descr": "Before the fence is painted & <b>dried</b>."})).await;
    admin.post("/wiki", json!({"name": "Colours", "content": "A fence is green."})).await;
    let found = admin.get("/search?q=fence").await.body;
    let hits = found["data"].as_array().unwrap();
    assert_eq!(hits.len(), 3, "{found}");
    assert_eq!(
        (text(&hits[0]["id"]), text(&hits[0]["entity"])),
        (tasks[0].clone(), "task".into()),
        "a name counts for more than a text"
    );
    assert_eq!(hits[0]["highlight"]["name"], json!([["Paint the Gänseblümchen ", false], ["fence", true]]));
    let dried = hits.iter().find(|h| h["id"] == tasks[1].as_str()).unwrap();
    assert!(dried["highlight"]["descr"].as_array().unwrap().iter().any(|part| part == &json!(["fence", true])));
    assert_eq!(
        admin.get("/search?q=gänse%20paint").await.body["data"].as_array().unwrap().len(),
        1,
        "beginnings of words, all of them"
    );
    assert_eq!(admin.get("/search?q=fence&entity=wiki").await.body["data"].as_array().unwrap().len(), 1);
    assert_eq!(outsider.get("/search?q=fence").await.body["data"], json!([]));
    admin.send("DELETE", &format!("/project/{project}"), None, &[]).await;
    assert_eq!(
        admin.get("/search?q=fence").await.body["data"].as_array().unwrap().len(),
        1,
        "what is deleted is not found"
    );
    for hostile in ["%27%29%3B", "%3A%2A%20%7C%20%21", "%00", "%F0%9F%A6%8A", "a%5C%27b", "%EE%80%80x%EE%80%81"] {
        let answer = admin.get(&format!("/search?q={hostile}")).await;
        assert!(answer.status.is_success() || answer.status == 400, "{hostile}: {}", answer.body);
    }
    assert_eq!(admin.get("/search?q=x&entity=nothing").await.status, 400);
    assert_eq!(admin.get("/search").await.status, 400);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn purging_takes_a_deleted_thing_away_with_what_belongs_to_it(pool: PgPool) {
    let router = router(&pool).await;
    let editor = Api::of(&router, "editor").await;
    let (project, tasks) = plan(&editor).await;
    let link = json!({"project_id": project, "predecessor__task_id": tasks[0], "successor__task_id": tasks[1]});
    assert_eq!(editor.post("/task_dependency", link).await.status, 201);
    let path = format!("/project/{project}");
    assert_eq!(editor.send("DELETE", &format!("{path}/purge"), None, &[]).await.status, 422, "delete it first");
    assert_eq!(editor.send("DELETE", &path, None, &[]).await.status, 204);
    assert_eq!(editor.send("DELETE", &format!("{path}/purge"), None, &[]).await.status, 204);
    for table in ["app.task", "app.task_dependency", "app.thing", "app.entity_rbac"] {
        let column = match table {
            "app.thing" => "id",
            "app.entity_rbac" => "entity_instance_id",
            _ => "project_id",
        };
        assert_eq!(count(&pool, &format!("{table} where {column} = '{project}'")).await, 0, "{table}");
    }
    assert_eq!(editor.send("POST", &format!("{path}/restore"), None, &[]).await.status, 404);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn who_may_log_work_logs_it_on_what_is_theirs_and_nothing_else(pool: PgPool) {
    let router = router(&pool).await;
    let (admin, viewer) = (Api::of(&router, "admin").await, Api::of(&router, "viewer").await);
    let me = viewer.get("/auth/me").await.body["personId"].clone();
    let employee: Uuid = sqlx::query_scalar("select id from app.employee where person_id = $1::text::uuid")
        .bind(me.as_str())
        .fetch_one(&pool)
        .await
        .unwrap();
    let (project, tasks) = plan(&admin).await;
    admin.patch(&format!("/task/{}", tasks[0]), json!({"assignee__employee_ids": [employee]})).await;
    let grant = json!({"person_id": me, "entity_code": "project", "entity_instance_id": project, "permission": 2});
    admin.post("/entity_rbac", grant).await;
    let (mine, other) = (format!("/task/{}", tasks[0]), format!("/task/{}", tasks[1]));
    assert_eq!(viewer.patch(&mine, json!({"completion_pct": 50, "dl__task_stage": "In Progress"})).await.status, 200);
    assert_eq!(viewer.patch(&mine, json!({"completion_pct": 60, "name": "mine now"})).await.status, 403);
    assert_eq!(viewer.patch(&mine, json!({"assignee__employee_ids": []})).await.status, 403);
    assert_eq!(viewer.patch(&other, json!({"completion_pct": 50})).await.status, 403);
    let sheet = json!({"name": "Monday", "employee_id": employee, "spent_hours": 4});
    assert_eq!(viewer.post(&format!("{mine}/timesheet"), sheet).await.status, 201);
    assert_eq!(viewer.post(&format!("{mine}/task"), json!({"name": "below"})).await.status, 403);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn who_may_make_a_thing_of_its_own_is_told_beforehand(pool: PgPool) {
    let router = router(&pool).await;
    let (mut made, mut refused) = (0, 0);
    for who in ["admin", "viewer"] {
        let api = Api::of(&router, who).await;
        for entity in api.get("/entity/codes").await.body.as_array().unwrap() {
            let code = text(&entity["code"]);
            let answer = api.post(&format!("/{code}"), json!({"name": "A thing"})).await;
            match (answer.status.as_u16(), &entity["may_create"]) {
                (201, told) => made += usize::from(told.as_bool().unwrap()),
                (403, told) => {
                    refused += 1;
                    assert_eq!(*told, json!(false), "{code}: {}", answer.body);
                    let article = if text(&entity["name"]).to_lowercase().starts_with(['a', 'e', 'i', 'o']) {
                        " an "
                    } else {
                        " a "
                    };
                    assert!(text(&answer.body["detail"]).contains(article), "{}", answer.body);
                }
                // It needs more than a name.
                (status, _) => assert_eq!(status, 422, "{code}: {}", answer.body),
            }
        }
    }
    assert!(made > 10 && refused > 5, "{made} {refused}");
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn every_type_of_the_model_is_made_read_changed_and_deleted(pool: PgPool) {
    let router = router(&pool).await;
    let admin = Api::of(&router, "admin").await;
    let codes = admin.get("/entity/codes").await.body;
    let codes: Vec<&Value> = codes.as_array().unwrap().iter().collect();
    assert_eq!(codes.len(), 34, "all of the model");
    let (project, tasks) = plan(&admin).await;
    for entity in codes {
        let code = text(&entity["code"]);
        let mut values = json!({"name": "A thing"});
        for column in entity["columns"].as_array().unwrap() {
            let name = text(&column["name"]);
            match (name.as_str(), text(&column["kind"]).as_str()) {
                ("predecessor__task_id", _) => values[&name] = json!(tasks[0]),
                ("successor__task_id", _) => values[&name] = json!(tasks[1]),
                ("project_id", _) => values[&name] = json!(project),
                ("email", _) => values[&name] = json!(format!("{code}@x.example")),
                ("body", _) => values[&name] = json!("Words"),
                ("sha256" | "storage_key" | "size_bytes" | "media_type" | "wbs" | "rank" | "author__person_id", _) => {}
                (_, "money") => values[&name] = json!("12.5000"),
                (_, "date") => values[&name] = json!("2026-02-03"),
                (_, "percent") => values[&name] = json!(40.0),
                (_, "hours" | "days") => values[&name] = json!(1.5),
                (_, "text") => values[&name] = json!("Some *words*"),
                _ => {}
            }
        }
        let made = admin.post(&format!("/{code}"), values.clone()).await;
        assert_eq!(made.status, 201, "{code}: {}", made.body);
        for (name, value) in values.as_object().unwrap() {
            assert_eq!(&made.body[name], value, "{code}.{name}");
        }
        let path = format!("/{code}/{}", text(&made.body["id"]));
        assert_eq!(admin.patch(&path, json!({"descr": "Changed"})).await.body["version"], 2, "{code}");
        let found = admin.get(&format!("/{code}?descr=Changed&sort=-name&fields=name,descr")).await;
        assert_eq!(found.body["total"], 1, "{code}: {}", found.body);
        let metadata = admin.get(&format!("/{code}?content=metadata")).await.body;
        assert!(metadata["metadata"]["entityListOfInstancesTable"]["editType"]["descr"].is_object(), "{code}");
        for tab in admin.get(&format!("{path}/dynamic-child-entity-tabs")).await.body.as_array().unwrap() {
            assert_eq!(tab["count"], 0, "{code}: {tab}");
        }
        assert_eq!(admin.send("DELETE", &path, None, &[]).await.status, 204, "{code}");
        assert_eq!(admin.get(&path).await.status, 404, "{code}");
    }
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn an_option_moves_only_along_its_parents_where_a_set_has_any(pool: PgPool) {
    sqlx::raw_sql("update app.datalabel set parent_ids = array[id - 1] where name = 'change_status' and id > 1")
        .execute(&pool)
        .await
        .unwrap();
    let router = router(&pool).await;
    let admin = Api::of(&router, "admin").await;
    let (project, _) = plan(&admin).await;
    let change = text(&admin.post("/change_request", json!({"name": "c", "project_id": project})).await.body["id"]);
    let path = format!("/change_request/{change}");
    let answer = admin.patch(&path, json!({"dl__change_status": "Approved"})).await;
    assert_eq!((answer.status.as_u16(), &answer.body["errors"][0]["field"]), (422, &json!("dl__change_status")));
    assert_eq!(admin.patch(&path, json!({"dl__change_status": "Submitted"})).await.status, 200);
    assert_eq!(admin.patch(&path, json!({"dl__change_status": "Approved"})).await.status, 200);
    assert_eq!(admin.patch(&path, json!({"dl__change_status": "Nonsense"})).await.status, 422);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn who_has_no_socket_asks_what_has_changed(pool: PgPool) {
    let router = router(&pool).await;
    let (admin, viewer, outsider) =
        (Api::of(&router, "admin").await, Api::of(&router, "viewer").await, Api::of(&router, "outsider").await);
    let start = viewer.get("/sync/changes").await.body;
    assert_eq!(start["recovered"], false, "nowhere to go on from");
    let cursor = start["cursor"].as_str().unwrap().to_owned();
    let since = |cursor: &str| format!("/sync/changes?cursor={cursor}");
    let seen = viewer.get("/task?limit=1&fields=name").await.body["data"][0]["id"].as_str().unwrap().to_owned();
    for n in 0..3 {
        admin.patch(&format!("/task/{seen}"), json!({"name": format!("changed {n}")})).await;
    }
    let told = viewer.get(&since(&cursor)).await.body;
    let change = json!({"entityId": seen, "action": "UPDATE", "version": 4});
    assert_eq!(told["data"], json!([{"entityCode": "task", "changes": [change]}]), "three changes, told as one");
    assert_eq!((&told["recovered"], &told["access"]), (&json!(true), &json!(false)));
    assert_eq!(outsider.get(&since(&cursor)).await.body["data"], json!([]), "not for everybody");
    // From where the answer stood nothing is missed; what was under way then may come twice.
    let next = viewer.get(&since(told["cursor"].as_str().unwrap())).await.body;
    assert_eq!(next["recovered"], true);
    sqlx::query("delete from app.entity_rbac where person_id = (select id from app.person where email = 'viewer@pmo.example') and entity_code = 'business'")
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(viewer.get(&since(next["cursor"].as_str().unwrap())).await.body["access"], true);
    assert_eq!(viewer.get("/sync/changes?cursor=9.1").await.body["recovered"], false, "another database");
    assert_eq!(viewer.get("/sync/changes?cursor=nonsense").await.status, StatusCode::BAD_REQUEST);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn the_feed_is_rung_once_for_a_write_by_whoever_is_to_ring(pool: PgPool) {
    let listen = async || {
        let mut listener = sqlx::postgres::PgListener::connect_with(&pool).await.unwrap();
        listener.listen(pmo_database::change_log::LOG_CHANNEL).await.unwrap();
        listener
    };
    let options = (*pool.connect_options()).clone().options([("app.doorbell", "afterwards")]);
    let quiet = sqlx::postgres::PgPoolOptions::new().max_connections(3).connect_with(options).await.unwrap();
    let router = router_with(&pool, &["--doorbell", "in-transaction"]).await;
    let editor = Api::of(&router, "editor").await;
    let (project, _) = plan(&editor).await;
    let me = editor.get("/auth/me").await.body["personId"].as_str().unwrap().parse().unwrap();
    // No request before this one that could ring late: who it is they know without a sign-in.
    let afterwards = router_with(&quiet, &["--doorbell", "afterwards"]).await;
    for (editor, doorbell) in [(editor, "in-transaction"), (Api::person(&afterwards, me), "afterwards")] {
        let mut listener = listen().await;
        let write = json!({"name": format!("rung {doorbell}")});
        assert_eq!(editor.patch(&format!("/project/{project}"), write).await.status, 200);
        listener.recv().await.unwrap();
        // A second ring would have come before this one.
        sqlx::query("select pg_notify($1, 'last')")
            .bind(pmo_database::change_log::LOG_CHANNEL)
            .execute(&pool)
            .await
            .unwrap();
        assert_eq!(listener.recv().await.unwrap().payload(), "last", "{doorbell}: one ring for one write");
    }
    // Whoever writes past the api rings itself; the api's own transactions leave it to the api.
    let mut listener = listen().await;
    let touch = "update app.project set name = 'by hand' where id = (select min(id::text)::uuid from app.project)";
    sqlx::query(touch).execute(&quiet).await.unwrap();
    sqlx::query("select pg_notify($1, 'by the test')")
        .bind(pmo_database::change_log::LOG_CHANNEL)
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(listener.recv().await.unwrap().payload(), "by the test");
    sqlx::query("update app.project set name = 'by psql'").execute(&pool).await.unwrap();
    assert_eq!(listener.recv().await.unwrap().payload(), "");
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_snapshot_tells_a_whole_tree_and_no_more_than_its_reader_sees(pool: PgPool) {
    let router = router(&pool).await;
    let (editor, viewer) = (Api::of(&router, "editor").await, Api::of(&router, "viewer").await);
    let (project, tasks) = plan(&editor).await;
    let (other, _) = plan(&editor).await;
    let said = editor.post(&format!("/task/{}/message", tasks[1]), json!({"body": "deep"})).await;
    assert_eq!(said.status, StatusCode::CREATED, "{}", said.body);
    let path = format!("/sync/snapshot?entity=project&id={project}");
    let answer = editor.get(&path).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.headers.contains_key("feed-cursor"));
    let lines = answer.body.as_array().unwrap();
    assert_eq!((&lines[0]["entity_code"], &lines[0]["data"][0]["id"]), (&json!("project"), &json!(project)));
    assert_eq!(lines.last().unwrap(), &json!({"complete": true}));
    assert_eq!(lines[lines.len() - 2], json!({"ties": []}), "columns tell of all of it");
    let told = |lines: &[Value], code: &str| -> Vec<Value> {
        let of_it = lines.iter().filter(|line| line["entity_code"] == code);
        of_it.flat_map(|line| line["data"].as_array().unwrap().clone()).collect()
    };
    assert_eq!(told(lines, "task").len(), 3);
    assert_eq!(told(lines, "message")[0]["id"], said.body["id"], "what hangs below what hangs below");
    assert_eq!(told(lines, "task")[0]["permission"], 7);
    assert!(!answer.body.to_string().contains(&other));
    // The rows are those that `?ids=` tells.
    let fresh = editor.get(&format!("/task?ids={}", tasks[0])).await.body["data"][0].clone();
    assert!(told(lines, "task").contains(&fresh));
    // What no column tells is told as ties.
    let page = editor.post(&format!("/project/{project}/wiki"), json!({"name": "Notes"})).await.body;
    let ties = json!([{"parent": {"code": "project", "id": project}, "child": "wiki", "ids": [page["id"]]}]);
    assert!(editor.get(&path).await.body.as_array().unwrap().iter().any(|line| line["ties"] == ties));
    assert_eq!(viewer.get(&path).await.status, 404);
    let grant = json!({"person_id": viewer.get("/auth/me").await.body["personId"], "entity_code": "project",
        "entity_instance_id": project, "permission": 0, "inheritance_mode": "none"});
    assert_eq!(editor.post("/entity_rbac", grant).await.status, StatusCode::CREATED);
    let lines = viewer.get(&path).await.body;
    assert_eq!(told(lines.as_array().unwrap(), "project").len(), 1);
    assert_eq!(told(lines.as_array().unwrap(), "task"), [] as [Value; 0], "a grant that does not come down");
    assert!(!lines.to_string().contains(&text(&page["id"])), "nor what hangs there");
    assert_eq!(editor.get("/sync/snapshot?entity=project&id=x").await.status, 400);
    assert_eq!(editor.get("/sync/snapshot?entity=nothing&id=0190163d-8694-739b-aea5-966c26f8ad91").await.status, 404);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn an_administrator_loads_demo_data_once_and_nobody_signs_in_as_its_people(pool: PgPool) {
    let secret = secret();
    let settings = Config::parse_from(["pmo-api", "--jwt-secret", &secret, "--web-dist", "/nonexistent"]);
    let router = pmo_api::router(AppState::new(pool.clone(), settings).await.unwrap());
    let mut transaction = pmo_database::begin(&pool, &pmo_database::Actor::default()).await.unwrap();
    let person = pmo_database::bootstrap::add_administrator(&mut transaction, "first@office.example").await.unwrap();
    transaction.commit().await.unwrap();
    let first = Api::person(&router, person);
    assert_eq!(first.get("/project").await.body["total"], 0);
    let loaded = first.send("POST", "/demo", None, &[]).await;
    assert_eq!(loaded.status, StatusCode::CREATED, "{}", loaded.body);
    let projects = first.get("/project?limit=1000").await.body["data"].as_array().unwrap().len();
    assert_eq!(loaded.body["loaded"]["projects"].as_u64().unwrap() as usize, projects);
    assert_eq!(first.send("POST", "/demo", None, &[]).await.status, StatusCode::UNPROCESSABLE_ENTITY, "not twice");
    for email in seed::DEMO_ACCOUNTS {
        assert_eq!(login(&router, email, DEMO_PASSWORD).await.status, StatusCode::UNAUTHORIZED, "{email}");
    }
}
