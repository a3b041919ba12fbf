//! Requests in flight, retries of failed queries, queued rows, and the order of responses.

use crate::collections::{DetHashMap, DetHashSet, VecMap};
use crate::event::Effect;
use crate::query_key::{ListKey, Query, ReferenceDataKey};
use crate::request::{Request, RequestId};
use crate::settings::EngineConfig;
use pmo_domain::api_types::MAX_IDS_PER_REQUEST;
use pmo_domain::{EntityCode, EntityRef, UnixMillis};
use uuid::Uuid;

/// Purpose of a request in flight; decides how its response is handled.
#[derive(Clone, Debug)]
pub(crate) enum PendingRequest {
    /// One row.
    Row(EntityRef),
    /// Rows of one type by id.
    Rows(EntityCode, Vec<Uuid>),
    /// Page of a list, with the ids collected from the pages before it.
    Page(PendingPage),
    /// Reference data.
    Meta(ReferenceDataKey),
    /// Snapshot of a pinned tree.
    Tree(EntityRef),
    /// Write of an outbox entry.
    Write(Uuid),
    /// Changes since the known position.
    Changes,
}

/// Requested page of a list.
#[derive(Clone, Debug)]
pub(crate) struct PendingPage {
    /// Key of the list.
    pub(crate) key: ListKey,
    /// Ids of the pages before it.
    pub(crate) collected: Vec<Uuid>,
    /// Position in the feed that the first page reflects.
    pub(crate) feed_cursor: Option<String>,
    /// Whether the user asked for more rows of a list that is cached.
    pub(crate) more: bool,
}

/// Retry state of a query whose last request failed.
#[derive(Clone, Copy, Debug)]
struct Retry {
    attempts: u32,
    at: UnixMillis,
}

/// Requests in flight and to be sent, and the order of their responses.
pub(crate) struct Requests {
    pending: VecMap<RequestId, PendingRequest>,
    in_flight: DetHashMap<Query, RequestId>,
    /// Id of the first request of each query in flight; a list query may need several requests.
    ///
    /// The value 0 forces a refetch after the response.
    first_request: DetHashMap<Query, u64>,
    /// Id of the last request that was sent before the access of this user changed.
    ///
    /// Responses up to this id may contain data that the user may no longer view. They are not
    /// trusted.
    access_fence: u64,
    rows_in_flight: DetHashSet<EntityCode>,
    rows_retry: DetHashMap<EntityCode, Retry>,
    rows_to_fetch: VecMap<EntityCode, DetHashSet<Uuid>>,
    retries: DetHashMap<Query, Retry>,
    failed: DetHashSet<Query>,
    /// `ETag` of the last response to each query, with the digest of the cached data at that time.
    ///
    /// An `ETag` is sent only if the digest is unchanged: local changes to a list make its `ETag`
    /// invalid.
    etags: DetHashMap<Query, (String, u64)>,
    last_id: u64,
    /// Removed entities, each with the id of the next request at that time.
    ///
    /// A response to an earlier request may still contain the entity.
    tombstones: DetHashMap<EntityRef, u64>,
    /// Id of the request whose response is being applied; `u64::MAX` at all other times.
    current_response: u64,
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            pending: VecMap::default(),
            in_flight: DetHashMap::default(),
            first_request: DetHashMap::default(),
            access_fence: 0,
            rows_in_flight: DetHashSet::default(),
            rows_retry: DetHashMap::default(),
            rows_to_fetch: VecMap::default(),
            retries: DetHashMap::default(),
            failed: DetHashSet::default(),
            etags: DetHashMap::default(),
            last_id: 0,
            tombstones: DetHashMap::default(),
            current_response: u64::MAX,
        }
    }
}

impl Requests {
    // --- Requests ---

    /// Records a new request; returns its id and the effect that sends it.
    pub(crate) fn start(&mut self, purpose: PendingRequest, request: Request) -> (RequestId, Effect) {
        self.last_id += 1;
        let id = RequestId(self.last_id);
        self.pending.insert(id, purpose);
        (id, Effect::Fetch(id, request))
    }

    /// Records the first request of a query; returns the effect that sends it.
    pub(crate) fn start_query(&mut self, query: Query, purpose: PendingRequest, request: Request) -> Effect {
        let (id, effect) = self.start(purpose, request);
        self.first_request.insert(query.clone(), id.0);
        self.in_flight.insert(query, id);
        effect
    }

