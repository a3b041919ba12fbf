//! Bodies of the responses about entities, besides rows, whose columns are data of the catalog.

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

/// Child types of an entity.
#[derive(Serialize, ToSchema)]
#[serde(transparent)]
#[schema(as = Tabs)]
pub(super) struct ChildTabs(pub Vec<ChildTab>);

/// Child type of an entity.
#[derive(Serialize, ToSchema)]
pub(super) struct ChildTab {
    /// Type code.
    pub code: String,
    /// Number of children that the caller may see; a lower bound above 200.
    pub count: i64,
    /// Name of an icon.
    pub ui_icon: String,
    /// Plural display name.
    pub ui_label: String,
}

/// Parents of an entity.
#[derive(Serialize, ToSchema)]
#[schema(as = Parents)]
pub(super) struct ParentList {
    /// At most 100 parents, owners first.
    pub data: Vec<ParentEntry>,
}

/// Parent of an entity.
#[derive(Serialize, ToSchema)]
pub(super) struct ParentEntry {
    /// Type code.
    pub code: String,
    /// Entity id.
    pub id: Uuid,
    /// Whether the entity inherits the grants on the parent in full.
    pub owned: bool,
    /// Title.
    pub title: String,
}

/// Returns an example of the child types of an entity.
pub(super) fn child_tabs_example() -> Value {
    json!([{"code": "task", "ui_label": "Tasks", "ui_icon": "list-checks", "count": 20}])
}

/// Returns an example of the parents of an entity.
pub(super) fn parent_list_example() -> Value {
    json!({"data": [{"code": "project", "id": "0abb4da0-deec-9b5b-b295-27caaa6c94e5", "title": "Website relaunch", "owned": true}]})
}
