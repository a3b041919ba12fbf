//! Pinned trees: entities that are available offline together with all their descendants.
//!
//! A tree is fetched as one snapshot stream, subscribed to with one topic per entity type, and
//! cached as one recursive list per type. If the server is not available, other lists inside the
//! tree are derived from it. Pins are stored on disk, so that every later leader continues them.

use super::fetch::get;
use super::responses::ListPage;
use super::{Engine, PendingRequest};
use crate::cache::{CachedList, CachedRow, ListIndex, Slot};
use crate::collections::{DetHashSet, VecMap};
use crate::event::ObserverId;
use crate::query_key::{ListKey, ParentFilter, Query};
use crate::raw_row::RawRow;
use crate::request::{RequestError, Response};
use crate::store::{KeyValue, Namespace, Write, parse_json};
use crate::tab_protocol::TabMessage;
use pmo_domain::{EntityCode, EntityRef, UnixMillis};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// First id for observers of pinned trees.
const PIN_OBSERVER_BASE: u64 = 3 << 61;
/// Prefix of the keys of stored pins in the metadata namespace.
pub(super) const PIN_KEY_PREFIX: &str = "kept:";

/// Children that are linked to a parent without a column, as received from the server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FreeLinks {
    parent: EntityRef,
    child: EntityCode,
    ids: Vec<Uuid>,
}

/// Line of a snapshot that contains free links.
#[derive(Deserialize)]
struct LinksLine {
    #[serde(rename = "ties")]
    links: Vec<FreeLinks>,
}

/// Stored form of a pin.
#[derive(Serialize, Deserialize)]
pub(crate) struct PinnedRoot {
    code: EntityCode,
    id: Uuid,
    /// Free links inside the tree; `None` until they have been received.
    #[serde(default, rename = "ties")]
    pub(crate) free_links: Option<Vec<FreeLinks>>,
}

/// Returns a stored pin without the links that were fetched for it; `None` for other metadata.
pub(super) fn unfetched_pin(name: &str, bytes: &[u8]) -> Option<KeyValue> {
    let pin: PinnedRoot = name.starts_with(PIN_KEY_PREFIX).then(|| parse_json(bytes))??;
    let bytes = serde_json::to_vec(&PinnedRoot { free_links: None, ..pin }).ok()?;
    Some((name.to_owned(), bytes))
}

/// Download status of a pinned tree.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PinnedTreeStatus {
    /// Number of cached entities in the tree, without the root.
    pub rows: usize,
    /// Whether the whole tree is on the device.
    pub complete: bool,
    /// Whether the tree is being fetched.
    pub fetching: bool,
    /// Whether the last fetch failed.
    pub failed: bool,
}

/// Returns the key of the list of all entities of a type in a tree.
fn recursive_list_key(root: &EntityRef, code: EntityCode) -> ListKey {
    ListKey {
        parent_filter: Some(ParentFilter { parent: root.clone(), column: None }),
        recursive: true,
        ..ListKey::all(code)
    }
}

/// Returns the query under which fetches and retries of a whole tree are recorded.
pub(super) fn tree_query(root: &EntityRef) -> Query {
    Query::List(recursive_list_key(root, root.code.clone()))
}

