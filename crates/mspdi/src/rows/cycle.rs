//! Circles of links.

/// Returns tasks that wait for each other, if there are such tasks; links are pairs of positions.
///
/// Repeatedly removes tasks without predecessors (Kahn 1962); if tasks remain, the remaining links
/// contain a cycle.
pub(super) fn find_cycle(tasks: usize, links: &[(usize, usize)]) -> Option<Vec<usize>> {
    let mut in_degree = vec![0_usize; tasks];
    let mut successors: Vec<Vec<usize>> = vec![Vec::new(); tasks];
    let mut predecessors: Vec<Vec<usize>> = vec![Vec::new(); tasks];
    for &(predecessor, successor) in links {
        in_degree[successor] += 1;
        successors[predecessor].push(successor);
        predecessors[successor].push(predecessor);
    }
    let mut ready: Vec<usize> = (0..tasks).filter(|task| in_degree[*task] == 0).collect();
    while let Some(task) = ready.pop() {
        for &next in &successors[task] {
            in_degree[next] -= 1;
            if in_degree[next] == 0 {
                ready.push(next);
            }
        }
    }
    // Every remaining task has a remaining predecessor, so following predecessors must revisit a
    // task.
    let mut current = (0..tasks).find(|task| in_degree[*task] > 0)?;
    let mut place = vec![None; tasks];
    let mut path = Vec::new();
    while place[current].is_none() {
        place[current] = Some(path.len());
        path.push(current);
        current = predecessors[current].iter().copied().find(|task| in_degree[*task] > 0)?;
    }
    let mut cycle = path.split_off(place[current]?);
    cycle.reverse();
    Some(cycle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn cycle_is_found_if_and_only_if_it_exists(edges in proptest::collection::vec((0..8_usize, 0..8_usize), 0..16)) {
            let links: Vec<_> = edges.into_iter().filter(|(a, b)| a != b).collect();
            // The expected result comes from a transitive closure: a task with a path to itself is
            // on a cycle.
            let mut reachable = [[false; 8]; 8];
            for (a, b) in &links { reachable[*a][*b] = true; }
            for k in 0..8 { for i in 0..8 { for j in 0..8 { reachable[i][j] |= reachable[i][k] && reachable[k][j]; } } }
            let found = find_cycle(8, &links);
            prop_assert_eq!(found.is_some(), (0..8).any(|i| reachable[i][i]));
            let cycle = found.unwrap_or_default();
            for (i, task) in cycle.iter().enumerate() {
                let next = cycle[(i + 1) % cycle.len()];
                prop_assert!(links.contains(&(*task, next)));
            }
        }
    }
}
