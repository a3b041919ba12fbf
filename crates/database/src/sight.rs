//! What a person sees of a type, worked out once and kept while it holds. A kept sight is compared with the database before each use
//! (`app.access_change`), in the statement that asks where the feed stands: it must never be used on the strength of its age alone.

use crate::sql::{Bound, Conditions};
use crate::{Connection, Result};
use pmo_domain::{EntityCode, FeedCursor, PersonId};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use uuid::Uuid;

/// Changes of access are told for a million transactions; a sight is given up long before.
const TRUSTED_TRANSACTIONS: i64 = 500_000;
/// More new reaches than this at once, and a sight is worked out anew.
const MOST_NEW: i32 = 2000;

/// A set of reaches, one bit for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reaches(Vec<u8>);

impl Reaches {
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

    fn holds(&self, conditions: &mut Conditions) -> String {
        let bits = i32::try_from(self.0.len() * 8).unwrap_or(i32::MAX);
        let (bits, set) = (conditions.bind(Bound::Number(bits)), conditions.bind(Bound::Bytes(self.0.clone())));
        format!("case when t.reach < {bits} then get_bit({set}, t.reach) = 1 else false end")
    }
}

impl FromIterator<i32> for Reaches {
    fn from_iter<I: IntoIterator<Item = i32>>(all: I) -> Self {
        let mut set = Self::default();
        all.into_iter().for_each(|reach| set.insert(reach));
        set
    }
}

/// What a person's grants mean for lists of a type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// A grant on the whole type shows every instance.
    pub sees_all: bool,
    /// A deny on the whole type hides every instance.
    pub denied_all: bool,
    /// What has one of these above it is seen,
    pub reaches: Reaches,
    /// and so are these;
    pub direct: BTreeSet<Uuid>,
    /// but not what has one of these above it,
    pub denied_reaches: Reaches,
    /// nor these.
    pub denied_direct: BTreeSet<Uuid>,
    /// What a reach holds that gives sight,
    keys: BTreeSet<Uuid>,
    /// or takes it away.
    denied_keys: BTreeSet<Uuid>,
}

/// A row of `app.sight`.
#[derive(sqlx::FromRow)]
struct Told {
    sees_all: bool,
    denied_all: bool,
    reaches: Vec<i32>,
    direct: Vec<Uuid>,
    denied_reaches: Vec<i32>,
    denied_direct: Vec<Uuid>,
    keys: Vec<Uuid>,
    denied_keys: Vec<Uuid>,
    until: Option<f64>,
}

impl Sight {
    /// Whether a thing with this reach is seen.
    pub fn sees(&self, id: Uuid, reach: i32) -> bool {
        let given = self.sees_all || self.reaches.contains(reach) || self.direct.contains(&id);
        given && !self.denied_all && !self.denied_reaches.contains(reach) && !self.denied_direct.contains(&id)
    }

    /// Whether anything could be.
    pub fn sees_any(&self) -> bool {
        !self.denied_all && (self.sees_all || !self.reaches.is_empty() || !self.direct.is_empty())
    }

    /// Narrows conditions on `t` to what is seen, a row at a time.
    pub(crate) fn narrow(&self, conditions: &mut Conditions) {
        if !self.sees_all {
            let mut ways = Vec::new();
            if !self.reaches.is_empty() {
                ways.push(self.reaches.holds(conditions));
            }
            if !self.direct.is_empty() {
                let direct = conditions.bind(Bound::Ids(self.direct.iter().copied().collect()));
                ways.push(format!("t.id = any ({direct})"));
            }
            conditions.push(format!("({})", ways.join(" or ")));
        }
        self.deny(conditions);
    }

    /// Takes out what is denied.
    pub(crate) fn deny(&self, conditions: &mut Conditions) {
        if !self.denied_reaches.is_empty() {
            let denied = self.denied_reaches.holds(conditions);
            conditions.push(format!("not {denied}"));
        }
        if !self.denied_direct.is_empty() {
            let direct = conditions.bind(Bound::Ids(self.denied_direct.iter().copied().collect()));
            conditions.push(format!("t.id <> all ({direct})"));
        }
    }

    /// Weighs a reach that is new.
    fn extend(&mut self, reach: i32, above: &[Uuid]) {
        if above.iter().any(|key| self.keys.contains(key)) {
            self.reaches.insert(reach);
        }
        if above.iter().any(|key| self.denied_keys.contains(key)) {
            self.denied_reaches.insert(reach);
        }
    }

    fn bytes(&self) -> usize {
        let ids = self.direct.len() + self.denied_direct.len() + self.keys.len() + self.denied_keys.len();
        200 + self.reaches.0.len() + self.denied_reaches.0.len() + ids * 24
    }
}

impl From<Told> for Sight {
    fn from(told: Told) -> Self {
        Self {
            sees_all: told.sees_all,
            denied_all: told.denied_all,
            reaches: told.reaches.into_iter().collect(),
            direct: told.direct.into_iter().collect(),
            denied_reaches: told.denied_reaches.into_iter().collect(),
            denied_direct: told.denied_direct.into_iter().collect(),
            keys: told.keys.into_iter().collect(),
            denied_keys: told.denied_keys.into_iter().collect(),
        }
    }
}

/// A person's sights, and the moment from which on changes must be looked for.
#[derive(Clone)]
struct Held {
    /// Which database this is, and since when it runs: transaction numbers mean nothing in another, nor after a failover.
    incarnation: String,
    /// The oldest snapshot that one of them was worked out in, as `pg_snapshot` writes it.
    snapshot: String,
    /// When the first of the grants ends, in seconds since 1970; the database's own clock says whether that is over.
    until: Option<f64>,
    of: BTreeMap<EntityCode, Arc<Sight>>,
}