    /// Records a further request of a query in flight; returns the effect that sends it.
    pub(crate) fn continue_query(&mut self, query: Query, purpose: PendingRequest, request: Request) -> Effect {
        let (id, effect) = self.start(purpose, request);
        self.in_flight.insert(query, id);
        effect
    }

    /// Returns the purpose of a request in flight.
    pub(crate) fn purpose(&self, id: RequestId) -> Option<&PendingRequest> {
        self.pending.get(&id)
    }

    /// Iterates over the purposes of the requests in flight.
    pub(crate) fn purposes(&self) -> impl Iterator<Item = &PendingRequest> {
        self.pending.values()
    }

    /// Whether a query is in flight.
    pub(crate) fn is_in_flight(&self, query: &Query) -> bool {
        self.in_flight.contains_key(query)
    }

    /// Iterates over the queries in flight.
    pub(crate) fn queries_in_flight(&self) -> impl Iterator<Item = &Query> {
        self.in_flight.keys()
    }

    /// Aborts the request of a query; returns the effect if there is one.
    pub(crate) fn cancel(&mut self, query: &Query) -> Option<Effect> {
        let id = self.in_flight.remove(query)?;
        self.first_request.remove(query);
        self.pending.remove(&id);
        Some(Effect::Cancel(id))
    }

    /// Aborts all requests and forgets the queued rows and all retries; returns the effects.
    pub(crate) fn cancel_all(&mut self) -> impl Iterator<Item = Effect> + use<> {
        self.in_flight.clear();
        self.first_request.clear();
        self.retries.clear();
        self.rows_retry.clear();
        self.rows_in_flight.clear();
        self.rows_to_fetch.clear();
        std::mem::take(&mut self.pending).into_iter().map(|(id, _)| Effect::Cancel(id))
    }

    /// Whether a poll for changes is in flight.
    pub(crate) fn is_polling(&self) -> bool {
        self.pending.values().any(|purpose| matches!(purpose, PendingRequest::Changes))
    }

    /// Whether no read is in flight, queued or to be retried.
    pub(crate) fn has_no_reads(&self) -> bool {
        !self.pending.values().any(|purpose| !matches!(purpose, PendingRequest::Write(_)))
            && self.rows_to_fetch.is_empty()
            && self.retries.is_empty()
    }

    // --- Responses ---

    /// Begins to apply a response; returns the purpose of its request.
    pub(crate) fn begin_response(&mut self, id: RequestId) -> Option<PendingRequest> {
        let purpose = self.pending.remove(&id)?;
        self.current_response = id.0;
        Some(purpose)
    }

    /// Ends the application of a response; forgets removals that no response can contradict.
    pub(crate) fn end_response(&mut self) {
        self.current_response = u64::MAX;
        let oldest = self.pending.keys().next().map_or(u64::MAX, |id| id.0);
        self.tombstones.retain(|_, next| oldest < *next);
    }

    /// Returns the id of the request whose response is being applied; `u64::MAX` if there is none.
    pub(crate) fn current_response(&self) -> u64 {
        self.current_response
    }

    /// Whether a response is being applied.
    pub(crate) fn is_applying_response(&self) -> bool {
        self.current_response != u64::MAX
    }

    /// Records that the access of this user changed: responses to earlier requests are not trusted.
    pub(crate) fn fence_access(&mut self) {
        self.access_fence = self.last_id;
    }

    /// Whether access changed after the request whose response is being applied was sent.
    pub(crate) fn is_response_fenced(&self) -> bool {
        self.current_response <= self.access_fence
    }

    /// Ends a query; returns whether access changed after its first request was sent.
    pub(crate) fn settle(&mut self, query: &Query) -> bool {
        self.first_request.remove(query).unwrap_or(u64::MAX) <= self.access_fence
    }

    /// Causes a query in flight to be fetched again afterwards; returns `false` if it is not.
    pub(crate) fn expect_outdated(&mut self, query: &Query) -> bool {
        let Some(first_request) = self.first_request.get_mut(query) else { return false };
        *first_request = 0;
        true
    }

    /// Records the removal of an entity.
    pub(crate) fn bury(&mut self, entity: &EntityRef) {
        self.tombstones.insert(entity.clone(), self.last_id + 1);
    }

