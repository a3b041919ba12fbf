//! Page of one entity: title, description, fields and properties.
//!
//! The fields come from the catalog. Edits form a draft that is persisted on every keystroke.

mod banner; // banner about a conflict
mod crumbs; // breadcrumb and the parent that a row names
mod draft_bar; // bar with the unsaved changes
mod fields; // title, description, fields and properties
mod header; // bar above the page
mod linked_parents; // parents by free links
mod page; // page of one entity
mod state; // state that the components of the page share
mod tabs; // tabs of an entity: overview and one per child type
mod task_relations; // sub-tasks and dependencies of a task

pub(crate) use page::EntityPage;
pub(crate) use tabs::EntityTabs;
