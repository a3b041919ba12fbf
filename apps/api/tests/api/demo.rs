//! Demo data endpoint.

use crate::harness::*;

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn administrator_loads_demo_data_once_without_usable_demo_accounts(pool: PgPool) {
    let jwt_secret = jwt_secret();
    let config = Config::parse_from(["pmo-api", "--jwt-secret", &jwt_secret, "--web-dist", "/nonexistent"]);
    let router = pmo_api::router(AppState::new(pool.clone(), config).await.unwrap());
    let mut transaction = pmo_database::begin(&pool, &pmo_database::Actor::default()).await.unwrap();
    let person = pmo_database::bootstrap::add_administrator(&mut transaction, "first@office.example").await.unwrap();
    transaction.commit().await.unwrap();
    let administrator = ApiClient::for_person(&router, person);
    assert_eq!(administrator.get("/project").await.body["total"], 0);
    let loaded = administrator.send("POST", "/demo", None, &[]).await;
    assert_eq!(loaded.status, StatusCode::CREATED, "{}", loaded.body);
    let projects = administrator.get("/project?limit=1000").await.body["data"].as_array().unwrap().len();
    assert_eq!(loaded.body["loaded"]["projects"].as_u64().unwrap() as usize, projects);
    assert_eq!(
        administrator.send("POST", "/demo", None, &[]).await.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "demo data is loaded only once"
    );
    for email in seed::DEMO_ACCOUNTS {
        assert_eq!(login(&router, email, DEMO_PASSWORD).await.status, StatusCode::UNAUTHORIZED, "{email}");
    }
}
