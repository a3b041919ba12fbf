//! Uploads in progress, and references from artifacts to blobs.
//!
//! Callers check permissions and store the bytes.

use crate::{Connection, Result};
use pmo_domain::{EntityCode, PersonId};
use uuid::Uuid;

/// Upload in progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Id of the upload.
    pub id: Uuid,
    /// File name.
    pub name: String,
    /// Size of the complete file, in bytes.
    pub size: i64,
    /// Fingerprint of the file, by which the client finds an interrupted upload.
    pub fingerprint: Option<String>,
    /// Parent of the new artifact, or an existing artifact to fill or supersede.
    pub target: (EntityCode, Uuid),
    /// Artifact that the completed upload became.
    pub artifact_id: Option<Uuid>,
}

type UploadRow = (Uuid, String, i64, Option<String>, String, Uuid, Option<Uuid>);
const COLUMNS: &str = "id, name, size_bytes, fingerprint, target_code, target_id, artifact_id";

/// Converts a row; returns `None` if its target has an invalid type code.
fn from_row((id, name, size, fingerprint, code, target_id, artifact_id): UploadRow) -> Option<Upload> {
    Some(Upload { id, name, size, fingerprint, target: (EntityCode::new(&code).ok()?, target_id), artifact_id })
}

/// Inserts a new upload of a person.
pub async fn insert(conn: &mut Connection, person: PersonId, upload: &Upload) -> Result<()> {
    sqlx::query("insert into app.upload (id, person_id, name, size_bytes, fingerprint, target_code, target_id) values ($1, $2, $3, $4, $5, $6, $7)")
        .bind(upload.id)
        .bind(person.0)
        .bind(&upload.name)
        .bind(upload.size)
        .bind(&upload.fingerprint)
        .bind(upload.target.0.as_str())
        .bind(upload.target.1)
        .execute(conn)
        .await?;
    Ok(())
}

/// Returns the uploads of a person that are not completed.
pub async fn list_unfinished(conn: &mut Connection, person: PersonId) -> Result<Vec<Upload>> {
    let statement = format!(
        "select {COLUMNS} from app.upload where person_id = $1 and artifact_id is null order by created_ts, id"
    );
    let rows: Vec<UploadRow> = sqlx::query_as(crate::sql::statement(statement)).bind(person.0).fetch_all(conn).await?;
    Ok(rows.into_iter().filter_map(from_row).collect())
}

/// Whether a read locks the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMode {
    /// The row is not locked.
    Unlocked,
    /// The row is locked until the transaction ends, so that it is not completed concurrently.
    ForUpdate,
}

/// Returns an upload of a person; `None` if they have none with that id.
pub async fn find(conn: &mut Connection, person: PersonId, id: Uuid, lock: LockMode) -> Result<Option<Upload>> {
    let lock = match lock {
        LockMode::Unlocked => "",
        LockMode::ForUpdate => "for update",
    };
    let statement = format!("select {COLUMNS} from app.upload where id = $1 and person_id = $2 {lock}");
    let row: Option<UploadRow> =
        sqlx::query_as(crate::sql::statement(statement)).bind(id).bind(person.0).fetch_optional(conn).await?;
    Ok(row.and_then(from_row))
}

/// Records the artifact that a completed upload became.
pub async fn set_artifact(conn: &mut Connection, id: Uuid, artifact: Uuid) -> Result<()> {
    sqlx::query("update app.upload set artifact_id = $2 where id = $1").bind(id).bind(artifact).execute(conn).await?;
    Ok(())
}

/// Deletes an unfinished upload of a person; returns `false` if there is none with that id.
pub async fn cancel(conn: &mut Connection, person: PersonId, id: Uuid) -> Result<bool> {
    let result = sqlx::query("delete from app.upload where id = $1 and person_id = $2 and artifact_id is null")
        .bind(id)
        .bind(person.0)
        .execute(conn)
        .await?;
    Ok(result.rows_affected() > 0)
}

/// Records the arrival of a part, which postpones the deletion as abandoned.
pub async fn record_part(conn: &mut Connection, id: Uuid) -> Result<()> {
    sqlx::query("update app.upload set last_part_ts = now() where id = $1").bind(id).execute(conn).await?;
    Ok(())
}

/// Returns the total size of a person's recent uploads, completed or not, in bytes.
///
/// Recent: not yet deleted by [`delete_abandoned`].
pub async fn recent_bytes(conn: &mut Connection, person: PersonId) -> Result<i64> {
    let statement = "select coalesce(sum(size_bytes), 0)::bigint from app.upload where person_id = $1";
    Ok(sqlx::query_scalar(statement).bind(person.0).fetch_one(conn).await?)
}

/// Deletes uploads that received no part for two days; returns their ids.
pub async fn delete_abandoned(conn: &mut Connection) -> Result<Vec<Uuid>> {
    let statement = "delete from app.upload where last_part_ts < now() - interval '2 days' returning id";
    Ok(sqlx::query_scalar(statement).fetch_all(conn).await?)
}

/// Returns the subset of blob keys that artifacts reference.
///
/// Includes soft-deleted artifacts, because they can be restored.
pub async fn referenced_keys(conn: &mut Connection, keys: &[String]) -> Result<Vec<String>> {
    let statement = "select distinct storage_key from app.artifact where storage_key = any ($1)";
    Ok(sqlx::query_scalar(statement).bind(keys).fetch_all(conn).await?)
}

/// Returns the parents of an artifact, oldest link first.
pub async fn artifact_parents(conn: &mut Connection, artifact: Uuid) -> Result<Vec<(EntityCode, Uuid)>> {
    let statement = "select parent_code, parent_id from app.entity_instance_link where child_code = 'artifact' and child_id = $1 order by created_ts, parent_id";
    let rows: Vec<(String, Uuid)> = sqlx::query_as(statement).bind(artifact).fetch_all(conn).await?;
    Ok(rows.into_iter().filter_map(|(code, id)| Some((EntityCode::new(&code).ok()?, id))).collect())
}
