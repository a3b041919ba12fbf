//! Trees: a thing that is kept on the device with all that hangs below it, and kept current. It is told whole by one stream, watched by one topic for each
//! type, and held as a deep list of each; what is looked at inside it is answered from there where the server can't be asked. What is kept is written
//! on the device, so that whichever tab leads goes on keeping it.

use super::fetch::get;
use super::responses::ListPage;
use super::{Engine, PendingRequest};
use crate::cache::{CachedList, CachedRow, ListIndex, Slot};
use crate::collections::{DetHashSet, VecMap};
use crate::event::{ObserverId, RequestError, Response};
use crate::query_key::{ListKey, ParentFilter, Query};
use crate::raw_row::RawRow;
use crate::store::{Namespace, Write};
use crate::tab_protocol::TabMessage;
use pmo_domain::{EntityCode, EntityRef};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Observers of what is kept have numbers from here on.
const PIN_OBSERVER_BASE: u64 = 3 << 61;
/// The names of what is kept, among the device's metadata.
pub(super) const PIN_KEY_PREFIX: &str = "kept:";

/// What hangs on a thing by links alone, as the server told it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FreeLinks {
    parent: EntityRef,
    child: EntityCode,
    ids: Vec<Uuid>,
}

/// A line of a snapshot that tells ties.
#[derive(Deserialize)]
struct Ties {
    ties: Vec<FreeLinks>,
}

/// What is kept, as it is written on the device.
#[derive(Serialize, Deserialize)]
pub(crate) struct PinnedRoot {
    code: EntityCode,
    id: Uuid,
    /// None until they have been told.
    #[serde(default)]
    pub(crate) ties: Option<Vec<FreeLinks>>,
}

/// How far the keeping of a tree has come.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PinnedTreeStatus {
    /// Things that are held of it, itself aside.
    pub rows: usize,
    /// All of it is on the device.
    pub complete: bool,
    /// It is being asked for.
    pub fetching: bool,
    /// The last try failed.
    pub failed: bool,
}

/// The things of a type in a tree.
fn recursive_list_key(root: &EntityRef, code: EntityCode) -> ListKey {
    ListKey { below: Some(ParentFilter { parent: root.clone(), column: None }), recursive: true, ..ListKey::all(code) }
}

/// Stands for the tree as a whole: what is under way and what is to be tried again is noted of this query.
pub(super) fn tree_query(root: &EntityRef) -> Query {
    Query::List(recursive_list_key(root, root.code.clone()))
}

impl Engine {
    /// Keeps a thing with all that hangs below it on the device, or no longer.
    pub(super) fn set_pinned(&mut self, root: EntityRef, on: bool, now: f64) {
        if !self.leader {
            return self.broadcast(TabMessage::Keep { entity: root, on });
        }
        self.changed.insert(Query::Row(root.clone()));
        let name = format!("{PIN_KEY_PREFIX}{root}");
        if on {
            self.pinned.get_or_insert_with(root.clone(), VecMap::default);
            self.persist_pin(&root);
            self.observe_pinned_trees(now);
        } else if let Some(observers) = self.pinned.remove(&root) {
            self.persistence.writes.push(Write::Remove(Namespace::Metadata, name));
            self.ties.remove(&root);
            for (_, id) in observers {
                self.unobserve(id, now);
            }
            let of_it = |key: &ListKey| key.recursive && key.below.as_ref().is_some_and(|b| b.parent == root);
            let lists: Vec<ListIndex> =
                self.cache.lists().filter(|(_, list)| of_it(&list.key)).map(|(index, _)| index).collect();
            for index in lists {
                let Some(list) = self.cache.drop_list(index) else { continue };
                self.persistence.lists.remove(&index);
                self.remove_list_from_disk(&list.key);
                // The tree would have told whether they may still be seen; now each is asked for.
                let stale = |slot: &&Slot| self.cache.row(**slot).is_some_and(|row| row.base.is_some() && row.stale);
                let doubtful: Vec<EntityRef> =
                    list.slots().iter().filter(stale).filter_map(|slot| self.cache.entity(*slot)).collect();
                doubtful.iter().for_each(|entity| self.request_row(entity));
            }
        }
        self.broadcast_pins();
    }

    /// Writes on the device that a thing is kept, and what hangs in it by links alone.
    pub(super) fn persist_pin(&mut self, root: &EntityRef) {
        let kept = PinnedRoot { code: root.code.clone(), id: root.id, ties: self.ties.get(root).cloned() };
        let bytes = serde_json::to_vec(&kept).unwrap_or_default();
        self.persistence.writes.push(Write::Put(Namespace::Metadata, format!("{PIN_KEY_PREFIX}{root}"), bytes));
    }

