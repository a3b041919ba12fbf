//! Presence: the other users who view the same entities as the tabs of this user.
//!
//! Entities are keyed by path and users are maps of names, because these types are used elsewhere
//! too: other types would add to the download size.

use crate::event::Effect;
use pmo_domain::protocol::{ClientMessage, PresentUser, ViewedEntity};
use pmo_domain::{EntityCode, EntityRef};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Maximum number of viewed entities sent to the server; each visible tab views one.
const MAX_VIEWED: usize = 32;

/// Other viewers by entity path: names by user id.
pub(crate) type PresenceByPath = BTreeMap<String, BTreeMap<Uuid, String>>;

/// Returns the path of an entity, for example `task/01a2…`.
fn to_path(entity: &EntityRef) -> String {
    format!("{}/{}", entity.code, entity.id)
}

/// Parses the path of an entity; inverse of [`to_path`].
fn from_path(path: &str) -> Option<EntityRef> {
    let (code, id) = path.split_once('/')?;
    Some(EntityRef::new(EntityCode::new(code).ok()?, id.parse().ok()?))
}

/// Entities viewed in this tab, and the other users who view the same entities.
#[derive(Default)]
pub(crate) struct Presence {
    /// Path of the entity that the page of this tab is about; empty if there is none.
    page: String,
    /// Paths that were last sent over the WebSocket; `None` if none were sent over the current one.
    sent: Option<Vec<String>>,
    /// Other viewers of the viewed entities.
    others: PresenceByPath,
}

impl Presence {
    /// Records that a page about an entity was opened.
    pub(crate) fn open_page(&mut self, entity: &EntityRef) {
        self.page = to_path(entity);
    }

    /// Records that a page about an entity was closed.
    pub(crate) fn close_page(&mut self, entity: &EntityRef) {
        if self.page == to_path(entity) {
            self.page.clear();
        }
    }

    /// Returns the path of the entity that the page of this tab is about; empty if there is none.
    pub(crate) fn page(&self) -> &str {
        &self.page
    }

    /// Returns the other users who view an entity.
    pub(crate) fn users(&self, entity: &EntityRef) -> Vec<PresentUser> {
        let others = self.others.get(&to_path(entity)).into_iter().flatten();
        others.map(|(id, name)| PresentUser { person_id: *id, name: name.clone() }).collect()
    }

    /// Returns the known viewers of the entity at a path.
    pub(crate) fn viewers_at(&self, path: &str) -> Option<&BTreeMap<Uuid, String>> {
        self.others.get(path)
    }

    /// Sets the viewers of the entity at a path; returns the entity.
    pub(crate) fn set_viewers(&mut self, path: String, people: BTreeMap<Uuid, String>) -> Option<EntityRef> {
        let entity = from_path(&path);
        if people.is_empty() {
            self.others.remove(&path);
        } else {
            self.others.insert(path, people);
        }
        entity
    }

    /// Causes the viewed entities to be sent again.
    ///
    /// The server may have skipped entities that did not exist or were not visible to the user
    /// before.
    pub(crate) fn reset_sent(&mut self) {
        self.sent = None;
    }

    /// Records the paths viewed in all tabs; `None` if no WebSocket is open.
    ///
    /// Returns the message to the server if they changed, and the paths whose viewers are no longer
    /// received.
    pub(crate) fn set_viewed(&mut self, viewed: Option<Vec<String>>) -> (Option<Effect>, Vec<String>) {
        let open = viewed.is_some();
        // Not sorted: sorting another type adds about one kilobyte to the download.
        let mut paths: Vec<String> = Vec::new();
        for path in viewed.into_iter().flatten().take(MAX_VIEWED) {
            if !path.is_empty() && !paths.contains(&path) {
                paths.push(path);
            }
        }
        let sent = self.sent.take().unwrap_or_default();
        let same = sent.len() == paths.len() && sent.iter().all(|path| paths.contains(path));
        let message = (open && !same).then(|| {
            let to_viewed = |entity: EntityRef| ViewedEntity { entity_code: entity.code, entity_id: entity.id };
            let entities = paths.iter().filter_map(|path| from_path(path)).map(to_viewed).collect();
            Effect::Send(ClientMessage::Viewing { entities })
        });
        let mut left: Vec<String> = Vec::new();
        if !(open && same) {
            left.extend(self.others.keys().filter(|path| !paths.contains(path)).cloned());
        }
        self.sent = open.then_some(paths);
        (message, left)
    }
}

/// Returns path and named users as received from the server.
pub(crate) fn named_viewers(entity: &EntityRef, people: Vec<PresentUser>) -> (String, BTreeMap<Uuid, String>) {
    let mut named = BTreeMap::new();
    for user in people {
        named.insert(user.person_id, user.name);
    }
    (to_path(entity), named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> EntityRef {
        EntityRef::new(EntityCode::new("task").unwrap(), Uuid::from_u128(1))
    }

    #[test]
    fn viewed_entities_are_sent_once_per_connection() {
        let mut presence = Presence::default();
        presence.open_page(&task());
        let viewed = Some(vec![presence.page().to_owned(), String::new(), presence.page().to_owned()]);
        let entities = vec![ViewedEntity { entity_code: task().code, entity_id: task().id }];
        let message = Effect::Send(ClientMessage::Viewing { entities });
        assert_eq!(presence.set_viewed(viewed.clone()), (Some(message.clone()), vec![]));
        assert_eq!(presence.set_viewed(viewed.clone()), (None, vec![]));
        presence.set_viewed(None);
        assert_eq!(presence.set_viewed(viewed), (Some(message), vec![]), "sent again over the next connection");
    }

    #[test]
    fn viewers_of_entities_that_are_no_longer_viewed_are_reported() {
        let mut presence = Presence::default();
        let people = vec![PresentUser { person_id: Uuid::from_u128(9), name: "Ann".into() }];
        let (path, named) = named_viewers(&task(), people.clone());
        assert_eq!(presence.set_viewers(path.clone(), named), Some(task()));
        assert_eq!(presence.users(&task()), people);
        assert_eq!(presence.set_viewed(None).1, std::slice::from_ref(&path));
        presence.set_viewers(path, BTreeMap::new());
        assert_eq!(presence.users(&task()), []);
    }
}
