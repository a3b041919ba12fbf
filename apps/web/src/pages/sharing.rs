//! Sharing: the grants on an entity, all people with access, and why they have it.
//!
//! Grants are read from and written to the server directly; nothing here works offline.

mod dialog; // share dialog
mod explain_dialog; // dialog that explains the access of a person
mod grant_form; // form that grants access
mod grants; // grants and permission levels
mod presence; // avatars of the users who view an entity

pub(crate) use dialog::SharingDialog;
pub(crate) use grant_form::GrantForm;
pub(crate) use grants::permission_label;
pub(crate) use presence::PresenceAvatars;
