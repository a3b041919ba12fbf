//! Visible entities per person and type, and titles of entities; both are cached.
//!
//! A cached value is validated before each use: the query that reads the feed position also reads
//! the changes in `app.access_change` and `app.title_change` since the snapshot of the cache.
//!
//! Must not: use a cached value because of its age; there is no time to live.

use crate::sql::{BindValue, WhereBuilder};
use crate::{Connection, Result};
use pmo_domain::{AncestorSetId, EntityCode, FeedCursor, PersonId};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

/// Number of changes from which on a cache is recomputed instead of updated.
const MAX_INCREMENTAL_SETS: i32 = 2000;
/// Maximum number of cached titles, about 2 MB.
const MAX_CACHED_TITLES: usize = 20_000;

/// Set of ancestor set ids, one bit per id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AncestorSetBitmap(Vec<u8>);

impl AncestorSetBitmap {
    /// Adds an id; negative ids are ignored.
    pub fn insert(&mut self, set_id: AncestorSetId) {
        let Ok(bit) = usize::try_from(set_id.0) else { return };
        if self.0.len() <= bit / 8 {
            self.0.resize(bit / 8 + 1, 0);
        }
        self.0[bit / 8] |= 1 << (bit % 8);
    }

    /// Returns whether the bitmap contains `set_id`.
    pub fn contains(&self, set_id: AncestorSetId) -> bool {
        usize::try_from(set_id.0).is_ok_and(|bit| self.0.get(bit / 8).is_some_and(|byte| byte & (1 << (bit % 8)) != 0))
    }

    /// Returns whether the bitmap contains no id.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns all ids in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = AncestorSetId> + '_ {
        (0_i32..).zip(self.0.iter()).flat_map(|(n, byte)| {
            (0..8).filter(move |bit| byte & (1 << bit) != 0).map(move |bit| AncestorSetId(n * 8 + bit))
        })
    }

    /// Returns the runs of consecutive ids, as parallel lists of first and last ids.
    ///
    /// Runs are common: entities that were created together often have consecutive set ids.
    pub fn ranges(&self) -> (Vec<i32>, Vec<i32>) {
        let (mut first, mut last): (Vec<i32>, Vec<i32>) = (Vec::new(), Vec::new());
        for AncestorSetId(set_id) in self.iter() {
            match last.last_mut().filter(|end| **end + 1 == set_id) {
                Some(end) => *end = set_id,
                None => {
                    first.push(set_id);
                    last.push(set_id);
                }
            }
        }
        (first, last)
    }

    /// Returns the SQL condition that the ancestor set of `t` is in the bitmap.
    pub(crate) fn sql_condition(&self, conditions: &mut WhereBuilder) -> String {
        let bits = i32::try_from(self.0.len() * 8).unwrap_or(i32::MAX);
        let (bits, set) = (conditions.bind(BindValue::Number(bits)), conditions.bind(BindValue::Bytes(self.0.clone())));
        format!("case when t.ancestor_set_id < {bits} then get_bit({set}, t.ancestor_set_id) = 1 else false end")
    }
}

impl FromIterator<AncestorSetId> for AncestorSetBitmap {
    fn from_iter<I: IntoIterator<Item = AncestorSetId>>(set_ids: I) -> Self {
        let mut bitmap = Self::default();
        set_ids.into_iter().for_each(|set_id| bitmap.insert(set_id));
        bitmap
    }
}

/// Entities of one type that one person may view; denies win over grants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Visibility {
    /// Whether a grant on the whole type makes all its entities visible.
    pub all_visible: bool,
    /// Whether a deny on the whole type hides all its entities.
    pub denied_all: bool,
    /// Ancestor sets with a grant that makes their entities visible.
    pub ancestor_sets: AncestorSetBitmap,
    /// Entities with a grant on themselves.
    pub direct_ids: BTreeSet<Uuid>,
    /// Ancestor sets with a deny that hides their entities.
    pub denied_ancestor_sets: AncestorSetBitmap,
    /// Entities with a deny on themselves.
    pub denied_direct_ids: BTreeSet<Uuid>,
    /// Grant keys through which an ancestor set grants visibility.
    keys: BTreeSet<Uuid>,
    /// Grant keys through which an ancestor set is denied.
    denied_keys: BTreeSet<Uuid>,
}

