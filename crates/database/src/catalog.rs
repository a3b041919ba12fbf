//! Reads the catalogue: entity types from their tables and registrations, datalabels. It must never add what the database does
//! not say.

use crate::{Connection, Result};
use pmo_domain::catalog::{Datalabel, LabelOption};
use pmo_domain::{Catalog, ChildRelation, Column, EntityCode, EntityType};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// All entity types. Three queries, whatever their number.
pub async fn load(connection: &mut Connection) -> Result<Catalog> {
    type Registration = (String, String, String, String, bool, i32, Value, Value);
    let types: Vec<Registration> = sqlx::query_as(
        "select code, name, ui_label, ui_icon, root_flag, display_order, column_metadata, config_datatable from app.entity order by code",
    )
    .fetch_all(&mut *connection)
    .await?;
    let columns: Vec<(String, String, String, bool)> = sqlx::query_as(
        "select c.relname::text, a.attname::text, format_type(a.atttypid, null), a.attnotnull
         from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = 'app' and a.attnum > 0 and not a.attisdropped and a.attname <> 'reach' and c.relname in (select code from app.entity)
         order by c.relname, a.attnum",
    )
    .fetch_all(&mut *connection)
    .await?;
    let children: Vec<(String, String, bool, String, String, i16)> = sqlx::query_as(
        "select parent_code, child_code, owned, column_name, code_column, create_level from app.entity_child
         order by parent_code, display_order, child_code, column_name",
    )
    .fetch_all(&mut *connection)
    .await?;

    let codes: BTreeSet<String> = types.iter().map(|t| t.0.clone()).collect();
    let mut catalogue = Catalog::default();
    for (code, name, ui_label, ui_icon, root_flag, display_order, overrides, config_datatable) in types {
        let Ok(key) = EntityCode::new(code.as_str()) else { continue };
        let columns = columns
            .iter()
            .filter(|c| c.0 == code)
            .map(|(_, column, sql_type, not_null)| {
                let mut column = Column::infer(&code, column, sql_type, *not_null, &codes);
                if let Some(entry) = overrides.get(&column.name) {
                    column.override_with(entry);
                }
                column
            })
            .collect();
        let children = children
            .iter()
            .filter(|c| c.0 == code)
            .filter_map(|(_, child, owned, column, code_column, create_level)| {
                let optional = |s: &String| (!s.is_empty()).then(|| s.clone());
                Some(ChildRelation {
                    code: EntityCode::new(child.as_str()).ok()?,
                    owned: *owned,
                    parent_column: optional(column),
                    parent_type_column: optional(code_column),
                    create_permission: u8::try_from(*create_level).ok()?.try_into().ok()?,
                })
            })
            .collect();
        catalogue.types.insert(
            key.clone(),
            EntityType {
                code: key,
                name,
                ui_label,
                ui_icon,
                root_flag,
                display_order,
                children,
                columns,
                config_datatable,
                can_create: true,
            },
        );
    }
    Ok(catalogue)
}

/// All datalabel sets by name.
pub async fn load_datalabels(connection: &mut Connection) -> Result<BTreeMap<String, Datalabel>> {
    type DatalabelRow = (String, i32, String, Option<String>, Option<String>, i32, Vec<i32>, bool, bool);
    let lines: Vec<DatalabelRow> = sqlx::query_as(
        "select name, id, option_name, descr, color_code, display_order, parent_ids, terminal_flag, active_flag
         from app.datalabel order by name, display_order, id",
    )
    .fetch_all(connection)
    .await?;
    let mut sets: BTreeMap<String, Datalabel> = BTreeMap::new();
    for (set, id, name, descr, color_code, display_order, parent_ids, terminal_flag, active_flag) in lines {
        sets.entry(set.clone())
            .or_insert_with(|| Datalabel { name: set, options: Vec::new() })
            .options
            .push(LabelOption { id, name, descr, color_code, display_order, parent_ids, terminal_flag, active_flag });
    }
    Ok(sets)
}
