//! Pages, one per route.
//!
//! Pages depend on column kinds, not on entity types. The outline is the exception: it knows
//! projects and tasks.

mod administration; // settings that apply to all users
mod child_list_page; // children of one type
mod comments; // comment threads of an entity
mod create_dialogs; // dialogs that create or link entities
mod entity_page; // one entity: form, properties, draft
mod files; // uploads and the file of an artifact
mod history; // change log of an entity
mod import_export; // imports, exports and calendar URLs
pub(crate) mod lazy_views; // views that are loaded after the first page
mod links; // parents by free links
pub(crate) mod list; // all entities of a type
pub(crate) mod not_found; // addresses that lead to nothing
mod onboarding; // first page of an empty installation
mod outline; // tasks of a project as a tree table
mod overlays; // dialogs, trays and toasts above every page
mod sharing; // grants and effective permissions
mod sign_in; // sign-in page and dialog

pub(crate) use administration::Administration;
pub(crate) use child_list_page::ChildrenPage;
pub(crate) use create_dialogs::{NewDialog, NewPage};
pub(crate) use entity_page::EntityPage;
pub(crate) use history::DeletedEntityPage;
pub(crate) use import_export::ImportDialog;
pub(crate) use onboarding::FirstRun;
pub(crate) use outline::OutlinePage;
pub(crate) use overlays::Overlays;
pub(crate) use sign_in::SignIn;
