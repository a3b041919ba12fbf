//! Outline order: a parent precedes its children, siblings are in the order of rank and id.

use crate::TaskInput;
use crate::project_plan::{InputFault, Missing};
use std::collections::HashMap;
use uuid::Uuid;

/// Tasks in outline order.
#[derive(Debug, Default)]
pub(crate) struct Outline {
    /// Index of each task in the input, by position.
    pub(crate) inputs: Vec<usize>,
    /// Position of the parent, by position.
    pub(crate) parents: Vec<Option<u32>>,
    /// Position by id.
    pub(crate) positions: HashMap<Uuid, u32>,
    pub(crate) missing: Vec<Missing>,
    pub(crate) faults: Vec<InputFault>,
}

/// Sorts the tasks that `is_member` selects.
///
/// A task whose parent is not a member is at the top level; it is reported if the parent is not
/// among the tasks at all. Of tasks with the same id, the first counts. Tasks that contain each
/// other form a ring; the first of them is put at the top level.
pub(crate) fn sort(tasks: &[TaskInput], is_member: impl Fn(&TaskInput) -> bool) -> Outline {
    let mut outline = Outline::default();
    let mut members: Vec<usize> = (0..tasks.len()).filter(|&index| is_member(&tasks[index])).collect();
    let sort_key = |index: usize| (tasks[index].rank.is_none(), tasks[index].rank.as_deref(), tasks[index].id);
    members.sort_by(|a, b| sort_key(*a).cmp(&sort_key(*b)));
    let mut index_of: HashMap<Uuid, usize> = HashMap::with_capacity(members.len());
    members.retain(|&index| {
        let is_new = index_of.insert(tasks[index].id, index).is_none();
        if !is_new {
            outline.faults.push(InputFault::DuplicateTask(tasks[index].id));
        }
        is_new
    });
    // After `retain`, the entry of a duplicate must be the task that stayed.
    for &index in &members {
        index_of.insert(tasks[index].id, index);
    }
    // Children of each task in order, as linked lists.
    let mut first_child: Vec<Option<usize>> = vec![None; tasks.len()];
    let mut next_sibling: Vec<Option<usize>> = vec![None; tasks.len()];
    let mut roots = Vec::new();
    for &index in members.iter().rev() {
        match tasks[index].parent_id.and_then(|parent| index_of.get(&parent)) {
            Some(&parent) => next_sibling[index] = first_child[parent].replace(index),
            None => roots.push(index),
        }
    }
    roots.reverse();
    report_missing_parents(tasks, &roots, &mut outline.missing);
    let mut placed = vec![false; tasks.len()];
    let mut visit = |outline: &mut Outline, root: usize| {
        // Entries of the stack are a task and the position of its parent.
        let mut stack = vec![(root, None)];
        while let Some((index, parent)) = stack.pop() {
            if parent.is_some() {
                stack.extend(next_sibling[index].map(|sibling| (sibling, parent)));
            }
            if std::mem::replace(&mut placed[index], true) {
                continue;
            }
            let position = u32::try_from(outline.inputs.len()).unwrap_or(u32::MAX);
            outline.inputs.push(index);
            outline.parents.push(parent);
            outline.positions.insert(tasks[index].id, position);
            stack.extend(first_child[index].map(|child| (child, Some(position))));
        }
    };
    for &root in &roots {
        visit(&mut outline, root);
    }
    if outline.inputs.len() < members.len() {
        for &index in &members {
            if !outline.positions.contains_key(&tasks[index].id) {
                outline.faults.push(InputFault::OutlineRing(tasks[index].id));
                visit(&mut outline, index);
            }
        }
    }
    outline
}

fn report_missing_parents(tasks: &[TaskInput], roots: &[usize], missing: &mut Vec<Missing>) {
    let orphans: Vec<_> = roots.iter().filter_map(|&root| Some((tasks[root].id, tasks[root].parent_id?))).collect();
    if orphans.is_empty() {
        return;
    }
    let known: HashMap<Uuid, ()> = tasks.iter().map(|task| (task.id, ())).collect();
    let absent = orphans.into_iter().filter(|(_, parent)| !known.contains_key(parent));
    missing.extend(absent.map(|(task, parent)| Missing::Parent { task, parent }));
}
