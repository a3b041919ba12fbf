//! Plans from files.

use crate::harness::*;

fn upload(api: &Api, body: impl Into<Body>) -> Request<Body> {
    Request::post("/api/v1/project/import")
        .header("authorization", format!("Bearer {}", api.token))
        .header("content-type", "application/xml")
        .body(body.into())
        .unwrap()
}

async fn projects(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from app.project").fetch_one(pool).await.unwrap()
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn the_sample_plan_arrives_whole(pool: PgPool) {
    let router = router(&pool).await;
    let editor = Api::of(&router, "editor").await;
    let plan = std::fs::read("../../db/samples/website-relaunch.mspdi.xml").unwrap();
    let answer = ask(&router, upload(&editor, plan)).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    let taken = &answer.body["report"]["taken"];
    assert!(
        taken["tasks"].as_i64().unwrap() >= 55
            && taken["links"].as_i64().unwrap() >= 30
            && taken["milestones"].as_i64().unwrap() >= 5,
        "{taken}"
    );
    let id = answer.body["project"]["id"].as_str().unwrap();
    let tasks = editor.get(&format!("/project/{id}/task?limit=1000")).await.body;
    assert_eq!(tasks["total"], taken["tasks"]);
    assert_eq!(editor.get(&format!("/project/{id}/task_dependency")).await.body["total"], taken["links"]);
    assert!(
        tasks["data"]
            .as_array()
            .unwrap()
            .iter()
            .any(|t| !t["parent__task_id"].is_null() && t["duration_days"].as_f64().unwrap() > 0.0)
    );
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_real_release_plan_arrives_whole(pool: PgPool) {
    let Ok(plan) = std::fs::read("../../../shared/data/fedora-20.mspdi.xml") else {
        println!("SKIPPED: ../shared/data/fedora-20.mspdi.xml is not here");
        return;
    };
    let router = router(&pool).await;
    let editor = Api::of(&router, "editor").await;
    let before = projects(&pool).await;
    let answer = ask(&router, upload(&editor, plan)).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    let taken = &answer.body["report"]["taken"];
    assert_eq!(
        (&taken["tasks"], &taken["links"], &taken["milestones"], &taken["summaries"]),
        (&json!(414), &json!(369), &json!(223), &json!(34))
    );
    assert_eq!(projects(&pool).await, before + 1);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_plan_that_can_not_be_taken_whole_is_not_taken_at_all(pool: PgPool) {
    let router = router(&pool).await;
    let (editor, viewer) = (Api::of(&router, "editor").await, Api::of(&router, "viewer").await);
    let before = projects(&pool).await;
    let plan = std::fs::read_to_string("../../db/samples/website-relaunch.mspdi.xml").unwrap();
    let cut = plan[..plan.len() / 2].to_owned();
    let bomb = "<?xml version=\"1.0\"?><!DOCTYPE b [<!ENTITY a \"aaaa\">]><Project>&a;</Project>".to_owned();
    let dangling = plan.replacen("<PredecessorUID>", "<PredecessorUID>9999", 1);
    for (name, body, status) in [
        ("cut", cut, 422),
        ("bomb", bomb, 422),
        ("dangling", dangling, 422),
        ("empty", String::new(), 422),
        ("large", " ".repeat(5 << 20), 413),
    ] {
        let answer = ask(&router, upload(&editor, body)).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.body);
        assert_eq!(answer.headers[header::CONTENT_TYPE], "application/problem+json", "{name}");
    }
    assert_eq!(ask(&router, upload(&viewer, plan)).await.status, StatusCode::FORBIDDEN);
    assert_eq!(projects(&pool).await, before);
    let tasks: i64 = sqlx::query_scalar("select count(*) from app.task where metadata ? 'mspdi_uid'")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(tasks, 0);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_plan_of_some_megabytes_arrives_as_a_form_as_well(pool: PgPool) {
    let router = router(&pool).await;
    let editor = Api::of(&router, "editor").await;
    let plan = std::fs::read_to_string("../../db/samples/website-relaunch.mspdi.xml").unwrap();
    let padded = plan.replacen("<Tasks>", &format!("<!--{}--><Tasks>", "x".repeat(3 << 20)), 1);
    let form = |plan: &str| {
        let body = format!(
            "--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"p.xml\"\r\n\r\n{plan}\r\n--b--\r\n"
        );
        Request::post("/api/v1/project/import")
            .header("authorization", format!("Bearer {}", editor.token))
            .header("content-type", "multipart/form-data; boundary=b")
            .body(Body::from(body))
            .unwrap()
    };
    let answer = ask(&router, form(&padded)).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    assert_eq!(answer.body["report"]["taken"]["tasks"], 60);
    assert_eq!(ask(&router, form(&"x".repeat(5 << 20))).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}
