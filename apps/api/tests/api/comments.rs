//! Comments: who is named in one, who reacts to one.

use crate::harness::*;

async fn shared_project(router: &Router) -> (Api, String) {
    let admin = Api::of(router, "admin").await;
    let project = admin.post("/project", json!({"name": "Talked about"})).await.body["id"].as_str().unwrap().to_owned();
    for (who, level) in [("viewer", 1), ("editor", 3)] {
        let person = me(&Api::of(router, who).await).await;
        let grant =
            json!({"person_id": person, "entity_code": "project", "entity_instance_id": project, "permission": level});
        assert_eq!(admin.post("/entity_rbac", grant).await.status, StatusCode::CREATED);
    }
    (admin, project)
}

async fn me(who: &Api) -> String {
    who.get("/auth/me").await.body["personId"].as_str().unwrap().to_owned()
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn who_is_named_must_see_the_thing(pool: PgPool) {
    let router = router(&pool).await;
    let (admin, project) = shared_project(&router).await;
    let viewer = Api::of(&router, "viewer").await;
    let outsider = me(&Api::of(&router, "outsider").await).await;
    let say = |mentions: Vec<String>| json!({"body": "look", "about_code": "project", "about_uuid": project, "mentions": mentions});
    let refused = admin.post("/message", say(vec![outsider.clone()])).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(refused.body["errors"][0]["field"], "mentions");
    let words = refused.body["errors"][0]["message"].as_str().unwrap();
    assert!(words.contains("does not see this project") && words.contains("share it first"), "{words}");
    assert_eq!(admin.get(&format!("/project/{project}/message")).await.body["total"], 0, "nothing is half written");
    let said = admin.post("/message", say(vec![me(&viewer).await])).await;
    assert_eq!(said.status, StatusCode::CREATED, "{}", said.body);
    let id = said.body["id"].as_str().unwrap();
    let later = admin.patch(&format!("/message/{id}"), json!({"mentions": [me(&viewer).await, outsider]})).await;
    assert_eq!(later.status, StatusCode::UNPROCESSABLE_ENTITY, "nor may they be named afterwards");
    let names = |body: &Value| {
        body["data"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let seen = viewer.get(&format!("/project/{project}/audience")).await;
    assert_eq!(seen.status, StatusCode::OK, "{}", seen.body);
    assert!(seen.body["data"][0].get("permission").is_none(), "levels are for those who may share");
    let seen = admin.get(&format!("/project/{project}/audience?q=VIEW")).await.body;
    assert_eq!(names(&seen).len(), 1);
    assert_eq!(seen["data"][0]["permission"], 1);
    assert_eq!(names(&admin.get(&format!("/project/{project}/audience?q=outsider")).await.body), [] as [String; 0]);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn everybody_reacts_for_themselves_alone(pool: PgPool) {
    let router = router(&pool).await;
    let (admin, project) = shared_project(&router).await;
    let (viewer, editor) = (Api::of(&router, "viewer").await, Api::of(&router, "editor").await);
    let (v, e, a) = (me(&viewer).await, me(&editor).await, me(&admin).await);
    let said = admin.post("/message", json!({"body": "done", "about_code": "project", "about_uuid": project})).await;
    let message = format!("/message/{}", said.body["id"].as_str().unwrap());
    let react = |who: Api, reactions: Value| {
        let message = message.clone();
        async move { who.patch(&message, json!({"reactions": reactions})).await }
    };
    let api = |who: &Api| Api { router: who.router.clone(), token: who.token.clone() };
    assert_eq!(react(api(&viewer), json!({"👍": [v]})).await.status, StatusCode::OK, "whoever may comment may react");
    assert_eq!(react(api(&editor), json!({"👍": [v, e], "🎉": [e]})).await.status, StatusCode::OK);
    for (who, wrong) in [
        (&viewer, json!({"👍": [e]})),
        (&viewer, json!({"👍": [v, e, a], "🎉": [e]})),
        (&admin, json!({})),
        (&editor, json!({"👍": "all", "🎉": [e]})),
        (&editor, json!({"👍": [v, e], "🎉": [e], "a very long key indeed": [e]})),
        (&editor, json!([])),
    ] {
        let answer = react(api(who), wrong.clone()).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}: {}", answer.body);
    }
    assert_eq!(
        react(api(&viewer), json!({"👍": [e], "🎉": [e, v]})).await.status,
        StatusCode::OK,
        "taken back, and another"
    );
    assert_eq!(admin.get(&message).await.body["reactions"], json!({"👍": [e], "🎉": [e, v]}));
    assert_eq!(viewer.patch(&message, json!({"body": "not mine"})).await.status, StatusCode::FORBIDDEN);
    let forged = json!({"body": "x", "about_code": "project", "about_uuid": project, "reactions": {"👍": [v]}});
    assert_eq!(admin.post("/message", forged).await.status, StatusCode::UNPROCESSABLE_ENTITY);
}
