//! Authentication: login, session refresh, logout, and the extractor of the signed-in user.
//!
//! Must not: log passwords or tokens.

mod password; // argon2id
mod refresh_token; // rotating refresh token cookie

use crate::error::{ApiError, Result};
use crate::openapi::{InvalidJson, Unauthorized};
use crate::state::AppState;
use axum::extract::{ConnectInfo, FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::{Extension, Json};
use axum_extra::extract::CookieJar;
use pmo_database::Actor;
use pmo_database::credential::{self, Account, RefreshOutcome};
use pmo_domain::api_types::{AuthResponse, User};
use pmo_domain::{PersonId, UnixMillis};
use pmo_token::{Claims, TokenError};
use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

pub use password::hash;

/// Generates a random password with 128 bits of entropy, to be shown once.
pub fn new_password() -> String {
    refresh_token::generate().chars().take(22).collect()
}

/// Returns the routes of this module.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(login))
        .routes(routes!(refresh_session))
        .routes(routes!(logout))
        .routes(routes!(me))
}

/// Signed-in user, extracted from a valid access token; the request fails with 401 without one.
#[derive(Clone, Debug)]
pub struct AuthUser {
    /// Id of the person.
    pub person: PersonId,
    /// The user as recorded in the change log.
    pub actor: Actor,
}

impl FromRequestParts<AppState> for AuthUser {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self> {
        let token = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.strip_prefix("Bearer "))
            .ok_or(ApiError::Unauthorized("The request carries no access token (Authorization: Bearer …)."))?;
        let now = UnixMillis::new(jiff::Timestamp::now().as_millisecond());
        let claims = app.keys.verify(token.trim(), now).map_err(|error| match error {
            TokenError::Expired => ApiError::Unauthorized("The access token has expired; refresh it or sign in again."),
            _ => ApiError::Unauthorized("The access token is not valid; sign in again."),
        })?;
        Ok(Self {
            person: PersonId(claims.sub),
            actor: Actor {
                person_id: Some(claims.sub),
                first_name: claims.first_name,
                last_name: claims.last_name,
                username: claims.username,
                person_type: claims.person_type,
            },
        })
    }
}

/// Returns the current Unix time in seconds.
pub fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Number of rate limiter keys above which keys without recent attempts are dropped.
const MAX_RATE_LIMITER_KEYS: usize = 10_000;

/// Body of a login request.
#[derive(Deserialize, utoipa::ToSchema)]
#[schema(examples(json!({"email": "admin@pmo.example", "password": "pmo-demo-2026"})))]
pub struct Credentials {
    /// Email address of the user.
    #[schema(example = "editor@pmo.example")]
    email: String,
    /// Password of the user.
    #[schema(example = "pmo-demo-2026")]
    password: String,
}

fn client_address(app: &AppState, headers: &HeaderMap, peer: Option<&ConnectInfo<SocketAddr>>) -> String {
    let forwarded = || {
        let last = headers.get("x-forwarded-for")?.to_str().ok()?.rsplit(',').next()?;
        last.trim().parse::<IpAddr>().ok()
    };
    let address = if app.settings.trust_proxy { forwarded() } else { None };
    address.or(peer.map(|p| p.0.ip())).map(|ip| ip.to_string()).unwrap_or_default()
}

/// Signs in with email address and password. Sets the refresh cookie.
#[utoipa::path(post, path = "/auth/login", tag = "sign-in", request_body = Credentials, security(()), responses(InvalidJson,
    (status = 200, description = "Signed in", body = AuthResponse), (status = 401, description = "Wrong email address or password"), (status = 422, description = "The body must contain email and password"),
    (status = 429, description = "Too many attempts")))]
async fn login(
    State(app): State<AppState>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    headers: HeaderMap,
    jar: CookieJar,
    crate::extract::JsonBody(body): crate::extract::JsonBody,
) -> Result<(CookieJar, Json<AuthResponse>)> {
    let Credentials { email, password } = serde_json::from_value(body)
        .map_err(|_| ApiError::unprocessable("email", "the body must contain 'email' and 'password' as strings"))?;
    if email.contains('\0') || email.len() > 320 || password.len() > 1000 {
        return Err(ApiError::Unauthorized("Wrong email address or password."));
    }
    let address = client_address(&app, &headers, peer.as_deref());
    let key = format!("{address}|{}", email.to_lowercase());
    if let Err(rejection) = app.address_limit.check_key(&address).and_then(|()| app.sign_in_limit.check_key(&key)) {
        let wait = rejection.wait_time_from(governor::clock::Clock::now(&governor::clock::DefaultClock::default()));
        return Err(ApiError::TooManyRequests { retry_after: wait.as_secs().max(1) });
    }
    if app.sign_in_limit.len() > MAX_RATE_LIMITER_KEYS {
        app.sign_in_limit.retain_recent();
        app.address_limit.retain_recent();
    }
    let account = {
        let mut connection = app.pool.acquire().await.map_err(pmo_database::DatabaseError::from)?;
        credential::by_email(&mut connection, email.trim()).await?
    };
    let stored = account.as_ref().and_then(|a| a.password_hash.clone());
    // Hash also if the account does not exist, so that the response time does not reveal it. Runs
    // on a blocking thread and without a database connection, because hashing is slow.
    let matches = {
        let _permit = app.password_hash_permits.acquire().await.map_err(|_| ApiError::Internal)?;
        tokio::task::spawn_blocking(move || password::verify(&password, stored.as_deref()))
            .await
            .map_err(|_| ApiError::Internal)?
    };
    let Some(account) = account.filter(|_| matches) else {
        return Err(ApiError::Unauthorized("Wrong email address or password."));
    };
    let mut connection = app.pool.acquire().await.map_err(pmo_database::DatabaseError::from)?;
    let token = refresh_token::generate();
    credential::insert_refresh_token(
        &mut connection,
        &refresh_token::hash_token(&token),
        Uuid::new_v4(),
        account.user.person_id,
        refresh_token::SESSION_TTL_DAYS,
    )
    .await?;
    Ok((jar.add(refresh_token::cookie(&token, app.settings.cookie_secure)), Json(signed_in(&app, account)?)))
}

