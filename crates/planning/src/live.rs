//! A plan with its dates, kept up to date edit by edit.
//!
//! After an edit of a task, a set of dirty nodes is swept in order of the network: upwards for
//! early dates, downwards for late ones. A node whose dates come out the same stops the wave. Late
//! dates are swept as a whole when the project finish moves. An edit of links, calendars or outline
//! compiles the plan again.
//!
//! Invariant: after each change, the schedule equals [`crate::schedule`] of the plan.
//!
//! Invariant: an edit of dates or duration of a task allocates nothing, in plans that are scheduled
//! from the start and have no ALAP task.

use crate::compute::{compute, has_late_tasks, project_finish};
use crate::graph::{NO_PARENT, Role, index};
use crate::model::{Constraint, Direction, Link, Mode, Plan, Settings, Task};
use crate::moment::{Moment, Span};
use crate::network::Network;
use crate::pass::{Pass, State};
use crate::result::{Problem, Schedule};
use crate::schedule::schedule;
use crate::slack::progress;
use crate::{limits, problems};

/// Change of a plan.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// Replaces a task.
    Task {
        /// Position of the task.
        task: u32,
        /// New contents.
        entry: Task,
    },
    /// Adds a link.
    AddLink(Link),
    /// Replaces a link.
    SetLink {
        /// Position of the link.
        link: u32,
        /// New contents.
        entry: Link,
    },
    /// Removes a link; links after it move up by one position.
    RemoveLink(u32),
    /// Replaces the settings.
    Settings(Settings),
    /// Replaces the whole plan.
    Plan(Box<Plan>),
}

/// What a change did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed<'live> {
    /// Positions of the tasks whose dates or slack may have changed, in no order.
    pub tasks: &'live [u32],
    /// Finish of the project before the change.
    pub finish_before: Moment,
    /// Finish of the project after the change.
    pub finish_after: Moment,
}

/// Plan with its schedule.
#[derive(Clone, Debug)]
pub struct Live {
    plan: Plan,
    network: Network,
    schedule: Schedule,
    state: State,
    /// Problems of the plan itself, without those of its dates.
    plan_problems: Vec<Problem>,
    /// Position of each node in the order of the network.
    position: Vec<u32>,
    dirty: Bits,
    /// Tasks whose slack must be computed, and the same as a list.
    touched: Bits,
    touched_list: Vec<u32>,
    /// Whether the plan must be computed as a whole after each edit.
    whole: bool,
}

/// Set of small numbers.
#[derive(Clone, Debug, Default)]
struct Bits {
    words: Vec<u64>,
}

impl Bits {
    fn new(size: usize) -> Self {
        Self { words: vec![0; size.div_ceil(64)] }
    }

    /// Adds a number; returns whether it is new.
    fn insert(&mut self, number: u32) -> bool {
        let (word, bit) = (number as usize / 64, 1_u64 << (number % 64));
        let new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        new
    }

    fn remove(&mut self, number: u32) {
        self.words[number as usize / 64] &= !(1_u64 << (number % 64));
    }

    /// Removes and returns the smallest number in the words from `from` on.
    fn pop_first(&mut self, from: &mut usize) -> Option<u32> {
        while let Some(word) = self.words.get_mut(*from) {
            if *word != 0 {
                let bit = word.trailing_zeros();
                *word &= *word - 1;
                return Some(index(*from) * 64 + bit);
            }
            *from += 1;
        }
        None
    }

    /// Removes and returns the largest number in the words before `end`.
    fn pop_last(&mut self, end: &mut usize) -> Option<u32> {
        while let Some(last) = end.checked_sub(1) {
            let word = &mut self.words[last];
            if *word != 0 {
                let bit = 63 - word.leading_zeros();
                *word &= !(1_u64 << bit);
                return Some(index(last) * 64 + bit);
            }
            *end = last;
        }
        None
    }
}

impl Live {
    /// Computes the schedule of a plan and keeps both.
    ///
    /// Numbers beyond the range of the engine are moved to its bounds.
    pub fn new(mut plan: Plan) -> Self {
        limits::clamp_plan(&mut plan);
        let mut plan_problems = Vec::new();
        let network = Network::new(&plan, &mut plan_problems);
        let tasks = plan.tasks.len();
        let mut position = vec![0; tasks * 2];
        for (place, &node) in network.order.iter().enumerate() {
            position[node as usize] = index(place);
        }
        let mut live = Self {
            whole: plan.settings.direction == Direction::FromFinish || has_late_tasks(&plan),
            schedule: Schedule::empty(tasks),
            state: State::new(&network),
            dirty: Bits::new(network.order.len()),
            touched: Bits::new(tasks),
            touched_list: Vec::with_capacity(tasks),
            plan,
            network,
            plan_problems,
            position,
        };
        live.compute_whole();
        live
    }

