//! Files of artifacts: resumable uploads, deduplicated storage, authorized downloads, safe content
//! types.

use crate::harness::*;
use axum::body::Bytes;
use std::io;
use std::path::PathBuf;
use uuid::Uuid;

/// Temporary blob directory of a test; deleted on drop.
struct BlobDirectory(PathBuf);

impl BlobDirectory {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("pmo-files-{}", Uuid::new_v4())))
    }

    /// Returns the names of the stored blobs.
    fn blob_names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).into_iter().flatten().flatten();
        // Blobs are in subdirectories that are named by the first two digits of the hash.
        let subdirectories = entries.filter(|entry| entry.file_name().len() == 2);
        let files = subdirectories.flat_map(|entry| std::fs::read_dir(entry.path()).into_iter().flatten().flatten());
        files.map(|f| f.file_name().into_string().unwrap()).collect()
    }

    /// Returns the number of incomplete uploads with received bytes.
    fn incoming_count(&self) -> usize {
        std::fs::read_dir(self.0.join("incoming")).map_or(0, Iterator::count)
    }
}

impl Drop for BlobDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Builds a router with a blob directory and a file size limit of 40 MB.
async fn build_file_router(pool: &PgPool, directory: &BlobDirectory) -> Router {
    build_router_with(pool, &["--files-dir", directory.0.to_str().unwrap(), "--file-limit-mb", "40"]).await
}

/// Response with its body as bytes.
struct FileResponse {
    status: StatusCode,
    headers: axum::http::HeaderMap,
    bytes: Bytes,
}

impl FileResponse {
    /// Returns the value of a header, or an empty text if it is absent.
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
}

