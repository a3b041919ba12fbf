//! What a person sees of a type, and names, worked out once and kept while they hold. What is kept is compared with the database before each use
//! (`app.access_change`, `app.name_change`), in the statement that asks where the feed stands: it must never be used on the strength of its age.

use crate::sql::{BindValue, WhereBuilder};
use crate::{Connection, Result};
use pmo_domain::{EntityCode, FeedCursor, PersonId};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

/// More new reaches than this at once, and a sight is worked out anew.
const MAX_INCREMENTAL_SETS: i32 = 2000;
/// Names that are kept: some two megabytes.
const MAX_CACHED_TITLES: usize = 20_000;

/// A set of reaches, one bit for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AncestorSetBitmap(Vec<u8>);

impl AncestorSetBitmap {
    /// Adds one.
    pub fn insert(&mut self, reach: i32) {
        let Ok(reach) = usize::try_from(reach) else { return };
        if self.0.len() <= reach / 8 {
            self.0.resize(reach / 8 + 1, 0);
        }
        self.0[reach / 8] |= 1 << (reach % 8);
    }

    /// Whether one is in it.
    pub fn contains(&self, reach: i32) -> bool {
        usize::try_from(reach).is_ok_and(|r| self.0.get(r / 8).is_some_and(|byte| byte & (1 << (r % 8)) != 0))
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = i32> + '_ {
        (0_i32..)
            .zip(self.0.iter())
            .flat_map(|(n, byte)| (0..8).filter(move |bit| byte & (1 << bit) != 0).map(move |bit| n * 8 + bit))
    }

    /// Runs of neighbours, first and last: things that were made together have reaches side by side.
    pub fn ranges(&self) -> (Vec<i32>, Vec<i32>) {
        let (mut first, mut last): (Vec<i32>, Vec<i32>) = (Vec::new(), Vec::new());
        for reach in self.iter() {
            match last.last_mut().filter(|end| **end + 1 == reach) {
                Some(end) => *end = reach,
                None => {
                    first.push(reach);
                    last.push(reach);
                }
            }
        }
        (first, last)
    }

    /// The condition that `t` has one of them.
    pub(crate) fn sql_condition(&self, conditions: &mut WhereBuilder) -> String {
        let bits = i32::try_from(self.0.len() * 8).unwrap_or(i32::MAX);
        let (bits, set) = (conditions.bind(BindValue::Number(bits)), conditions.bind(BindValue::Bytes(self.0.clone())));
        format!("case when t.reach < {bits} then get_bit({set}, t.reach) = 1 else false end")
    }
}

impl FromIterator<i32> for AncestorSetBitmap {
    fn from_iter<I: IntoIterator<Item = i32>>(all: I) -> Self {
        let mut set = Self::default();
        all.into_iter().for_each(|reach| set.insert(reach));
        set
    }
}

/// What a person's grants mean for lists of a type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Visibility {
    /// A grant on the whole type shows every instance.
    pub sees_all: bool,
    /// A deny on the whole type hides every instance.
    pub denied_all: bool,
    /// What has one of these above it is seen,
    pub ancestor_sets: AncestorSetBitmap,
    /// and so are these;
    pub direct_ids: BTreeSet<Uuid>,
    /// but not what has one of these above it,
    pub denied_reaches: AncestorSetBitmap,
    /// nor these.
    pub denied_direct: BTreeSet<Uuid>,
    /// What a reach holds that gives sight,
    keys: BTreeSet<Uuid>,
    /// or takes it away.
    denied_keys: BTreeSet<Uuid>,
}

/// A row of `app.sight`.
#[derive(sqlx::FromRow)]
struct VisibilityRow {
    sees_all: bool,
    denied_all: bool,
    #[sqlx(rename = "reaches")]
    ancestor_sets: Vec<i32>,
    #[sqlx(rename = "direct")]
    direct_ids: Vec<Uuid>,
    denied_reaches: Vec<i32>,
    denied_direct: Vec<Uuid>,
    keys: Vec<Uuid>,
    denied_keys: Vec<Uuid>,
    #[sqlx(rename = "until")]
    expires_at: Option<f64>,
}

impl Visibility {
    /// Whether a thing with this reach is seen.
    pub fn is_visible(&self, id: Uuid, reach: i32) -> bool {
        let given = self.sees_all || self.ancestor_sets.contains(reach) || self.direct_ids.contains(&id);
        given && !self.denied_all && !self.denied_reaches.contains(reach) && !self.denied_direct.contains(&id)
    }

    /// Whether anything could be.
    pub fn is_any_visible(&self) -> bool {
        !self.denied_all && (self.sees_all || !self.ancestor_sets.is_empty() || !self.direct_ids.is_empty())
    }

