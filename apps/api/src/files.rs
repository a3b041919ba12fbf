//! Files: what artifacts hold. A file comes in parts that may be cut and go on (upload, offset, finish), is kept by its hash, and goes out by an address that is told
//! to whoever may see the artifact and asks again who may. Contents never change: another version is another artifact that supersedes the first. What a browser
//! would run never leaves here as something to be shown.

pub mod blob_store;
pub mod media_type; // what a file is, by its contents // where contents are kept

use crate::auth::AuthUser;
use crate::entity::read::render_row;
use crate::entity::{Mutation, MutationKind, id_of};
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

/// Uploads of a person that have begun and not ended.
const MAX_OPEN_UPLOADS: usize = 50;
/// What a person may begin to upload in two days, in files of the largest size.
const RECENT_UPLOAD_QUOTA_FILES: u64 = 20;
/// Files that are made into contents at once: each is read whole.
static FINALIZE_PERMITS: Semaphore = Semaphore::const_new(2);
/// Largest part of an upload, in bytes; each must come within a minute.
const MAX_PART_BYTES: u64 = 16 << 20;
/// Seconds for which an address leads to its file.
const SIGNED_URL_TTL_SECONDS: i64 = 300;
/// Contents that nobody holds go after this time: who is about to hold one has kept it anew.
const ORPHAN_AGE: Duration = Duration::from_secs(86_400);

/// The routes of this room.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_uploads, create_upload))
        .routes(routes!(get_upload, upload_part, cancel_upload))
        .routes(routes!(complete_upload))
        .routes(routes!(get_download_url))
        .routes(routes!(download))
}

/// Marks an answer that goes out byte for byte.
#[derive(Clone, Copy)]
struct NoCompression;

/// Whether an answer may be compressed on its way: a file goes out as it is, so that parts of it fit together.
pub fn is_compressible(_: StatusCode, _: Version, _: &HeaderMap, extensions: &Extensions) -> bool {
    extensions.get::<NoCompression>().is_none()
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Locked => Self::Locked,
            StoreError::OffsetMismatch(at) => Self::UploadOffsetMismatch(at),
            StoreError::SizeExceeded => {
                Self::PayloadTooLarge("More came than was announced when the upload began.".into())
            }
            StoreError::Interrupted => Self::bad_request("body", "did not arrive whole; what has come is kept"),
            StoreError::StorageFull => Self::InsufficientStorage,
            StoreError::NotFound => Self::NotFound,
            StoreError::Io(error) => {
                tracing::error!(%error, "the store of files does not work");
                Self::Internal
            }
        }
    }
}

/// A file that is about to come.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUpload {
    /// What it is called.
    name: String,
    /// Bytes.
    size_bytes: u64,
    /// The type of what it is to hang below, or `artifact`.
    entity: String,
    /// What it is to hang below; an artifact: which it fills, or supersedes where that has a file.
    id: Uuid,
    /// By what the sender finds it again after a cut: the unfinished upload with the same is answered.
    #[serde(default)]
    fingerprint: Option<String>,
}

fn upload_json(upload: &Upload, arrived: u64) -> Value {
    // Of what has ended all has come: its bytes are a content by now.
    let arrived = if upload.artifact_id.is_some() { upload.size.unsigned_abs() } else { arrived };
    json!({"id": upload.id, "name": upload.name, "size_bytes": upload.size, "offset": arrived, "part_bytes": MAX_PART_BYTES, "entity": upload.target.0, "entity_id": upload.target.1,
        "fingerprint": upload.fingerprint, "artifact_id": upload.artifact_id})
}

async fn connection(app: &AppState) -> Result<pmo_database::PoolConnection> {
    Ok(app.pool.acquire().await.map_err(DatabaseError::from)?)
}

fn artifact() -> Result<EntityCode> {
    EntityCode::new("artifact").map_err(|_| ApiError::Internal)
}