impl Engine {
    /// Pins an entity with all its descendants on this device, or unpins it.
    pub(super) fn set_pinned(&mut self, root: EntityRef, on: bool, now: UnixMillis) {
        if !self.leader {
            return self.broadcast(TabMessage::SetPinned { entity: root, on });
        }
        self.changed.insert(Query::Row(root.clone()));
        let name = format!("{PIN_KEY_PREFIX}{root}");
        if on {
            self.pinned.get_or_insert_with(root.clone(), VecMap::default);
            self.persist_pin(&root);
            self.observe_pinned_trees(now);
        } else if let Some(observers) = self.pinned.remove(&root) {
            self.persistence.writes.push(Write::Remove(Namespace::Metadata, name));
            self.free_links.remove(&root);
            for (_, id) in observers {
                self.unobserve(id, now);
            }
            let belongs_to_tree =
                |key: &ListKey| key.recursive && key.parent_filter.as_ref().is_some_and(|b| b.parent == root);
            let lists: Vec<ListIndex> =
                self.cache.lists().filter(|(_, list)| belongs_to_tree(&list.key)).map(|(index, _)| index).collect();
            for index in lists {
                let Some(list) = self.cache.drop_list(index) else { continue };
                self.persistence.lists.remove(&index);
                self.remove_list_from_disk(&list.key);
                // The tree would have verified access to its stale rows; now each of them is
                // requested.
                let stale = |slot: &&Slot| self.cache.row(**slot).is_some_and(|row| row.base.is_some() && row.stale);
                let unverified: Vec<EntityRef> =
                    list.slots().iter().filter(stale).filter_map(|slot| self.cache.entity(*slot)).collect();
                unverified.iter().for_each(|entity| self.request_row(entity));
            }
        }
        self.broadcast_pins();
    }

    /// Writes the pin of a root to disk, with the free links inside its tree.
    pub(super) fn persist_pin(&mut self, root: &EntityRef) {
        let pin = PinnedRoot { code: root.code.clone(), id: root.id, free_links: self.free_links.get(root).cloned() };
        let bytes = serde_json::to_vec(&pin).unwrap_or_default();
        self.persistence.writes.push(Write::Put(Namespace::Metadata, format!("{PIN_KEY_PREFIX}{root}"), bytes));
    }

    /// Restores a pin that was written by [`Self::persist_pin`].
    pub(super) fn hydrate_pin(&mut self, pin: PinnedRoot) {
        let root = EntityRef::new(pin.code, pin.id);
        self.pinned.get_or_insert_with(root.clone(), VecMap::default);
        if let Some(links) = pin.free_links {
            self.free_links.insert(root, links);
        }
    }

    /// Adds the status of all pinned trees to the update for the followers.
    pub(super) fn broadcast_pins(&mut self) {
        if self.leader {
            self.tabs.outgoing_update.pinned = Some(self.pinned_tree_summaries());
        }
    }

    /// Returns the pinned roots with the number of rows and whether the tree is complete.
    pub(super) fn pinned_tree_summaries(&self) -> Vec<(EntityRef, usize, bool)> {
        let roots = self.pinned.keys().filter_map(|root| Some((root.clone(), self.pinned_tree_status(root)?)));
        roots.map(|(root, tree)| (root, tree.rows, tree.complete)).collect()
    }

    /// Observes all queries of pinned trees that are not observed yet.
    ///
    /// The entity types in a tree depend on the catalog, which may have been loaded since.
    pub(super) fn observe_pinned_trees(&mut self, now: UnixMillis) {
        if !self.leader || self.catalog.types.is_empty() {
            return;
        }
        let roots: Vec<EntityRef> = self.pinned.keys().cloned().collect();
        for root in roots {
            let mut codes = vec![root.code.clone()];
            let mut next = 0;
            while let Some(code) = codes.get(next).cloned() {
                let children = self.catalog.get(code.as_str()).map(|t| &t.children[..]).unwrap_or_default();
                for relation in children.iter().filter(|relation| relation.owned) {
                    if !codes.contains(&relation.code) {
                        codes.push(relation.code.clone());
                    }
                }
                next += 1;
            }
            let lists = codes.into_iter().map(|code| Query::List(recursive_list_key(&root, code)));
            for query in std::iter::once(Query::Row(root.clone())).chain(lists) {
                let Some(observers) = self.pinned.get_mut(&root) else { continue };
                if !observers.contains_key(&query) {
                    self.next_pin_observer += 1;
                    let id = ObserverId(PIN_OBSERVER_BASE + self.next_pin_observer);
                    observers.insert(query.clone(), id);
                    self.observe(id, query, now);
                }
            }
        }
    }

    /// Resumes the pins that were read from disk.
    pub(super) fn restore_pins(&mut self, now: UnixMillis) {
        if self.leader {
            self.observe_pinned_trees(now);
            self.broadcast_pins();
        } else {
            // The leader reports the number of rows.
            self.tabs.pinned_trees =
                std::mem::take(&mut self.pinned).into_iter().map(|(root, _)| (root, 0, false)).collect();
        }
    }