    /// Narrows conditions on `t` to what is seen, a row at a time.
    pub(crate) fn apply_filter(&self, conditions: &mut WhereBuilder) {
        if !self.sees_all {
            let mut ways = Vec::new();
            if !self.ancestor_sets.is_empty() {
                ways.push(self.ancestor_sets.sql_condition(conditions));
            }
            if !self.direct_ids.is_empty() {
                let direct = conditions.bind(BindValue::Ids(self.direct_ids.iter().copied().collect()));
                ways.push(format!("t.id = any ({direct})"));
            }
            conditions.push(format!("({})", ways.join(" or ")));
        }
        self.apply_denies(conditions);
    }

    /// Takes out what is denied.
    pub(crate) fn apply_denies(&self, conditions: &mut WhereBuilder) {
        if !self.denied_reaches.is_empty() {
            let denied = self.denied_reaches.sql_condition(conditions);
            conditions.push(format!("not {denied}"));
        }
        if !self.denied_direct.is_empty() {
            let direct = conditions.bind(BindValue::Ids(self.denied_direct.iter().copied().collect()));
            conditions.push(format!("t.id <> all ({direct})"));
        }
    }

    /// Weighs a reach that is new.
    fn add_ancestor_set(&mut self, reach: i32, above: &[Uuid]) {
        if above.iter().any(|key| self.keys.contains(key)) {
            self.ancestor_sets.insert(reach);
        }
        if above.iter().any(|key| self.denied_keys.contains(key)) {
            self.denied_reaches.insert(reach);
        }
    }

    fn bytes(&self) -> usize {
        let ids = self.direct_ids.len() + self.denied_direct.len() + self.keys.len() + self.denied_keys.len();
        200 + self.ancestor_sets.0.len() + self.denied_reaches.0.len() + ids * 24
    }
}

impl From<VisibilityRow> for Visibility {
    fn from(told: VisibilityRow) -> Self {
        Self {
            sees_all: told.sees_all,
            denied_all: told.denied_all,
            ancestor_sets: told.ancestor_sets.into_iter().collect(),
            direct_ids: told.direct_ids.into_iter().collect(),
            denied_reaches: told.denied_reaches.into_iter().collect(),
            denied_direct: told.denied_direct.into_iter().collect(),
            keys: told.keys.into_iter().collect(),
            denied_keys: told.denied_keys.into_iter().collect(),
        }
    }
}

/// A person's sights, and the moment from which on changes must be looked for.
#[derive(Clone)]
struct CachedVisibility {
    /// Which database this is, and since when it runs: transaction numbers mean nothing in another, nor after a failover.
    database_incarnation: String,
    /// The oldest snapshot that one of them was worked out in, as `pg_snapshot` writes it.
    snapshot: String,
    /// When the first of the grants ends, in seconds since 1970; the database's own clock says whether that is over.
    expires_at: Option<f64>,
    of: BTreeMap<EntityCode, Arc<Visibility>>,
}

/// Counts bytes.
#[derive(Clone)]
struct Size;

impl Weighter<PersonId, Arc<CachedVisibility>> for Size {
    fn weight(&self, _: &PersonId, held: &Arc<CachedVisibility>) -> u64 {
        let bytes: usize = held.of.values().map(|sight| sight.bytes()).sum();
        u64::try_from(bytes + 200).unwrap_or(u64::MAX)
    }
}

/// What was read before and may still hold: the sights of those who asked last, and names. Shared by all requests of a process.
pub struct VisibilityCache {
    sights: Cache<PersonId, Arc<CachedVisibility>, Size>,
    names: TitleCache,
}

impl VisibilityCache {
    /// Keeps sights of at most so many bytes.
    pub fn new(bytes: u64) -> Self {
        let people = usize::try_from(bytes / 16_384).unwrap_or(16);
        Self { sights: Cache::with_weighter(people, bytes, Size), names: TitleCache::default() }
    }

