//! Working time of a calendar, compiled for conversions between moments and amounts of work.
//!
//! A table has a regular week and a sorted list of special days. The work before a moment is that
//! of the whole weeks, of the weekdays since, plus the difference that the special days before it
//! make. Both directions take a binary search over the special days, so the table covers all time
//! without a horizon.
//!
//! One amount of work has two moments, as Friday 17:00 and Monday 08:00: Microsoft writes a start
//! as the beginning of a range of work and a finish as the end of one.

use crate::calendar::HourRange;
use crate::moment::{DAY_TENTHS, Moment, Span};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Ranges of work of a day, in order and disjoint, with the work before each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct DayPattern {
    /// The first two ranges once more, because most days have no others; empty ones at the end of
    /// the day if there are fewer.
    first: PatternRange,
    second: PatternRange,
    ranges: Vec<PatternRange>,
    total: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct PatternRange {
    from: i32,
    to: i32,
    before: i32,
}

impl Default for DayPattern {
    fn default() -> Self {
        Self::of_ranges(Vec::new())
    }
}

impl DayPattern {
    /// Returns the pattern of ranges in any order; overlaps count once.
    pub(crate) fn new(hours: &[HourRange]) -> Self {
        let limit = DAY_TENTHS;
        let mut sorted: Vec<(i32, i32)> = hours
            .iter()
            .map(|range| (i32::from(range.from).min(limit), i32::from(range.to).min(limit)))
            .filter(|(from, to)| from < to)
            .collect();
        sorted.sort_unstable();
        let mut ranges: Vec<(i32, i32)> = Vec::new();
        for (from, to) in sorted {
            match ranges.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => ranges.push((from, to)),
            }
        }
        Self::of_ranges(ranges)
    }

    /// Returns the pattern of ranges that are in order and disjoint.
    fn of_ranges(ranges: Vec<(i32, i32)>) -> Self {
        let mut total = 0;
        let mut measure = |(from, to)| {
            let range = PatternRange { from, to, before: total };
            total += to - from;
            range
        };
        let ranges: Vec<_> = ranges.into_iter().map(&mut measure).collect();
        let none = PatternRange { from: DAY_TENTHS, to: DAY_TENTHS, before: total };
        let nth = |place: usize| ranges.get(place).copied().unwrap_or(none);
        Self { first: nth(0), second: nth(1), ranges, total }
    }

    /// Returns the pattern of the time that both have.
    fn intersect(&self, other: &Self) -> Self {
        let mut common = Vec::new();
        let (mut mine, mut theirs) = (self.ranges.iter().peekable(), other.ranges.iter().peekable());
        while let (Some(first), Some(second)) = (mine.peek(), theirs.peek()) {
            let (from, to) = (first.from.max(second.from), first.to.min(second.to));
            if from < to {
                common.push((from, to));
            }
            if first.to < second.to {
                mine.next()
            } else {
                theirs.next()
            };
        }
        Self::of_ranges(common)
    }

    /// Returns the pattern of the day read backwards.
    fn mirrored(&self) -> Self {
        let turned = self.ranges.iter().rev().map(|range| (DAY_TENTHS - range.to, DAY_TENTHS - range.from));
        Self::of_ranges(turned.collect())
    }

    /// Returns true if the day has more ranges than the first two.
    fn has_more(&self) -> bool {
        self.ranges.len() > 2
    }

    /// Returns the work before a time of the day.
    fn work_before(&self, time: i32) -> i32 {
        if !self.has_more() {
            let part = |range: &PatternRange| (time - range.from).clamp(0, range.to - range.from);
            return part(&self.first) + part(&self.second);
        }
        let mut work = 0;
        for range in &self.ranges {
            if time <= range.from {
                break;
            }
            work = range.before + time.min(range.to) - range.from;
        }
        work
    }

    /// Returns the time at which work continues after `work` was done; needs `work < total`.
    fn start_of(&self, work: i32) -> i32 {
        if !self.has_more() {
            let range = if work < self.second.before { self.first } else { self.second };
            return range.from + work - range.before;
        }
        let range = self.ranges.iter().rev().find(|range| range.before <= work);
        range.map_or(0, |range| range.from + work - range.before)
    }

    /// Returns the time at which `work` was reached; needs `0 < work <= total`.
    fn end_of(&self, work: i32) -> i32 {
        if !self.has_more() {
            let range = if work <= self.second.before { self.first } else { self.second };
            return range.from + work - range.before;
        }
        let range = self.ranges.iter().rev().find(|range| range.before < work);
        range.map_or(0, |range| range.from + work - range.before)
    }
}

