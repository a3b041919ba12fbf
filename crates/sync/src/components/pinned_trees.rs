//! Pinned trees: entities that are available offline together with all their descendants.
//!
//! A tree is fetched as one snapshot stream, subscribed to with one topic per entity type, and
//! cached as one recursive list per type. Pins are stored on disk, so that every later leader
//! continues them.

use crate::cache::{Cache, CachedList, CachedRow, ListIndex, Slot};
use crate::cache_records::{FreeLinks, PinnedRoot, pin_name};
use crate::collections::{DetHashSet, VecMap};
use crate::components::Persistence;
use crate::event::ObserverId;
use crate::query_key::{ListKey, ParentFilter, Query};
use crate::raw_row::RawRow;
use crate::store::Namespace;
use pmo_domain::{Catalog, EntityCode, EntityRef};
use uuid::Uuid;

/// First id for observers of pinned trees.
const PIN_OBSERVER_BASE: u64 = 3 << 61;

/// Returns the key of the list of all entities of a type in a tree.
fn recursive_list_key(root: &EntityRef, code: EntityCode) -> ListKey {
    ListKey {
        parent_filter: Some(ParentFilter { parent: root.clone(), column: None }),
        recursive: true,
        ..ListKey::all(code)
    }
}

/// Returns the query under which fetches and retries of a whole tree are recorded.
pub(crate) fn tree_query(root: &EntityRef) -> Query {
    Query::List(recursive_list_key(root, root.code.clone()))
}

/// Returns the roots of those of `lists` that belong to trees.
fn tree_roots(lists: &[ListIndex], cache: &Cache) -> Vec<EntityRef> {
    let trees = lists.iter().filter_map(|index| cache.list(*index)).filter(|list| list.key.recursive);
    trees.filter_map(|list| Some(list.key.parent_filter.as_ref()?.parent.clone())).collect()
}

/// Pinned roots, the free links inside their trees, and changes of the trees during an event.
#[derive(Default)]
pub(crate) struct PinnedTrees {
    /// Pinned roots, with the queries that are observed for each of them.
    roots: VecMap<EntityRef, VecMap<Query, ObserverId>>,
    /// Free links inside pinned trees, by root.
    free_links: VecMap<EntityRef, Vec<FreeLinks>>,
    last_observer: u64,
    /// Rows that entered or left trees during the current event.
    moved: DetHashSet<Slot>,
    /// Trees whose content only the server knows; they are refetched at the end of the event.
    to_refetch: DetHashSet<EntityRef>,
}

impl PinnedTrees {
    // --- Pins ---

    /// Pins an entity and writes the pin to disk.
    pub(crate) fn pin(&mut self, root: &EntityRef, persistence: &mut Persistence) {
        self.roots.get_or_insert_with(root.clone(), VecMap::default);
        self.write_pin(root, persistence);
    }

    /// Unpins an entity; returns the observers of its tree, or `None` if it was not pinned.
    pub(crate) fn unpin(&mut self, root: &EntityRef, persistence: &mut Persistence) -> Option<Vec<ObserverId>> {
        let observers = self.roots.remove(root)?;
        persistence.remove(Namespace::Metadata, pin_name(root));
        self.free_links.remove(root);
        Some(observers.into_iter().map(|(_, id)| id).collect())
    }

    /// Whether an entity is pinned.
    pub(crate) fn is_pinned(&self, root: &EntityRef) -> bool {
        self.roots.contains_key(root)
    }

    /// Iterates over the pinned roots.
    pub(crate) fn roots(&self) -> impl Iterator<Item = &EntityRef> {
        self.roots.keys()
    }

    /// Writes the pin of a root to disk, with the free links inside its tree.
    pub(crate) fn write_pin(&self, root: &EntityRef, persistence: &mut Persistence) {
        let pin = PinnedRoot::new(root, self.free_links.get(root).cloned());
        persistence.put(Namespace::Metadata, pin_name(root), serde_json::to_vec(&pin).unwrap_or_default());
    }

    /// Writes all pins to disk.
    pub(crate) fn write_pins(&self, persistence: &mut Persistence) {
        self.roots().for_each(|root| self.write_pin(root, persistence));
    }

    /// Restores a pin that was written by [`Self::write_pin`].
    pub(crate) fn hydrate(&mut self, pin: PinnedRoot) {
        let (root, links) = pin.into_parts();
        self.roots.get_or_insert_with(root.clone(), VecMap::default);
        if let Some(links) = links {
            self.free_links.insert(root, links);
        }
    }

    /// Forgets the pins in memory; returns the roots.
    pub(crate) fn take_roots(&mut self) -> Vec<EntityRef> {
        std::mem::take(&mut self.roots).into_iter().map(|(root, _)| root).collect()
    }

    /// Forgets the pins in memory; returns the observers of their trees.
    pub(crate) fn release(&mut self) -> Vec<ObserverId> {
        let observers = std::mem::take(&mut self.roots).into_iter().flat_map(|(_, observers)| observers);
        observers.map(|(_, id)| id).collect()
    }

