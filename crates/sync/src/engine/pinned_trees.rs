//! Pinned trees: fetches their snapshots, and derives other lists from them.
//!
//! If the server is not available, lists inside a tree are derived from it.

use super::Engine;
use crate::cache::{CachedList, CachedRow, ListIndex, Slot};
use crate::cache_records::FreeLinks;
use crate::collections::{DetHashSet, VecMap};
use crate::components::{PendingRequest, tree_query};
use crate::list_page::ListPage;
use crate::query_key::{ListKey, ParentFilter, Query};
use crate::raw_row::RawRow;
use crate::request::{Request, RequestError, Response};
use crate::tab_protocol::{PinnedTreeSummary, TabMessage};
use crate::views::PinnedTreeStatus;
use pmo_domain::{EntityCode, EntityRef, UnixMillis};
use serde::Deserialize;

/// Line of a snapshot that contains free links, under either of two names.
#[derive(Deserialize)]
struct LinksLine {
    #[serde(rename = "ties", alias = "links")]
    links: Vec<FreeLinks>,
}

/// Parsed snapshot of a tree.
struct Snapshot {
    /// Rows by type.
    pages: Vec<ListPage>,
    /// Free links inside the tree; `None` if the snapshot does not contain them.
    links: Option<Vec<FreeLinks>>,
}

impl Snapshot {
    /// Parses a snapshot; `None` unless its last line confirms that it is complete.
    fn parse(body: &str) -> Option<Self> {
        let mut complete = false;
        let (mut pages, mut links) = (Vec::new(), None);
        for line in body.lines() {
            if let Some(page) = ListPage::parse(line.to_owned()) {
                pages.push(page);
            } else if let Ok(line_links) = serde_json::from_str::<LinksLine>(line) {
                links.get_or_insert_with(Vec::new).extend(line_links.links);
            } else {
                complete = line.contains("\"complete\":true");
            }
        }
        complete.then_some(Self { pages, links })
    }
}

impl Engine {
    /// Pins an entity with all its descendants on this device.
    pub(super) fn pin(&mut self, root: EntityRef, now: UnixMillis) {
        if !self.leadership.is_leader() {
            return self.broadcast(TabMessage::SetPinned { entity: root, on: true });
        }
        self.pinned_trees.pin(&root, &mut self.persistence);
        self.observers.mark_row_changed(root);
        self.observe_pinned_trees(now);
        self.broadcast_pins();
    }

    /// Unpins an entity, and removes the lists of its tree.
    pub(super) fn unpin(&mut self, root: EntityRef, now: UnixMillis) {
        if !self.leadership.is_leader() {
            return self.broadcast(TabMessage::SetPinned { entity: root, on: false });
        }
        self.observers.mark_row_changed(root.clone());
        if let Some(observers) = self.pinned_trees.unpin(&root, &mut self.persistence) {
            for id in observers {
                self.unobserve(id, now);
            }
            self.drop_tree(&root);
        }
        self.broadcast_pins();
    }

    /// Removes the lists of an unpinned tree from memory and disk.
    fn drop_tree(&mut self, root: &EntityRef) {
        let belongs_to_tree =
            |key: &ListKey| key.recursive && key.parent_filter.as_ref().is_some_and(|b| b.parent == *root);
        let lists: Vec<ListIndex> =
            self.cache.lists().filter(|(_, list)| belongs_to_tree(&list.key)).map(|(index, _)| index).collect();
        for index in lists {
            let Some(list) = self.cache.drop_list(index) else { continue };
            self.persistence.unmark_list(index);
            self.remove_list_from_disk(&list.key);
            // The tree would have verified access to its stale rows; now each of them is requested.
            let stale = |slot: &&Slot| self.cache.row(**slot).is_some_and(|row| row.base.is_some() && row.stale);
            for entity in list.slots().iter().filter(stale).filter_map(|slot| self.cache.entity(*slot)) {
                self.requests.queue_row(&entity);
            }
        }
    }

