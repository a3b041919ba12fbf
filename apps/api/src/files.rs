//! Files of artifacts: resumable uploads, content-addressed storage, downloads by signed URL.
//!
//! An upload is created, receives parts (each continues at the stored offset) and is completed into
//! an artifact. A download URL is signed for one person; each download checks the person's
//! permission again. File contents never change: a new version is another artifact that supersedes
//! the first.
//!
//! Must not: serve content for inline display if a browser could execute it.

pub mod blob_store; // content-addressed storage
pub mod media_type; // media type detection and file names

use crate::auth::AuthUser;
use crate::entity::read::render_row;
use crate::entity::{Mutation, MutationKind, parse_id};
use crate::error::{ApiError, Result};
use crate::extract::JsonBody;
use crate::state::AppState;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use blob_store::{BlobStore, ByteStream, StoreError};
use futures_util::StreamExt;
use hmac::{Hmac, KeyInit, Mac};
use pmo_database::upload::{self, Upload};
use pmo_database::{Connection, DatabaseError, permission, row};
use pmo_domain::{EntityCode, Permission, PersonId, Row};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::Sha256;
use std::time::Duration;
use tokio::sync::Semaphore;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

/// Maximum number of open uploads per person.
const MAX_OPEN_UPLOADS: usize = 50;
/// Quota of a person for two days, as a multiple of the maximum file size.
const RECENT_UPLOAD_QUOTA_FILES: u64 = 20;
/// Permits for completing uploads: each reads a whole file.
static FINALIZE_PERMITS: Semaphore = Semaphore::const_new(2);
/// Maximum size of an upload part, in bytes; each must arrive within a minute.
const MAX_PART_BYTES: u64 = 16 << 20;
/// Lifetime of a signed URL, in seconds.
const SIGNED_URL_TTL_SECONDS: i64 = 300;
/// Minimum age of unreferenced blobs before they are deleted.
///
/// An upload that is being completed touches its blob first and is therefore safe.
const ORPHAN_AGE: Duration = Duration::from_secs(86_400);

/// Returns the routes of this module.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_uploads, create_upload))
        .routes(routes!(get_upload, upload_part, cancel_upload))
        .routes(routes!(complete_upload))
        .routes(routes!(get_download_url))
        .routes(routes!(download))
}

/// Response marker that disables compression.
#[derive(Clone, Copy)]
struct NoCompression;

/// Returns whether a response may be compressed.
///
/// Files are sent unchanged, because ranges refer to their bytes.
pub fn is_compressible(_: StatusCode, _: Version, _: &HeaderMap, extensions: &Extensions) -> bool {
    extensions.get::<NoCompression>().is_none()
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Locked => Self::Locked,
            StoreError::OffsetMismatch(offset) => Self::UploadOffsetMismatch(offset),
            StoreError::SizeExceeded => Self::PayloadTooLarge("The upload is larger than announced.".into()),
            StoreError::Interrupted => Self::bad_request("body", "is truncated; received bytes are kept"),
            StoreError::StorageFull => Self::InsufficientStorage,
            StoreError::NotFound => Self::NotFound,
            StoreError::Io(error) => {
                tracing::error!(%error, "blob store error");
                Self::Internal
            }
        }
    }
}

/// Upload to create.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUpload {
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

fn upload_json(upload: &Upload, received: u64) -> Value {
    // A completed upload has become a blob, and its received bytes have been discarded.
    let received = if upload.artifact_id.is_some() { upload.size.unsigned_abs() } else { received };
    json!({"id": upload.id, "name": upload.name, "size_bytes": upload.size, "offset": received, "part_bytes": MAX_PART_BYTES, "entity": upload.target.0, "entity_id": upload.target.1,
        "fingerprint": upload.fingerprint, "artifact_id": upload.artifact_id})
}

async fn connection(app: &AppState) -> Result<pmo_database::PoolConnection> {
    Ok(app.pool.acquire().await.map_err(DatabaseError::from)?)
}

fn artifact() -> Result<EntityCode> {
    EntityCode::new("artifact").map_err(|_| ApiError::Internal)
}

