//! Bodies of the responses about history and activity.

use crate::openapi::References;
use pmo_database::audit_log::AuditEntry;
use serde::Serialize;
use serde_json::{Value, json};
use std::borrow::Cow;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

/// Page of the history of an entity.
#[derive(Serialize, ToSchema)]
pub(super) struct History {
    /// Changes, newest first.
    pub data: Vec<HistoryEntry>,
    /// Cursor of the next page; null on the last page.
    #[schema(required)]
    pub next_cursor: Option<String>,
    /// Titles of the entities that old and new values reference, as far as the caller may see them.
    #[serde(rename = "ref_data_entityInstance")]
    pub references: References,
}

/// Page of recent changes.
#[derive(Serialize, ToSchema)]
pub(super) struct Activity {
    /// Changes, newest first.
    pub data: Vec<ActivityEntry>,
    /// Cursor of the next page; null on the last page.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// Change of an entity.
#[derive(Serialize, ToSchema)]
pub(super) struct HistoryEntry {
    /// Kind of the change.
    #[schema(schema_with = action_schema)]
    action: String,
    /// Time of the change.
    #[schema(format = DateTime)]
    at: String,
    /// Old and new values of the changed columns.
    changed: ChangedColumns,
    /// Entity type code.
    entity: String,
    /// Entity id.
    entity_id: Uuid,
    /// Author; null for the system.
    #[schema(required)]
    person_id: Option<Uuid>,
    /// Name of the author.
    person_name: String,
    /// Version after the change.
    version: i64,
}

impl From<AuditEntry> for HistoryEntry {
    fn from(entry: AuditEntry) -> Self {
        Self {
            action: entry.action,
            at: entry.at,
            changed: ChangedColumns(entry.changed),
            entity: entry.entity_code,
            entity_id: entry.entity_id,
            person_id: entry.person_id,
            person_name: entry.person_name,
            version: entry.version,
        }
    }
}

/// Change with the title of the entity.
#[derive(Serialize, ToSchema)]
pub(super) struct ActivityEntry {
    /// The change.
    #[serde(flatten)]
    pub entry: HistoryEntry,
    /// Title of the entity.
    pub title: String,
}

/// Returns the schema of the kinds of changes.
fn action_schema() -> Schema {
    let actions = ["created", "changed", "deleted", "restored", "commented"];
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(actions)).into()
}

/// Old and new values by column.
#[derive(Serialize)]
#[serde(transparent)]
struct ChangedColumns(Value);

impl PartialSchema for ChangedColumns {
    fn schema() -> RefOr<Schema> {
        let value = || ObjectBuilder::new().schema_type(SchemaType::AnyValue);
        let values = ObjectBuilder::new().property("old", value()).property("new", value());
        ObjectBuilder::new()
            .description(Some("Old and new value by column."))
            .additional_properties(Some(AdditionalProperties::from(values)))
            .examples([json!({"name": {"old": "Hand-over", "new": "Hand over"}})])
            .into()
    }
}

impl ToSchema for ChangedColumns {
    fn name() -> Cow<'static, str> {
        "Change".into()
    }
}

/// Returns an example of a page of history.
pub(super) fn history_example() -> Value {
    json!({
        "data": [entry_example()], "next_cursor": null,
        "ref_data_entityInstance": {"project": {"0abb4da0-deec-9b5b-b295-27caaa6c94e5": "ERP upgrade"}},
    })
}

/// Returns an example of a page of recent changes.
pub(super) fn activity_example() -> Value {
    let mut entry = entry_example();
    entry["title"] = json!("Hand over");
    json!({"data": [entry], "next_cursor": "388"})
}

fn entry_example() -> Value {
    json!({
        "entity": "milestone", "entity_id": "01a2056d-3563-7049-ab62-bfe1ca58ce3f", "version": 2, "action": "changed",
        "at": "2026-11-22T22:42:52.914Z", "person_id": "7894b35e-65a1-01ab-d33d-6d81e129cdf9", "person_name": "Ada Admin",
        "changed": {"name": {"old": "Hand-over", "new": "Hand over"}},
    })
}
