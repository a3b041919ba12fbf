//! Loads the catalog: entity types from their tables and registrations, and datalabels.
//!
//! Must not: add types, columns or options that the database does not contain.

use crate::{Connection, Result};
use pmo_domain::catalog::{Datalabel, LabelOption};
use pmo_domain::column::{Nullability, NumericDigits};
use pmo_domain::{Catalog, ChildRelation, Column, EntityCode, EntityType};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Loads all entity types, with three queries for any number of types.
pub async fn load(conn: &mut Connection) -> Result<Catalog> {
    type Registration = (String, String, String, String, bool, i32, Value, Value);
    let types: Vec<Registration> = sqlx::query_as(
        "select code, name, ui_label, ui_icon, root_flag, display_order, column_metadata, config_datatable from app.entity order by code",
    )
    .fetch_all(&mut *conn)
    .await?;
    let columns: Vec<(String, String, String, bool, i32)> = sqlx::query_as(
        "select c.relname::text, a.attname::text, format_type(a.atttypid, null), a.attnotnull, a.atttypmod
         from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = 'app' and a.attnum > 0 and not a.attisdropped and a.attname <> 'ancestor_set_id' and c.relname in (select code from app.entity)
         order by c.relname, a.attnum",
    )
    .fetch_all(&mut *conn)
    .await?;
    let children: Vec<(String, String, bool, String, String, i16)> = sqlx::query_as(
        "select parent_code, child_code, owned, parent_column, parent_type_column, create_permission from app.entity_child
         order by parent_code, display_order, child_code, parent_column",
    )
    .fetch_all(&mut *conn)
    .await?;

    let codes: BTreeSet<String> = types.iter().map(|t| t.0.clone()).collect();
    let mut catalog = Catalog::default();
    for (code, name, ui_label, ui_icon, root_flag, display_order, column_metadata, config_datatable) in types {
        let Ok(key) = EntityCode::new(code.as_str()) else { continue };
        let columns = columns
            .iter()
            .filter(|c| c.0 == code)
            .map(|(_, column, sql_type, not_null, modifier)| {
                let nullability = if *not_null { Nullability::NotNull } else { Nullability::Nullable };
                let mut column = Column::infer(&code, column, sql_type, nullability, &codes);
                column.digits = numeric_digits(sql_type, *modifier);
                if let Some(entry) = column_metadata.get(&column.name) {
                    column.override_with(entry);
                }
                column
            })
            .collect();
        let children = children
            .iter()
            .filter(|c| c.0 == code)
            .filter_map(|(_, child, owned, parent_column, parent_type_column, create_permission)| {
                let optional = |s: &String| (!s.is_empty()).then(|| s.clone());
                Some(ChildRelation {
                    code: EntityCode::new(child.as_str()).ok()?,
                    owned: *owned,
                    parent_column: optional(parent_column),
                    parent_type_column: optional(parent_type_column),
                    create_permission: u8::try_from(*create_permission).ok()?.try_into().ok()?,
                })
            })
            .collect();
        catalog.types.insert(
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
    Ok(catalog)
}

/// Returns the digits of a `numeric` type from its type modifier in the system catalog.
///
/// `None` for other types, without a limit, and with a scale outside of the precision.
fn numeric_digits(sql_type: &str, modifier: i32) -> Option<NumericDigits> {
    let packed = modifier.checked_sub(4).filter(|packed| sql_type == "numeric" && *packed >= 0)?;
    let (precision, fraction) = (packed >> 16, packed & 0x7FF);
    let integer = u8::try_from(precision - fraction).ok()?;
    Some(NumericDigits { integer, fraction: u8::try_from(fraction).ok()? })
}

/// Loads all datalabels by name, with their options in display order.
pub async fn load_datalabels(conn: &mut Connection) -> Result<BTreeMap<String, Datalabel>> {
    type DatalabelRow = (String, i32, String, Option<String>, Option<String>, i32, Vec<i32>, bool, bool, bool);
    let rows: Vec<DatalabelRow> = sqlx::query_as(
        "select name, id, option_name, descr, color_code, display_order, parent_ids, terminal_flag, active_flag, fixed_flag
         from app.datalabel order by name, display_order, id",
    )
    .fetch_all(conn)
    .await?;
    let mut datalabels: BTreeMap<String, Datalabel> = BTreeMap::new();
    for (datalabel, id, name, descr, color_code, display_order, parent_ids, terminal_flag, active_flag, is_fixed) in
        rows
    {
        datalabels
            .entry(datalabel.clone())
            .or_insert_with(|| Datalabel { name: datalabel, options: Vec::new(), is_fixed })
            .options
            .push(LabelOption { id, name, descr, color_code, display_order, parent_ids, terminal_flag, active_flag });
    }
    Ok(datalabels)
}
