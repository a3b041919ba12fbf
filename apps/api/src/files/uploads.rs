//! Resumable uploads: created, received in parts, and completed into an artifact.

use super::artifact::{connection, visible_artifact};
use super::blob_store::{ByteStream, StoreError, StoredBlob};
use super::media_type;

use crate::auth::AuthUser;
use crate::entity::read::render_row;
use crate::entity::{Mutation, MutationKind, MutationResponse, parse_id};
use crate::error::{ApiError, Result};
use crate::extract::JsonBody;
use crate::openapi::{EntitySchema, InvalidJson, NotVisible, Unauthorized};
use crate::state::{AppState, EntityModel};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use pmo_database::upload::{self, Upload};
use pmo_database::{Connection, DatabaseError, permission, row};
use pmo_domain::{EntityCode, Permission, PersonId, Row};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use utoipa::ToSchema;
use uuid::Uuid;

/// Maximum number of open uploads per person.
const MAX_OPEN_UPLOADS: usize = 50;
/// Quota of a person for two days, as a multiple of the maximum file size.
const RECENT_UPLOAD_QUOTA_FILES: u64 = 20;
/// Permits for completing uploads: each reads a whole file.
static FINALIZE_PERMITS: Semaphore = Semaphore::const_new(2);
/// Maximum size of an upload part, in bytes; each must arrive within a minute.
const MAX_PART_BYTES: u64 = 16 << 20;

/// Upload to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({
    "name": "contract.pdf", "size_bytes": 48213, "entity": "project", "id": "0abb4da0-deec-9b5b-b295-27caaa6c94e5"
})))]
pub(super) struct NewUpload {
    /// File name.
    name: String,
    /// Size in bytes.
    size_bytes: u64,
    /// Type of the parent of the new artifact, or `artifact`.
    entity: String,
    /// Id of the parent.
    ///
    /// If it is an artifact, the upload fills it, or supersedes it if it has a file already.
    id: Uuid,
    /// Fingerprint by which a client finds an interrupted upload.
    ///
    /// An open upload with the same fingerprint, target and size is returned instead of a new one.
    #[serde(default)]
    fingerprint: Option<String>,
}

/// State of an upload.
#[derive(Serialize, ToSchema)]
#[schema(as = Upload, examples(json!({
    "id": "01a2056d-3563-7049-ab62-bfe1ca58ce3f", "name": "contract.pdf", "size_bytes": 48213, "offset": 0,
    "part_bytes": 16777216, "entity": "project", "entity_id": "0abb4da0-deec-9b5b-b295-27caaa6c94e5", "fingerprint": null,
    "artifact_id": null
})))]
pub(super) struct UploadState {
    /// Artifact that the completed upload became.
    #[schema(required)]
    artifact_id: Option<Uuid>,
    /// Type of the parent of the new artifact, or `artifact`.
    #[schema(value_type = String)]
    entity: EntityCode,
    /// Id of the parent.
    entity_id: Uuid,
    /// Fingerprint by which the client finds the upload after an interruption.
    #[schema(required)]
    fingerprint: Option<String>,
    /// Upload id.
    id: Uuid,
    /// File name.
    name: String,
    /// Number of stored bytes: the offset of the next part.
    offset: u64,
    /// Maximum size of a part, in bytes.
    part_bytes: u64,
    /// Size of the complete file, in bytes.
    size_bytes: i64,
}

impl UploadState {
    fn new(upload: &Upload, received: u64) -> Self {
        let (entity, entity_id) = upload.target.clone();
        Self {
            artifact_id: upload.artifact_id,
            entity,
            entity_id,
            fingerprint: upload.fingerprint.clone(),
            id: upload.id,
            name: upload.name.clone(),
            // A completed upload has become a blob, and its received bytes have been discarded.
            offset: if upload.artifact_id.is_some() { upload.size.unsigned_abs() } else { received },
            part_bytes: MAX_PART_BYTES,
            size_bytes: upload.size,
        }
    }
}

/// The caller's open uploads.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({"data": []})))]
pub(super) struct UploadList {
    /// Uploads, oldest first.
    data: Vec<UploadState>,
}