    /// Whether an entity was removed and a response may still contain it.
    pub(crate) fn is_buried(&self, entity: &EntityRef) -> bool {
        self.tombstones.contains_key(entity)
    }

    /// Whether an entity was removed after the request of the current response was sent.
    pub(crate) fn was_removed_since(&self, entity: &EntityRef) -> bool {
        self.tombstones.get(entity).is_some_and(|next| self.current_response < *next)
    }

    // --- Outcome and retries of queries ---

    /// Whether a query is in flight or waits for its next retry.
    pub(crate) fn is_waiting(&self, query: &Query, now: UnixMillis) -> bool {
        self.is_in_flight(query) || self.retries.get(query).is_some_and(|retry| retry.at > now)
    }

    /// Schedules the next attempt of a query that failed; `jitter` is between 0 and 1.
    ///
    /// After the last retry the delay is long. A new observer, a restored network or a visible page
    /// triggers an immediate attempt.
    pub(crate) fn schedule_retry(&mut self, query: &Query, settings: &EngineConfig, jitter: f64, now: UnixMillis) {
        self.in_flight.remove(query);
        let attempts = self.retries.get(query).map_or(0, |r| r.attempts) + 1;
        let EngineConfig { max_retries, retry_initial, retry_max, retry_exhausted, .. } = *settings;
        let wait = (retry_initial * (1 << (attempts.min(20) - 1))).min(retry_max).mul_f64(0.75 + jitter / 4.0);
        let wait = if attempts > max_retries { retry_exhausted } else { wait };
        self.retries.insert(query.clone(), Retry { attempts, at: now + wait });
        self.failed.insert(query.clone());
    }

    /// Records the success of a query.
    pub(crate) fn succeed(&mut self, query: &Query) {
        self.in_flight.remove(query);
        self.retries.remove(query);
        self.failed.remove(query);
    }

    /// Records that another tab completed a query.
    pub(crate) fn complete(&mut self, query: &Query, succeeded: bool) {
        self.in_flight.remove(query);
        if succeeded {
            self.failed.remove(query);
        } else {
            self.failed.insert(query.clone());
        }
    }

    /// Allows the next attempt of a query at once.
    pub(crate) fn forget_retry(&mut self, query: &Query) {
        self.retries.remove(query);
    }

    /// Returns the queries whose retry is due.
    pub(crate) fn due_retries(&self, now: UnixMillis) -> Vec<Query> {
        self.retries.iter().filter(|(_, retry)| retry.at <= now).map(|(query, _)| query.clone()).collect()
    }

    /// Makes all retries due.
    pub(crate) fn retry_now(&mut self, now: UnixMillis) {
        self.rows_retry.clear();
        for retry in self.retries.values_mut() {
            *retry = Retry { attempts: 0, at: now };
        }
    }

    /// Whether the last attempt of a query failed.
    pub(crate) fn has_failed(&self, query: &Query) -> bool {
        self.failed.contains(query)
    }

    /// Forgets all failures.
    pub(crate) fn forget_failures(&mut self) {
        self.failed.clear();
    }

    // --- ETags ---

    /// Returns the `ETag` of a query if the digest of its cached data is unchanged.
    pub(crate) fn valid_etag(&self, query: &Query, digest: impl FnOnce() -> u64) -> Option<&String> {
        self.etags.get(query).filter(|(_, known)| *known == digest()).map(|(etag, _)| etag)
    }

    /// Records the `ETag` of a query with the digest of its cached data.
    pub(crate) fn set_etag(&mut self, query: &Query, etag: String, digest: u64) {
        self.etags.insert(query.clone(), (etag, digest));
    }

    /// Forgets the `ETag` of a query.
    pub(crate) fn forget_etag(&mut self, query: &Query) {
        self.etags.remove(query);
    }

    /// Forgets all `ETag`s.
    pub(crate) fn forget_etags(&mut self) {
        self.etags.clear();
    }

    // --- Queued rows ---

    /// Queues a row for the next batched request.
    pub(crate) fn queue_row(&mut self, entity: &EntityRef) {
        self.rows_to_fetch.get_or_insert_with(entity.code.clone(), DetHashSet::default).insert(entity.id);
    }

