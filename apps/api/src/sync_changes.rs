//! Changes since a cursor, for clients without a WebSocket: the same as the feed would deliver.

use crate::auth::AuthUser;
use crate::error::{ApiError, Result};
use crate::state::AppState;
use axum::Json;
use axum::extract::{Query, State};
use pmo_database::{DatabaseError, change_log, permission};
use pmo_domain::FeedCursor;
use pmo_domain::cursor::ACCESS_CHANGE_WINDOW_XIDS;
use pmo_domain::protocol::{Action, Change, CoalescedChanges};
use pmo_feed::AclCache;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use utoipa_axum::{router::OpenApiRouter, routes};

/// Maximum number of further log batches that a request reads after the first.
///
/// A client that is further behind must start over.
const MAX_BATCHES: usize = 5;

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
    let start = start.filter(|start| {
        start.epoch == cursor.epoch
            && start.snapshot.xmin <= cursor.snapshot.xmin
            && start.snapshot.xmin.saturating_add(ACCESS_CHANGE_WINDOW_XIDS) >= cursor.snapshot.xmin
    });
    let Some(start) = start else { return Ok(response(false, false, Vec::new())) };
    if !change_log::retains_since(&mut connection, &start).await? {
        return Ok(response(false, false, Vec::new()));
    }
    let (mut after, mut changes, mut links_changed) = (None, BTreeSet::new(), false);
    let mut changes_by_type: BTreeMap<String, CoalescedChanges> = BTreeMap::new();
    for batches in 0.. {
        let (first_xid, finished) = (start.snapshot.xmax, &start.snapshot.in_progress);
        let range =
            change_log::LogRange { epoch: start.epoch, from: first_xid, finished, until: None, after, by_parent: &[] };
        let batch = change_log::read_batch(&mut connection, &range).await?;
        changes.extend(batch.access);
        after = batch.rows.last().map(|row| (row.xid, row.seq));
        for row in &batch.rows {
            // A link or unlink changes the lists in which an entity appears.
            links_changed |= row.code == "entity_instance_link";
            if !row.is_access_change() && entity_codes.as_ref().is_some_and(|codes| !codes.contains(row.code.as_str()))
            {
                continue;
            }
            let Some(ancestor_set) = row.ancestor_set.filter(|_| !row.is_access_change()) else {
                // The ancestor set of a purged entity may be unknown, and with it the users who
                // could see the entity.
                if row.client_action() == Action::Delete {
                    return Ok(response(false, false, Vec::new()));
                }
                continue;
            };
            if reader.visibility(&mut connection, &row.code).await?.is_visible(row.id, ancestor_set) {
                let change = Change { entity_id: row.id, action: row.client_action(), version: row.version };
                changes_by_type.entry(row.code.to_string()).or_default().coalesce(change);
            }
        }
        if !batch.has_more {
            break;
        }
        if batches == MAX_BATCHES {
            return Ok(response(false, false, Vec::new()));
        }
    }
    let mut acl_cache = AclCache::default();
    let grants =
        permission::grant_sets(&mut connection, &[user.person]).await?.remove(&user.person).unwrap_or_default();
    acl_cache.set_grants(user.person, grants, 0);
    let ancestor_sets: Vec<i32> = AclCache::ancestor_sets_of(&changes).into_iter().collect();
    for (ancestor_set, ancestors) in permission::ancestor_sets(&mut connection, &ancestor_sets).await? {
        acl_cache.insert_ancestor_set(ancestor_set, ancestors);
    }
    let access = links_changed
        || !acl_cache.affected_by(&changes).notify.is_empty()
        || change_log::grant_expired_since(&mut connection, user.person.0, &start).await?;
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
