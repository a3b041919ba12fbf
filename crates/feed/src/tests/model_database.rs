//! Model of the database as the feed sees it.

use super::*;

/// Operation of a transaction, applied at its commit.
#[derive(Clone, Debug)]
pub(crate) enum TxOp {
    Touch(usize),
    Move(usize, usize),
    Purge(usize),
    Grant(usize, usize, Option<i64>),
    Ungrant(usize, usize),
}

#[derive(Clone)]
pub(crate) struct Task {
    pub(crate) version: i64,
    pub(crate) project: usize,
}

/// Database as the feed sees it.
#[derive(Default)]
pub(crate) struct ModelDatabase {
    pub(crate) now: i64,
    pub(crate) next_xid: i64,
    pub(crate) next_seq: i64,
    pub(crate) in_progress: BTreeMap<i64, Vec<(i64, TxOp)>>,
    pub(crate) log: Vec<ChangeLogEntry>,
    pub(crate) access: Vec<(i64, AccessChange)>,
    pub(crate) tasks: BTreeMap<usize, Task>,
    pub(crate) grants: BTreeMap<(usize, usize), Option<i64>>,
    /// Pairs of person and project on which the person ever had a grant.
    pub(crate) permissions: BTreeSet<(PersonId, usize)>,
    /// Pairs of task and project in which the task ever was.
    pub(crate) locations: BTreeSet<(Uuid, usize)>,
}