/// Checks that a person may attach a file to `target`.
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
#[utoipa::path(get, path = "/upload", tag = "files", responses(
    (status = 200, description = "{data: [{id, name, size_bytes, offset, …}]}", body = Object), (status = 401, description = "Not signed in")))]
async fn list_uploads(State(app): State<AppState>, user: AuthUser) -> Result<Json<Value>> {
    let uploads = upload::list_unfinished(&mut *connection(&app).await?, user.person).await?;
    let mut data = Vec::new();
    for upload in uploads {
        data.push(upload_json(&upload, app.files.received_bytes(upload.id).await?));
    }
    Ok(Json(json!({"data": data})))
}

/// Creates an upload. Its parts follow; `finish` then creates an artifact.
#[utoipa::path(post, path = "/upload", tag = "files", request_body = NewUpload, responses(
    (status = 200, description = "The upload exists already; continue from `offset`", body = Object),
    (status = 201, description = "{id, offset: 0, part_bytes: maximum part size}", body = Object), (status = 400, description = "Not JSON"), (status = 401, description = "Not signed in"),
    (status = 403, description = "Forbidden: requires permission to attach files"), (status = 404, description = "Not found, or not visible to the caller"),
    (status = 413, description = "File too large"), (status = 415, description = "Unsupported media type; send JSON"), (status = 422, description = "Validation failed, or too many open uploads")))]
async fn create_upload(State(app): State<AppState>, user: AuthUser, JsonBody(body): JsonBody) -> Result<Response> {
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
    check_can_attach(&app, &mut transaction, user.person, &target).await?;
    if target.0 == "artifact" {
        let model = app.model_for_type("artifact").await?;
        let current = row::by_id(&mut transaction, model.entity("artifact")?, target.1, row::DeletedRows::Exclude)
            .await?
            .ok_or(ApiError::NotFound)?;
        // Checked before the client sends the bytes.
        if !current.get("storage_key").is_none_or(Value::is_null) {
            version_parent(&app, &mut transaction, user.person, target.1).await?;
        }
    }
    let name = media_type::sanitize_filename(&request.name);
    let unfinished = upload::list_unfinished(&mut transaction, user.person).await?;
    let is_same = |u: &&Upload| {
        u.fingerprint.is_some() && u.fingerprint == request.fingerprint && u.target == target && u.size == size
    };
    if let Some(same) = unfinished.iter().find(is_same) {
        return Ok(Json(upload_json(same, app.files.received_bytes(same.id).await?)).into_response());
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
    Ok((StatusCode::CREATED, Json(upload_json(&upload, 0))).into_response())
}

async fn find_upload(app: &AppState, user: &AuthUser, id: &str) -> Result<Upload> {
    upload::find(&mut *connection(app).await?, user.person, parse_id(id)?, upload::LockMode::Unlocked)
        .await?
        .ok_or(ApiError::NotFound)
}

/// Returns the state of an upload.
#[utoipa::path(get, path = "/upload/{id}", tag = "files", params(("id" = Uuid, Path, description = "Upload id")), responses(
    (status = 200, description = "{id, name, size_bytes, offset, part_bytes}", body = Object), (status = 401, description = "Not signed in"), (status = 404, description = "Not an upload of the caller")))]
async fn get_upload(State(app): State<AppState>, user: AuthUser, Path(id): Path<String>) -> Result<Json<Value>> {
    let upload = find_upload(&app, &user, &id).await?;
    Ok(Json(upload_json(&upload, app.files.received_bytes(upload.id).await?)))
}

/// Uploads a part. Received bytes are kept if the request is interrupted.
#[utoipa::path(patch, path = "/upload/{id}", tag = "files", request_body(content = Vec<u8>, content_type = "application/octet-stream"), params(
    ("id" = Uuid, Path, description = "Upload id"), ("Upload-Offset" = u64, Header, description = "Offset of the part: the `offset` of the previous response")), responses(
    (status = 204, description = "Part stored; Upload-Offset is the new offset"), (status = 400, description = "Body truncated, or no Upload-Offset"), (status = 401, description = "Not signed in"),
    (status = 404, description = "Not an upload of the caller"), (status = 409, description = "Offset mismatch; see `Upload-Offset`"),
    (status = 413, description = "Larger than announced, or part too large"), (status = 415, description = "Not application/octet-stream"),
    (status = 423, description = "Locked: another request is sending this upload"), (status = 507, description = "Insufficient storage")))]