    /// Adds the status of all pinned trees to the update for the followers.
    pub(super) fn broadcast_pins(&mut self) {
        if self.leadership.is_leader() {
            self.leadership.update().pinned = Some(self.pinned_tree_summaries());
        }
    }

    /// Returns the pinned roots with the number of rows and whether the tree is complete.
    pub(super) fn pinned_tree_summaries(&self) -> Vec<PinnedTreeSummary> {
        let summary = |root: &EntityRef| {
            let PinnedTreeStatus { rows, complete, .. } = self.pinned_tree_status(root)?;
            Some(PinnedTreeSummary { root: root.clone(), rows, complete })
        };
        self.pinned_trees.roots().filter_map(summary).collect()
    }

    /// Observes all queries of pinned trees that are not observed yet.
    pub(super) fn observe_pinned_trees(&mut self, now: UnixMillis) {
        if !self.leadership.is_leader() || self.reference.catalog().types.is_empty() {
            return;
        }
        for (id, query) in self.pinned_trees.add_observers(self.reference.catalog()) {
            self.observe(id, query, now);
        }
    }

    /// Resumes the pins that were read from disk.
    pub(super) fn restore_pins(&mut self, now: UnixMillis) {
        if self.leadership.is_leader() {
            self.observe_pinned_trees(now);
            self.broadcast_pins();
        } else {
            // The leader reports the number of rows.
            let summary = |root| PinnedTreeSummary { root, rows: 0, complete: false };
            let trees = self.pinned_trees.take_roots().into_iter().map(summary).collect();
            self.leadership.set_pinned_trees(trees);
        }
    }

    /// Stops observing the pinned trees before the loss of leadership; the next leader continues.
    ///
    /// Until it reports their status, the last one of this tab is shown.
    pub(super) fn release_pins(&mut self, now: UnixMillis) {
        let trees = self.pinned_tree_summaries();
        for root in self.leadership.set_pinned_trees(trees) {
            self.observers.mark_row_changed(root);
        }
        for id in self.pinned_trees.release() {
            self.unobserve(id, now);
        }
    }

    /// Returns the status of a pinned tree; `None` if the root is not pinned.
    pub fn pinned_tree_status(&self, root: &EntityRef) -> Option<PinnedTreeStatus> {
        if !self.leadership.is_leader() {
            let tree = self.leadership.pinned_trees().iter().find(|tree| tree.root == *root)?;
            let PinnedTreeSummary { rows, complete, .. } = *tree;
            return Some(PinnedTreeStatus { rows, complete, ..PinnedTreeStatus::default() });
        }
        let (rows, complete) = self.pinned_trees.content(root, &self.cache)?;
        let query = tree_query(root);
        Some(PinnedTreeStatus {
            rows,
            complete,
            fetching: self.requests.is_in_flight(&query),
            failed: self.requests.has_failed(&query),
        })
    }

    /// Fetches a whole tree unless all of its lists are fresh.
    pub(super) fn ensure_tree_fresh(&mut self, root: &EntityRef, now: UnixMillis) {
        let query = tree_query(root);
        // An entity that exists only locally has no tree on the server yet.
        let may_fetch = self.leadership.is_leader() && self.connectivity.has_valid_token();
        if self.is_local_only(root) || !may_fetch || self.requests.is_waiting(&query, now) {
            return;
        }
        let Some(mut queries) = self.pinned_trees.queries(root) else { return };
        let is_fresh = |query: &Query| match query {
            Query::List(key) => {
                let list = self.cache.get_list(key).filter(|l| l.loaded && !l.stale && !l.loading_from_disk);
                list.is_some() && self.receives_changes_of(query)
            }
            _ => true,
        };
        if queries.all(is_fresh) {
            return self.requests.succeed(&query);
        }
        let request = Request::get(format!("/sync/snapshot?entity={}&id={}", root.code, root.id));
        self.effects.push(self.requests.start_query(query, PendingRequest::Tree(root.clone()), request));
        self.observers.mark_row_changed(root.clone());
    }

