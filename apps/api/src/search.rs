//! Full-text search over all entity types.
//!
//! Matches word prefixes; returns the best matches first, with highlights.

use crate::auth::AuthUser;
use crate::error::{ApiError, Result};
use crate::openapi::{InvalidParameter, Unauthorized};
use crate::state::{AppState, EntityModel};
use axum::Json;
use axum::extract::{Query, State};
use pmo_database::search::SearchHit;
use pmo_database::{Connection, row, search};
use pmo_domain::{ColumnKind, Permission, Row};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

/// Returns the routes of this module.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(find))
}

#[derive(serde::Deserialize)]
struct SearchQuery {
    q: Option<String>,
    entity: Option<String>,
    limit: Option<usize>,
}

/// Converts a text into a `tsquery` in which each word must match as a prefix.
///
/// Uses at most 12 words; returns `None` if the text has none.
fn to_tsquery(text: &str) -> Option<String> {
    let words: Vec<String> = text
        .split(|ch: char| !ch.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .take(12)
        .map(|word| format!("'{}':*", word.to_lowercase()))
        .collect();
    (!words.is_empty()).then(|| words.join(" & "))
}

/// Response of a search, best match first.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({"data": [{
    "entity": "milestone", "id": "01a2056d-3563-7049-ab62-bfe1ca58ce3f", "title": "Hand-over", "permission": 7, "rank": 1.2,
    "highlight": {"name": [["Hand", true], ["-over", false]]}
}]})))]
struct SearchResponse {
    /// Entities that match.
    data: Vec<SearchResult>,
}

/// An entity that matches.
#[derive(Serialize, ToSchema)]
struct SearchResult {
    /// Type code.
    entity: String,
    /// Columns with matches, split into parts: text, and whether it matches.
    #[schema(value_type = BTreeMap<String, Vec<Vec<Value>>>)]
    highlight: Highlights,
    /// Entity id.
    id: Uuid,
    /// Permission of the caller.
    permission: Permission,
    /// Relevance; higher is better.
    rank: f64,
    /// Title of the entity.
    title: String,
}

/// Parts of the texts of an entity by column, each with whether it matches.
type Highlights = BTreeMap<String, Vec<(String, bool)>>;

/// Searches entities of any type by words.
#[utoipa::path(get, path = "/search", tag = "entities", params(
    ("q" = String, Query, description = "Words; each must match as a prefix", example = "website brief"),
    ("entity" = Option<String>, Query, description = "Entity types to search, separated by commas; default: all", example = "task,project"),
    ("limit" = Option<usize>, Query, description = "Maximum number of hits, 1 to 100")), responses(InvalidParameter, Unauthorized,
    (status = 200, description = "The best matches first", body = SearchResponse)))]
async fn find(
    State(app): State<AppState>,
    user: AuthUser,
    Query(params): Query<SearchQuery>,
) -> Result<Json<SearchResponse>> {
    let text = params.q.ok_or_else(|| ApiError::bad_request("q", "is required"))?;
    if text.chars().count() > 200 {
        return Err(ApiError::bad_request("q", "must have at most 200 characters"));
    }
    let limit = params.limit.unwrap_or(20);
    if !(1..=100).contains(&limit) {
        return Err(ApiError::bad_request("limit", "must be a whole number from 1 to 100"));
    }
    let model = app.model().await?;
    let codes: Option<Vec<String>> = params
        .entity
        .map(|text| text.split(',').map(|code| code.trim().to_owned()).filter(|code| !code.is_empty()).collect());
    if let Some(unknown) = codes.iter().flatten().find(|code| model.catalog.get(code).is_none()) {
        let excerpt: String = unknown.chars().take(60).collect();
        return Err(ApiError::bad_request("entity", format!("'{excerpt}' is not an entity type")));
    }
    let Some(query) = to_tsquery(&text) else { return Ok(Json(SearchResponse { data: Vec::new() })) };
    let mut connection = pmo_database::begin_snapshot_read(&app.pool).await?;
    let hits = search::find(&mut connection, user.person, &query, codes.as_deref(), limit).await?;
    let mut highlights = highlight(&mut connection, &model, &query, &hits).await?;
    let data = hits
        .into_iter()
        .map(|hit| SearchResult {
            highlight: highlights.remove(&hit.id).unwrap_or_default(),
            entity: hit.code,
            id: hit.id,
            permission: hit.level,
            rank: f64::from(hit.rank),
            title: hit.title,
        })
        .collect();
    Ok(Json(SearchResponse { data }))
}

/// Returns the matching texts of the hits, by entity.
async fn highlight(
    conn: &mut Connection,
    model: &EntityModel,
    query: &str,
    hits: &[SearchHit],
) -> Result<BTreeMap<Uuid, Highlights>> {
    // One query per type loads the texts.
    let mut by_code: BTreeMap<&str, Vec<Uuid>> = BTreeMap::new();
    for hit in hits {
        by_code.entry(&hit.code).or_default().push(hit.id);
    }
    let mut rows: BTreeMap<Uuid, Row> = BTreeMap::new();
    for (code, ids) in by_code {
        for row in row::by_ids(conn, model.entity(code)?, &ids, row::DeletedRows::Exclude).await? {
            rows.extend(pmo_domain::api_types::row_id(&row).map(|id| (id, row)));
        }
    }
    let mut texts: Vec<(Uuid, &str, String)> = Vec::new();
    for hit in hits {
        let (Some(row), Some(entity)) = (rows.get(&hit.id), model.catalog.get(&hit.code)) else { continue };
        for column in
            entity.columns.iter().filter(|column| matches!(column.kind, ColumnKind::ShortText | ColumnKind::LongText))
        {
            if let Some(text) = row.get(&column.name).and_then(Value::as_str).filter(|text| !text.is_empty()) {
                texts.push((hit.id, &column.name, text.to_owned()));
            }
        }
    }
    let sources: Vec<String> = texts.iter().map(|text| text.2.clone()).collect();
    let highlighted = search::highlight(conn, query, &sources).await?;
    let mut highlights: BTreeMap<Uuid, Highlights> = BTreeMap::new();
    for ((id, column, _), parts) in texts.into_iter().zip(highlighted) {
        if parts.iter().any(|part| part.1) {
            highlights.entry(id).or_default().insert(column.to_owned(), parts);
        }
    }
    Ok(highlights)
}

#[cfg(test)]
mod tests {
    use super::to_tsquery;

    #[test]
    fn any_input_becomes_a_valid_tsquery_or_none() {
        assert_eq!(to_tsquery("Website  relaunch!").as_deref(), Some("'website':* & 'relaunch':*"));
        assert_eq!(to_tsquery("a'b:*|!&(c)").as_deref(), Some("'a':* & 'b':* & 'c':*"));
        assert_eq!(to_tsquery(" …'\\ "), None);
    }
}