async fn upload_part(
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
#[utoipa::path(delete, path = "/upload/{id}", tag = "files", params(("id" = Uuid, Path, description = "Upload id")), responses(
    (status = 204, description = "Canceled; received bytes are deleted"), (status = 401, description = "Not signed in"), (status = 404, description = "Not an upload of the caller, or completed already")))]
async fn cancel_upload(State(app): State<AppState>, user: AuthUser, Path(id): Path<String>) -> Result<StatusCode> {
    let id = parse_id(&id)?;
    if !upload::cancel(&mut *connection(&app).await?, user.person, id).await? {
        return Err(ApiError::NotFound);
    }
    app.files.discard(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Creates an artifact from a complete upload. A repeated request returns the same artifact.
#[utoipa::path(post, path = "/upload/{id}/finish", tag = "files", params(("id" = Uuid, Path, description = "Upload id")), responses(
    (status = 200, description = "The artifact, created by an earlier request", body = Object), (status = 201, description = "The artifact", body = Object), (status = 401, description = "Not signed in"),
    (status = 403, description = "Forbidden: requires permission to attach files"), (status = 404, description = "Not an upload of the caller, or its target was not found"),
    (status = 409, description = "Incomplete; see `Upload-Offset`"), (status = 422, description = "The artifact cannot be created")))]
async fn complete_upload(State(app): State<AppState>, user: AuthUser, Path(id): Path<String>) -> Result<Response> {
    let id = parse_id(&id)?;
    let (model, code) = (app.model_for_type("artifact").await?, artifact()?);
    let entity = model.entity("artifact")?;
    let unlocked_upload = find_upload(&app, &user, &id.to_string()).await?;
    let mut blob = None;
    if unlocked_upload.artifact_id.is_none() {
        // Hashing takes long and runs without a transaction. Concurrent requests get the same
        // result.
        check_can_attach(&app, &mut *connection(&app).await?, user.person, &unlocked_upload.target).await?;
        let received = app.files.received_bytes(id).await?;
        if received != unlocked_upload.size.unsigned_abs() {
            return Err(ApiError::UploadOffsetMismatch(received));
        }
        if unlocked_upload.size == 0 {
            app.files.append(id, 0, 0, Box::pin(futures_util::stream::empty())).await?;
        }
        let _permit = FINALIZE_PERMITS.acquire().await.map_err(|_| ApiError::Internal)?;
        blob = Some(app.files.finalize(id).await?);
    }
    let mut transaction = pmo_database::begin(&app.pool, &user.actor).await?;
    let upload = upload::find(&mut transaction, user.person, id, upload::LockMode::ForUpdate)
        .await?
        .ok_or(ApiError::NotFound)?;
    if let Some(artifact_id) = upload.artifact_id {
        let level = permission::permission_on(&mut transaction, user.person, &code, artifact_id)
            .await?
            .ok_or(ApiError::NotFound)?;
        let row = row::by_id(&mut transaction, entity, artifact_id, row::DeletedRows::Exclude)
            .await?
            .ok_or(ApiError::NotFound)?;
        let row = render_row(&mut transaction, entity, user.person, level, row).await?;
        return Ok(Json(Value::Object(row)).into_response());
    }
    let blob = blob.ok_or(ApiError::Internal)?;
    check_can_attach(&app, &mut transaction, user.person, &upload.target).await?;
    let media_type = media_type::sniff(&blob.head, &upload.name, blob.size as usize <= blob.head.len());
    let mut server_values = Row::new();
    server_values.insert("media_type".into(), json!(media_type));
    server_values.insert("size_bytes".into(), json!(blob.size));
    server_values.insert("sha256".into(), json!(blob.sha256));
    server_values.insert("storage_key".into(), json!(blob.sha256));
    let mut body = Row::new();
    let artifact_type = if media_type.starts_with("image/") { "Picture" } else { "Document" };
    let has_option = |set: &pmo_domain::catalog::Datalabel| {
        set.options.iter().any(|option| option.name == artifact_type && option.active_flag)
    };
    if model.datalabels.get("artifact_type").is_some_and(has_option) {
        body.insert("dl__artifact_type".into(), json!(artifact_type));
    }
    let (mut action, mut target) = (MutationKind::Create { parent_link: Some(upload.target.clone()) }, Uuid::nil());
    if upload.target.0 == "artifact" {
        // Two uploads may fill the same artifact concurrently: the second one finds it filled.
        row::lock(&mut transaction, entity, upload.target.1).await?;
        let current = row::by_id(&mut transaction, entity, upload.target.1, row::DeletedRows::Exclude)
            .await?
            .ok_or(ApiError::NotFound)?;
        if current.get("storage_key").is_none_or(Value::is_null) {
            (action, target) = (MutationKind::Update, upload.target.1);
            body.clear();
        } else {
            let parent = version_parent(&app, &mut transaction, user.person, upload.target.1).await?;
            action = MutationKind::Create { parent_link: Some(parent) };
            body.insert("supersedes__artifact_id".into(), json!(upload.target.1));
            for column in ["dl__artifact_type", "dl__security_classification", "descr"] {
                if let Some(value) = current.get(column).filter(|v| !v.is_null()) {
                    body.insert(column.into(), value.clone());
                }
            }
        }
    }
    if target.is_nil() {
        body.insert("name".into(), json!(upload.name));
    }
    let mutation = Mutation {
        action,
        entity,
        id: target,
        body: Value::Object(body),
        server_values,
        version: None,
        idempotency_key: None,
        status_only: false,
    };
    let response = mutation.execute(&mut transaction, &model, &user).await?;
    let artifact_id =
        response.body.as_ref().and_then(|row| row["id"].as_str()?.parse().ok()).ok_or(ApiError::Internal)?;
    upload::set_artifact(&mut transaction, id, artifact_id).await?;
    transaction.commit().await.map_err(DatabaseError::from)?;
    app.files.discard(id).await?;
    Ok((StatusCode::CREATED, response).into_response())
}

