//! Changes since a cursor, for clients without a WebSocket: the same as the feed would deliver.

use crate::auth::AuthUser;
use crate::error::{ApiError, Result};
use crate::state::AppState;
use axum::Json;
use axum::extract::{Query, State};
use pmo_database::{DatabaseError, change_log, permission};
use pmo_domain::change_log::{ChangeLogEntry, ReadPosition, check_resume};
use pmo_domain::protocol::{Change, CoalescedChanges};
use pmo_domain::{AncestorSetId, FeedCursor, UnixMillis};
use pmo_feed::AclCache;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use utoipa_axum::{router::OpenApiRouter, routes};

/// Returns the routes of this module.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(get_changes))
}

#[derive(serde::Deserialize)]
struct ChangesQuery {
    #[serde(alias = "since")]
    cursor: Option<String>,
    entities: Option<String>,
}

/// Returns the changes since a cursor.
#[utoipa::path(get, path = "/sync/changes", tag = "sync", params(
    ("cursor" = Option<String>, Query, description = "`cursor` of the previous response, or a `Feed-Cursor`; without it, only the current position is returned. `since` is an alias", example = "1.1200"),
    ("entities" = Option<String>, Query, description = "Entity types to include, separated by commas; default: all", example = "project,task")), responses(
    (status = 200, description = "Changes visible to the caller. `recovered` false: the cursor is too old or of another database, all cached data is stale. \
      `access` true: the caller's access has changed, revalidate all cached rows with `?ids=`", body = Object),
    (status = 400, description = "Invalid cursor"), (status = 401, description = "Not signed in")))]
async fn get_changes(
    State(app): State<AppState>,
    user: AuthUser,
    Query(query): Query<ChangesQuery>,
) -> Result<Json<Value>> {
    let invalid_cursor = || ApiError::bad_request("cursor", "is not a valid feed cursor");
    let entity_codes: Option<BTreeSet<&str>> =
        query.entities.as_deref().map(|codes| codes.split(',').map(str::trim).collect());
    let start: Option<FeedCursor> =
        query.cursor.as_deref().map(|c| c.parse().map_err(|_| invalid_cursor())).transpose()?;
    let mut connection = pmo_database::begin_snapshot_read(&app.pool).await?;
    let mut reader = app.visibility_cache.begin_read(&mut connection, user.person).await?;
    let cursor = reader.cursor.clone();
    let response = |recovered: bool, access: bool, data: Vec<Value>| {
        Json(
            json!({"recovered": recovered, "epoch": cursor.epoch.to_string(), "cursor": cursor.to_string(), "access": access, "data": data}),
        )
    };
    let start = start.filter(|start| check_resume(start, &cursor, ReadPosition::Current).is_ok());
    let Some(start) = start else { return Ok(response(false, false, Vec::new())) };
    let missed = change_log::read_catch_up(&mut connection, &start, None, &[], Some(user.person)).await?;
    let is_requested =
        |row: &ChangeLogEntry| entity_codes.as_ref().is_none_or(|codes| codes.contains(row.code.as_str()));
    if !missed.is_recoverable(usize::MAX, is_requested) {
        return Ok(response(false, false, Vec::new()));
    }
    // A link or unlink changes the lists in which an entity appears.
    let links_changed = missed.rows.iter().any(|row| row.code == "entity_instance_link");
    let mut changes_by_type: BTreeMap<String, CoalescedChanges> = BTreeMap::new();
    for row in missed.rows.iter().filter(|row| !row.is_access_change() && is_requested(row)) {
        let Some(ancestor_set) = row.ancestor_set else { continue };
        if reader.visibility(&mut connection, &row.code).await?.is_visible(row.id, ancestor_set) {
            let change = Change { entity_id: row.id, action: row.client_action(), version: row.version };
            changes_by_type.entry(row.code.to_string()).or_default().coalesce(change);
        }
    }
    let mut acl_cache = AclCache::default();
    let grants =
        permission::grant_sets(&mut connection, &[user.person]).await?.remove(&user.person).unwrap_or_default();
    acl_cache.set_grants(user.person, grants, UnixMillis::EPOCH);
    let ancestor_sets: Vec<AncestorSetId> = AclCache::ancestor_sets_of(&missed.access).into_iter().collect();
    for (ancestor_set, ancestors) in permission::ancestor_sets(&mut connection, &ancestor_sets).await? {
        acl_cache.insert_ancestor_set(ancestor_set, ancestors);
    }
    let access = links_changed || missed.grant_expired || !acl_cache.affected_by(&missed.access).notify.is_empty();
    connection.commit().await.map_err(DatabaseError::from)?;
    Ok(response(
        true,
        access,
        changes_by_type
            .into_iter()
            .map(|(code, changes)| json!({"entityCode": code, "changes": changes.into_vec()}))
            .collect(),
    ))
}
