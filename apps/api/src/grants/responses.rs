//! Bodies of the responses about grants.

use pmo_database::grant::{GrantRow, HeldGrantRow};
use pmo_database::permission::AccessReason;
use pmo_domain::Permission;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use uuid::Uuid;

/// Stored grant.
#[derive(Serialize, ToSchema)]
pub(crate) struct Grant {
    /// Levels by child type code, for the mode `mapped`; `_default` for all other types.
    child_permissions: BTreeMap<String, i64>,
    /// Time of creation.
    #[schema(format = DateTime)]
    created_ts: String,
    /// Entity type code.
    entity_code: String,
    /// Entity id, or the reserved id for all entities of the type.
    entity_instance_id: Uuid,
    /// Expiry; null if the grant does not expire.
    #[schema(required, format = DateTime)]
    expires_ts: Option<String>,
    /// Person who granted; null for the system.
    #[schema(required)]
    #[serde(rename = "granted_by__person_id")]
    granted_by: Option<Uuid>,
    /// Grant id.
    id: Uuid,
    /// Which descendants inherit the grant.
    #[schema(schema_with = inheritance_mode_schema)]
    inheritance_mode: String,
    /// Whether the grant denies access instead of granting it.
    is_deny: bool,
    /// Permission level.
    permission: Permission,
    /// Person who holds the grant.
    #[schema(required)]
    person_id: Option<Uuid>,
    /// Role that holds the grant.
    #[schema(required)]
    role_id: Option<Uuid>,
    /// Time of the last change.
    #[schema(format = DateTime)]
    updated_ts: String,
}

impl From<GrantRow> for Grant {
    fn from(row: GrantRow) -> Self {
        Self {
            child_permissions: row.child_permissions,
            created_ts: row.created_ts,
            entity_code: row.entity_code,
            entity_instance_id: row.entity_instance_id,
            expires_ts: row.expires_ts,
            granted_by: row.granted_by,
            id: row.id,
            inheritance_mode: row.inheritance_mode,
            is_deny: row.is_deny,
            permission: row.permission,
            person_id: row.person_id,
            role_id: row.role_id,
            updated_ts: row.updated_ts,
        }
    }
}

/// Grant with the name of its holder.
#[derive(Serialize, ToSchema)]
pub(crate) struct HeldGrant {
    /// The grant.
    #[serde(flatten)]
    grant: Grant,
    /// Name of the person or role.
    #[schema(required)]
    holder_name: Option<String>,
}

impl From<HeldGrantRow> for HeldGrant {
    fn from(row: HeldGrantRow) -> Self {
        Self { grant: row.grant.into(), holder_name: row.holder_name }
    }
}

/// Direct grants on an entity.
#[derive(Serialize, ToSchema)]
#[schema(as = Access)]
pub(super) struct GrantList {
    /// Grants; empty without SHARE.
    pub grants: Vec<HeldGrant>,
    /// Permission of the caller.
    pub permission: Permission,
}

/// Explanation of a person's access to an entity.
#[derive(Serialize, ToSchema)]
pub(super) struct AccessExplanation {
    /// Permission of the person; null without access.
    #[schema(required)]
    pub permission: Option<Permission>,
    /// Grants that apply.
    pub reasons: Vec<GrantReason>,
}

/// Grant that applies to an entity.
#[derive(Serialize, ToSchema)]
pub(super) struct GrantReason {
    /// Level that the grant gives on the entity.
    effective_permission: Permission,
    /// Expiry; null if the grant does not expire.
    #[schema(required, format = DateTime)]
    expires_ts: Option<String>,
    /// Grant id.
    grant_id: Uuid,
    /// Which descendants inherit the grant.
    #[schema(schema_with = inheritance_mode_schema)]
    inheritance_mode: String,
    /// Whether the grant denies access.
    is_deny: bool,
    /// Whether the grant is on all entities of the type.
    on_every: bool,
    /// Path from the granted entity down to the entity.
    path: Vec<PathStep>,
    /// Level of the grant.
    permission: Permission,
    /// Role that holds the grant; null if the person holds it.
    #[schema(required)]
    role_id: Option<Uuid>,
    /// Name of the role.
    #[schema(required)]
    role_name: Option<String>,
    /// Same as `path`.
    #[schema(deprecated)]
    way: Vec<PathStep>,
    /// Same as `effective_permission`.
    #[schema(deprecated)]
    worth: Permission,
}

