//! Calendars that other programs subscribe to (iCalendar, RFC 5545): days on which things are due, by an address that holds a secret and can be revoked. Whoever has the address sees
//! what its person may see at that moment, and nothing that they may not.

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

/// Most addresses of a person.
const MAX_FEEDS: i64 = 50;
/// How far back a calendar goes, in days.
const LOOKBACK_DAYS: i64 = 90;
/// Most things of a calendar.
const MAX_EVENTS: usize = 5000;

/// The routes of this room.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_calendar_feeds, create_calendar_feed))
        .routes(routes!(revoke_calendar_feed))
        .routes(routes!(get_calendar))
}

/// What a calendar is to be about.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCalendarFeed {
    /// The type of the thing whose due days it shows; none: what is one's own to do.
    entity: Option<String>,
    /// The thing.
    id: Option<Uuid>,
}

/// One's calendar addresses, without their secrets.
#[utoipa::path(get, path = "/calendar_feed", tag = "calendar", responses(
    (status = 200, description = "{data: [{id, about_code, about_id, created_ts, used_ts}]}", body = Object), (status = 401, description = "Not signed in")))]
async fn list_calendar_feeds(State(app): State<AppState>, who: AuthUser) -> Result<Json<Value>> {
    let mut connection = app.pool.acquire().await.map_err(DatabaseError::from)?;
    Ok(Json(json!({"data": calendar_feed::list_for_person(&mut connection, who.person).await?})))
}

/// Make a calendar address. It is told once.
#[utoipa::path(post, path = "/calendar_feed", tag = "calendar", request_body = NewCalendarFeed, responses(
    (status = 201, description = "{id, path}: the address below this host", body = Object), (status = 400, description = "Not JSON"), (status = 401, description = "Not signed in"),
    (status = 404, description = "No such thing for this person"), (status = 413, description = "Too large"), (status = 415, description = "Not JSON by its type"),
    (status = 422, description = "Fields are wrong, or there are too many already")))]
async fn create_calendar_feed(
    State(app): State<AppState>,
    who: AuthUser,
    JsonBody(body): JsonBody,
) -> Result<Response> {
    let asked: NewCalendarFeed =
        serde_json::from_value(body).map_err(|e| ApiError::unprocessable("body", e.to_string()))?;
    let mut transaction = pmo_database::begin(&app.pool, &who.actor).await?;
    let about = match (asked.entity, asked.id) {
        (None, None) => None,
        (Some(code), Some(id)) => {
            let model = app.model_for_type(&code).await?;
            let code = model.entity(&code)?.code.clone();
            permission::permission_on(&mut transaction, who.person, &code, id).await?.ok_or(ApiError::NotFound)?;
            Some((code, id))
        }
        _ => return Err(ApiError::unprocessable("id", "entity and id are needed together, or neither")),
    };
    if calendar_feed::count(&mut transaction, who.person).await? >= MAX_FEEDS {
        return Err(ApiError::unprocessable(
            "entity",
            format!("there are {MAX_FEEDS} addresses already: revoke one first"),
        ));
    }
    let id = Uuid::now_v7();
    // 244 random bits.
    let secret = URL_SAFE_NO_PAD.encode([*Uuid::new_v4().as_bytes(), *Uuid::new_v4().as_bytes()].concat());
    calendar_feed::insert(&mut transaction, id, &CalendarFeed { person: who.person, about }, &hash(&secret)).await?;
    transaction.commit().await.map_err(DatabaseError::from)?;
    Ok((StatusCode::CREATED, Json(json!({"id": id, "path": format!("/api/v1/calendar/{secret}.ics")}))).into_response())
}

/// Revoke a calendar address.
#[utoipa::path(delete, path = "/calendar_feed/{id}", tag = "calendar", params(("id" = Uuid, Path, description = "The address's id")), responses(
    (status = 204, description = "It leads nowhere any more"), (status = 401, description = "Not signed in"), (status = 404, description = "Not one of this person's")))]
async fn revoke_calendar_feed(
    State(app): State<AppState>,
    who: AuthUser,
    Path(id): Path<String>,
) -> Result<StatusCode> {
    let id: Uuid = id.parse().map_err(|_| ApiError::NotFound)?;
    let mut transaction = pmo_database::begin(&app.pool, &who.actor).await?;
    if !calendar_feed::revoke(&mut transaction, who.person, id).await? {
        return Err(ApiError::NotFound);
    }
    transaction.commit().await.map_err(DatabaseError::from)?;
    Ok(StatusCode::NO_CONTENT)
}

fn hash(secret: &str) -> Vec<u8> {
    Sha256::digest(secret.as_bytes()).to_vec()
}

/// A calendar by its address.
#[utoipa::path(get, path = "/calendar/{address}", tag = "calendar", security(()), params(("address" = String, Path, description = "What the address was told to end with")), responses(
    (status = 200, description = "iCalendar: an event of a whole day for each thing that is due", body = String, content_type = "text/calendar"),
    (status = 404, description = "No such address, or it was revoked")))]
