//! History of an entity, field by field, and restoring an earlier version.
//!
//! The change log is fetched from the server and is not available offline; the page then says so.

mod deleted; // notice about a deleted entity
mod log; // entries of the change log and their views
mod restore_dialog; // confirmation before an earlier version is restored
mod timeline; // change log of an entity

pub(crate) use deleted::DeletedEntityPage;
pub(crate) use timeline::History;
