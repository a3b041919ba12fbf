//! The server side of the change feed, sans-I/O: what has been read of the log, who watches what, who may see it, and who is told. Events come
//! in, effects go out; nothing here may wait, read a clock or touch a socket. What can't be decided yet says what must be known.

mod access; // what people hold, and where things are
mod asking; // what clients ask for: watching, catching up
mod facts; // what must be known of the database
mod feed; // events in, effects out: the machine of one pod
mod presence; // who looks at what
mod queue; // what waits for one socket
mod reader; // the cursor: what has been read of the log
mod session; // the manners of one socket
mod telling; // who is told of a change, of a thing or of access
mod watching; // who watches what

pub use access::{Access, Concerned};
pub use facts::{Answer, Facts, Look, Missed, Needs, Past, Question};
pub use feed::{Effect, Event, Feed, Lane, Limits, Mirror, ToldRow};
pub use presence::Looking;
pub use queue::{FRAME_CHANGES, Frame, Out, Queue, Told};
pub use reader::{Ask, Reader};
pub use session::{FRAME_LIMIT, Heard, Refusal, Said, Session};
pub use watching::{ConnectionId, Topic, Watching};

#[cfg(test)]
mod tests;
