//! UI components and formatting that pages share.
//!
//! Invariant: a value of one kind looks the same in a row, a form and a menu.

pub(crate) mod action_menu; // menu of the actions of a page
pub(crate) mod command_palette; // search and commands
pub(crate) mod conflict_dialog; // conflict resolution, field by field
pub(crate) mod copy_button; // copies a text to the clipboard
pub(crate) mod devtools; // state of the sync engine, for developers and support
pub(crate) mod dialog; // modal dialogs
pub(crate) mod error_message; // message about a failed request
pub(crate) mod field; // form fields by column kind
pub(crate) mod format; // formatting of dates, numbers, amounts and names
pub(crate) mod layout; // sidebar, bars, banners, sync status
pub(crate) mod lazy_loading; // load state of the views that are loaded after the first page
pub(crate) mod lazy_views; // lazy views of the layout
pub(crate) mod markdown; // Markdown view and editor
pub(crate) mod offline_button; // pins an entity for offline use
pub(crate) mod overlay_state; // what is open above the page
pub(crate) mod picker; // searchable choice list
pub(crate) mod popover; // positioning of menus in the top layer
pub(crate) mod reactive; // boxed reactive closures
pub(crate) mod rejected_edits; // edits that the server rejected
pub(crate) mod sign_out; // dialog before signing out with unsent work
pub(crate) mod sync_tray; // changes that are not sent yet
pub(crate) mod toast; // messages with undo
pub(crate) mod value_view; // read-only values by column kind
