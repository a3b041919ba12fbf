//! Baselines: one snapshot of all tasks for each number.

use super::column::row;
use super::mapping::Mapping;
use pmo_project_plan::baseline::{Snapshot, TaskSnapshot};
use serde_json::json;
use std::collections::BTreeMap;

/// Adds the rows of the baselines.
pub(super) fn add_baselines(mapping: &mut Mapping<'_, '_>) {
    let mut snapshots: BTreeMap<i64, Snapshot> = BTreeMap::new();
    for (position, row) in mapping.converted.rows.iter().enumerate() {
        for baseline in &mapping.file.tasks[*row].baselines {
            // Number 0 to 10; a baseline without dates says nothing.
            let (Some(start), Some(finish)) = (baseline.start, baseline.finish) else { continue };
            if !(0..=10).contains(&baseline.number) {
                continue;
            }
            let snapshot = snapshots.entry(baseline.number).or_default();
            snapshot.finish = if snapshot.finish.is_none() { finish } else { snapshot.finish.max(finish) };
            // Files state hundredths of the currency, snapshots ten-thousandths.
            let cost = baseline.cost.filter(|cost| *cost != 0).map(|cost| cost.saturating_mul(100));
            let task = TaskSnapshot {
                start,
                finish,
                duration: baseline.duration.unwrap_or_default(),
                work: baseline.work,
                cost,
            };
            snapshot.tasks.insert(mapping.task_ids[position], task);
        }
    }
    for (number, snapshot) in snapshots {
        let name = if number == 0 { "Baseline".to_owned() } else { format!("Baseline {number}") };
        let id = mapping.new_id();
        mapping.rows.baselines.push(row(json!({
            "id": id, "name": name, "project_id": mapping.context.project_id, "snapshot": snapshot.to_json(),
            "metadata": {"mspdi_number": number},
        })));
    }
}
