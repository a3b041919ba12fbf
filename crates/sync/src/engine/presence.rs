//! Presence: the other users who view the same entities as the tabs of this user.
//!
//! The leader sends the entities viewed in all visible tabs over the WebSocket, and forwards the
//! viewers to the other tabs. Without a WebSocket, no other user is known to be present.

use super::Engine;
use crate::components::{PresenceByPath, named_viewers};
use pmo_domain::EntityRef;
use pmo_domain::protocol::PresentUser;
use std::collections::BTreeMap;
use uuid::Uuid;

impl Engine {
    pub(super) fn open_page(&mut self, entity: &EntityRef) {
        self.presence.open_page(entity);
        self.leadership.announce();
    }

    pub(super) fn close_page(&mut self, entity: &EntityRef) {
        self.presence.close_page(entity);
        self.leadership.announce();
    }

    /// Returns the path of the viewed entity; empty while the tab is hidden.
    pub(super) fn viewed_path(&self) -> &str {
        if self.leadership.is_visible() { self.presence.page() } else { "" }
    }

    /// Returns the other users who view an entity.
    pub fn present_users(&self, entity: &EntityRef) -> Vec<PresentUser> {
        self.presence.users(entity)
    }

    /// Sends the known viewers of an entity to a tab that has just opened its page.
    pub(super) fn broadcast_presence(&mut self, path: &str) {
        if let Some(people) = self.presence.viewers_at(path) {
            self.leadership.update().presence.insert(path.to_owned(), people.clone());
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
        if self.leadership.is_leader() {
            self.leadership.update().presence.insert(path.clone(), people.clone());
        }
        if let Some(entity) = self.presence.set_viewers(path, people) {
            self.observers.mark_row_changed(entity);
        }
    }

    /// Applies presence received from the server.
    pub(super) fn on_server_presence(&mut self, entity: &EntityRef, people: Vec<PresentUser>) {
        let (path, people) = named_viewers(entity, people);
        self.set_presence(path, people);
    }

    /// Sends the viewed entities to the server if they changed; runs at the end of every event.
    pub(super) fn send_presence(&mut self) {
        if !self.leadership.is_leader() {
            return self.presence.reset_sent();
        }
        let viewed = self.realtime.is_open().then(|| {
            let own = std::iter::once(self.viewed_path().to_owned());
            own.chain(self.leadership.viewed_paths().cloned()).collect()
        });
        let (message, left) = self.presence.set_viewed(viewed);
        self.effects.extend(message);
        for path in left {
            self.set_presence(path, BTreeMap::new());
        }
    }
}
