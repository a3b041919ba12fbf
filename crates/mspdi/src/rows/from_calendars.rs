//! Rows of calendars to calendars of a file.

use super::column::{id_of, text_of};
use super::plan_rows::PlanRows;
use crate::file::{File, FileCalendar};
use pmo_planning::{Calendar, DayHours};
use pmo_project_plan::{ProjectPlan, Row};
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

/// UIDs of the calendars of a file.
#[derive(Debug, Default)]
pub(super) struct CalendarUids {
    /// By id.
    by_id: HashMap<Uuid, i64>,
    /// Calendar of the project.
    pub(super) of_project: Option<i64>,
    next: i64,
}

impl CalendarUids {
    /// Returns the UID of a calendar.
    pub(super) fn get(&self, id: Uuid) -> Option<i64> {
        self.by_id.get(&id).copied()
    }

    fn new_uid(&mut self) -> i64 {
        self.next += 1;
        self.next
    }
}

/// Adds the calendars; a project without one gets the calendar Standard.
///
/// Calendars of people are left to [`add_calendar_of_person`].
pub(super) fn add_calendars(file: &mut File, rows: &PlanRows, built: &ProjectPlan) -> CalendarUids {
    let mut uids = CalendarUids::default();
    let ids: Vec<Uuid> = built.calendar_ids.iter().flatten().copied().collect();
    let project = built.calendar_ids.get(usize::from(built.plan.settings.calendar.0)).copied().flatten();
    if project.is_none() {
        let uid = uids.new_uid();
        uids.of_project = Some(uid);
        file.calendars.push(FileCalendar {
            uid,
            name: Some("Standard".into()),
            is_base: true,
            definition: Calendar::standard(),
            ..FileCalendar::default()
        });
    }
    for id in &ids {
        let uid = uids.new_uid();
        uids.by_id.insert(*id, uid);
    }
    uids.of_project = uids.of_project.or_else(|| project.and_then(|id| uids.get(id)));
    let row_of: HashMap<Uuid, &Row> = rows.calendars.iter().filter_map(|row| Some((id_of(row, "id")?, row))).collect();
    let mut names: BTreeMap<Option<Uuid>, Vec<Option<String>>> = BTreeMap::new();
    for exception in &rows.exceptions {
        let name = Some(text_of(exception, "name").to_owned()).filter(|name| !name.is_empty());
        names.entry(id_of(exception, "calendar_id")).or_default().push(name);
    }
    for (index, id) in built.calendar_ids.iter().enumerate() {
        let Some(id) = id else { continue };
        let mut definition = built.plan.calendars[index].clone();
        let base = definition.base.take();
        let base = base.and_then(|base| built.calendar_ids.get(usize::from(base.0)).copied().flatten());
        let base = base.and_then(|base| uids.get(base));
        if base.is_none() {
            for hours in definition.week.iter_mut().filter(|hours| **hours == DayHours::Inherited) {
                *hours = DayHours::Ranges(Vec::new());
            }
        }
        let name = row_of.get(id).map(|row| text_of(row, "name")).filter(|name| !name.is_empty()).unwrap_or("Calendar");
        let exception_names = names.remove(&Some(*id)).unwrap_or_default();
        file.calendars.push(FileCalendar {
            uid: uids.get(*id).unwrap_or_default(),
            name: Some(name.to_owned()),
            is_base: base.is_none(),
            base,
            definition,
            exception_names,
        });
    }
    uids
}

/// Returns the UID of a new calendar for a person, derived from the one that the person has.
///
/// In a file, no two people have the same calendar.
pub(super) fn add_calendar_of_person(file: &mut File, uids: &mut CalendarUids, name: &str, own: i64) -> i64 {
    let uid = uids.new_uid();
    file.calendars.push(FileCalendar {
        uid,
        name: Some(name.to_owned()),
        is_base: false,
        base: Some(own),
        ..FileCalendar::default()
    });
    uid
}