/// Whether somebody may attach a file there: asked when an upload begins, and again when it ends.
async fn check_can_attach(
    app: &AppState,
    c: &mut Connection,
    person: PersonId,
    about: &(EntityCode, Uuid),
) -> Result<()> {
    let level = permission::permission_on(c, person, &about.0, about.1).await?.ok_or(ApiError::NotFound)?;
    let model = app.model_for_type(about.0.as_str()).await?;
    let least = if about.0 == "artifact" {
        Permission::Edit
    } else {
        let tie = model.catalogue.child_relation(about.0.as_str(), "artifact");
        tie.map(|tie| tie.create_permission).ok_or_else(|| ApiError::unprocessable("entity", "takes no artifacts"))?
    };
    if level < least {
        return Err(ApiError::Forbidden(crate::entity::permission_message(least, level)));
    }
    Ok(())
}

/// What another version of an artifact is to hang below: the first of what it hangs below itself to which its writer may attach files.
async fn version_parent(
    app: &AppState,
    c: &mut Connection,
    person: PersonId,
    artifact: Uuid,
) -> Result<(EntityCode, Uuid)> {
    for about in upload::artifact_parents(c, artifact).await? {
        match check_can_attach(app, c, person, &about).await {
            Ok(()) => return Ok(about),
            // A database that does not answer refuses nobody.
            Err(error @ (ApiError::Unavailable | ApiError::Internal)) => return Err(error),
            Err(_) => {}
        }
    }
    Err(ApiError::Forbidden("You may not attach files to what this artifact belongs to.".into()))
}

/// One's uploads that have not ended.
#[utoipa::path(get, path = "/upload", tag = "files", responses(
    (status = 200, description = "{data: [{id, name, size_bytes, offset, …}]}", body = Object), (status = 401, description = "Not signed in")))]
async fn list_uploads(State(app): State<AppState>, who: AuthUser) -> Result<Json<Value>> {
    let uploads = upload::list_unfinished(&mut *connection(&app).await?, who.person).await?;
    let mut data = Vec::new();
    for upload in uploads {
        data.push(upload_json(&upload, app.files.received_bytes(upload.id).await?));
    }
    Ok(Json(json!({"data": data})))
}

/// Begin to upload a file. Its parts follow, then `finish` makes an artifact of it.
#[utoipa::path(post, path = "/upload", tag = "files", request_body = NewUpload, responses(
    (status = 200, description = "It had begun already; go on from `offset`", body = Object),
    (status = 201, description = "{id, offset: 0, part_bytes: the largest part}", body = Object), (status = 400, description = "Not JSON"), (status = 401, description = "Not signed in"),
    (status = 403, description = "May see it, may not attach to it"), (status = 404, description = "No such thing for this person"),
    (status = 413, description = "Larger than files may be"), (status = 415, description = "Not JSON by its type"), (status = 422, description = "Fields are wrong, or too many have begun")))]