/// Checks that a person may attach a file to `target`, which must not be deleted.
///
/// Called when an upload is created and again when it is completed.
async fn check_can_attach(
    app: &AppState,
    conn: &mut Connection,
    person: PersonId,
    target: &(EntityCode, Uuid),
) -> Result<()> {
    let level = permission::permission_on(conn, person, &target.0, target.1).await?.ok_or(ApiError::NotFound)?;
    let model = app.model_for_type(target.0.as_str()).await?;
    let existing = row::filter_existing(conn, model.entity(target.0.as_str())?, &[target.1]).await?;
    if !existing.contains(&target.1) {
        return Err(ApiError::NotFound);
    }
    let required = if target.0 == "artifact" {
        Permission::Edit
    } else {
        let relation = model.catalog.child_relation(target.0.as_str(), "artifact");
        relation
            .map(|relation| relation.create_permission)
            .ok_or_else(|| ApiError::unprocessable("entity", "does not accept artifacts"))?
    };
    if level < required {
        return Err(ApiError::Forbidden(crate::entity::permission_message(required, level)));
    }
    Ok(())
}

/// Returns the parent for a new version of an artifact.
///
/// This is the first parent of the artifact to which the writer may attach files.
async fn version_parent(
    app: &AppState,
    conn: &mut Connection,
    person: PersonId,
    artifact: Uuid,
) -> Result<(EntityCode, Uuid)> {
    for parent in upload::artifact_parents(conn, artifact).await? {
        match check_can_attach(app, conn, person, &parent).await {
            Ok(()) => return Ok(parent),
            // A database failure is not a missing permission.
            Err(error @ (ApiError::Unavailable | ApiError::Internal)) => return Err(error),
            Err(_) => {}
        }
    }
    Err(ApiError::Forbidden("You cannot attach files to any parent of this artifact.".into()))
}

/// Lists the caller's open uploads.
#[utoipa::path(get, path = "/upload", tag = "files", responses(Unauthorized,
    (status = 200, description = "The open uploads", body = UploadList)))]
pub(super) async fn list_uploads(State(app): State<AppState>, user: AuthUser) -> Result<Json<UploadList>> {
    let uploads = upload::list_unfinished(&mut *connection(&app).await?, user.person).await?;
    let mut data = Vec::new();
    for upload in uploads {
        data.push(UploadState::new(&upload, app.files.received_bytes(upload.id).await?));
    }
    Ok(Json(UploadList { data }))
}

/// Creates an upload. Its parts follow; `complete` then creates an artifact.
#[utoipa::path(post, path = "/upload", tag = "files", request_body = NewUpload, responses(Unauthorized, InvalidJson, NotVisible,
    (status = 200, description = "The upload exists already; continue from `offset`", body = UploadState),
    (status = 201, description = "The upload, with `offset` 0", body = UploadState), (status = 403, description = "Forbidden: requires permission to attach files"),
    (status = 413, description = "File too large"), (status = 422, description = "Validation failed, or too many open uploads")))]
pub(super) async fn create_upload(
    State(app): State<AppState>,
    user: AuthUser,
    JsonBody(body): JsonBody,
) -> Result<(StatusCode, Json<UploadState>)> {
    let request: NewUpload =
        serde_json::from_value(body).map_err(|e| ApiError::unprocessable("body", e.to_string()))?;
    let max_mb = app.settings.file_limit_mb;
    let size = i64::try_from(request.size_bytes).ok().filter(|_| request.size_bytes <= max_mb << 20);
    let size = size.ok_or_else(|| ApiError::PayloadTooLarge(format!("The maximum file size is {max_mb} MB.")))?;
    if request.fingerprint.as_ref().is_some_and(|f| f.is_empty() || f.len() > 1000 || f.contains('\0')) {
        return Err(ApiError::unprocessable("fingerprint", "must be a string of 1 to 1000 bytes"));
    }
    let code = app.model_for_type(&request.entity).await?.entity(&request.entity)?.code.clone();
    let mut transaction = pmo_database::begin(&app.pool, &user.actor).await?;
    let target = (code, request.id);
    // Checked before the client sends the bytes.
    check_target(&app, &mut transaction, user.person, &target).await?;
    let name = media_type::sanitize_filename(&request.name);
    let unfinished = upload::list_unfinished(&mut transaction, user.person).await?;
    let is_same = |u: &&Upload| {
        u.fingerprint.is_some() && u.fingerprint == request.fingerprint && u.target == target && u.size == size
    };
    if let Some(same) = unfinished.iter().find(is_same) {
        return Ok((StatusCode::OK, Json(UploadState::new(same, app.files.received_bytes(same.id).await?))));
    }
    if unfinished.len() >= MAX_OPEN_UPLOADS {
        return Err(ApiError::unprocessable(
            "name",
            format!("the limit of {MAX_OPEN_UPLOADS} open uploads is reached; complete or cancel some"),
        ));
    }
    // One person must not be able to fill the shared storage.
    let recent_bytes = upload::recent_bytes(&mut transaction, user.person).await?;
    if recent_bytes.saturating_add(size).unsigned_abs() > (max_mb << 20).saturating_mul(RECENT_UPLOAD_QUOTA_FILES) {
        let quota_mb = max_mb * RECENT_UPLOAD_QUOTA_FILES;
        return Err(ApiError::PayloadTooLarge(format!(
            "You have uploaded {} MB recently; the limit is {quota_mb} MB in two days.",
            recent_bytes >> 20
        )));
    }
    let upload = Upload { id: Uuid::now_v7(), name, size, fingerprint: request.fingerprint, target, artifact_id: None };
    upload::insert(&mut transaction, user.person, &upload).await?;
    transaction.commit().await.map_err(DatabaseError::from)?;
    Ok((StatusCode::CREATED, Json(UploadState::new(&upload, 0))))
}