/// Returns a new access token for the refresh cookie, which is replaced.
#[utoipa::path(post, path = "/auth/refresh", tag = "sign-in", security(("cookie" = [])), responses(
    (status = 200, description = "Same as login", body = AuthResponse), (status = 401, description = "No session, or it has expired"), (status = 403, description = "Cross-site request")))]
async fn refresh_session(
    State(app): State<AppState>,
    headers: HeaderMap,
    jar: CookieJar,
) -> Result<(CookieJar, Json<AuthResponse>)> {
    require_same_site(&headers)?;
    let token = jar
        .get(refresh_token::REFRESH_COOKIE_NAME)
        .map(|c| c.value().to_owned())
        .ok_or(ApiError::Unauthorized("No session; sign in."))?;
    let successor = refresh_token::derive_successor(&token, &app.secret);
    let mut transaction = pmo_database::begin(&app.pool, &Actor::default()).await?;
    let rotation = credential::rotate_refresh_token(
        &mut transaction,
        &refresh_token::hash_token(&token),
        &refresh_token::hash_token(&successor),
        refresh_token::GRACE_SECONDS,
        refresh_token::SESSION_TTL_DAYS,
    )
    .await?;
    let account = match rotation {
        RefreshOutcome::Rotated { person } => credential::by_person(&mut transaction, person).await?,
        RefreshOutcome::Reused => {
            tracing::warn!("refresh token reuse detected; token family revoked");
            None
        }
        RefreshOutcome::Invalid => None,
    };
    transaction.commit().await.map_err(pmo_database::DatabaseError::from)?;
    let account = account.ok_or(ApiError::Unauthorized("The session has expired; sign in again."))?;
    Ok((jar.add(refresh_token::cookie(&successor, app.settings.cookie_secure)), Json(signed_in(&app, account)?)))
}

/// Ends the session of this device.
#[utoipa::path(post, path = "/auth/logout", tag = "sign-in", security(("cookie" = [])), responses(
    (status = 204, description = "Signed out"), (status = 403, description = "Cross-site request")))]
async fn logout(State(app): State<AppState>, headers: HeaderMap, jar: CookieJar) -> Result<(CookieJar, StatusCode)> {
    require_same_site(&headers)?;
    if let Some(cookie) = jar.get(refresh_token::REFRESH_COOKIE_NAME) {
        let mut connection = app.pool.acquire().await.map_err(pmo_database::DatabaseError::from)?;
        credential::revoke(&mut connection, &refresh_token::hash_token(cookie.value())).await?;
    }
    Ok((jar.add(refresh_token::expired_cookie(app.settings.cookie_secure)), StatusCode::NO_CONTENT))
}

/// Returns the signed-in user.
#[utoipa::path(get, path = "/auth/me", tag = "sign-in", responses(Unauthorized,
    (status = 200, description = "The signed-in user", body = User)))]
async fn me(State(app): State<AppState>, user: AuthUser) -> Result<Json<User>> {
    let mut connection = app.pool.acquire().await.map_err(pmo_database::DatabaseError::from)?;
    let account = credential::by_person(&mut connection, user.person.0).await?;
    account.map(|a| Json(a.user)).ok_or(ApiError::Unauthorized("The account is no longer active."))
}

fn signed_in(app: &AppState, account: Account) -> Result<AuthResponse> {
    let issued = now();
    let claims = Claims {
        sub: account.user.person_id,
        iat: issued,
        exp: issued + pmo_token::TOKEN_TTL_SECONDS,
        username: account.actor.username,
        first_name: account.actor.first_name,
        last_name: account.actor.last_name,
        person_type: account.actor.person_type,
    };
    let token = app.keys.sign(&claims).map_err(|_| ApiError::Internal)?;
    Ok(AuthResponse { token, expires_in: pmo_token::TOKEN_TTL_SECONDS, user: account.user })
}

/// Rejects cross-site requests, which the browser sends with the user's cookie.
fn require_same_site(headers: &HeaderMap) -> Result<()> {
    match headers.get("sec-fetch-site").and_then(|v| v.to_str().ok()) {
        Some("cross-site") => Err(ApiError::Forbidden("Cross-site requests are not allowed.".into())),
        _ => Ok(()),
    }
}
