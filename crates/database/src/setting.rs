//! Global settings, stored as JSON by key.

use crate::{Connection, Result};
use serde_json::Value;

/// Returns all settings as one JSON object.
pub async fn all(conn: &mut Connection) -> Result<Value> {
    let value: Option<Value> =
        sqlx::query_scalar("select jsonb_object_agg(key, value) from app.setting").fetch_one(conn).await?;
    Ok(value.unwrap_or_else(|| Value::Object(serde_json::Map::new())))
}

/// Changes an existing setting; returns `false` if there is none with that key.
pub async fn set(conn: &mut Connection, key: &str, value: &Value) -> Result<bool> {
    let result = sqlx::query("update app.setting set value = $2, updated_ts = now() where key = $1")
        .bind(key)
        .bind(value)
        .execute(conn)
        .await?;
    Ok(result.rows_affected() > 0)
}