/// Row of the SQL function `app.visibility`.
#[derive(sqlx::FromRow)]
struct VisibilityRow {
    sees_all: bool,
    denied_all: bool,
    ancestor_set_ids: Vec<i32>,
    direct_ids: Vec<Uuid>,
    denied_ancestor_set_ids: Vec<i32>,
    denied_direct_ids: Vec<Uuid>,
    keys: Vec<Uuid>,
    denied_keys: Vec<Uuid>,
    /// First expiry of a grant, in seconds since the Unix epoch.
    until: Option<f64>,
}

impl Visibility {
    /// Returns whether the entity `id` with the given ancestor set is visible.
    pub fn is_visible(&self, id: Uuid, ancestor_set: AncestorSetId) -> bool {
        let granted = self.all_visible || self.ancestor_sets.contains(ancestor_set) || self.direct_ids.contains(&id);
        granted
            && !self.denied_all
            && !self.denied_ancestor_sets.contains(ancestor_set)
            && !self.denied_direct_ids.contains(&id)
    }

    /// Returns whether any entity of the type can be visible.
    pub fn is_any_visible(&self) -> bool {
        !self.denied_all && (self.all_visible || !self.ancestor_sets.is_empty() || !self.direct_ids.is_empty())
    }

    /// Adds the condition that a row of `t` is visible, evaluated per row.
    ///
    /// Requires [`Self::is_any_visible`].
    pub(crate) fn apply_filter(&self, conditions: &mut WhereBuilder) {
        if !self.all_visible {
            let mut alternatives = Vec::new();
            if !self.ancestor_sets.is_empty() {
                alternatives.push(self.ancestor_sets.sql_condition(conditions));
            }
            if !self.direct_ids.is_empty() {
                let direct = conditions.bind(BindValue::Ids(self.direct_ids.iter().copied().collect()));
                alternatives.push(format!("t.id = any ({direct})"));
            }
            conditions.push(format!("({})", alternatives.join(" or ")));
        }
        self.apply_denies(conditions);
    }

    /// Adds the condition that a row of `t` is not denied.
    pub(crate) fn apply_denies(&self, conditions: &mut WhereBuilder) {
        if !self.denied_ancestor_sets.is_empty() {
            let denied = self.denied_ancestor_sets.sql_condition(conditions);
            conditions.push(format!("not {denied}"));
        }
        if !self.denied_direct_ids.is_empty() {
            let direct = conditions.bind(BindValue::Ids(self.denied_direct_ids.iter().copied().collect()));
            conditions.push(format!("t.id <> all ({direct})"));
        }
    }

    /// Adds a new ancestor set with its grant keys, if they are granted or denied.
    fn add_ancestor_set(&mut self, set_id: AncestorSetId, ancestors: &[Uuid]) {
        if ancestors.iter().any(|key| self.keys.contains(key)) {
            self.ancestor_sets.insert(set_id);
        }
        if ancestors.iter().any(|key| self.denied_keys.contains(key)) {
            self.denied_ancestor_sets.insert(set_id);
        }
    }

    /// Returns the approximate size in memory.
    fn bytes(&self) -> usize {
        let ids = self.direct_ids.len() + self.denied_direct_ids.len() + self.keys.len() + self.denied_keys.len();
        200 + self.ancestor_sets.0.len() + self.denied_ancestor_sets.0.len() + ids * 24
    }
}