    /// Begins to read for a person: says where the feed stands, and what of their kept sights still holds. To be asked first in a transaction
    /// that sees one state of the database ([`crate::reading`]); never in one that writes: what it has not committed is not for others.
    pub async fn begin_read<'s>(&'s self, c: &mut Connection, person: PersonId) -> Result<ReadContext<'s>> {
        #[derive(sqlx::FromRow)]
        struct ValidityCheck {
            epoch: i64,
            snapshot: String,
            started: String,
            over: bool,
            looked: i32,
            other: bool,
            reaches: Option<Vec<i32>>,
            renamed: Option<Vec<Uuid>>,
            moved: Option<Vec<i32>>,
        }
        let known = self.sights.get(&person);
        let names_since = self.names.snapshot();
        let now: ValidityCheck = sqlx::query_as(
            "select s.*, pg_postmaster_start_time()::text as started, coalesce($5::float8 <= extract(epoch from now())::float8, false) as over
             from app.standing($1, $2, $3, $4) s",
        )
        .bind(known.as_ref().map(|held| held.snapshot.as_str()))
        .bind(person.0)
        .bind(&names_since)
        .bind(MAX_INCREMENTAL_SETS)
        .bind(known.as_ref().and_then(|held| held.expires_at))
        .fetch_one(&mut *c)
        .await?;
        let horizon = xmin(&now.snapshot);
        let cursor = FeedCursor { epoch: now.epoch, snapshot: crate::change_log::snapshot_of(&now.snapshot)? };
        let incarnation = format!("{} {}", now.epoch, now.started);
        let young =
            |snapshot: &str| xmin(snapshot).saturating_add(pmo_domain::cursor::ACCESS_CHANGE_WINDOW_XIDS) > horizon;
        let holds = known.filter(|held| {
            held.database_incarnation == incarnation
                && young(&held.snapshot)
                && !now.over
                && !now.other
                && now.looked < MAX_INCREMENTAL_SETS
        });
        let snapshot = now.snapshot.clone();
        let held = match holds {
            None => CachedVisibility {
                database_incarnation: incarnation.clone(),
                snapshot,
                expires_at: None,
                of: BTreeMap::new(),
            },
            // It holds in this snapshot too: what is looked through next time is short.
            Some(held) => {
                with_new_ancestor_sets(
                    c,
                    CachedVisibility { snapshot, ..(*held).clone() },
                    &now.reaches.unwrap_or_default(),
                )
                .await?
            }
        };
        let (renamed, moved) = (now.renamed.unwrap_or_default(), now.moved.unwrap_or_default());
        let most = usize::try_from(MAX_INCREMENTAL_SETS).unwrap_or(usize::MAX);
        let trusted = names_since.as_deref().is_some_and(young) && renamed.len() < most && moved.len() < most;
        let knows_names =
            self.names.advance_to(names_since.filter(|_| trusted), &incarnation, &now.snapshot, &renamed, &moved);
        let held = Arc::new(held);
        self.sights.insert(person, held.clone());
        Ok(ReadContext { person, cursor, held, knows_names, memory: self })
    }
}

/// The oldest transaction that was running in a snapshot.
fn xmin(snapshot: &str) -> i64 {
    snapshot.split(':').next().and_then(|x| x.parse().ok()).unwrap_or_default()
}

/// `held` with what it says of reaches that are new.
async fn with_new_ancestor_sets(
    c: &mut Connection,
    mut held: CachedVisibility,
    new: &[i32],
) -> Result<CachedVisibility> {
    if new.is_empty() {
        return Ok(held);
    }
    let above: Vec<(i32, Vec<Uuid>)> =
        sqlx::query_as("select id, above from app.reach where id = any ($1)").bind(new).fetch_all(c).await?;
    for sight in held.of.values_mut() {
        let mut wider = (**sight).clone();
        above.iter().for_each(|(reach, above)| wider.add_ancestor_set(*reach, above));
        *sight = Arc::new(wider);
    }
    Ok(held)
}

/// A person who reads, in one request.
pub struct ReadContext<'s> {
    /// Who.
    pub person: PersonId,
    /// Where the feed stood before anything was read.
    pub cursor: FeedCursor,
    held: Arc<CachedVisibility>,
    knows_names: bool,
    memory: &'s VisibilityCache,
}

/// A thing's name, and where it is.
#[derive(Clone)]
struct CachedTitle {
    code: EntityCode,
    title: Arc<str>,
    reach: i32,
}

/// Names that are right as of one snapshot of one incarnation of the database.
#[derive(Default)]
struct TitleCache(Mutex<TitleCacheState>);

#[derive(Default)]
struct TitleCacheState {
    database_incarnation: String,
    snapshot: Option<String>,
    of: HashMap<Uuid, CachedTitle>,
}

