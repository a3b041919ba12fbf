//! Moving a thing by hand: below another of its kind, before or after a sibling. For types that keep a rank.

use super::mutation::{asks_for, keep, kept};
use super::read::{id_of, represent};
use super::write::{if_match, key_of};
use super::{Answer, Seen, rule};
use crate::auth::AuthUser;
use crate::body::JsonBody;
use crate::error::{ApiError, Result};
use crate::state::App;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use pmo_database::{DatabaseError, outline, permission, row};
use pmo_domain::rest::version_of;
use pmo_domain::{Permission, Row, rank};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// Where to.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The thing to be below; null: at the top.
    parent: Option<Uuid>,
    /// The sibling to come after; null: first of all.
    after: Option<Uuid>,
}

/// Move a thing in its outline, with everything below it. The numbers of the outline follow.
#[utoipa::path(post, path = "/{entity}/{id}/move", tag = "things", request_body = Place, params(
    ("entity" = String, Path, description = "The type's code", example = "task"), ("id" = Uuid, Path, description = "The thing"),
    ("If-Match" = Option<String>, Header, description = "The version that the asker knows"),
    ("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same key gets the first answer")), responses(
    (status = 200, description = "The row", body = Object), (status = 400, description = "Not JSON"), (status = 401, description = "Not signed in"),
    (status = 403, description = "May see, may not move"), (status = 404, description = "Not there, not for this writer, or its type has no order"),
    (status = 412, description = "Changed meanwhile"), (status = 413, description = "Too large"), (status = 415, description = "Not JSON by its type"),
    (status = 422, description = "It can't go there")))]
pub(super) async fn place(
    State(app): State<App>,
    who: AuthUser,
    Path((code, id)): Path<(String, String)>,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Answer> {
    let asked = body.to_string();
    let to: Place = serde_json::from_value(body).map_err(|e| ApiError::invalid("body", e.to_string()))?;
    let model = app.model_with(&code).await?;
    let (entity, id) = (model.entity(&code)?, id_of(&id)?);
    let above = format!("parent__{code}_id");
    if entity.column("rank").is_none() || entity.column(&above).is_none() {
        return Err(ApiError::NotFound);
    }
    let mut transaction = pmo_database::begin(&app.pool, &who.actor).await?;
    let c = &mut *transaction;
    row::lock(c, entity, id).await?;
    let level = permission::level(c, who.person, &entity.code, id).await?.ok_or(ApiError::NotFound)?;
    let present = row::by_id(c, entity, id, false).await?.ok_or(ApiError::NotFound)?;
    if level < Permission::Edit {
        return Err(ApiError::Forbidden(asks_for(Permission::Edit, level)));
    }
    let key = match kept(c, &who, key_of(&headers)?.as_deref(), &[b"MOVE", id.as_bytes(), asked.as_bytes()]).await? {
        Seen::Before(answer) => return Ok(answer),
        Seen::Never(key) => key,
    };
    if if_match(&headers)?.is_some_and(|v| v != version_of(&present).0) {
        let current = represent(c, entity, who.person, level, present).await?;
        return Err(ApiError::Changed(Box::new(current)));
    }
    let mut values = Row::from_iter([(above.clone(), to.parent.map_or(Value::Null, |p| json!(p)))]);
    values.retain(|name, value| present.get(name) != Some(value));
    rule::check_references(c, &model, who.person, entity, &values, Some(&present)).await?;
    rule::may_move(c, &model, who.person, entity, level, &present, &values).await?;
    let siblings = outline::siblings(c, entity, id, to.parent).await?;
    let (low, high) = match to.after {
        None => (None, siblings.first()),
        Some(after) => {
            let at = siblings.iter().position(|s| s.0 == after);
            let at = at.ok_or_else(|| ApiError::invalid("after", "is no sibling there"))?;
            (siblings.get(at), siblings.get(at + 1))
        }
    };
    let rank = rank::between(low.map(|s| s.1.as_str()), high.map(|s| s.1.as_str()));
    values.insert("rank".into(), json!(rank));
    row::update(c, entity, id, &values).await?;
    if entity.column("wbs").is_some() {
        outline::renumber(c, entity, id).await?;
    }
    let row = row::by_id(c, entity, id, false).await?.ok_or(ApiError::Internal)?;
    let row = represent(c, entity, who.person, level, row).await?;
    let answer = Answer { status: StatusCode::OK, body: Some(Value::Object(row)) };
    keep(c, &who, key, &answer).await?;
    transaction.commit().await.map_err(DatabaseError::from)?;
    Ok(answer)
}