async fn create_upload(State(app): State<AppState>, who: AuthUser, JsonBody(body): JsonBody) -> Result<Response> {
    let asked: NewUpload = serde_json::from_value(body).map_err(|e| ApiError::unprocessable("body", e.to_string()))?;
    let most = app.settings.file_limit_mb;
    let size = i64::try_from(asked.size_bytes).ok().filter(|_| asked.size_bytes <= most << 20);
    let size = size.ok_or_else(|| ApiError::PayloadTooLarge(format!("A file may have {most} MB.")))?;
    if asked.fingerprint.as_ref().is_some_and(|f| f.is_empty() || f.len() > 1000 || f.contains('\0')) {
        return Err(ApiError::unprocessable("fingerprint", "must be 1 to 1000 bytes of text"));
    }
    let code = app.model_for_type(&asked.entity).await?.entity(&asked.entity)?.code.clone();
    let mut transaction = pmo_database::begin(&app.pool, &who.actor).await?;
    let about = (code, asked.id);
    check_can_attach(&app, &mut transaction, who.person, &about).await?;
    if about.0 == "artifact" {
        let model = app.model_for_type("artifact").await?;
        let old =
            row::by_id(&mut transaction, model.entity("artifact")?, about.1, false).await?.ok_or(ApiError::NotFound)?;
        // Said before the bytes are sent.
        if !old.get("storage_key").is_none_or(Value::is_null) {
            version_parent(&app, &mut transaction, who.person, about.1).await?;
        }
    }
    let name = media_type::sanitize_filename(&asked.name);
    let unfinished = upload::list_unfinished(&mut transaction, who.person).await?;
    let same = |u: &&Upload| {
        u.fingerprint.is_some() && u.fingerprint == asked.fingerprint && u.target == about && u.size == size
    };
    if let Some(same) = unfinished.iter().find(same) {
        return Ok(Json(upload_json(same, app.files.received_bytes(same.id).await?)).into_response());
    }
    if unfinished.len() >= MAX_OPEN_UPLOADS {
        return Err(ApiError::unprocessable(
            "name",
            format!("{MAX_OPEN_UPLOADS} uploads have begun and not ended: finish or cancel some"),
        ));
    }
    // One person must not fill the disk that everybody works on.
    let begun = upload::recent_bytes(&mut transaction, who.person).await?;
    if begun.saturating_add(size).unsigned_abs() > (most << 20).saturating_mul(RECENT_UPLOAD_QUOTA_FILES) {
        let bound = most * RECENT_UPLOAD_QUOTA_FILES;
        return Err(ApiError::PayloadTooLarge(format!(
            "You have uploaded {} MB lately; {bound} MB in two days are the most.",
            begun >> 20
        )));
    }
    let upload =
        Upload { id: Uuid::now_v7(), name, size, fingerprint: asked.fingerprint, target: about, artifact_id: None };
    upload::insert(&mut transaction, who.person, &upload).await?;
    transaction.commit().await.map_err(DatabaseError::from)?;
    Ok((StatusCode::CREATED, Json(upload_json(&upload, 0))).into_response())
}

async fn find_upload(app: &AppState, who: &AuthUser, id: &str) -> Result<Upload> {
    upload::find(&mut *connection(app).await?, who.person, id_of(id)?, false).await?.ok_or(ApiError::NotFound)
}

/// How far an upload has come.
#[utoipa::path(get, path = "/upload/{id}", tag = "files", params(("id" = Uuid, Path, description = "The upload")), responses(
    (status = 200, description = "{id, name, size_bytes, offset, part_bytes}", body = Object), (status = 401, description = "Not signed in"), (status = 404, description = "Not one of this person's")))]
async fn get_upload(State(app): State<AppState>, who: AuthUser, Path(id): Path<String>) -> Result<Json<Value>> {
    let upload = find_upload(&app, &who, &id).await?;
    Ok(Json(upload_json(&upload, app.files.received_bytes(upload.id).await?)))
}

/// Send a part of an upload. What has come is kept when it is cut.
#[utoipa::path(patch, path = "/upload/{id}", tag = "files", request_body(content = Vec<u8>, content_type = "application/octet-stream"), params(
    ("id" = Uuid, Path, description = "The upload"), ("Upload-Offset" = u64, Header, description = "Where the part begins: what `offset` said")), responses(
    (status = 204, description = "It is here; Upload-Offset says how far the upload has come"), (status = 400, description = "Cut, or no Upload-Offset"), (status = 401, description = "Not signed in"),
    (status = 404, description = "Not one of this person's"), (status = 409, description = "It stands elsewhere; Upload-Offset says where"),
    (status = 413, description = "More than was announced, or a part too large"), (status = 415, description = "Not application/octet-stream"),
    (status = 423, description = "Another request sends the same upload"), (status = 507, description = "No room is left")))]