/// Counts bytes.
#[derive(Clone)]
struct Size;

impl Weighter<PersonId, Arc<Held>> for Size {
    fn weight(&self, _: &PersonId, held: &Arc<Held>) -> u64 {
        let bytes: usize = held.of.values().map(|sight| sight.bytes()).sum();
        u64::try_from(bytes + 200).unwrap_or(u64::MAX)
    }
}

/// The sights of those who asked last. Shared by all requests of a process.
pub struct Sights(Cache<PersonId, Arc<Held>, Size>);

impl Sights {
    /// Keeps at most so many bytes.
    pub fn new(bytes: u64) -> Self {
        let people = usize::try_from(bytes / 16_384).unwrap_or(16);
        Self(Cache::with_weighter(people, bytes, Size))
    }

    /// Begins to read for a person: says where the feed stands, and what of their kept sights still holds. To be asked first in a transaction
    /// that sees one state of the database ([`crate::reading`]); never in one that writes: what it has not committed is not for others.
    pub async fn reader<'s>(&'s self, c: &mut Connection, person: PersonId) -> Result<Reader<'s>> {
        let known = self.0.get(&person);
        let since = known.as_ref().map(|held| held.snapshot.as_str());
        let until = known.as_ref().and_then(|held| held.until);
        type Standing = (i64, String, String, String, bool, i32, bool, Option<Vec<i32>>);
        let (epoch, incarnation, horizon, snapshot, over, looked, other, new): Standing = sqlx::query_as(
            "select e.epoch, e.epoch || ' ' || pg_postmaster_start_time(), pg_snapshot_xmin(s.s)::text, s.s::text,
                    coalesce($4::float8 <= extract(epoch from now())::float8, false), c.looked, c.other, c.reaches
             from (select pg_current_snapshot()) s (s), (select coalesce((select epoch from app.feed_epoch), 1)) e (epoch),
                  app.access_changes($1, $2, $3) c",
        )
        .bind(since)
        .bind(person.0)
        .bind(MOST_NEW)
        .bind(until)
        .fetch_one(&mut *c)
        .await?;
        let cursor = FeedCursor { epoch, horizon: horizon.parse().unwrap_or_default() };
        let holds = known.filter(|held| {
            let xmin = held.snapshot.split(':').next().and_then(|x| x.parse::<i64>().ok()).unwrap_or_default();
            let young = xmin.saturating_add(TRUSTED_TRANSACTIONS) > cursor.horizon;
            held.incarnation == incarnation && young && !over && !other && looked < MOST_NEW
        });
        let held = match holds {
            None => Held { incarnation, snapshot, until: None, of: BTreeMap::new() },
            // It holds in this snapshot too: what is looked through next time is short.
            Some(held) => extended(c, Held { snapshot, ..(*held).clone() }, &new.unwrap_or_default()).await?,
        };
        let held = Arc::new(held);
        self.0.insert(person, held.clone());
        Ok(Reader { person, cursor, held, sights: self })
    }
}

/// `held` with what it says of reaches that are new.
async fn extended(c: &mut Connection, mut held: Held, new: &[i32]) -> Result<Held> {
    if new.is_empty() {
        return Ok(held);
    }
    let above: Vec<(i32, Vec<Uuid>)> =
        sqlx::query_as("select id, above from app.reach where id = any ($1)").bind(new).fetch_all(c).await?;
    for sight in held.of.values_mut() {
        let mut wider = (**sight).clone();
        above.iter().for_each(|(reach, above)| wider.extend(*reach, above));
        *sight = Arc::new(wider);
    }
    Ok(held)
}

/// A person who reads, in one request.
pub struct Reader<'s> {
    /// Who.
    pub person: PersonId,
    /// Where the feed stood before anything was read.
    pub cursor: FeedCursor,
    held: Arc<Held>,
    sights: &'s Sights,
}

impl Reader<'_> {
    /// Their sight of a type.
    pub async fn sight(&mut self, c: &mut Connection, code: &EntityCode) -> Result<Arc<Sight>> {
        if let Some(sight) = self.held.of.get(code) {
            return Ok(sight.clone());
        }
        let told: Told = sqlx::query_as(
            "select sees_all, denied_all, reaches, direct, denied_reaches, denied_direct, keys, denied_keys, until from app.sight($1, $2)",
        )
        .bind(self.person.0)
        .bind(code.as_str())
        .fetch_one(c)
        .await?;
        let until = told.until;
        let sight = Arc::new(Sight::from(told));
        let mut held = (*self.held).clone();
        held.until = [held.until, until].into_iter().flatten().min_by(f64::total_cmp);
        held.of.insert(code.clone(), sight.clone());
        self.held = Arc::new(held);
        self.sights.0.insert(self.person, self.held.clone());
        Ok(sight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reaches_are_a_set(members in proptest::collection::btree_set(0_i32..5000, 0..60), asked in -2_i32..6000) {
            let set: Reaches = members.iter().copied().collect();
            prop_assert_eq!(set.iter().collect::<BTreeSet<_>>(), members.clone());
            prop_assert_eq!(set.contains(asked), members.contains(&asked));
            prop_assert_eq!(set.is_empty(), members.is_empty());
        }
    }

    #[test]
    fn a_new_reach_is_seen_by_what_is_above_it() {
        let (project, secret) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut sight = Sight { keys: [project].into(), denied_keys: [secret].into(), ..Sight::default() };
        sight.extend(7, &[project]);
        sight.extend(8, &[project, secret]);
        sight.extend(9, &[]);
        let seen: Vec<i32> = (6..10).filter(|reach| sight.sees(Uuid::from_u128(5), *reach)).collect();
        assert_eq!(seen, [7]);
    }
}
