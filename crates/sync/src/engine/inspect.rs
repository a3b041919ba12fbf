//! What the engine holds and does, as tables for people who look into it. It must never change anything, nor tell what a row holds.

use super::{Engine, PendingRequest};
use crate::outbox::{EntryState, Operation};
use crate::query_key::{ListKey, Query, Topic};
use pmo_domain::EntityRef;

/// Queries that are shown.
const MAX_QUERIES: usize = 200;

/// A table of texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextTable {
    /// What it is of.
    pub title: &'static str,
    /// The columns' names.
    pub head: &'static [&'static str],
    /// Its rows.
    pub rows: Vec<Vec<String>>,
}

impl TextTable {
    /// The table as text, in columns that stand below each other.
    pub fn render(&self) -> String {
        let letters = |text: &str| text.chars().count();
        let mut widths: Vec<usize> = self.head.iter().map(|name| letters(name)).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = letters(cell).max(*width);
            }
        }
        let mut text = String::new();
        let mut line = |cells: &mut dyn Iterator<Item = &str>| {
            for (cell, width) in cells.zip(&widths) {
                text.push_str(cell);
                let room = width.saturating_sub(letters(cell)) + 2;
                (0..room).for_each(|_| text.push(' '));
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        };
        line(&mut self.head.iter().copied());
        for row in &self.rows {
            line(&mut row.iter().map(String::as_str));
        }
        text
    }
}

fn format_list_key(key: &ListKey) -> String {
    match &key.below {
        Some(below) => format!("{} of {}", key.page_path(0, None), format_entity(&below.parent)),
        None => key.page_path(0, None),
    }
}

fn format_entity(entity: &EntityRef) -> String {
    format!("{} …{}", entity.code, &entity.id.to_string()[28..])
}

fn format_query(query: &Query) -> String {
    match query {
        Query::Row(entity) => format_entity(entity),
        Query::List(key) => format_list_key(key),
        Query::Meta(key) => format!("{key:?}"),
    }
}

fn format_age(since: f64, now: f64) -> String {
    if since > 0.0 { format!("{} s", ((now - since) / 1000.0).round()) } else { "–".to_owned() }
}

impl Engine {
    /// Everything that can be told of the engine at `now`: whether it leads and how it is linked, queries with state, age and observers, the outbox, drafts.
    pub fn inspect(&self, now: f64) -> Vec<TextTable> {
        vec![self.inspect_session(), self.inspect_queries(now), self.inspect_outbox(), self.inspect_drafts(now)]
    }

    fn inspect_session(&self) -> TextTable {
        let status = self.status();
        let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        let words_of = |purpose: &PendingRequest| match purpose {
            PendingRequest::Row(entity) => format_entity(entity),
            PendingRequest::Rows(code, ids) => format!("{} × {code}", ids.len()),
            PendingRequest::Page { key, .. } => format_list_key(key),
            PendingRequest::Meta(key) => format!("{key:?}"),
            PendingRequest::Write(_) => "a write".to_owned(),
            PendingRequest::Tree(root) => format!("all of {}", format_entity(root)),
            PendingRequest::Changes => "changes".to_owned(),
        };
        let under_way: Vec<String> = self.requests.values().map(words_of).collect();
        let topics = self.subscribed.iter();
        let (things, lists): (Vec<&Topic>, Vec<&Topic>) = topics.partition(|topic| matches!(topic, Topic::Row(_)));
        let rows = vec![
            ("This tab leads", yes(self.leader)),
            ("Term", self.tabs.term.to_string()),
            ("Other tabs", self.followers().to_string()),
            ("Server reachable", yes(status.online)),
            ("Socket", format!("{:?}", self.session.link)),
            ("Sockets that failed in a row", self.session.attempts.to_string()),
            ("Hears of changes", yes(status.live)),
            ("Epoch", self.cursor.as_ref().map_or_else(String::new, |place| place.epoch.clone())),
            ("Cursor", self.cursor.as_ref().map_or_else(String::new, |place| place.cursor.clone())),
            ("Watched things and lists", format!("{} and {}", things.len(), lists.len())),
            ("Requests under way", under_way.join(", ")),
            ("Rows to be asked for", self.rows_to_fetch.values().map(|ids| ids.len()).sum::<usize>().to_string()),
            ("Rows and lists in memory", format!("{} and {}", self.cache.rows().count(), self.cache.lists().count())),
            ("Chunks on the device, read", {
                let read = self.persistence.chunks.values().filter(|chunk| chunk.read).count();
                format!("{}, {read}", self.persistence.chunks.len())
            }),
            ("Device refused in a row", self.persistence.failures.to_string()),
        ];
        let rows = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
        TextTable { title: "Session", head: &["", ""], rows }
    }