async fn upload_part(
    State(app): State<AppState>,
    who: AuthUser,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let upload = find_upload(&app, &who, &id).await?;
    if headers.get(header::CONTENT_TYPE).is_none_or(|kind| kind != "application/octet-stream") {
        return Err(ApiError::UnsupportedMediaType("Send bytes, with Content-Type: application/octet-stream.".into()));
    }
    let offset = headers.get("upload-offset").and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
    let offset = offset.ok_or_else(|| ApiError::bad_request("Upload-Offset", "is needed: where the part begins"))?;
    if upload.artifact_id.is_some() {
        return Err(ApiError::UploadOffsetMismatch(upload.size.unsigned_abs()));
    }
    let size = upload.size.unsigned_abs();
    let most = size.min(offset.saturating_add(MAX_PART_BYTES));
    upload::record_part(&mut *connection(&app).await?, upload.id).await?;
    let bytes: ByteStream = Box::pin(body.into_data_stream().map(|chunk| chunk.map_err(std::io::Error::other)));
    let at = match app.files.append(upload.id, offset, most, bytes).await {
        Err(StoreError::SizeExceeded) if most < size => {
            return Err(ApiError::PayloadTooLarge(format!("A part may have {} MB.", MAX_PART_BYTES >> 20)));
        }
        other => other?,
    };
    Ok((StatusCode::NO_CONTENT, [("upload-offset", at.to_string())]).into_response())
}

/// Give an upload up.
#[utoipa::path(delete, path = "/upload/{id}", tag = "files", params(("id" = Uuid, Path, description = "The upload")), responses(
    (status = 204, description = "It is gone, with what had come"), (status = 401, description = "Not signed in"), (status = 404, description = "Not one of this person's, or ended already")))]
async fn cancel_upload(State(app): State<AppState>, who: AuthUser, Path(id): Path<String>) -> Result<StatusCode> {
    let id = id_of(&id)?;
    if !upload::cancel(&mut *connection(&app).await?, who.person, id).await? {
        return Err(ApiError::NotFound);
    }
    app.files.discard(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Make an artifact of an upload that has come whole. A repeat answers the same artifact.
#[utoipa::path(post, path = "/upload/{id}/finish", tag = "files", params(("id" = Uuid, Path, description = "The upload")), responses(
    (status = 200, description = "It was made before", body = Object), (status = 201, description = "The artifact", body = Object), (status = 401, description = "Not signed in"),
    (status = 403, description = "May not attach there any more"), (status = 404, description = "Not one of this person's, or what it belongs to is gone"),
    (status = 409, description = "Not all of it is here; Upload-Offset says how far it has come"), (status = 422, description = "It can't be made")))]
