//! Schemas of rows, entities and titles of referenced entities; the catalog defines the columns.

use pmo_domain::Permission;
use pmo_domain::api_types::ReferenceNames;
use serde::Serialize;
use serde_json::json;
use std::borrow::Cow;
use utoipa::openapi::schema::{AdditionalProperties, KnownFormat, SchemaFormat, Type};
use utoipa::openapi::{ObjectBuilder, Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// Schema of an entity row; the columns depend on its type.
pub(crate) struct RowSchema;

/// Schema of an entity: a row with the caller's permission and the titles of referenced entities.
pub(crate) struct EntitySchema;

/// Titles of referenced entities by type and id, as far as the caller may see them.
#[derive(Serialize, ToSchema)]
#[serde(transparent)]
#[schema(
    value_type = BTreeMap<String, BTreeMap<String, String>>,
    examples(json!({"project": {"0abb4da0-deec-9b5b-b295-27caaa6c94e5": "ERP upgrade"}}))
)]
pub(crate) struct References(pub ReferenceNames);

fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// Returns the schema of the columns that all rows have.
fn columns() -> ObjectBuilder {
    ObjectBuilder::new()
        .property("id", string().format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid))))
        .property("name", string())
        .property("version", ObjectBuilder::new().schema_type(Type::Integer))
        .additional_properties(Some(AdditionalProperties::FreeForm(true)))
}

impl PartialSchema for RowSchema {
    fn schema() -> RefOr<Schema> {
        columns()
            .description(Some(
                "Columns of an entity, as described by GET /{entity}?content=metadata. Amounts are strings, dates 2026-01-31, timestamps RFC 3339, times without a zone 2026-01-31T09:00:00.",
            ))
            .required("id")
            .required("version")
            .examples([json!({
                "id": "01a2056d-3563-7049-ab62-bfe1ca58ce3f", "name": "Hand-over", "version": 1,
                "project_id": "0abb4da0-deec-9b5b-b295-27caaa6c94e5"
            })])
            .into()
    }
}

impl ToSchema for RowSchema {
    fn name() -> Cow<'static, str> {
        "Row".into()
    }
}

impl PartialSchema for EntitySchema {
    fn schema() -> RefOr<Schema> {
        let required = ["id", "name", "version", "permission", "ref_data_entityInstance"];
        required
            .into_iter()
            .fold(columns(), ObjectBuilder::required)
            .description(Some("An entity with the caller's permission and the titles of referenced entities."))
            .property("permission", Ref::from_schema_name(Permission::name()))
            .property("ref_data_entityInstance", Ref::from_schema_name(References::name()))
            .examples([json!({
                "id": "01a2056d-3563-7049-ab62-bfe1ca58ce3f", "code": "MIL-19", "name": "Hand-over", "descr": null,
                "metadata": {}, "active_flag": true, "from_ts": "2026-11-22T22:42:52.891842+00:00", "to_ts": null,
                "created_ts": "2026-11-22T22:42:52.891842+00:00", "updated_ts": "2026-11-22T22:42:52.891842+00:00",
                "version": 1, "project_id": "0abb4da0-deec-9b5b-b295-27caaa6c94e5", "due_date": "2026-12-18",
                "reached_date": null, "owner__employee_id": null, "dl__milestone_status": "Planned", "permission": 7,
                "ref_data_entityInstance": {"employee": {}, "project": {"0abb4da0-deec-9b5b-b295-27caaa6c94e5": "ERP upgrade"}}
            })])
            .into()
    }
}

impl ToSchema for EntitySchema {
    fn name() -> Cow<'static, str> {
        "Entity".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Permission::name().into_owned(), Permission::schema()));
        schemas.push((References::name().into_owned(), References::schema()));
    }
}
