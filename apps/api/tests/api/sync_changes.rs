//! Changes since a cursor, polled without a WebSocket.

use crate::harness::*;

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn changes_can_be_polled_without_a_socket(pool: PgPool) {
    let router = build_router(&pool).await;
    let (admin, viewer, outsider) = (
        ApiClient::sign_in(&router, "admin").await,
        ApiClient::sign_in(&router, "viewer").await,
        ApiClient::sign_in(&router, "outsider").await,
    );
    let initial = viewer.get("/sync/changes").await.body;
    assert_eq!(initial["recovered"], false, "no cursor to resume from");
    let cursor = initial["cursor"].as_str().unwrap().to_owned();
    let changes_path = |cursor: &str| format!("/sync/changes?cursor={cursor}");
    let task = viewer.get("/task?limit=1&fields=name").await.body["data"][0]["id"].as_str().unwrap().to_owned();
    for n in 0..3 {
        admin.patch(&format!("/task/{task}"), json!({"name": format!("changed {n}")})).await;
    }
    let changes = viewer.get(&changes_path(&cursor)).await.body;
    let change = json!({"entityId": task, "action": "UPDATE", "version": 4});
    assert_eq!(
        changes["data"],
        json!([{"entityCode": "task", "changes": [change]}]),
        "three changes are coalesced into one"
    );
    assert_eq!((&changes["recovered"], &changes["access"]), (&json!(true), &json!(false)));
    assert_eq!(
        outsider.get(&changes_path(&cursor)).await.body["data"],
        json!([]),
        "changes of hidden entities are not returned"
    );
    // Polling from the returned cursor misses nothing. Transactions that were in progress then may
    // be returned twice.
    let next = viewer.get(&changes_path(changes["cursor"].as_str().unwrap())).await.body;
    assert_eq!(next["recovered"], true);
    sqlx::query("delete from app.entity_rbac where person_id = (select id from app.person where email = 'viewer@pmo.example') and entity_code = 'business'")
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(viewer.get(&changes_path(next["cursor"].as_str().unwrap())).await.body["access"], true);
    assert_eq!(
        viewer.get("/sync/changes?cursor=9.1").await.body["recovered"],
        false,
        "the cursor is of another database"
    );
    assert_eq!(viewer.get("/sync/changes?cursor=nonsense").await.status, StatusCode::BAD_REQUEST);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn client_with_too_many_missed_changes_must_start_over(pool: PgPool) {
    use pmo_database::change_log::BATCH_ROWS;
    use pmo_domain::change_log::MAX_CATCH_UP_BATCHES;
    let router = build_router(&pool).await;
    let viewer = ApiClient::sign_in(&router, "viewer").await;
    for (rows, recovered) in [(MAX_CATCH_UP_BATCHES * BATCH_ROWS - 1, true), (MAX_CATCH_UP_BATCHES * BATCH_ROWS, false)]
    {
        let cursor = viewer.get("/sync/changes").await.body["cursor"].as_str().unwrap().to_owned();
        sqlx::query("insert into app.system_logging (entity_code, entity_id, action, epoch) select 'project', gen_random_uuid(), 3, coalesce((select epoch from app.feed_epoch), 1) from generate_series(1, $1)")
            .bind(i64::try_from(rows).unwrap())
            .execute(&pool)
            .await
            .unwrap();
        let changes = viewer.get(&format!("/sync/changes?cursor={cursor}")).await.body;
        assert_eq!(changes["recovered"], recovered, "{rows} rows");
    }
}
