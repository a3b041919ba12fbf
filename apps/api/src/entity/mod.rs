//! Things of every type by the same routes. What a type is comes from the catalogue; this room must never name one.

mod batch; // many writes in one request
mod linking; // links that no column stands for
mod mutation; // one write inside a transaction
mod outline; // moving by hand
pub(crate) mod read; // GET: one, lists, children
mod rule; // what a write must obey before it reaches the database
mod write; // POST, PATCH, PUT, DELETE, restore, purge

use crate::state::App;
use utoipa_axum::{router::OpenApiRouter, routes};

/// The routes of this room.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(read::list, write::create))
        .routes(routes!(read::one, write::patch, write::put, write::delete))
        .routes(routes!(write::restore))
        .routes(routes!(write::purge))
        .routes(routes!(outline::place))
        .routes(routes!(batch::batch))
        .routes(routes!(batch::bulk))
        .routes(routes!(linking::link_things, linking::unlink_things))
        .routes(routes!(linking::unlink))
        .routes(routes!(read::child_tabs))
        .routes(routes!(read::parents))
        .routes(routes!(read::children, write::create_child))
}

pub(crate) use mutation::{Action, Mutation, asks_for};
pub(crate) use read::id_of;
pub(crate) use write::{Answer, Seen, finish, if_match, key_of, once};
