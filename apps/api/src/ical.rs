//! iCalendar feeds (RFC 5545) of due dates, for subscription by calendar programs.
//!
//! The URL of a feed contains a secret and can be revoked.
//!
//! Invariant: a feed shows what its owner may see at the time of the request, never more.

use crate::auth::AuthUser;
use crate::error::{ApiError, Result};
use crate::extract::JsonBody;
use crate::state::AppState;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pmo_database::calendar_feed::{self, CalendarFeed};
use pmo_database::{DatabaseError, list, permission};
use pmo_domain::api_types::MAX_PAGE_SIZE;
use pmo_domain::query::{Filter, ListQuery, Operator};
use pmo_domain::{ColumnKind, EntityType, Row};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

/// Maximum number of feeds per person.
const MAX_FEEDS: i64 = 50;
/// Number of past days that a calendar contains.
const LOOKBACK_DAYS: i64 = 90;
/// Number of events after which no further pages are read.
const MAX_EVENTS: usize = 5000;

/// Returns the routes of this module.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_calendar_feeds, create_calendar_feed))
        .routes(routes!(revoke_calendar_feed))
        .routes(routes!(get_calendar))
}

/// Calendar feed to create.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewCalendarFeed {
    /// Type of the entity with the due dates of its children; `None`: the caller's own work.
    entity: Option<String>,
    /// Entity id.
    id: Option<Uuid>,
}

/// Lists the caller's calendar feeds, without their secrets.
#[utoipa::path(get, path = "/calendar_feed", tag = "calendar", responses(
    (status = 200, description = "{data: [{id, about_code, about_id, created_ts, used_ts}]}", body = Object), (status = 401, description = "Not signed in")))]
async fn list_calendar_feeds(State(app): State<AppState>, user: AuthUser) -> Result<Json<Value>> {
    let mut connection = app.pool.acquire().await.map_err(DatabaseError::from)?;
    Ok(Json(json!({"data": calendar_feed::list_for_person(&mut connection, user.person).await?})))
}

/// Creates a calendar feed. Its URL is returned only once.
#[utoipa::path(post, path = "/calendar_feed", tag = "calendar", request_body = NewCalendarFeed, responses(
    (status = 201, description = "{id, path}: the path of the URL on this host", body = Object), (status = 400, description = "Not JSON"), (status = 401, description = "Not signed in"),
    (status = 404, description = "Not found, or not visible to the caller"), (status = 413, description = "Body too large"), (status = 415, description = "Unsupported media type; send JSON"),
    (status = 422, description = "Validation failed, or too many calendar feeds")))]
async fn create_calendar_feed(
    State(app): State<AppState>,
    user: AuthUser,
    JsonBody(body): JsonBody,
) -> Result<Response> {
    let request: NewCalendarFeed =
        serde_json::from_value(body).map_err(|e| ApiError::unprocessable("body", e.to_string()))?;
    let mut transaction = pmo_database::begin(&app.pool, &user.actor).await?;
    let target = match (request.entity, request.id) {
        (None, None) => None,
        (Some(code), Some(id)) => {
            let model = app.model_for_type(&code).await?;
            let code = model.entity(&code)?.code.clone();
            permission::permission_on(&mut transaction, user.person, &code, id).await?.ok_or(ApiError::NotFound)?;
            Some((code, id))
        }
        _ => return Err(ApiError::unprocessable("id", "entity and id must be given together, or neither")),
    };
    if calendar_feed::count(&mut transaction, user.person).await? >= MAX_FEEDS {
        return Err(ApiError::unprocessable(
            "entity",
            format!("the limit of {MAX_FEEDS} calendar feeds is reached; revoke one first"),
        ));
    }
    let id = Uuid::now_v7();
    // 244 random bits.
    let secret = URL_SAFE_NO_PAD.encode([*Uuid::new_v4().as_bytes(), *Uuid::new_v4().as_bytes()].concat());
    calendar_feed::insert(&mut transaction, id, &CalendarFeed { person: user.person, scope: target }, &hash(&secret))
        .await?;
    transaction.commit().await.map_err(DatabaseError::from)?;
    Ok((StatusCode::CREATED, Json(json!({"id": id, "path": format!("/api/v1/calendar/{secret}.ics")}))).into_response())
}

/// Revokes a calendar feed.
#[utoipa::path(delete, path = "/calendar_feed/{id}", tag = "calendar", params(("id" = Uuid, Path, description = "Calendar feed id")), responses(
    (status = 204, description = "Revoked"), (status = 401, description = "Not signed in"), (status = 404, description = "Not a calendar feed of the caller")))]