impl TitleCache {
    fn lock(&self) -> MutexGuard<'_, TitleCacheState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn snapshot(&self) -> Option<String> {
        self.lock().snapshot.clone()
    }

    /// Goes on from `since` to `snapshot` with what changed between; from none, forgets everything. False: another request has gone on
    /// meanwhile, and what is known may not be right in this snapshot.
    fn advance_to(
        &self,
        since: Option<String>,
        incarnation: &str,
        snapshot: &str,
        renamed: &[Uuid],
        moved: &[i32],
    ) -> bool {
        let mut known = self.lock();
        if since.is_none() || known.database_incarnation != incarnation {
            let snapshot = Some(snapshot.to_owned());
            *known = TitleCacheState { database_incarnation: incarnation.to_owned(), snapshot, of: HashMap::new() };
        } else if known.snapshot == since {
            renamed.iter().for_each(|id| drop(known.of.remove(id)));
            if !moved.is_empty() {
                known.of.retain(|_, name| !moved.contains(&name.reach));
            }
            known.snapshot = Some(snapshot.to_owned());
        }
        known.snapshot.as_deref() == Some(snapshot)
    }

    /// Those that are known, and the rest.
    fn split_cached(&self, ids: &[Uuid]) -> (Vec<(Uuid, CachedTitle)>, Vec<Uuid>) {
        let known = self.lock();
        let mut found = Vec::with_capacity(ids.len());
        let mut missing = Vec::new();
        for id in ids {
            match known.of.get(id) {
                Some(name) => found.push((*id, name.clone())),
                None => missing.push(*id),
            }
        }
        (found, missing)
    }

    /// Keeps names that were read in a snapshot, if that is the one that all the others are right in.
    fn store(&self, incarnation: &str, snapshot: &str, things: &[(Uuid, CachedTitle)]) {
        let mut known = self.lock();
        if known.database_incarnation == incarnation && known.snapshot.as_deref() == Some(snapshot) {
            if known.of.len() + things.len() > MAX_CACHED_TITLES {
                known.of.clear();
            }
            known.of.extend(things.iter().cloned());
        }
    }
}

impl ReadContext<'_> {
    /// Their sight of a type.
    pub async fn visibility(&mut self, c: &mut Connection, code: &EntityCode) -> Result<Arc<Visibility>> {
        if let Some(sight) = self.held.of.get(code) {
            return Ok(sight.clone());
        }
        let told: VisibilityRow = sqlx::query_as(
            "select sees_all, denied_all, reaches, direct, denied_reaches, denied_direct, keys, denied_keys, until from app.sight($1, $2)",
        )
        .bind(self.person.0)
        .bind(code.as_str())
        .fetch_one(c)
        .await?;
        let until = told.expires_at;
        let sight = Arc::new(Visibility::from(told));
        let mut held = (*self.held).clone();
        held.expires_at = [held.expires_at, until].into_iter().flatten().min_by(f64::total_cmp);
        held.of.insert(code.clone(), sight.clone());
        self.held = Arc::new(held);
        self.memory.sights.insert(self.person, self.held.clone());
        Ok(sight)
    }

    /// Names of things of any type, as far as they see them: id, type and title.
    pub async fn visible_titles(
        &mut self,
        c: &mut Connection,
        ids: &[Uuid],
    ) -> Result<Vec<(Uuid, EntityCode, Arc<str>)>> {
        let (mut things, missing) =
            if self.knows_names { self.memory.names.split_cached(ids) } else { (Vec::new(), ids.to_vec()) };
        if !missing.is_empty() {
            let lines: Vec<(Uuid, String, String, i32)> =
                sqlx::query_as("select id, code, title, reach from app.thing where id = any ($1)")
                    .bind(missing)
                    .fetch_all(&mut *c)
                    .await?;
            for (id, code, title, reach) in lines {
                let Ok(code) = EntityCode::new(code) else { continue };
                things.push((id, CachedTitle { code, title: title.into(), reach }));
            }
            self.memory.names.store(&self.held.database_incarnation, &self.held.snapshot, &things);
        }
        let mut seen = Vec::with_capacity(things.len());
        for (id, name) in things {
            if self.visibility(&mut *c, &name.code).await?.is_visible(id, name.reach) {
                seen.push((id, name.code, name.title));
            }
        }
        Ok(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reaches_are_a_set(members in proptest::collection::btree_set(0_i32..5000, 0..60), asked in -2_i32..6000) {
            let set: AncestorSetBitmap = members.iter().copied().collect();
            prop_assert_eq!(set.iter().collect::<BTreeSet<_>>(), members.clone());
            prop_assert_eq!(set.contains(asked), members.contains(&asked));
            prop_assert_eq!(set.is_empty(), members.is_empty());
            let (first, last) = set.ranges();
            let spelt: BTreeSet<i32> = first.iter().zip(&last).flat_map(|(first, last)| *first..=*last).collect();
            prop_assert_eq!(spelt, members);
            prop_assert!(first.iter().skip(1).zip(&last).all(|(next, last)| *next > last + 1));
        }
    }

    #[test]
    fn a_new_reach_is_seen_by_what_is_above_it() {
        let (project, secret) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut sight = Visibility { keys: [project].into(), denied_keys: [secret].into(), ..Visibility::default() };
        sight.add_ancestor_set(7, &[project]);
        sight.add_ancestor_set(8, &[project, secret]);
        sight.add_ancestor_set(9, &[]);
        let seen: Vec<i32> = (6..10).filter(|reach| sight.is_visible(Uuid::from_u128(5), *reach)).collect();
        assert_eq!(seen, [7]);
    }
}
