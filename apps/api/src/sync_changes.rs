//! What has changed since a cursor, for clients without a socket: the same as the feed would have told them.

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

/// Looks at the log; who was away for more of it starts over.
const MAX_BATCHES: usize = 5;

/// The routes of this room.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(get_changes))
}

#[derive(serde::Deserialize)]
struct ChangesQuery {
    #[serde(alias = "since")]
    cursor: Option<String>,
    entities: Option<String>,
}

/// What has changed since a cursor.
#[utoipa::path(get, path = "/sync/changes", tag = "sync", params(
    ("cursor" = Option<String>, Query, description = "`cursor` of the answer before, or a `Feed-Cursor`; none: only where the feed stands. `since` is the same", example = "1.1200"),
    ("entities" = Option<String>, Query, description = "Types to tell of, separated by commas; none: all", example = "project,task")), responses(
    (status = 200, description = "Changes that the reader may see. `recovered` false: the cursor is too old or of another database, everything held is stale.\
      `access` true: what the reader may see has changed, everything held is to be asked for again by `?ids=`", body = Object),
    (status = 400, description = "Not a cursor"), (status = 401, description = "Not signed in")))]
async fn get_changes(
    State(app): State<AppState>,
    who: AuthUser,
    Query(asked): Query<ChangesQuery>,
) -> Result<Json<Value>> {
    let wrong = || ApiError::bad_request("cursor", "is not a cursor of the feed");
    let wanted: Option<BTreeSet<&str>> =
        asked.entities.as_deref().map(|codes| codes.split(',').map(str::trim).collect());
    let from: Option<FeedCursor> = asked.cursor.as_deref().map(|c| c.parse().map_err(|_| wrong())).transpose()?;
    let mut connection = pmo_database::begin_snapshot_read(&app.pool).await?;
    let mut reader = app.visibility_cache.begin_read(&mut connection, who.person).await?;
    let cursor = reader.cursor.clone();
    let answer = |recovered: bool, access: bool, data: Vec<Value>| {
        Json(
            json!({"recovered": recovered, "epoch": cursor.epoch.to_string(), "cursor": cursor.to_string(), "access": access, "data": data}),
        )
    };
    let known = from.filter(|from| {
        from.epoch == cursor.epoch
            && from.snapshot.xmin <= cursor.snapshot.xmin
            && from.snapshot.xmin.saturating_add(ACCESS_CHANGE_WINDOW_XIDS) >= cursor.snapshot.xmin
    });
    let Some(from) = known else { return Ok(answer(false, false, Vec::new())) };
    if !change_log::retains_since(&mut connection, &from).await? {
        return Ok(answer(false, false, Vec::new()));
    }
    let (mut after, mut changes, mut tied) = (None, BTreeSet::new(), false);
    let mut told: BTreeMap<String, CoalescedChanges> = BTreeMap::new();
    for looks in 0.. {
        let (begun, finished) = (from.snapshot.xmax, &from.snapshot.in_progress);
        let range =
            change_log::LogRange { epoch: from.epoch, from: begun, finished, until: None, after, by_parent: &[] };
        let look = change_log::read_batch(&mut connection, &range).await?;
        changes.extend(look.access);
        after = look.rows.last().map(|row| (row.xid, row.seq));
        for row in &look.rows {
            // What was tied to another thing, or untied, is in other lists now.
            tied |= row.code == "entity_instance_link";
            if !row.is_access_change() && wanted.as_ref().is_some_and(|codes| !codes.contains(row.code.as_str())) {
                continue;
            }
            let Some(reach) = row.ancestor_set.filter(|_| !row.is_access_change()) else {
                // Of what was purged before it was noted where it had been it is not known any more who saw it.
                if row.client_action() == Action::Delete {
                    return Ok(answer(false, false, Vec::new()));
                }
                continue;
            };
            if reader.visibility(&mut connection, &row.code).await?.is_visible(row.id, reach) {
                let change = Change { entity_id: row.id, action: row.client_action(), version: row.version };
                told.entry(row.code.to_string()).or_default().coalesce(change);
            }
        }
        if !look.has_more {
            break;
        }
        if looks == MAX_BATCHES {
            return Ok(answer(false, false, Vec::new()));
        }
    }
    let mut access = AclCache::default();
    let held = permission::grant_sets(&mut connection, &[who.person]).await?.remove(&who.person).unwrap_or_default();
    access.set_grants(who.person, held, 0);
    let moved: Vec<i32> = AclCache::ancestor_sets_of(&changes).into_iter().collect();
    for (reach, above) in permission::ancestor_sets(&mut connection, &moved).await? {
        access.insert_ancestor_set(reach, above);
    }
    let access = tied
        || !access.affected_by(&changes).notify.is_empty()
        || change_log::grant_expired_since(&mut connection, who.person.0, &from).await?;
    connection.commit().await.map_err(DatabaseError::from)?;
    Ok(answer(
        true,
        access,
        told.into_iter().map(|(code, changes)| json!({"entityCode": code, "changes": changes.into_vec()})).collect(),
    ))
}
