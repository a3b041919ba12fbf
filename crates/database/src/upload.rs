//! Uploads on their way, and which contents are still somebody's. Whether one may is the caller's business; where the bytes are, too.

use crate::{Connection, Result};
use pmo_domain::{EntityCode, PersonId};
use uuid::Uuid;

/// An upload on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Its id.
    pub id: Uuid,
    /// What the file is called.
    pub name: String,
    /// Bytes that are to come in all.
    pub size: i64,
    /// By what its sender finds it again.
    pub fingerprint: Option<String>,
    /// What it is to hang below; an artifact: which it fills or supersedes.
    pub target: (EntityCode, Uuid),
    /// The artifact that came of it.
    pub artifact_id: Option<Uuid>,
}

type UploadRow = (Uuid, String, i64, Option<String>, String, Uuid, Option<Uuid>);
const COLUMNS: &str = "id, name, size_bytes, fingerprint, about_code, about_id, made_id";

fn read((id, name, size, fingerprint, code, about, made): UploadRow) -> Option<Upload> {
    Some(Upload { id, name, size, fingerprint, target: (EntityCode::new(&code).ok()?, about), artifact_id: made })
}

/// Begins an upload of a person.
pub async fn insert(c: &mut Connection, person: PersonId, upload: &Upload) -> Result<()> {
    sqlx::query("insert into app.upload (id, person_id, name, size_bytes, fingerprint, about_code, about_id) values ($1, $2, $3, $4, $5, $6, $7)")
        .bind(upload.id)
        .bind(person.0)
        .bind(&upload.name)
        .bind(upload.size)
        .bind(&upload.fingerprint)
        .bind(upload.target.0.as_str())
        .bind(upload.target.1)
        .execute(c)
        .await?;
    Ok(())
}

/// A person's uploads that have not become anything yet.
pub async fn list_unfinished(c: &mut Connection, person: PersonId) -> Result<Vec<Upload>> {
    let text =
        format!("select {COLUMNS} from app.upload where person_id = $1 and made_id is null order by created_ts, id");
    let lines: Vec<UploadRow> = sqlx::query_as(crate::sql::statement(text)).bind(person.0).fetch_all(c).await?;
    Ok(lines.into_iter().filter_map(read).collect())
}

/// One of a person's uploads; locked: nobody else ends it meanwhile.
pub async fn find(c: &mut Connection, person: PersonId, id: Uuid, locked: bool) -> Result<Option<Upload>> {
    let lock = if locked { "for update" } else { "" };
    let text = format!("select {COLUMNS} from app.upload where id = $1 and person_id = $2 {lock}");
    let line: Option<UploadRow> =
        sqlx::query_as(crate::sql::statement(text)).bind(id).bind(person.0).fetch_optional(c).await?;
    Ok(line.and_then(read))
}

/// Notes what came of it.
pub async fn set_artifact(c: &mut Connection, id: Uuid, artifact: Uuid) -> Result<()> {
    sqlx::query("update app.upload set made_id = $2 where id = $1").bind(id).bind(artifact).execute(c).await?;
    Ok(())
}

/// Takes one of a person's away; false where there is none.
pub async fn cancel(c: &mut Connection, person: PersonId, id: Uuid) -> Result<bool> {
    let gone = sqlx::query("delete from app.upload where id = $1 and person_id = $2 and made_id is null")
        .bind(id)
        .bind(person.0)
        .execute(c)
        .await?;
    Ok(gone.rows_affected() > 0)
}

/// Notes that a part came: it is not given up.
pub async fn record_part(c: &mut Connection, id: Uuid) -> Result<()> {
    sqlx::query("update app.upload set touched_ts = now() where id = $1").bind(id).execute(c).await?;
    Ok(())
}

/// Bytes that a person has begun to upload lately, finished or not: as far back as [`sweep`] leaves them.
pub async fn recent_bytes(c: &mut Connection, person: PersonId) -> Result<i64> {
    let text = "select coalesce(sum(size_bytes), 0)::bigint from app.upload where person_id = $1";
    Ok(sqlx::query_scalar(text).bind(person.0).fetch_one(c).await?)
}

/// Takes away those of which no part has come for two days, and answers them.
pub async fn delete_abandoned(c: &mut Connection) -> Result<Vec<Uuid>> {
    let text = "delete from app.upload where touched_ts < now() - interval '2 days' returning id";
    Ok(sqlx::query_scalar(text).fetch_all(c).await?)
}

/// Of these contents, those that some artifact holds, be it deleted: it may be restored.
pub async fn referenced_keys(c: &mut Connection, keys: &[String]) -> Result<Vec<String>> {
    let text = "select distinct storage_key from app.artifact where storage_key = any ($1)";
    Ok(sqlx::query_scalar(text).bind(keys).fetch_all(c).await?)
}

/// What an artifact hangs below.
pub async fn artifact_parents(c: &mut Connection, artifact: Uuid) -> Result<Vec<(EntityCode, Uuid)>> {
    let text = "select parent_code, parent_id from app.entity_instance_link where child_code = 'artifact' and child_id = $1 order by created_ts, parent_id";
    let lines: Vec<(String, Uuid)> = sqlx::query_as(text).bind(artifact).fetch_all(c).await?;
    Ok(lines.into_iter().filter_map(|(code, id)| Some((EntityCode::new(&code).ok()?, id))).collect())
}
