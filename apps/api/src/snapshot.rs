//! A whole tree for a device that keeps it offline: a thing and all that hangs below it by owned links, as far as the reader may see it, in one state of
//! the database. It is told line by line while it is read, so that the server never holds it whole. A reading keeps a connection and a state of the
//! database: few go on at once, and one that takes too long is cut off.

use crate::auth::AuthUser;
use crate::entity::read::{FEED_CURSOR, with_permission};
use crate::error::{ApiError, Result};
use crate::state::AppState;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use pmo_database::{DatabaseError, link, list, permission, row};
use pmo_domain::api_types::MAX_IDS_PER_REQUEST;
use pmo_domain::query::ListQuery;
use pmo_domain::{EntityCode, FeedCursor};
use serde::Deserialize;
use serde_json::json;
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

/// Things that a device may keep of one tree.
const MAX_ROWS: usize = 100_000;
/// How long a line may wait for its reader,
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// and how long all of them may take.
const STREAM_TIMEOUT: Duration = Duration::from_secs(300);
/// How long one waits for a turn.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(10);
/// Snapshots that are read at once.
const MAX_CONCURRENT: usize = 3;
static PERMITS: Semaphore = Semaphore::const_new(MAX_CONCURRENT);

/// The routes of this room.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(snapshot))
}

/// Whose tree.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct SnapshotQuery {
    /// The type of the thing.
    #[param(example = "project")]
    entity: String,
    /// The thing.
    id: Uuid,
}

type Lines = mpsc::Sender<std::result::Result<Bytes, std::io::Error>>;

/// A thing with all that belongs to it.
#[utoipa::path(get, path = "/sync/snapshot", tag = "sync", params(SnapshotQuery), responses(
    (status = 200, description = "NDJSON; Feed-Cursor in the headers. Each line has up to 200 rows of a type: `entity_code`, `data` (rows as `?ids=` tells them) and \
      `ref_data_entityInstance`; the first is the thing itself. Then come lines with up to 200 `ties`: of a `parent` and a type `child`, whose place no column of the \
      child tells, the `ids` that hang there. The last line is `{\"complete\":true}`: without it the rest is missing", body = String, content_type = "application/x-ndjson"),
    (status = 400, description = "A parameter is missing or can't be read"), (status = 401, description = "Not signed in"),
    (status = 404, description = "No such thing for this reader"), (status = 422, description = "More than 100,000 things hang below it")))]
async fn snapshot(State(app): State<AppState>, who: AuthUser, Query(root): Query<SnapshotQuery>) -> Result<Response> {
    let (lines, mut told) = mpsc::channel(2);
    let (begun, ready) = oneshot::channel();
    tokio::spawn(async move {
        // What goes wrong before the first line is the answer; later it cuts the answer short, which its reader notices.
        let mut begun = Some(begun);
        let told = async {
            let waited = tokio::time::timeout(PERMIT_TIMEOUT, PERMITS.acquire()).await;
            let _turn = waited.ok().and_then(std::result::Result::ok).ok_or(ApiError::Unavailable)?;
            let all = tokio::time::timeout(STREAM_TIMEOUT, stream_tree(&app, &who, &root, &mut begun, &lines)).await;
            all.unwrap_or(Err(ApiError::Unavailable))
        };
        let told = told.await;
        if let Err(error) = told {
            match begun.take() {
                Some(begun) => drop(begun.send(Err(error))),
                None => drop(lines.send(Err(std::io::Error::other("the snapshot can't go on"))).await),
            }
        }
    });
    let cursor = ready.await.map_err(|_| ApiError::Internal)??;
    let stream = futures_util::stream::poll_fn(move |context| told.poll_recv(context));
    let mut response = Body::from_stream(stream).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    if let Ok(cursor) = HeaderValue::from_str(&cursor.to_string()) {
        response.headers_mut().insert(FEED_CURSOR.clone(), cursor);
    }
    Ok(response)
}

