//! Parts that pages share. One way to show a thing: a stage, a person, a date looks the same in a row, a form and a menu.

pub mod action_menu; // a menu of what can be done
pub mod command_palette; // finding and doing by typing
pub mod conflict_dialog; // conflicts, field by field
pub mod copy_button; // what is told once
pub mod devtools; // what the engine does, for those who work on it
pub mod dialog; // dialogs
pub mod field; // a value to edit, by its column's kind
pub mod format; // values as people read them
pub mod layout; // sidebar, bars, sync mark
pub mod markdown; // Markdown, read and written
pub mod offline_button; // keeping a thing offline
pub mod overlays; // what opens over a page from anywhere
pub mod picker; // choosing from a list by typing
pub mod popover; // menus in the top layer
pub mod reactive; // what follows its signals
pub mod rejected_edits;
pub mod value_view; // a value by its column's kind // what was typed and refused
