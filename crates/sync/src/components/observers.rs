//! Observed queries, the topics whose changes they need, and the queries to notify.

use crate::cache::Cache;
use crate::collections::{DetHashMap, DetHashSet};
use crate::event::{Effect, ObserverId};
use crate::query_key::{Query, Topic};
use pmo_domain::{EntityRef, UnixMillis};
use std::time::Duration;

/// Observers of queries, and the queries whose observers must be notified.
#[derive(Default)]
pub(crate) struct Observers {
    by_id: DetHashMap<ObserverId, Query>,
    /// Number of observers per query.
    counts: DetHashMap<Query, u32>,
    /// Number of observers per topic.
    topics: DetHashMap<Topic, u32>,
    /// Time since when a topic has had no observer.
    topics_unused_since: DetHashMap<Topic, UnixMillis>,
    /// Queries whose data changed during the current event.
    changed: DetHashSet<Query>,
}

impl Observers {
    /// Sets the query of an observer; returns the previous one.
    pub(crate) fn insert(&mut self, id: ObserverId, query: Query) -> Option<Query> {
        self.by_id.insert(id, query)
    }

    /// Removes an observer; returns its query.
    pub(crate) fn remove(&mut self, id: ObserverId) -> Option<Query> {
        self.by_id.remove(&id)
    }

    /// Returns the observers whose id is at least `base`.
    pub(crate) fn ids_from(&self, base: u64) -> Vec<ObserverId> {
        self.by_id.keys().filter(|id| id.0 >= base).copied().collect()
    }

    /// Counts an observer of a query and of its topic.
    pub(crate) fn retain(&mut self, query: &Query) {
        *self.counts.entry(query.clone()).or_default() += 1;
        if let Some(topic) = query.topic() {
            self.topics_unused_since.remove(&topic);
            *self.topics.entry(topic).or_default() += 1;
        }
    }

    /// Ends the count of an observer; returns whether it was the last one of the query.
    pub(crate) fn release(&mut self, query: &Query, now: UnixMillis) -> bool {
        let last = match self.counts.get_mut(query) {
            Some(count) if *count > 1 => {
                *count -= 1;
                false
            }
            _ => {
                self.counts.remove(query);
                true
            }
        };
        if let Some(topic) = query.topic()
            && let Some(count) = self.topics.get_mut(&topic)
        {
            *count -= 1;
            if *count == 0 {
                self.topics.remove(&topic);
                self.topics_unused_since.insert(topic, now);
            }
        }
        last
    }

    /// Keeps the topic of a prefetched query in use for the grace period.
    pub(crate) fn begin_grace_period(&mut self, query: &Query, now: UnixMillis) {
        if let Some(topic) = query.topic() {
            self.topics_unused_since.entry(topic).or_insert(now);
        }
    }

    /// Whether a query has observers.
    pub(crate) fn is_observed(&self, query: &Query) -> bool {
        self.counts.contains_key(query)
    }

    /// Returns the number of observers of a query.
    pub(crate) fn count(&self, query: &Query) -> u32 {
        self.counts.get(query).copied().unwrap_or_default()
    }

    /// Iterates over the observed queries.
    pub(crate) fn queries(&self) -> impl Iterator<Item = &Query> {
        self.counts.keys()
    }

    /// Returns the observed queries with the number of their observers.
    pub(crate) fn counted_queries(&self) -> Vec<(Query, u32)> {
        self.counts.iter().map(|(query, count)| (query.clone(), *count)).collect()
    }

    /// Iterates over the topics of the observed queries.
    pub(crate) fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.topics.keys()
    }

    /// Whether a topic has observers.
    pub(crate) fn has_topic(&self, topic: &Topic) -> bool {
        self.topics.contains_key(topic)
    }

    /// Whether a topic has observers or is in its grace period.
    pub(crate) fn is_topic_used(&self, topic: &Topic) -> bool {
        self.has_topic(topic) || self.topics_unused_since.contains_key(topic)
    }

    /// Removes and returns the topics whose grace period has expired.
    pub(crate) fn take_expired_topics(&mut self, grace: Duration, now: UnixMillis) -> Vec<Topic> {
        let is_expired = |(_, at): &(&Topic, &UnixMillis)| now.since(**at) > grace;
        let expired: Vec<Topic> =
            self.topics_unused_since.iter().filter(is_expired).map(|(topic, _)| topic.clone()).collect();
        for topic in &expired {
            self.topics_unused_since.remove(topic);
        }
        expired
    }

    /// Marks a query as changed.
    pub(crate) fn mark_changed(&mut self, query: Query) {
        self.changed.insert(query);
    }

    /// Marks the query of an entity as changed.
    pub(crate) fn mark_row_changed(&mut self, entity: EntityRef) {
        self.changed.insert(Query::Row(entity));
    }

    /// Marks a query and the lists derived from it: they share its fetch state.
    pub(crate) fn mark_changed_with_derived(&mut self, query: Query, cache: &Cache) {
        if let Query::List(key) = &query {
            let derived = cache.lists_of(&key.code).filter(|l| l.derived && l.key.base_list().as_ref() == Some(key));
            self.changed.extend(derived.map(|list| Query::List(list.key.clone())));
        }
        self.changed.insert(query);
    }

    /// Marks all observed queries as changed.
    pub(crate) fn mark_all_changed(&mut self) {
        self.changed.extend(self.counts.keys().cloned());
    }

    /// Appends an effect for each changed query.
    pub(crate) fn flush(&mut self, effects: &mut Vec<Effect>) {
        effects.extend(self.changed.drain().map(Effect::Changed));
    }

    /// Returns the same observers for an engine without data, with all their queries marked.
    pub(crate) fn restarted(self) -> Self {
        let mut observers = Self { by_id: self.by_id, counts: self.counts, topics: self.topics, ..Self::default() };
        observers.mark_all_changed();
        observers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query_key::ListKey;
    use pmo_domain::EntityCode;

    fn at(millis: i64) -> UnixMillis {
        UnixMillis::new(millis)
    }

    fn list() -> Query {
        Query::List(ListKey::all(EntityCode::new("task").unwrap()))
    }

    #[test]
    fn topic_expires_after_the_grace_period_of_its_last_observer() {
        let (mut observers, grace) = (Observers::default(), Duration::from_millis(10));
        let topic = list().topic().unwrap();
        observers.retain(&list());
        observers.retain(&list());
        assert!(!observers.release(&list(), at(0)) && observers.has_topic(&topic));
        assert!(observers.release(&list(), at(5)));
        assert!(!observers.has_topic(&topic) && observers.is_topic_used(&topic));
        assert_eq!(observers.take_expired_topics(grace, at(15)), []);
        assert_eq!(observers.take_expired_topics(grace, at(16)), std::slice::from_ref(&topic));
        assert!(!observers.is_topic_used(&topic));
    }

    #[test]
    fn new_observer_ends_the_grace_period() {
        let mut observers = Observers::default();
        observers.begin_grace_period(&list(), at(0));
        observers.retain(&list());
        assert_eq!(observers.take_expired_topics(Duration::ZERO, at(9)), []);
    }

    #[test]
    fn restart_notifies_all_observers() {
        let mut observers = Observers::default();
        observers.insert(ObserverId(1), list());
        observers.retain(&list());
        let mut observers = observers.restarted();
        let mut effects = Vec::new();
        observers.flush(&mut effects);
        assert_eq!(effects, [Effect::Changed(list())]);
        assert_eq!((observers.count(&list()), observers.remove(ObserverId(1))), (1, Some(list())));
    }
}
