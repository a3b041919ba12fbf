//! Visible rows of the task tree.

use crate::ui::format;
use pmo_domain::{Row, sort};
use pmo_sync::RowView;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// Visible row of the outline.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct OutlineRow {
    pub(super) id: Uuid,
    /// Depth in the tree, from 1.
    pub(super) level: usize,
    /// Number of descendants.
    pub(super) descendants: usize,
    /// Whether the children are shown.
    pub(super) open: bool,
}

pub(super) fn id_of(row: &Row, column: &str) -> Option<Uuid> {
    row.get(column).and_then(Value::as_str).and_then(|id| id.parse().ok())
}

/// Returns the visible rows of the outline in depth-first order.
///
/// Siblings are sorted by rank. Descendants of collapsed rows are omitted.
pub(super) fn outline(rows: &[RowView], collapsed: &HashSet<Uuid>) -> Vec<OutlineRow> {
    let ids: HashSet<Uuid> = rows.iter().filter_map(|r| id_of(&r.data, "id")).collect();
    let mut children_by_parent: HashMap<Option<Uuid>, Vec<(&Row, Uuid)>> = HashMap::new();
    for row in rows {
        let Some(id) = id_of(&row.data, "id") else { continue };
        // A row with a parent that is not loaded is shown at the top level.
        let parent = id_of(&row.data, "parent__task_id").filter(|p| ids.contains(p) && *p != id);
        children_by_parent.entry(parent).or_default().push((&row.data, id));
    }
    for siblings in children_by_parent.values_mut() {
        *siblings = sort::sorted_by_key(std::mem::take(siblings), |(row, id)| {
            let rank = format::text(row, "rank");
            // A locally created row has no rank yet and comes last.
            (rank.is_empty(), rank, format::outline_key(&format::text(row, "wbs")), *id)
        });
    }
    fn descendant_count(id: Uuid, children_by_parent: &HashMap<Option<Uuid>, Vec<(&Row, Uuid)>>) -> usize {
        children_by_parent.get(&Some(id)).map_or(0, |children| {
            children.iter().map(|(_, child)| 1 + descendant_count(*child, children_by_parent)).sum()
        })
    }
    let mut outline_rows = Vec::with_capacity(rows.len());
    let mut stack: Vec<(Uuid, usize)> =
        children_by_parent.get(&None).into_iter().flatten().rev().map(|(_, id)| (*id, 1)).collect();
    while let Some((id, level)) = stack.pop() {
        let children = children_by_parent.get(&Some(id));
        let open = !collapsed.contains(&id);
        outline_rows.push(OutlineRow {
            id,
            level,
            descendants: if children.is_some() { descendant_count(id, &children_by_parent) } else { 0 },
            open,
        });
        if open {
            stack.extend(children.into_iter().flatten().rev().map(|(_, child)| (*child, level + 1)));
        }
    }
    outline_rows
}