impl GrantReason {
    /// Builds the reason; entities on the path without a title get neither id nor title.
    pub(super) fn new(reason: AccessReason, titles: &BTreeMap<Uuid, String>) -> Self {
        let steps = reason.path_codes.into_iter().zip(reason.path_ids);
        let path: Vec<PathStep> = steps
            .map(|(entity, id)| {
                let title = titles.get(&id).cloned();
                PathStep { entity, id: title.is_some().then_some(id), title }
            })
            .collect();
        Self {
            effective_permission: reason.effective_permission,
            expires_ts: reason.expires_ts,
            grant_id: reason.grant_id,
            inheritance_mode: reason.inheritance_mode,
            is_deny: reason.is_deny,
            on_every: reason.type_wide,
            path: path.clone(),
            permission: reason.permission,
            role_id: reason.role_id,
            role_name: reason.role_name,
            way: path,
            worth: reason.effective_permission,
        }
    }
}

/// Entity on the path of a grant.
#[derive(Clone, Serialize, ToSchema)]
pub(super) struct PathStep {
    /// Entity type code.
    entity: String,
    /// Entity id, if the caller may see the entity.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Uuid>,
    /// Title, if the caller may see the entity.
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
}

/// Users with access to an entity.
#[derive(Serialize, ToSchema)]
pub(super) struct Audience {
    /// The first users by name.
    pub data: Vec<AudienceMember>,
    /// Whether there are more users.
    pub more: bool,
}

/// User with access to an entity.
#[derive(Serialize, ToSchema)]
pub(super) struct AudienceMember {
    /// Person id.
    pub id: Uuid,
    /// Name.
    pub name: String,
    /// Permission of the user, if the caller has SHARE.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub permission: Option<Permission>,
}

/// Returns the schema of inheritance modes.
fn inheritance_mode_schema() -> Schema {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["none", "cascade", "mapped"])).into()
}

/// Returns an example of a grant.
pub(super) fn grant_example() -> Value {
    json!({
        "id": "01a2056d-3569-7f85-b043-7e27da76ec8d", "person_id": "7894b35e-65a1-01ab-d33d-6d81e129cdf9", "role_id": null,
        "entity_code": "milestone", "entity_instance_id": "01a2056d-3563-7049-ab62-bfe1ca58ce3f", "permission": 7,
        "inheritance_mode": "cascade", "child_permissions": {}, "is_deny": false,
        "granted_by__person_id": "7894b35e-65a1-01ab-d33d-6d81e129cdf9", "expires_ts": null,
        "created_ts": "2026-11-22T22:42:52.891842+00:00", "updated_ts": "2026-11-22T22:42:52.891842+00:00",
    })
}

/// Returns an example of the direct grants on an entity.
pub(super) fn grant_list_example() -> Value {
    let mut grant = grant_example();
    grant["holder_name"] = json!("Ada Admin");
    json!({"permission": 7, "grants": [grant]})
}

/// Returns an example of an explanation.
pub(super) fn explanation_example() -> Value {
    let path = json!([
        {"entity": "project", "id": "0abb4da0-deec-9b5b-b295-27caaa6c94e5", "title": "ERP upgrade"},
        {"entity": "milestone", "id": "01a2056d-3563-7049-ab62-bfe1ca58ce3f", "title": "Hand over"},
    ]);
    json!({"permission": 7, "reasons": [{
        "grant_id": "01a2056d-3569-7f85-b043-7e27da76ec8d", "role_id": "c773ae4c-8b3f-eb9e-86ca-ae1797823d76",
        "role_name": "Administrators", "permission": 7, "inheritance_mode": "cascade", "is_deny": false, "expires_ts": null,
        "on_every": true, "effective_permission": 7, "worth": 7, "path": path, "way": path,
    }]})
}

/// Returns an example of the users with access to an entity.
pub(super) fn audience_example() -> Value {
    json!({"data": [{"id": "7894b35e-65a1-01ab-d33d-6d81e129cdf9", "name": "Ada Admin", "permission": 7}], "more": false})
}
