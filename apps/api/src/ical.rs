//! iCalendar feeds (RFC 5545) of due dates, for subscription by calendar programs.
//!
//! The URL of a feed contains a secret and can be revoked.
//!
//! Invariant: a feed shows what its owner may see at the time of the request, never more.

use crate::auth::AuthUser;
use crate::entity::{MutationKind, MutationResponse, WriteRequest, get_entity};
use crate::error::{ApiError, Result};
use crate::extract::JsonBody;
use crate::openapi::{InvalidJson, NotVisible, Unauthorized};
use crate::state::AppState;
use axum::Json;
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::patch;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pmo_database::calendar_feed::{self, CalendarFeed, CalendarFeedRecord};
use pmo_database::{DatabaseError, list, permission};
use pmo_domain::api_types::MAX_PAGE_SIZE;
use pmo_domain::query::{Filter, ListQuery, Operator};
use pmo_domain::{Catalog, ColumnKind, EntityType, Row};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

/// Type whose path begins like that of feeds.
const CALENDAR: &str = "calendar";
/// Maximum number of feeds per person.
const MAX_FEEDS: i64 = 50;
/// Number of past days that a calendar contains.
const LOOKBACK_DAYS: i64 = 90;
/// Maximum number of events in a calendar.
const MAX_EVENTS: usize = 5000;

/// Returns the routes of this module.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_calendar_feeds, create_calendar_feed))
        .routes(routes!(revoke_calendar_feed))
        .routes(routes!(get_calendar))
        // Entities of the type `calendar`; the route of feeds hides the one of all types.
        .route("/calendar/{token}", patch(update_calendar).put(replace_calendar).delete(delete_calendar))
}

/// Calendar feed to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"entity": "project", "id": "0abb4da0-deec-9b5b-b295-27caaa6c94e5"})))]
pub(crate) struct NewCalendarFeed {
    /// Type of the entity with the due dates of its children; `None`: the caller's own work.
    entity: Option<String>,
    /// Entity id.
    id: Option<Uuid>,
}

/// A calendar feed of the caller.
#[derive(Serialize, ToSchema)]
struct CalendarFeedEntry {
    /// Type of the entity whose descendants the feed covers; null for the caller's own work.
    #[schema(required)]
    about_code: Option<String>,
    /// Id of that entity.
    #[schema(required)]
    about_id: Option<Uuid>,
    /// Time of creation, RFC 3339.
    #[schema(format = DateTime)]
    created_ts: String,
    /// Feed id.
    id: Uuid,
    /// Time of the last use, RFC 3339; null if the feed was never used.
    #[schema(required, format = DateTime)]
    used_ts: Option<String>,
}

impl From<CalendarFeedRecord> for CalendarFeedEntry {
    fn from(feed: CalendarFeedRecord) -> Self {
        Self {
            about_code: feed.about_code,
            about_id: feed.about_id,
            created_ts: feed.created_ts,
            id: feed.id,
            used_ts: feed.used_ts,
        }
    }
}

/// The caller's calendar feeds.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({"data": [{
    "id": "01a2056d-3563-7049-ab62-bfe1ca58ce3f", "about_code": null, "about_id": null,
    "created_ts": "2026-01-31T09:00:00+00:00", "used_ts": null
}]})))]
struct CalendarFeedList {
    /// Feeds, oldest first.
    data: Vec<CalendarFeedEntry>,
}

/// A calendar feed that was just created.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({"id": "01a2056d-3563-7049-ab62-bfe1ca58ce3f", "path": "/api/v1/calendar/secret.ics"})))]
struct CreatedCalendarFeed {
    /// Feed id.
    id: Uuid,
    /// Path of the URL on this host; it contains the secret and is not shown again.
    path: String,
}

