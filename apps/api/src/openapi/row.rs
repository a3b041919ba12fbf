//! Schemas of entity rows, whose columns the catalog describes.

use std::borrow::Cow;
use utoipa::openapi::schema::{AdditionalProperties, KnownFormat, SchemaFormat, Type};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// Schema of an entity row; the columns depend on its type.
pub(crate) struct RowSchema;

impl PartialSchema for RowSchema {
    fn schema() -> RefOr<Schema> {
        let id =
            ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)));
        ObjectBuilder::new()
            .description(Some(
                "Columns of an entity, as described by GET /{entity}?content=metadata. Amounts are strings, dates 2026-01-31, timestamps RFC 3339.",
            ))
            .property("id", id)
            .property("name", ObjectBuilder::new().schema_type(Type::String))
            .property("version", ObjectBuilder::new().schema_type(Type::Integer))
            .required("id")
            .required("version")
            .additional_properties(Some(AdditionalProperties::FreeForm(true)))
            .examples([serde_json::json!({
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