/// Checks that a person may attach a file to `target`, also as a new version if it has a file.
async fn check_target(
    app: &AppState,
    conn: &mut Connection,
    person: PersonId,
    target: &(EntityCode, Uuid),
) -> Result<()> {
    check_can_attach(app, conn, person, target).await?;
    if target.0 == "artifact" {
        let model = app.model_for_type("artifact").await?;
        let current = row::by_id(conn, model.entity("artifact")?, target.1, row::DeletedRows::Exclude)
            .await?
            .ok_or(ApiError::NotFound)?;
        if has_file(&current) {
            version_parent(app, conn, person, target.1).await?;
        }
    }
    Ok(())
}

fn has_file(artifact: &Row) -> bool {
    !artifact.get("storage_key").is_none_or(Value::is_null)
}

async fn find_upload(app: &AppState, user: &AuthUser, id: &str) -> Result<Upload> {
    upload::find(&mut *connection(app).await?, user.person, parse_id(id)?, upload::LockMode::Unlocked)
        .await?
        .ok_or(ApiError::NotFound)
}

/// Returns the state of an upload.
#[utoipa::path(get, path = "/upload/{id}", tag = "files", params(("id" = Uuid, Path, description = "Upload id")), responses(Unauthorized,
    (status = 200, description = "The upload", body = UploadState), (status = 404, description = "Not an upload of the caller")))]
pub(super) async fn get_upload(
    State(app): State<AppState>,
    user: AuthUser,
    Path(id): Path<String>,
) -> Result<Json<UploadState>> {
    let upload = find_upload(&app, &user, &id).await?;
    Ok(Json(UploadState::new(&upload, app.files.received_bytes(upload.id).await?)))
}

/// Uploads a part. Received bytes are kept if the request is interrupted.
#[utoipa::path(patch, path = "/upload/{id}", tag = "files", request_body(content = Vec<u8>, content_type = "application/octet-stream"), params(
    ("id" = Uuid, Path, description = "Upload id"), ("Upload-Offset" = u64, Header, description = "Offset of the part: the `offset` of the previous response")), responses(Unauthorized,
    (status = 204, description = "Part stored; Upload-Offset is the new offset"), (status = 400, description = "Body truncated, or no Upload-Offset"),
    (status = 404, description = "Not an upload of the caller"), (status = 409, description = "Offset mismatch; see `Upload-Offset`"),
    (status = 413, description = "Larger than announced, or part too large"), (status = 415, description = "Not application/octet-stream"),
    (status = 423, description = "Locked: another request is sending this upload"), (status = 507, description = "Insufficient storage")))]
