//! Full-text search.

use crate::harness::*;

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn search_finds_visible_entities_and_ranks_names_first(pool: PgPool) {
    let router = build_router(&pool).await;
    let (admin, outsider) = (ApiClient::sign_in(&router, "admin").await, ApiClient::sign_in(&router, "outsider").await);
    let (project, tasks) = create_plan(&admin).await;
    admin.patch(&format!("/task/{}", tasks[0]), json!({"name": "Paint the Gänseblümchen fence"})).await;
    admin.patch(&format!("/task/{}", tasks[1]), json!({"descr": "Before the fence is painted & <b>dried</b>."})).await;
    admin.post("/wiki", json!({"name": "Colors", "content": "A fence is green."})).await;
    let response = admin.get("/search?q=fence").await.body;
    let hits = response["data"].as_array().unwrap();
    assert_eq!(hits.len(), 3, "{response}");
    assert_eq!(
        (text_of(&hits[0]["id"]), text_of(&hits[0]["entity"])),
        (tasks[0].clone(), "task".into()),
        "a match in the name ranks above a match in a text"
    );
    assert_eq!(hits[0]["highlight"]["name"], json!([["Paint the Gänseblümchen ", false], ["fence", true]]));
    let description_hit = hits.iter().find(|hit| hit["id"] == tasks[1].as_str()).unwrap();
    assert!(
        description_hit["highlight"]["descr"].as_array().unwrap().iter().any(|part| part == &json!(["fence", true]))
    );
    assert_eq!(
        admin.get("/search?q=gänse%20paint").await.body["data"].as_array().unwrap().len(),
        1,
        "every term must match the beginning of a word"
    );
    assert_eq!(admin.get("/search?q=fence&entity=wiki").await.body["data"].as_array().unwrap().len(), 1);
    assert_eq!(outsider.get("/search?q=fence").await.body["data"], json!([]));
    admin.send("DELETE", &format!("/project/{project}"), None, &[]).await;
    assert_eq!(
        admin.get("/search?q=fence").await.body["data"].as_array().unwrap().len(),
        1,
        "deleted entities are not found"
    );
    for query in ["%27%29%3B", "%3A%2A%20%7C%20%21", "%00", "%F0%9F%A6%8A", "a%5C%27b", "%EE%80%80x%EE%80%81"] {
        let response = admin.get(&format!("/search?q={query}")).await;
        assert!(response.status.is_success() || response.status == 400, "{query}: {}", response.body);
    }
    assert_eq!(admin.get("/search?q=x&entity=nothing").await.status, 400);
    assert_eq!(admin.get("/search").await.status, 400);
}
