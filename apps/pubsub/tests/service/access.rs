//! Tests of access changes: they are pushed immediately, and only to affected users.

use crate::service::Server;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn grant_changes_are_pushed_immediately(pool: PgPool) {
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
    server.rename("task", task, "without access").await;
    server.wait_until_read().await;
    client.quiet().await;
    server.grant(person, project, 0).await;
    while client.next("INVALIDATE").await["changes"][0]["action"] != "CREATE" {}
    client.next("ACCESS").await;
    server.rename("task", task, "with access").await;
    // Changes made without access may be delivered after the new grant; the latest one comes last.
    while client.next("INVALIDATE").await["changes"][0]["version"] != 3 {}
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn expired_grants_end_without_a_write(pool: PgPool) {
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
    // The update of the grant is a log row, its expiry is not: on a slow machine both take effect
    // in one poll.
    while client.next("INVALIDATE").await["changes"][0]["action"] != "REVOKE" {}
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn moving_a_project_notifies_only_users_who_lose_access(pool: PgPool) {
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
    let (source, target) = (business("source").await, business("target").await);
    let (project, other) = (server.project().await, server.project().await);
    let task = server.task(project).await;
    sqlx::query("update app.project set business_id = $2 where id = $1")
        .bind(project)
        .bind(source)
        .execute(&pool)
        .await
        .unwrap();
    let (loses, keeps) = (server.person(None).await, server.person(Some((other, 0))).await);
    for (person, on) in [(loses, source), (keeps, source), (keeps, target)] {
        sqlx::query("insert into app.entity_rbac (person_id, entity_code, entity_instance_id, permission, inheritance_mode) values ($1, 'business', $2, 0, $3)")
            .bind(person).bind(on).bind(if person == loses { "cascade" } else { "none" }).execute(&pool).await.unwrap();
    }
    let (mut first, mut second) = (server.connect(loses).await, server.connect(keeps).await);
    assert_eq!(first.subscribe(json!({"entityCode": "task", "entityIds": [task]})).await["count"], 1);
    second.subscribe(json!({"entityCode": "project", "entityIds": [other]})).await;
    server.wait_until_read().await;
    second.quiet().await;
    sqlx::query("update app.project set business_id = $2 where id = $1")
        .bind(project)
        .bind(target)
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(
        first.next("INVALIDATE").await["changes"],
        json!([{"entityId": task, "action": "REVOKE", "version": 0}])
    );
    first.next("ACCESS").await;
    server.wait_until_read().await;
    // A grant without inheritance does not apply to children, so this user is not affected.
    second.only_pong().await;
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn creator_grants_trigger_no_revalidation(pool: PgPool) {
    let server = Server::start(&pool).await;
    let person = server.person(None).await;
    let mut client = server.connect(person).await;
    client.subscribe(json!({"entityCode": "project"})).await;
    let mut transaction = pool.begin().await.unwrap();
    let created: Uuid = sqlx::query_scalar("insert into app.project (name) values ('mine') returning id")
        .fetch_one(&mut *transaction)
        .await
        .unwrap();
    pmo_database::permission::grant_owner(
        &mut transaction,
        pmo_domain::PersonId(person),
        &pmo_domain::EntityCode::new("project").unwrap(),
        created,
    )
    .await
    .unwrap();
    transaction.commit().await.unwrap();
    // The change of the own entity must come first, without a preceding ACCESS.
    let Message::Text(text) = client.frame().await else { panic!("a text frame") };
    let message: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&message["type"], &message["payload"]["changes"][0]["entityId"]),
        (&json!("INVALIDATE"), &json!(created))
    );
    server.wait_until_read().await;
    client.only_pong().await;
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn grants_on_invisible_entities_are_not_disclosed(pool: PgPool) {
    let server = Server::start(&pool).await;
    let (mine, secret) = (server.project().await, server.project().await);
    let person = server.person(Some((mine, 0))).await;
    let mut client = server.connect(person).await;
    client.subscribe(json!({"entityCode": "project"})).await;
    client.quiet().await;
    // In one transaction, a role without this person gets a grant on the secret project.
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
    server.wait_until_read().await;
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
async fn creating_a_linked_child_triggers_no_revalidation(pool: PgPool) {
    let server = Server::start(&pool).await;
    let project = server.project().await;
    let mut client = server.connect(server.person(Some((project, 0))).await).await;
    client.subscribe(json!({"entityCode": "project", "entityIds": [project]})).await;
    client.quiet().await;
    let mut transaction = pool.begin().await.unwrap();
    let created: Uuid = sqlx::query_scalar("insert into app.wiki (name) values ('w') returning id")
        .fetch_one(&mut *transaction)
        .await
        .unwrap();
    sqlx::query("insert into app.entity_instance_link (parent_code, parent_id, child_code, child_id, owned) values ('project', $1, 'wiki', $2, true)")
        .bind(project)
        .bind(created)
        .execute(&mut *transaction)
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    server.wait_until_read().await;
    client.only_pong().await;
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn many_new_ancestor_sets_do_not_hide_a_revocation(pool: PgPool) {
    let server = Server::start(&pool).await;
    let project = server.project().await;
    let person = server.person(None).await;
    let grant = server.grant(person, project, 0).await;
    let mut client = server.connect(person).await;
    client.subscribe(json!({"entityCode": "project", "entityIds": [project]})).await;
    client.quiet().await;
    let mut transaction = pool.begin().await.unwrap();
    sqlx::query("insert into app.access_change (new_ancestor_set_id) select -n from generate_series(1, 6000) n")
        .execute(&mut *transaction)
        .await
        .unwrap();
    sqlx::query("delete from app.entity_rbac where id = $1").bind(grant).execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(client.next("INVALIDATE").await["changes"][0]["action"], "REVOKE");
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn leaving_a_role_or_deactivation_revokes_access_immediately(pool: PgPool) {
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
    let subscribed = client.subscribe(json!({"entityCode": "project", "entityIds": [by_role, own]})).await;
    assert_eq!(subscribed["count"], 2);
    let assert_revoked = |payload: Value, id: Uuid| {
        assert_eq!(payload["changes"], json!([{"entityId": id, "action": "REVOKE", "version": 0}]));
    };
    sqlx::query("delete from app.entity_instance_link where parent_id = $1").bind(role).execute(&pool).await.unwrap();
    assert_revoked(client.next("INVALIDATE").await, by_role);
    client.next("ACCESS").await;
    sqlx::query("update app.person set active_flag = false where id = $1").bind(person).execute(&pool).await.unwrap();
    assert_revoked(client.next("INVALIDATE").await, own);
    client.next("ACCESS").await;
}
