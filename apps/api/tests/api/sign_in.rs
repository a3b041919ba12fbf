//! Authentication: sign-in, rate limit, refresh tokens, routes without a sign-in.

use crate::harness::*;

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn sign_in_failure_is_identical_for_wrong_password_and_unknown_user(pool: PgPool) {
    let router = build_router(&pool).await;
    let wrong_password = login(&router, "editor@pmo.example", "nope").await;
    let unknown_user = login(&router, "nobody@pmo.example", "nope").await;
    assert_eq!((wrong_password.status, unknown_user.status), (StatusCode::UNAUTHORIZED, StatusCode::UNAUTHORIZED));
    assert_eq!(wrong_password.body, unknown_user.body);
    let signed_in = login(&router, "EDITOR@pmo.example", DEMO_PASSWORD).await;
    assert_eq!(signed_in.body["user"]["email"], "editor@pmo.example");
    let cookie = signed_in.headers[header::SET_COOKIE].to_str().unwrap();
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/api/v1/auth"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn sign_in_is_rate_limited(pool: PgPool) {
    // With two attempts per minute no permit is refilled while the test runs, even on a slow
    // machine.
    let router = build_router_with(&pool, &["--sign-in-per-minute", "2"]).await;
    for _ in 0..4 {
        let response = login(&router, "viewer@pmo.example\0", "nope").await;
        assert_eq!(response.status, StatusCode::UNAUTHORIZED, "an invalid email address does not count as an attempt");
    }
    let mut attempts = 0;
    while login(&router, "viewer@pmo.example", "").await.status != StatusCode::TOO_MANY_REQUESTS {
        attempts += 1;
        assert!(attempts < 20, "no attempt was rejected");
    }
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn refresh_token_rotates_and_late_reuse_revokes_the_family(pool: PgPool) {
    let router = build_router(&pool).await;
    let cookie_of = |response: &ApiResponse| {
        response.headers[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned()
    };
    let refresh = |cookie: String| {
        let router = router.clone();
        async move {
            send_request(
                &router,
                Request::post("/api/v1/auth/refresh").header("cookie", cookie).body(Body::empty()).unwrap(),
            )
            .await
        }
    };
    let first = cookie_of(&login(&router, "editor@pmo.example", DEMO_PASSWORD).await);
    let (rotated, repeated) = (refresh(first.clone()).await, refresh(first.clone()).await);
    assert_eq!((rotated.status, cookie_of(&rotated)), (StatusCode::OK, cookie_of(&repeated)));
    sqlx::query("update app.refresh_token set rotated_ts = now() - interval '1 minute' where rotated_ts is not null")
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(refresh(first).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        refresh(cookie_of(&rotated)).await.status,
        StatusCode::UNAUTHORIZED,
        "the successor is revoked with its family"
    );
    let cross_site = send_request(
        &router,
        Request::post("/api/v1/auth/refresh").header("sec-fetch-site", "cross-site").body(Body::empty()).unwrap(),
    )
    .await;
    assert_eq!(cross_site.status, StatusCode::FORBIDDEN);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn every_route_except_health_and_documentation_requires_a_sign_in(pool: PgPool) {
    let router = build_router(&pool).await;
    for path in [
        "/project",
        "/project/00000000-0000-0000-0000-000000000000",
        "/entity/codes",
        "/datalabel/all",
        "/settings/global",
        "/auth/me",
    ] {
        let response = send_request(&router, Request::get(format!("/api/v1{path}")).body(Body::empty()).unwrap()).await;
        assert_eq!(response.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(response.headers[header::CONTENT_TYPE], "application/problem+json");
    }
    for path in ["/health", "/api/v1/openapi.json", "/api/v1/docs"] {
        assert_eq!(
            send_request(&router, Request::get(path).body(Body::empty()).unwrap()).await.status,
            StatusCode::OK,
            "{path}"
        );
    }
}
