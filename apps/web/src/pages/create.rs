//! Dialogs that create an entity or link an existing one to a parent.

mod dialog; // dialog and page that create an entity
mod form; // form with the fields of a new entity
mod link_dialog; // dialog that links an existing entity to a parent

pub(crate) use dialog::{NewDialog, NewPage};
pub(crate) use link_dialog::LinkDialog;