impl ModelDatabase {
    pub(crate) fn new(tasks: usize) -> Self {
        let tasks = (0..tasks).map(|n| (n, Task { version: 1, project: n % PROJECTS })).collect();
        Self { now: 1_000_000, next_xid: 10, tasks, ..Self::default() }
    }
    /// Returns the time of the database.
    pub(crate) fn clock(&self) -> UnixMillis {
        UnixMillis::new(self.now)
    }
    pub(crate) fn begin(&mut self) {
        self.next_xid += 1;
        self.in_progress.insert(self.next_xid, Vec::new());
    }
    pub(crate) fn write(&mut self, which: usize, op: TxOp) {
        self.next_seq += 1;
        let seq = self.next_seq;
        if let Some((_, ops)) = self.in_progress.iter_mut().nth(which % 4) {
            ops.push((seq, op));
        }
    }
    pub(crate) fn can_view(&self, user: PersonId, project: usize) -> bool {
        (0..9).any(|p| {
            person(p) == user && self.grants.get(&(p, project)).is_some_and(|e| e.is_none_or(|e| e > self.now))
        })
    }
    /// Records the current grants and locations.
    ///
    /// At delivery, grants and locations may each be outdated by one batch. A person may therefore
    /// receive changes of an entity if they ever had a grant on a project in which it ever was.
    pub(crate) fn record_visibility(&mut self) {
        self.locations.extend(self.tasks.iter().map(|(n, t)| (task(*n), t.project)));
        let pairs = (0..3).flat_map(|p| (0..PROJECTS).map(move |project| (person(p), project)));
        let permissions: Vec<_> = pairs.filter(|(p, project)| self.can_view(*p, *project)).collect();
        self.permissions.extend(permissions);
    }
    pub(crate) fn may_have_seen(&self, person: PersonId, id: Uuid) -> bool {
        (0..PROJECTS)
            .any(|project| self.permissions.contains(&(person, project)) && self.locations.contains(&(id, project)))
    }
    pub(crate) fn row(
        &self,
        (xid, seq): (i64, i64),
        n: usize,
        action: i16,
        row: &Task,
        old: Option<usize>,
    ) -> ChangeLogEntry {
        let (version, new) = (row.version, row.project);
        let diff = old.map_or(json!({}), |old| json!({"project_id": {"old": project(old), "new": project(new)}}));
        ChangeLogEntry {
            seq,
            xid,
            code: code("task"),
            id: task(n),
            action,
            version: Version(version),
            diff,
            ancestor_set: Some(ancestor_set(new)),
            tx_started_at: UnixMillis::new(self.now),
            parents: Vec::new(),
        }
    }
    pub(crate) fn commit(&mut self, which: usize) {
        let Some(xid) = self.in_progress.keys().copied().nth(which % 4) else { return };
        let ops = self.in_progress.remove(&xid).unwrap_or_default();
        for (seq, op) in ops {
            self.record_visibility();
            match op {
                TxOp::Touch(n) => {
                    let Some(row) = self.tasks.get_mut(&n) else { continue };
                    row.version += 1;
                    let row = row.clone();
                    self.log.push(self.row((xid, seq), n, action::EDIT, &row, None));
                }
                TxOp::Move(n, to) => {
                    let Some(row) = self.tasks.get_mut(&n) else { continue };
                    let old = std::mem::replace(&mut row.project, to);
                    row.version += 1;
                    let row = row.clone();
                    self.log.push(self.row((xid, seq), n, action::EDIT, &row, Some(old)));
                    self.access.push((xid, AccessChange::AncestorSetChanged(ancestor_set(old), ancestor_set(to))));
                }
                TxOp::Purge(n) => {
                    let Some(row) = self.tasks.remove(&n) else { continue };
                    let purged = Task { version: row.version + 1, ..row };
                    self.log.push(self.row((xid, seq), n, action::DELETE, &purged, Some(purged.project)));
                }
                TxOp::Grant(p, on, expires_in) => {
                    self.grants.insert((p, on), expires_in.map(|ms| self.now + ms));
                    self.log_grant(xid, seq, p, on);
                }
                TxOp::Ungrant(p, on) => {
                    self.grants.remove(&(p, on));
                    self.log_grant(xid, seq, p, on);
                }
            }
        }
        self.record_visibility();
    }
    pub(crate) fn log_grant(&mut self, xid: i64, seq: i64, p: usize, on: usize) {
        let diff = json!({"person_id": {"new": person(p).0}, "entity_code": {"new": "project"}, "entity_instance_id": {"new": project(on)}});
        let (code, id) = (code("entity_rbac"), Uuid::from_u128(9));
        let (version, parents) = (Version(0), Vec::new());
        self.log.push(ChangeLogEntry {
            seq,
            xid,
            code,
            id,
            action: action::SHARE,
            version,
            diff,
            ancestor_set: None,
            tx_started_at: UnixMillis::EPOCH,
            parents,
        });
        self.access.push((xid, AccessChange::GrantsChanged(person(p).0)));
    }
    pub(crate) fn snapshot(&self) -> Snapshot {
        let in_progress: Vec<i64> = self.in_progress.keys().copied().collect();
        let xmax = self.next_xid + 1;
        Snapshot { xmin: in_progress.first().copied().unwrap_or(xmax), xmax, in_progress }
    }
    pub(crate) fn parents(&self, row: &ChangeLogEntry, by_parent: &[EntityCode]) -> Vec<EntityRef> {
        let current = self.tasks.iter().find(|(n, _)| task(**n) == row.id);
        let requested = current.filter(|_| by_parent.contains(&row.code));
        requested.map(|(_, t)| EntityRef::new(code("project"), project(t.project))).into_iter().collect()
    }
    /// Returns the rows of a range as the database would.
    ///
    /// Rows have the current ancestor set of their entity, or the last one if the entity was
    /// purged.
    pub(crate) fn rows(&self, range: &LogRange, by_parent: &[EntityCode], limit: usize) -> (Vec<ChangeLogEntry>, bool) {
        let mut rows: Vec<ChangeLogEntry> = self
            .log
            .iter()
            .filter(|r| r.xid >= range.from || range.finished.contains(&r.xid))
            .filter(|r| range.until.as_ref().is_none_or(|until| until.is_visible(r.xid)))
            .filter(|r| range.after.is_none_or(|after| (r.xid, r.seq) > after))
            .cloned()
            .collect();
        rows.sort_by_key(|r| (r.xid, r.seq));
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        for row in &mut rows {
            let current = self.tasks.iter().find(|(n, _)| task(**n) == row.id);
            row.ancestor_set = current.map(|(_, t)| ancestor_set(t.project)).or(row.ancestor_set);
            row.parents = self.parents(row, by_parent);
        }
        (rows, has_more)
    }
    pub(crate) fn changes(&self, range: &LogRange) -> BTreeSet<AccessChange> {
        let is_new = |xid: i64| xid >= range.from || range.finished.contains(&xid);
        let is_visible = |xid: i64| range.until.as_ref().is_none_or(|until| until.is_visible(xid));
        self.access.iter().filter(|(xid, _)| is_new(*xid) && is_visible(*xid)).map(|(_, c)| *c).collect()
    }
    pub(crate) fn respond(&self, query: &DatabaseRequest, limit: usize) -> DatabaseResponse {
        match query {
            DatabaseRequest::Poll { range: ask, by_parent } => {
                let (rows, has_more) = self.rows(ask, by_parent, limit);
                let access = if ask.after.is_some() { BTreeSet::new() } else { self.changes(ask) };
                DatabaseResponse::LogBatch(LogBatch {
                    rows,
                    access,
                    snapshot: self.snapshot(),
                    epoch: 1,
                    has_more,
                    db_now: self.clock(),
                })
            }
            DatabaseRequest::CatchUp(request) => {
                let range = LogRange { until: Some(request.until.clone()), ..LogRange::since(&request.from) };
                let (rows, has_more) = self.rows(&range, &request.by_parent, 12);
                let grant_expired =
                    request.person.is_some() && self.grants.values().any(|e| e.is_some_and(|e| e <= self.now));
                DatabaseResponse::CatchUp(
                    request.connection,
                    CatchUpBatch { rows, access: self.changes(&range), grant_expired, complete: !has_more },
                )
            }
            DatabaseRequest::Lookup(lookups) => {
                let mut result = LookupResult { types: lookups.types.then(markers), ..LookupResult::default() };
                for user in &lookups.people {
                    let grants = self.grants.iter().filter(|((p, _), _)| person(*p) == *user);
                    let to_grant = |((_, on), expires): (&(usize, usize), &Option<i64>)| HeldGrant {
                        target: project(*on),
                        permission: Permission::View,
                        inheritance: Inheritance::Cascade,
                        deny: false,
                        expires_at_ms: *expires,
                    };
                    // Like the database: expired grants are omitted.
                    let held = grants.filter(|(_, e)| e.is_none_or(|e| e > self.now)).map(to_grant).collect();
                    result.people.insert(*user, GrantSet::new(held));
                }
                for (n, t) in self.tasks.iter().filter(|(n, _)| lookups.entities.contains(&task(**n))) {
                    result.entities.insert(task(*n), (code("task"), ancestor_set(t.project)));
                }
                for n in (0..PROJECTS).filter(|n| lookups.entities.contains(&project(*n))) {
                    result.entities.insert(project(n), (code("project"), ancestor_set(n)));
                }
                for id in &lookups.ancestor_sets {
                    result.ancestor_sets.insert(*id, vec![(project(id.0 as usize), true)]);
                }
                DatabaseResponse::Lookup(result)
            }
        }
    }
    /// Returns the version that a GET would return, if the entity is visible and subscribed.
    pub(crate) fn get(&self, user: PersonId, watch: TestSubscription, id: Uuid) -> Option<i64> {
        let (_, row) = self.tasks.iter().find(|(n, _)| task(**n) == id)?;
        // A client that lists the tasks of a project caches no others.
        let listed = watch != TestSubscription::OfProject || row.project == 0;
        (listed && self.can_view(user, row.project)).then_some(row.version)
    }
}