    /// Removes a row from the queue.
    pub(crate) fn unqueue_row(&mut self, entity: &EntityRef) {
        if let Some(ids) = self.rows_to_fetch.get_mut(&entity.code) {
            ids.remove(&entity.id);
        }
    }

    /// Returns the number of queued rows.
    pub(crate) fn queued_rows(&self) -> usize {
        self.rows_to_fetch.values().map(DetHashSet::len).sum()
    }

    /// Forgets all queued rows.
    pub(crate) fn clear_queue(&mut self) {
        self.rows_to_fetch.clear();
    }

    /// Whether rows are queued.
    pub(crate) fn has_queued_rows(&self) -> bool {
        !self.rows_to_fetch.is_empty()
    }

    /// Returns one request per type with queued rows, observed rows first.
    ///
    /// One request per type is in flight, with at most [`MAX_IDS_PER_REQUEST`] rows.
    pub(crate) fn flush_queue(&mut self, is_observed: impl Fn(&EntityRef) -> bool, now: UnixMillis) -> Vec<Effect> {
        let due = |code: &EntityCode| self.rows_retry.get(code).is_none_or(|retry| retry.at <= now);
        let codes: Vec<EntityCode> =
            self.rows_to_fetch.keys().filter(|c| !self.rows_in_flight.contains(*c) && due(c)).cloned().collect();
        let mut effects = Vec::new();
        for code in codes {
            let Some(ids) = self.rows_to_fetch.remove(&code) else { continue };
            let is_observed_id = |id: &Uuid| is_observed(&EntityRef::new(code.clone(), *id));
            let (mut first, rest): (Vec<Uuid>, Vec<Uuid>) = ids.into_iter().partition(is_observed_id);
            first.extend(rest);
            let later = first.split_off(first.len().min(MAX_IDS_PER_REQUEST));
            if !later.is_empty() {
                self.rows_to_fetch.insert(code.clone(), later.into_iter().collect());
            }
            let list: Vec<String> = first.iter().map(Uuid::to_string).collect();
            self.rows_in_flight.insert(code.clone());
            let path = format!("/{code}?ids={}", list.join(","));
            effects.push(self.start(PendingRequest::Rows(code, first), Request::get(path)).1);
        }
        effects
    }

    /// Ends the request of the rows of a type.
    pub(crate) fn end_rows(&mut self, code: &EntityCode) {
        self.rows_in_flight.remove(code);
    }

    /// Records that rows of a type were received.
    pub(crate) fn rows_received(&mut self, code: &EntityCode) {
        self.rows_retry.remove(code);
    }

