//! Order of the nodes: predecessors first (Kahn 1962); cycles are found, reported and cut.

use crate::graph::{Edge, Lists, NO_PARENT, Role, index};
use crate::model::Plan;
use crate::result::Problem;

/// Maximum number of cycles that are reported one by one; links of all further ones are ignored.
const MAX_CYCLES: usize = 20;

/// Returns the nodes in order; removes edges that close cycles.
///
/// A leaf is a node with its own position. A summary has a start gate at its position and a finish
/// gate at `tasks + position`.
pub(crate) fn sort(
    plan: &Plan,
    role: &[Role],
    parent: &[u32],
    edges: &mut Vec<Edge>,
    problems: &mut Vec<Problem>,
) -> Vec<u32> {
    if let Some(order) = outline_order(role, parent, edges) {
        return order;
    }
    for _ in 0..=MAX_CYCLES {
        let graph = Graph::new(role, parent, edges);
        let (order, waiting) = graph.sort();
        if order.len() == graph.nodes {
            return order;
        }
        let cycle = graph.find_cycle(&waiting);
        let tasks = role.len();
        let mut path: Vec<_> = cycle.iter().map(|&node| node as usize % tasks).collect();
        path.dedup();
        if path.len() > 1 && path.first() == path.last() {
            path.pop();
        }
        problems.push(Problem::Cycle(path.iter().map(|&task| plan.tasks[task].id).collect()));
        let cut = graph.last_link_of(&cycle, edges);
        edges.retain(|edge| Some(edge.link) != cut);
    }
    // A plan with this many cycles gets an order without the links of what is left.
    let graph = Graph::new(role, parent, edges);
    let (_, waiting) = graph.sort();
    edges.retain(|edge| !waiting[end_node(role, edge.predecessor)] || !waiting[edge.successor as usize]);
    Graph::new(role, parent, edges).sort().0
}

/// Returns the nodes in order of the outline, if all links lead forwards in it.
///
/// Neighbors in this order are neighbors in memory, so it is preferred to others.
fn outline_order(role: &[Role], parent: &[u32], edges: &[Edge]) -> Option<Vec<u32>> {
    let tasks = role.len();
    let mut order = Vec::with_capacity(tasks + tasks / 4);
    let mut place = vec![0_u32; tasks * 2];
    let mut open: Vec<u32> = Vec::new();
    let mut emit = |node: u32, order: &mut Vec<u32>| {
        place[node as usize] = index(order.len());
        order.push(node);
    };
    for task in 0..tasks {
        if role[task] == Role::Inactive {
            continue;
        }
        while open.last().is_some_and(|&last| last != parent[task]) {
            if let Some(closed) = open.pop() {
                emit(index(tasks) + closed, &mut order);
            }
        }
        // A parent that was closed before makes the outline one that is not in order.
        if parent[task] != NO_PARENT && open.is_empty() {
            return None;
        }
        emit(index(task), &mut order);
        if role[task] == Role::Summary {
            open.push(index(task));
        }
    }
    while let Some(closed) = open.pop() {
        emit(index(tasks) + closed, &mut order);
    }
    let forwards = |edge: &Edge| place[end_node(role, edge.predecessor)] < place[edge.successor as usize];
    edges.iter().all(forwards).then_some(order)
}

/// Returns the node whose dates links from a task use.
fn end_node(role: &[Role], task: u32) -> usize {
    if role[task as usize] == Role::Summary { role.len() + task as usize } else { task as usize }
}

struct Graph {
    /// Successors by node.
    next: Lists,
    waiting_for: Vec<u32>,
    part: Vec<bool>,
    nodes: usize,
}

impl Graph {
    fn new(role: &[Role], parent: &[u32], edges: &[Edge]) -> Self {
        let tasks = role.len();
        let mut pairs: Vec<(u32, u32)> = Vec::with_capacity(edges.len() + 2 * tasks);
        let mut part = vec![false; tasks * 2];
        for task in 0..tasks {
            if role[task] == Role::Inactive {
                continue;
            }
            part[task] = true;
            if role[task] == Role::Summary {
                part[tasks + task] = true;
                pairs.push((index(task), index(tasks + task)));
            }
            if parent[task] != NO_PARENT {
                pairs.push((parent[task], index(task)));
                pairs.push((index(end_node(role, index(task))), index(tasks) + parent[task]));
            }
        }
        pairs.extend(edges.iter().map(|edge| (index(end_node(role, edge.predecessor)), edge.successor)));
        let mut waiting_for = vec![0; tasks * 2];
        for (_, after) in &pairs {
            waiting_for[*after as usize] += 1;
        }
        let nodes = part.iter().filter(|part| **part).count();
        Self { next: Lists::new(tasks * 2, pairs.into_iter()), waiting_for, part, nodes }
    }

    /// Returns the nodes in order, and which nodes wait for a cycle.
    fn sort(&self) -> (Vec<u32>, Vec<bool>) {
        let mut waiting_for = self.waiting_for.clone();
        let mut order: Vec<u32> = Vec::with_capacity(self.nodes);
        order.extend((0..self.part.len()).filter(|&node| self.part[node] && waiting_for[node] == 0).map(index));
        let mut position = 0;
        while let Some(&node) = order.get(position) {
            position += 1;
            for &after in self.next.of(node as usize) {
                waiting_for[after as usize] -= 1;
                if waiting_for[after as usize] == 0 {
                    order.push(after);
                }
            }
        }
        let waiting = waiting_for.iter().zip(&self.part).map(|(count, part)| *part && *count > 0).collect();
        (order, waiting)
    }

    /// Returns the nodes of a cycle, in order.
    fn find_cycle(&self, waiting: &[bool]) -> Vec<u32> {
        // Every waiting node has a waiting predecessor, so a walk backwards must come back.
        let mut before = vec![u32::MAX; waiting.len()];
        for node in (0..waiting.len()).filter(|&node| waiting[node]) {
            for &after in self.next.of(node) {
                if waiting[after as usize] && before[after as usize] == u32::MAX {
                    before[after as usize] = index(node);
                }
            }
        }
        let Some(start) = waiting.iter().position(|waiting| *waiting) else { return Vec::new() };
        let mut seen_at = vec![usize::MAX; waiting.len()];
        let mut path = Vec::new();
        let mut node = start;
        while node < seen_at.len() && seen_at[node] == usize::MAX {
            seen_at[node] = path.len();
            path.push(index(node));
            node = before[node] as usize;
        }
        let mut cycle = if node < seen_at.len() { path.split_off(seen_at[node]) } else { path };
        cycle.reverse();
        cycle
    }

    /// Returns the last link, by position, between two nodes of a cycle that follow each other.
    fn last_link_of(&self, cycle: &[u32], edges: &[Edge]) -> Option<u32> {
        let tasks = self.part.len() / 2;
        let mut after = vec![u32::MAX; self.part.len()];
        for (position, &node) in cycle.iter().enumerate() {
            after[node as usize] = cycle[(position + 1) % cycle.len()];
        }
        let follows = |edge: &&Edge| {
            let gate = after[tasks + edge.predecessor as usize];
            after[edge.predecessor as usize] == edge.successor || gate == edge.successor
        };
        edges.iter().filter(follows).map(|edge| edge.link).max()
    }
}