    /// Takes what [`Self::write_kept`] wrote.
    pub(super) fn take_kept_root(&mut self, kept: PinnedRoot) {
        let root = EntityRef::new(kept.code, kept.id);
        self.pinned.get_or_insert_with(root.clone(), VecMap::default);
        if let Some(ties) = kept.ties {
            self.ties.insert(root, ties);
        }
    }

    /// Says to everybody what is kept.
    pub(super) fn broadcast_pins(&mut self) {
        if self.leader {
            self.tabs.outgoing_update.kept = Some(self.kept_trees());
        }
    }

    /// All that is kept: how much of it there is, and whether all of it.
    pub(super) fn kept_trees(&self) -> Vec<(EntityRef, usize, bool)> {
        let roots = self.pinned.keys().filter_map(|root| Some((root.clone(), self.kept_tree(root)?)));
        roots.map(|(root, tree)| (root, tree.rows, tree.complete)).collect()
    }

    /// Looks at all that is kept and not looked at yet: which types a tree has follows from the catalogue, which may have come since.
    pub(super) fn observe_pinned_trees(&mut self, now: f64) {
        if !self.leader || self.catalogue.types.is_empty() {
            return;
        }
        let roots: Vec<EntityRef> = self.pinned.keys().cloned().collect();
        for root in roots {
            let mut codes = vec![root.code.clone()];
            let mut at = 0;
            while let Some(code) = codes.get(at).cloned() {
                let children = self.catalogue.get(code.as_str()).map(|t| &t.children[..]).unwrap_or_default();
                for tie in children.iter().filter(|tie| tie.owned) {
                    if !codes.contains(&tie.code) {
                        codes.push(tie.code.clone());
                    }
                }
                at += 1;
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

    /// Goes on with what the device says is kept.
    pub(super) fn restore_pins(&mut self, now: f64) {
        if self.leader {
            self.observe_pinned_trees(now);
            self.broadcast_pins();
        } else {
            // How much of it is there the leader says.
            self.tabs.kept = std::mem::take(&mut self.pinned).into_iter().map(|(root, _)| (root, 0, false)).collect();
        }
    }

    /// This tab leads no more: whoever does keeps what is kept.
    pub(super) fn release_pins(&mut self, now: f64) {
        self.tabs.kept = self.kept_trees();
        let observers: Vec<ObserverId> = std::mem::take(&mut self.pinned)
            .into_iter()
            .flat_map(|(_, observers)| observers)
            .map(|(_, id)| id)
            .collect();
        for id in observers {
            self.unobserve(id, now);
        }
    }

    /// How a tree is kept; none where it is not.
    pub fn kept_tree(&self, root: &EntityRef) -> Option<PinnedTreeStatus> {
        if !self.leader {
            let told = self.tabs.kept.iter().find(|(kept, _, _)| kept == root);
            return told.map(|(_, rows, whole)| PinnedTreeStatus {
                rows: *rows,
                complete: *whole,
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

    /// Asks for a whole tree unless all that is held of it can be believed.
    pub(super) fn ensure_tree_fresh(&mut self, root: &EntityRef, now: f64) {
        let query = tree_query(root);
        if self.is_local_only(root) {
            return; // the server does not know it yet
        }
        let waits = self.in_flight.contains_key(&query) || self.retries.get(&query).is_some_and(|retry| retry.at > now);
        let Some(observers) = self.pinned.get(root).filter(|_| self.leader && self.token_good && !waits) else {
            return;
        };
        let believed = |query: &Query| match query {
            Query::List(key) => {
                let watched = query.topic().is_some_and(|topic| self.subscribed.contains(&topic)) || self.is_polling();
                watched
                    && self
                        .cache
                        .get_list(key)
                        .is_some_and(|list| list.loaded && !list.stale && !list.loading_from_disk)
            }
            _ => true,
        };
        if observers.keys().all(believed) {
            self.failed.remove(&query);
            return;
        }
        let path = format!("/sync/snapshot?entity={}&id={}", root.code, root.id);
        let id = self.request(PendingRequest::Tree(root.clone()), get(path));
        self.first_request.insert(query.clone(), id.0);
        self.in_flight.insert(query, id);
        self.mark_changed(Query::Row(root.clone()));
    }

    pub(super) fn tree_answered(&mut self, root: EntityRef, answer: Result<Response, RequestError>, now: f64) {
        let query = tree_query(&root);
        self.mark_changed(Query::Row(root.clone()));
        let answer = match answer {
            Ok(answer) => answer,
            Err(RequestError::Rejected(problem)) if problem.status == 404 => {
                // It is gone for this person.
                self.clear_retry(&query);
                let of_it = self.pinned.get(&root).into_iter().flat_map(VecMap::keys).filter_map(|query| match query {
                    Query::List(key) => self.cache.get_list(key),
                    _ => None,
                });
                let held: Vec<EntityRef> =
                    of_it.flat_map(CachedList::slots).filter_map(|slot| self.cache.entity(*slot)).collect();
                self.set_pinned(root.clone(), false, now);
                for entity in held.iter().chain([&root]) {
                    self.on_missing_row(entity, now);
                }
                return;
            }
            Err(_) => return self.schedule_retry(query, now),
        };
        // The last line says that nothing is missing.
        let (mut told, mut complete): (VecMap<EntityCode, Vec<Slot>>, bool) = (VecMap::default(), false);
        let (mut pages, mut ties) = (Vec::new(), None);
        for line in answer.body.lines() {
            if let Some(page) = ListPage::read(line.to_owned()) {
                pages.push(page);
            } else if let Ok(more) = serde_json::from_str::<Ties>(line) {
                ties.get_or_insert_with(Vec::new).extend(more.ties);
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
            for (marks, raw) in page.rows {
                if let (Some(slot), _) = self.apply_parsed_row(&code, raw, marks, now) {
                    let itself = self.cache.entity(slot).is_some_and(|entity| entity == root);
                    if !itself {
                        told.get_or_insert_with(code.clone(), Vec::new).push(slot);
                    }
                }
            }
        }
        self.clear_retry(&query);
        if !self.pinned.contains_key(&root) {
            return; // let go meanwhile
        }
        if let Some(ties) = ties {
            self.ties.insert(root.clone(), ties);
        }
        self.persist_pin(&root);
        let lists: Vec<Query> = self.pinned.get(&root).into_iter().flat_map(VecMap::keys).cloned().collect();
        for list in lists {
            let Query::List(key) = &list else { continue };
            self.apply_list(key, told.remove(&key.code).unwrap_or_default(), None, now);
            self.watch(&list, answer.feed_cursor.clone());
            self.mark_changed(list);
        }
        // What was filled from the ties before these is filled anew.
        let filled: Vec<ListKey> =
            self.cache.lists().filter(|(_, list)| list.is_from_tree()).map(|(_, list)| list.key.clone()).collect();
        for key in filled {
            if let Some(list) = self.cache.get_list_mut(&key) {
                list.loaded = false;
            }
            self.derive_list_from_tree(&key);
            self.mark_changed(Query::List(key));
        }
        self.broadcast_pins();
    }

    /// A list inside a kept tree that nobody has told: what is held of the tree tells what is in it.
    pub(super) fn derive_list_from_tree(&mut self, key: &ListKey) {
        let Some(ParentFilter { parent, column }) = key.below.as_ref().filter(|_| !key.recursive) else { return };
        let index = self.cache.list_or_insert(key, &self.catalogue);
        if self.cache.list(index).is_none_or(|list| list.loaded || list.derived) {
            return;
        }
        let Some((root, slots, synced_at)) = self.enclosing_tree(parent, &key.code) else { return };
        // What links alone tie to it was told with the tree.
        let by_link = column.is_none().then(|| {
            let owned =
                self.catalogue.child_relation(parent.code.as_str(), key.code.as_str()).is_some_and(|tie| tie.owned);
            let told = self.ties.get(&root).filter(|_| owned)?;
            let here =
                told.iter().filter(|tie| tie.parent == *parent && tie.child == key.code).flat_map(|tie| &tie.ids);
            let tied = here.filter_map(|id| self.cache.slot_of(&EntityRef::new(key.code.clone(), *id)));
            let in_tree: DetHashSet<Slot> = slots.iter().copied().collect();
            Some(tied.filter(|slot| in_tree.contains(slot)).collect::<Vec<Slot>>())
        });
        if let Some(None) = by_link {
            return;
        }
        if let Some(list) = self.cache.list_mut(index) {
            (list.loaded, list.complete, list.stale, list.synced_at) = (true, true, true, synced_at);
        }
        match by_link.flatten() {
            Some(tied) => {
                if let Some(list) = self.cache.list_mut(index) {
                    list.from_tree = true;
                }
                self.cache.set_rows(index, tied);
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

    /// A kept tree that a thing is in: its root, its rows of a type, and when they were told.
    fn enclosing_tree(&self, thing: &EntityRef, code: &EntityCode) -> Option<(EntityRef, Vec<Slot>, f64)> {
        let holds_it = |tree: &&CachedList| {
            let of_tree = |list: &CachedList| list.key.recursive && list.key.below == tree.key.below;
            let inside = |row: &CachedRow| row.lists.iter().filter_map(|index| self.cache.list(*index)).any(of_tree);
            tree.key.below.as_ref().is_some_and(|below| below.parent == *thing)
                || self.cache.get(thing).is_some_and(inside)
        };
        let mut trees =
            self.cache.lists_of(code).filter(|list| list.key.recursive && list.loaded && !list.loading_from_disk);
        let tree = trees.find(holds_it)?;
        Some((tree.key.below.as_ref()?.parent.clone(), tree.slots().to_vec(), tree.synced_at))
    }

    /// What is looked at for trees whose answers are on their way.
    pub(super) fn tree_queries_in_flight(&self) -> impl Iterator<Item = Query> {
        let asked = self.pinned.iter().filter(|(root, _)| self.in_flight.contains_key(&tree_query(root)));
        asked.flat_map(|(_, observers)| observers.keys().cloned())
    }

    /// A row has come into lists or left them. Where they are of a tree, what hangs below it goes the same way at the end of the event.
    pub(super) fn record_tree_move(&mut self, slot: Slot, lists: &[ListIndex]) {
        let roots = self.tree_roots(lists);
        if !roots.is_empty() {
            self.moved_in_trees.insert(slot);
            // How much is kept has changed.
            self.changed.extend(roots.into_iter().map(Query::Row));
        }
    }

    /// The roots of those lists that are of trees.
    fn tree_roots(&self, lists: &[ListIndex]) -> Vec<EntityRef> {
        let trees = lists.iter().filter_map(|index| self.cache.list(*index)).filter(|list| list.key.recursive);
        trees.filter_map(|list| Some(list.key.below.as_ref()?.parent.clone())).collect()
    }

    /// The server has told a row, which may have been another before. Where its columns name something else above it than before, or a link alone says where
    /// it hangs, only the server knows which trees it is in.
    pub(super) fn mark_trees_for_refetch(&mut self, slot: Slot, before: Option<&RawRow>) {
        let Some(row) = self.cache.row(slot) else { return };
        let code = self.cache.code(slot);
        let ties = || {
            self.catalogue
                .parent_relations(code.as_str())
                .filter(|(_, tie)| tie.owned)
                .map(|(_, tie)| &tie.parent_column)
        };
        if let Some(before) = before {
            let moved =
                |column: &String| row.base.as_ref().is_some_and(|now| now.value(column) != before.value(column));
            if ties().flatten().any(moved) {
                // Where a link may hold it in its trees all the same, and of what it brought, only the server knows.
                let lists = row.lists.clone();
                self.trees_to_refetch.extend(self.tree_roots(&lists));
            }
            return;
        }
        // It has come: it may hang somewhere by a link.
        if ties().any(Option::is_none) && ties().flatten().all(|column| row.value(column).is_null()) {
            let trees = self.cache.lists_of(&code).filter(|list| list.key.recursive && list.loaded);
            let roots: Vec<EntityRef> =
                trees.filter_map(|list| Some(list.key.below.as_ref()?.parent.clone())).collect();
            self.trees_to_refetch.extend(roots);
        }
    }

    /// What is held and hangs below what came into a tree or left it follows, and trees in question are asked for again.
    pub(super) fn process_tree_moves(&mut self, now: f64) {
        while !self.moved_in_trees.is_empty() {
            let mut of_type: VecMap<EntityCode, DetHashSet<String>> = VecMap::default();
            for slot in std::mem::take(&mut self.moved_in_trees) {
                let Some(entity) = self.cache.entity(slot) else { continue };
                of_type.get_or_insert_with(entity.code, DetHashSet::default).insert(entity.id.to_string());
                // What the server says is here, and was not made just now, may have brought things that were never told. What was only written here is
                // settled by its answer.
                let brought = |row: &&CachedRow| row.version > 1 && row.local.is_none();
                let lists = self.cache.row(slot).filter(brought).map(|row| row.lists.clone()).unwrap_or_default();
                self.trees_to_refetch.extend(self.tree_roots(&lists));
            }
            // Each type once, however many have moved.
            for (code, ids) in of_type {
                let ties: Vec<(EntityCode, String)> = {
                    let children = self.catalogue.get(code.as_str()).into_iter().flat_map(|t| &t.children);
                    children
                        .filter(|tie| tie.owned)
                        .filter_map(|tie| Some((tie.code.clone(), tie.parent_column.clone()?)))
                        .collect()
                };
                for (child, column) in ties {
                    let hangs_there = |row: &&CachedRow| row.value(&column).as_str().is_some_and(|id| ids.contains(id));
                    let below: Vec<EntityRef> = self
                        .cache
                        .rows_of(&child)
                        .filter(hangs_there)
                        .map(|row| EntityRef::new(child.clone(), row.id))
                        .collect();
                    for slot in below.iter().filter_map(|entity| self.cache.slot_of(entity)).collect::<Vec<_>>() {
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
