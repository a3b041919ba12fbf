//! Events of a simulation, in order of time.

use crate::tab::TabRef;
use pmo_feed::{DatabaseRequest, Event as FeedEvent};
use pmo_sync::{Event, Request, RequestId};
use std::cmp::Ordering;

#[derive(Debug)]
pub(crate) enum SimEvent {
    Tab(TabRef, Event),
    Feed(FeedEvent),
    RequestArrived(TabRef, RequestId, Request),
    Commit(i64, Option<(TabRef, RequestId)>),
    RunStoreOp(TabRef),
    DatabaseQueried(DatabaseRequest),
    Tick(TabRef),
    LockReleased(usize),
    /// Next frame of a tab that computes a plan.
    PlanFrame(TabRef),
    WorkloadStep,
    FeedTick,
}

/// Event with its time and its sequence number, which orders events of equal time.
pub(crate) struct ScheduledEvent(pub(crate) f64, pub(crate) u64, pub(crate) SimEvent);

impl PartialEq for ScheduledEvent {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for ScheduledEvent {}
impl PartialOrd for ScheduledEvent {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for ScheduledEvent {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.total_cmp(&self.0).then_with(|| other.1.cmp(&self.1))
    }
}
