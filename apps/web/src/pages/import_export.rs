//! Import of plans and CSV files with a preview, exports, and calendar URLs.

mod actions; // menu with export, import and calendar
mod calendar; // calendar URLs
mod import_dialog; // import of plans and CSV files with a preview
mod report; // report of a CSV import, as the server returns it

pub(crate) use actions::EntityActions;
pub(crate) use import_dialog::ImportDialog;