impl From<VisibilityRow> for Visibility {
    fn from(row: VisibilityRow) -> Self {
        Self {
            all_visible: row.sees_all,
            denied_all: row.denied_all,
            ancestor_sets: row.ancestor_set_ids.into_iter().map(AncestorSetId).collect(),
            direct_ids: row.direct_ids.into_iter().collect(),
            denied_ancestor_sets: row.denied_ancestor_set_ids.into_iter().map(AncestorSetId).collect(),
            denied_direct_ids: row.denied_direct_ids.into_iter().collect(),
            keys: row.keys.into_iter().collect(),
            denied_keys: row.denied_keys.into_iter().collect(),
        }
    }
}

/// Cached visibility of one person, and the snapshot from which changes must be checked.
#[derive(Clone)]
struct CachedVisibility {
    /// Feed epoch and start time of the server.
    ///
    /// Transaction ids have no meaning in another database or after a failover.
    database_incarnation: String,
    /// Snapshot in which all entries are valid, as text of `pg_snapshot`.
    snapshot: String,
    /// First expiry of a grant, in seconds since the Unix epoch; compared with the database clock.
    expires_at: Option<f64>,
    by_type: BTreeMap<EntityCode, Arc<Visibility>>,
}

/// Weighs cache entries by their size in bytes.
#[derive(Clone)]
struct ByteWeighter;

impl Weighter<PersonId, Arc<CachedVisibility>> for ByteWeighter {
    fn weight(&self, _: &PersonId, cached: &Arc<CachedVisibility>) -> u64 {
        let bytes: usize = cached.by_type.values().map(|visibility| visibility.bytes()).sum();
        u64::try_from(bytes + 200).unwrap_or(u64::MAX)
    }
}

/// Cache of the visibility of recently active persons, and of titles.
///
/// Shared by all requests of a process.
pub struct VisibilityCache {
    by_person: Cache<PersonId, Arc<CachedVisibility>, ByteWeighter>,
    titles: TitleCache,
}

impl VisibilityCache {
    /// Creates a cache of at most `bytes` bytes of visibility.
    pub fn new(bytes: u64) -> Self {
        let persons = usize::try_from(bytes / 16_384).unwrap_or(16);
        Self { by_person: Cache::with_weighter(persons, bytes, ByteWeighter), titles: TitleCache::default() }
    }

