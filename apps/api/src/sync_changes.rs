//! Changes since a cursor, for clients without a WebSocket: the same as the feed would deliver.

use crate::auth::AuthUser;
use crate::error::{ApiError, Result};
use crate::openapi::Unauthorized;
use crate::state::AppState;
use axum::Json;
use axum::extract::{Query, State};
use pmo_database::{Connection, DatabaseError, change_log, permission};
use pmo_domain::change_log::{AccessChange, ChangeLogEntry, ReadPosition, check_resume};
use pmo_domain::protocol::{Change, CoalescedChanges};
use pmo_domain::{AncestorSetId, FeedCursor, PersonId, UnixMillis};
use pmo_feed::AclCache;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use utoipa::ToSchema;
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

/// Changes of entities of one type.
#[derive(Serialize, ToSchema)]
struct EntityChanges {
    /// At most one change per entity.
    changes: Vec<Change>,
    /// Type code.
    #[serde(rename = "entityCode")]
    entity_code: String,
}

/// Changes since a cursor that are visible to the caller.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({
    "recovered": true, "epoch": "1", "cursor": "1.1207", "access": false,
    "data": [{"entityCode": "milestone", "changes": [{"entityId": "01a2056d-3563-7049-ab62-bfe1ca58ce3f", "action": "UPDATE", "version": 2}]}]
})))]
struct ChangesResponse {
    /// Whether the caller's access has changed: all cached rows must be revalidated with `?ids=`.
    access: bool,
    /// `cursor` of the next request.
    cursor: String,
    /// Changes by type.
    data: Vec<EntityChanges>,
    /// Identifies the incarnation of the database.
    epoch: String,
    /// False: the cursor is too old or of another database, and all cached data is stale.
    recovered: bool,
}

/// Returns the changes since a cursor.
#[utoipa::path(get, path = "/sync/changes", tag = "sync", params(
    ("cursor" = Option<String>, Query, description = "`cursor` of the previous response, or a `Feed-Cursor`; without it, only the current position is returned. `since` is an alias", example = "1.1200"),
    ("entities" = Option<String>, Query, description = "Entity types to include, separated by commas; default: all", example = "project,task")), responses(Unauthorized,
    (status = 200, description = "Changes visible to the caller. `recovered` false: the cursor is too old or of another database, all cached data is stale. \
      `access` true: the caller's access has changed, revalidate all cached rows with `?ids=`", body = ChangesResponse),
    (status = 400, description = "Invalid cursor")))]
async fn get_changes(
    State(app): State<AppState>,
    user: AuthUser,
    Query(query): Query<ChangesQuery>,
) -> Result<Json<ChangesResponse>> {
    let invalid_cursor = || ApiError::bad_request("cursor", "is not a valid feed cursor");
    let entity_codes: Option<BTreeSet<&str>> =
        query.entities.as_deref().map(|codes| codes.split(',').map(str::trim).collect());
    let start: Option<FeedCursor> =
        query.cursor.as_deref().map(|c| c.parse().map_err(|_| invalid_cursor())).transpose()?;
    let mut connection = pmo_database::begin_snapshot_read(&app.pool).await?;
    let mut reader = app.visibility_cache.begin_read(&mut connection, user.person).await?;
    let cursor = reader.cursor.clone();
    let mut response = ChangesResponse {
        access: false,
        cursor: cursor.to_string(),
        data: Vec::new(),
        epoch: cursor.epoch.to_string(),
        recovered: false,
    };
    let start = start.filter(|start| check_resume(start, &cursor, ReadPosition::Current).is_ok());
    let Some(start) = start else { return Ok(Json(response)) };
    let missed = change_log::read_catch_up(&mut connection, &start, None, &[], Some(user.person)).await?;
    let is_requested =
        |row: &ChangeLogEntry| entity_codes.as_ref().is_none_or(|codes| codes.contains(row.code.as_str()));
    if !missed.is_recoverable(usize::MAX, is_requested) {
        return Ok(Json(response));
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
    response.recovered = true;
    response.access =
        links_changed || missed.grant_expired || access_changed(&mut connection, user.person, &missed.access).await?;
    connection.commit().await.map_err(DatabaseError::from)?;
    let entry =
        |(entity_code, changes): (String, CoalescedChanges)| EntityChanges { changes: changes.into_vec(), entity_code };
    response.data = changes_by_type.into_iter().map(entry).collect();
    Ok(Json(response))
}

/// Returns whether access changes affect a person.
async fn access_changed(conn: &mut Connection, person: PersonId, changes: &BTreeSet<AccessChange>) -> Result<bool> {
    let mut acl_cache = AclCache::default();
    let grants = permission::grant_sets(conn, &[person]).await?.remove(&person).unwrap_or_default();
    acl_cache.set_grants(person, grants, UnixMillis::EPOCH);
    let ancestor_sets: Vec<AncestorSetId> = AclCache::ancestor_sets_of(changes).into_iter().collect();
    for (ancestor_set, ancestors) in permission::ancestor_sets(conn, &ancestor_sets).await? {
        acl_cache.insert_ancestor_set(ancestor_set, ancestors);
    }
    Ok(!acl_cache.affected_by(changes).notify.is_empty())
}
