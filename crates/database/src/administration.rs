//! Changes by administrators: option sets with the rows that use them, names of types, grants.
//!
//! Callers check permissions.

use crate::grant::{GRANT_COLUMNS, HeldGrantRow};
use crate::{Connection, Result, sql};
use pmo_domain::EntityType;
use pmo_domain::catalog::LabelOption;
use serde::Serialize;
use sqlx::types::Json;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Serializes administrative changes: takes an advisory lock until the transaction ends.
pub async fn lock_administration(conn: &mut Connection) -> Result<()> {
    sqlx::query("select pg_advisory_xact_lock(hashtext('pmo administration'))").execute(conn).await?;
    Ok(())
}

/// Limits lock waits to 2 s until the transaction ends.
///
/// A change of a table waits for all its readers, and later readers queue behind it. It fails soon
/// instead, and the caller retries later.
pub async fn set_short_lock_timeout(conn: &mut Connection) -> Result<()> {
    sqlx::query("set local lock_timeout = '2s'").execute(conn).await?;
    Ok(())
}

/// Returns the default of a datalabel column; `None` if it is not a text literal.
pub async fn column_default(conn: &mut Connection, entity: &EntityType, column: &str) -> Result<Option<String>> {
    let statement = "select pg_get_expr(d.adbin, d.adrelid) from pg_attrdef d join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
                where d.adrelid = ('app.' || quote_ident($1))::regclass and a.attname = $2";
    let expression: Option<String> =
        sqlx::query_scalar(statement).bind(entity.code.as_str()).bind(column).fetch_optional(conn).await?;
    let value = expression.and_then(|text| Some(text.strip_prefix('\'')?.strip_suffix("'::text")?.replace("''", "'")));
    Ok(value)
}

/// Returns the number of rows whose `column` has one of the option `names`.
///
/// Includes soft-deleted rows, because they can be restored.
pub async fn count_rows_with(conn: &mut Connection, entity: &EntityType, column: &str, names: &[&str]) -> Result<i64> {
    if names.is_empty() {
        return Ok(0);
    }
    let statement =
        format!("select count(*) from {} where {} = any ($1)", sql::table(entity), sql::quote_ident(column));
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    Ok(sqlx::query_scalar(sql::statement(statement)).bind(names).fetch_one(conn).await?)
}

/// Replaces all options of a datalabel.
pub async fn replace_options(conn: &mut Connection, set: &str, options: &[LabelOption]) -> Result<()> {
    sqlx::query("delete from app.datalabel where name = $1").bind(set).execute(&mut *conn).await?;
    for option in options {
        sqlx::query(
            "insert into app.datalabel (name, id, option_name, descr, color_code, display_order, parent_ids, terminal_flag, active_flag)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(set)
        .bind(option.id)
        .bind(&option.name)
        .bind(&option.descr)
        .bind(&option.color_code)
        .bind(option.display_order)
        .bind(&option.parent_ids)
        .bind(option.terminal_flag)
        .bind(option.active_flag)
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// Renames options in the rows of a type, and in the default of the column.
///
/// `renamed` maps old to new names.
pub async fn rename_option(
    conn: &mut Connection,
    entity: &EntityType,
    column: &str,
    renamed: &BTreeMap<String, String>,
) -> Result<()> {
    if renamed.is_empty() {
        return Ok(());
    }
    let (table, quoted) = (sql::table(entity), sql::quote_ident(column));
    let new_default = column_default(conn, entity, column).await?.and_then(|default| renamed.get(&default));
    if new_default.is_some() {
        // Locks the table before the rows. The other order could deadlock with a transaction that
        // waits for one of the rows.
        sqlx::query(sql::statement(format!("lock table {table} in access exclusive mode"))).execute(&mut *conn).await?;
    }
    let statement = format!(
        "update {table} t set {quoted} = m.new_name from unnest($1::text[], $2::text[]) as m (old_name, new_name) where t.{quoted} = m.old_name"
    );
    let (old_names, new_names): (Vec<&String>, Vec<&String>) = renamed.iter().unzip();
    sqlx::query(sql::statement(statement)).bind(old_names).bind(new_names).execute(&mut *conn).await?;
    if let Some(new_default) = new_default {
        let literal: String =
            sqlx::query_scalar("select quote_literal($1)").bind(new_default).fetch_one(&mut *conn).await?;
        let statement = format!("alter table {table} alter column {quoted} set default {literal}");
        sqlx::query(sql::statement(statement)).execute(&mut *conn).await?;
    }
    Ok(())
}

/// Metadata of a column to change; `None` keeps the present value.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ColumnMetadata {
    /// Display name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Whether tables and forms omit the column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hidden: Option<bool>,
    /// Whether a value is required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
}

/// Changes singular name, plural label, icon and sort order of a type, and column metadata.
///
/// `None` keeps the present value. `columns` are the changes by column name.
pub async fn update_entity_type(
    conn: &mut Connection,
    entity: &EntityType,
    (name, label, icon, order): (Option<&str>, Option<&str>, Option<&str>, Option<i32>),
    columns: &BTreeMap<String, ColumnMetadata>,
) -> Result<()> {
    sqlx::query(
        "update app.entity e set name = coalesce($2, name), ui_label = coalesce($3, ui_label), ui_icon = coalesce($4, ui_icon), display_order = coalesce($5, display_order),
           column_metadata = column_metadata || coalesce((select jsonb_object_agg(k, coalesce(e.column_metadata -> k, '{}') || v) from jsonb_each($6) as p (k, v)), '{}')
         where code = $1",
    )
    .bind(entity.code.as_str())
    .bind(name)
    .bind(label)
    .bind(icon)
    .bind(order)
    .bind(Json(columns))
    .execute(conn)
    .await?;
    Ok(())
}

/// Selection of grants.
#[derive(Clone, Copy, Debug)]
pub enum GrantFilter {
    /// Grants on whole types, of any person or role.
    Types,
    /// Direct grants of a person.
    Person(Uuid),
    /// Grants of a role.
    Role(Uuid),
}

/// Returns at most `limit` grants in the order of their ids.
///
/// `entity` restricts the type. `after` is the last id of the previous page.
pub async fn list_grants(
    conn: &mut Connection,
    filter: &GrantFilter,
    entity: Option<&str>,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<HeldGrantRow>> {
    let (person, role) = match filter {
        GrantFilter::Types => (None, None),
        GrantFilter::Person(id) => (Some(*id), None),
        GrantFilter::Role(id) => (None, Some(*id)),
    };
    let statement = format!(
        "select {GRANT_COLUMNS}, coalesce(p.name, r.name) as holder_name
         from app.entity_rbac g left join app.person p on p.id = g.person_id left join app.role r on r.id = g.role_id
         where case when $1::uuid is not null then g.person_id = $1 when $2::uuid is not null then g.role_id = $2
                    else g.entity_instance_id = '11111111-1111-1111-1111-111111111111' end
           and ($3::text is null or g.entity_code = $3) and ($4::uuid is null or g.id > $4)
         order by g.id limit $5"
    );
    let grants = sqlx::query_as(sql::statement(statement)).bind(person).bind(role).bind(entity).bind(after).bind(limit);
    Ok(grants.fetch_all(conn).await?)
}
