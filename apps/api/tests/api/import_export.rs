//! Import and export: rows as CSV, plans as Microsoft Project XML, all data as JSON, due dates as
//! iCalendar.

use crate::harness::*;
use uuid::Uuid;

/// Sends a request with any body; returns the status, the body as text and the headers.
///
/// A client with an empty token sends no credentials.
async fn send(
    client: &ApiClient,
    method: &str,
    path: &str,
    content_type: &str,
    body: impl Into<Body>,
) -> (StatusCode, String, axum::http::HeaderMap) {
    let mut request =
        Request::builder().method(method).uri(format!("/api/v1{path}")).header("content-type", content_type);
    if !client.token.is_empty() {
        request = request.header("authorization", format!("Bearer {}", client.token));
    }
    let response = client.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    (parts.status, String::from_utf8_lossy(&bytes).into_owned(), parts.headers)
}

/// Imports a CSV file; returns the status and the report.
async fn import(client: &ApiClient, path: &str, csv: impl Into<Body>) -> (StatusCode, Value) {
    let (status, text, _) = send(client, "POST", path, "text/csv", csv).await;
    (status, serde_json::from_str(&text).unwrap_or_default())
}

/// Returns an export as text.
async fn export(client: &ApiClient, path: &str) -> String {
    let (status, text, _) = send(client, "GET", path, "text/plain", Body::empty()).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    text
}