    /// Queues rows again after a failed request; the type is requested after a delay.
    pub(crate) fn retry_rows(&mut self, code: EntityCode, ids: Vec<Uuid>, settings: &EngineConfig, now: UnixMillis) {
        let attempts = self.rows_retry.get(&code).map_or(0, |r| r.attempts) + 1;
        let wait = (settings.retry_initial * (1 << (attempts.min(7) - 1))).min(settings.retry_max);
        self.rows_retry.insert(code.clone(), Retry { attempts, at: now + wait });
        self.rows_to_fetch.get_or_insert_with(code, DetHashSet::default).extend(ids);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(n: u128) -> EntityRef {
        EntityRef::new(EntityCode::new("task").unwrap(), Uuid::from_u128(n))
    }

    fn start(requests: &mut Requests, n: u128) -> RequestId {
        let effect =
            requests.start_query(Query::Row(task(n)), PendingRequest::Row(task(n)), Request::get(format!("/task/{n}")));
        let Effect::Fetch(id, _) = effect else { panic!("not a request: {effect:?}") };
        id
    }

    #[test]
    fn response_to_an_earlier_request_does_not_restore_a_removed_entity() {
        let mut requests = Requests::default();
        let (first, second) = (start(&mut requests, 1), start(&mut requests, 2));
        requests.bury(&task(1));
        requests.begin_response(second).unwrap();
        assert!(requests.was_removed_since(&task(1)));
        requests.end_response();
        assert!(requests.is_buried(&task(1)), "the first request has no response yet");
        requests.begin_response(first).unwrap();
        requests.end_response();
        assert!(!requests.is_buried(&task(1)));
        assert!(requests.begin_response(first).is_none(), "handled once");
    }

    #[test]
    fn query_sent_before_an_access_change_is_settled_as_outdated() {
        let mut requests = Requests::default();
        start(&mut requests, 1);
        requests.fence_access();
        start(&mut requests, 2);
        assert!(requests.settle(&Query::Row(task(1))));
        assert!(!requests.settle(&Query::Row(task(2))));
        start(&mut requests, 3);
        assert!(requests.expect_outdated(&Query::Row(task(3))));
        assert!(requests.settle(&Query::Row(task(3))));
        assert!(!requests.expect_outdated(&Query::Row(task(3))), "not in flight");
    }

    #[test]
    fn retries_back_off_and_become_rare_after_the_last() {
        let (mut requests, settings) = (Requests::default(), EngineConfig::default());
        let (query, now) = (Query::Row(task(1)), UnixMillis::EPOCH);
        let mut waits = Vec::new();
        for _ in 0..4 {
            requests.schedule_retry(&query, &settings, 1.0, now);
            waits.push(requests.retries[&query].at.get());
        }
        assert_eq!(waits, [1000, 2000, 4000, 60_000]);
        assert!(requests.has_failed(&query) && requests.is_waiting(&query, UnixMillis::new(59_999)));
        assert_eq!(requests.due_retries(UnixMillis::new(60_000)), std::slice::from_ref(&query));
        assert!(!requests.has_no_reads());
        requests.succeed(&query);
        assert!(!requests.has_failed(&query) && requests.has_no_reads());
    }

    #[test]
    fn queued_rows_are_requested_once_per_type_with_observed_rows_first() {
        let mut requests = Requests::default();
        (0..=MAX_IDS_PER_REQUEST as u128).for_each(|n| requests.queue_row(&task(n)));
        let observed = task(7);
        let effects = requests.flush_queue(|entity| *entity == observed, UnixMillis::EPOCH);
        let [Effect::Fetch(id, request)] = &effects[..] else { panic!("{} effects", effects.len()) };
        assert!(request.path.starts_with(&format!("/task?ids={},", observed.id)));
        assert_eq!(requests.queued_rows(), 1, "more than one request can hold");
        assert_eq!(requests.flush_queue(|_| false, UnixMillis::EPOCH), [], "one request per type");
        assert!(
            matches!(requests.begin_response(*id), Some(PendingRequest::Rows(_, ids)) if ids.len() == MAX_IDS_PER_REQUEST)
        );
        requests.end_rows(&observed.code);
        requests.retry_rows(observed.code.clone(), vec![observed.id], &EngineConfig::default(), UnixMillis::EPOCH);
        assert_eq!(requests.flush_queue(|_| false, UnixMillis::new(999)), [], "waits after a failure");
        assert_eq!(requests.flush_queue(|_| false, UnixMillis::new(1000)).len(), 1);
    }

    #[test]
    fn etag_is_valid_while_the_digest_is_unchanged() {
        let (mut requests, query) = (Requests::default(), Query::Row(task(1)));
        requests.set_etag(&query, "x".into(), 5);
        assert_eq!(requests.valid_etag(&query, || 5), Some(&"x".to_owned()));
        assert_eq!(requests.valid_etag(&query, || 6), None);
        requests.forget_etag(&query);
        assert_eq!(requests.valid_etag(&query, || 5), None);
    }

    #[test]
    fn cancelled_requests_have_no_response() {
        let mut requests = Requests::default();
        let (first, second) = (start(&mut requests, 1), start(&mut requests, 2));
        assert_eq!(requests.cancel(&Query::Row(task(1))), Some(Effect::Cancel(first)));
        assert_eq!(requests.cancel(&Query::Row(task(1))), None);
        assert!(!requests.expect_outdated(&Query::Row(task(1))), "not in flight any more");
        requests.schedule_retry(&Query::Row(task(3)), &EngineConfig::default(), 1.0, UnixMillis::EPOCH);
        requests.retry_rows(task(4).code, vec![task(4).id], &EngineConfig::default(), UnixMillis::EPOCH);
        assert!(requests.cancel_all().eq([Effect::Cancel(second)]));
        assert!(requests.has_no_reads() && !requests.expect_outdated(&Query::Row(task(2))));
        requests.queue_row(&task(4));
        assert_eq!(requests.flush_queue(|_| false, UnixMillis::EPOCH).len(), 1, "there is no retry to wait for");
        assert!(requests.purpose(second).is_none() && !requests.is_in_flight(&Query::Row(task(2))));
    }
}