/// Compiled working time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct WorkTable {
    /// Whether all time is working time; then nothing else is used.
    always: bool,
    patterns: Vec<DayPattern>,
    /// Pattern of the weekdays, in order of the days since 2000-01-01, a Saturday.
    week: [u16; 7],
    /// Work before each day of the week.
    week_before: [i32; 7],
    week_total: i32,
    special_day: Vec<i32>,
    special_pattern: Vec<u16>,
    /// Work before each special day.
    special_before: Vec<i32>,
    /// Difference to the regular week, since 2000-01-01, after the first n special days.
    special_change: Vec<i32>,
    /// Days from the first special day to the last, if they are written out.
    dense: Dense,
}

/// Days in a row with their work; empty if there are no special days, or if they lie too far apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Dense {
    first_day: i32,
    /// Work before each day, and after the last.
    before: Vec<i32>,
    pattern: Vec<u16>,
    /// Last place before which no more than n blocks of work lie, from the first day on.
    by_block: Vec<u16>,
}

impl Dense {
    /// Returns the place of a day among the days.
    fn place_of(&self, day: i32) -> Option<usize> {
        let place = usize::try_from(day.checked_sub(self.first_day)?).ok()?;
        (place < self.pattern.len()).then_some(place)
    }

    /// Returns the last place before which no more than some work lies, if it is one of the days.
    fn place_at(&self, work: i32) -> Option<usize> {
        let (&begin, &end) = (self.before.first()?, self.before.last()?);
        if work < begin || work >= end {
            return None;
        }
        let block = ((work - begin) >> BLOCK_BITS) as usize;
        let from = usize::from(*self.by_block.get(block)?);
        let to = self.by_block.get(block + 1).map_or(self.pattern.len() - 1, |place| usize::from(*place));
        Some(from + count_up_to(&self.before[from + 1..=to], work))
    }

    fn index_blocks(&mut self) {
        let (Some(&begin), Some(&end)) = (self.before.first(), self.before.last()) else { return };
        let mut place = 0;
        for block in 0..=((end - begin) >> BLOCK_BITS) {
            let work = begin + (block << BLOCK_BITS);
            while place + 2 < self.before.len() && self.before[place + 1] <= work {
                place += 1;
            }
            self.by_block.push(u16::try_from(place).unwrap_or(u16::MAX));
        }
    }
}

/// Returns how many of some numbers in order are not above another.
///
/// Days without work in a row may be many, so only a few are compared one by one.
fn count_up_to(numbers: &[i32], limit: i32) -> usize {
    if numbers.len() <= MAX_WALK {
        numbers.iter().take_while(|number| **number <= limit).count()
    } else {
        numbers.partition_point(|number| *number <= limit)
    }
}

/// Maximum number of days that are compared one by one.
const MAX_WALK: usize = 8;
/// Maximum number of days of one table that are written out: about a hundred years.
const MAX_DENSE_DAYS: i32 = 40_000;
/// Binary places of the work of a block: about three and a half hours.
const BLOCK_BITS: u32 = 11;

impl WorkTable {
    /// Returns the table in which all time is working time.
    pub(crate) fn elapsed() -> Self {
        Self { always: true, ..Self::default() }
    }