/// Creates a project and returns its id.
async fn create_project(client: &ApiClient, name: &str) -> String {
    client.post("/project", json!({"name": name})).await.body["id"].as_str().unwrap().to_owned()
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn csv_import_creates_and_updates_rows_by_code(pool: PgPool) {
    let router = build_router(&pool).await;
    let admin = ApiClient::sign_in(&router, "admin").await;
    let project = create_project(&admin, "Imported into").await;
    let file = "Code;Name;Stage;Estimate;Finish;Assignee;Project;Remark\r\nX-1;Brief;in progress;7,5;2026-03-01;Edda Editor;Imported into;left out\nX-2;=1+1;;;;;Imported into;\r";
    let path = "/task/import?mapping=%7B%22Estimate%22%3A%22estimated_hours%22%7D";
    let (status, preview) = import(&admin, &format!("{path}&dry_run=true"), file).await;
    assert_eq!(status, StatusCode::OK, "{preview}");
    assert_eq!(
        (&preview["created"], &preview["refused"], &preview["rows"]),
        (&json!(2), &json!(0), &json!(2)),
        "{preview}"
    );
    assert_eq!(preview["columns"][7], json!({"name": "Remark", "column": null, "label": null}));
    assert_eq!(admin.get(&format!("/project/{project}/task")).await.body["total"], 0, "a dry run writes nothing");
    let (status, report) = import(&admin, path, file).await;
    assert_eq!(status, StatusCode::CREATED, "{report}");
    let tasks = admin.get(&format!("/project/{project}/task?sort=code")).await.body;
    let task = &tasks["data"][0];
    assert_eq!(
        (&task["code"], &task["dl__task_stage"], &task["estimated_hours"], &task["due_date"]),
        (&json!("X-1"), &json!("In Progress"), &json!(7.5), &json!("2026-03-01"))
    );
    assert_eq!(task["assignee__employee_ids"].as_array().unwrap().len(), 1);
    assert_eq!(tasks["data"][1]["name"], "=1+1", "a formula is imported as text");
    // A second import updates rows by code. Columns that the file does not have stay unchanged.
    let (status, report) = import(&admin, "/task/import", "code,name\nX-1,Brief\nx-2,Two\n,New one").await;
    assert_eq!(status, StatusCode::CREATED, "{report}");
    assert_eq!((&report["created"], &report["changed"], &report["unchanged"]), (&json!(1), &json!(1), &json!(1)));
    let row = admin.get(&format!("/project/{project}/task?sort=code")).await.body["data"][1].clone();
    assert_eq!((&row["name"], &row["version"]), (&json!("Two"), &json!(2)));
    // An export that is imported again changes nothing.
    let csv = export(&admin, &format!("/task/export?project_id={project}")).await;
    assert!(csv.starts_with("code,name,") && csv.contains("Edda Editor"), "{csv}");
    let (status, report) = import(&admin, "/task/import", csv).await;
    assert_eq!((status, &report["unchanged"]), (StatusCode::CREATED, &json!(2)), "{report}");
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn csv_import_with_invalid_lines_reports_them_and_writes_nothing(pool: PgPool) {
    let router = build_router(&pool).await;
    let (admin, editor, outsider) = (
        ApiClient::sign_in(&router, "admin").await,
        ApiClient::sign_in(&router, "editor").await,
        ApiClient::sign_in(&router, "outsider").await,
    );
    let project = create_project(&admin, "Refused").await;
    let file = "name,due_date,dl__task_stage,project_id,code\nRight,2026-01-01,To Do,Refused,\nWrong,soon,Later,Nowhere,A\n,2026-01-01,,Refused,B\nTwice,,,Refused,A\n";
    let (status, preview) = import(&admin, "/task/import?dry_run=true", file).await;
    assert_eq!((status, &preview["refused"], &preview["created"]), (StatusCode::OK, &json!(3), &json!(1)), "{preview}");
    let errors = preview["lines"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|l| l["line"] == 3)
        .flat_map(|l| l["errors"].as_array().unwrap())
        .map(|e| e["field"].as_str().unwrap())
        .collect::<Vec<_>>();
    assert_eq!(errors, ["due_date", "dl__task_stage", "project_id"]);
    let (status, rejected) = import(&admin, "/task/import", file).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let fields: Vec<&str> =
        rejected["errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap()).collect();
    assert!(
        fields.contains(&"line 3: due_date") && fields.contains(&"line 4: name") && fields.contains(&"line 5: code"),
        "{fields:?}"
    );
    assert_eq!(
        admin.get(&format!("/project/{project}/task")).await.body["total"],
        0,
        "the valid line is not imported either"
    );
    // A user who cannot see the project can neither add rows to it nor learn its name.
    for client in [&editor, &outsider] {
        let (status, rejected) = import(client, "/task/import", "name,project_id\nx,Refused\n").await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{rejected}");
        let (status, rejected) = import(client, &format!("/task/import?parent=project:{project}"), "name\nx\n").await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{rejected}");
    }
    // The code of a hidden entity is reported as taken, without further details.
    admin.post("/task", json!({"name": "Secret", "code": "SECRET-1", "project_id": project})).await;
    let (status, rejected) = import(&editor, "/task/import", "name,code,project_id\nx,SECRET-1,\n").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{rejected}");
    assert!(!rejected.to_string().contains("Secret"));
    for (body, status, expected_text) in [
        (b"name,Name\nx,y".to_vec(), 422, "Two columns"),
        (b"name\n\xff\xfe\xfa".to_vec(), 422, "UTF-8"),
        ([&b"name"[..], &b"\ny".repeat(1_000_000)].concat(), 422, "more than 10000 rows"),
        (vec![b'x'; 3 << 20], 422, "exceeds the maximum text length"),
        (vec![b'x'; 50_000_000], 413, "larger than 4 MB"),
    ] {
        let (actual_status, problem) = import(&admin, "/task/import", body).await;
        assert_eq!(actual_status.as_u16(), status, "{expected_text}: {problem}");
        assert!(problem.to_string().contains(expected_text), "{expected_text}: {problem}");
    }
    let (status, ..) = send(&admin, "POST", "/task/import", "application/json", "{}").await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let (status, _) = import(&admin, "/task/import?mapping=x", "name\nx").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn plan_export_and_import_round_trip_is_lossless(pool: PgPool) {
    let router = build_router(&pool).await;
    let admin = ApiClient::sign_in(&router, "admin").await;
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../../db/samples/website-relaunch.mspdi.xml");
    let (status, text, _) =
        send(&admin, "POST", "/project/import", "application/xml", std::fs::read(sample).unwrap()).await;
    assert_eq!(status, StatusCode::CREATED, "{text}");
    let first: Value = serde_json::from_str(&text).unwrap();
    let path = |response: &Value| format!("/project/{}/export", response["project"]["id"].as_str().unwrap());
    let xml = export(&admin, &path(&first)).await;
    let (status, text, _) = send(&admin, "POST", "/project/import", "application/xml", xml.clone()).await;
    assert_eq!(status, StatusCode::CREATED, "{text}");
    let second: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(first["report"]["imported"], second["report"]["imported"]);
    let parse = |xml: &str| pmo_api::import::mspdi::parse(xml.as_bytes()).unwrap();
    let second_xml = export(&admin, &path(&second)).await;
    assert_eq!(parse(&xml), parse(&second_xml));
    assert_eq!(xml, second_xml, "the XML is identical byte by byte");
    let outsider = ApiClient::sign_in(&router, "outsider").await;
    assert_eq!(outsider.get(&path(&first)).await.status, StatusCode::NOT_FOUND);
}

/// A plan with a calendar of its own, a person with holidays, a role, a split, and a baseline.
const PLAN: &str = r#"<Project xmlns="http://schemas.microsoft.com/project"><Title>Whole</Title>
<StartDate>2026-03-02T08:00:00</StartDate><StatusDate>2026-03-05T17:00:00</StatusDate><CalendarUID>2</CalendarUID>
<MinutesPerDay>450</MinutesPerDay><Calendars>
<Calendar><UID>1</UID><Name>Standard</Name><IsBaseCalendar>1</IsBaseCalendar></Calendar>
<Calendar><UID>2</UID><Name>Plant</Name><IsBaseCalendar>0</IsBaseCalendar><BaseCalendarUID>1</BaseCalendarUID><Exceptions><Exception>
<TimePeriod><FromDate>2026-03-04T00:00:00</FromDate><ToDate>2026-03-04T23:59:00</ToDate></TimePeriod><Name>Inventory</Name><Type>1</Type>
<DayWorking>0</DayWorking></Exception></Exceptions></Calendar>
<Calendar><UID>3</UID><Name>Edda</Name><IsBaseCalendar>0</IsBaseCalendar><BaseCalendarUID>1</BaseCalendarUID><Exceptions><Exception>
<TimePeriod><FromDate>2026-03-09T00:00:00</FromDate><ToDate>2026-03-10T23:59:00</ToDate></TimePeriod><Name>Holiday</Name><Type>1</Type>
<DayWorking>0</DayWorking></Exception></Exceptions></Calendar></Calendars><Tasks>
<Task><UID>0</UID><ID>0</ID><Name>Whole</Name><OutlineLevel>0</OutlineLevel></Task>
<Task><UID>4</UID><ID>1</ID><Name>Prepare</Name><OutlineLevel>1</OutlineLevel><Duration>PT24H0M0S</Duration><DurationFormat>39</DurationFormat>
<Deadline>2026-03-20T17:00:00</Deadline><Cost>500</Cost><Baseline><Number>0</Number><Start>2026-03-02T08:00:00</Start>
<Finish>2026-03-03T17:00:00</Finish><Duration>PT16H0M0S</Duration></Baseline></Task>
<Task><UID>7</UID><ID>2</ID><Name>Build</Name><OutlineLevel>1</OutlineLevel><Duration>PT16H0M0S</Duration><ConstraintType>4</ConstraintType>
<ConstraintDate>2026-03-06T08:00:00</ConstraintDate><PredecessorLink><PredecessorUID>4</PredecessorUID><Type>1</Type><LinkLag>50</LinkLag>
<LagFormat>19</LagFormat></PredecessorLink></Task>
<Task><UID>8</UID><ID>3</ID><Name>Visit</Name><OutlineLevel>1</OutlineLevel><Manual>1</Manual><ManualStart>2026-03-11T10:00:00</ManualStart>
<ManualFinish>2026-03-11T12:00:00</ManualFinish><Duration>PT2H0M0S</Duration><DurationFormat>5</DurationFormat></Task></Tasks>
<Resources><Resource><UID>1</UID><Name>Edda Editor</Name><Type>1</Type><CalendarUID>3</CalendarUID></Resource>
<Resource><UID>2</UID><Name>Crane driver</Name><Type>1</Type></Resource></Resources><Assignments>
<Assignment><UID>1</UID><TaskUID>7</TaskUID><ResourceUID>1</ResourceUID><Units>1</Units><Work>PT16H0M0S</Work></Assignment>
<Assignment><UID>2</UID><TaskUID>8</TaskUID><ResourceUID>2</ResourceUID><Units>0.5</Units><Work>PT1H0M0S</Work></Assignment></Assignments></Project>"#;

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn imported_plan_contains_calendars_people_roles_and_baselines(pool: PgPool) {
    let router = build_router(&pool).await;
    let admin = ApiClient::sign_in(&router, "admin").await;
    let (status, text, _) = send(&admin, "POST", "/project/import", "application/xml", PLAN).await;
    assert_eq!(status, StatusCode::CREATED, "{text}");
    let first: Value = serde_json::from_str(&text).unwrap();
    let imported = &first["report"]["imported"];
    let counts = ["tasks", "links", "resources", "assignments", "calendars", "exceptions", "baselines"];
    assert_eq!(counts.map(|name| imported[name].as_u64().unwrap()), [3, 1, 1, 2, 3, 2, 1], "{imported}");
    let skipped: Vec<&str> =
        first["report"]["skipped"].as_array().unwrap().iter().map(|one| one["what"].as_str().unwrap()).collect();
    assert_eq!(skipped, ["Task", "Cost", "Resource"], "{text}");
    let project = text_of(&first["project"]["id"]);
    let tasks = admin.get(&format!("/project/{project}/task?sort=wbs")).await.body;
    let dates: Vec<(String, String)> = tasks["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| (text_of(&task["start_ts"]), text_of(&task["finish_ts"])))
        .collect();
    // Wednesday is free; the person of the second task is away on Monday and Tuesday.
    let expected = [
        ("2026-03-02T08:00:00", "2026-03-05T17:00:00"),
        ("2026-03-09T08:00:00", "2026-03-12T12:00:00"),
        ("2026-03-11T10:00:00", "2026-03-11T12:00:00"),
    ];
    assert_eq!(dates[0], (expected[0].0.to_owned(), expected[0].1.to_owned()));
    assert_eq!(dates[2], (expected[2].0.to_owned(), expected[2].1.to_owned()));
    let row = &tasks["data"][1];
    assert_eq!(
        (&row["dl__constraint_type"], &row["leveling_priority"]),
        (&json!("Start No Earlier Than"), &json!(500))
    );
    assert_eq!(row["assignee__employee_ids"].as_array().unwrap().len(), 1);
    let assignments: i64 = sqlx::query_scalar(
        "select count(*) from app.assignment a join app.task t on t.id = a.task_id where t.project_id = $1::uuid",
    )
    .bind(&project)
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(assignments, 2, "no trigger adds another assignment");
    let calendar: Option<String> = sqlx::query_scalar(
        "select c.name from app.employee e join app.calendar c on c.id = e.calendar_id where e.name = 'Edda Editor'",
    )
    .fetch_optional(&pool)
    .await
    .unwrap();
    assert_eq!(calendar.as_deref(), Some("Edda"));

    let path = |response: &Value| format!("/project/{}/export", response["project"]["id"].as_str().unwrap());
    let xml = export(&admin, &path(&first)).await;
    for part in [
        "<Name>Plant</Name>",
        "<Name>Holiday</Name>",
        "<LinkLag>50</LinkLag>",
        "<Name>Crane driver</Name>",
        "<DurationFormat>39</DurationFormat>",
    ] {
        assert!(xml.contains(part), "{part} in {xml}");
    }
    let (status, text, _) = send(&admin, "POST", "/project/import", "application/xml", xml.clone()).await;
    assert_eq!(status, StatusCode::CREATED, "{text}");
    let second: Value = serde_json::from_str(&text).unwrap();
    let without = |report: &Value| {
        let mut counts = report["imported"].clone();
        // The second project has no row for the calendar of the person: it has one already.
        counts.as_object_mut().unwrap().retain(|name, _| !matches!(name.as_str(), "calendars" | "exceptions"));
        counts
    };
    assert_eq!(without(&first["report"]), without(&second["report"]));
    let second_xml = export(&admin, &path(&second)).await;
    let plan = |xml: &str| {
        let mut file = pmo_mspdi::read(xml).unwrap();
        file.calendars.clear();
        file.project.calendar = None;
        file.resources.iter_mut().for_each(|resource| resource.calendar = None);
        file
    };
    assert_eq!(plan(&xml), plan(&second_xml));
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn export_contains_exactly_the_visible_entities(pool: PgPool) {
    let router = build_router(&pool).await;
    let (admin, viewer, outsider) = (
        ApiClient::sign_in(&router, "admin").await,
        ApiClient::sign_in(&router, "viewer").await,
        ApiClient::sign_in(&router, "outsider").await,
    );
    admin.post("/project", json!({"name": "@SUM(A1)", "descr": "-2"})).await;
    let csv = export(&admin, "/project/export?fields=name,descr&sort=name").await;
    assert!(csv.contains("'@SUM(A1),'-2\r\n"), "formulas are escaped for spreadsheets: {csv}");
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
async fn calendar_of_several_types_has_at_most_5000_events(pool: PgPool) {
    let router = build_router(&pool).await;
    let admin = ApiClient::sign_in(&router, "admin").await;
    let today = jiff::Zoned::now().date();
    let tasks: String = (1..=5100)
        .map(|uid| format!("<Task><UID>{uid}</UID><Name>T</Name><Finish>{today}T17:00:00</Finish></Task>"))
        .collect();
    let plan = format!(
        "<Project xmlns=\"http://schemas.microsoft.com/project\"><Title>Long</Title><Tasks>{tasks}</Tasks></Project>"
    );
    let (status, text, _) = send(&admin, "POST", "/project/import", "application/xml", plan).await;
    assert_eq!(status, StatusCode::CREATED, "{text}");
    let project = text_of(&serde_json::from_str::<Value>(&text).unwrap()["project"]["id"]);
    let milestone = json!({"name": "M", "project_id": project, "due_date": today.to_string()});
    let created = admin.post("/milestone", milestone).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.body);
    let feed = admin.post("/calendar_feed", json!({"entity": "project", "id": project})).await;
    let path = text_of(&feed.body["path"]);
    let (status, text, _) =
        send(&admin, "GET", path.strip_prefix("/api/v1").unwrap(), "text/plain", Body::empty()).await;
    assert_eq!((status, text.matches("BEGIN:VEVENT").count()), (StatusCode::OK, 5000));
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn calendar_feed_shows_visible_entities_until_it_is_revoked(pool: PgPool) {
    let router = build_router(&pool).await;
    let (admin, editor) = (ApiClient::sign_in(&router, "admin").await, ApiClient::sign_in(&router, "editor").await);
    let project = create_project(&admin, "Dated").await;
    let user = editor.get("/auth/me").await.body;
    let today = jiff::Zoned::now().date().to_string();
    for (name, due, is_assigned) in
        [("Mine, now", today.as_str(), true), ("Not assigned", today.as_str(), false), ("Long ago", "2001-01-01", true)]
    {
        let assignees = if is_assigned { json!([user["id"]]) } else { json!([]) };
        let created = admin
            .post(
                "/task",
                json!({"name": name, "project_id": project, "due_date": due, "assignee__employee_ids": assignees}),
            )
            .await;
        assert_eq!(created.status, StatusCode::CREATED, "{}", created.body);
    }
    let grant = json!({"person_id": user["personId"], "entity_code": "project", "entity_instance_id": project, "permission": 0});
    let grant = admin.post("/entity_rbac", grant).await.body["id"].as_str().unwrap().to_owned();
    let anonymous = ApiClient { router: router.clone(), token: String::new() };
    let own_feed = editor.post("/calendar_feed", json!({})).await;
    assert_eq!(own_feed.status, StatusCode::CREATED, "{}", own_feed.body);
    let project_feed = editor.post("/calendar_feed", json!({"entity": "project", "id": project})).await;
    let feed_path =
        |created: &ApiResponse| created.body["path"].as_str().unwrap().strip_prefix("/api/v1").unwrap().to_owned();
    let (status, text, headers) = send(&anonymous, "GET", &feed_path(&own_feed), "text/plain", Body::empty()).await;
    assert_eq!((status, headers["content-type"].to_str().unwrap()), (StatusCode::OK, "text/calendar; charset=utf-8"));
    assert!(
        text.contains("SUMMARY:Mine\\, now\r\n") && !text.contains("Not assigned") && !text.contains("Long ago"),
        "{text}"
    );
    let (_, text, _) = send(&anonymous, "GET", &feed_path(&project_feed), "text/plain", Body::empty()).await;
    assert!(text.contains("X-WR-CALNAME:Dated") && text.contains("Not assigned"), "{text}");
    let list = editor.get("/calendar_feed").await.body;
    assert_eq!(list["data"].as_array().unwrap().len(), 2);
    assert!(!list.to_string().contains(&feed_path(&own_feed)[10..40]), "the secret URL is returned only once");
    assert_eq!(admin.get("/calendar_feed").await.body["data"], json!([]));
    // After the grant is revoked, the feed no longer contains the project.
    admin.send("DELETE", &format!("/entity_rbac/{grant}"), None, &[]).await;
    assert_eq!(
        send(&anonymous, "GET", &feed_path(&project_feed), "text/plain", Body::empty()).await.0,
        StatusCode::NOT_FOUND
    );
    assert!(!send(&anonymous, "GET", &feed_path(&own_feed), "text/plain", Body::empty()).await.1.contains("Mine"));
    let id = own_feed.body["id"].as_str().unwrap();
    assert_eq!(
        admin.send("DELETE", &format!("/calendar_feed/{id}"), None, &[]).await.status,
        StatusCode::NOT_FOUND,
        "the feed belongs to another user"
    );
    assert_eq!(editor.send("DELETE", &format!("/calendar_feed/{id}"), None, &[]).await.status, StatusCode::NO_CONTENT);
    for invalid_path in [feed_path(&own_feed), "/calendar/nothing.ics".to_owned()] {
        assert_eq!(send(&anonymous, "GET", &invalid_path, "text/plain", Body::empty()).await.0, StatusCode::NOT_FOUND);
    }
    let entity_path = format!("/calendar/{}", Uuid::now_v7());
    let (status, ..) = send(&anonymous, "GET", &entity_path, "text/plain", Body::empty()).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "an id names an entity of the type calendar");
    assert_eq!(
        editor.post("/calendar_feed", json!({"entity": "project", "id": project})).await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        editor.post("/calendar_feed", json!({"entity": "project"})).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn import_of_an_export_preserves_references_that_the_file_cannot_express(pool: PgPool) {
    let router = build_router(&pool).await;
    let (admin, editor) = (ApiClient::sign_in(&router, "admin").await, ApiClient::sign_in(&router, "editor").await);
    let project = create_project(&admin, "Round").await;
    let person: Uuid = sqlx::query_scalar("select id from app.person where email = 'editor@pmo.example'")
        .fetch_one(&pool)
        .await
        .unwrap();
    admin
        .post(
            "/entity_rbac",
            json!({"person_id": person, "entity_code": "project", "entity_instance_id": project, "permission": 3}),
        )
        .await;
    // Two employees of the same name, a deleted one, and one that the editor cannot see.
    let create_employee = |name: &str| {
        let (pool, name) = (pool.clone(), name.to_owned());
        async move {
            sqlx::query_scalar::<_, Uuid>("insert into app.employee (name) values ($1) returning id")
                .bind(name)
                .fetch_one(&pool)
                .await
                .unwrap()
        }
    };
    let (twin, _other, deleted) =
        (create_employee("Twin Same").await, create_employee("Twin Same").await, create_employee("Left Already").await);
    let hidden = create_employee("Hidden Person").await;
    let task = admin
        .post(
            "/task",
            json!({"name": "t", "code": "RT-1", "project_id": project, "assignee__employee_ids": [twin, deleted, hidden]}),
        )
        .await;
    assert_eq!(task.status, 201, "{}", task.body);
    let path = format!("/task/{}", task.body["id"].as_str().unwrap());
    sqlx::query("select app.soft_delete('employee', $1)").bind(deleted).execute(&pool).await.unwrap();
    sqlx::query("insert into app.entity_rbac (person_id, entity_code, entity_instance_id, permission, is_deny) values ($1, 'employee', $2, 0, true)").bind(person).bind(hidden).execute(&pool).await.unwrap();
    let assignees = || async { admin.get(&path).await.body["assignee__employee_ids"].clone() };
    for client in [&admin, &editor] {
        let csv = export(
            client,
            &format!("/task/export?project_id={project}&fields=code,name,assignee__employee_ids,project_id"),
        )
        .await;
        let (status, report) = import(client, "/task/import", csv.clone()).await;
        assert_eq!((status, &report["unchanged"]), (StatusCode::CREATED, &json!(1)), "{csv}\n{report}");
        assert_eq!(assignees().await, json!([twin, deleted, hidden]));
    }
    // The references that the file can express are replaced: the omitted employee is removed, the
    // hidden one stays.
    let (status, report) = import(&editor, "/task/import", "code,assignee__employee_ids\nrt-1,Twin Same\n").await;
    assert_eq!((status, &report["changed"]), (StatusCode::CREATED, &json!(1)), "{report}");
    let current = assignees().await;
    assert!(
        current.as_array().unwrap().contains(&json!(hidden)) && !current.as_array().unwrap().contains(&json!(deleted)),
        "{current}"
    );
    assert_eq!(admin.get(&path).await.body["code"], "RT-1", "the spelling of the code stays unchanged");
    // An ambiguous name is rejected unless the row already refers to one of the matches.
    admin.post("/task", json!({"name": "u", "code": "RT-2", "project_id": project})).await;
    let (status, rejected) = import(&admin, "/task/import", "code,assignee__employee_ids\nRT-2,Twin Same\n").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{rejected}");
    let (status, rejected) = import(&admin, "/task/import", "code,estimated_hours\nRT-2,\"1,500\"\n").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{rejected}");
    assert!(rejected["errors"][0]["message"].as_str().unwrap().contains("1500 or 1.500"), "{rejected}");
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn export_by_parent_includes_linked_children(pool: PgPool) {
    let router = build_router(&pool).await;
    let (admin, outsider) = (ApiClient::sign_in(&router, "admin").await, ApiClient::sign_in(&router, "outsider").await);
    let project = create_project(&admin, "Linked").await;
    let risk =
        admin.post("/risk", json!({"name": "r", "project_id": project})).await.body["id"].as_str().unwrap().to_owned();
    let mut tasks = Vec::new();
    for name in ["linked", "free"] {
        tasks.push(
            admin.post("/task", json!({"name": name, "project_id": project})).await.body["id"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    let link = json!({"parent_code": "risk", "parent_id": risk, "child_code": "task", "child_id": tasks[0]});
    assert_eq!(admin.post("/entity_instance_link", link).await.status, 201);
    let csv = export(&admin, &format!("/task/export?fields=name&parent=risk:{risk}")).await;
    assert_eq!(csv.trim(), "name\r\nlinked");
    for (path, status) in
        [("parent=risk", 400), ("parent=nothing:x", 400), ("parent=office:01a2056d-3563-7049-ab62-bfe1ca58ce3f", 400)]
    {
        let (actual_status, text, _) =
            send(&admin, "GET", &format!("/task/export?{path}"), "text/plain", Body::empty()).await;
        assert_eq!(actual_status.as_u16(), status, "{text}");
    }
    let (actual_status, ..) =
        send(&outsider, "GET", &format!("/task/export?parent=risk:{risk}"), "text/plain", Body::empty()).await;
    assert_eq!(actual_status, StatusCode::NOT_FOUND);
}
