//! Grants and permission levels.

use pmo_domain::Permission;
use serde::Deserialize;
use uuid::Uuid;

/// Permission levels with their labels.
pub(super) const LEVELS: [(Permission, &str); 8] = [
    (Permission::View, "Can view"),
    (Permission::Comment, "Can comment"),
    (Permission::Contribute, "Can log work"),
    (Permission::Edit, "Can edit"),
    (Permission::Share, "Can edit and share"),
    (Permission::Delete, "Can delete"),
    (Permission::Create, "Can create children"),
    (Permission::Owner, "Owner"),
];

/// Returns the label of a permission level; "No access" for any other value.
pub(crate) fn permission_label(level: u64) -> &'static str {
    LEVELS.iter().find(|(l, _)| u64::from(u8::from(*l)) == level).map_or("No access", |(_, label)| label)
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Grant {
    pub(super) id: Uuid,
    #[serde(default)]
    pub(super) person_id: Option<Uuid>,
    #[serde(default)]
    pub(super) role_id: Option<Uuid>,
    pub(super) permission: u64,
    #[serde(default)]
    pub(super) inheritance_mode: Option<String>,
    #[serde(default)]
    pub(super) is_deny: bool,
    #[serde(default)]
    pub(super) expires_ts: Option<String>,
    #[serde(default)]
    pub(super) holder_name: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(super) struct Access {
    pub(super) permission: u64,
    #[serde(default)]
    pub(super) grants: Vec<Grant>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Viewer {
    pub(super) id: Uuid,
    pub(super) name: String,
    #[serde(default)]
    pub(super) permission: Option<u64>,
}
