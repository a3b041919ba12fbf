//! Snapshot of a tree for pinning: an entity and all its owned descendants.
//!
//! Contains the entities that the caller may see, all from one database snapshot. The response is
//! streamed line by line while it is read, so that memory use does not depend on the size of the
//! tree. Each stream occupies a connection and a database snapshot; the number of concurrent
//! streams and their duration are therefore limited.

use crate::auth::AuthUser;
use crate::entity::read::{FEED_CURSOR, with_permission};
use crate::error::{ApiError, Result};
use crate::openapi::{NotVisible, References, RowSchema, Unauthorized};
use crate::state::AppState;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use pmo_database::{DatabaseError, link, list, permission, row};
use pmo_domain::api_types::MAX_IDS_PER_REQUEST;
use pmo_domain::query::ListQuery;
use pmo_domain::{EntityCode, FeedCursor, Row};
use serde::Deserialize;
use serde_json::json;
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

/// Maximum number of descendants of a tree.
const MAX_ROWS: usize = 100_000;
/// Maximum time that a line waits for a slow client.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum duration of a stream.
const STREAM_TIMEOUT: Duration = Duration::from_secs(300);
/// Maximum time that a request waits for a permit.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of concurrent streams.
const MAX_CONCURRENT: usize = 3;
static PERMITS: Semaphore = Semaphore::const_new(MAX_CONCURRENT);

/// Returns the routes of this module.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(snapshot))
}

/// Query parameters of a snapshot.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct SnapshotQuery {
    /// Entity type code of the root.
    #[param(example = "project")]
    entity: String,
    /// Id of the root entity.
    id: Uuid,
}

/// A line: rows of a type, links without a column, or the end marker of a complete response.
#[derive(ToSchema)]
#[schema(examples(json!({
    "entity_code": "task",
    "data": [{"id": "0190163d-8694-739b-aea5-966c26f8ad91", "name": "Sitemap", "version": 3, "permission": 7}],
    "ref_data_entityInstance": {}
})))]
#[expect(dead_code, reason = "describes a streamed body")]
struct SnapshotLine {
    /// Type code.
    #[schema(nullable = false)]
    entity_code: Option<String>,
    /// Up to 200 rows.
    #[schema(nullable = false, value_type = Option<Vec<RowSchema>>)]
    data: Option<Vec<Row>>,
    /// Titles of the entities that the rows reference.
    #[schema(nullable = false, rename = "ref_data_entityInstance")]
    references: Option<References>,
    /// Up to 200 parents with the ids of their children.
    #[schema(nullable = false, rename = "ties")]
    links: Option<Vec<SnapshotLinks>>,
    /// True on the last line.
    #[schema(nullable = false)]
    complete: Option<bool>,
}

/// Links of a parent to its children of one type.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a streamed body")]
struct SnapshotLinks {
    /// Parent.
    parent: SnapshotParent,
    /// Type code of the children.
    child: String,
    /// Ids of the children.
    ids: Vec<Uuid>,
}

/// Parent of links.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a streamed body")]
struct SnapshotParent {
    /// Type code.
    code: String,
    /// Entity id.
    id: Uuid,
}

type Lines = mpsc::Sender<std::result::Result<Bytes, std::io::Error>>;

/// Streams an entity and its owned descendants.
#[utoipa::path(get, path = "/sync/snapshot", tag = "sync", params(SnapshotQuery), responses(
    (status = 200, description = "NDJSON; header Feed-Cursor. Each line has up to 200 rows of a type: `entity_code`, `data` (rows as with `?ids=`) and \
      `ref_data_entityInstance`; the first line is the root entity. Then follow lines with up to 200 `ties`: for a `parent` and a child type `child` without a column \
      for the relation, the `ids` of the children. The last line is `{\"complete\":true}`; without it the response is incomplete", body = SnapshotLine, content_type = "application/x-ndjson"),
    (status = 400, description = "A parameter is missing or invalid"), Unauthorized,
    NotVisible, (status = 422, description = "The tree has more than 100,000 entities")))]
