//! CRUD routes shared by all entity types.
//!
//! Must not: name an entity type. The catalog describes each type. Exception: `scheduling`.

mod authorization; // who may write what
mod batch; // many writes in one request
mod links; // links that no column represents
mod move_entity; // route of moves within an outline
mod mutation; // stages of one write
mod outline_move; // moves within an outline
pub(crate) mod read; // GET: entities, lists, children
mod responses; // bodies of the responses besides rows
mod scheduling; // typed dates and working times as inputs of schedules
mod stored_response; // responses of writes, stored under idempotency keys
mod validation; // columns and values of writes
mod write; // POST, PATCH, PUT, DELETE, restore, purge
mod write_context; // connection, model, user and permissions of one write

use crate::state::AppState;
use utoipa_axum::{router::OpenApiRouter, routes};

/// Returns the routes of this module.
pub(crate) fn router() -> OpenApiRouter<AppState> {
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

pub(crate) use authorization::permission_message;
pub(crate) use mutation::{Mutation, MutationKind};
pub(crate) use read::{get_entity, parse_id};
pub(crate) use scheduling::without_derived;
pub(crate) use stored_response::{
    IdempotencyCheck, MutationResponse, check_idempotency, check_idempotency_header, commit_with_response,
    execute_once, idempotency_key,
};
pub(crate) use write::{WriteRequest, parse_if_match};
pub(crate) use write_context::WriteContext;