async fn complete_upload(State(app): State<AppState>, who: AuthUser, Path(id): Path<String>) -> Result<Response> {
    let id = id_of(&id)?;
    let (model, code) = (app.model_for_type("artifact").await?, artifact()?);
    let entity = model.entity("artifact")?;
    let unlocked = find_upload(&app, &who, &id.to_string()).await?;
    let mut kept = None;
    if unlocked.artifact_id.is_none() {
        // Long work, without a transaction: what it comes to is the same for whoever does it.
        check_can_attach(&app, &mut *connection(&app).await?, who.person, &unlocked.target).await?;
        let arrived = app.files.received_bytes(id).await?;
        if arrived != unlocked.size.unsigned_abs() {
            return Err(ApiError::UploadOffsetMismatch(arrived));
        }
        if unlocked.size == 0 {
            app.files.append(id, 0, 0, Box::pin(futures_util::stream::empty())).await?;
        }
        let _turn = FINALIZE_PERMITS.acquire().await.map_err(|_| ApiError::Internal)?;
        kept = Some(app.files.finalize(id).await?);
    }
    let mut transaction = pmo_database::begin(&app.pool, &who.actor).await?;
    let upload = upload::find(&mut transaction, who.person, id, true).await?.ok_or(ApiError::NotFound)?;
    if let Some(made) = upload.artifact_id {
        let level =
            permission::permission_on(&mut transaction, who.person, &code, made).await?.ok_or(ApiError::NotFound)?;
        let row = row::by_id(&mut transaction, entity, made, false).await?.ok_or(ApiError::NotFound)?;
        let row = render_row(&mut transaction, entity, who.person, level, row).await?;
        return Ok(Json(Value::Object(row)).into_response());
    }
    let kept = kept.ok_or(ApiError::Internal)?;
    check_can_attach(&app, &mut transaction, who.person, &upload.target).await?;
    let media_type = media_type::sniff(&kept.head, &upload.name, kept.size as usize <= kept.head.len());
    let mut given = Row::new();
    given.insert("media_type".into(), json!(media_type));
    given.insert("size_bytes".into(), json!(kept.size));
    given.insert("sha256".into(), json!(kept.sha256));
    given.insert("storage_key".into(), json!(kept.sha256));
    let mut body = Row::new();
    let sort = if media_type.starts_with("image/") { "Picture" } else { "Document" };
    let has = |set: &pmo_domain::catalog::Datalabel| set.options.iter().any(|o| o.name == sort && o.active_flag);
    if model.datalabels.get("artifact_type").is_some_and(has) {
        body.insert("dl__artifact_type".into(), json!(sort));
    }
    let (mut action, mut target) = (MutationKind::Create { below: Some(upload.target.clone()) }, Uuid::nil());
    if upload.target.0 == "artifact" {
        // Two that fill the same at once: the second finds it filled.
        row::lock(&mut transaction, entity, upload.target.1).await?;
        let old = row::by_id(&mut transaction, entity, upload.target.1, false).await?.ok_or(ApiError::NotFound)?;
        if old.get("storage_key").is_none_or(Value::is_null) {
            (action, target) = (MutationKind::Update, upload.target.1);
            body.clear();
        } else {
            let below = version_parent(&app, &mut transaction, who.person, upload.target.1).await?;
            action = MutationKind::Create { below: Some(below) };
            body.insert("supersedes__artifact_id".into(), json!(upload.target.1));
            for column in ["dl__artifact_type", "dl__security_classification", "descr"] {
                if let Some(value) = old.get(column).filter(|v| !v.is_null()) {
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
        server_values: given,
        version: None,
        key: None,
        status_only: false,
    };
    let answer = mutation.execute(&mut transaction, &model, &who).await?;
    let made = answer.body.as_ref().and_then(|row| row["id"].as_str()?.parse().ok()).ok_or(ApiError::Internal)?;
    upload::set_artifact(&mut transaction, id, made).await?;
    transaction.commit().await.map_err(DatabaseError::from)?;
    app.files.discard(id).await?;
    Ok((StatusCode::CREATED, answer).into_response())
}

/// What an address says, signed: who may follow it to which file, until when.
struct SignedUrl {
    artifact: Uuid,
    person: PersonId,
    until: i64,
}

impl SignedUrl {
    fn mac(&self, secret: &str) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
        mac.update(b"file address:");
        mac.update(&self.bytes());
        Some(mac)
    }

    fn bytes(&self) -> Vec<u8> {
        [&self.artifact.as_bytes()[..], &self.person.0.as_bytes()[..], &self.until.to_be_bytes()[..]].concat()
    }

    fn sign(&self, secret: &str) -> Option<String> {
        let seal = self.mac(secret)?.finalize().into_bytes();
        Some(URL_SAFE_NO_PAD.encode([&self.bytes()[..], &seal[..]].concat()))
    }

    fn read(text: &str, secret: &str, now: i64) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (said, seal) = bytes.split_at_checked(40)?;
        let ticket = Self {
            artifact: Uuid::from_slice(&said[..16]).ok()?,
            person: PersonId(Uuid::from_slice(&said[16..32]).ok()?),
            until: i64::from_be_bytes(said[32..].try_into().ok()?),
        };
        ticket.mac(secret)?.verify_slice(seal).ok()?;
        (ticket.until > now).then_some(ticket)
    }
}

/// The address of an artifact's file, for some minutes.
#[utoipa::path(get, path = "/artifact/{id}/address", tag = "files", params(("id" = Uuid, Path, description = "The artifact")), responses(
    (status = 200, description = "{path: the address below this host, shown: whether a page may show it, media_type, size_bytes, expires_seconds}", body = Object),
    (status = 401, description = "Not signed in"), (status = 404, description = "No such artifact for this person, or it has no file")))]
