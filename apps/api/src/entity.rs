//! Things of every type by the same routes. What a type is comes from the catalogue; this room must never name one.

mod batch; // many writes in one request
mod links; // links that no column stands for
mod move_entity; // moving by hand
mod mutation; // one write inside a transaction
pub(crate) mod read; // GET: one, lists, children
mod validation; // what a write must obey before it reaches the database
mod write; // POST, PATCH, PUT, DELETE, restore, purge

use crate::state::AppState;
use utoipa_axum::{router::OpenApiRouter, routes};

/// The routes of this room.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(read::list_entities, write::create))
        .routes(routes!(read::get_entity, write::patch, write::put, write::delete))
        .routes(routes!(write::restore))
        .routes(routes!(write::purge))
        .routes(routes!(move_entity::move_entity))
        .routes(routes!(batch::batch))
        .routes(routes!(batch::bulk))
        .routes(routes!(links::create_link, links::delete_link_by_ends))
        .routes(routes!(links::delete_link))
        .routes(routes!(read::child_tabs))
        .routes(routes!(read::parents))
        .routes(routes!(read::list_children, write::create_child))
}

pub(crate) use mutation::{Mutation, MutationKind, permission_message};
pub(crate) use read::id_of;
pub(crate) use write::{
    IdempotencyCheck, MutationResponse, check_idempotency_header, commit_with_response, idempotency_key, parse_if_match,
};