async fn snapshot(State(app): State<AppState>, user: AuthUser, Query(root): Query<SnapshotQuery>) -> Result<Response> {
    let (lines, mut line_receiver) = mpsc::channel(2);
    let (cursor_sender, cursor_receiver) = oneshot::channel();
    tokio::spawn(async move {
        // An error before the first line becomes the response. A later error truncates the stream;
        // the client detects it by the missing last line.
        let mut cursor_sender = Some(cursor_sender);
        let result = async {
            let permit = tokio::time::timeout(PERMIT_TIMEOUT, PERMITS.acquire()).await;
            let _permit = permit.ok().and_then(std::result::Result::ok).ok_or(ApiError::Unavailable)?;
            let outcome =
                tokio::time::timeout(STREAM_TIMEOUT, stream_tree(&app, &user, &root, &mut cursor_sender, &lines)).await;
            outcome.unwrap_or(Err(ApiError::Unavailable))
        };
        let result = result.await;
        if let Err(error) = result {
            match cursor_sender.take() {
                Some(cursor_sender) => drop(cursor_sender.send(Err(error))),
                None => drop(lines.send(Err(std::io::Error::other("snapshot interrupted"))).await),
            }
        }
    });
    let cursor = cursor_receiver.await.map_err(|_| ApiError::Internal)??;
    let stream = futures_util::stream::poll_fn(move |context| line_receiver.poll_recv(context));
    let mut response = Body::from_stream(stream).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    if let Ok(cursor) = HeaderValue::from_str(&cursor.to_string()) {
        response.headers_mut().insert(FEED_CURSOR.clone(), cursor);
    }
    Ok(response)
}

async fn stream_tree(
    app: &AppState,
    user: &AuthUser,
    root: &SnapshotQuery,
    cursor_sender: &mut Option<oneshot::Sender<Result<FeedCursor>>>,
    lines: &Lines,
) -> Result<()> {
    let model = app.model_for_type(&root.entity).await?;
    let entity = model.entity(&root.entity)?;
    let mut connection = pmo_database::begin_snapshot_read(&app.pool).await?;
    let mut reader = app.visibility_cache.begin_read(&mut connection, user.person).await?;
    permission::permission_on(&mut connection, user.person, &entity.code, root.id).await?.ok_or(ApiError::NotFound)?;
    if !row::filter_existing(&mut connection, entity, &[root.id]).await?.contains(&root.id) {
        return Err(ApiError::NotFound);
    }
    let descendants = link::descendants(&mut connection, &entity.code, root.id, MAX_ROWS + 1).await?;
    if descendants.len() > MAX_ROWS {
        return Err(ApiError::unprocessable("id", format!("tree has more than {MAX_ROWS} entities; pin a subtree")));
    }
    if let Some(cursor_sender) = cursor_sender.take() {
        let _ = cursor_sender.send(Ok(reader.cursor.clone()));
    }
    let mut ids_by_type: BTreeMap<EntityCode, Vec<Uuid>> = BTreeMap::new();
    for (code, id) in descendants {
        ids_by_type.entry(code).or_default().push(id);
    }
    let root_ids = (entity.code.clone(), vec![root.id]);
    let mut sent: HashSet<Uuid> = HashSet::new();
    for (code, ids) in std::iter::once(root_ids).chain(ids_by_type) {
        let Some(entity) = model.catalog.get(code.as_str()) else { continue };
        for ids in ids.chunks(MAX_IDS_PER_REQUEST) {
            let query = ListQuery { ids: Some(ids.to_vec()), limit: MAX_IDS_PER_REQUEST, ..ListQuery::default() };
            let page = list::fetch_page(&mut connection, &mut reader, &app.row_cache, entity, &query, None).await?;
            let names = row::reference_names(&mut connection, &mut reader, entity, &page.referenced_ids).await?;
            let levels = permission::permissions_of(&mut connection, &[user.person], &entity.code, ids).await?;
            let mut line = format!("{{\"entity_code\":{},\"data\":[", json!(code));
            for (index, entry) in page.rows.iter().enumerate() {
                line.extend((index > 0).then_some(','));
                sent.insert(entry.id);
                match levels.get(&(user.person, entry.id)) {
                    Some(level) => line += &with_permission(entry.row.json.get(), *level),
                    None => line += entry.row.json.get(),
                }
            }
            line += &format!("],\"ref_data_entityInstance\":{}}}\n", json!(names));
            if !send_line(lines, line).await {
                return Ok(());
            }
        }
    }
    // Links to entities that the caller may not see are left out.
    let mut links = Vec::new();
    for mut free_links in link::free_links(&mut connection, &entity.code, root.id).await? {
        free_links.ids.retain(|id| sent.contains(id));
        if sent.contains(&free_links.parent.id) && !free_links.ids.is_empty() {
            links.push(free_links);
        }
    }
    // An empty list is sent as well: it states that there are no links.
    let empty = links.is_empty().then_some(&[][..]);
    for links in empty.into_iter().chain(links.chunks(MAX_IDS_PER_REQUEST)) {
        if !send_line(lines, format!("{}\n", json!({ "ties": links }))).await {
            return Ok(());
        }
    }
    connection.commit().await.map_err(DatabaseError::from)?;
    send_line(lines, "{\"complete\":true}\n".to_owned()).await;
    Ok(())
}

/// Sends a line.
///
/// Returns `false` if the client has disconnected or is slower than [`SEND_TIMEOUT`].
async fn send_line(lines: &Lines, line: String) -> bool {
    matches!(tokio::time::timeout(SEND_TIMEOUT, lines.send(Ok(line.into()))).await, Ok(Ok(())))
}
