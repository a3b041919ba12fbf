//! Files: in parts that are cut and go on, kept once, told to whoever may see the artifact, and never run by a browser.

use crate::harness::*;
use axum::body::Bytes;
use std::io;
use std::path::PathBuf;
use uuid::Uuid;

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("pmo-files-{}", Uuid::new_v4())))
    }
    /// Names of the contents that are kept.
    fn contents(&self) -> Vec<String> {
        let folders = std::fs::read_dir(&self.0).into_iter().flatten().flatten();
        let kept = folders.filter(|f| f.file_name().len() == 2);
        let files = kept.flat_map(|f| std::fs::read_dir(f.path()).into_iter().flatten().flatten());
        files.map(|f| f.file_name().into_string().unwrap()).collect()
    }
    /// Uploads that have begun to come.
    fn incoming(&self) -> usize {
        std::fs::read_dir(self.0.join("incoming")).map_or(0, Iterator::count)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn service(pool: &PgPool, folder: &Folder) -> Router {
    router_with(pool, &["--files-dir", folder.0.to_str().unwrap(), "--file-limit-mb", "40"]).await
}

struct Told {
    status: StatusCode,
    headers: axum::http::HeaderMap,
    bytes: Bytes,
}

impl Told {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
}

async fn send(who: &Api, method: &str, path: &str, headers: &[(&str, &str)], body: Body) -> Told {
    let mut request = Request::builder().method(method).uri(path);
    if !who.token.is_empty() {
        request = request.header("authorization", format!("Bearer {}", who.token));
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = who.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
    let (parts, body) = answer.into_parts();
    Told { status: parts.status, headers: parts.headers, bytes: body.collect().await.unwrap().to_bytes() }
}

async fn part(who: &Api, id: &str, offset: u64, body: impl Into<Body>) -> Told {
    let headers = [("content-type", "application/octet-stream"), ("upload-offset", &*offset.to_string())];
    send(who, "PATCH", &format!("/api/v1/upload/{id}"), &headers, body.into()).await
}

fn cut(sent: &'static [u8]) -> Body {
    let parts: [io::Result<Bytes>; 2] = [Ok(Bytes::from_static(sent)), Err(io::ErrorKind::ConnectionReset.into())];
    Body::from_stream(futures_util::stream::iter(parts))
}

async fn begin(who: &Api, (entity, id): (&str, &str), name: &str, size: usize) -> Answer {
    who.post(
        "/upload",
        json!({"name": name, "size_bytes": size, "entity": entity, "id": id, "fingerprint": format!("{name} {size}")}),
    )
    .await
}

/// Uploads a file whole and answers its artifact.
async fn upload(who: &Api, about: (&str, &str), name: &str, bytes: &[u8]) -> Value {
    let begun = begin(who, about, name, bytes.len()).await;
    assert_eq!(begun.status, 201, "{}", begun.body);
    let id = begun.body["id"].as_str().unwrap();
    assert_eq!(part(who, id, 0, bytes.to_vec()).await.status, 204);
    let made = who.post(&format!("/upload/{id}/finish"), json!({})).await;
    assert_eq!(made.status, 201, "{}", made.body);
    made.body
}

async fn address(who: &Api, artifact: &Value) -> String {
    let told = who.get(&format!("/artifact/{}/address", artifact["id"].as_str().unwrap())).await;
    assert_eq!(told.status, 200, "{}", told.body);
    told.body["path"].as_str().unwrap().to_owned()
}

async fn project(who: &Api, name: &str) -> String {
    who.post("/project", json!({"name": name})).await.body["id"].as_str().unwrap().to_owned()
}

fn nobody(router: &Router) -> Api {
    Api { router: router.clone(), token: String::new() }
}

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0";

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn an_upload_that_is_cut_goes_on_and_becomes_an_artifact_once(pool: PgPool) {
    let folder = Folder::new();
    let router = service(&pool, &folder).await;
    let admin = Api::of(&router, "admin").await;
    let plan = project(&admin, "Files").await;
    let begun = begin(&admin, ("project", &plan), "../../notes.txt", 11).await;
    assert_eq!(
        (begun.status, &begun.body["offset"], &begun.body["name"]),
        (StatusCode::CREATED, &json!(0), &json!("notes.txt"))
    );
    let id = begun.body["id"].as_str().unwrap();
    assert_eq!(part(&admin, id, 0, cut(b"hello ")).await.status, 400, "cut in the middle");
    let finish = format!("/upload/{id}/finish");
    let early = admin.post(&finish, json!({})).await;
    assert_eq!((early.status, &early.body["type"]), (StatusCode::CONFLICT, &json!("/problems/offset")));
    assert_eq!(admin.get(&format!("/project/{plan}/artifact")).await.body["total"], 0, "nothing half-made");
    // Who comes back finds it by what it is.
    let again = begin(&admin, ("project", &plan), "../../notes.txt", 11).await;
    assert_eq!((again.status, &again.body["id"], &again.body["offset"]), (StatusCode::OK, &json!(id), &json!(6)));
    assert_eq!(admin.get("/upload").await.body["data"][0]["offset"], 6);
    let wrong = part(&admin, id, 0, "hello ").await;
    assert_eq!((wrong.status, wrong.header("upload-offset")), (StatusCode::CONFLICT, "6"));
    assert_eq!(part(&admin, id, 6, "world and more").await.status, 413);
    let rest = part(&admin, id, 6, "world").await;
    assert_eq!((rest.status, rest.header("upload-offset")), (StatusCode::NO_CONTENT, "11"));
    let made = admin.post(&finish, json!({})).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let row = &made.body;
    assert_eq!(
        (&row["name"], &row["media_type"], &row["size_bytes"], &row["version"]),
        (&json!("notes.txt"), &json!("text/plain"), &json!(11), &json!(1))
    );
    assert_eq!(row["dl__artifact_type"], "Document");
    let above = admin.get(&format!("/artifact/{}/parents", row["id"].as_str().unwrap())).await;
    assert_eq!(above.body["data"], json!([{"code": "project", "id": plan, "title": "Files", "owned": true}]));
    let other = project(&admin, "Put away").await;
    let link = json!({"parent_code": "project", "parent_id": other, "child_code": "artifact", "child_id": row["id"]});
    assert!(admin.post("/entity_instance_link", link).await.status.is_success());
    assert_eq!(
        admin.get(&format!("/artifact/{}/parents", row["id"].as_str().unwrap())).await.body["data"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    sqlx::query("update app.project set active_flag = false where id::text = $1")
        .bind(&other)
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(
        admin.get(&format!("/artifact/{}/parents", row["id"].as_str().unwrap())).await.body["data"]
            .as_array()
            .unwrap()
            .len(),
        1,
        "what is deleted is not told"
    );
    // The answer was lost: a repeat makes no second one.
    let repeat = admin.post(&finish, json!({})).await;
    assert_eq!((repeat.status, &repeat.body["id"]), (StatusCode::OK, &row["id"]));
    // Whoever sends the same as well learns that all of it is here.
    assert_eq!(admin.get(&format!("/upload/{id}")).await.body["offset"], 11);
    assert_eq!(part(&admin, id, 0, "hello ").await.header("upload-offset"), "11");
    assert_eq!(admin.get(&format!("/project/{plan}/artifact")).await.body["total"], 1);
    assert_eq!((folder.contents().len(), folder.incoming()), (1, 0));
    let path = address(&admin, row).await;
    let told = send(&nobody(&router), "GET", &path, &[], Body::empty()).await;
    assert_eq!((told.status, &told.bytes[..]), (StatusCode::OK, &b"hello world"[..]));
    assert_eq!(told.header("content-disposition"), "attachment; filename=\"notes.txt\"; filename*=UTF-8''notes.txt");
    // The same again is another artifact and no other content; what nobody holds goes, what is deleted stays.
    let twin = upload(&admin, ("project", &plan), "twin.txt", b"hello world").await;
    assert_eq!(folder.contents().len(), 1);
    assert_eq!(
        admin.send("DELETE", &format!("/artifact/{}", twin["id"].as_str().unwrap()), None, &[]).await.status,
        204
    );
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn parts_of_a_file_are_told_and_a_browser_runs_none_of_it(pool: PgPool) {
    let folder = Folder::new();
    let router = service(&pool, &folder).await;
    let admin = Api::of(&router, "admin").await;
    let plan = project(&admin, "Ranges").await;
    let page = upload(&admin, ("project", &plan), "photo.png", b"<!doctype html><script>alert(1)</script>").await;
    assert_eq!(page["media_type"], "text/html", "told by what it is, not by its name");
    let path = address(&admin, &page).await;
    for query in ["", "?show=true"] {
        let told =
            send(&nobody(&router), "GET", &format!("{path}{query}"), &[("accept-encoding", "gzip")], Body::empty())
                .await;
        assert_eq!(told.header("content-type"), "application/octet-stream");
        assert!(told.header("content-disposition").starts_with("attachment"));
        assert_eq!((told.header("x-content-type-options"), told.header("content-encoding")), ("nosniff", ""));
        assert!(told.header("content-security-policy").contains("sandbox"));
    }
    let picture = upload(&admin, ("project", &plan), "evil\r\nname\u{202e}.png", PNG).await;
    assert_eq!((&picture["media_type"], &picture["dl__artifact_type"]), (&json!("image/png"), &json!("Picture")));
    let path = address(&admin, &picture).await;
    let shown = send(&nobody(&router), "GET", &format!("{path}?show=true"), &[], Body::empty()).await;
    assert_eq!(shown.header("content-type"), "image/png");
    assert!(
        shown.header("content-disposition").starts_with("inline; filename=\"evilname.png\""),
        "{}",
        shown.header("content-disposition")
    );
    let range = |range: &'static str| {
        let (router, path) = (router.clone(), path.clone());
        async move { send(&nobody(&router), "GET", &path, &[("range", range)], Body::empty()).await }
    };
    let some = range("bytes=1-3").await;
    assert_eq!(
        (some.status, &some.bytes[..], some.header("content-range")),
        (StatusCode::PARTIAL_CONTENT, &b"PNG"[..], &*format!("bytes 1-3/{}", PNG.len()))
    );
    assert_eq!(&range("bytes=-2").await.bytes[..], &PNG[PNG.len() - 2..]);
    assert_eq!(range("bytes=20-").await.bytes.len(), PNG.len() - 20);
    let none = range("bytes=1000-").await;
    assert_eq!(
        (none.status, none.header("content-range")),
        (StatusCode::RANGE_NOT_SATISFIABLE, &*format!("bytes */{}", PNG.len()))
    );
    for whole in ["bytes=0-1,3-4", "letters=1-2", "bytes=x"] {
        let told = range(whole).await;
        assert!(told.status == 200 && told.bytes.len() == PNG.len(), "{whole}: {}", told.status);
    }
    let etag = shown.header("etag").to_owned();
    let other =
        send(&nobody(&router), "GET", &path, &[("range", "bytes=1-3"), ("if-range", "\"another\"")], Body::empty())
            .await;
    assert_eq!(other.status, 200, "of another content no part is told");
    let same = send(&nobody(&router), "GET", &path, &[("if-none-match", &etag)], Body::empty()).await;
    assert_eq!((same.status, same.bytes.len()), (StatusCode::NOT_MODIFIED, 0));
    let head = send(&nobody(&router), "HEAD", &path, &[], Body::empty()).await;
    assert_eq!(
        (head.status, head.header("content-length"), head.bytes.len()),
        (StatusCode::OK, &*PNG.len().to_string(), 0)
    );
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_file_is_for_those_who_may_see_its_artifact_while_they_may(pool: PgPool) {
    let folder = Folder::new();
    let router = service(&pool, &folder).await;
    let (admin, viewer, outsider) =
        (Api::of(&router, "admin").await, Api::of(&router, "viewer").await, Api::of(&router, "outsider").await);
    let plan = project(&admin, "Shared").await;
    let grant = |level: u8| {
        let (admin, plan, pool) = (&admin, plan.clone(), pool.clone());
        async move {
            let person: Uuid = sqlx::query_scalar("select id from app.person where email = 'viewer@pmo.example'")
                .fetch_one(&pool)
                .await
                .unwrap();
            let body =
                json!({"person_id": person, "entity_code": "project", "entity_instance_id": plan, "permission": level});
            admin.post("/entity_rbac", body).await.body["id"].as_str().unwrap().to_owned()
        }
    };
    let file = upload(&admin, ("project", &plan), "plan.pdf", b"%PDF-1.7\n%%EOF").await;
    let id = file["id"].as_str().unwrap();
    for who in [&viewer, &outsider] {
        assert_eq!(who.get(&format!("/artifact/{id}/address")).await.status, 404);
        assert_eq!(begin(who, ("project", &plan), "x", 1).await.status, 404);
    }
    let seen = grant(0).await;
    assert_eq!(begin(&viewer, ("project", &plan), "x", 1).await.status, 403, "who looks attaches nothing");
    assert_eq!(begin(&viewer, ("artifact", id), "x", 1).await.status, 403);
    let path = address(&viewer, &file).await;
    assert_eq!(send(&nobody(&router), "GET", &path, &[], Body::empty()).await.status, 200);
    assert_eq!(admin.send("DELETE", &format!("/entity_rbac/{seen}"), None, &[]).await.status, 204);
    assert_eq!(
        send(&nobody(&router), "GET", &path, &[], Body::empty()).await.status,
        404,
        "the address is asked again"
    );
    for bad in ["/api/v1/file/", "/api/v1/file/AAAA", &path[..path.len() - 2]] {
        assert_eq!(send(&nobody(&router), "GET", bad, &[], Body::empty()).await.status, 404, "{bad}");
    }
    // A right that is lost on the way ends the upload with nothing made; what is another's is not there.
    let seen = grant(2).await;
    let begun = begin(&viewer, ("project", &plan), "late.txt", 2).await;
    let upload_id = begun.body["id"].as_str().unwrap().to_owned();
    assert_eq!(part(&viewer, &upload_id, 0, "hi").await.status, 204);
    assert_eq!(admin.get(&format!("/upload/{upload_id}")).await.status, 404);
    assert_eq!(part(&admin, &upload_id, 2, "").await.status, 404);
    admin.send("DELETE", &format!("/entity_rbac/{seen}"), None, &[]).await;
    assert_eq!(viewer.post(&format!("/upload/{upload_id}/finish"), json!({})).await.status, 404);
    assert_eq!(admin.get(&format!("/project/{plan}/artifact")).await.body["total"], 1);
    // Given up: it leaves nothing.
    assert_eq!(viewer.send("DELETE", &format!("/upload/{upload_id}"), None, &[]).await.status, 204);
    assert_eq!(
        (folder.incoming(), viewer.get(&format!("/upload/{upload_id}")).await.status),
        (0, StatusCode::NOT_FOUND)
    );
    // A deleted artifact's file is not there.
    let path = address(&admin, &file).await;
    admin.send("DELETE", &format!("/artifact/{id}"), None, &[]).await;
    assert_eq!(send(&nobody(&router), "GET", &path, &[], Body::empty()).await.status, 404);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn another_version_supersedes_the_first_and_bounds_hold(pool: PgPool) {
    let folder = Folder::new();
    let router = service(&pool, &folder).await;
    let admin = Api::of(&router, "admin").await;
    let plan = project(&admin, "Versions").await;
    // An artifact without a file is filled;
    let empty = admin
        .post(
            &format!("/project/{plan}/artifact"),
            json!({"name": "Contract", "dl__security_classification": "Confidential"}),
        )
        .await
        .body;
    let id = empty["id"].as_str().unwrap();
    assert_eq!(admin.get(&format!("/artifact/{id}/address")).await.status, 404);
    let filled = upload(&admin, ("artifact", id), "contract-1.txt", b"one").await;
    assert_eq!(
        (&filled["id"], &filled["name"], &filled["version"], &filled["size_bytes"]),
        (&json!(id), &json!("Contract"), &json!(2), &json!(3))
    );
    // one that has a file is superseded by another.
    let second = upload(&admin, ("artifact", id), "contract-2.txt", b"two!").await;
    assert_ne!(second["id"], json!(id));
    assert_eq!(
        (&second["supersedes__artifact_id"], &second["dl__security_classification"]),
        (&json!(id), &json!("Confidential"))
    );
    assert_eq!(admin.get(&format!("/project/{plan}/artifact")).await.body["total"], 2);
    let first = send(&nobody(&router), "GET", &address(&admin, &filled).await, &[], Body::empty()).await;
    assert_eq!(&first.bytes[..], b"one", "contents never change");
    // An empty file is a file.
    let nothing = upload(&admin, ("project", &plan), "empty.txt", b"").await;
    assert_eq!((&nothing["size_bytes"], &nothing["media_type"]), (&json!(0), &json!("application/octet-stream")));
    assert_eq!(
        send(&nobody(&router), "GET", &address(&admin, &nothing).await, &[("range", "bytes=0-1")], Body::empty())
            .await
            .status,
        200
    );
    // Bounds.
    assert_eq!(begin(&admin, ("project", &plan), "huge", 40 * 1024 * 1024 + 1).await.status, 413);
    assert_eq!(begin(&admin, ("timesheet", id), "x", 1).await.status, 404, "not there");
    let risk =
        admin.post("/risk", json!({"name": "r", "project_id": plan})).await.body["id"].as_str().unwrap().to_owned();
    assert_eq!(begin(&admin, ("risk", &risk), "x", 1).await.status, 422, "risks take no artifacts");
    for bad in [
        json!({"name": "x"}),
        json!({"name": "x", "size_bytes": -1, "entity": "project", "id": plan}),
        json!({"name": 1, "size_bytes": 1, "entity": "project", "id": plan}),
        json!([]),
    ] {
        assert_eq!(admin.post("/upload", bad.clone()).await.status, 422, "{bad}");
    }
    let big = 17 * 1024 * 1024;
    let begun = begin(&admin, ("project", &plan), "big.bin", big).await;
    let upload_id = begun.body["id"].as_str().unwrap();
    assert_eq!(part(&admin, upload_id, 0, vec![1; big]).await.status, 413, "a part has its bound");
    let at = admin.get(&format!("/upload/{upload_id}")).await.body["offset"].as_u64().unwrap();
    assert_eq!(at, 0, "one chunk that is too large is not taken at all");
    let bound = 16 * 1024 * 1024;
    assert_eq!(part(&admin, upload_id, 0, vec![1; bound]).await.status, 204);
    assert_eq!(part(&admin, upload_id, bound as u64, vec![1; big - bound]).await.status, 204);
    let made = admin.post(&format!("/upload/{upload_id}/finish"), json!({})).await;
    assert_eq!((made.status, &made.body["size_bytes"]), (StatusCode::CREATED, &json!(big)));
    assert_eq!(
        send(&admin, "PATCH", &format!("/api/v1/upload/{upload_id}"), &[("content-type", "text/html")], Body::empty())
            .await
            .status,
        415
    );
    for n in 0..50 {
        assert_eq!(begin(&admin, ("project", &plan), &format!("{n}"), 1).await.status, 201);
    }
    assert_eq!(begin(&admin, ("project", &plan), "one too many", 1).await.status, 422);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn what_no_artifact_holds_is_swept_away(pool: PgPool) {
    let folder = Folder::new();
    let router = service(&pool, &folder).await;
    let admin = Api::of(&router, "admin").await;
    let plan = project(&admin, "Swept").await;
    let (held, gone) = (
        upload(&admin, ("project", &plan), "held.txt", b"held").await,
        upload(&admin, ("project", &plan), "gone.txt", b"gone").await,
    );
    let started = begin(&admin, ("project", &plan), "begun.txt", 5).await.body;
    part(&admin, started["id"].as_str().unwrap(), 0, "be").await;
    for id in [&held, &gone] {
        admin.send("DELETE", &format!("/artifact/{}", id["id"].as_str().unwrap()), None, &[]).await;
    }
    admin.send("DELETE", &format!("/artifact/{}/purge", gone["id"].as_str().unwrap()), None, &[]).await;
    let sweep = || async {
        let disk = pmo_api::files::blob_store::DiskBlobStore::new(&folder.0);
        pmo_api::files::collect_garbage(&mut pool.acquire().await.unwrap(), &disk).await.unwrap();
    };
    sweep().await;
    assert_eq!((folder.contents().len(), folder.incoming()), (2, 1), "what is young stays");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3 * 86_400);
    for name in folder.contents() {
        let place = folder.0.join(&name[..2]).join(&name);
        std::fs::File::options().append(true).open(place).unwrap().set_modified(old).unwrap();
    }
    sqlx::query("update app.upload set touched_ts = now() - interval '3 days'").execute(&pool).await.unwrap();
    sweep().await;
    assert_eq!(
        (folder.contents().len(), folder.incoming()),
        (1, 0),
        "what is deleted may be restored, what is purged is gone"
    );
}
