//! Data comes and goes: rows as CSV, plans as Microsoft Project XML, everything as JSON, what is due as a calendar.

use crate::harness::*;
use uuid::Uuid;

async fn send(
    who: &Api,
    method: &str,
    path: &str,
    kind: &str,
    body: impl Into<Body>,
) -> (StatusCode, String, axum::http::HeaderMap) {
    let mut request = Request::builder().method(method).uri(format!("/api/v1{path}")).header("content-type", kind);
    if !who.token.is_empty() {
        request = request.header("authorization", format!("Bearer {}", who.token));
    }
    let answer = who.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
    let (parts, body) = answer.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    (parts.status, String::from_utf8_lossy(&bytes).into_owned(), parts.headers)
}

async fn import(who: &Api, path: &str, csv: impl Into<Body>) -> (StatusCode, Value) {
    let (status, text, _) = send(who, "POST", path, "text/csv", csv).await;
    (status, serde_json::from_str(&text).unwrap_or_default())
}

async fn export(who: &Api, path: &str) -> String {
    let (status, text, _) = send(who, "GET", path, "text/plain", Body::empty()).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    text
}

async fn project(who: &Api, name: &str) -> String {
    who.post("/project", json!({"name": name})).await.body["id"].as_str().unwrap().to_owned()
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn rows_are_made_and_changed_by_their_code(pool: PgPool) {
    let router = router(&pool).await;
    let admin = Api::of(&router, "admin").await;
    let plan = project(&admin, "Imported into").await;
    let file = "Code;Name;Stage;Estimate;Due;Assignee;Project;Remark\r\nX-1;Brief;in progress;7,5;2026-03-01;Edda Editor;Imported into;left out\nX-2;=1+1;;;;;Imported into;\r";
    let path = "/task/import?mapping=%7B%22Estimate%22%3A%22estimated_hours%22%7D";
    let (status, dry) = import(&admin, &format!("{path}&dry_run=true"), file).await;
    assert_eq!(status, StatusCode::OK, "{dry}");
    assert_eq!((&dry["created"], &dry["refused"], &dry["rows"]), (&json!(2), &json!(0), &json!(2)), "{dry}");
    assert_eq!(dry["columns"][7], json!({"name": "Remark", "column": null, "label": null}));
    assert_eq!(admin.get(&format!("/project/{plan}/task")).await.body["total"], 0, "a dry run leaves nothing behind");
    let (status, report) = import(&admin, path, file).await;
    assert_eq!(status, StatusCode::CREATED, "{report}");
    let tasks = admin.get(&format!("/project/{plan}/task?sort=code")).await.body;
    let task = &tasks["data"][0];
    assert_eq!(
        (&task["code"], &task["dl__task_stage"], &task["estimated_hours"], &task["due_date"]),
        (&json!("X-1"), &json!("In Progress"), &json!(7.5), &json!("2026-03-01"))
    );
    assert_eq!(task["assignee__employee_ids"].as_array().unwrap().len(), 1);
    assert_eq!(tasks["data"][1]["name"], "=1+1", "a formula is a text");
    // Again, with one change: by the code, and what the file does not name stays.
    let (status, report) = import(&admin, "/task/import", "code,name\nX-1,Brief\nx-2,Two\n,New one").await;
    assert_eq!(status, StatusCode::CREATED, "{report}");
    assert_eq!((&report["created"], &report["changed"], &report["unchanged"]), (&json!(1), &json!(1), &json!(1)));
    let row = admin.get(&format!("/project/{plan}/task?sort=code")).await.body["data"][1].clone();
    assert_eq!((&row["name"], &row["version"]), (&json!("Two"), &json!(2)));
    // Out and in again: nothing is another.
    let csv = export(&admin, &format!("/task/export?project_id={plan}")).await;
    assert!(csv.starts_with("code,name,") && csv.contains("Edda Editor"), "{csv}");
    let (status, report) = import(&admin, "/task/import", csv).await;
    assert_eq!((status, &report["unchanged"]), (StatusCode::CREATED, &json!(2)), "{report}");
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn what_is_wrong_with_a_line_is_said_and_nothing_is_written(pool: PgPool) {
    let router = router(&pool).await;
    let (admin, editor, outsider) =
        (Api::of(&router, "admin").await, Api::of(&router, "editor").await, Api::of(&router, "outsider").await);
    let plan = project(&admin, "Refused").await;
    let file = "name,due_date,dl__task_stage,project_id,code\nRight,2026-01-01,To Do,Refused,\nWrong,soon,Later,Nowhere,A\n,2026-01-01,,Refused,B\nTwice,,,Refused,A\n";
    let (status, dry) = import(&admin, "/task/import?dry_run=true", file).await;
    assert_eq!((status, &dry["refused"], &dry["created"]), (StatusCode::OK, &json!(3), &json!(1)), "{dry}");
    let errors = dry["lines"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|l| l["line"] == 3)
        .flat_map(|l| l["errors"].as_array().unwrap())
        .map(|e| e["field"].as_str().unwrap())
        .collect::<Vec<_>>();
    assert_eq!(errors, ["due_date", "dl__task_stage", "project_id"]);
    let (status, refused) = import(&admin, "/task/import", file).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let fields: Vec<&str> =
        refused["errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap()).collect();
    assert!(
        fields.contains(&"line 3: due_date") && fields.contains(&"line 4: name") && fields.contains(&"line 5: code"),
        "{fields:?}"
    );
    assert_eq!(admin.get(&format!("/project/{plan}/task")).await.body["total"], 0, "not even the line that is right");
    // Whoever may not see the project can't put anything into it, nor learn its name.
    for who in [&editor, &outsider] {
        let (status, refused) = import(who, "/task/import", "name,project_id\nx,Refused\n").await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
        let (status, refused) = import(who, &format!("/task/import?parent=project:{plan}"), "name\nx\n").await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
    }
    // A code of something that one may not see is taken, and says no more.
    admin.post("/task", json!({"name": "Secret", "code": "SECRET-1", "project_id": plan})).await;
    let (status, refused) = import(&editor, "/task/import", "name,code,project_id\nx,SECRET-1,\n").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
    assert!(!refused.to_string().contains("Secret"));
    for (body, status, word) in [
        (b"name,Name\nx,y".to_vec(), 422, "Two columns"),
        (b"name\n\xff\xfe\xfa".to_vec(), 422, "UTF-8"),
        ([&b"name"[..], &b"\ny".repeat(1_000_000)].concat(), 422, "more than 10000 rows"),
        (vec![b'x'; 3 << 20], 422, "longer than any text"),
        (vec![b'x'; 50_000_000], 413, "larger than 4 MB"),
    ] {
        let (answered, problem) = import(&admin, "/task/import", body).await;
        assert_eq!(answered.as_u16(), status, "{word}: {problem}");
        assert!(problem.to_string().contains(word), "{word}: {problem}");
    }
    let (status, ..) = send(&admin, "POST", "/task/import", "application/json", "{}").await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let (status, _) = import(&admin, "/task/import?mapping=x", "name\nx").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_plan_goes_out_and_comes_back_the_same(pool: PgPool) {
    let router = router(&pool).await;
    let admin = Api::of(&router, "admin").await;
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../../db/samples/website-relaunch.mspdi.xml");
    let (status, text, _) =
        send(&admin, "POST", "/project/import", "application/xml", std::fs::read(sample).unwrap()).await;
    assert_eq!(status, StatusCode::CREATED, "{text}");
    let first: Value = serde_json::from_str(&text).unwrap();
    let path = |answer: &Value| format!("/project/{}/export", answer["project"]["id"].as_str().unwrap());
    let xml = export(&admin, &path(&first)).await;
    let (status, text, _) = send(&admin, "POST", "/project/import", "application/xml", xml.clone()).await;
    assert_eq!(status, StatusCode::CREATED, "{text}");
    let second: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(first["report"]["taken"], second["report"]["taken"]);
    let read = |xml: &str| pmo_api::import::mspdi::parse(xml.as_bytes()).unwrap();
    let again = export(&admin, &path(&second)).await;
    assert_eq!(read(&xml), read(&again));
    assert_eq!(xml, again, "letter by letter");
    let outsider = Api::of(&router, "outsider").await;
    assert_eq!(outsider.get(&path(&first)).await.status, StatusCode::NOT_FOUND);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn an_export_holds_what_its_reader_sees_and_nothing_else(pool: PgPool) {
    let router = router(&pool).await;
    let (admin, viewer, outsider) =
        (Api::of(&router, "admin").await, Api::of(&router, "viewer").await, Api::of(&router, "outsider").await);
    admin.post("/project", json!({"name": "@SUM(A1)", "descr": "-2"})).await;
    let csv = export(&admin, "/project/export?fields=name,descr&sort=name").await;
    assert!(csv.contains("'@SUM(A1),'-2\r\n"), "a spreadsheet does not calculate it: {csv}");
    assert_eq!(export(&outsider, "/project/export?fields=name").await, "name\r\n");
    let lines = |text: String| text.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()).collect::<Vec<_>>();
    let count = |lines: &[Value], code: &str| {
        lines.iter().filter(|l| l["entity_code"] == code).map(|l| l["data"].as_array().unwrap().len()).sum::<usize>()
    };
    let all = lines(export(&viewer, "/export").await);
    assert_eq!(all.last().unwrap(), &json!({"complete": true}));
    for code in ["project", "task", "employee"] {
        let total = viewer.get(&format!("/{code}?limit=1000")).await.body["data"].as_array().unwrap().len();
        assert_eq!(count(&all, code), total, "{code}");
    }
    assert_eq!(count(&lines(export(&outsider, "/export").await), "project"), 0);
    let json = export(&viewer, "/project/export?format=json").await;
    assert_eq!(json.lines().count(), count(&all, "project"));
    for (path, status) in
        [("/project/export?format=xls", 400), ("/project/export?nope=1", 400), ("/nothing/export", 404)]
    {
        assert_eq!(admin.get(path).await.status.as_u16(), status, "{path}");
    }
    let (_, _, headers) = send(&admin, "GET", "/project/export", "text/plain", Body::empty()).await;
    assert_eq!(headers["content-disposition"], "attachment; filename=\"project.csv\"");
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_calendar_shows_what_its_person_sees_until_it_is_revoked(pool: PgPool) {
    let router = router(&pool).await;
    let (admin, editor) = (Api::of(&router, "admin").await, Api::of(&router, "editor").await);
    let plan = project(&admin, "Dated").await;
    let me = editor.get("/auth/me").await.body;
    let day = jiff::Zoned::now().date().to_string();
    for (name, due, mine) in
        [("Mine, now", day.as_str(), true), ("Somebody's", day.as_str(), false), ("Long ago", "2001-01-01", true)]
    {
        let assignees = if mine { json!([me["id"]]) } else { json!([]) };
        let made = admin
            .post(
                "/task",
                json!({"name": name, "project_id": plan, "due_date": due, "assignee__employee_ids": assignees}),
            )
            .await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    }
    let grant =
        json!({"person_id": me["personId"], "entity_code": "project", "entity_instance_id": plan, "permission": 0});
    let grant = admin.post("/entity_rbac", grant).await.body["id"].as_str().unwrap().to_owned();
    let nobody = Api { router: router.clone(), token: String::new() };
    let own = editor.post("/calendar_feed", json!({})).await;
    assert_eq!(own.status, StatusCode::CREATED, "{}", own.body);
    let about = editor.post("/calendar_feed", json!({"entity": "project", "id": plan})).await;
    let address = |made: &Answer| made.body["path"].as_str().unwrap().strip_prefix("/api/v1").unwrap().to_owned();
    let (status, text, headers) = send(&nobody, "GET", &address(&own), "text/plain", Body::empty()).await;
    assert_eq!((status, headers["content-type"].to_str().unwrap()), (StatusCode::OK, "text/calendar; charset=utf-8"));
    assert!(
        text.contains("SUMMARY:Mine\\, now\r\n") && !text.contains("Somebody") && !text.contains("Long ago"),
        "{text}"
    );
    let (_, text, _) = send(&nobody, "GET", &address(&about), "text/plain", Body::empty()).await;
    assert!(text.contains("X-WR-CALNAME:Dated") && text.contains("Somebody's"), "{text}");
    let list = editor.get("/calendar_feed").await.body;
    assert_eq!(list["data"].as_array().unwrap().len(), 2);
    assert!(!list.to_string().contains(&address(&own)[10..40]), "the address is told once");
    assert_eq!(admin.get("/calendar_feed").await.body["data"], json!([]));
    // What its person lost is gone from it.
    admin.send("DELETE", &format!("/entity_rbac/{grant}"), None, &[]).await;
    assert_eq!(send(&nobody, "GET", &address(&about), "text/plain", Body::empty()).await.0, StatusCode::NOT_FOUND);
    assert!(!send(&nobody, "GET", &address(&own), "text/plain", Body::empty()).await.1.contains("Mine"));
    let id = own.body["id"].as_str().unwrap();
    assert_eq!(
        admin.send("DELETE", &format!("/calendar_feed/{id}"), None, &[]).await.status,
        StatusCode::NOT_FOUND,
        "somebody else's"
    );
    assert_eq!(editor.send("DELETE", &format!("/calendar_feed/{id}"), None, &[]).await.status, StatusCode::NO_CONTENT);
    for gone in [address(&own), "/calendar/nothing.ics".to_owned(), format!("/calendar/{}", Uuid::now_v7())] {
        assert_eq!(send(&nobody, "GET", &gone, "text/plain", Body::empty()).await.0, StatusCode::NOT_FOUND);
    }
    assert_eq!(
        editor.post("/calendar_feed", json!({"entity": "project", "id": plan})).await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        editor.post("/calendar_feed", json!({"entity": "project"})).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn out_and_in_again_takes_away_nothing_that_the_file_could_not_say(pool: PgPool) {
    let router = router(&pool).await;
    let (admin, editor) = (Api::of(&router, "admin").await, Api::of(&router, "editor").await);
    let plan = project(&admin, "Round").await;
    let person: Uuid = sqlx::query_scalar("select id from app.person where email = 'editor@pmo.example'")
        .fetch_one(&pool)
        .await
        .unwrap();
    admin
        .post(
            "/entity_rbac",
            json!({"person_id": person, "entity_code": "project", "entity_instance_id": plan, "permission": 3}),
        )
        .await;
    // Two of one name, one that has left, and one whom the editor can't see.
    let employee = |name: &str| {
        let (pool, name) = (pool.clone(), name.to_owned());
        async move {
            sqlx::query_scalar::<_, Uuid>("insert into app.employee (name) values ($1) returning id")
                .bind(name)
                .fetch_one(&pool)
                .await
                .unwrap()
        }
    };
    let (twin, _other, gone) =
        (employee("Twin Same").await, employee("Twin Same").await, employee("Left Already").await);
    let hidden = employee("Hidden Person").await;
    let task = admin
        .post(
            "/task",
            json!({"name": "t", "code": "RT-1", "project_id": plan, "assignee__employee_ids": [twin, gone, hidden]}),
        )
        .await;
    assert_eq!(task.status, 201, "{}", task.body);
    let path = format!("/task/{}", task.body["id"].as_str().unwrap());
    sqlx::query("select app.soft_delete('employee', $1)").bind(gone).execute(&pool).await.unwrap();
    sqlx::query("insert into app.entity_rbac (person_id, entity_code, entity_instance_id, permission, is_deny) values ($1, 'employee', $2, 0, true)").bind(person).bind(hidden).execute(&pool).await.unwrap();
    let held = || async { admin.get(&path).await.body["assignee__employee_ids"].clone() };
    for who in [&admin, &editor] {
        let csv =
            export(who, &format!("/task/export?project_id={plan}&fields=code,name,assignee__employee_ids,project_id"))
                .await;
        let (status, report) = import(who, "/task/import", csv.clone()).await;
        assert_eq!((status, &report["unchanged"]), (StatusCode::CREATED, &json!(1)), "{csv}\n{report}");
        assert_eq!(held().await, json!([twin, gone, hidden]));
    }
    // What the file does say counts: the one who is left out goes, the hidden one stays.
    let (status, report) = import(&editor, "/task/import", "code,assignee__employee_ids\nrt-1,Twin Same\n").await;
    assert_eq!((status, &report["changed"]), (StatusCode::CREATED, &json!(1)), "{report}");
    let now = held().await;
    assert!(
        now.as_array().unwrap().contains(&json!(hidden)) && !now.as_array().unwrap().contains(&json!(gone)),
        "{now}"
    );
    assert_eq!(admin.get(&path).await.body["code"], "RT-1", "the code stays as it is written");
    // A word that could be two is refused where it is new.
    admin.post("/task", json!({"name": "u", "code": "RT-2", "project_id": plan})).await;
    let (status, refused) = import(&admin, "/task/import", "code,assignee__employee_ids\nRT-2,Twin Same\n").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
    let (status, refused) = import(&admin, "/task/import", "code,estimated_hours\nRT-2,\"1,500\"\n").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
    assert!(refused["errors"][0]["message"].as_str().unwrap().contains("1500 or 1.500"), "{refused}");
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn what_links_alone_tie_goes_out_with_what_it_hangs_below(pool: PgPool) {
    let router = router(&pool).await;
    let (admin, outsider) = (Api::of(&router, "admin").await, Api::of(&router, "outsider").await);
    let plan = project(&admin, "Linked").await;
    let risk =
        admin.post("/risk", json!({"name": "r", "project_id": plan})).await.body["id"].as_str().unwrap().to_owned();
    let mut tasks = Vec::new();
    for name in ["tied", "free"] {
        tasks.push(
            admin.post("/task", json!({"name": name, "project_id": plan})).await.body["id"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    let link = json!({"parent_code": "risk", "parent_id": risk, "child_code": "task", "child_id": tasks[0]});
    assert_eq!(admin.post("/entity_instance_link", link).await.status, 201);
    let csv = export(&admin, &format!("/task/export?fields=name&parent=risk:{risk}")).await;
    assert_eq!(csv.trim(), "name\r\ntied");
    for (path, status) in
        [("parent=risk", 400), ("parent=nothing:x", 400), ("parent=office:01a2056d-3563-7049-ab62-bfe1ca58ce3f", 400)]
    {
        let (told, text, _) = send(&admin, "GET", &format!("/task/export?{path}"), "text/plain", Body::empty()).await;
        assert_eq!(told.as_u16(), status, "{text}");
    }
    let (told, ..) =
        send(&outsider, "GET", &format!("/task/export?parent=risk:{risk}"), "text/plain", Body::empty()).await;
    assert_eq!(told, StatusCode::NOT_FOUND);
}