pub(super) async fn upload_part(
    State(app): State<AppState>,
    user: AuthUser,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let upload = find_upload(&app, &user, &id).await?;
    if headers.get(header::CONTENT_TYPE).is_none_or(|media_type| media_type != "application/octet-stream") {
        return Err(ApiError::UnsupportedMediaType(
            "Send the bytes with Content-Type: application/octet-stream.".into(),
        ));
    }
    let offset = headers.get("upload-offset").and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
    let offset = offset.ok_or_else(|| ApiError::bad_request("Upload-Offset", "is required: the offset of the part"))?;
    if upload.artifact_id.is_some() {
        return Err(ApiError::UploadOffsetMismatch(upload.size.unsigned_abs()));
    }
    let size = upload.size.unsigned_abs();
    let max_size = size.min(offset.saturating_add(MAX_PART_BYTES));
    upload::record_part(&mut *connection(&app).await?, upload.id).await?;
    let bytes: ByteStream = Box::pin(body.into_data_stream().map(|chunk| chunk.map_err(std::io::Error::other)));
    let new_offset = match app.files.append(upload.id, offset, max_size, bytes).await {
        Err(StoreError::SizeExceeded) if max_size < size => {
            return Err(ApiError::PayloadTooLarge(format!("The maximum part size is {} MB.", MAX_PART_BYTES >> 20)));
        }
        other => other?,
    };
    Ok((StatusCode::NO_CONTENT, [("upload-offset", new_offset.to_string())]).into_response())
}

/// Cancels an upload.
#[utoipa::path(delete, path = "/upload/{id}", tag = "files", params(("id" = Uuid, Path, description = "Upload id")), responses(Unauthorized,
    (status = 204, description = "Canceled; received bytes are deleted"), (status = 404, description = "Not an upload of the caller, or completed already")))]
pub(super) async fn cancel_upload(
    State(app): State<AppState>,
    user: AuthUser,
    Path(id): Path<String>,
) -> Result<StatusCode> {
    let id = parse_id(&id)?;
    if !upload::cancel(&mut *connection(&app).await?, user.person, id).await? {
        return Err(ApiError::NotFound);
    }
    app.files.discard(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Creates an artifact from a complete upload. A repeated request returns the same artifact.
#[utoipa::path(post, path = "/upload/{id}/complete", tag = "files", params(("id" = Uuid, Path, description = "Upload id")), responses(Unauthorized,
    (status = 200, description = "The artifact, created by an earlier request", body = EntitySchema), (status = 201, description = "The artifact", body = EntitySchema),
    (status = 403, description = "Forbidden: requires permission to attach files"), (status = 404, description = "Not an upload of the caller, or its target was not found"),
    (status = 409, description = "Incomplete; see `Upload-Offset`"), (status = 422, description = "The artifact cannot be created")))]
pub(super) async fn complete_upload(
    State(app): State<AppState>,
    user: AuthUser,
    Path(id): Path<String>,
) -> Result<Response> {
    let id = parse_id(&id)?;
    let model = app.model_for_type("artifact").await?;
    let entity = model.entity("artifact")?;
    let unlocked_upload = find_upload(&app, &user, &id.to_string()).await?;
    // Concurrent requests get the same result.
    let blob = match unlocked_upload.artifact_id {
        None => Some(store_blob(&app, &user, &unlocked_upload).await?),
        Some(_) => None,
    };
    let mut transaction = pmo_database::begin(&app.pool, &user.actor).await?;
    let upload = upload::find(&mut transaction, user.person, id, upload::LockMode::ForUpdate)
        .await?
        .ok_or(ApiError::NotFound)?;
    if let Some(artifact_id) = upload.artifact_id {
        let (level, row) = visible_artifact(&mut transaction, &model, user.person, artifact_id).await?;
        let row = render_row(&mut transaction, entity, user.person, level, row).await?;
        return Ok(Json(Value::Object(row)).into_response());
    }
    let blob = blob.ok_or(ApiError::Internal)?;
    check_can_attach(&app, &mut transaction, user.person, &upload.target).await?;
    let response = write_artifact(&app, &mut transaction, &model, &user, &upload, &blob).await?;
    let artifact_id =
        response.body.as_ref().and_then(|row| row["id"].as_str()?.parse().ok()).ok_or(ApiError::Internal)?;
    upload::set_artifact(&mut transaction, id, artifact_id).await?;
    transaction.commit().await.map_err(DatabaseError::from)?;
    app.files.discard(id).await?;
    Ok((StatusCode::CREATED, response).into_response())
}

/// Deprecated path of `/upload/{id}/complete`.
#[utoipa::path(post, path = "/upload/{id}/finish", tag = "files", params(("id" = Uuid, Path, description = "Upload id")), responses(Unauthorized,
    (status = 200, description = "The artifact, created by an earlier request", body = EntitySchema), (status = 201, description = "The artifact", body = EntitySchema),
    (status = 403, description = "Forbidden: requires permission to attach files"), (status = 404, description = "Not an upload of the caller, or its target was not found"),
    (status = 409, description = "Incomplete; see `Upload-Offset`"), (status = 422, description = "The artifact cannot be created")))]