    /// Stops observing the pinned trees at the loss of leadership; the next leader continues.
    pub(super) fn release_pins(&mut self, now: UnixMillis) {
        self.tabs.pinned_trees = self.pinned_tree_summaries();
        let observers: Vec<ObserverId> = std::mem::take(&mut self.pinned)
            .into_iter()
            .flat_map(|(_, observers)| observers)
            .map(|(_, id)| id)
            .collect();
        for id in observers {
            self.unobserve(id, now);
        }
    }

    /// Returns the status of a pinned tree; `None` if the root is not pinned.
    pub fn pinned_tree_status(&self, root: &EntityRef) -> Option<PinnedTreeStatus> {
        if !self.leader {
            let status = self.tabs.pinned_trees.iter().find(|(pinned, _, _)| pinned == root);
            return status.map(|(_, rows, complete)| PinnedTreeStatus {
                rows: *rows,
                complete: *complete,
                ..PinnedTreeStatus::default()
            });
        }
        let observers = self.pinned.get(root)?;
        let lists = || {
            observers.keys().filter_map(|query| match query {
                Query::List(key) => self.cache.get_list(key),
                _ => None,
            })
        };
        let query = tree_query(root);
        Some(PinnedTreeStatus {
            rows: lists().map(|list| list.len()).sum(),
            complete: lists().next().is_some() && lists().all(|list| list.loaded && list.complete),
            fetching: self.in_flight.contains_key(&query),
            failed: self.failed.contains(&query),
        })
    }

    /// Fetches a whole tree unless all of its lists are fresh.
    pub(super) fn ensure_tree_fresh(&mut self, root: &EntityRef, now: UnixMillis) {
        let query = tree_query(root);
        if self.is_local_only(root) {
            return; // not on the server yet
        }
        let is_waiting =
            self.in_flight.contains_key(&query) || self.retries.get(&query).is_some_and(|retry| retry.at > now);
        let Some(observers) = self.pinned.get(root).filter(|_| self.leader && self.token_valid && !is_waiting) else {
            return;
        };
        let is_fresh = |query: &Query| match query {
            Query::List(key) => {
                let subscribed =
                    query.topic().is_some_and(|topic| self.subscribed.contains(&topic)) || self.is_polling();
                subscribed
                    && self
                        .cache
                        .get_list(key)
                        .is_some_and(|list| list.loaded && !list.stale && !list.loading_from_disk)
            }
            _ => true,
        };
        if observers.keys().all(is_fresh) {
            self.failed.remove(&query);
            return;
        }
        let path = format!("/sync/snapshot?entity={}&id={}", root.code, root.id);
        let id = self.request(PendingRequest::Tree(root.clone()), get(path));
        self.first_request.insert(query.clone(), id.0);
        self.in_flight.insert(query, id);
        self.mark_changed(Query::Row(root.clone()));
    }

