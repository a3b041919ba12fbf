//! Search over all types: words that begin as asked, best first, with the places where they stand.

use crate::auth::AuthUser;
use crate::error::{ApiError, Result};
use crate::state::AppState;
use axum::Json;
use axum::extract::{Query, State};
use pmo_database::{row, search};
use pmo_domain::{ColumnKind, Row};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

/// The routes of this room.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(find))
}

#[derive(serde::Deserialize)]
struct SearchQuery {
    q: Option<String>,
    entity: Option<String>,
    limit: Option<usize>,
}

/// The words of a text as a query in which each must be there, at least as a beginning; none where there is no word.
fn to_tsquery(text: &str) -> Option<String> {
    let words: Vec<String> = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|w| !w.is_empty())
        .take(12)
        .map(|w| format!("'{}':*", w.to_lowercase()))
        .collect();
    (!words.is_empty()).then(|| words.join(" & "))
}

/// Find things of any type by words.
#[utoipa::path(get, path = "/search", tag = "things", params(
    ("q" = String, Query, description = "Words; each must be there, at least as a beginning", example = "website brief"),
    ("entity" = Option<String>, Query, description = "Types to look in, separated by commas", example = "task,project"),
    ("limit" = Option<usize>, Query, description = "Most hits, 1 to 100")), responses(
    (status = 200, description = "{data: [{entity, id, title, rank, permission, highlight: {column: [[part, whether it is a hit]]}}]}", body = Object),
    (status = 400, description = "A parameter is wrong"), (status = 401, description = "Not signed in")))]
async fn find(State(app): State<AppState>, who: AuthUser, Query(asked): Query<SearchQuery>) -> Result<Json<Value>> {
    let text = asked.q.ok_or_else(|| ApiError::bad_request("q", "is needed: the words to look for"))?;
    if text.chars().count() > 200 {
        return Err(ApiError::bad_request("q", "must have at most 200 characters"));
    }
    let limit = asked.limit.unwrap_or(20);
    if !(1..=100).contains(&limit) {
        return Err(ApiError::bad_request("limit", "must be a whole number from 1 to 100"));
    }
    let model = app.model().await?;
    let codes: Option<Vec<String>> =
        asked.entity.map(|text| text.split(',').map(|c| c.trim().to_owned()).filter(|c| !c.is_empty()).collect());
    if let Some(unknown) = codes.iter().flatten().find(|c| model.catalogue.get(c).is_none()) {
        let shown: String = unknown.chars().take(60).collect();
        return Err(ApiError::bad_request("entity", format!("'{shown}' is no entity type")));
    }
    let Some(query) = to_tsquery(&text) else { return Ok(Json(json!({"data": []}))) };
    let mut connection = pmo_database::begin_snapshot_read(&app.pool).await?;
    let hits = search::find(&mut connection, who.person, &query, codes.as_deref(), limit).await?;
    // The texts in which the words may stand: one query a type.
    let mut by_code: BTreeMap<&str, Vec<Uuid>> = BTreeMap::new();
    for hit in &hits {
        by_code.entry(&hit.code).or_default().push(hit.id);
    }
    let mut rows: BTreeMap<Uuid, Row> = BTreeMap::new();
    for (code, ids) in by_code {
        for found in row::by_ids(&mut connection, model.entity(code)?, &ids, false).await? {
            rows.extend(pmo_domain::api_types::row_id(&found).map(|id| (id, found)));
        }
    }
    let mut texts: Vec<(Uuid, String, String)> = Vec::new();
    for hit in &hits {
        let (Some(row), Some(entity)) = (rows.get(&hit.id), model.catalogue.get(&hit.code)) else { continue };
        for column in entity.columns.iter().filter(|c| matches!(c.kind, ColumnKind::ShortText | ColumnKind::LongText)) {
            if let Some(text) = row.get(&column.name).and_then(Value::as_str).filter(|t| !t.is_empty()) {
                texts.push((hit.id, column.name.clone(), text.to_owned()));
            }
        }
    }
    let plain: Vec<String> = texts.iter().map(|t| t.2.clone()).collect();
    let marked = search::highlight(&mut connection, &query, &plain).await?;
    let mut highlights: BTreeMap<Uuid, BTreeMap<String, Vec<(String, bool)>>> = BTreeMap::new();
    for ((id, column, _), parts) in texts.into_iter().zip(marked) {
        if parts.iter().any(|p| p.1) {
            highlights.entry(id).or_default().insert(column, parts);
        }
    }
    let data: Vec<Value> = hits
        .into_iter()
        .map(|hit| {
            let highlight = highlights.remove(&hit.id).unwrap_or_default();
            json!({"entity": hit.code, "id": hit.id, "title": hit.title, "rank": hit.rank, "permission": hit.level, "highlight": highlight})
        })
        .collect();
    Ok(Json(json!({"data": data})))
}

#[cfg(test)]
mod tests {
    use super::to_tsquery;

    #[test]
    fn whatever_is_typed_is_words_or_nothing() {
        assert_eq!(to_tsquery("Website  relaunch!").as_deref(), Some("'website':* & 'relaunch':*"));
        assert_eq!(to_tsquery("a'b:*|!&(c)").as_deref(), Some("'a':* & 'b':* & 'c':*"));
        assert_eq!(to_tsquery(" …'\\ "), None);
    }
}
