//! Permission of the user on an entity, as far as the device knows it.

use super::catalog;
use crate::client::client;
use pmo_domain::{ChildRelation, EntityCode, EntityRef, EntityType, Permission};
use pmo_sync::RowView;
use serde_json::Value;

/// Returns the owners of a row: the entities that its columns name through owned relations.
fn owner_refs(code: &EntityCode, row: &RowView) -> Vec<EntityRef> {
    let catalog = catalog();
    let owner = |(parent, relation): (&EntityType, &ChildRelation)| {
        let id = row.data.get(relation.parent_column.as_ref()?)?.as_str()?.parse().ok()?;
        let type_matches = relation
            .parent_type_column
            .as_ref()
            .is_none_or(|c| row.data.get(c).and_then(Value::as_str) == Some(parent.code.as_str()));
        (relation.owned && type_matches).then(|| EntityRef::new(parent.code.clone(), id))
    };
    catalog.parent_relations(code.as_str()).filter_map(owner).collect()
}

/// Returns the permission of the user on an entity, as far as it is known on the device.
///
/// The user owns an entity that was created locally and is not sent yet. Rows of lists carry no
/// permission; then the highest permission on an owner applies, because grants are inherited.
/// `None` if neither is known. The server makes the final decision.
pub fn known_permission(code: &EntityCode, row: &RowView) -> Option<u64> {
    let row_permission = |row: &RowView| {
        let created_locally = row.pending && row.data.get("version").and_then(Value::as_u64) == Some(0);
        let own = created_locally.then(|| u64::from(u8::from(Permission::Owner)));
        own.or_else(|| row.data.get("permission").and_then(Value::as_u64))
    };
    let parents = || owner_refs(code, row);
    row_permission(row).or_else(|| {
        parents().iter().filter_map(|parent| client().read(|e| e.row(parent)).as_ref().and_then(row_permission)).max()
    })
}
