//! Who is let in.

use crate::harness::*;

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn only_the_right_password_opens_and_the_answer_never_says_which_was_wrong(pool: PgPool) {
    let router = router(&pool).await;
    let wrong = login(&router, "editor@pmo.example", "nope").await;
    let nobody = login(&router, "nobody@pmo.example", "nope").await;
    assert_eq!((wrong.status, nobody.status), (StatusCode::UNAUTHORIZED, StatusCode::UNAUTHORIZED));
    assert_eq!(wrong.body, nobody.body);
    let good = login(&router, "EDITOR@pmo.example", DEMO_PASSWORD).await;
    assert_eq!(good.body["user"]["email"], "editor@pmo.example");
    let cookie = good.headers[header::SET_COOKIE].to_str().unwrap();
    for word in ["HttpOnly", "SameSite=Strict", "Path=/api/v1/auth"] {
        assert!(cookie.contains(word), "{cookie}");
    }
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn sign_in_is_rate_limited(pool: PgPool) {
    // So few that none comes back while the test runs, however slow the machine.
    let router = router_with(&pool, &["--sign-in-per-minute", "2"]).await;
    for _ in 0..4 {
        let answer = login(&router, "viewer@pmo.example\0", "nope").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "a hostile text is no attempt on an account");
    }
    let mut tries = 0;
    while login(&router, "viewer@pmo.example", "").await.status != StatusCode::TOO_MANY_REQUESTS {
        tries += 1;
        assert!(tries < 20, "nobody is stopped");
    }
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_refresh_token_rotates_a_repeat_gets_the_same_and_a_late_reuse_ends_the_family(pool: PgPool) {
    let router = router(&pool).await;
    let cookie_of =
        |answer: &Answer| answer.headers[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
    let refresh = |cookie: String| {
        let router = router.clone();
        async move {
            ask(&router, Request::post("/api/v1/auth/refresh").header("cookie", cookie).body(Body::empty()).unwrap())
                .await
        }
    };
    let first = cookie_of(&login(&router, "editor@pmo.example", DEMO_PASSWORD).await);
    let (one, two) = (refresh(first.clone()).await, refresh(first.clone()).await);
    assert_eq!((one.status, cookie_of(&one)), (StatusCode::OK, cookie_of(&two)));
    sqlx::query("update app.refresh_token set rotated_ts = now() - interval '1 minute' where rotated_ts is not null")
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(refresh(first).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(refresh(cookie_of(&one)).await.status, StatusCode::UNAUTHORIZED, "the successor went with its family");
    let foreign = ask(
        &router,
        Request::post("/api/v1/auth/refresh").header("sec-fetch-site", "cross-site").body(Body::empty()).unwrap(),
    )
    .await;
    assert_eq!(foreign.status, StatusCode::FORBIDDEN);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn everything_but_health_sign_in_and_the_description_asks_who_is_there(pool: PgPool) {
    let router = router(&pool).await;
    for path in [
        "/project",
        "/project/00000000-0000-0000-0000-000000000000",
        "/entity/codes",
        "/datalabel/all",
        "/settings/global",
        "/auth/me",
    ] {
        let answer = ask(&router, Request::get(format!("/api/v1{path}")).body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(answer.headers[header::CONTENT_TYPE], "application/problem+json");
    }
    for path in ["/health", "/api/v1/openapi.json", "/api/v1/docs"] {
        assert_eq!(
            ask(&router, Request::get(path).body(Body::empty()).unwrap()).await.status,
            StatusCode::OK,
            "{path}"
        );
    }
}
