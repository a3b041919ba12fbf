//! Presence: the other users who view the same entities as the tabs of this user.
//!
//! The leader sends the entities viewed in all visible tabs over the WebSocket, and forwards the
//! viewers to the other tabs. Without a WebSocket, no other user is known to be present. Entities
//! are keyed by path and users are maps of names, because these types are used elsewhere too: other
//! types would add to the download size.

use super::Engine;
use crate::event::Effect;
use crate::query_key::Query;
use crate::reconnect::ConnectionState;
use pmo_domain::protocol::{ClientMessage, PresentUser, ViewedEntity};
use pmo_domain::{EntityCode, EntityRef};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Maximum number of viewed entities sent to the server; each visible tab views one.
const MAX_VIEWED: usize = 32;

/// Other viewers by entity path: names by user id.
pub(super) type PresenceByPath = BTreeMap<String, BTreeMap<Uuid, String>>;

/// Returns the path of an entity, for example `task/01a2…`.
fn to_path(entity: &EntityRef) -> String {
    format!("{}/{}", entity.code, entity.id)
}

/// Parses the path of an entity; inverse of [`to_path`].
fn from_path(path: &str) -> Option<EntityRef> {
    let (code, id) = path.split_once('/')?;
    Some(EntityRef::new(EntityCode::new(code).ok()?, id.parse().ok()?))
}

/// Presence state of this tab.
#[derive(Default)]
pub(super) struct Presence {
    /// Path of the entity that the page of this tab is about; empty if there is none.
    page: String,
    /// Paths that were last sent over the WebSocket; `None` if none were sent over the current one.
    sent: Option<Vec<String>>,
    /// Other viewers of the viewed entities.
    others: PresenceByPath,
}

impl Engine {
    /// Records that a page about an entity was opened or closed.
    pub(super) fn set_viewing(&mut self, entity: &EntityRef, on: bool) {
        let path = to_path(entity);
        if on {
            self.presence.page = path;
        } else if self.presence.page == path {
            self.presence.page.clear();
        }
        self.tabs.announce_pending = true;
    }

    /// Returns the path of the viewed entity; empty while the tab is hidden.
    pub(super) fn viewed_path(&self) -> String {
        if self.visible { self.presence.page.clone() } else { String::new() }
    }

    /// Returns the other users who view an entity.
    pub fn present_users(&self, entity: &EntityRef) -> Vec<PresentUser> {
        let others = self.presence.others.get(&to_path(entity)).into_iter().flatten();
        others.map(|(id, name)| PresentUser { person_id: *id, name: name.clone() }).collect()
    }

    /// Sends the known viewers of an entity to a tab that has just opened its page.
    pub(super) fn broadcast_presence(&mut self, path: &str) {
        if let Some(people) = self.presence.others.get(path) {
            self.tabs.outgoing_update.presence.insert(path.to_owned(), people.clone());
        }
    }

    /// Applies presence received from the leader.
    pub(super) fn on_presence_update(&mut self, update: PresenceByPath) {
        for (path, people) in update {
            self.set_presence(path, people);
        }
    }

    /// Sets the viewers of an entity, and forwards them to the followers.
    fn set_presence(&mut self, path: String, people: BTreeMap<Uuid, String>) {
        self.changed.extend(from_path(&path).map(Query::Row));
        if self.leader {
            self.tabs.outgoing_update.presence.insert(path.clone(), people.clone());
        }
        if people.is_empty() {
            self.presence.others.remove(&path);
        } else {
            self.presence.others.insert(path, people);
        }
    }

    /// Applies presence received from the server.
    pub(super) fn on_server_presence(&mut self, entity: &EntityRef, people: Vec<PresentUser>) {
        let mut named = BTreeMap::new();
        for user in people {
            named.insert(user.person_id, user.name);
        }
        self.set_presence(to_path(entity), named);
    }

    /// Causes the viewed entities to be sent again.
    ///
    /// The server may have skipped entities that did not exist or were not visible to the user
    /// before.
    pub(super) fn reset_sent_presence(&mut self) {
        self.presence.sent = None;
    }

    /// Sends the viewed entities to the server if they changed; runs at the end of every event.
    pub(super) fn send_presence(&mut self) {
        if !self.leader {
            self.presence.sent = None;
            return;
        }
        // Not sorted: sorting another type adds about one kilobyte to the download.
        let mut paths: Vec<String> = Vec::new();
        let open = self.session.state == ConnectionState::Open;
        if open {
            let mut all = self.follower_viewed_paths();
            all.insert(0, self.viewed_path());
            all.truncate(MAX_VIEWED);
            for path in all {
                if !path.is_empty() && !paths.contains(&path) {
                    paths.push(path);
                }
            }
        }
        let sent = self.presence.sent.take().unwrap_or_default();
        let same = sent.len() == paths.len() && sent.iter().all(|path| paths.contains(path));
        if open && !same {
            let to_viewed = |entity: EntityRef| ViewedEntity { entity_code: entity.code, entity_id: entity.id };
            let viewed = paths.iter().filter_map(|path| from_path(path)).map(to_viewed).collect();
            self.effects.push(Effect::Send(ClientMessage::Viewing { entities: viewed }));
        }
        if !(open && same) {
            let mut left: Vec<String> = self.presence.others.keys().cloned().collect();
            left.retain(|path| !paths.contains(path));
            for path in left {
                self.set_presence(path, BTreeMap::new());
            }
        }
        self.presence.sent = open.then_some(paths);
    }
}