    pub(super) fn on_tree_response(
        &mut self,
        root: EntityRef,
        response: Result<Response, RequestError>,
        now: UnixMillis,
    ) {
        let query = tree_query(&root);
        self.mark_changed(Query::Row(root.clone()));
        let response = match response {
            Ok(response) => response,
            Err(RequestError::Rejected(problem)) if problem.status == 404 => {
                // The root no longer exists for this user.
                self.clear_retry(&query);
                let lists = self.pinned.get(&root).into_iter().flat_map(VecMap::keys).filter_map(|query| match query {
                    Query::List(key) => self.cache.get_list(key),
                    _ => None,
                });
                let cached: Vec<EntityRef> =
                    lists.flat_map(CachedList::slots).filter_map(|slot| self.cache.entity(*slot)).collect();
                self.set_pinned(root.clone(), false, now);
                for entity in cached.iter().chain([&root]) {
                    self.on_missing_row(entity);
                }
                return;
            }
            Err(_) => return self.schedule_retry(query, now),
        };
        // The last line of a snapshot confirms that the snapshot is complete.
        let (mut rows_by_type, mut complete): (VecMap<EntityCode, Vec<Slot>>, bool) = (VecMap::default(), false);
        let (mut pages, mut links) = (Vec::new(), None);
        for line in response.body.lines() {
            if let Some(page) = ListPage::parse(line.to_owned()) {
                pages.push(page);
            } else if let Ok(line_links) = serde_json::from_str::<LinksLine>(line) {
                links.get_or_insert_with(Vec::new).extend(line_links.links);
            } else {
                complete = line.contains("\"complete\":true");
            }
        }
        if !complete {
            return self.schedule_retry(query, now);
        }
        for page in pages {
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
        if !self.pinned.contains_key(&root) {
            return; // unpinned meanwhile
        }
        if let Some(links) = links {
            self.free_links.insert(root.clone(), links);
        }
        self.persist_pin(&root);
        let lists: Vec<Query> = self.pinned.get(&root).into_iter().flat_map(VecMap::keys).cloned().collect();
        for list in lists {
            let Query::List(key) = &list else { continue };
            self.apply_list(key, rows_by_type.remove(&key.code).unwrap_or_default(), None, now);
            self.subscribe_to_query(&list, response.feed_cursor.clone());
            self.mark_changed(list);
        }
        // Lists that were derived from the previous free links are derived again.
        let derived: Vec<ListKey> =
            self.cache.lists().filter(|(_, list)| list.is_from_tree()).map(|(_, list)| list.key.clone()).collect();
        for key in derived {
            if let Some(list) = self.cache.get_list_mut(&key) {
                list.loaded = false;
            }
            self.derive_list_from_tree(&key);
            self.mark_changed(Query::List(key));
        }
        self.broadcast_pins();
    }

    /// Derives a list inside a pinned tree from the cached tree, unless the list is loaded.
    pub(super) fn derive_list_from_tree(&mut self, key: &ListKey) {
        let Some(ParentFilter { parent, column }) = key.parent_filter.as_ref().filter(|_| !key.recursive) else {
            return;
        };
        let index = self.cache.list_or_insert(key, &self.catalog);
        if self.cache.list(index).is_none_or(|list| list.loaded || list.derived) {
            return;
        }
        let Some((root, slots, synced_at)) = self.enclosing_tree(parent, &key.code) else { return };
        // The snapshot of the tree contained the free links of the parent.
        let by_link = column.is_none().then(|| {
            let owned = self
                .catalog
                .child_relation(parent.code.as_str(), key.code.as_str())
                .is_some_and(|relation| relation.owned);
            let links = self.free_links.get(&root).filter(|_| owned)?;
            let ids =
                links.iter().filter(|link| link.parent == *parent && link.child == key.code).flat_map(|link| &link.ids);
            let linked = ids.filter_map(|id| self.cache.slot_of(&EntityRef::new(key.code.clone(), *id)));
            let in_tree: DetHashSet<Slot> = slots.iter().copied().collect();
            Some(linked.filter(|slot| in_tree.contains(slot)).collect::<Vec<Slot>>())
        });
        if let Some(None) = by_link {
            return;
        }
        if let Some(list) = self.cache.list_mut(index) {
            (list.loaded, list.complete, list.stale, list.synced_at) = (true, true, true, synced_at);
        }
        match by_link.flatten() {
            Some(linked) => {
                if let Some(list) = self.cache.list_mut(index) {
                    list.from_tree = true;
                }
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
    pub(super) fn tree_queries_in_flight(&self) -> impl Iterator<Item = Query> {
        let fetching = self.pinned.iter().filter(|(root, _)| self.in_flight.contains_key(&tree_query(root)));
        fetching.flat_map(|(_, observers)| observers.keys().cloned())
    }

    /// Records that a row entered or left `lists`, if some of them belong to trees.
    ///
    /// The descendants of the row follow at the end of the event.
    pub(super) fn record_tree_move(&mut self, slot: Slot, lists: &[ListIndex]) {
        let roots = self.tree_roots(lists);
        if !roots.is_empty() {
            self.moved_in_trees.insert(slot);
            // The number of pinned rows has changed.
            self.changed.extend(roots.into_iter().map(Query::Row));
        }
    }

    /// Returns the roots of those of `lists` that belong to trees.
    fn tree_roots(&self, lists: &[ListIndex]) -> Vec<EntityRef> {
        let trees = lists.iter().filter_map(|index| self.cache.list(*index)).filter(|list| list.key.recursive);
        trees.filter_map(|list| Some(list.key.parent_filter.as_ref()?.parent.clone())).collect()
    }

    /// Marks trees for a refetch if only the server knows whether they contain a received row.
    ///
    /// This is the case if a parent column differs from `before`, or if a new row (`before` is
    /// `None`) can have its parent by a free link only.
    pub(super) fn mark_trees_for_refetch(&mut self, slot: Slot, before: Option<&RawRow>) {
        let Some(row) = self.cache.row(slot) else { return };
        let code = self.cache.code(slot);
        let owning_relations = || {
            self.catalog
                .parent_relations(code.as_str())
                .filter(|(_, relation)| relation.owned)
                .map(|(_, relation)| &relation.parent_column)
        };
        if let Some(before) = before {
            let moved = |column: &String| {
                row.base.as_ref().is_some_and(|current| current.value(column) != before.value(column))
            };
            if owning_relations().flatten().any(moved) {
                // Only the server knows whether a free link still holds the row in its trees, and
                // which descendants came with it.
                let lists = row.lists.clone();
                self.trees_to_refetch.extend(self.tree_roots(&lists));
            }
            return;
        }
        // The row is new and may have been linked into a tree.
        if owning_relations().any(Option::is_none)
            && owning_relations().flatten().all(|column| row.value(column).is_null())
        {
            let trees = self.cache.lists_of(&code).filter(|list| list.key.recursive && list.loaded);
            let roots: Vec<EntityRef> =
                trees.filter_map(|list| Some(list.key.parent_filter.as_ref()?.parent.clone())).collect();
            self.trees_to_refetch.extend(roots);
        }
    }

    /// Moves cached descendants along with their parents, and refetches the marked trees.
    pub(super) fn process_tree_moves(&mut self, now: UnixMillis) {
        while !self.moved_in_trees.is_empty() {
            let mut of_type: VecMap<EntityCode, DetHashSet<String>> = VecMap::default();
            for slot in std::mem::take(&mut self.moved_in_trees) {
                let Some(entity) = self.cache.entity(slot) else { continue };
                of_type.get_or_insert_with(entity.code, DetHashSet::default).insert(entity.id.to_string());
                // An existing row from the server may have brought descendants that were never
                // received. For a row with pending writes, the response to the write decides.
                let may_bring_descendants = |row: &&CachedRow| row.version > 1 && row.local.is_none();
                let lists =
                    self.cache.row(slot).filter(may_bring_descendants).map(|row| row.lists.clone()).unwrap_or_default();
                self.trees_to_refetch.extend(self.tree_roots(&lists));
            }
            // Each type is processed once, regardless of the number of rows moved.
            for (code, ids) in of_type {
                let relations: Vec<(EntityCode, String)> = {
                    let children = self.catalog.get(code.as_str()).into_iter().flat_map(|t| &t.children);
                    children
                        .filter(|relation| relation.owned)
                        .filter_map(|relation| Some((relation.code.clone(), relation.parent_column.clone()?)))
                        .collect()
                };
                for (child, column) in relations {
                    let is_child = |row: &&CachedRow| row.value(&column).as_str().is_some_and(|id| ids.contains(id));
                    let entities: Vec<EntityRef> = self
                        .cache
                        .rows_of(&child)
                        .filter(is_child)
                        .map(|row| EntityRef::new(child.clone(), row.id))
                        .collect();
                    for slot in entities.iter().filter_map(|entity| self.cache.slot_of(entity)).collect::<Vec<_>>() {
                        self.reindex(slot);
                    }
                }
            }
        }
        for root in std::mem::take(&mut self.trees_to_refetch) {
            self.mark_stale(&tree_query(&root));
            self.ensure_tree_fresh(&root, now);
        }
    }
}
