//! Demo data by the interface, for an administrator of an installation that has no project yet. Its people can't sign in: their passwords would be known to everybody.

use crate::admin::require_administrator;
use crate::auth::AuthUser;
use crate::error::{ApiError, Result};
use crate::seed::Scale;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use pmo_database::{DatabaseError, demo};
use serde_json::{Value, json};
use utoipa_axum::{router::OpenApiRouter, routes};

/// The routes of this room.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(load))
}

/// Load demo data into an installation without projects.
#[utoipa::path(post, path = "/demo", tag = "reference", responses(
    (status = 201, description = "{loaded: {businesses, projects, tasks, people}}", body = Object), (status = 401, description = "Not signed in"),
    (status = 403, description = "Not an administrator"), (status = 409, description = "An address of its people is taken"), (status = 422, description = "There are projects already: nothing was loaded")))]
async fn load(State(app): State<AppState>, who: AuthUser) -> Result<(StatusCode, Json<Value>)> {
    let mut transaction = pmo_database::begin(&app.pool, &who.actor).await?;
    require_administrator(&mut transaction, &who, "loads demo data").await?;
    // Two who press it at once: one waits, and then finds projects.
    demo::lock_seeding(&mut transaction).await?;
    if demo::count_projects(&mut transaction).await? > 0 {
        return Err(ApiError::unprocessable(
            "project",
            "there are some already: demo data is for an empty installation",
        ));
    }
    let numbers = Scale::Demo.entity_counts();
    demo::load(&mut transaction, &numbers).await?;
    transaction.commit().await.map_err(DatabaseError::from)?;
    demo::analyze(&app.pool).await?;
    Ok((
        StatusCode::CREATED,
        Json(
            json!({"loaded": numbers.iter().map(|(what, n)| ((*what).to_owned(), json!(n))).collect::<serde_json::Map<_, _>>()}),
        ),
    ))
}
