//! What people may see, and cease to: told at once, to whom it concerns and to nobody else.

use crate::service::Server;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_grant_taken_back_is_pushed_at_once_and_so_is_a_new_one(pool: PgPool) {
    let server = Server::start(&pool).await;
    let project = server.project().await;
    let person = server.person(None).await;
    let grant = server.grant(person, project, 0).await;
    let task = server.task(project).await;
    let mut client = server.connect(person).await;
    client.subscribe(json!({"entityCode": "task", "entityIds": [task]})).await;
    sqlx::query("delete from app.entity_rbac where id = $1").bind(grant).execute(&pool).await.unwrap();
    assert_eq!(
        client.next("INVALIDATE").await["changes"],
        json!([{"entityId": task, "action": "REVOKE", "version": 0}])
    );
    client.next("ACCESS").await;
    server.rename("task", task, "unseen").await;
    server.settled().await;
    client.quiet().await;
    server.grant(person, project, 0).await;
    while client.next("INVALIDATE").await["changes"][0]["action"] != "CREATE" {}
    client.next("ACCESS").await;
    server.rename("task", task, "seen").await;
    // What was written while it was out of sight may be told now, as it is in sight again; the newest comes last.
    while client.next("INVALIDATE").await["changes"][0]["version"] != 3 {}
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_grant_that_runs_out_ends_with_nobody_writing(pool: PgPool) {
    let server = Server::start(&pool).await;
    let project = server.project().await;
    let person = server.person(None).await;
    let grant = server.grant(person, project, 0).await;
    let mut client = server.connect(person).await;
    client.subscribe(json!({"entityCode": "project", "entityIds": [project]})).await;
    sqlx::query("update app.entity_rbac set expires_ts = now() + interval '700 milliseconds' where id = $1")
        .bind(grant)
        .execute(&pool)
        .await
        .unwrap();
    // The change of the grant is a row of the log, its end is none: on a slow machine both come in one look.
    while client.next("INVALIDATE").await["changes"][0]["action"] != "REVOKE" {}
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_project_moved_out_of_sight_is_told_to_those_who_lose_it_and_to_nobody_else(pool: PgPool) {
    let server = Server::start(&pool).await;
    let business = |name: &'static str| {
        let pool = pool.clone();
        async move {
            sqlx::query_scalar::<_, Uuid>("insert into app.business (name) values ($1) returning id")
                .bind(name)
                .fetch_one(&pool)
                .await
                .unwrap()
        }
    };
    let (here, there) = (business("here").await, business("there").await);
    let (project, other) = (server.project().await, server.project().await);
    let task = server.task(project).await;
    sqlx::query("update app.project set business_id = $2 where id = $1")
        .bind(project)
        .bind(here)
        .execute(&pool)
        .await
        .unwrap();
    let (loses, keeps) = (server.person(None).await, server.person(Some((other, 0))).await);
    for (person, on) in [(loses, here), (keeps, here), (keeps, there)] {
        sqlx::query("insert into app.entity_rbac (person_id, entity_code, entity_instance_id, permission, inheritance_mode) values ($1, 'business', $2, 0, $3)")
            .bind(person).bind(on).bind(if person == loses { "cascade" } else { "none" }).execute(&pool).await.unwrap();
    }
    let (mut first, mut second) = (server.connect(loses).await, server.connect(keeps).await);
    assert_eq!(first.subscribe(json!({"entityCode": "task", "entityIds": [task]})).await["count"], 1);
    second.subscribe(json!({"entityCode": "project", "entityIds": [other]})).await;
    server.settled().await;
    second.quiet().await;
    sqlx::query("update app.project set business_id = $2 where id = $1")
        .bind(project)
        .bind(there)
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(
        first.next("INVALIDATE").await["changes"],
        json!([{"entityId": task, "action": "REVOKE", "version": 0}])
    );
    first.next("ACCESS").await;
    server.settled().await;
    // What is granted without going down is on no way.
    second.only_pong().await;
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn making_things_tells_nobody_to_sweep(pool: PgPool) {
    let server = Server::start(&pool).await;
    let person = server.person(None).await;
    let mut client = server.connect(person).await;
    client.subscribe(json!({"entityCode": "project"})).await;
    let mut transaction = pool.begin().await.unwrap();
    let made: Uuid = sqlx::query_scalar("insert into app.project (name) values ('mine') returning id")
        .fetch_one(&mut *transaction)
        .await
        .unwrap();
    pmo_database::permission::grant_owner(
        &mut transaction,
        pmo_domain::PersonId(person),
        &pmo_domain::EntityCode::new("project").unwrap(),
        made,
    )
    .await
    .unwrap();
    transaction.commit().await.unwrap();
    // One's own, and so to be seen at once, with no other change of access told before it.
    let Message::Text(text) = client.frame().await else { panic!("a text frame") };
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&told["type"], &told["payload"]["changes"][0]["entityId"]), (&json!("INVALIDATE"), &json!(made)));
    server.settled().await;
    client.only_pong().await;
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn grants_of_others_on_hidden_things_are_told_to_nobody_else(pool: PgPool) {
    let server = Server::start(&pool).await;
    let (mine, secret) = (server.project().await, server.project().await);
    let person = server.person(Some((mine, 0))).await;
    let mut client = server.connect(person).await;
    client.subscribe(json!({"entityCode": "project"})).await;
    client.quiet().await;
    // One transaction: a role that has nothing to do with this person is let into the secret, and the person gets another grant.
    let mut transaction = pool.begin().await.unwrap();
    let role: Uuid = sqlx::query_scalar("insert into app.role (name) values ('board') returning id")
        .fetch_one(&mut *transaction)
        .await
        .unwrap();
    sqlx::query("insert into app.entity_rbac (role_id, entity_code, entity_instance_id, permission) values ($1, 'project', $2, 3)")
        .bind(role)
        .bind(secret)
        .execute(&mut *transaction)
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    server.settled().await;
    loop {
        client.send(json!({"type": "PING"})).await;
        let Message::Text(text) = client.frame().await else { panic!("a text frame") };
        assert!(!text.contains(&secret.to_string()), "{text}");
        if text.contains("PONG") {
            break;
        }
    }
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn what_is_made_below_a_thing_by_a_link_tells_nobody_to_sweep(pool: PgPool) {
    let server = Server::start(&pool).await;
    let project = server.project().await;
    let mut client = server.connect(server.person(Some((project, 0))).await).await;
    client.subscribe(json!({"entityCode": "project", "entityIds": [project]})).await;
    client.quiet().await;
    let mut transaction = pool.begin().await.unwrap();
    let made: Uuid = sqlx::query_scalar("insert into app.wiki (name) values ('w') returning id")
        .fetch_one(&mut *transaction)
        .await
        .unwrap();
    sqlx::query("insert into app.entity_instance_link (parent_code, parent_id, child_code, child_id, owned) values ('project', $1, 'wiki', $2, true)")
        .bind(project)
        .bind(made)
        .execute(&mut *transaction)
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    server.settled().await;
    client.only_pong().await;
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn many_new_places_hide_no_loss_of_access(pool: PgPool) {
    let server = Server::start(&pool).await;
    let project = server.project().await;
    let person = server.person(None).await;
    let grant = server.grant(person, project, 0).await;
    let mut client = server.connect(person).await;
    client.subscribe(json!({"entityCode": "project", "entityIds": [project]})).await;
    client.quiet().await;
    let mut transaction = pool.begin().await.unwrap();
    sqlx::query("insert into app.access_change (reach) select -n from generate_series(1, 6000) n")
        .execute(&mut *transaction)
        .await
        .unwrap();
    sqlx::query("delete from app.entity_rbac where id = $1").bind(grant).execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(client.next("INVALIDATE").await["changes"][0]["action"], "REVOKE");
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn who_leaves_a_role_or_the_house_loses_what_came_with_it_at_once(pool: PgPool) {
    let server = Server::start(&pool).await;
    let (by_role, own) = (server.project().await, server.project().await);
    let person = server.person(Some((own, 0))).await;
    let role: Uuid =
        sqlx::query_scalar("insert into app.role (name) values ('board') returning id").fetch_one(&pool).await.unwrap();
    sqlx::query("insert into app.entity_instance_link (parent_code, parent_id, child_code, child_id) values ('role', $1, 'person', $2)")
        .bind(role)
        .bind(person)
        .execute(&pool)
        .await
        .unwrap();
    sqlx::query("insert into app.entity_rbac (role_id, entity_code, entity_instance_id, permission) values ($1, 'project', $2, 0)")
        .bind(role)
        .bind(by_role)
        .execute(&pool)
        .await
        .unwrap();
    let mut client = server.connect(person).await;
    let done = client.subscribe(json!({"entityCode": "project", "entityIds": [by_role, own]})).await;
    assert_eq!(done["count"], 2);
    let revoked = |told: Value, id: Uuid| {
        assert_eq!(told["changes"], json!([{"entityId": id, "action": "REVOKE", "version": 0}]));
    };
    sqlx::query("delete from app.entity_instance_link where parent_id = $1").bind(role).execute(&pool).await.unwrap();
    revoked(client.next("INVALIDATE").await, by_role);
    client.next("ACCESS").await;
    sqlx::query("update app.person set active_flag = false where id = $1").bind(person).execute(&pool).await.unwrap();
    revoked(client.next("INVALIDATE").await, own);
    client.next("ACCESS").await;
}