/// Sends a request; a client with an empty token sends no credentials.
async fn send(client: &ApiClient, method: &str, path: &str, headers: &[(&str, &str)], body: Body) -> FileResponse {
    let mut request = Request::builder().method(method).uri(path);
    if !client.token.is_empty() {
        request = request.header("authorization", format!("Bearer {}", client.token));
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = client.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    FileResponse { status: parts.status, headers: parts.headers, bytes: body.collect().await.unwrap().to_bytes() }
}

/// Sends a part of an upload that begins at `offset`.
async fn send_part(client: &ApiClient, id: &str, offset: u64, body: impl Into<Body>) -> FileResponse {
    let headers = [("content-type", "application/octet-stream"), ("upload-offset", &*offset.to_string())];
    send(client, "PATCH", &format!("/api/v1/upload/{id}"), &headers, body.into()).await
}

/// Returns a body whose connection is reset after the given bytes.
fn interrupted_body(received: &'static [u8]) -> Body {
    let parts: [io::Result<Bytes>; 2] = [Ok(Bytes::from_static(received)), Err(io::ErrorKind::ConnectionReset.into())];
    Body::from_stream(futures_util::stream::iter(parts))
}

/// Creates an upload for an entity, or finds the open one with the same name and size.
async fn start_upload(client: &ApiClient, (entity, id): (&str, &str), name: &str, size: usize) -> ApiResponse {
    client.post(
        "/upload",
        json!({"name": name, "size_bytes": size, "entity": entity, "id": id, "fingerprint": format!("{name} {size}")}),
    )
    .await
}

/// Uploads a file in one part and returns its artifact.
async fn upload(client: &ApiClient, target: (&str, &str), name: &str, bytes: &[u8]) -> Value {
    let started = start_upload(client, target, name, bytes.len()).await;
    assert_eq!(started.status, 201, "{}", started.body);
    let id = started.body["id"].as_str().unwrap();
    assert_eq!(send_part(client, id, 0, bytes.to_vec()).await.status, 204);
    let created = client.post(&format!("/upload/{id}/complete"), json!({})).await;
    assert_eq!(created.status, 201, "{}", created.body);
    created.body
}

/// Returns the signed download path of an artifact.
async fn download_path(client: &ApiClient, artifact: &Value) -> String {
    let response = client.get(&format!("/artifact/{}/download-url", artifact["id"].as_str().unwrap())).await;
    assert_eq!(response.status, 200, "{}", response.body);
    response.body["path"].as_str().unwrap().to_owned()
}

/// Creates a project and returns its id.
async fn create_project(client: &ApiClient, name: &str) -> String {
    client.post("/project", json!({"name": name})).await.body["id"].as_str().unwrap().to_owned()
}

/// Creates a client without credentials.
fn anonymous(router: &Router) -> ApiClient {
    ApiClient { router: router.clone(), token: String::new() }
}

/// The first bytes of a PNG file.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0";

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn deprecated_paths_have_the_same_responses(pool: PgPool) {
    let directory = BlobDirectory::new();
    let router = build_file_router(&pool, &directory).await;
    let admin = ApiClient::sign_in(&router, "admin").await;
    let project = create_project(&admin, "Files").await;
    let upload = text_of(&start_upload(&admin, ("project", &project), "a.txt", 1).await.body["id"]);
    assert_eq!(send_part(&admin, &upload, 0, "a").await.status, 204);
    let created = admin.post(&format!("/upload/{upload}/finish"), json!({})).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.body);
    let repeated = admin.post(&format!("/upload/{upload}/complete"), json!({})).await;
    assert_eq!((repeated.status, &repeated.body), (StatusCode::OK, &created.body));
    let id = text_of(&created.body["id"]);
    for path in ["address", "download-url"] {
        let response = admin.get(&format!("/artifact/{id}/{path}")).await;
        assert_eq!((response.status, &response.body["size_bytes"]), (StatusCode::OK, &json!(1)), "{path}");
    }
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn interrupted_upload_resumes_and_creates_one_artifact(pool: PgPool) {
    let directory = BlobDirectory::new();
    let router = build_file_router(&pool, &directory).await;
    let admin = ApiClient::sign_in(&router, "admin").await;
    let project = create_project(&admin, "Files").await;
    let started = start_upload(&admin, ("project", &project), "../../notes.txt", 11).await;
    assert_eq!(
        (started.status, &started.body["offset"], &started.body["name"]),
        (StatusCode::CREATED, &json!(0), &json!("notes.txt"))
    );
    let id = started.body["id"].as_str().unwrap();
    assert_eq!(send_part(&admin, id, 0, interrupted_body(b"hello ")).await.status, 400, "the body is truncated");
    let complete = format!("/upload/{id}/complete");
    let early = admin.post(&complete, json!({})).await;
    assert_eq!((early.status, &early.body["type"]), (StatusCode::CONFLICT, &json!("/problems/offset")));
    assert_eq!(
        admin.get(&format!("/project/{project}/artifact")).await.body["total"],
        0,
        "an incomplete upload creates no artifact"
    );
    // A client finds its interrupted upload by the fingerprint.
    let resumed = start_upload(&admin, ("project", &project), "../../notes.txt", 11).await;
    assert_eq!((resumed.status, &resumed.body["id"], &resumed.body["offset"]), (StatusCode::OK, &json!(id), &json!(6)));
    assert_eq!(admin.get("/upload").await.body["data"][0]["offset"], 6);
    let wrong_offset = send_part(&admin, id, 0, "hello ").await;
    assert_eq!((wrong_offset.status, wrong_offset.header("upload-offset")), (StatusCode::CONFLICT, "6"));
    assert_eq!(send_part(&admin, id, 6, "world and more").await.status, 413);
    let rest = send_part(&admin, id, 6, "world").await;
    assert_eq!((rest.status, rest.header("upload-offset")), (StatusCode::NO_CONTENT, "11"));
    let created = admin.post(&complete, json!({})).await;
    assert_eq!(created.status, 201, "{}", created.body);
    let row = &created.body;
    assert_eq!(
        (&row["name"], &row["media_type"], &row["size_bytes"], &row["version"]),
        (&json!("notes.txt"), &json!("text/plain"), &json!(11), &json!(1))
    );
    assert_eq!(row["dl__artifact_type"], "Document");
    let parents = admin.get(&format!("/artifact/{}/parents", row["id"].as_str().unwrap())).await;
    assert_eq!(parents.body["data"], json!([{"code": "project", "id": project, "title": "Files", "owned": true}]));
    let deleted_project = create_project(&admin, "Deleted").await;
    let link = json!({"parent_code": "project", "parent_id": deleted_project, "child_code": "artifact", "child_id": row["id"]});
    assert!(admin.post("/entity_instance_link", link).await.status.is_success());
    assert_eq!(
        admin.get(&format!("/artifact/{}/parents", row["id"].as_str().unwrap())).await.body["data"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    sqlx::query("update app.project set active_flag = false where id::text = $1")
        .bind(&deleted_project)
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(
        admin.get(&format!("/artifact/{}/parents", row["id"].as_str().unwrap())).await.body["data"]
            .as_array()
            .unwrap()
            .len(),
        1,
        "a deleted parent is not listed"
    );
    // A repeated request, as after a lost response, creates no second artifact.
    let repeated = admin.post(&complete, json!({})).await;
    assert_eq!((repeated.status, &repeated.body["id"]), (StatusCode::OK, &row["id"]));
    // A concurrent sender of the same file learns that all bytes are stored.
    assert_eq!(admin.get(&format!("/upload/{id}")).await.body["offset"], 11);
    assert_eq!(send_part(&admin, id, 0, "hello ").await.header("upload-offset"), "11");
    assert_eq!(admin.get(&format!("/project/{project}/artifact")).await.body["total"], 1);
    assert_eq!((directory.blob_names().len(), directory.incoming_count()), (1, 0));
    let path = download_path(&admin, row).await;
    let download = send(&anonymous(&router), "GET", &path, &[], Body::empty()).await;
    assert_eq!((download.status, &download.bytes[..]), (StatusCode::OK, &b"hello world"[..]));
    assert_eq!(
        download.header("content-disposition"),
        "attachment; filename=\"notes.txt\"; filename*=UTF-8''notes.txt"
    );
    // Another file with the same content is another artifact that shares the blob.
    let duplicate = upload(&admin, ("project", &project), "twin.txt", b"hello world").await;
    assert_eq!(directory.blob_names().len(), 1);
    assert_eq!(
        admin.send("DELETE", &format!("/artifact/{}", duplicate["id"].as_str().unwrap()), None, &[]).await.status,
        204
    );
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn range_requests_work_and_content_is_sandboxed(pool: PgPool) {
    let directory = BlobDirectory::new();
    let router = build_file_router(&pool, &directory).await;
    let admin = ApiClient::sign_in(&router, "admin").await;
    let project = create_project(&admin, "Ranges").await;
    let page = upload(&admin, ("project", &project), "photo.png", b"<!doctype html><script>alert(1)</script>").await;
    assert_eq!(page["media_type"], "text/html", "the media type is detected from the content, not from the name");
    let path = download_path(&admin, &page).await;
    for query in ["", "?show=true"] {
        let response =
            send(&anonymous(&router), "GET", &format!("{path}{query}"), &[("accept-encoding", "gzip")], Body::empty())
                .await;
        assert_eq!(response.header("content-type"), "application/octet-stream");
        assert!(response.header("content-disposition").starts_with("attachment"));
        assert_eq!((response.header("x-content-type-options"), response.header("content-encoding")), ("nosniff", ""));
        assert!(response.header("content-security-policy").contains("sandbox"));
    }
    let picture = upload(&admin, ("project", &project), "evil\r\nname\u{202e}.png", PNG).await;
    assert_eq!((&picture["media_type"], &picture["dl__artifact_type"]), (&json!("image/png"), &json!("Picture")));
    let path = download_path(&admin, &picture).await;
    let inline_response = send(&anonymous(&router), "GET", &format!("{path}?show=true"), &[], Body::empty()).await;
    assert_eq!(inline_response.header("content-type"), "image/png");
    assert!(
        inline_response.header("content-disposition").starts_with("inline; filename=\"evilname.png\""),
        "{}",
        inline_response.header("content-disposition")
    );
    let get_range = |range: &'static str| {
        let (router, path) = (router.clone(), path.clone());
        async move { send(&anonymous(&router), "GET", &path, &[("range", range)], Body::empty()).await }
    };
    let partial = get_range("bytes=1-3").await;
    assert_eq!(
        (partial.status, &partial.bytes[..], partial.header("content-range")),
        (StatusCode::PARTIAL_CONTENT, &b"PNG"[..], &*format!("bytes 1-3/{}", PNG.len()))
    );
    assert_eq!(&get_range("bytes=-2").await.bytes[..], &PNG[PNG.len() - 2..]);
    assert_eq!(get_range("bytes=20-").await.bytes.len(), PNG.len() - 20);
    let unsatisfiable = get_range("bytes=1000-").await;
    assert_eq!(
        (unsatisfiable.status, unsatisfiable.header("content-range")),
        (StatusCode::RANGE_NOT_SATISFIABLE, &*format!("bytes */{}", PNG.len()))
    );
    for ignored_range in ["bytes=0-1,3-4", "letters=1-2", "bytes=x"] {
        let response = get_range(ignored_range).await;
        assert!(response.status == 200 && response.bytes.len() == PNG.len(), "{ignored_range}: {}", response.status);
    }
    let etag = inline_response.header("etag").to_owned();
    let changed =
        send(&anonymous(&router), "GET", &path, &[("range", "bytes=1-3"), ("if-range", "\"another\"")], Body::empty())
            .await;
    assert_eq!(changed.status, 200, "the whole file is sent if it has changed since the client's ETag");
    let unchanged = send(&anonymous(&router), "GET", &path, &[("if-none-match", &etag)], Body::empty()).await;
    assert_eq!((unchanged.status, unchanged.bytes.len()), (StatusCode::NOT_MODIFIED, 0));
    let head = send(&anonymous(&router), "HEAD", &path, &[], Body::empty()).await;
    assert_eq!(
        (head.status, head.header("content-length"), head.bytes.len()),
        (StatusCode::OK, &*PNG.len().to_string(), 0)
    );
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn download_and_upload_require_current_access_to_the_artifact(pool: PgPool) {
    let directory = BlobDirectory::new();
    let router = build_file_router(&pool, &directory).await;
    let (admin, viewer, outsider) = (
        ApiClient::sign_in(&router, "admin").await,
        ApiClient::sign_in(&router, "viewer").await,
        ApiClient::sign_in(&router, "outsider").await,
    );
    let project = create_project(&admin, "Shared").await;
    let grant_viewer = |level: u8| {
        let (admin, project, pool) = (&admin, project.clone(), pool.clone());
        async move {
            let person: Uuid = sqlx::query_scalar("select id from app.person where email = 'viewer@pmo.example'")
                .fetch_one(&pool)
                .await
                .unwrap();
            let body = json!({"person_id": person, "entity_code": "project", "entity_instance_id": project, "permission": level});
            admin.post("/entity_rbac", body).await.body["id"].as_str().unwrap().to_owned()
        }
    };
    let file = upload(&admin, ("project", &project), "plan.pdf", b"%PDF-1.7\n%%EOF").await;
    let id = file["id"].as_str().unwrap();
    for client in [&viewer, &outsider] {
        assert_eq!(client.get(&format!("/artifact/{id}/download-url")).await.status, 404);
        assert_eq!(start_upload(client, ("project", &project), "x", 1).await.status, 404);
    }
    let grant_id = grant_viewer(0).await;
    assert_eq!(
        start_upload(&viewer, ("project", &project), "x", 1).await.status,
        403,
        "VIEW permission does not allow attachments"
    );
    assert_eq!(start_upload(&viewer, ("artifact", id), "x", 1).await.status, 403);
    let path = download_path(&viewer, &file).await;
    assert_eq!(send(&anonymous(&router), "GET", &path, &[], Body::empty()).await.status, 200);
    assert_eq!(admin.send("DELETE", &format!("/entity_rbac/{grant_id}"), None, &[]).await.status, 204);
    assert_eq!(
        send(&anonymous(&router), "GET", &path, &[], Body::empty()).await.status,
        404,
        "each download checks the permission again"
    );
    for invalid_path in ["/api/v1/file/", "/api/v1/file/AAAA", &path[..path.len() - 2]] {
        assert_eq!(
            send(&anonymous(&router), "GET", invalid_path, &[], Body::empty()).await.status,
            404,
            "{invalid_path}"
        );
    }
    // An upload creates no artifact if the permission is lost before its completion. Uploads of
    // other users are not found.
    let grant_id = grant_viewer(2).await;
    let started = start_upload(&viewer, ("project", &project), "late.txt", 2).await;
    let upload_id = started.body["id"].as_str().unwrap().to_owned();
    assert_eq!(send_part(&viewer, &upload_id, 0, "hi").await.status, 204);
    assert_eq!(admin.get(&format!("/upload/{upload_id}")).await.status, 404);
    assert_eq!(send_part(&admin, &upload_id, 2, "").await.status, 404);
    admin.send("DELETE", &format!("/entity_rbac/{grant_id}"), None, &[]).await;
    assert_eq!(viewer.post(&format!("/upload/{upload_id}/complete"), json!({})).await.status, 404);
    assert_eq!(admin.get(&format!("/project/{project}/artifact")).await.body["total"], 1);
    // A cancelled upload leaves no bytes behind.
    assert_eq!(viewer.send("DELETE", &format!("/upload/{upload_id}"), None, &[]).await.status, 204);
    assert_eq!(
        (directory.incoming_count(), viewer.get(&format!("/upload/{upload_id}")).await.status),
        (0, StatusCode::NOT_FOUND)
    );
    // The file of a deleted artifact is not found.
    let path = download_path(&admin, &file).await;
    admin.send("DELETE", &format!("/artifact/{id}"), None, &[]).await;
    assert_eq!(send(&anonymous(&router), "GET", &path, &[], Body::empty()).await.status, 404);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn new_version_supersedes_the_first_and_limits_are_enforced(pool: PgPool) {
    let directory = BlobDirectory::new();
    let router = build_file_router(&pool, &directory).await;
    let admin = ApiClient::sign_in(&router, "admin").await;
    let project = create_project(&admin, "Versions").await;
    // An upload to an artifact without a file fills it.
    let empty = admin
        .post(
            &format!("/project/{project}/artifact"),
            json!({"name": "Contract", "dl__security_classification": "Confidential"}),
        )
        .await
        .body;
    let id = empty["id"].as_str().unwrap();
    assert_eq!(admin.get(&format!("/artifact/{id}/download-url")).await.status, 404);
    let filled = upload(&admin, ("artifact", id), "contract-1.txt", b"one").await;
    assert_eq!(
        (&filled["id"], &filled["name"], &filled["version"], &filled["size_bytes"]),
        (&json!(id), &json!("Contract"), &json!(2), &json!(3))
    );
    // An upload to an artifact with a file creates an artifact that supersedes it.
    let second = upload(&admin, ("artifact", id), "contract-2.txt", b"two!").await;
    assert_ne!(second["id"], json!(id));
    assert_eq!(
        (&second["supersedes__artifact_id"], &second["dl__security_classification"]),
        (&json!(id), &json!("Confidential"))
    );
    assert_eq!(admin.get(&format!("/project/{project}/artifact")).await.body["total"], 2);
    let first = send(&anonymous(&router), "GET", &download_path(&admin, &filled).await, &[], Body::empty()).await;
    assert_eq!(&first.bytes[..], b"one", "the file of the first version is unchanged");
    // An empty file is accepted.
    let empty_file = upload(&admin, ("project", &project), "empty.txt", b"").await;
    assert_eq!((&empty_file["size_bytes"], &empty_file["media_type"]), (&json!(0), &json!("application/octet-stream")));
    assert_eq!(
        send(
            &anonymous(&router),
            "GET",
            &download_path(&admin, &empty_file).await,
            &[("range", "bytes=0-1")],
            Body::empty()
        )
        .await
        .status,
        200
    );
    // Limits of file size, part size, targets and open uploads.
    assert_eq!(start_upload(&admin, ("project", &project), "huge", 40 * 1024 * 1024 + 1).await.status, 413);
    assert_eq!(start_upload(&admin, ("timesheet", id), "x", 1).await.status, 404, "the target does not exist");
    let risk =
        admin.post("/risk", json!({"name": "r", "project_id": project})).await.body["id"].as_str().unwrap().to_owned();
    assert_eq!(start_upload(&admin, ("risk", &risk), "x", 1).await.status, 422, "risks do not accept artifacts");
    for invalid in [
        json!({"name": "x"}),
        json!({"name": "x", "size_bytes": -1, "entity": "project", "id": project}),
        json!({"name": 1, "size_bytes": 1, "entity": "project", "id": project}),
        json!([]),
    ] {
        assert_eq!(admin.post("/upload", invalid.clone()).await.status, 422, "{invalid}");
    }
    let size = 17 * 1024 * 1024;
    let started = start_upload(&admin, ("project", &project), "big.bin", size).await;
    let upload_id = started.body["id"].as_str().unwrap();
    assert_eq!(send_part(&admin, upload_id, 0, vec![1; size]).await.status, 413, "a part has a maximum size");
    let offset = admin.get(&format!("/upload/{upload_id}")).await.body["offset"].as_u64().unwrap();
    assert_eq!(offset, 0, "a part that exceeds the limit is not stored");
    let max_part = 16 * 1024 * 1024;
    assert_eq!(send_part(&admin, upload_id, 0, vec![1; max_part]).await.status, 204);
    assert_eq!(send_part(&admin, upload_id, max_part as u64, vec![1; size - max_part]).await.status, 204);
    let created = admin.post(&format!("/upload/{upload_id}/complete"), json!({})).await;
    assert_eq!((created.status, &created.body["size_bytes"]), (StatusCode::CREATED, &json!(size)));
    assert_eq!(
        send(&admin, "PATCH", &format!("/api/v1/upload/{upload_id}"), &[("content-type", "text/html")], Body::empty())
            .await
            .status,
        415
    );
    for n in 0..50 {
        assert_eq!(start_upload(&admin, ("project", &project), &format!("{n}"), 1).await.status, 201);
    }
    assert_eq!(start_upload(&admin, ("project", &project), "one too many", 1).await.status, 422);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn unreferenced_blobs_are_deleted(pool: PgPool) {
    let directory = BlobDirectory::new();
    let router = build_file_router(&pool, &directory).await;
    let admin = ApiClient::sign_in(&router, "admin").await;
    let project = create_project(&admin, "Garbage").await;
    let (restorable, purged) = (
        upload(&admin, ("project", &project), "restorable.txt", b"restorable").await,
        upload(&admin, ("project", &project), "purged.txt", b"purged").await,
    );
    let unfinished = start_upload(&admin, ("project", &project), "unfinished.txt", 5).await.body;
    send_part(&admin, unfinished["id"].as_str().unwrap(), 0, "be").await;
    for artifact in [&restorable, &purged] {
        admin.send("DELETE", &format!("/artifact/{}", artifact["id"].as_str().unwrap()), None, &[]).await;
    }
    admin.send("DELETE", &format!("/artifact/{}/purge", purged["id"].as_str().unwrap()), None, &[]).await;
    let collect_garbage = || async {
        let disk = pmo_api::files::blob_store::DiskBlobStore::new(&directory.0);
        pmo_api::files::collect_garbage(&mut pool.acquire().await.unwrap(), &disk).await.unwrap();
    };
    collect_garbage().await;
    assert_eq!(
        (directory.blob_names().len(), directory.incoming_count()),
        (2, 1),
        "recent blobs and uploads are not deleted"
    );
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3 * 86_400);
    for name in directory.blob_names() {
        let path = directory.0.join(&name[..2]).join(&name);
        std::fs::File::options().append(true).open(path).unwrap().set_modified(old).unwrap();
    }
    sqlx::query("update app.upload set last_part_ts = now() - interval '3 days'").execute(&pool).await.unwrap();
    collect_garbage().await;
    assert_eq!(
        (directory.blob_names().len(), directory.incoming_count()),
        (1, 0),
        "the blob of a deleted artifact stays, that of a purged one is deleted"
    );
}
