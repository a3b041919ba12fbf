//! Global settings, stored as JSON by key.

use crate::{Connection, Result};
use serde_json::Value;
use std::collections::BTreeMap;

/// Returns all settings by key.
pub async fn all(conn: &mut Connection) -> Result<BTreeMap<String, Value>> {
    let settings: Vec<(String, Value)> = sqlx::query_as("select key, value from app.setting").fetch_all(conn).await?;
    Ok(settings.into_iter().collect())
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
