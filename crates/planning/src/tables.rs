//! The work tables of a plan: one per distinct calendar and per pair of calendars in use.

use crate::calendar::CalendarIndex;
use crate::compile_calendar::compile;
use crate::model::Plan;
use crate::result::Problem;
use crate::work_table::WorkTable;
use std::collections::HashMap;

/// Position of the table in which all time is working time.
pub(crate) const ELAPSED: u16 = 0;

/// Maximum number of days that the exceptions of all calendars of a plan may name.
const MAX_PLAN_EXCEPTION_DAYS: usize = 2_000_000;

/// Maximum number of days of exceptions that tables of two calendars together may have.
const MAX_PAIR_DAYS: usize = 5_000_000;

/// Maximum number of days that all tables of a plan may write out.
const MAX_WRITTEN_DAYS: usize = 1_000_000;

/// Work tables, by position.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tables {
    tables: Vec<WorkTable>,
    /// Position of the table of each calendar that is compiled, by position of the calendar.
    by_calendar: Vec<Option<u16>>,
    /// Positions of the tables by [`WorkTable::hash_of_time`].
    by_hash: HashMap<u64, Vec<u16>>,
    /// Number of days that exceptions of further calendars may name.
    budget: usize,
    /// Number of days of exceptions that further tables of two calendars may have.
    pair_budget: usize,
    /// Number of days that further tables may write out.
    days_to_write: usize,
    /// Tables of the time that two tables have; `None` if they have none.
    pairs: HashMap<(u16, u16), Option<u16>>,
}

impl Tables {
    /// Returns the table of elapsed time, and the tables of all calendars of the plan.
    pub(crate) fn new(plan: &Plan, problems: &mut Vec<Problem>) -> Self {
        let mut tables = Self {
            tables: vec![WorkTable::elapsed()],
            budget: MAX_PLAN_EXCEPTION_DAYS,
            pair_budget: MAX_PAIR_DAYS,
            days_to_write: MAX_WRITTEN_DAYS,
            ..Self::default()
        };
        for position in 0..plan.calendars.len().min(usize::from(u16::MAX)) {
            let calendar = CalendarIndex(u16::try_from(position).unwrap_or(u16::MAX));
            tables.calendar(plan, calendar, problems);
        }
        tables
    }

    /// Returns the table at a position.
    pub(crate) fn get(&self, index: u16) -> &WorkTable {
        // Every index comes from this collection.
        &self.tables[usize::from(index)]
    }

    /// Returns the position of the table of a calendar.
    pub(crate) fn calendar(&mut self, plan: &Plan, calendar: CalendarIndex, problems: &mut Vec<Problem>) -> u16 {
        let place = usize::from(calendar.0);
        if let Some(Some(known)) = self.by_calendar.get(place) {
            return *known;
        }
        let table = compile(&plan.calendars, calendar, &mut self.budget, problems);
        let index = self.intern(table);
        if self.by_calendar.len() <= place {
            self.by_calendar.resize(place + 1, None);
        }
        self.by_calendar[place] = Some(index);
        index
    }

    /// Returns the position of the time that two tables have, or `None` if they have none, or if
    /// the tables of all pairs get too large.
    pub(crate) fn pair(&mut self, first: u16, second: u16) -> Option<u16> {
        if first == second {
            return Some(first);
        }
        if let Some(&known) = self.pairs.get(&(first, second)) {
            return known;
        }
        let (one, other) = (self.get(first), self.get(second));
        let left = self.pair_budget.checked_sub(one.exception_days().saturating_add(other.exception_days()));
        let table = left.map(|_| one.intersect(other)).filter(|table| !table.is_empty());
        self.pair_budget = left.unwrap_or(self.pair_budget);
        let index = table.map(|table| self.intern(table));
        self.pairs.insert((first, second), index);
        index
    }

    fn intern(&mut self, mut table: WorkTable) -> u16 {
        if table.has_same_time(self.get(ELAPSED)) {
            return ELAPSED;
        }
        let alike = self.by_hash.entry(table.hash_of_time()).or_default();
        if let Some(known) = alike.iter().find(|known| self.tables[usize::from(**known)].has_same_time(&table)) {
            return *known;
        }
        let Ok(index) = u16::try_from(self.tables.len()) else { return ELAPSED };
        alike.push(index);
        table.write_out_days(&mut self.days_to_write);
        self.tables.push(table);
        index
    }

    /// Turns every table around in time.
    pub(crate) fn mirror(&mut self) {
        let mut days_to_write = MAX_WRITTEN_DAYS;
        for table in &mut self.tables {
            let mut turned = table.mirrored();
            if table.has_written_days() {
                turned.write_out_days(&mut days_to_write);
            }
            *table = turned;
        }
    }
}