    /// Returns the plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Returns the dates and slack; its list of problems is empty, see [`Live::problems`].
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Returns the problems of the plan and its dates.
    pub fn problems(&self) -> Vec<Problem> {
        let mut found = self.plan_problems.clone();
        let (mut schedule, mut state) = (self.schedule.clone(), self.state.clone());
        let (plan, network) = (&self.plan, &self.network);
        let pass = Pass { plan, network, schedule: &mut schedule, state: &mut state, place_late: false };
        problems::report(&pass, &mut found);
        found
    }

    /// Applies an edit and brings the schedule up to date; a position that does not exist is
    /// ignored.
    pub fn change(&mut self, edit: Edit) -> Changed<'_> {
        let finish_before = self.schedule.project_finish;
        match edit {
            Edit::Task { task, entry } => self.change_task(task as usize, entry),
            Edit::AddLink(link) => {
                self.plan.links.push(link);
                self.rebuild();
            }
            Edit::SetLink { link, entry } => {
                if let Some(slot) = self.plan.links.get_mut(link as usize) {
                    *slot = entry;
                    self.rebuild();
                }
            }
            Edit::RemoveLink(link) => {
                if (link as usize) < self.plan.links.len() {
                    self.plan.links.remove(link as usize);
                    self.rebuild();
                }
            }
            Edit::Settings(settings) => {
                self.plan.settings = settings;
                self.rebuild();
            }
            Edit::Plan(plan) => {
                self.plan = *plan;
                self.rebuild();
            }
        }
        Changed { tasks: &self.touched_list, finish_before, finish_after: self.schedule.project_finish }
    }

    /// Compiles and computes the plan again.
    fn rebuild(&mut self) {
        *self = Self::new(std::mem::take(&mut self.plan));
    }

    fn compute_whole(&mut self) {
        if self.plan.settings.direction == Direction::FromFinish {
            self.schedule = schedule(&self.plan);
            self.schedule.problems = Vec::new();
        } else {
            compute(&self.plan, &self.network, &mut self.schedule, &mut self.state);
        }
        self.touch_all();
    }

    fn touch_all(&mut self) {
        self.touched_list.clear();
        self.touched_list.extend((0..self.plan.tasks.len()).map(index));
    }

    fn change_task(&mut self, task: usize, entry: Task) {
        self.touched_list.clear();
        let Some(slot) = self.plan.tasks.get_mut(task) else { return };
        let entry = limits::clamp_task(entry);
        let old = std::mem::replace(slot, entry);
        let late = |task: &Task| task.constraint == Constraint::AsLateAsPossible;
        let resized = old.duration != entry.duration;
        let recompile = old.id != entry.id
            || old.parent != entry.parent
            || old.mode != entry.mode
            || old.elapsed != entry.elapsed
            || old.task_type != entry.task_type
            || old.calendar != entry.calendar
            || old.ignore_resource_calendars != entry.ignore_resource_calendars
            || late(&old) != late(&entry)
            || (resized && self.network.sized_by_parts[task])
            || self.plan.settings.start.is_none();
        if recompile {
            self.rebuild();
            return;
        }
        if self.network.role[task] == Role::Inactive {
            return;
        }
        if resized && !self.network.sized_by_parts[task] {
            self.network.length[task] = Span(entry.duration.0.clamp(0, Span::MAX.0));
        }
        self.network.done[task] = self.network.done_length(&self.plan, task);
        if self.whole {
            self.compute_whole();
            return;
        }
        if self.network.role[task] == Role::Leaf && progress(&old) != progress(&entry) {
            self.pass().update_progress(task, &old);
            self.touch_ancestors(task);
        }
        self.update(task);
    }

    /// Adds the summaries above a task to the touched tasks, because their percentages changed.
    fn touch_ancestors(&mut self, task: usize) {
        let mut above = self.network.parent[task];
        while above != NO_PARENT {
            self.touch(above);
            above = self.network.parent[above as usize];
        }
    }

    fn pass(&mut self) -> Pass<'_> {
        Pass {
            plan: &self.plan,
            network: &self.network,
            schedule: &mut self.schedule,
            state: &mut self.state,
            place_late: false,
        }
    }

    /// Recomputes what depends on a task.
    fn update(&mut self, task: usize) {
        self.touch(index(task));
        self.mark(task);
        // A percentage of the duration may be the lag of a link, whether the dates change or not.
        for &edge in self.network.out.of(task) {
            let successor = self.network.edges[edge as usize].successor;
            self.dirty.insert(self.position[successor as usize]);
        }
        let finish = self.sweep_forward();
        if finish == self.schedule.project_finish {
            for place in 0..self.touched_list.len() {
                self.mark_late(self.touched_list[place] as usize);
            }
            self.mark_above_edited(task);
            self.sweep_backward();
            self.touch_predecessors();
        } else {
            self.schedule.project_finish = finish;
            self.pass().run_backward_with_slack();
            for place in 0..self.touched_list.len() {
                self.touched.remove(self.touched_list[place]);
            }
            self.touch_all();
            return;
        }
        for place in 0..self.touched_list.len() {
            let task = self.touched_list[place] as usize;
            self.touched.remove(index(task));
            if self.network.role[task] == Role::Inactive {
                continue;
            }
            let mut pass = self.pass();
            pass.slack_of(task);
            if pass.network.role[task] == Role::Summary {
                pass.summary_duration(task);
            }
        }
    }

    fn touch(&mut self, task: u32) {
        if self.touched.insert(task) {
            self.touched_list.push(task);
        }
    }

    /// Marks the nodes of a task for the next sweep.
    fn mark(&mut self, task: usize) {
        self.dirty.insert(self.position[task]);
        if self.network.role[task] == Role::Summary {
            self.dirty.insert(self.position[self.plan.tasks.len() + task]);
        }
    }

    /// Recomputes the early dates of dirty nodes; returns the finish of the project.
    fn sweep_forward(&mut self) -> Moment {
        let tasks = self.plan.tasks.len();
        let project_before = self.schedule.project_finish;
        let (mut latest, mut last_moved_back) = (Moment::NONE, false);
        let mut word = 0;
        while let Some(place) = self.dirty.pop_first(&mut word) {
            let node = self.network.order[place as usize] as usize;
            let task = node % tasks;
            let finish_before = self.schedule.finish[task];
            let changed = self.pass().forward_node(node);
            self.touch(index(task));
            let is_start_gate = node < tasks && self.network.role[task] == Role::Summary;
            if !is_start_gate {
                let finish = self.schedule.finish[task];
                latest = latest.max(finish);
                last_moved_back |= finish_before == project_before && finish < finish_before;
            }
            if !changed {
                continue;
            }
            if is_start_gate {
                for &child in self.network.children.of(task) {
                    self.dirty.insert(self.position[child as usize]);
                }
                continue;
            }
            for &edge in self.network.out.of(task) {
                let successor = self.network.edges[edge as usize].successor;
                self.dirty.insert(self.position[successor as usize]);
            }
            let parent = self.network.parent[task];
            if parent != NO_PARENT {
                self.dirty.insert(self.position[tasks + parent as usize]);
            }
        }
        if latest < project_before && last_moved_back {
            return project_finish(&self.network, &self.schedule);
        }
        latest.max(project_before)
    }

    /// Marks the nodes whose late dates depend on the early dates of a task.
    fn mark_late(&mut self, task: usize) {
        self.mark(task);
        let parent = self.network.parent[task];
        if parent != NO_PARENT && self.plan.tasks[task].mode == Mode::Manual {
            // A manual task gives its own dates to its summary as late dates.
            self.dirty.insert(self.position[parent as usize]);
        }
        let summary = self.network.role[task] == Role::Summary;
        if summary && self.pass().gates(task).late_start.is_some() {
            // The first tasks below are held; which ones they are depends on the start of the
            // summary.
            for &child in self.network.children.of(task) {
                self.dirty.insert(self.late_position(child as usize));
            }
        }
    }

    /// Marks what depends on the entries of an edited task, such as progress or a levelling delay.
    fn mark_above_edited(&mut self, task: usize) {
        for edge in self.network.edges_into(task) {
            self.dirty.insert(self.late_position(edge.predecessor as usize));
        }
        let parent = self.network.parent[task];
        if parent != NO_PARENT {
            self.dirty.insert(self.position[parent as usize]);
        }
    }

    /// Returns the place of the node in which the limits of a task are computed.
    fn late_position(&self, task: usize) -> u32 {
        let gate = self.network.role[task] == Role::Summary;
        self.position[if gate { self.plan.tasks.len() + task } else { task }]
    }

    fn sweep_backward(&mut self) {
        let tasks = self.plan.tasks.len();
        let mut end = self.dirty.words.len();
        while let Some(place) = self.dirty.pop_last(&mut end) {
            let node = self.network.order[place as usize] as usize;
            let changed = self.pass().backward_node(node);
            let task = node % tasks;
            self.touch(index(task));
            if node >= tasks {
                // A manual summary takes its late dates from its own limits.
                self.dirty.insert(self.position[task]);
            }
            if !changed {
                continue;
            }
            if node >= tasks {
                for &child in self.network.children.of(task) {
                    self.dirty.insert(self.late_position(child as usize));
                }
                continue;
            }
            for edge in self.network.edges_into(task) {
                self.dirty.insert(self.late_position(edge.predecessor as usize));
            }
            let parent = self.network.parent[task];
            if parent != NO_PARENT {
                self.dirty.insert(self.position[parent as usize]);
            }
        }
    }

    /// Adds the predecessors of all touched tasks, because their free slack depends on them.
    fn touch_predecessors(&mut self) {
        for place in 0..self.touched_list.len() {
            let task = self.touched_list[place] as usize;
            let range = self.network.into[task] as usize..self.network.into[task + 1] as usize;
            for edge in range {
                let predecessor = self.network.edges[edge].predecessor;
                self.touch(predecessor);
            }
        }
    }
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
