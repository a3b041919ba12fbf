//! Pages, one folder per feature.
//!
//! Pages depend on column kinds, not on entity types. The outline is the exception: it knows
//! projects and tasks.
//!
//! A feature is `feature.rs`, which only declares its modules and exports its components, and the
//! folder `feature/`. A new view of a project, such as a board or a Gantt chart, is a folder beside
//! `outline`; a new page of its own, such as an inbox or a dashboard, is a folder with a route in
//! `app.rs`. Both enter [`lazy_views::PageViews`] and `lazy.rs`.

mod administration; // settings that apply to all users
mod comments; // comment threads of an entity
mod create; // dialogs that create or link entities
mod entity; // one entity: form, properties, draft, tabs
mod files; // uploads and the file of an artifact
mod gantt; // tasks of a project as bars on a time scale
mod history; // change log of an entity
mod import_export; // imports, exports and calendar URLs
pub(crate) mod lazy_views; // views that are loaded after the first page
pub(crate) mod list; // entities of a type, children of an entity
pub(crate) mod not_found; // addresses that lead to nothing
mod onboarding; // first page of an empty installation
mod outline; // tasks of a project as a tree table
mod overlays; // dialogs, trays and toasts above every page
mod plan; // dates that this device computes
mod sharing; // grants and effective permissions
mod sign_in; // sign-in page and dialog

pub(crate) use administration::Administration;
pub(crate) use create::{NewDialog, NewPage};
pub(crate) use entity::EntityPage;
pub(crate) use gantt::GanttChart;
pub(crate) use history::DeletedEntityPage;
pub(crate) use import_export::ImportDialog;
pub(crate) use list::ChildrenPage;
pub(crate) use onboarding::Onboarding;
pub(crate) use outline::OutlinePage;
pub(crate) use overlays::Overlays;
pub(crate) use sign_in::SignIn;