async fn get_download_url(State(app): State<AppState>, who: AuthUser, Path(id): Path<String>) -> Result<Json<Value>> {
    let (id, code) = (id_of(&id)?, artifact()?);
    let model = app.model_for_type("artifact").await?;
    let mut connection = connection(&app).await?;
    permission::permission_on(&mut connection, who.person, &code, id).await?.ok_or(ApiError::NotFound)?;
    let row = row::by_id(&mut connection, model.entity("artifact")?, id, false).await?.ok_or(ApiError::NotFound)?;
    row.get("storage_key").and_then(Value::as_str).ok_or(ApiError::NotFound)?;
    let until = jiff::Timestamp::now().as_second() + SIGNED_URL_TTL_SECONDS;
    let ticket = SignedUrl { artifact: id, person: who.person, until }.sign(&app.secret).ok_or(ApiError::Internal)?;
    let media_type = row.get("media_type").and_then(Value::as_str).unwrap_or(media_type::OCTET_STREAM);
    Ok(Json(
        json!({"path": format!("/api/v1/file/{ticket}"), "shown": media_type::inline_media_type(media_type).is_some(), "media_type": media_type,
        "size_bytes": row.get("size_bytes"), "expires_seconds": SIGNED_URL_TTL_SECONDS}),
    ))
}

#[derive(Deserialize)]
struct DownloadQuery {
    #[serde(default)]
    show: bool,
}

/// A file by its address, whole or a range of it.
#[utoipa::path(get, path = "/file/{address}", tag = "files", security(()), params(
    ("address" = String, Path, description = "What `path` ended with"), ("show" = Option<bool>, Query, description = "To be shown in a page, where it is a picture or a PDF"),
    ("Range" = Option<String>, Header, description = "bytes=from-to")), responses(
    (status = 200, description = "The file", body = Vec<u8>, content_type = "application/octet-stream"), (status = 206, description = "A range of it", body = Vec<u8>, content_type = "application/octet-stream"),
    (status = 304, description = "As it was"), (status = 400, description = "A parameter is wrong"), (status = 404, description = "The address leads nowhere, or not any more"), (status = 416, description = "No such range")))]
