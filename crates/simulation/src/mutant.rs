//! Planted bugs, each in one place, switched on at run time: they show that the oracles can fail.

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mutant {
    /// The feed reads on from the highest number it has seen, and forgets what was under way below it.
    CursorWithoutSnapshot,
    /// Now and then a frame of the feed is lost, and nobody notices.
    FramesLost,
    /// A client that can't be told what it missed is told that it missed nothing.
    AlwaysRecovered,
    /// Answers are taken in whatever order they come, as if each were the newest.
    AnswersOutOfOrder,
    /// Writes carry no key.
    NoIdempotencyKeys,
    /// The server does not look at the version that a write was made on.
    VersionsIgnored,
    /// A write counts as saved before it is on disk.
    AckBeforeDurable,
    /// What was on disk of drafts is forgotten.
    DraftsInMemory,
    /// Rows are not taken off the device.
    DiskRemovalsDropped,
    /// Nobody is told that what they may see has changed.
    RevocationsNotDelivered,
    /// A tab that was frozen while another took over goes on as the leader.
    NoFencing,
    /// What the leader learns is not told to the other tabs.
    LeaderUpdatesDropped,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::CursorWithoutSnapshot,
        Self::FramesLost,
        Self::AlwaysRecovered,
        Self::AnswersOutOfOrder,
        Self::NoIdempotencyKeys,
        Self::VersionsIgnored,
        Self::AckBeforeDurable,
        Self::DraftsInMemory,
        Self::DiskRemovalsDropped,
        Self::RevocationsNotDelivered,
        Self::NoFencing,
        Self::LeaderUpdatesDropped,
    ];
}
