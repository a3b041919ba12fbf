//! Mutants: planted bugs that are enabled at run time and show that the oracles can fail.

/// A planted bug, each at one place in the simulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mutant {
    /// The feed continues from the highest transaction id and ignores older ones in progress.
    CursorWithoutSnapshot,
    /// Some frames of the feed are lost without notice.
    FramesLost,
    /// Every resume reports `recovered`, even if changes were lost.
    AlwaysRecovered,
    /// Responses are applied in order of arrival, as if each were the newest.
    ResponsesOutOfOrder,
    /// Writes have no idempotency key.
    NoIdempotencyKeys,
    /// The server ignores the base version of a write.
    VersionsIgnored,
    /// A write is acknowledged before it is on disk.
    AckBeforeDurable,
    /// Drafts are not written to disk.
    DraftsInMemory,
    /// Rows are not removed from the device.
    DiskRemovalsDropped,
    /// Changes of access are not delivered.
    RevocationsNotDelivered,
    /// A tab that was frozen during a change of leadership continues as leader.
    NoFencing,
    /// Updates of the leader are not broadcast to the other tabs.
    LeaderUpdatesDropped,
    /// Writes contain the derived columns that the device shows.
    DerivedColumnsSent,
    /// A device that lacks a part of a plan shows the dates that it computes.
    PartialPlansShown,
}

impl Mutant {
    /// All mutants.
    pub const ALL: [Self; 14] = [
        Self::CursorWithoutSnapshot,
        Self::FramesLost,
        Self::AlwaysRecovered,
        Self::ResponsesOutOfOrder,
        Self::NoIdempotencyKeys,
        Self::VersionsIgnored,
        Self::AckBeforeDurable,
        Self::DraftsInMemory,
        Self::DiskRemovalsDropped,
        Self::RevocationsNotDelivered,
        Self::NoFencing,
        Self::LeaderUpdatesDropped,
        Self::DerivedColumnsSent,
        Self::PartialPlansShown,
    ];
}
