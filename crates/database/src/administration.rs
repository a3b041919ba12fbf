//! What administrators change: option sets with the rows that hold their names, how types are called, and grants as they stand. Whether one may is the caller's business.

use crate::{Connection, Result, sql};
use pmo_domain::EntityType;
use pmo_domain::catalog::LabelOption;
use serde_json::Value;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Lets one change of what everybody works with happen at a time, until the transaction ends.
pub async fn lock_administration(c: &mut Connection) -> Result<()> {
    sqlx::query("select pg_advisory_xact_lock(hashtext('pmo administration'))").execute(c).await?;
    Ok(())
}

/// A change of a table waits for everybody who reads it, and everybody who comes waits behind it: it is given up soon, and tried again later.
pub async fn set_short_lock_timeout(c: &mut Connection) -> Result<()> {
    sqlx::query("set local lock_timeout = '2s'").execute(c).await?;
    Ok(())
}

/// What a new row begins with in a column of labels.
pub async fn column_default(c: &mut Connection, entity: &EntityType, column: &str) -> Result<Option<String>> {
    let text = "select pg_get_expr(d.adbin, d.adrelid) from pg_attrdef d join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
                where d.adrelid = ('app.' || quote_ident($1))::regclass and a.attname = $2";
    let told: Option<String> =
        sqlx::query_scalar(text).bind(entity.code.as_str()).bind(column).fetch_optional(c).await?;
    let quoted = told.and_then(|text| Some(text.strip_prefix('\'')?.strip_suffix("'::text")?.replace("''", "'")));
    Ok(quoted)
}

/// How many rows of a type hold one of these names, the deleted among them: they may come back.
pub async fn count_rows_with(c: &mut Connection, entity: &EntityType, column: &str, names: &[&str]) -> Result<i64> {
    if names.is_empty() {
        return Ok(0);
    }
    let text = format!("select count(*) from {} where {} = any ($1)", sql::table(entity), sql::quote_ident(column));
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    Ok(sqlx::query_scalar(sql::statement(text)).bind(names).fetch_one(c).await?)
}

/// Makes the options of a set these.
pub async fn replace_options(c: &mut Connection, set: &str, options: &[LabelOption]) -> Result<()> {
    sqlx::query("delete from app.datalabel where name = $1").bind(set).execute(&mut *c).await?;
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
        .execute(&mut *c)
        .await?;
    }
    Ok(())
}

/// Rows that hold one of these names hold the other then, and new rows begin with the other.
pub async fn rename_option(
    c: &mut Connection,
    entity: &EntityType,
    column: &str,
    renamed: &BTreeMap<String, String>,
) -> Result<()> {
    if renamed.is_empty() {
        return Ok(());
    }
    let (table, quoted) = (sql::table(entity), sql::quote_ident(column));
    let begins = column_default(c, entity, column).await?.and_then(|now| renamed.get(&now));
    if begins.is_some() {
        // Before the rows are locked one by one: asked for afterwards it could wait for whoever waits for those.
        sqlx::query(sql::statement(format!("lock table {table} in access exclusive mode"))).execute(&mut *c).await?;
    }
    let text = format!(
        "update {table} t set {quoted} = m.becomes from unnest($1::text[], $2::text[]) as m (was, becomes) where t.{quoted} = m.was"
    );
    let (was, becomes): (Vec<&String>, Vec<&String>) = renamed.iter().unzip();
    sqlx::query(sql::statement(text)).bind(was).bind(becomes).execute(&mut *c).await?;
    if let Some(begins) = begins {
        let literal: String = sqlx::query_scalar("select quote_literal($1)").bind(begins).fetch_one(&mut *c).await?;
        let text = format!("alter table {table} alter column {quoted} set default {literal}");
        sqlx::query(sql::statement(text)).execute(&mut *c).await?;
    }
    Ok(())
}

/// Changes how a type is called (one, several, icon, place) and, per column, what `columns` says; the rest stays.
pub async fn set_type(
    c: &mut Connection,
    entity: &EntityType,
    (name, label, icon, order): (Option<&str>, Option<&str>, Option<&str>, Option<i32>),
    columns: &Value,
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
    .bind(columns)
    .execute(c)
    .await?;
    Ok(())
}

/// Whose grants.
#[derive(Clone, Copy, Debug)]
pub enum GrantFilter {
    /// Anybody's on whole types.
    Types,
    /// A person's own.
    Person(Uuid),
    /// A role's.
    Role(Uuid),
}

/// Grants in the order of their ids, after one of them.
pub async fn grants(
    c: &mut Connection,
    of: &GrantFilter,
    entity: Option<&str>,
    after: Option<Uuid>,
    most: i64,
) -> Result<Vec<Value>> {
    let (person, role) = match of {
        GrantFilter::Types => (None, None),
        GrantFilter::Person(id) => (Some(*id), None),
        GrantFilter::Role(id) => (None, Some(*id)),
    };
    let text = "select to_jsonb(g) || jsonb_build_object('holder_name', coalesce(p.name, r.name))
        from app.entity_rbac g left join app.person p on p.id = g.person_id left join app.role r on r.id = g.role_id
        where case when $1::uuid is not null then g.person_id = $1 when $2::uuid is not null then g.role_id = $2
                   else g.entity_instance_id = '11111111-1111-1111-1111-111111111111' end
          and ($3::text is null or g.entity_code = $3) and ($4::uuid is null or g.id > $4)
        order by g.id limit $5";
    Ok(sqlx::query_scalar(text).bind(person).bind(role).bind(entity).bind(after).bind(most).fetch_all(c).await?)
}