    /// Begins a read for `person`: reads the feed position and validates the person's cache.
    ///
    /// Must be the first query of a transaction that reads one snapshot
    /// ([`crate::begin_snapshot_read`]). Must not be called in a transaction that writes: its
    /// uncommitted changes would enter the shared cache.
    pub async fn begin_read<'s>(&'s self, conn: &mut Connection, person: PersonId) -> Result<ReadContext<'s>> {
        #[derive(sqlx::FromRow)]
        struct ValidityCheck {
            epoch: i64,
            snapshot: String,
            server_started: String,
            has_expired: bool,
            change_count: i32,
            must_recompute: bool,
            new_ancestor_set_ids: Option<Vec<i32>>,
            retitled_ids: Option<Vec<Uuid>>,
            left_ancestor_set_ids: Option<Vec<i32>>,
        }
        let cached = self.by_person.get(&person);
        let titles_snapshot = self.titles.snapshot();
        let check: ValidityCheck = sqlx::query_as(
            "select s.epoch, s.snapshot, s.change_count, s.must_recompute, s.new_ancestor_set_ids, s.retitled_ids, s.left_ancestor_set_ids,
                    pg_postmaster_start_time()::text as server_started, coalesce($5::float8 <= extract(epoch from now())::float8, false) as has_expired
             from app.cache_changes_since($1, $2, $3, $4) s",
        )
        .bind(cached.as_ref().map(|cached| cached.snapshot.as_str()))
        .bind(person.0)
        .bind(&titles_snapshot)
        .bind(MAX_INCREMENTAL_SETS)
        .bind(cached.as_ref().and_then(|cached| cached.expires_at))
        .fetch_one(&mut *conn)
        .await?;
        let current_xmin = xmin(&check.snapshot);
        let cursor = FeedCursor { epoch: check.epoch, snapshot: crate::change_log::snapshot_of(&check.snapshot)? };
        let incarnation = format!("{} {}", check.epoch, check.server_started);
        // Changes are retained for a limited number of transactions.
        let is_within_window = |snapshot: &str| {
            xmin(snapshot).saturating_add(pmo_domain::cursor::ACCESS_CHANGE_WINDOW_XIDS) > current_xmin
        };
        let valid = cached.filter(|cached| {
            cached.database_incarnation == incarnation
                && is_within_window(&cached.snapshot)
                && !check.has_expired
                && !check.must_recompute
                && check.change_count < MAX_INCREMENTAL_SETS
        });
        let snapshot = check.snapshot.clone();
        let cached = match valid {
            None => CachedVisibility {
                database_incarnation: incarnation.clone(),
                snapshot,
                expires_at: None,
                by_type: BTreeMap::new(),
            },
            // The cached visibility is valid in the current snapshot too. With the newer snapshot,
            // the next validation has fewer changes to read.
            Some(cached) => {
                with_new_ancestor_sets(
                    conn,
                    CachedVisibility { snapshot, ..(*cached).clone() },
                    &check.new_ancestor_set_ids.unwrap_or_default(),
                )
                .await?
            }
        };
        let (retitled, left_sets) =
            (check.retitled_ids.unwrap_or_default(), check.left_ancestor_set_ids.unwrap_or_default());
        let max_changes = usize::try_from(MAX_INCREMENTAL_SETS).unwrap_or(usize::MAX);
        let can_advance = titles_snapshot.as_deref().is_some_and(is_within_window)
            && retitled.len() < max_changes
            && left_sets.len() < max_changes;
        let can_use_titles = self.titles.advance_to(
            titles_snapshot.filter(|_| can_advance),
            &incarnation,
            &check.snapshot,
            &retitled,
            &left_sets,
        );
        let cached = Arc::new(cached);
        self.by_person.insert(person, cached.clone());
        Ok(ReadContext { person, cursor, cached, can_use_titles, cache: self })
    }
}

/// Returns the lowest transaction id that was in progress in a snapshot.
fn xmin(snapshot: &str) -> i64 {
    snapshot.split(':').next().and_then(|x| x.parse().ok()).unwrap_or_default()
}

/// Returns `cached` with new ancestor sets added to the visibility of each type.
async fn with_new_ancestor_sets(
    conn: &mut Connection,
    mut cached: CachedVisibility,
    set_ids: &[i32],
) -> Result<CachedVisibility> {
    if set_ids.is_empty() {
        return Ok(cached);
    }
    let new_sets: Vec<(i32, Vec<Uuid>)> =
        sqlx::query_as("select id, ancestors from app.ancestor_set where id = any ($1)")
            .bind(set_ids)
            .fetch_all(conn)
            .await?;
    for visibility in cached.by_type.values_mut() {
        let mut extended = (**visibility).clone();
        new_sets.iter().for_each(|(set_id, ancestors)| extended.add_ancestor_set(AncestorSetId(*set_id), ancestors));
        *visibility = Arc::new(extended);
    }
    Ok(cached)
}

/// Context of one request that reads for a person.
pub struct ReadContext<'s> {
    /// Person whose visibility applies.
    pub person: PersonId,
    /// Feed position at the beginning of the read.
    pub cursor: FeedCursor,
    cached: Arc<CachedVisibility>,
    /// Whether the title cache is valid in the snapshot of this read.
    can_use_titles: bool,
    cache: &'s VisibilityCache,
}

/// Title of an entity, with type and ancestor set for the visibility check.
#[derive(Clone)]
struct CachedTitle {
    code: EntityCode,
    title: Arc<str>,
    ancestor_set: AncestorSetId,
}

