//! Problem responses that many routes share, for `responses(…)` of their descriptions.
//!
//! Schema, content type and example are those of every problem; see [`super::add_schemas`].

use std::collections::BTreeMap;
use utoipa::IntoResponses;
use utoipa::openapi::{RefOr, Response};

macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident { $($status:literal => $description:literal),+ })+) => {$(
        $(#[$doc])*
        pub(crate) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                [$(($status.to_owned(), RefOr::T(Response::new($description)))),+].into()
            }
        }
    )+};
}

problems! {
    /// Of routes that require an access token.
    Unauthorized { "401" => "Not signed in" }
    /// Of routes for administrators.
    AdministratorsOnly { "401" => "Not signed in", "403" => "Not an administrator" }
    /// Of routes with query parameters.
    InvalidParameter { "400" => "Invalid parameter; see `errors`" }
    /// Of routes with a JSON body.
    InvalidJson { "400" => "Not JSON", "413" => "Body too large", "415" => "Unsupported media type; send JSON" }
    /// Of routes of an entity that the caller may be unable to see.
    NotVisible { "404" => "Not found, or not visible to the caller" }
}