    fn inspect_queries(&self, now: f64) -> TextTable {
        let mut rows = Vec::new();
        let mut add = |query: &Query, state: (bool, bool, f64), size: String| {
            let (known, stale, synced_at) = state;
            let state = if self.in_flight.contains_key(query) {
                "being asked for"
            } else if self.failed.contains(query) {
                "failed"
            } else if !known {
                "unknown"
            } else if stale {
                "stale"
            } else {
                "fresh"
            };
            let observers = self.observer_counts.get(query).copied().unwrap_or_default();
            rows.push(vec![
                format_query(query),
                state.to_owned(),
                format_age(synced_at, now),
                observers.to_string(),
                size,
            ]);
        };
        for (key, meta) in self.metas.iter() {
            add(&Query::Meta(*key), (true, meta.stale, meta.synced_at), String::new());
        }
        for (_, list) in self.cache.lists() {
            let size = format!("{}{}", list.slots().len(), if list.derived { ", from the whole" } else { "" });
            add(&Query::List(list.key.clone()), (list.loaded, list.stale, list.synced_at), size);
        }
        let looked_at = self.observer_counts.keys().filter(|query| matches!(query, Query::Row(_)));
        for query in looked_at.take(MAX_QUERIES) {
            let Query::Row(entity) = query else { continue };
            let row = self.cache.get(entity);
            let state = row.map_or((false, true, 0.0), |row| (row.base.is_some(), row.stale, row.synced_at));
            add(query, state, row.map(|row| format!("version {}", row.version)).unwrap_or_default());
        }
        TextTable { title: "Queries", head: &["Query", "State", "Age", "Observers", "Holds"], rows }
    }

    fn inspect_outbox(&self) -> TextTable {
        let rows = self.outbox.iter().map(|entry| {
            let what = match &entry.operation {
                Operation::Update { patch, base_version, .. } => {
                    let columns: Vec<&str> = patch.keys().map(String::as_str).collect();
                    format!("change of {} on version {base_version}", columns.join(", "))
                }
                Operation::Create { .. } => "new".to_owned(),
                Operation::Delete { .. } => "delete".to_owned(),
                Operation::Link { parent, linked: below } => {
                    format!("{} {}", if *below { "below" } else { "no more below" }, format_entity(parent))
                }
            };
            let state = match &entry.state {
                _ if entry.in_flight => "being sent".to_owned(),
                EntryState::Pending if !entry.persisted => "on its way to disk".to_owned(),
                EntryState::Pending => "waits".to_owned(),
                EntryState::Conflict { fields, .. } => format!("conflict: {}", fields.join(", ")),
                EntryState::Rejected { problem } => format!("refused: {} {}", problem.status, problem.title),
            };
            vec![
                format_entity(&entry.entity),
                what,
                state,
                entry.attempts.to_string(),
                entry.idempotency_key.to_string(),
            ]
        });
        TextTable { title: "Outbox", head: &["Thing", "Write", "State", "Tries", "Key"], rows: rows.collect() }
    }

    fn inspect_drafts(&self, now: f64) -> TextTable {
        let rows = self.drafts.values().map(|draft| {
            let columns: Vec<&str> = draft.current_data.keys().map(String::as_str).collect();
            let steps = format!("{} and {}", draft.undo_stack.len(), draft.redo_stack.len() + draft.stashed.len());
            vec![format_entity(&draft.entity), columns.join(", "), steps, format_age(draft.updated_at, now)]
        });
        TextTable { title: "Drafts", head: &["Thing", "Columns", "Undo and redo", "Age"], rows: rows.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_stands_in_columns() {
        let rows = [["a", "long one"], ["ü é", ""]].map(|row| row.map(str::to_owned).to_vec()).to_vec();
        let table = TextTable { title: "T", head: &["Name", "What"], rows };
        assert_eq!(table.render(), "Name  What\na     long one\nü é\n");
    }
}
