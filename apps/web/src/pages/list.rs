//! List pages: all entities of a type, and the children of one type.
//!
//! The columns come from the catalog.

mod children_page; // children of one type of an entity
mod type_page; // all entities of a type

pub(crate) use children_page::ChildrenPage;
pub(crate) use type_page::ListPage;