    /// Returns the table of a week (Sunday first) and of days that differ from it.
    pub(crate) fn new(week: &[DayPattern; 7], special: &BTreeMap<i32, DayPattern>) -> Self {
        let mut table = Self::default();
        let mut places = BTreeMap::new();
        for offset in 0..7_usize {
            let pattern = &week[(offset + 6) % 7];
            table.week_before[offset] = table.week_total;
            table.week_total += pattern.total;
            table.week[offset] = table.intern(pattern, &mut places);
        }
        // Work counts from 2000-01-01 also where the days before it differ from the regular week.
        // So it stays within the bounds of a moment, even with exceptions over all time.
        let differences = special.range(..0).map(|(&day, pattern)| pattern.total - table.regular_pattern(day).total);
        let mut change = differences.fold(0_i32, i32::saturating_sub);
        table.special_change.push(change);
        for (&day, pattern) in special {
            let regular = table.regular_pattern(day);
            if regular == pattern {
                continue;
            }
            let difference = pattern.total - regular.total;
            let before = table.regular_before(day).saturating_add(change);
            let index = table.intern(pattern, &mut places);
            table.special_day.push(day);
            table.special_pattern.push(index);
            table.special_before.push(before);
            change = change.saturating_add(difference);
            table.special_change.push(change);
        }
        table.always = table.special_day.is_empty() && table.week_total == 7 * DAY_TENTHS;
        table
    }

    /// Writes out the days with exceptions and those between, which makes conversions faster.
    ///
    /// `budget` is the number of days that further tables may write out.
    pub(crate) fn write_out_days(&mut self, budget: &mut usize) {
        let (Some(&first), Some(&last)) = (self.special_day.first(), self.special_day.last()) else { return };
        let days = usize::try_from(last - first).unwrap_or(usize::MAX).saturating_add(1);
        if last - first >= MAX_DENSE_DAYS || days > *budget {
            return;
        }
        *budget -= days;
        self.dense.first_day = first;
        let mut work = self.special_before.first().copied().unwrap_or(0);
        let mut next = 0;
        for day in first..=last {
            let mut pattern = self.week[day.rem_euclid(7) as usize];
            if self.special_day.get(next) == Some(&day) {
                pattern = self.special_pattern[next];
                next += 1;
            }
            self.dense.before.push(work);
            self.dense.pattern.push(pattern);
            work += self.pattern(pattern).total;
        }
        self.dense.before.push(work);
        self.dense.index_blocks();
    }

    /// Returns what the working time depends on, whether days are written out or not.
    fn contents(&self) -> impl PartialEq + Hash {
        (self.always, &self.week, &self.patterns, &self.special_day, &self.special_pattern)
    }

    /// Returns true if both have the same working time.
    pub(crate) fn has_same_time(&self, other: &Self) -> bool {
        self.contents() == other.contents()
    }

    /// Returns a number that is the same for the same working time.
    pub(crate) fn hash_of_time(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.contents().hash(&mut hasher);
        hasher.finish()
    }

    /// Returns the number of days that differ from the regular week.
    pub(crate) fn exception_days(&self) -> usize {
        self.special_day.len()
    }

    /// Returns true if the days with exceptions are written out.
    pub(crate) fn has_written_days(&self) -> bool {
        !self.dense.pattern.is_empty()
    }

    /// Returns the number of special days before which no more than some work lies.
    fn special_before_work(&self, work: i32) -> usize {
        match (self.special_before.first(), self.special_before.last()) {
            (Some(&first), _) if work < first => 0,
            (_, Some(&last)) if work >= last => self.special_before.len(),
            _ => self.special_before.partition_point(|&before| before <= work),
        }
    }

    /// Returns the table of the time that both tables have.
    pub(crate) fn intersect(&self, other: &Self) -> Self {
        if self.always {
            return other.clone();
        }
        if other.always {
            return self.clone();
        }
        let week =
            std::array::from_fn(|weekday| self.weekday_pattern(weekday).intersect(other.weekday_pattern(weekday)));
        let days = self.special_day.iter().chain(&other.special_day);
        let special = days.map(|&day| (day, self.day_pattern(day).intersect(other.day_pattern(day)))).collect();
        Self::new(&week, &special)
    }

    /// Returns the table turned around in time: the moment `t` becomes `-t`.
    pub(crate) fn mirrored(&self) -> Self {
        if self.always {
            return self.clone();
        }
        // Day d becomes day -1 - d, so weekday w (0 for Sunday) becomes 4 - w: Saturday, the
        // weekday of day 0, becomes the weekday of day -1, a Friday.
        let week = std::array::from_fn(|weekday| self.weekday_pattern((11 - weekday) % 7).mirrored());
        let days = self.special_day.iter().zip(&self.special_pattern);
        let special = days.map(|(day, pattern)| (-1 - day, self.pattern(*pattern).mirrored())).collect();
        Self::new(&week, &special)
    }

