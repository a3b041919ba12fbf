//! Import of plans in Microsoft Project XML.

use crate::harness::*;

fn import_request(client: &ApiClient, body: impl Into<Body>) -> Request<Body> {
    Request::post("/api/v1/project/import")
        .header("authorization", format!("Bearer {}", client.token))
        .header("content-type", "application/xml")
        .body(body.into())
        .unwrap()
}

async fn count_projects(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from app.project").fetch_one(pool).await.unwrap()
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn sample_plan_is_imported_completely(pool: PgPool) {
    let router = build_router(&pool).await;
    let editor = ApiClient::sign_in(&router, "editor").await;
    let plan = std::fs::read("../../db/samples/website-relaunch.mspdi.xml").unwrap();
    let response = send_request(&router, import_request(&editor, plan)).await;
    assert_eq!(response.status, StatusCode::CREATED, "{}", response.body);
    let (report, imported) = (&response.body["report"], &response.body["report"]["imported"]);
    assert_eq!((&report["taken"], &report["left_out"]), (imported, &report["skipped"]), "deprecated names");
    assert!(
        imported["tasks"].as_i64().unwrap() >= 55
            && imported["links"].as_i64().unwrap() >= 30
            && imported["milestones"].as_i64().unwrap() >= 5,
        "{imported}"
    );
    let id = response.body["project"]["id"].as_str().unwrap();
    let tasks = editor.get(&format!("/project/{id}/task?limit=1000")).await.body;
    assert_eq!(tasks["total"], imported["tasks"]);
    assert_eq!(editor.get(&format!("/project/{id}/task_dependency")).await.body["total"], imported["links"]);
    assert!(
        tasks["data"]
            .as_array()
            .unwrap()
            .iter()
            .any(|t| !t["parent__task_id"].is_null() && t["duration_days"].as_f64().unwrap() > 0.0)
    );
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn real_release_plan_is_imported_completely(pool: PgPool) {
    let Ok(plan) = std::fs::read("../../../shared/data/fedora-20.mspdi.xml") else {
        println!("SKIPPED: ../shared/data/fedora-20.mspdi.xml does not exist");
        return;
    };
    let router = build_router(&pool).await;
    let editor = ApiClient::sign_in(&router, "editor").await;
    let before = count_projects(&pool).await;
    let response = send_request(&router, import_request(&editor, plan)).await;
    assert_eq!(response.status, StatusCode::CREATED, "{}", response.body);
    let imported = &response.body["report"]["imported"];
    assert_eq!(
        (&imported["tasks"], &imported["links"], &imported["milestones"], &imported["summaries"]),
        (&json!(414), &json!(369), &json!(223), &json!(34))
    );
    assert_eq!(count_projects(&pool).await, before + 1);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn invalid_plan_is_rejected_and_imports_nothing(pool: PgPool) {
    let router = build_router(&pool).await;
    let (editor, viewer) = (ApiClient::sign_in(&router, "editor").await, ApiClient::sign_in(&router, "viewer").await);
    let before = count_projects(&pool).await;
    let plan = std::fs::read_to_string("../../db/samples/website-relaunch.mspdi.xml").unwrap();
    let truncated = plan[..plan.len() / 2].to_owned();
    let entity_expansion =
        "<?xml version=\"1.0\"?><!DOCTYPE b [<!ENTITY a \"aaaa\">]><Project>&a;</Project>".to_owned();
    let dangling_link = plan.replacen("<PredecessorUID>", "<PredecessorUID>9999", 1);
    for (name, body, status) in [
        ("truncated", truncated, 422),
        ("entity expansion", entity_expansion, 422),
        ("dangling link", dangling_link, 422),
        ("empty", String::new(), 422),
        ("large", " ".repeat(5 << 20), 413),
    ] {
        let response = send_request(&router, import_request(&editor, body)).await;
        assert_eq!(response.status, status, "{name}: {}", response.body);
        assert_eq!(response.headers[header::CONTENT_TYPE], "application/problem+json", "{name}");
    }
    assert_eq!(send_request(&router, import_request(&viewer, plan)).await.status, StatusCode::FORBIDDEN);
    assert_eq!(count_projects(&pool).await, before);
    let tasks: i64 = sqlx::query_scalar("select count(*) from app.task where metadata ? 'mspdi_uid'")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(tasks, 0);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn plan_of_several_megabytes_is_accepted_as_a_form(pool: PgPool) {
    let router = build_router(&pool).await;
    let editor = ApiClient::sign_in(&router, "editor").await;
    let plan = std::fs::read_to_string("../../db/samples/website-relaunch.mspdi.xml").unwrap();
    let padded = plan.replacen("<Tasks>", &format!("<!--{}--><Tasks>", "x".repeat(3 << 20)), 1);
    let form_request = |plan: &str| {
        let body = format!(
            "--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"p.xml\"\r\n\r\n{plan}\r\n--b--\r\n"
        );
        Request::post("/api/v1/project/import")
            .header("authorization", format!("Bearer {}", editor.token))
            .header("content-type", "multipart/form-data; boundary=b")
            .body(Body::from(body))
            .unwrap()
    };
    let response = send_request(&router, form_request(&padded)).await;
    assert_eq!(response.status, StatusCode::CREATED, "{}", response.body);
    assert_eq!(response.body["report"]["imported"]["tasks"], 60);
    assert_eq!(send_request(&router, form_request(&"x".repeat(5 << 20))).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}