#[deprecated]
pub(super) async fn complete_upload_at_old_path(
    state: State<AppState>,
    user: AuthUser,
    id: Path<String>,
) -> Result<Response> {
    complete_upload(state, user, id).await
}

/// Moves the received bytes of a complete upload into the blob store.
///
/// Hashing takes long and runs without a transaction.
async fn store_blob(app: &AppState, user: &AuthUser, upload: &Upload) -> Result<StoredBlob> {
    check_can_attach(app, &mut *connection(app).await?, user.person, &upload.target).await?;
    let received = app.files.received_bytes(upload.id).await?;
    if received != upload.size.unsigned_abs() {
        return Err(ApiError::UploadOffsetMismatch(received));
    }
    if upload.size == 0 {
        app.files.append(upload.id, 0, 0, Box::pin(futures_util::stream::empty())).await?;
    }
    let _permit = FINALIZE_PERMITS.acquire().await.map_err(|_| ApiError::Internal)?;
    Ok(app.files.finalize(upload.id).await?)
}

/// Creates the artifact of an upload, or fills or supersedes the artifact that is its target.
async fn write_artifact(
    app: &AppState,
    conn: &mut Connection,
    model: &EntityModel,
    user: &AuthUser,
    upload: &Upload,
    blob: &StoredBlob,
) -> Result<MutationResponse> {
    let entity = model.entity("artifact")?;
    let media_type = media_type::sniff(&blob.head, &upload.name, blob.size as usize <= blob.head.len());
    let write = artifact_write(app, conn, model, user, upload, media_type).await?;
    let mut server_values = Row::new();
    server_values.insert("media_type".into(), json!(media_type));
    server_values.insert("size_bytes".into(), json!(blob.size));
    server_values.insert("sha256".into(), json!(blob.sha256));
    server_values.insert("storage_key".into(), json!(blob.sha256));
    let mutation = Mutation {
        action: write.action,
        entity,
        id: write.id,
        body: Value::Object(write.body),
        server_values,
        version: None,
        idempotency_key: None,
        status_only: false,
    };
    mutation.execute(conn, model, user).await
}

/// The write that makes an upload an artifact.
struct ArtifactWrite {
    action: MutationKind,
    /// Artifact to update; nil for a new one.
    id: Uuid,
    body: Row,
}

/// Decides whether an upload creates an artifact, fills an existing one, or supersedes it.
async fn artifact_write(
    app: &AppState,
    conn: &mut Connection,
    model: &EntityModel,
    user: &AuthUser,
    upload: &Upload,
    media_type: &str,
) -> Result<ArtifactWrite> {
    let entity = model.entity("artifact")?;
    let mut body = Row::new();
    let artifact_type = if media_type.starts_with("image/") { "Picture" } else { "Document" };
    let has_option = |set: &pmo_domain::catalog::Datalabel| {
        set.options.iter().any(|option| option.name == artifact_type && option.active_flag)
    };
    if model.datalabels.get("artifact_type").is_some_and(has_option) {
        body.insert("dl__artifact_type".into(), json!(artifact_type));
    }
    body.insert("name".into(), json!(upload.name));
    let (code, id) = &upload.target;
    if *code != "artifact" {
        let action = MutationKind::Create { parent_link: Some(upload.target.clone()) };
        return Ok(ArtifactWrite { action, id: Uuid::nil(), body });
    }
    // Two uploads may fill the same artifact concurrently: the second one finds it filled.
    row::lock(conn, entity, *id).await?;
    let current = row::by_id(conn, entity, *id, row::DeletedRows::Exclude).await?.ok_or(ApiError::NotFound)?;
    if !has_file(&current) {
        return Ok(ArtifactWrite { action: MutationKind::Update, id: *id, body: Row::new() });
    }
    let parent = version_parent(app, conn, user.person, *id).await?;
    body.insert("supersedes__artifact_id".into(), json!(id));
    for column in ["dl__artifact_type", "dl__security_classification", "descr"] {
        if let Some(value) = current.get(column).filter(|v| !v.is_null()) {
            body.insert(column.into(), value.clone());
        }
    }
    Ok(ArtifactWrite { action: MutationKind::Create { parent_link: Some(parent) }, id: Uuid::nil(), body })
}