async fn stream_tree(
    app: &AppState,
    who: &AuthUser,
    root: &SnapshotQuery,
    begun: &mut Option<oneshot::Sender<Result<FeedCursor>>>,
    lines: &Lines,
) -> Result<()> {
    let model = app.model_for_type(&root.entity).await?;
    let entity = model.entity(&root.entity)?;
    let mut connection = pmo_database::begin_snapshot_read(&app.pool).await?;
    let mut reader = app.visibility_cache.begin_read(&mut connection, who.person).await?;
    permission::permission_on(&mut connection, who.person, &entity.code, root.id).await?.ok_or(ApiError::NotFound)?;
    if !row::filter_existing(&mut connection, entity, &[root.id]).await?.contains(&root.id) {
        return Err(ApiError::NotFound);
    }
    let below = link::descendants(&mut connection, &entity.code, root.id, MAX_ROWS + 1).await?;
    if below.len() > MAX_ROWS {
        return Err(ApiError::unprocessable(
            "id",
            format!("more than {MAX_ROWS} things hang below it: keep parts of it"),
        ));
    }
    if let Some(begun) = begun.take() {
        let _ = begun.send(Ok(reader.cursor.clone()));
    }
    let mut of_type: BTreeMap<EntityCode, Vec<Uuid>> = BTreeMap::new();
    for (code, id) in below {
        of_type.entry(code).or_default().push(id);
    }
    let itself = (entity.code.clone(), vec![root.id]);
    let mut told: HashSet<Uuid> = HashSet::new();
    for (code, ids) in std::iter::once(itself).chain(of_type) {
        let Some(entity) = model.catalogue.get(code.as_str()) else { continue };
        for ids in ids.chunks(MAX_IDS_PER_REQUEST) {
            let query = ListQuery { ids: Some(ids.to_vec()), limit: MAX_IDS_PER_REQUEST, ..ListQuery::default() };
            let page = list::fetch_page(&mut connection, &mut reader, &app.row_cache, entity, &query, None).await?;
            let names = row::reference_names(&mut connection, &mut reader, entity, &page.referenced_ids).await?;
            let levels = permission::permissions_of(&mut connection, &[who.person], &entity.code, ids).await?;
            let mut line = format!("{{\"entity_code\":{},\"data\":[", json!(code));
            for (n, listed) in page.rows.iter().enumerate() {
                line.extend((n > 0).then_some(','));
                told.insert(listed.id);
                match levels.get(&(who.person, listed.id)) {
                    Some(level) => line += &with_permission(listed.row.json.get(), *level),
                    None => line += listed.row.json.get(),
                }
            }
            line += &format!("],\"ref_data_entityInstance\":{}}}\n", json!(names));
            if !send_line(lines, line).await {
                return Ok(());
            }
        }
    }
    // Of what its reader does not see nothing is told, not even that it hangs there.
    let mut ties = Vec::new();
    for (code, id, child, mut ids) in link::free_links(&mut connection, &entity.code, root.id).await? {
        ids.retain(|id| told.contains(id));
        if told.contains(&id) && !ids.is_empty() {
            ties.push(json!({"parent": {"code": code, "id": id}, "child": child, "ids": ids}));
        }
    }
    // That there are none is told as well.
    let none = ties.is_empty().then_some(&[][..]);
    for ties in none.into_iter().chain(ties.chunks(MAX_IDS_PER_REQUEST)) {
        if !send_line(lines, format!("{}\n", json!({ "ties": ties }))).await {
            return Ok(());
        }
    }
    connection.commit().await.map_err(DatabaseError::from)?;
    send_line(lines, "{\"complete\":true}\n".to_owned()).await;
    Ok(())
}

/// Tells a line; false where nobody reads any more.
async fn send_line(lines: &Lines, line: String) -> bool {
    matches!(tokio::time::timeout(SEND_TIMEOUT, lines.send(Ok(line.into()))).await, Ok(Ok(())))
}