/// A calendar in iCalendar format (RFC 5545).
#[derive(ToSchema)]
#[schema(value_type = String, examples("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nEND:VCALENDAR\r\n"))]
struct CalendarText(#[expect(dead_code, reason = "describes a body of text")] String);

/// Lists the caller's calendar feeds, without their secrets.
#[utoipa::path(get, path = "/calendar_feed", tag = "calendar", responses(Unauthorized, (status = 200, description = "The calendar feeds", body = CalendarFeedList)))]
async fn list_calendar_feeds(State(app): State<AppState>, user: AuthUser) -> Result<Json<CalendarFeedList>> {
    let mut connection = app.pool.acquire().await.map_err(DatabaseError::from)?;
    let feeds = calendar_feed::list_for_person(&mut connection, user.person).await?;
    Ok(Json(CalendarFeedList { data: feeds.into_iter().map(CalendarFeedEntry::from).collect() }))
}

/// Creates a calendar feed. Its URL is returned only once.
#[utoipa::path(post, path = "/calendar_feed", tag = "calendar", request_body = NewCalendarFeed, responses(Unauthorized, InvalidJson, NotVisible,
    (status = 201, description = "The calendar feed", body = CreatedCalendarFeed), (status = 422, description = "Validation failed, or too many calendar feeds")))]
async fn create_calendar_feed(
    State(app): State<AppState>,
    user: AuthUser,
    JsonBody(body): JsonBody,
) -> Result<(StatusCode, Json<CreatedCalendarFeed>)> {
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
    Ok((StatusCode::CREATED, Json(CreatedCalendarFeed { id, path: format!("/api/v1/calendar/{secret}.ics") })))
}

/// Revokes a calendar feed.
#[utoipa::path(delete, path = "/calendar_feed/{id}", tag = "calendar", params(("id" = Uuid, Path, description = "Calendar feed id")), responses(Unauthorized,
    (status = 204, description = "Revoked"), (status = 404, description = "Not a calendar feed of the caller")))]
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

/// Updates an entity of the type `calendar`.
async fn update_calendar(
    request: WriteRequest,
    Path(id): Path<String>,
    JsonBody(body): JsonBody,
) -> Result<MutationResponse> {
    request.write(MutationKind::Update, (CALENDAR.to_owned(), id), body).await
}

/// Replaces an entity of the type `calendar`.
async fn replace_calendar(
    request: WriteRequest,
    Path(id): Path<String>,
    JsonBody(body): JsonBody,
) -> Result<MutationResponse> {
    request.write(MutationKind::Replace, (CALENDAR.to_owned(), id), body).await
}

/// Deletes an entity of the type `calendar`.
async fn delete_calendar(request: WriteRequest, Path(id): Path<String>) -> Result<MutationResponse> {
    request.write(MutationKind::Delete, (CALENDAR.to_owned(), id), Value::Null).await
}

/// Returns the calendar of a feed, authenticated by the secret in its URL.
///
/// An id instead of a secret is answered with the entity of the type `calendar`.
#[utoipa::path(get, path = "/calendar/{token}", tag = "calendar", security(()), params(("token" = String, Path, description = "Secret at the end of the calendar URL")), responses(
    (status = 200, description = "iCalendar with an all-day event for each due date", body = CalendarText, content_type = "text/calendar"),
    (status = 404, description = "No such calendar feed, or it was revoked")))]
async fn get_calendar(State(app): State<AppState>, Path(token): Path<String>, request: Request) -> Result<Response> {
    if token.parse::<Uuid>().is_ok() {
        let (mut parts, _) = request.into_parts();
        let user = AuthUser::from_request_parts(&mut parts, &app).await?;
        return get_entity(State(app), user, Path((CALENDAR.to_owned(), token)), parts.headers).await;
    }
    let secret = token.strip_suffix(".ics").unwrap_or(&token);
    let mut connection = app.pool.acquire().await.map_err(DatabaseError::from)?;
    let feed = calendar_feed::find_by_secret(&mut connection, &hash(secret)).await?.ok_or(ApiError::NotFound)?;
    let employee = calendar_feed::find_employee(&mut connection, feed.person).await?;
    drop(connection);
    let model = app.model().await?;
    let mut connection = pmo_database::begin_snapshot_read(&app.pool).await?;
    let mut reader = app.visibility_cache.begin_read(&mut connection, feed.person).await?;
    let mut title = "PMO".to_owned();
    if let Some((_, id)) = &feed.scope {
        // 404 if the entity was deleted or the person may no longer see it.
        let visible = permission::visible(&mut connection, feed.person, &[*id]).await?;
        title = visible.into_iter().next().ok_or(ApiError::NotFound)?.title;
    }
    let mut events = Events::new(MAX_EVENTS);
    for (entity, filters) in event_filters(&model.catalog, &feed, employee) {
        let mut query =
            ListQuery { filters, sort: vec![("due_date".into(), false)], limit: MAX_PAGE_SIZE, ..ListQuery::default() };
        while !events.is_full() {
            let page = list::fetch_page(&mut connection, &mut reader, &app.row_cache, entity, &query, None).await?;
            for entry in page.rows {
                let row: Row = serde_json::from_str(entry.row.json.get()).map_err(|_| ApiError::Internal)?;
                events.insert(entry.id, &entity.name, row);
            }
            let Some(next) = page.next_cursor else { break };
            query.cursor = Some(next);
        }
    }
    connection.commit().await.map_err(DatabaseError::from)?;
    let mut response = render_calendar(&title, &events.by_id).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/calendar; charset=utf-8"));
    Ok(response)
}