    /// Returns true if nobody ever works.
    pub(crate) fn is_empty(&self) -> bool {
        !self.always && self.patterns.iter().all(|pattern| pattern.total == 0)
    }

    /// Returns the place of a pattern; `places` has those of the patterns so far.
    fn intern<'day>(&mut self, pattern: &'day DayPattern, places: &mut BTreeMap<&'day DayPattern, u16>) -> u16 {
        if let Some(&known) = places.get(pattern) {
            return known;
        }
        if self.patterns.len() < usize::from(u16::MAX) {
            self.patterns.push(pattern.clone());
        }
        let place = u16::try_from(self.patterns.len() - 1).unwrap_or(u16::MAX);
        places.insert(pattern, place);
        place
    }

    fn pattern(&self, index: u16) -> &DayPattern {
        const NONE: PatternRange = PatternRange { from: DAY_TENTHS, to: DAY_TENTHS, before: 0 };
        static EMPTY: DayPattern = DayPattern { first: NONE, second: NONE, ranges: Vec::new(), total: 0 };
        self.patterns.get(usize::from(index)).unwrap_or(&EMPTY)
    }

    fn regular_pattern(&self, day: i32) -> &DayPattern {
        self.pattern(self.week[day.rem_euclid(7) as usize])
    }

    /// Returns the pattern of a weekday, 0 for Sunday.
    fn weekday_pattern(&self, weekday: usize) -> &DayPattern {
        self.pattern(self.week[(weekday + 1) % 7])
    }

    fn day_pattern(&self, day: i32) -> &DayPattern {
        match self.special_day.binary_search(&day) {
            Ok(index) => self.pattern(self.special_pattern[index]),
            Err(_) => self.regular_pattern(day),
        }
    }

    /// Returns the work of the regular week before a day, since 2000-01-01.
    fn regular_before(&self, day: i32) -> i32 {
        let weeks = day.div_euclid(7).saturating_mul(self.week_total);
        weeks.saturating_add(self.week_before[day.rem_euclid(7) as usize])
    }

    /// Returns the work before a moment, since 2000-01-01; negative before that.
    pub(crate) fn work_before(&self, moment: Moment) -> i32 {
        if self.always {
            return moment.0;
        }
        let day = moment.0.div_euclid(DAY_TENTHS);
        let time = moment.0.rem_euclid(DAY_TENTHS);
        if let Some(place) = self.dense.place_of(day) {
            return self.dense.before[place] + self.pattern(self.dense.pattern[place]).work_before(time);
        }
        let index = match (self.special_day.first(), self.special_day.last()) {
            (Some(&first), _) if day <= first => 0,
            (_, Some(&last)) if day > last => self.special_day.len(),
            _ => self.special_day.partition_point(|&special| special < day),
        };
        if self.special_day.get(index) == Some(&day) {
            self.special_before[index].saturating_add(self.pattern(self.special_pattern[index]).work_before(time))
        } else {
            let before = self.regular_before(day).saturating_add(self.special_change[index]);
            before.saturating_add(self.regular_pattern(day).work_before(time))
        }
    }

    /// Returns the moment at which work continues after an amount of work: a start.
    pub(crate) fn start_at(&self, work: i32) -> Moment {
        if self.always {
            return Moment::clamped(i64::from(work));
        }
        if let Some(place) = self.dense.place_at(work) {
            let day = i64::from(self.dense.first_day) + place as i64;
            let pattern = self.pattern(self.dense.pattern[place]);
            return moment_at(day, pattern.start_of(work - self.dense.before[place]));
        }
        let count = self.special_before_work(work);
        if let Some(last) = count.checked_sub(1) {
            let pattern = self.pattern(self.special_pattern[last]);
            let rest = work.saturating_sub(self.special_before[last]);
            if rest < pattern.total {
                return moment_at(i64::from(self.special_day[last]), pattern.start_of(rest));
            }
        }
        if self.week_total == 0 {
            return if count < self.special_before.len() { self.next_special(count) } else { Moment::MAX };
        }
        let regular = work.saturating_sub(self.special_change[count]);
        let (week, rest) = (regular.div_euclid(self.week_total), regular.rem_euclid(self.week_total));
        // The day is the last one that begins with no more than the rest, which skips days without
        // work.
        let offset = (0..7).rev().find(|&day| self.week_before[day] <= rest).unwrap_or(0);
        let pattern = self.pattern(self.week[offset]);
        moment_at(i64::from(week) * 7 + offset as i64, pattern.start_of(rest - self.week_before[offset]))
    }

    /// Returns the moment at which an amount of work was reached: a finish.
    pub(crate) fn finish_at(&self, work: i32) -> Moment {
        if self.always {
            return Moment::clamped(i64::from(work));
        }
        if let Some(place) = self.dense.place_at(work.saturating_sub(1)) {
            let day = i64::from(self.dense.first_day) + place as i64;
            let pattern = self.pattern(self.dense.pattern[place]);
            return moment_at(day, pattern.end_of(work - self.dense.before[place]));
        }
        let count = self.special_before_work(work.saturating_sub(1));
        if let Some(last) = count.checked_sub(1) {
            let pattern = self.pattern(self.special_pattern[last]);
            let rest = work.saturating_sub(self.special_before[last]);
            if rest <= pattern.total {
                return moment_at(i64::from(self.special_day[last]), pattern.end_of(rest));
            }
        }
        if self.week_total == 0 {
            return if count > 0 || (self.special_day.is_empty() && work > 0) { Moment::MAX } else { Moment::MIN };
        }
        let regular = work.saturating_sub(self.special_change[count]).saturating_sub(1);
        let (week, rest) = (regular.div_euclid(self.week_total), regular.rem_euclid(self.week_total) + 1);
        let offset = (0..7).find(|&day| self.week_before[day] < rest && self.week_end(day) >= rest).unwrap_or(0);
        let pattern = self.pattern(self.week[offset]);
        moment_at(i64::from(week) * 7 + offset as i64, pattern.end_of(rest - self.week_before[offset]))
    }

    fn week_end(&self, day: usize) -> i32 {
        self.week_before.get(day + 1).copied().unwrap_or(self.week_total)
    }

    /// Returns the start of work on the first special day with work from a position on.
    fn next_special(&self, from: usize) -> Moment {
        let days = self.special_day.iter().zip(&self.special_pattern).skip(from);
        let mut working = days.filter(|(_, pattern)| self.pattern(**pattern).total > 0);
        working
            .next()
            .map_or(Moment::MAX, |(&day, &pattern)| moment_at(i64::from(day), self.pattern(pattern).start_of(0)))
    }

    /// Returns the moment itself if work is done right after it, otherwise the next such moment.
    pub(crate) fn start_form(&self, moment: Moment) -> Moment {
        if self.always { moment } else { self.start_at(self.work_before(moment)) }
    }

    /// Returns the moment itself if work was done right before it, otherwise the last such moment.
    pub(crate) fn finish_form(&self, moment: Moment) -> Moment {
        if self.always { moment } else { self.finish_at(self.work_before(moment)) }
    }

    /// Returns the moment after some work; a negative amount goes back, zero gives the moment
    /// itself.
    pub(crate) fn add(&self, moment: Moment, work: Span) -> Moment {
        match work.0 {
            0 => moment,
            1.. => self.finish_at(self.work_before(moment).saturating_add(work.0)),
            _ => self.start_at(self.work_before(moment).saturating_add(work.0)),
        }
    }

    /// Returns the work between two moments; negative if the second is earlier.
    pub(crate) fn between(&self, from: Moment, to: Moment) -> Span {
        Span(self.work_before(to).saturating_sub(self.work_before(from)))
    }
}

fn moment_at(day: i64, time: i32) -> Moment {
    Moment::clamped(day * i64::from(DAY_TENTHS) + i64::from(time))
}

#[cfg(test)]
mod tests;
