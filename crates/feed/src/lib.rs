//! The server side of the change feed, sans-I/O: who watches what, what has been read, and who is told. The shell asks the
//! database what this room wants to know and sends what it decides; nothing here may wait, read a clock or touch a socket.

mod access; // what people hold, and where things are
mod reader; // the cursor: what has been read of the log
mod routing; // who watches what, and who is told

pub use access::{Access, Concerned};
pub use reader::{Ask, Reader};
pub use routing::{ConnectionId, Feed, Levels, Parents, Topic};

#[cfg(test)]
mod tests;