/// Cache of titles that are valid in one snapshot of one incarnation of the database.
#[derive(Default)]
struct TitleCache(Mutex<TitleCacheState>);

#[derive(Default)]
struct TitleCacheState {
    database_incarnation: String,
    snapshot: Option<String>,
    titles: HashMap<Uuid, CachedTitle>,
}

impl TitleCache {
    fn lock(&self) -> MutexGuard<'_, TitleCacheState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn snapshot(&self) -> Option<String> {
        self.lock().snapshot.clone()
    }

    /// Advances the cache from snapshot `since` to `snapshot` by removing the titles that changed.
    ///
    /// With `since` `None` or another incarnation, clears the cache. Returns whether the cache is
    /// valid in `snapshot`; it is not if a concurrent request has advanced it.
    fn advance_to(
        &self,
        since: Option<String>,
        incarnation: &str,
        snapshot: &str,
        retitled: &[Uuid],
        left_sets: &[i32],
    ) -> bool {
        let mut state = self.lock();
        if since.is_none() || state.database_incarnation != incarnation {
            let snapshot = Some(snapshot.to_owned());
            *state = TitleCacheState { database_incarnation: incarnation.to_owned(), snapshot, titles: HashMap::new() };
        } else if state.snapshot == since {
            retitled.iter().for_each(|id| drop(state.titles.remove(id)));
            if !left_sets.is_empty() {
                state.titles.retain(|_, title| !left_sets.contains(&title.ancestor_set.0));
            }
            state.snapshot = Some(snapshot.to_owned());
        }
        state.snapshot.as_deref() == Some(snapshot)
    }

    /// Returns the cached titles of `ids`, and the ids without a cached title.
    fn split_cached(&self, ids: &[Uuid]) -> (Vec<(Uuid, CachedTitle)>, Vec<Uuid>) {
        let state = self.lock();
        let mut found = Vec::with_capacity(ids.len());
        let mut missing = Vec::new();
        for id in ids {
            match state.titles.get(id) {
                Some(title) => found.push((*id, title.clone())),
                None => missing.push(*id),
            }
        }
        (found, missing)
    }

    /// Stores titles that were read in `snapshot`, unless the cache has left that snapshot.
    ///
    /// More than [`MAX_CACHED_TITLES`] at once are not stored.
    fn store(&self, incarnation: &str, snapshot: &str, titles: &[(Uuid, CachedTitle)]) {
        let mut state = self.lock();
        let is_current = state.database_incarnation == incarnation && state.snapshot.as_deref() == Some(snapshot);
        if is_current && titles.len() <= MAX_CACHED_TITLES {
            if state.titles.len() + titles.len() > MAX_CACHED_TITLES {
                state.titles.clear();
            }
            state.titles.extend(titles.iter().cloned());
        }
    }
}

