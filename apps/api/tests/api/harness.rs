//! Test harness: sends requests to the router in process, without a network.
//!
//! Each test has its own database with the small demo data set.

pub(crate) use axum::Router;
pub(crate) use axum::body::Body;
pub(crate) use axum::http::{Request, Response, StatusCode, header};
pub(crate) use clap::Parser;
pub(crate) use http_body_util::BodyExt;
pub(crate) use pmo_api::seed::{self, DEMO_PASSWORD, Scale};
pub(crate) use pmo_api::settings::Config;
pub(crate) use pmo_api::state::AppState;
pub(crate) use serde_json::{Value, json};
pub(crate) use sqlx::PgPool;
pub(crate) use tower::ServiceExt;

/// Client of the API with the access token of one user.
///
/// With an empty token, the helpers of `files.rs` and `import_export.rs` send no credentials.
pub(crate) struct ApiClient {
    pub router: Router,
    pub token: String,
}

/// Response with its body parsed as JSON.
pub(crate) struct ApiResponse {
    pub status: StatusCode,
    pub headers: axum::http::HeaderMap,
    /// The parsed body: an array for NDJSON, `Null` if the body is not JSON.
    pub body: Value,
}

/// Loads the demo data and builds the router with the default test settings.
pub(crate) async fn build_router(pool: &PgPool) -> Router {
    build_router_with(pool, &[]).await
}

/// Like [`build_router`], with command line arguments that override the default test settings.
pub(crate) async fn build_router_with(pool: &PgPool, overrides: &[&str]) -> Router {
    seed::run(pool, Scale::Small).await.unwrap();
    let jwt_secret = jwt_secret();
    let mut arguments = vec!["pmo-api", "--jwt-secret", &jwt_secret];
    for (name, value) in [("--web-dist", "/nonexistent"), ("--import-limit-mb", "4"), ("--sign-in-per-minute", "50")] {
        if !overrides.contains(&name) {
            arguments.extend([name, value]);
        }
    }
    arguments.extend(overrides);
    pmo_api::router(AppState::new(pool.clone(), Config::parse_from(arguments)).await.unwrap())
}

/// Sends a request to the router and parses the response.
pub(crate) async fn send_request(router: &Router, request: Request<Body>) -> ApiResponse {
    let response: Response<Body> = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let is_ndjson = parts.headers.get(header::CONTENT_TYPE).is_some_and(|value| value == "application/x-ndjson");
    let body = if is_ndjson {
        bytes.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok()).collect()
    } else {
        serde_json::from_slice(&bytes).unwrap_or(Value::Null)
    };
    ApiResponse { status: parts.status, headers: parts.headers, body }
}

/// Sends a sign-in request with an email address and a password.
pub(crate) async fn login(router: &Router, email: &str, password: &str) -> ApiResponse {
    let body = json!({"email": email, "password": password}).to_string();
    send_request(
        router,
        Request::post("/api/v1/auth/login").header("content-type", "application/json").body(Body::from(body)).unwrap(),
    )
    .await
}

/// Returns the secret that signs access tokens in the tests.
pub(crate) fn jwt_secret() -> String {
    "s".repeat(40)
}

/// Returns a JSON string as text, or an empty text for any other value.
pub(crate) fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Creates a project with the tasks `one`, `two` and `three`; returns the project id and task ids.
pub(crate) async fn create_plan(client: &ApiClient) -> (String, Vec<String>) {
    let project = text_of(&client.post("/project", json!({"name": "Plan"})).await.body["id"]);
    let mut tasks = Vec::new();
    for name in ["one", "two", "three"] {
        tasks.push(text_of(&client.post(&format!("/project/{project}/task"), json!({"name": name})).await.body["id"]));
    }
    (project, tasks)
}

/// Counts the rows of a table; `from` is the table name, optionally followed by a `where` clause.
pub(crate) async fn count_rows(pool: &PgPool, from: &str) -> i64 {
    sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select count(*) from {from}"))).fetch_one(pool).await.unwrap()
}

impl ApiClient {
    /// Creates a client for a person by id, with a token signed by the test and without a sign-in.
    pub(crate) fn for_person(router: &Router, person: uuid::Uuid) -> Self {
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
        let token = pmo_token::TokenKeys::new(&jwt_secret()).unwrap().sign(&claims).unwrap();
        Self { router: router.clone(), token }
    }

    /// Signs in as a demo account: `admin`, `editor`, `viewer` or `outsider`.
    pub(crate) async fn sign_in(router: &Router, account: &str) -> Self {
        let response = login(router, &format!("{account}@pmo.example"), DEMO_PASSWORD).await;
        assert_eq!(response.status, 200, "{:?}", response.body);
        Self { router: router.clone(), token: response.body["token"].as_str().unwrap().to_owned() }
    }

    /// Sends a request; `path` is relative to `/api/v1`.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> ApiResponse {
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
        send_request(&self.router, request.body(body).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> ApiResponse {
        self.send("GET", path, None, &[]).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> ApiResponse {
        self.send("POST", path, Some(body), &[]).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> ApiResponse {
        self.send("PATCH", path, Some(body), &[]).await
    }

    /// Returns the id of the first entity of a type that the user may see, in the order of `code`.
    pub(crate) async fn first_id(&self, entity_code: &str) -> String {
        self.get(&format!("/{entity_code}?limit=1&sort=code")).await.body["data"][0]["id"].as_str().unwrap().to_owned()
    }
}