    // --- Queries ---

    /// Returns new observers for all queries of pinned trees that are not observed yet.
    ///
    /// The entity types in a tree depend on the catalog, which may have been loaded since.
    pub(crate) fn add_observers(&mut self, catalog: &Catalog) -> Vec<(ObserverId, Query)> {
        let mut added = Vec::new();
        let roots: Vec<EntityRef> = self.roots.keys().cloned().collect();
        for root in roots {
            let mut codes = vec![root.code.clone()];
            let mut next = 0;
            while let Some(code) = codes.get(next).cloned() {
                let children = catalog.get(code.as_str()).map(|t| &t.children[..]).unwrap_or_default();
                for relation in children.iter().filter(|relation| relation.owned) {
                    if !codes.contains(&relation.code) {
                        codes.push(relation.code.clone());
                    }
                }
                next += 1;
            }
            let lists = codes.into_iter().map(|code| Query::List(recursive_list_key(&root, code)));
            let Some(observers) = self.roots.get_mut(&root) else { continue };
            for query in std::iter::once(Query::Row(root.clone())).chain(lists) {
                if !observers.contains_key(&query) {
                    self.last_observer += 1;
                    let id = ObserverId(PIN_OBSERVER_BASE + self.last_observer);
                    observers.insert(query.clone(), id);
                    added.push((id, query));
                }
            }
        }
        added
    }

    /// Iterates over the observed queries of a tree; `None` if its root is not pinned.
    pub(crate) fn queries(&self, root: &EntityRef) -> Option<impl Iterator<Item = &Query>> {
        self.roots.get(root).map(VecMap::keys)
    }

    /// Iterates over the cached lists of a tree.
    pub(crate) fn lists<'a>(&'a self, root: &EntityRef, cache: &'a Cache) -> impl Iterator<Item = &'a CachedList> {
        self.queries(root).into_iter().flatten().filter_map(|query| match query {
            Query::List(key) => cache.get_list(key),
            _ => None,
        })
    }

    /// Returns the number of rows of a tree, and whether all of them are cached.
    ///
    /// `None` if the root is not pinned.
    pub(crate) fn content(&self, root: &EntityRef, cache: &Cache) -> Option<(usize, bool)> {
        let lists = || self.lists(root, cache);
        let complete = lists().next().is_some() && lists().all(|list| list.loaded && list.complete);
        self.is_pinned(root).then(|| (lists().map(CachedList::len).sum(), complete))
    }

    // --- Free links ---

    /// Sets the free links inside a tree.
    pub(crate) fn set_free_links(&mut self, root: &EntityRef, links: Vec<FreeLinks>) {
        self.free_links.insert(root.clone(), links);
    }

