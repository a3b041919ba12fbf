//! Diagnostic tables of the state of the engine, for the devtools.
//!
//! Must not: change the state or show the content of a row.

use super::Engine;
use crate::components::PendingRequest;
use crate::outbox::{EntryState, Operation};
use crate::query_key::{ListKey, Query, Topic};
use pmo_domain::{EntityRef, UnixMillis};

/// Maximum number of row queries in the table of queries.
const MAX_QUERIES: usize = 200;

/// Table of text cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextTable {
    /// Title of the table.
    pub title: &'static str,
    /// Column headings.
    pub head: &'static [&'static str],
    /// Rows of cells.
    pub rows: Vec<Vec<String>>,
}

impl TextTable {
    /// Renders the table as plain text with aligned columns.
    pub fn render(&self) -> String {
        let char_count = |text: &str| text.chars().count();
        let mut widths: Vec<usize> = self.head.iter().map(|name| char_count(name)).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = char_count(cell).max(*width);
            }
        }
        let mut text = String::new();
        let mut line = |cells: &mut dyn Iterator<Item = &str>| {
            for (cell, width) in cells.zip(&widths) {
                text.push_str(cell);
                let padding = width.saturating_sub(char_count(cell)) + 2;
                (0..padding).for_each(|_| text.push(' '));
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
    match &key.parent_filter {
        Some(filter) => format!("{} of {}", key.page_path(0, None), format_entity(&filter.parent)),
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

fn format_age(since: UnixMillis, now: UnixMillis) -> String {
    if since > UnixMillis::EPOCH { format!("{} s", now.since(since).as_secs_f64().round()) } else { "–".to_owned() }
}

impl Engine {
    /// Returns the state of the engine at `now`: session, queries, outbox and drafts.
    pub fn inspect(&self, now: UnixMillis) -> Vec<TextTable> {
        vec![self.inspect_session(), self.inspect_queries(now), self.inspect_outbox(), self.inspect_drafts(now)]
    }

    fn inspect_session(&self) -> TextTable {
        let status = self.status();
        let yes_no = |value: bool| if value { "yes" } else { "no" }.to_owned();
        let describe = |purpose: &PendingRequest| match purpose {
            PendingRequest::Row(entity) => format_entity(entity),
            PendingRequest::Rows(code, ids) => format!("{} × {code}", ids.len()),
            PendingRequest::Page(page) => format_list_key(&page.key),
            PendingRequest::Meta(key) => format!("{key:?}"),
            PendingRequest::Write(_) => "write".to_owned(),
            PendingRequest::Tree(root) => format!("tree of {}", format_entity(root)),
            PendingRequest::Changes => "changes".to_owned(),
        };
        let in_flight: Vec<String> = self.requests.purposes().map(describe).collect();
        let topics = self.realtime.subscribed();
        let (entities, lists): (Vec<&Topic>, Vec<&Topic>) = topics.partition(|topic| matches!(topic, Topic::Row(_)));
        let rows = vec![
            ("Leader", yes_no(self.leadership.is_leader())),
            ("Term", self.leadership.term().to_string()),
            ("Other tabs", self.leadership.follower_count().to_string()),
            ("Server available", yes_no(status.online)),
            ("WebSocket", format!("{:?}", self.realtime.session().state)),
            ("Consecutive connection failures", self.realtime.session().attempts.to_string()),
            ("Receives changes", yes_no(status.live)),
            ("Epoch", self.realtime.position().map_or_else(String::new, |position| position.epoch.clone())),
            ("Cursor", self.realtime.position().map_or_else(String::new, |position| position.cursor.clone())),
            ("Subscribed entities and lists", format!("{} and {}", entities.len(), lists.len())),
            ("Requests in flight", in_flight.join(", ")),
            ("Rows to fetch", self.requests.queued_rows().to_string()),
            ("Rows and lists in memory", format!("{} and {}", self.cache.rows().count(), self.cache.lists().count())),
            ("Chunks on disk, loaded", {
                let (chunks, loaded) = self.persistence.chunk_counts();
                format!("{chunks}, {loaded}")
            }),
            ("Consecutive storage failures", self.persistence.failures().to_string()),
        ];
        let rows = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
        TextTable { title: "Session", head: &["", ""], rows }
    }

    fn inspect_queries(&self, now: UnixMillis) -> TextTable {
        let mut rows = Vec::new();
        let mut add = |query: &Query, state: (bool, bool, UnixMillis), size: String| {
            let (known, stale, synced_at) = state;
            let state = if self.requests.is_in_flight(query) {
                "fetching"
            } else if self.requests.has_failed(query) {
                "failed"
            } else if !known {
                "unknown"
            } else if stale {
                "stale"
            } else {
                "fresh"
            };
            let observers = self.observers.count(query);
            rows.push(vec![
                format_query(query),
                state.to_owned(),
                format_age(synced_at, now),
                observers.to_string(),
                size,
            ]);
        };
        for (key, meta) in self.reference.iter() {
            add(&Query::Meta(*key), (true, meta.stale, meta.synced_at), String::new());
        }
        for (_, list) in self.cache.lists() {
            let size = format!("{}{}", list.slots().len(), if list.derived { ", derived" } else { "" });
            add(&Query::List(list.key.clone()), (list.loaded, list.stale, list.synced_at), size);
        }
        let observed = self.observers.queries().filter(|query| matches!(query, Query::Row(_)));
        for query in observed.take(MAX_QUERIES) {
            let Query::Row(entity) = query else { continue };
            let row = self.cache.get(entity);
            let state =
                row.map_or((false, true, UnixMillis::EPOCH), |row| (row.base.is_some(), row.stale, row.synced_at));
            add(query, state, row.map(|row| format!("version {}", row.version)).unwrap_or_default());
        }
        TextTable { title: "Queries", head: &["Query", "State", "Age", "Observers", "Content"], rows }
    }

    fn inspect_outbox(&self) -> TextTable {
        let rows = self.outbox.entries().iter().map(|entry| {
            let write = match &entry.operation {
                Operation::Update { patch, base_version, .. } => {
                    let columns: Vec<&str> = patch.keys().map(String::as_str).collect();
                    format!("update of {} on version {base_version}", columns.join(", "))
                }
                Operation::Create { .. } => "create".to_owned(),
                Operation::Delete { .. } => "delete".to_owned(),
                Operation::Link { parent, linked } => {
                    format!("{} {}", if *linked { "link to" } else { "unlink from" }, format_entity(parent))
                }
            };
            let state = match &entry.state {
                _ if entry.in_flight => "sending".to_owned(),
                EntryState::Pending if !entry.persisted => "writing to disk".to_owned(),
                EntryState::Pending => "pending".to_owned(),
                EntryState::Conflict { fields, .. } => format!("conflict: {}", fields.join(", ")),
                EntryState::Rejected { problem } => format!("rejected: {} {}", problem.status, problem.title),
            };
            vec![
                format_entity(&entry.entity),
                write,
                state,
                entry.attempts.to_string(),
                entry.idempotency_key.to_string(),
            ]
        });
        TextTable {
            title: "Outbox",
            head: &["Entity", "Write", "State", "Attempts", "Idempotency key"],
            rows: rows.collect(),
        }
    }

    fn inspect_drafts(&self, now: UnixMillis) -> TextTable {
        let rows = self.drafts.iter().map(|draft| {
            let columns: Vec<&str> = draft.current_data.keys().map(String::as_str).collect();
            let steps = format!("{} and {}", draft.undo_stack.len(), draft.redo_stack.len() + draft.stashed.len());
            vec![format_entity(&draft.entity), columns.join(", "), steps, format_age(draft.updated_at, now)]
        });
        TextTable { title: "Drafts", head: &["Entity", "Columns", "Undo and redo", "Age"], rows: rows.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_renders_with_aligned_columns() {
        let rows = [["a", "long one"], ["ü é", ""]].map(|row| row.map(str::to_owned).to_vec()).to_vec();
        let table = TextTable { title: "T", head: &["Name", "What"], rows };
        assert_eq!(table.render(), "Name  What\na     long one\nü é\n");
    }
}
