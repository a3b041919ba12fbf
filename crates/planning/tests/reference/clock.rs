//! Working time, walked day by day.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::calendar::{Calendar, Hours, hours_of, shared};
use crate::moment::{DAY, Day, Tick};

/// Which moments count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Time {
    Elapsed,
    /// The working time of a calendar.
    Of(usize),
    /// The working time that two calendars share.
    Shared(usize, usize),
}

/// A walk gives up after this many days without work.
const MAX_DAYS: Day = 4000;

pub(crate) struct Clock<'a> {
    calendars: &'a [Calendar],
    hours: RefCell<HashMap<(Time, Day), Rc<Hours>>>,
}

impl<'a> Clock<'a> {
    pub(crate) fn new(calendars: &'a [Calendar]) -> Self {
        Self { calendars, hours: RefCell::default() }
    }

    /// Returns the spans of work that begin on a day.
    fn spans(&self, time: Time, day: Day) -> Rc<Hours> {
        let mut known = self.hours.borrow_mut();
        let spans = known.entry((time, day)).or_insert_with(|| {
            let hours = match time {
                Time::Elapsed => vec![(0, DAY)],
                Time::Of(calendar) => hours_of(self.calendars, calendar, day),
                Time::Shared(a, b) => shared(&hours_of(self.calendars, a, day), &hours_of(self.calendars, b, day)),
            };
            Rc::new(hours.iter().map(|(begin, end)| (day * DAY + begin, day * DAY + end)).collect())
        });
        Rc::clone(spans)
    }

    /// Returns whether the tenth of a minute that begins at `moment` is worked.
    pub(crate) fn is_worked(&self, time: Time, moment: Tick) -> bool {
        let spans = self.spans(time, moment.div_euclid(DAY));
        spans.iter().any(|&(begin, end)| begin <= moment && moment < end)
    }

    /// Returns the first moment from `moment` on after which work happens.
    pub(crate) fn start_form(&self, time: Time, moment: Tick) -> Tick {
        let first = moment.div_euclid(DAY);
        for day in first..first + MAX_DAYS {
            if let Some(&(begin, _)) = self.spans(time, day).iter().find(|(_, end)| *end > moment) {
                return begin.max(moment);
            }
        }
        panic!("no work after {moment} in {time:?}")
    }

    /// Returns the last moment up to `moment` before which work happens.
    pub(crate) fn finish_form(&self, time: Time, moment: Tick) -> Tick {
        let last = (moment - 1).div_euclid(DAY);
        for day in (last - MAX_DAYS..=last).rev() {
            if let Some(&(_, end)) = self.spans(time, day).iter().rev().find(|(begin, _)| *begin < moment) {
                return end.min(moment);
            }
        }
        panic!("no work before {moment} in {time:?}")
    }

    /// Returns the moment at which `length` of work is done after `moment`, or before it where the
    /// length is negative.
    pub(crate) fn add(&self, time: Time, moment: Tick, length: Tick) -> Tick {
        let (mut now, mut rest) = (moment, length);
        while rest > 0 {
            let begin = self.start_form(time, now);
            let end = self.end_of_span(time, begin).min(begin + rest);
            rest -= end - begin;
            now = end;
        }
        while rest < 0 {
            let end = self.finish_form(time, now);
            let begin = self.beginning_of_span(time, end).max(end + rest);
            rest += end - begin;
            now = begin;
        }
        now
    }

    fn end_of_span(&self, time: Time, moment: Tick) -> Tick {
        let spans = self.spans(time, moment.div_euclid(DAY));
        spans.iter().find(|(begin, end)| *begin <= moment && moment < *end).unwrap().1
    }

    fn beginning_of_span(&self, time: Time, moment: Tick) -> Tick {
        let spans = self.spans(time, (moment - 1).div_euclid(DAY));
        spans.iter().find(|(begin, end)| *begin < moment && moment <= *end).unwrap().0
    }

    /// Returns the work from one moment to another; negative where the second is earlier.
    pub(crate) fn between(&self, time: Time, from: Tick, to: Tick) -> Tick {
        if from > to {
            return -self.between(time, to, from);
        }
        let days = from.div_euclid(DAY)..=to.div_euclid(DAY);
        let work = |&(begin, end): &(Tick, Tick)| (end.min(to) - begin.max(from)).max(0);
        days.map(|day| self.spans(time, day).iter().map(work).sum::<Tick>()).sum()
    }
}

#[test]
fn walking_agrees_with_counting_tenths_of_a_minute() {
    use crate::calendar::{exception, standard};
    use crate::moment::{HOUR, at};
    let mut calendar = standard();
    let holiday = at("Wed 4 Mar 00:00") / DAY;
    calendar.exceptions.push(exception(holiday, holiday, &[(9 * HOUR, 9 * HOUR + 25)]));
    let calendars = [calendar];
    let (clock, time) = (Clock::new(&calendars), Time::Of(0));
    let begin = at("Fri 27 Feb 00:00");
    let worked: Vec<bool> = (begin..begin + 8 * DAY).map(|moment| clock.is_worked(time, moment)).collect();
    let count = |from: Tick, to: Tick| (from..to).filter(|&t| worked[usize::try_from(t - begin).unwrap()]).count();
    for from in (begin..begin + 8 * DAY).step_by(1733) {
        for to in (from..begin + 8 * DAY).step_by(2711) {
            let work = Tick::try_from(count(from, to)).unwrap();
            assert_eq!(clock.between(time, from, to), work);
            assert_eq!(clock.between(time, to, from), -work);
            if work > 0 {
                assert_eq!(clock.add(time, from, work), clock.finish_form(time, to));
                assert_eq!(clock.add(time, to, -work), clock.start_form(time, from));
            }
        }
    }
}
