//! List queries: filters have the same result as the predicates that the client evaluates.

#![allow(clippy::unwrap_used, missing_docs)] // a failing test reports the line

use pmo_database::list::fetch_page;
use pmo_database::row_cache::RowCache;
use pmo_database::visibility::VisibilityCache;
use pmo_database::{begin_snapshot_read, bootstrap, catalog};
use pmo_domain::PersonId;
use pmo_domain::predicate::{ComparableValue, Predicate};
use pmo_domain::query::ListQuery;
use serde_json::Value;

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn filters_on_nullable_columns_equal_the_predicates_of_the_client(pool: sqlx::PgPool) {
    let mut conn = pool.acquire().await.unwrap();
    let person = PersonId(bootstrap::add_administrator(&mut conn, "admin@office.example").await.unwrap());
    sqlx::raw_sql(
        "alter table app.project add tags text[], add reviewer__employee_ids uuid[], add risk_pct numeric, add motto text;
         insert into app.project (name, tags, reviewer__employee_ids, risk_pct, motto) values
           ('null', null, null, null, null),
           ('empty', '{}', '{}', 0, ''),
           ('one', '{a}', array['00000000-0000-0000-0000-000000000001'::uuid], 12.5, 'a'),
           ('two', '{a,b}', array['00000000-0000-0000-0000-000000000001'::uuid, '00000000-0000-0000-0000-000000000002'], 100, 'Ab')",
    )
    .execute(&mut *conn)
    .await
    .unwrap();
    let catalog = catalog::load(&mut conn).await.unwrap();
    let project = catalog.get("project").unwrap();
    let (visibility_cache, row_cache) = (VisibilityCache::new(1 << 20), RowCache::new(1 << 20));
    let names = async |parameters: &[(String, String)]| -> Vec<Value> {
        let query = ListQuery::parse(parameters, project).unwrap();
        let mut transaction = begin_snapshot_read(&pool).await.unwrap();
        let mut reader = visibility_cache.begin_read(&mut transaction, person).await.unwrap();
        let page = fetch_page(&mut transaction, &mut reader, &row_cache, project, &query, None).await.unwrap();
        page.rows.iter().map(|row| serde_json::from_str(row.row.json.get()).unwrap()).collect()
    };
    let all = names(&[("sort".into(), "name".into())]).await;
    assert_eq!(all.len(), 4);
    let id = "00000000-0000-0000-0000-000000000001";
    for (parameter, value) in [
        ("tags", "a"),
        ("tags[ne]", "a"),
        ("tags[in]", "b,c"),
        ("tags[contains]", "b"),
        ("tags[is_null]", "true"),
        ("reviewer__employee_ids", id),
        ("reviewer__employee_ids[ne]", id),
        ("reviewer__employee_ids[in]", id),
        ("risk_pct", "12.50"),
        ("risk_pct[ne]", "0"),
        ("risk_pct[lt]", "100"),
        ("risk_pct[in]", "0,100"),
        ("motto[ne]", "a"),
        ("motto[contains]", "A"),
        ("motto[is_null]", "false"),
    ] {
        let filter = (parameter.to_owned(), value.to_owned());
        let compiled = ListQuery::parse(std::slice::from_ref(&filter), project).unwrap().filters.remove(0);
        let kind = &project.column(&compiled.column).unwrap().kind;
        let predicate = Predicate::new(&compiled, kind);
        let matches = |row: &&Value| predicate.matches(&ComparableValue::from_value(kind, &row[&compiled.column]));
        let expected: Vec<&Value> = all.iter().filter(matches).map(|row| &row["name"]).collect();
        let found = names(&[filter, ("sort".into(), "name".into())]).await;
        let found: Vec<&Value> = found.iter().map(|row| &row["name"]).collect();
        assert_eq!(found, expected, "{parameter}={value}");
    }
}
