//! Parts that pages share. One way to show a thing: a stage, a person, a date looks the same in a row, a form and a menu.

pub mod actions; // a menu of what can be done
pub mod cell; // a value by its column's kind
pub mod copy; // what is told once
pub mod devtools; // what the engine does, for those who work on it
pub mod dialog; // dialogs
pub mod field; // a value to edit, by its column's kind
pub mod format; // values as people read them
pub mod keep; // keeping a thing offline
pub mod live; // what follows its signals
pub mod markdown; // Markdown, read and written
pub mod merge; // conflicts, field by field
pub mod overlays; // what opens over a page from anywhere
pub mod palette; // finding and doing by typing
pub mod picker; // choosing from a list by typing
pub mod popover; // menus in the top layer
pub mod shell; // sidebar, bars, sync mark
pub mod typed; // what was typed and refused
