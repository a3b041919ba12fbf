//! What the tests do: ask the api without a network, as a person. Each test has a database of its own with the small demo data.

pub use axum::Router;
pub use axum::body::Body;
pub use axum::http::{Request, Response, StatusCode, header};
pub use clap::Parser;
pub use http_body_util::BodyExt;
pub use pmo_api::seed::{self, DEMO_PASSWORD, Scale};
pub use pmo_api::settings::Config;
pub use pmo_api::state::AppState;
pub use serde_json::{Value, json};
pub use sqlx::PgPool;
pub use tower::ServiceExt;

pub struct Api {
    pub router: Router,
    pub token: String,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: axum::http::HeaderMap,
    pub body: Value,
}

pub async fn router(pool: &PgPool) -> Router {
    router_with(pool, &[]).await
}

/// With settings that override those of the other tests.
pub async fn router_with(pool: &PgPool, more: &[&str]) -> Router {
    seed::run(pool, Scale::Small).await.unwrap();
    let secret = secret();
    let mut arguments = vec!["pmo-api", "--jwt-secret", &secret];
    for (name, value) in [("--web-dist", "/nonexistent"), ("--import-limit-mb", "4"), ("--sign-in-per-minute", "50")] {
        if !more.contains(&name) {
            arguments.extend([name, value]);
        }
    }
    arguments.extend(more);
    pmo_api::router(AppState::new(pool.clone(), Config::parse_from(arguments)).await.unwrap())
}

pub async fn ask(router: &Router, request: Request<Body>) -> Answer {
    let response: Response<Body> = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let in_lines = parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/x-ndjson");
    let body = if in_lines {
        bytes.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok()).collect()
    } else {
        serde_json::from_slice(&bytes).unwrap_or(Value::Null)
    };
    Answer { status: parts.status, headers: parts.headers, body }
}

pub async fn login(router: &Router, email: &str, password: &str) -> Answer {
    let body = json!({"email": email, "password": password}).to_string();
    ask(
        router,
        Request::post("/api/v1/auth/login").header("content-type", "application/json").body(Body::from(body)).unwrap(),
    )
    .await
}

/// The secret of the tests.
pub fn secret() -> String {
    "s".repeat(40)
}

impl Api {
    /// Somebody by id, with no sign-in.
    pub fn person(router: &Router, person: uuid::Uuid) -> Self {
        let now = jiff::Timestamp::now().as_second();
        let claims = pmo_token::Claims {
            sub: person,
            iat: now,
            exp: now + 900,
            username: "p@x.example".into(),
            first_name: "P".into(),
            last_name: "X".into(),
            person_type: "employee".into(),
        };
        let token = pmo_token::TokenKeys::new(&secret()).unwrap().sign(&claims).unwrap();
        Self { router: router.clone(), token }
    }

    pub async fn of(router: &Router, who: &str) -> Self {
        let answer = login(router, &format!("{who}@pmo.example"), DEMO_PASSWORD).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        Self { router: router.clone(), token: answer.body["token"].as_str().unwrap().to_owned() }
    }

    pub async fn send(&self, method: &str, path: &str, body: Option<Value>, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header("authorization", format!("Bearer {}", self.token));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            Some(value) => {
                request = request.header("content-type", "application/json");
                Body::from(value.to_string())
            }
            None => Body::empty(),
        };
        ask(&self.router, request.body(body).unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None, &[]).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, Some(body), &[]).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send("PATCH", path, Some(body), &[]).await
    }

    pub async fn first(&self, code: &str) -> String {
        self.get(&format!("/{code}?limit=1&sort=code")).await.body["data"][0]["id"].as_str().unwrap().to_owned()
    }
}
