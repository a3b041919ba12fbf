//! Global settings by key.

use crate::{Connection, Result};
use serde_json::Value;

/// All settings as one object.
pub async fn all(connection: &mut Connection) -> Result<Value> {
    let value: Option<Value> =
        sqlx::query_scalar("select jsonb_object_agg(key, value) from app.setting").fetch_one(connection).await?;
    Ok(value.unwrap_or_else(|| Value::Object(serde_json::Map::new())))
}

/// Sets one that exists; false where there is none of that name.
pub async fn set(connection: &mut Connection, key: &str, value: &Value) -> Result<bool> {
    let done = sqlx::query("update app.setting set value = $2, updated_ts = now() where key = $1")
        .bind(key)
        .bind(value)
        .execute(connection)
        .await?;
    Ok(done.rows_affected() > 0)
}