async fn revoke_calendar_feed(
    State(app): State<AppState>,
    user: AuthUser,
    Path(id): Path<String>,
) -> Result<StatusCode> {
    let id: Uuid = id.parse().map_err(|_| ApiError::NotFound)?;
    let mut transaction = pmo_database::begin(&app.pool, &user.actor).await?;
    if !calendar_feed::revoke(&mut transaction, user.person, id).await? {
        return Err(ApiError::NotFound);
    }
    transaction.commit().await.map_err(DatabaseError::from)?;
    Ok(StatusCode::NO_CONTENT)
}

fn hash(secret: &str) -> Vec<u8> {
    Sha256::digest(secret.as_bytes()).to_vec()
}

/// Returns the calendar of a feed, authenticated by the secret in its URL.
#[utoipa::path(get, path = "/calendar/{address}", tag = "calendar", security(()), params(("address" = String, Path, description = "Secret at the end of the calendar URL")), responses(
    (status = 200, description = "iCalendar with an all-day event for each due date", body = String, content_type = "text/calendar"),
    (status = 404, description = "No such calendar feed, or it was revoked")))]
async fn get_calendar(State(app): State<AppState>, Path(address): Path<String>) -> Result<Response> {
    let secret = address.strip_suffix(".ics").unwrap_or(&address);
    let mut connection = app.pool.acquire().await.map_err(DatabaseError::from)?;
    let feed = calendar_feed::find_by_secret(&mut connection, &hash(secret)).await?.ok_or(ApiError::NotFound)?;
    let employee = calendar_feed::find_employee(&mut connection, feed.person).await?;
    drop(connection);
    let model = app.model().await?;
    let mut connection = pmo_database::begin_snapshot_read(&app.pool).await?;
    let mut reader = app.visibility_cache.begin_read(&mut connection, feed.person).await?;
    let mut title = "PMO".to_owned();
    let mut parent = None;
    if let Some((code, id)) = &feed.scope {
        // 404 if the entity was deleted or the person may no longer see it.
        let visible = permission::visible(&mut connection, feed.person, &[*id]).await?;
        title = visible.into_iter().next().ok_or(ApiError::NotFound)?.title;
        parent = Some((code.clone(), *id));
    }
    let earliest = jiff::Zoned::now()
        .date()
        .checked_sub(jiff::Span::new().days(LOOKBACK_DAYS))
        .map(|date| date.to_string())
        .unwrap_or_default();
    let mut events: BTreeMap<Uuid, (String, Row)> = BTreeMap::new();
    for entity in model
        .catalog
        .types
        .values()
        .filter(|entity| entity.column("due_date").is_some_and(|column| column.kind == ColumnKind::Date))
    {
        let filter = |column: &str, operator, value: &str| Filter {
            column: column.to_owned(),
            operator,
            values: vec![value.to_owned()],
        };
        let queries: Vec<Vec<Filter>> = match (&parent, employee) {
            (Some((code, id)), _) => {
                let relation = model
                    .catalog
                    .child_relation(code.as_str(), entity.code.as_str())
                    .filter(|relation| relation.parent_type_column.is_none());
                relation
                    .and_then(|relation| relation.parent_column.as_ref())
                    .map(|column| vec![filter(column, Operator::Eq, &id.to_string())])
                    .into_iter()
                    .collect()
            }
            (None, Some(employee)) => assignee_columns(entity)
                .map(|column| vec![filter(column, Operator::Eq, &employee.to_string())])
                .collect(),
            (None, None) => Vec::new(),
        };
        for mut filters in queries {
            filters.push(filter("due_date", Operator::Gte, &earliest));
            let mut query = ListQuery {
                filters,
                sort: vec![("due_date".into(), false)],
                limit: MAX_PAGE_SIZE,
                ..ListQuery::default()
            };
            loop {
                let page = list::fetch_page(&mut connection, &mut reader, &app.row_cache, entity, &query, None).await?;
                for entry in page.rows {
                    let row: Row = serde_json::from_str(entry.row.json.get()).map_err(|_| ApiError::Internal)?;
                    events.insert(entry.id, (entity.name.clone(), row));
                }
                let Some(next) = page.next_cursor.filter(|_| events.len() < MAX_EVENTS) else { break };
                query.cursor = Some(next);
            }
        }
    }
    connection.commit().await.map_err(DatabaseError::from)?;
    let mut response = render_calendar(&title, &events).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/calendar; charset=utf-8"));
    Ok(response)
}