    /// Iterates over the children of a type that are linked to `parent` inside the tree of `root`.
    ///
    /// `None` if the free links of the tree are unknown.
    pub(crate) fn linked_children<'a>(
        &'a self,
        root: &EntityRef,
        parent: &'a EntityRef,
        code: &'a EntityCode,
    ) -> Option<impl Iterator<Item = &'a Uuid>> {
        let links = self.free_links.get(root)?;
        Some(links.iter().filter(|link| link.parent == *parent && link.child == *code).flat_map(|link| &link.ids))
    }

    // --- Changes of trees ---

    /// Records that a row entered or left `lists`; returns the roots of those that belong to trees.
    ///
    /// The descendants of the row follow at the end of the event.
    pub(crate) fn record_move(&mut self, slot: Slot, lists: &[ListIndex], cache: &Cache) -> Vec<EntityRef> {
        let roots = tree_roots(lists, cache);
        if !roots.is_empty() {
            self.moved.insert(slot);
        }
        roots
    }

    /// Marks trees for a refetch if only the server knows whether they contain a received row.
    ///
    /// This is the case if a parent column differs from `before`, or if a new row (`before` is
    /// `None`) can have its parent by a free link only.
    pub(crate) fn mark_for_refetch(&mut self, slot: Slot, before: Option<&RawRow>, cache: &Cache, catalog: &Catalog) {
        let Some(row) = cache.row(slot) else { return };
        let code = cache.code(slot);
        let owning_relations = || {
            catalog
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
                self.to_refetch.extend(tree_roots(&row.lists, cache));
            }
            return;
        }
        // The row is new and may have been linked into a tree.
        if owning_relations().any(Option::is_none)
            && owning_relations().flatten().all(|column| row.value(column).is_null())
        {
            let trees = cache.lists_of(&code).filter(|list| list.key.recursive && list.loaded);
            self.to_refetch.extend(trees.filter_map(|list| Some(list.key.parent_filter.as_ref()?.parent.clone())));
        }
    }

    /// Returns the cached children of the rows that moved, and resets the moves.
    ///
    /// Marks the trees for a refetch into which a row may have brought descendants that were never
    /// received. For a row with pending writes, the response to the write decides.
    pub(crate) fn take_moved_children(&mut self, cache: &Cache, catalog: &Catalog) -> Vec<Slot> {
        let mut of_type: VecMap<EntityCode, DetHashSet<String>> = VecMap::default();
        for slot in std::mem::take(&mut self.moved) {
            let Some(entity) = cache.entity(slot) else { continue };
            of_type.get_or_insert_with(entity.code, DetHashSet::default).insert(entity.id.to_string());
            let may_bring_descendants = |row: &&CachedRow| row.version > 1 && row.local.is_none();
            if let Some(row) = cache.row(slot).filter(may_bring_descendants) {
                self.to_refetch.extend(tree_roots(&row.lists, cache));
            }
        }
        let mut moved = Vec::new();
        // Each type is processed once, regardless of the number of rows moved.
        for (code, ids) in of_type {
            let children = catalog.get(code.as_str()).into_iter().flat_map(|t| &t.children);
            for relation in children.filter(|relation| relation.owned) {
                let Some(column) = &relation.parent_column else { continue };
                let is_child = |row: &&CachedRow| row.value(column).as_str().is_some_and(|id| ids.contains(id));
                let entities = cache
                    .rows_of(&relation.code)
                    .filter(is_child)
                    .map(|row| EntityRef::new(relation.code.clone(), row.id));
                moved.extend(entities.filter_map(|entity| cache.slot_of(&entity)));
            }
        }
        moved
    }

    /// Whether rows have entered or left trees.
    pub(crate) fn has_moves(&self) -> bool {
        !self.moved.is_empty()
    }

    /// Returns the trees to refetch, and resets them.
    pub(crate) fn take_refetches(&mut self) -> impl Iterator<Item = EntityRef> + use<> {
        std::mem::take(&mut self.to_refetch).into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Effect;
    use crate::store::Write;

    fn project() -> EntityRef {
        EntityRef::new(EntityCode::new("project").unwrap(), Uuid::from_u128(1))
    }

    #[test]
    fn pin_is_stored_with_its_free_links_and_restored() {
        let (mut trees, mut persistence) = (PinnedTrees::default(), Persistence::default());
        let (task, child) = (EntityCode::new("task").unwrap(), Uuid::from_u128(2));
        trees.set_free_links(&project(), vec![FreeLinks { parent: project(), child: task.clone(), ids: vec![child] }]);
        trees.pin(&project(), &mut persistence);
        let Some(Effect::Persist(_, writes)) = persistence.take_batch() else { panic!("no batch") };
        let [Write::Put(Namespace::Metadata, _, bytes)] = &writes[..] else { panic!("{writes:?}") };
        let mut restored = PinnedTrees::default();
        restored.hydrate(serde_json::from_slice(bytes).unwrap());
        assert!(restored.is_pinned(&project()));
        let (root, parent) = (project(), project());
        assert!(restored.linked_children(&root, &parent, &task).unwrap().eq([&child]));
        assert_eq!(restored.linked_children(&root, &parent, &root.code).unwrap().count(), 0);
    }

    #[test]
    fn each_query_of_a_tree_is_observed_once_until_it_is_unpinned() {
        let (mut trees, mut persistence) = (PinnedTrees::default(), Persistence::default());
        assert!(trees.unpin(&project(), &mut persistence).is_none());
        trees.pin(&project(), &mut persistence);
        let added = trees.add_observers(&Catalog::default());
        let queries: Vec<Query> = added.iter().map(|(_, query)| query.clone()).collect();
        assert_eq!(queries, [Query::Row(project()), tree_query(&project())]);
        assert!(trees.add_observers(&Catalog::default()).is_empty());
        assert_eq!(trees.content(&project(), &Cache::default()), Some((0, false)));
        let mut released = trees.unpin(&project(), &mut persistence).unwrap();
        released.sort_unstable();
        assert_eq!(released, added.into_iter().map(|(id, _)| id).collect::<Vec<_>>());
        assert_eq!(trees.content(&project(), &Cache::default()), None);
    }

    #[test]
    fn move_between_lists_outside_of_trees_is_not_recorded() {
        let (mut trees, mut cache) = (PinnedTrees::default(), Cache::default());
        let slot = cache.slot_or_insert(&project());
        let outside = cache.list_or_insert(&ListKey::all(project().code), &Catalog::default());
        assert!(trees.record_move(slot, &[outside], &cache).is_empty());
        assert!(!trees.has_moves());
        let tree = cache.list_or_insert(&recursive_list_key(&project(), project().code), &Catalog::default());
        assert_eq!(trees.record_move(slot, &[tree], &cache), [project()]);
        assert!(trees.has_moves());
        assert!(trees.take_moved_children(&cache, &Catalog::default()).is_empty());
        assert!(!trees.has_moves());
    }
}
