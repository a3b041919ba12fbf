//! Sign-in, refresh, sign-out, and who is asking. Passwords and tokens are never logged.

mod password; // argon2id
mod refresh_token; // the rotating cookie

use crate::error::{ApiError, Result};
use crate::state::AppState;
use axum::extract::{ConnectInfo, FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::{Extension, Json};
use axum_extra::extract::CookieJar;
use pmo_database::Actor;
use pmo_database::credential::{self, Account, RefreshOutcome};
use pmo_domain::PersonId;
use pmo_domain::api_types::{AuthResponse, User};
use pmo_token::{Claims, TokenError};
use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

pub use password::hash;

/// A random password of 128 bits, for a person to be told once.
pub fn new_password() -> String {
    refresh_token::generate().chars().take(22).collect()
}

/// The routes of this room.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(login))
        .routes(routes!(refresh_session))
        .routes(routes!(logout))
        .routes(routes!(me))
}

/// The person who asks, from a valid access token; 401 without one.
#[derive(Clone, Debug)]
pub struct AuthUser {
    /// The person.
    pub person: PersonId,
    /// As the log names them.
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
        let claims = app.keys.verify(token.trim(), now()).map_err(|error| match error {
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

/// Seconds since 1970.
pub fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Keys of the sign-in limit above which old ones are let go.
const MAX_RATE_LIMITER_KEYS: usize = 10_000;

/// What sign-in asks.
#[derive(Deserialize, utoipa::ToSchema)]
pub struct Credentials {
    /// The address.
    #[schema(example = "editor@pmo.example")]
    email: String,
    /// The password.
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

/// Sign in with address and password. Sets the refresh cookie.
#[utoipa::path(post, path = "/auth/login", tag = "sign-in", request_body = Credentials, security(()), responses(
    (status = 200, description = "Signed in", body = Object, example = json!({"token": "eyJ…", "expires_in": 900, "user": {"id": "0190…", "personId": "0190…", "name": "Edda Editor", "email": "editor@pmo.example", "entityCode": "employee"}})),
    (status = 400, description = "Not JSON"), (status = 401, description = "Address or password is wrong"), (status = 413, description = "Too large"),
    (status = 415, description = "Not JSON by its type"), (status = 422, description = "The body is not address and password"),
    (status = 429, description = "Too many attempts")))]
async fn login(
    State(app): State<AppState>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    headers: HeaderMap,
    jar: CookieJar,
    crate::extract::JsonBody(body): crate::extract::JsonBody,
) -> Result<(CookieJar, Json<AuthResponse>)> {
    let Credentials { email, password } = serde_json::from_value(body)
        .map_err(|_| ApiError::unprocessable("email", "a body with 'email' and 'password' as texts is needed"))?;
    if email.contains('\0') || email.len() > 320 || password.len() > 1000 {
        return Err(ApiError::Unauthorized("The address or the password is wrong."));
    }
    let address = client_address(&app, &headers, peer.as_deref());
    let key = format!("{address}|{}", email.to_lowercase());
    if let Err(wait) = app.address_limit.check_key(&address).and_then(|()| app.sign_in_limit.check_key(&key)) {
        let wait = wait.wait_time_from(governor::clock::Clock::now(&governor::clock::DefaultClock::default()));
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
    // The same work whether the account exists or not, away from the threads that serve and with no connection held.
    let matches = {
        let _turn = app.password_hash_permits.acquire().await.map_err(|_| ApiError::Internal)?;
        tokio::task::spawn_blocking(move || password::verify(&password, stored.as_deref()))
            .await
            .map_err(|_| ApiError::Internal)?
    };
    let Some(account) = account.filter(|_| matches) else {
        return Err(ApiError::Unauthorized("The address or the password is wrong."));
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

/// A new access token for the refresh cookie, which is replaced.
#[utoipa::path(post, path = "/auth/refresh", tag = "sign-in", security(("cookie" = [])), responses(
    (status = 200, description = "As sign-in", body = Object), (status = 401, description = "No session, or it has ended")))]
async fn refresh_session(
    State(app): State<AppState>,
    headers: HeaderMap,
    jar: CookieJar,
) -> Result<(CookieJar, Json<AuthResponse>)> {
    require_same_site(&headers)?;
    let token = jar
        .get(refresh_token::REFRESH_COOKIE_NAME)
        .map(|c| c.value().to_owned())
        .ok_or(ApiError::Unauthorized("There is no session; sign in."))?;
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
            tracing::warn!("a refresh token was used again after its grace; its family is revoked");
            None
        }
        RefreshOutcome::Invalid => None,
    };
    transaction.commit().await.map_err(pmo_database::DatabaseError::from)?;
    let account = account.ok_or(ApiError::Unauthorized("The session has ended; sign in again."))?;
    Ok((jar.add(refresh_token::cookie(&successor, app.settings.cookie_secure)), Json(signed_in(&app, account)?)))
}

/// End the session on this device.
#[utoipa::path(post, path = "/auth/logout", tag = "sign-in", security(("cookie" = [])), responses((status = 204, description = "Signed out")))]
async fn logout(State(app): State<AppState>, headers: HeaderMap, jar: CookieJar) -> Result<(CookieJar, StatusCode)> {
    require_same_site(&headers)?;
    if let Some(cookie) = jar.get(refresh_token::REFRESH_COOKIE_NAME) {
        let mut connection = app.pool.acquire().await.map_err(pmo_database::DatabaseError::from)?;
        credential::revoke(&mut connection, &refresh_token::hash_token(cookie.value())).await?;
    }
    Ok((jar.add(refresh_token::expired_cookie(app.settings.cookie_secure)), StatusCode::NO_CONTENT))
}

/// Who is signed in.
#[utoipa::path(get, path = "/auth/me", tag = "sign-in", responses(
    (status = 200, description = "The person", body = Object), (status = 401, description = "Nobody is signed in")))]
async fn me(State(app): State<AppState>, who: AuthUser) -> Result<Json<User>> {
    let mut connection = app.pool.acquire().await.map_err(pmo_database::DatabaseError::from)?;
    let account = credential::by_person(&mut connection, who.person.0).await?;
    account.map(|a| Json(a.user)).ok_or(ApiError::Unauthorized("The account is not active any more."))
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

/// Refuses a request that another site's page made with this person's cookie.
fn require_same_site(headers: &HeaderMap) -> Result<()> {
    match headers.get("sec-fetch-site").and_then(|v| v.to_str().ok()) {
        Some("cross-site") => Err(ApiError::Forbidden("The request came from another site.".into())),
        _ => Ok(()),
    }
}