async fn get_calendar(State(app): State<AppState>, Path(address): Path<String>) -> Result<Response> {
    let secret = address.strip_suffix(".ics").unwrap_or(&address);
    let mut connection = app.pool.acquire().await.map_err(DatabaseError::from)?;
    let feed = calendar_feed::find_by_secret(&mut connection, &hash(secret)).await?.ok_or(ApiError::NotFound)?;
    let employee = calendar_feed::employee(&mut connection, feed.person).await?;
    drop(connection);
    let model = app.model().await?;
    let mut connection = pmo_database::begin_snapshot_read(&app.pool).await?;
    let mut reader = app.visibility_cache.begin_read(&mut connection, feed.person).await?;
    let mut title = "PMO".to_owned();
    let mut below = None;
    if let Some((code, id)) = &feed.about {
        // What its person lost, or what is deleted, is not there any more.
        let seen = permission::visible(&mut connection, feed.person, &[*id]).await?;
        title = seen.into_iter().next().ok_or(ApiError::NotFound)?.title;
        below = Some((code.clone(), *id));
    }
    let since = jiff::Zoned::now()
        .date()
        .checked_sub(jiff::Span::new().days(LOOKBACK_DAYS))
        .map(|d| d.to_string())
        .unwrap_or_default();
    let mut events: BTreeMap<Uuid, (String, Row)> = BTreeMap::new();
    for entity in
        model.catalogue.types.values().filter(|e| e.column("due_date").is_some_and(|c| c.kind == ColumnKind::Date))
    {
        let filter = |column: &str, operator, value: &str| Filter {
            column: column.to_owned(),
            operator,
            values: vec![value.to_owned()],
        };
        let queries: Vec<Vec<Filter>> = match (&below, employee) {
            (Some((code, id)), _) => {
                let tie = model
                    .catalogue
                    .child_relation(code.as_str(), entity.code.as_str())
                    .filter(|tie| tie.parent_type_column.is_none());
                tie.and_then(|tie| tie.parent_column.as_ref())
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
            filters.push(filter("due_date", Operator::Gte, &since));
            let mut query = ListQuery {
                filters,
                sort: vec![("due_date".into(), false)],
                limit: MAX_PAGE_SIZE,
                ..ListQuery::default()
            };
            loop {
                let page = list::fetch_page(&mut connection, &mut reader, &app.row_cache, entity, &query, None).await?;
                for listed in page.rows {
                    let row: Row = serde_json::from_str(listed.row.json.get()).map_err(|_| ApiError::Internal)?;
                    events.insert(listed.id, (entity.name.clone(), row));
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

/// The columns that say whose a thing is to do.
fn assignee_columns(entity: &EntityType) -> impl Iterator<Item = &str> {
    let doer =
        |name: &str| ["assignee__", "owner__", "manager__", "responsible__"].iter().any(|role| name.starts_with(role));
    let refers = |kind: &ColumnKind| matches!(kind, ColumnKind::Reference { entity } | ColumnKind::References { entity } if entity == "employee");
    entity.columns.iter().filter(move |c| refers(&c.kind) && doer(&c.name)).map(|c| c.name.as_str())
}

/// A text as RFC 5545 has it.
fn escape_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | ';' | ',' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

/// A line, folded after 75 bytes, never within a letter.
fn fold_line(out: &mut String, name: &str, value: &str) {
    let text = format!("{name}:{value}");
    let mut length = 0;
    for c in text.chars() {
        if length + c.len_utf8() > 75 {
            out.push_str("\r\n ");
            length = 1;
        }
        out.push(c);
        length += c.len_utf8();
    }
    out.push_str("\r\n");
}

/// Things as a calendar. Pure.
fn render_calendar(title: &str, events: &BTreeMap<Uuid, (String, Row)>) -> String {
    let text = |row: &Row, column: &str| row.get(column).and_then(Value::as_str).unwrap_or_default().to_owned();
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
    for (id, (kind, row)) in events {
        let day = text(row, "due_date").replace('-', "");
        if day.len() != 8 {
            continue;
        }
        let stamp: String = text(row, "updated_ts").chars().take(19).filter(|c| c.is_ascii_alphanumeric()).collect();
        fold_line(&mut out, "BEGIN", "VEVENT");
        fold_line(&mut out, "UID", &format!("{id}@pmo"));
        fold_line(
            &mut out,
            "DTSTAMP",
            &format!("{}Z", if stamp.len() == 15 { stamp } else { format!("{day}T000000") }),
        );
        fold_line(&mut out, "DTSTART;VALUE=DATE", &day);
        fold_line(&mut out, "SUMMARY", &escape_text(&text(row, "name")));
        let code = text(row, "code");
        fold_line(
            &mut out,
            "DESCRIPTION",
            &escape_text(&if code.is_empty() { kind.clone() } else { format!("{kind} {code}") }),
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
    fn lines_are_folded_between_letters_and_signs_are_told_apart() {
        let mut out = String::new();
        fold_line(&mut out, "SUMMARY", &escape_text(&format!("a, b; c\\\n{}", "ä".repeat(80))));
        assert!(out.starts_with("SUMMARY:a\\, b\\; c\\\\\\n"));
        assert!(out.split("\r\n").all(|part| part.len() <= 75));
        assert_eq!(out.replace("\r\n ", "").matches('ä').count(), 80);
    }

    #[test]
    fn a_thing_is_an_event_of_a_whole_day() {
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