impl ReadContext<'_> {
    /// Returns the visibility of a type, from the cache or the database.
    pub async fn visibility(&mut self, conn: &mut Connection, code: &EntityCode) -> Result<Arc<Visibility>> {
        if let Some(visibility) = self.cached.by_type.get(code) {
            return Ok(visibility.clone());
        }
        let row: VisibilityRow = sqlx::query_as(
            "select sees_all, denied_all, ancestor_set_ids, direct_ids, denied_ancestor_set_ids, denied_direct_ids, keys, denied_keys, until
             from app.visibility($1, $2)",
        )
        .bind(self.person.0)
        .bind(code.as_str())
        .fetch_one(conn)
        .await?;
        let expires_at = row.until;
        let visibility = Arc::new(Visibility::from(row));
        let mut cached = (*self.cached).clone();
        cached.expires_at = [cached.expires_at, expires_at].into_iter().flatten().min_by(f64::total_cmp);
        cached.by_type.insert(code.clone(), visibility.clone());
        self.cached = Arc::new(cached);
        self.cache.by_person.insert(self.person, self.cached.clone());
        Ok(visibility)
    }

    /// Returns id, type and title of the entities among `ids`, of any type, that are visible.
    pub async fn visible_titles(
        &mut self,
        conn: &mut Connection,
        ids: &[Uuid],
    ) -> Result<Vec<(Uuid, EntityCode, Arc<str>)>> {
        let (mut titles, missing) =
            if self.can_use_titles { self.cache.titles.split_cached(ids) } else { (Vec::new(), ids.to_vec()) };
        if !missing.is_empty() {
            let rows: Vec<(Uuid, String, String, i32)> =
                sqlx::query_as("select id, code, title, ancestor_set_id from app.entity_instance where id = any ($1)")
                    .bind(missing)
                    .fetch_all(&mut *conn)
                    .await?;
            for (id, code, title, ancestor_set) in rows {
                let Ok(code) = EntityCode::new(code) else { continue };
                let ancestor_set = AncestorSetId(ancestor_set);
                titles.push((id, CachedTitle { code, title: title.into(), ancestor_set }));
            }
            self.cache.titles.store(&self.cached.database_incarnation, &self.cached.snapshot, &titles);
        }
        let mut visible = Vec::with_capacity(titles.len());
        for (id, title) in titles {
            if self.visibility(&mut *conn, &title.code).await?.is_visible(id, title.ancestor_set) {
                visible.push((id, title.code, title.title));
            }
        }
        Ok(visible)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bitmap_behaves_like_a_set(members in proptest::collection::btree_set(0_i32..5000, 0..60), probe in -2_i32..6000) {
            let bitmap: AncestorSetBitmap = members.iter().copied().map(AncestorSetId).collect();
            prop_assert_eq!(bitmap.iter().map(|set_id| set_id.0).collect::<BTreeSet<_>>(), members.clone());
            prop_assert_eq!(bitmap.contains(AncestorSetId(probe)), members.contains(&probe));
            prop_assert_eq!(bitmap.is_empty(), members.is_empty());
            let (first, last) = bitmap.ranges();
            let expanded: BTreeSet<i32> = first.iter().zip(&last).flat_map(|(first, last)| *first..=*last).collect();
            prop_assert_eq!(expanded, members);
            prop_assert!(first.iter().skip(1).zip(&last).all(|(next, last)| *next > last + 1));
        }
    }

    #[test]
    fn title_cache_keeps_its_limit() {
        let cache = TitleCache::default();
        cache.advance_to(None, "1", "7:7:", &[], &[]);
        let titles = |count: usize| -> Vec<(Uuid, CachedTitle)> {
            let title = CachedTitle {
                code: EntityCode::new("task").unwrap(),
                title: "t".into(),
                ancestor_set: pmo_domain::AncestorSetId(1),
            };
            (0..count).map(|n| (Uuid::from_u128(n as u128), title.clone())).collect()
        };
        for count in [MAX_CACHED_TITLES, 10, MAX_CACHED_TITLES + 1] {
            cache.store("1", "7:7:", &titles(count));
            assert!((1..=MAX_CACHED_TITLES).contains(&cache.lock().titles.len()), "{count}");
        }
    }

    #[test]
    fn new_ancestor_set_is_visible_if_its_keys_are_granted_and_not_denied() {
        let (project, secret) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut visibility =
            Visibility { keys: [project].into(), denied_keys: [secret].into(), ..Visibility::default() };
        visibility.add_ancestor_set(AncestorSetId(7), &[project]);
        visibility.add_ancestor_set(AncestorSetId(8), &[project, secret]);
        visibility.add_ancestor_set(AncestorSetId(9), &[]);
        let is_visible = |set_id: &AncestorSetId| visibility.is_visible(Uuid::from_u128(5), *set_id);
        assert_eq!((6..10).map(AncestorSetId).filter(is_visible).collect::<Vec<_>>(), [AncestorSetId(7)]);
    }
}