async fn download(
    State(app): State<AppState>,
    Path(address): Path<String>,
    Query(how): Query<DownloadQuery>,
    headers: HeaderMap,
) -> Result<Response> {
    let now = jiff::Timestamp::now().as_second();
    let ticket = SignedUrl::read(&address, &app.secret, now).ok_or(ApiError::NotFound)?;
    let model = app.model_for_type("artifact").await?;
    let row = {
        let mut connection = connection(&app).await?;
        // What they lost meanwhile is not there any more.
        permission::permission_on(&mut connection, ticket.person, &artifact()?, ticket.artifact)
            .await?
            .ok_or(ApiError::NotFound)?;
        row::by_id(&mut connection, model.entity("artifact")?, ticket.artifact, false)
            .await?
            .ok_or(ApiError::NotFound)?
    };
    let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default();
    let (key, name) = (text("storage_key"), text("name"));
    let size = row.get("size_bytes").and_then(Value::as_u64).ok_or(ApiError::NotFound)?;
    let shown = media_type::inline_media_type(text("media_type")).filter(|_| how.show);
    let etag = format!("\"{key}\"");
    let asked = |name: header::HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
    let mut answer = HeaderMap::new();
    let mut put = |name: header::HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            answer.insert(name, value);
        }
    };
    put(header::ETAG, &etag);
    put(header::ACCEPT_RANGES, "bytes");
    put(header::CONTENT_TYPE, shown.unwrap_or(media_type::OCTET_STREAM));
    put(header::CONTENT_DISPOSITION, &media_type::disposition(shown.is_some(), name));
    // A viewer of PDF is a page of the browser's own, which a sandbox would keep shut.
    let sandbox = if shown == Some("application/pdf") { "" } else { "; sandbox" };
    put(
        header::CONTENT_SECURITY_POLICY,
        &format!("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'{sandbox}"),
    );
    put(header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    if asked(header::IF_NONE_MATCH).is_some_and(|tags| tags.split(',').any(|tag| tag.trim() == etag)) {
        return Ok((StatusCode::NOT_MODIFIED, answer).into_response());
    }
    // Only while it is the same content: parts of two would not fit.
    let same = asked(header::IF_RANGE).is_none_or(|tag| tag == etag);
    let range = asked(header::RANGE)
        .filter(|_| same && size > 0)
        .and_then(|text| http_range_header::parse_range_header(text).ok());
    let (status, from, length) = match range.map(|range| range.validate(size)) {
        // Several at once would be an answer in parts, which nobody asks for here: all of it is told.
        None => (StatusCode::OK, 0, size),
        Some(Ok(ranges)) => match &ranges[..] {
            [one] => (StatusCode::PARTIAL_CONTENT, *one.start(), one.end() - one.start() + 1),
            _ => (StatusCode::OK, 0, size),
        },
        Some(Err(_)) => {
            let problem = json!({"type": "/problems/range", "title": "There is no such range", "status": 416, "detail": format!("The file has {size} bytes.")});
            let headers = [
                (header::CONTENT_RANGE, format!("bytes */{size}")),
                (header::CONTENT_TYPE, "application/problem+json".to_owned()),
            ];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, headers, problem.to_string()).into_response());
        }
    };
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {from}-{}/{size}", from + length - 1);
        answer.insert(header::CONTENT_RANGE, HeaderValue::from_str(&range).map_err(|_| ApiError::Internal)?);
    }
    answer.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    let bytes = app.files.read(key, from, length).await?;
    let mut response = (status, answer, Body::from_stream(bytes)).into_response();
    response.extensions_mut().insert(NoCompression);
    Ok(response)
}

/// Takes away uploads that nobody has finished for two days, and contents that no artifact holds any more.
pub async fn collect_garbage(c: &mut Connection, files: &dyn BlobStore) -> Result<(), DatabaseError> {
    let said = |error: &StoreError| tracing::warn!(%error, "a file could not be swept away; trying again in an hour");
    for id in upload::delete_abandoned(c).await? {
        let _ = files.discard(id).await.inspect_err(said);
    }
    let old = files.list_older_than(ORPHAN_AGE).await.inspect_err(said).unwrap_or_default();
    for some in old.chunks(1000) {
        let held = upload::referenced_keys(c, some).await?;
        for unheld in some.iter().filter(|key| !held.contains(key)) {
            let _ = files.delete_if_older(unheld, ORPHAN_AGE).await.inspect_err(said);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_of_one_file_for_one_person_until_its_time_is_over() {
        let secret = "s".repeat(40);
        let ticket = || SignedUrl { artifact: Uuid::from_u128(1), person: PersonId(Uuid::from_u128(2)), until: 1000 };
        let text = ticket().sign(&secret).unwrap();
        let read = SignedUrl::read(&text, &secret, 999).unwrap();
        assert_eq!((read.artifact, read.person.0), (Uuid::from_u128(1), Uuid::from_u128(2)));
        assert!(SignedUrl::read(&text, &secret, 1000).is_none());
        assert!(SignedUrl::read(&text, &"t".repeat(40), 0).is_none());
        let mut bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for at in 0..bytes.len() {
            bytes[at] ^= 1;
            assert!(SignedUrl::read(&URL_SAFE_NO_PAD.encode(&bytes), &secret, 0).is_none(), "byte {at}");
            bytes[at] ^= 1;
        }
        for bad in ["", "x", &text[..20], &format!("{text}AA")] {
            assert!(SignedUrl::read(bad, &secret, 0).is_none());
        }
    }
}