    pub(super) fn on_tree_response(
        &mut self,
        root: EntityRef,
        response: Result<Response, RequestError>,
        now: UnixMillis,
    ) {
        let query = tree_query(&root);
        self.observers.mark_row_changed(root.clone());
        let response = match response {
            Ok(response) => response,
            Err(RequestError::Rejected(problem)) if problem.status == 404 => return self.on_missing_tree(root, now),
            Err(_) => return self.schedule_retry(query, now),
        };
        let Some(snapshot) = Snapshot::parse(&response.body) else { return self.schedule_retry(query, now) };
        let mut rows_by_type: VecMap<EntityCode, Vec<Slot>> = VecMap::default();
        for page in snapshot.pages {
            let Some(code) = page.code else { continue };
            self.merge_reference_names(page.references);
            for (header, raw) in page.rows {
                if let (Some(slot), _) = self.apply_parsed_row(&code, raw, header, now) {
                    let is_root = self.cache.entity(slot).is_some_and(|entity| entity == root);
                    if !is_root {
                        rows_by_type.get_or_insert_with(code.clone(), Vec::new).push(slot);
                    }
                }
            }
        }
        self.clear_retry(&query);
        let Some(queries) = self.pinned_trees.queries(&root) else { return }; // unpinned meanwhile
        let lists: Vec<Query> = queries.cloned().collect();
        if let Some(links) = snapshot.links {
            self.pinned_trees.set_free_links(&root, links);
        }
        self.pinned_trees.write_pin(&root, &mut self.persistence);
        for list in lists {
            let Query::List(key) = &list else { continue };
            self.apply_list(key, rows_by_type.remove(&key.code).unwrap_or_default(), None, now);
            self.subscribe_to_query(&list, response.feed_cursor.clone());
            self.mark_changed(list);
        }
        self.derive_lists_from_trees_again();
        self.broadcast_pins();
    }

    /// Handles a 404 of a tree: its root no longer exists for this user.
    fn on_missing_tree(&mut self, root: EntityRef, now: UnixMillis) {
        self.clear_retry(&tree_query(&root));
        let slots = self.pinned_trees.lists(&root, &self.cache).flat_map(CachedList::slots);
        let cached: Vec<EntityRef> = slots.filter_map(|slot| self.cache.entity(*slot)).collect();
        self.unpin(root.clone(), now);
        for entity in cached.iter().chain([&root]) {
            self.on_missing_row(entity);
        }
    }

    /// Derives the lists again that were derived from the previous free links of a tree.
    fn derive_lists_from_trees_again(&mut self) {
        let derived: Vec<ListKey> =
            self.cache.lists().filter(|(_, list)| list.is_from_tree()).map(|(_, list)| list.key.clone()).collect();
        for key in derived {
            if let Some(list) = self.cache.get_list_mut(&key) {
                list.loaded = false;
            }
            self.derive_list_from_tree(&key);
            self.mark_changed(Query::List(key));
        }
    }

    /// Derives a list inside a pinned tree from the cached tree, unless the list is loaded.
    pub(super) fn derive_list_from_tree(&mut self, key: &ListKey) {
        let Some(ParentFilter { parent, column }) = key.parent_filter.as_ref().filter(|_| !key.recursive) else {
            return;
        };
        let index = self.cache.list_or_insert(key, self.reference.catalog());
        if self.cache.list(index).is_none_or(|list| list.loaded || list.derived) {
            return;
        }
        let Some((root, slots, synced_at)) = self.enclosing_tree(parent, &key.code) else { return };
        let by_link = column.is_none();
        let linked = if by_link { self.linked_in_tree(&root, parent, &key.code, &slots) } else { None };
        if by_link && linked.is_none() {
            return;
        }
        if let Some(list) = self.cache.list_mut(index) {
            (list.loaded, list.complete, list.stale, list.synced_at) = (true, true, true, synced_at);
            list.from_tree |= by_link;
        }
        match linked {
            Some(linked) => {
                self.cache.set_rows(index, linked);
                self.apply_pending_links(parent);
            }
            None => {
                self.cache.set_rows(index, Vec::new());
                for slot in slots {
                    self.reindex(slot);
                }
            }
        }
        self.derive_parts(index, key);
    }

