//! Comments on an entity: threads with replies and reactions, resolved or open, and the composer.
//!
//! A comment is an ordinary row, so it can be created offline. Unsent text is saved on the device.

mod comment; // one comment with its reactions
mod composer; // text field for a new comment or reply
mod mentions; // mentions of people in a text
mod thread_list; // comment threads of an entity

pub(crate) use thread_list::CommentThreadList;