/// Entities of a calendar, at most a given number.
struct Events {
    /// Name of the type, and the row, by entity id.
    by_id: BTreeMap<Uuid, (String, Row)>,
    limit: usize,
}

impl Events {
    fn new(limit: usize) -> Self {
        Self { by_id: BTreeMap::new(), limit }
    }

    fn is_full(&self) -> bool {
        self.by_id.len() >= self.limit
    }

    /// Adds an entity unless the limit is reached.
    fn insert(&mut self, id: Uuid, type_name: &str, row: Row) {
        if !self.is_full() {
            self.by_id.insert(id, (type_name.to_owned(), row));
        }
    }
}

/// Returns the filters that select the entities of a feed, by type; a type may have several.
///
/// With a scope, these are the children of the scope that a column of theirs connects to it;
/// without, the entities for which `employee` is responsible.
fn event_filters<'a>(
    catalog: &'a Catalog,
    feed: &CalendarFeed,
    employee: Option<Uuid>,
) -> Vec<(&'a EntityType, Vec<Filter>)> {
    let filter =
        |column: &str, operator, value: String| Filter { column: column.to_owned(), operator, values: vec![value] };
    let earliest = jiff::Zoned::now()
        .date()
        .checked_sub(jiff::Span::new().days(LOOKBACK_DAYS))
        .map(|date| date.to_string())
        .unwrap_or_default();
    let has_due_date =
        |entity: &&EntityType| entity.column("due_date").is_some_and(|column| column.kind == ColumnKind::Date);
    let mut filters = Vec::new();
    for entity in catalog.types.values().filter(has_due_date) {
        let (columns, value): (Vec<&str>, _) = match (&feed.scope, employee) {
            (Some((code, id)), _) => {
                let relation = catalog
                    .child_relation(code.as_str(), entity.code.as_str())
                    .filter(|relation| relation.parent_type_column.is_none());
                (relation.and_then(|relation| relation.parent_column.as_deref()).into_iter().collect(), *id)
            }
            (None, Some(employee)) => (assignee_columns(entity).collect(), employee),
            (None, None) => continue,
        };
        filters.extend(columns.into_iter().map(|column| {
            let equals = filter(column, Operator::Eq, value.to_string());
            (entity, vec![equals, filter("due_date", Operator::Gte, earliest.clone())])
        }));
    }
    filters
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
    use serde_json::json;

    #[test]
    fn lines_are_folded_between_characters_and_special_characters_escaped() {
        let mut out = String::new();
        fold_line(&mut out, "SUMMARY", &escape_text(&format!("a, b; c\\\n{}", "ä".repeat(80))));
        assert!(out.starts_with("SUMMARY:a\\, b\\; c\\\\\\n"));
        assert!(out.split("\r\n").all(|part| part.len() <= 75));
        assert_eq!(out.replace("\r\n ", "").matches('ä').count(), 80);
    }

    #[test]
    fn calendar_has_at_most_the_maximum_number_of_events() {
        let mut events = Events::new(3);
        for page in 0..2u128 {
            for entry in 0..2u128 {
                events.insert(Uuid::from_u128(page * 2 + entry), "Task", Row::new());
            }
            // The same entity again, through another column, takes no further place.
            events.insert(Uuid::from_u128(0), "Task", Row::new());
        }
        assert!(events.is_full());
        assert_eq!(events.by_id.len(), 3);
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