/// Payload of a signed URL: an artifact, the person who may download it, and the expiry.
struct SignedUrl {
    artifact: Uuid,
    person: PersonId,
    expires_at: i64,
}

impl SignedUrl {
    fn mac(&self, secret: &str) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
        mac.update(b"file address:");
        mac.update(&self.bytes());
        Some(mac)
    }

    fn bytes(&self) -> Vec<u8> {
        [&self.artifact.as_bytes()[..], &self.person.0.as_bytes()[..], &self.expires_at.to_be_bytes()[..]].concat()
    }

    fn sign(&self, secret: &str) -> Option<String> {
        let signature = self.mac(secret)?.finalize().into_bytes();
        Some(URL_SAFE_NO_PAD.encode([&self.bytes()[..], &signature[..]].concat()))
    }

    fn verify(token: &str, secret: &str, now: i64) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (payload, signature) = bytes.split_at_checked(40)?;
        let signed_url = Self {
            artifact: Uuid::from_slice(&payload[..16]).ok()?,
            person: PersonId(Uuid::from_slice(&payload[16..32]).ok()?),
            expires_at: i64::from_be_bytes(payload[32..].try_into().ok()?),
        };
        signed_url.mac(secret)?.verify_slice(signature).ok()?;
        (signed_url.expires_at > now).then_some(signed_url)
    }
}

/// Returns a signed download URL for the file of an artifact, valid for some minutes.
#[utoipa::path(get, path = "/artifact/{id}/address", tag = "files", params(("id" = Uuid, Path, description = "Artifact id")), responses(
    (status = 200, description = "{path: the path of the URL on this host, shown: whether browsers may display it inline, media_type, size_bytes, expires_seconds}", body = Object),
    (status = 401, description = "Not signed in"), (status = 404, description = "Not found, not visible to the caller, or without a file")))]