/// Returns the columns that name the people responsible for an entity.
fn assignee_columns(entity: &EntityType) -> impl Iterator<Item = &str> {
    let names_assignee =
        |name: &str| ["assignee__", "owner__", "manager__", "responsible__"].iter().any(|role| name.starts_with(role));
    let is_employee_reference = |kind: &ColumnKind| matches!(kind, ColumnKind::Reference { entity } | ColumnKind::References { entity } if entity == "employee");
    entity
        .columns
        .iter()
        .filter(move |column| is_employee_reference(&column.kind) && names_assignee(&column.name))
        .map(|column| column.name.as_str())
}

/// Escapes a TEXT value as RFC 5545 requires; removes control characters except newlines.
fn escape_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for ch in text.chars() {
        match ch {
            '\\' | ';' | ',' => out.extend(['\\', ch]),
            '\n' => out.push_str("\\n"),
            ch if ch.is_control() => {}
            ch => out.push(ch),
        }
    }
    out
}

/// Appends a content line, folded at 75 bytes but never inside a UTF-8 sequence.
fn fold_line(out: &mut String, name: &str, value: &str) {
    let line = format!("{name}:{value}");
    let mut line_bytes = 0;
    for ch in line.chars() {
        if line_bytes + ch.len_utf8() > 75 {
            out.push_str("\r\n ");
            line_bytes = 1;
        }
        out.push(ch);
        line_bytes += ch.len_utf8();
    }
    out.push_str("\r\n");
}

/// Renders entities as a calendar. Pure.
fn render_calendar(title: &str, events: &BTreeMap<Uuid, (String, Row)>) -> String {
    let text_of = |row: &Row, column: &str| row.get(column).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut out = String::new();
    for (name, value) in [
        ("BEGIN", "VCALENDAR"),
        ("VERSION", "2.0"),
        ("PRODID", "-//PMO//PMO//EN"),
        ("CALSCALE", "GREGORIAN"),
        ("METHOD", "PUBLISH"),
    ] {
        fold_line(&mut out, name, value);
    }
    fold_line(&mut out, "X-WR-CALNAME", &escape_text(title));
    for (id, (type_name, row)) in events {
        let day = text_of(row, "due_date").replace('-', "");
        if day.len() != 8 {
            continue;
        }
        let stamp: String =
            text_of(row, "updated_ts").chars().take(19).filter(|ch| ch.is_ascii_alphanumeric()).collect();
        fold_line(&mut out, "BEGIN", "VEVENT");
        fold_line(&mut out, "UID", &format!("{id}@pmo"));
        fold_line(
            &mut out,
            "DTSTAMP",
            &format!("{}Z", if stamp.len() == 15 { stamp } else { format!("{day}T000000") }),
        );
        fold_line(&mut out, "DTSTART;VALUE=DATE", &day);
        fold_line(&mut out, "SUMMARY", &escape_text(&text_of(row, "name")));
        let code = text_of(row, "code");
        fold_line(
            &mut out,
            "DESCRIPTION",
            &escape_text(&if code.is_empty() { type_name.clone() } else { format!("{type_name} {code}") }),
        );
        fold_line(&mut out, "TRANSP", "TRANSPARENT");
        fold_line(&mut out, "SEQUENCE", &row.get("version").and_then(Value::as_i64).unwrap_or_default().to_string());
        fold_line(&mut out, "END", "VEVENT");
    }
    fold_line(&mut out, "END", "VCALENDAR");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_folded_between_characters_and_special_characters_escaped() {
        let mut out = String::new();
        fold_line(&mut out, "SUMMARY", &escape_text(&format!("a, b; c\\\n{}", "ä".repeat(80))));
        assert!(out.starts_with("SUMMARY:a\\, b\\; c\\\\\\n"));
        assert!(out.split("\r\n").all(|part| part.len() <= 75));
        assert_eq!(out.replace("\r\n ", "").matches('ä').count(), 80);
    }

    #[test]
    fn entity_becomes_an_all_day_event() {
        let row = json!({"name": "Go live", "code": "T-1", "due_date": "2026-03-01", "updated_ts": "2026-01-02T03:04:05.678Z", "version": 4});
        let events = BTreeMap::from([(Uuid::nil(), ("Task".to_owned(), row.as_object().cloned().unwrap()))]);
        let text = render_calendar("My work", &events);
        for line in [
            "DTSTART;VALUE=DATE:20260301",
            "DTSTAMP:20260102T030405Z",
            "SUMMARY:Go live",
            "DESCRIPTION:Task T-1",
            "SEQUENCE:4",
            "X-WR-CALNAME:My work",
        ] {
            assert!(text.contains(&format!("{line}\r\n")), "{line}: {text}");
        }
    }
}
