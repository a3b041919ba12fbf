//! Demo data endpoint: lets an administrator load demo data into an installation without projects.
//!
//! The users in this data get no passwords and cannot sign in, because the passwords of demo data
//! are public.

use crate::admin::authorization::require_administrator;
use crate::auth::AuthUser;
use crate::error::{ApiError, Result};
use crate::openapi::AdministratorsOnly;
use crate::seed::{self, Scale, SeedError};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use pmo_database::{DatabaseError, demo};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// Returns the routes of this module.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(load))
}

/// Response to loading demo data.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({"loaded": {"projects": 36, "tasks": 1600}})))]
struct DemoLoaded {
    /// Number of loaded entities by kind.
    #[schema(value_type = BTreeMap<String, i64>)]
    loaded: BTreeMap<&'static str, i64>,
}

impl From<SeedError> for ApiError {
    fn from(error: SeedError) -> Self {
        match error {
            SeedError::Database(error) => error.into(),
            SeedError::Text(text) => {
                tracing::error!(%text, "demo data: cannot be read");
                Self::Internal
            }
        }
    }
}

/// Loads demo data into an installation without projects.
#[utoipa::path(post, path = "/demo", tag = "reference", responses(AdministratorsOnly,
    (status = 201, description = "Demo data was loaded", body = DemoLoaded), (status = 409, description = "A demo user's email address is already in use"), (status = 422, description = "Projects exist already; nothing was loaded")))]
async fn load(State(app): State<AppState>, user: AuthUser) -> Result<(StatusCode, Json<DemoLoaded>)> {
    let mut transaction = pmo_database::begin(&app.pool, &user.actor).await?;
    require_administrator(&mut transaction, &user, "load demo data").await?;
    // Two concurrent requests: the second one waits for the lock and then finds projects.
    demo::lock_seeding(&mut transaction).await?;
    if demo::count_projects(&mut transaction).await? > 0 {
        return Err(ApiError::unprocessable(
            "project",
            "projects exist already; demo data is for an empty installation only",
        ));
    }
    let loaded = seed::load(&mut transaction, Scale::Demo, seed::today()).await?;
    transaction.commit().await.map_err(DatabaseError::from)?;
    demo::analyze(&app.pool).await?;
    Ok((StatusCode::CREATED, Json(DemoLoaded { loaded })))
}