async fn get_download_url(State(app): State<AppState>, user: AuthUser, Path(id): Path<String>) -> Result<Json<Value>> {
    let (id, code) = (parse_id(&id)?, artifact()?);
    let model = app.model_for_type("artifact").await?;
    let mut connection = connection(&app).await?;
    permission::permission_on(&mut connection, user.person, &code, id).await?.ok_or(ApiError::NotFound)?;
    let row = row::by_id(&mut connection, model.entity("artifact")?, id, row::DeletedRows::Exclude)
        .await?
        .ok_or(ApiError::NotFound)?;
    row.get("storage_key").and_then(Value::as_str).ok_or(ApiError::NotFound)?;
    let expires_at = jiff::Timestamp::now().as_second() + SIGNED_URL_TTL_SECONDS;
    let token =
        SignedUrl { artifact: id, person: user.person, expires_at }.sign(&app.secret).ok_or(ApiError::Internal)?;
    let media_type = row.get("media_type").and_then(Value::as_str).unwrap_or(media_type::OCTET_STREAM);
    Ok(Json(
        json!({"path": format!("/api/v1/file/{token}"), "shown": media_type::inline_media_type(media_type).is_some(), "media_type": media_type,
        "size_bytes": row.get("size_bytes"), "expires_seconds": SIGNED_URL_TTL_SECONDS}),
    ))
}

#[derive(Deserialize)]
struct DownloadQuery {
    #[serde(default)]
    show: bool,
}

/// Downloads a file by its signed URL, whole or a range.
#[utoipa::path(get, path = "/file/{address}", tag = "files", security(()), params(
    ("address" = String, Path, description = "Signed token at the end of `path`"), ("show" = Option<bool>, Query, description = "Display inline, if the file is an image or a PDF"),
    ("Range" = Option<String>, Header, description = "bytes=from-to")), responses(
    (status = 200, description = "The file", body = Vec<u8>, content_type = "application/octet-stream"), (status = 206, description = "A range of the file", body = Vec<u8>, content_type = "application/octet-stream"),
    (status = 304, description = "Not modified"), (status = 400, description = "Invalid parameter; see `errors`"), (status = 404, description = "Invalid or expired URL"), (status = 416, description = "Range not satisfiable")))]
