//! Things of every type by the same routes. What a type is comes from the catalogue; this room must never name one.

mod read; // GET: one, lists, children
mod rule; // what a write must obey before it reaches the database
mod write; // POST, PATCH, PUT, DELETE, restore

use crate::state::App;
use utoipa_axum::{router::OpenApiRouter, routes};

/// The routes of this room.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(read::list, write::create))
        .routes(routes!(read::one, write::patch, write::put, write::delete))
        .routes(routes!(write::restore))
        .routes(routes!(read::child_tabs))
        .routes(routes!(read::children, write::create_child))
}

pub(crate) use write::{Answer, Once, finish, once};
