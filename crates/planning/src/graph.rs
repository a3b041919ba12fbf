//! Parts of the network: roles of tasks, links between them, lists by task.

use crate::model::{Lag, LinkKind};

/// Role of a task in the passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Takes no part.
    Inactive,
    /// Has dates of its own.
    Leaf,
    /// Gathers the dates of the tasks below.
    Summary,
}

/// Link between two tasks that take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) predecessor: u32,
    pub(crate) successor: u32,
    /// Position in the links of the plan.
    pub(crate) link: u32,
    pub(crate) kind: LinkKind,
    /// Table on which a working lag runs: that of the successor.
    pub(crate) lag_table: u16,
    pub(crate) lag: Lag,
}

/// Lists of numbers by task, in one array.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lists {
    start: Vec<u32>,
    items: Vec<u32>,
}

impl Lists {
    /// Returns the lists of pairs (task, item), each list in the order of the pairs.
    pub(crate) fn new(tasks: usize, pairs: impl Iterator<Item = (u32, u32)> + Clone) -> Self {
        let mut start = vec![0_u32; tasks + 1];
        for (task, _) in pairs.clone() {
            start[task as usize + 1] += 1;
        }
        for index in 1..start.len() {
            start[index] += start[index - 1];
        }
        let mut next = start.clone();
        let mut items = vec![0; start[tasks] as usize];
        for (task, item) in pairs {
            items[next[task as usize] as usize] = item;
            next[task as usize] += 1;
        }
        Self { start, items }
    }

    /// Returns true if there is no item in any list.
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Returns the items of all lists.
    pub(crate) fn items(&self) -> &[u32] {
        &self.items
    }

    /// Returns the positions at which the lists begin, and the end of the last.
    pub(crate) fn into_starts(self) -> Vec<u32> {
        self.start
    }

    /// Returns the list of a task.
    pub(crate) fn of(&self, task: usize) -> &[u32] {
        &self.items[self.start[task] as usize..self.start[task + 1] as usize]
    }
}

/// Numbers of the tasks in outline order, which tell at once what lies below what.
pub(crate) struct Outline {
    number: Vec<u32>,
    /// Number of tasks below each task, itself included.
    size: Vec<u32>,
}

impl Outline {
    /// Returns the outline by the parents of the tasks; each parent comes before its children.
    pub(crate) fn new(parent: &[u32]) -> Self {
        let mut size = vec![1; parent.len()];
        for task in (0..parent.len()).rev() {
            if parent[task] != NO_PARENT {
                size[parent[task] as usize] += size[task];
            }
        }
        let (mut number, mut next) = (vec![0; parent.len()], vec![0; parent.len()]);
        let mut next_at_top = 0;
        for (task, &above) in parent.iter().enumerate() {
            let free = if above == NO_PARENT { &mut next_at_top } else { &mut next[above as usize] };
            number[task] = *free;
            *free += size[task];
            next[task] = number[task] + 1;
        }
        Self { number, size }
    }

    /// Returns true if `task` is a descendant of `above`.
    pub(crate) fn is_below(&self, task: usize, above: usize) -> bool {
        let first = self.number[above];
        first < self.number[task] && self.number[task] - first < self.size[above]
    }
}

/// Parent of tasks at the top level.
pub(crate) const NO_PARENT: u32 = u32::MAX;

/// Returns a position as the number by which lists refer to it.
pub(crate) fn index(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outline_knows_descendants_also_of_scattered_tasks() {
        // The children of task 0 are 1, 3 and 5; those of 1 are 4 and 6; 2 and 7 stand at the top.
        let parent = [NO_PARENT, 0, NO_PARENT, 0, 1, 0, 1, NO_PARENT];
        let outline = Outline::new(&parent);
        for task in 0..parent.len() {
            let mut above = vec![false; parent.len()];
            let mut current = parent[task];
            while current != NO_PARENT {
                above[current as usize] = true;
                current = parent[current as usize];
            }
            for (other, is_above) in above.into_iter().enumerate() {
                assert_eq!(outline.is_below(task, other), is_above, "{task} below {other}");
            }
        }
    }
}