async fn download(
    State(app): State<AppState>,
    Path(token): Path<String>,
    Query(query): Query<DownloadQuery>,
    headers: HeaderMap,
) -> Result<Response> {
    let now = jiff::Timestamp::now().as_second();
    let signed_url = SignedUrl::verify(&token, &app.secret, now).ok_or(ApiError::NotFound)?;
    let model = app.model_for_type("artifact").await?;
    let row = {
        let mut connection = connection(&app).await?;
        // The person may have lost access since the URL was signed.
        permission::permission_on(&mut connection, signed_url.person, &artifact()?, signed_url.artifact)
            .await?
            .ok_or(ApiError::NotFound)?;
        row::by_id(&mut connection, model.entity("artifact")?, signed_url.artifact, row::DeletedRows::Exclude)
            .await?
            .ok_or(ApiError::NotFound)?
    };
    let text_of = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default();
    let (key, name) = (text_of("storage_key"), text_of("name"));
    let size = row.get("size_bytes").and_then(Value::as_u64).ok_or(ApiError::NotFound)?;
    let inline_type = media_type::inline_media_type(text_of("media_type")).filter(|_| query.show);
    let etag = format!("\"{key}\"");
    let request_header = |name: header::HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
    let mut response_headers = HeaderMap::new();
    let mut set_header = |name: header::HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            response_headers.insert(name, value);
        }
    };
    set_header(header::ETAG, &etag);
    set_header(header::ACCEPT_RANGES, "bytes");
    set_header(header::CONTENT_TYPE, inline_type.unwrap_or(media_type::OCTET_STREAM));
    set_header(header::CONTENT_DISPOSITION, &media_type::disposition(inline_type.is_some(), name));
    // Browsers show PDF files in a viewer page of their own, which a sandbox would block.
    let sandbox = if inline_type == Some("application/pdf") { "" } else { "; sandbox" };
    set_header(
        header::CONTENT_SECURITY_POLICY,
        &format!("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'{sandbox}"),
    );
    set_header(header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    if request_header(header::IF_NONE_MATCH).is_some_and(|tags| tags.split(',').any(|tag| tag.trim() == etag)) {
        return Ok((StatusCode::NOT_MODIFIED, response_headers).into_response());
    }
    // Ranges of different contents must not be combined.
    let is_current = request_header(header::IF_RANGE).is_none_or(|tag| tag == etag);
    let range = request_header(header::RANGE)
        .filter(|_| is_current && size > 0)
        .and_then(|text_of| http_range_header::parse_range_header(text_of).ok());
    let (status, start, length) = match range.map(|range| range.validate(size)) {
        // Multiple ranges would require a multipart response, which no client needs: send the whole
        // file.
        None => (StatusCode::OK, 0, size),
        Some(Ok(ranges)) => match &ranges[..] {
            [single] => (StatusCode::PARTIAL_CONTENT, *single.start(), single.end() - single.start() + 1),
            _ => (StatusCode::OK, 0, size),
        },
        Some(Err(_)) => {
            let problem = json!({"type": "/problems/range", "title": "Range not satisfiable", "status": 416, "detail": format!("The file has {size} bytes.")});
            let headers = [
                (header::CONTENT_RANGE, format!("bytes */{size}")),
                (header::CONTENT_TYPE, "application/problem+json".to_owned()),
            ];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, headers, problem.to_string()).into_response());
        }
    };
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {start}-{}/{size}", start + length - 1);
        response_headers.insert(header::CONTENT_RANGE, HeaderValue::from_str(&range).map_err(|_| ApiError::Internal)?);
    }
    response_headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    let bytes = app.files.read(key, start, length).await?;
    let mut response = (status, response_headers, Body::from_stream(bytes)).into_response();
    response.extensions_mut().insert(NoCompression);
    Ok(response)
}

/// Deletes abandoned uploads, and blobs that no artifact references.
///
/// An upload is abandoned after two days without a new part.
pub async fn collect_garbage(conn: &mut Connection, files: &dyn BlobStore) -> Result<(), DatabaseError> {
    let log_error = |error: &StoreError| tracing::warn!(%error, "blob cleanup failed; retrying in 1 h");
    for id in upload::delete_abandoned(conn).await? {
        let _ = files.discard(id).await.inspect_err(log_error);
    }
    let old = files.list_older_than(ORPHAN_AGE).await.inspect_err(log_error).unwrap_or_default();
    for keys in old.chunks(1000) {
        let referenced = upload::referenced_keys(conn, keys).await?;
        for orphan in keys.iter().filter(|key| !referenced.contains(key)) {
            let _ = files.delete_if_older(orphan, ORPHAN_AGE).await.inspect_err(log_error);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_url_is_bound_to_file_and_person_and_expires() {
        let secret = "s".repeat(40);
        let signed_url =
            || SignedUrl { artifact: Uuid::from_u128(1), person: PersonId(Uuid::from_u128(2)), expires_at: 1000 };
        let token = signed_url().sign(&secret).unwrap();
        let verified = SignedUrl::verify(&token, &secret, 999).unwrap();
        assert_eq!((verified.artifact, verified.person.0), (Uuid::from_u128(1), Uuid::from_u128(2)));
        assert!(SignedUrl::verify(&token, &secret, 1000).is_none());
        assert!(SignedUrl::verify(&token, &"t".repeat(40), 0).is_none());
        let mut bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for index in 0..bytes.len() {
            bytes[index] ^= 1;
            assert!(SignedUrl::verify(&URL_SAFE_NO_PAD.encode(&bytes), &secret, 0).is_none(), "byte {index}");
            bytes[index] ^= 1;
        }
        for invalid in ["", "x", &token[..20], &format!("{token}AA")] {
            assert!(SignedUrl::verify(invalid, &secret, 0).is_none());
        }
    }
}