    /// Returns the rows of a tree that the snapshot of the tree linked to `parent`.
    ///
    /// `None` if the relation is not owned or the free links are unknown.
    fn linked_in_tree(
        &self,
        root: &EntityRef,
        parent: &EntityRef,
        code: &EntityCode,
        slots: &[Slot],
    ) -> Option<Vec<Slot>> {
        let relation = self.reference.catalog().child_relation(parent.code.as_str(), code.as_str());
        let ids =
            self.pinned_trees.linked_children(root, parent, code).filter(|_| relation.is_some_and(|r| r.owned))?;
        let linked = ids.filter_map(|id| self.cache.slot_of(&EntityRef::new(code.clone(), *id)));
        let in_tree: DetHashSet<Slot> = slots.iter().copied().collect();
        Some(linked.filter(|slot| in_tree.contains(slot)).collect())
    }

    /// Returns the pinned tree that contains an entity: root, rows of type `code`, fetch time.
    fn enclosing_tree(&self, entity: &EntityRef, code: &EntityCode) -> Option<(EntityRef, Vec<Slot>, UnixMillis)> {
        let contains_entity = |tree: &&CachedList| {
            let in_same_tree =
                |list: &CachedList| list.key.recursive && list.key.parent_filter == tree.key.parent_filter;
            let inside =
                |row: &CachedRow| row.lists.iter().filter_map(|index| self.cache.list(*index)).any(in_same_tree);
            tree.key.parent_filter.as_ref().is_some_and(|filter| filter.parent == *entity)
                || self.cache.get(entity).is_some_and(inside)
        };
        let mut trees =
            self.cache.lists_of(code).filter(|list| list.key.recursive && list.loaded && !list.loading_from_disk);
        let tree = trees.find(contains_entity)?;
        Some((tree.key.parent_filter.as_ref()?.parent.clone(), tree.slots().to_vec(), tree.synced_at))
    }

    /// Returns the observed queries of all trees whose snapshot is in flight.
    pub(super) fn tree_queries_in_flight(&self) -> impl Iterator<Item = &Query> {
        let fetching = self.pinned_trees.roots().filter(|root| self.requests.is_in_flight(&tree_query(root)));
        fetching.flat_map(|root| self.pinned_trees.queries(root)).flatten()
    }

    /// Records that a row entered or left `lists`, if some of them belong to trees.
    pub(super) fn record_tree_move(&mut self, slot: Slot, lists: &[ListIndex]) {
        // The number of pinned rows has changed.
        for root in self.pinned_trees.record_move(slot, lists, &self.cache) {
            self.observers.mark_row_changed(root);
        }
    }

    /// Marks trees for a refetch if only the server knows whether they contain a received row.
    pub(super) fn mark_trees_for_refetch(&mut self, slot: Slot, before: Option<&RawRow>) {
        self.pinned_trees.mark_for_refetch(slot, before, &self.cache, self.reference.catalog());
    }

    /// Moves cached descendants along with their parents, and refetches the marked trees.
    pub(super) fn process_tree_moves(&mut self, now: UnixMillis) {
        while self.pinned_trees.has_moves() {
            for slot in self.pinned_trees.take_moved_children(&self.cache, self.reference.catalog()) {
                self.reindex(slot);
            }
        }
        for root in self.pinned_trees.take_refetches() {
            self.mark_stale(&tree_query(&root));
            self.ensure_tree_fresh(&root, now);
        }
    }
}
