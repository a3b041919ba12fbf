//! Who else looks at what this person's tabs look at. The leader says over the socket what all tabs in sight look at, and tells them who else does; without a
//! socket nobody is known to be here. Things are known by their address, and people by maps of names as they are kept elsewhere: other shapes of the same would be
//! downloaded by everybody.

use super::Engine;
use crate::event::Effect;
use crate::query_key::Query;
use crate::reconnect::ConnectionState;
use pmo_domain::protocol::{ClientMessage, PresentUser, ViewedEntity};
use pmo_domain::{EntityCode, EntityRef};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Things of which the socket is told; one for each tab in sight.
const MAX_VIEWED: usize = 32;

/// Who else looks at things: people with their names, by the thing's address.
pub(super) type PresenceByPath = BTreeMap<String, BTreeMap<Uuid, String>>;

/// `task/01a2…`, and back.
fn to_path(entity: &EntityRef) -> String {
    format!("{}/{}", entity.code, entity.id)
}

fn from_path(address: &str) -> Option<EntityRef> {
    let (code, id) = address.split_once('/')?;
    Some(EntityRef::new(EntityCode::new(code).ok()?, id.parse().ok()?))
}

/// Presence, as this tab knows it.
#[derive(Default)]
pub(super) struct Presence {
    /// What this tab's page is about; empty: nothing.
    page: String,
    /// What the socket was told; none: a new one was told nothing.
    told: Option<Vec<String>>,
    others: PresenceByPath,
}

impl Engine {
    /// A page about a thing is opened, or left.
    pub(super) fn set_viewing(&mut self, entity: &EntityRef, on: bool) {
        let address = to_path(entity);
        if on {
            self.presence.page = address;
        } else if self.presence.page == address {
            self.presence.page.clear();
        }
        self.tabs.announce_pending = true;
    }

    /// What this tab looks at: nothing while it is out of sight.
    pub(super) fn viewed_path(&self) -> String {
        if self.visible { self.presence.page.clone() } else { String::new() }
    }

    /// Who else looks at a thing.
    pub fn present_users(&self, entity: &EntityRef) -> Vec<PresentUser> {
        let others = self.presence.others.get(&to_path(entity)).into_iter().flatten();
        others.map(|(id, name)| PresentUser { person_id: *id, name: name.clone() }).collect()
    }

    /// What is known of others at a thing, for a tab that has just come to it.
    pub(super) fn broadcast_presence(&mut self, address: &str) {
        if let Some(people) = self.presence.others.get(address) {
            self.tabs.outgoing_update.presence.insert(address.to_owned(), people.clone());
        }
    }

    /// The leader says who else looks at things.
    pub(super) fn on_presence_update(&mut self, said: PresenceByPath) {
        for (address, people) in said {
            self.set_presence(address, people);
        }
    }

    fn set_presence(&mut self, address: String, people: BTreeMap<Uuid, String>) {
        self.changed.extend(from_path(&address).map(Query::Row));
        if self.leader {
            self.tabs.outgoing_update.presence.insert(address.clone(), people.clone());
        }
        if people.is_empty() {
            self.presence.others.remove(&address);
        } else {
            self.presence.others.insert(address, people);
        }
    }

    /// The server says who else looks at a thing.
    pub(super) fn on_server_presence(&mut self, entity: &EntityRef, people: Vec<PresentUser>) {
        let mut named = BTreeMap::new();
        for here in people {
            named.insert(here.person_id, here.name);
        }
        self.set_presence(to_path(entity), named);
    }

    /// The server may have passed over what was not there, or not to be seen, and is now.
    pub(super) fn reset_sent_presence(&mut self) {
        self.presence.told = None;
    }

    /// At the end of every event: the socket is told what is looked at, once for each change.
    pub(super) fn send_presence(&mut self) {
        if !self.leader {
            self.presence.told = None;
            return;
        }
        // (Not sorted: sorting is a kilobyte for each type that is sorted.)
        let mut things: Vec<String> = Vec::new();
        let open = self.session.link == ConnectionState::Open;
        if open {
            let mut all = self.follower_topics();
            all.insert(0, self.viewed_path());
            all.truncate(MAX_VIEWED);
            for address in all {
                if !address.is_empty() && !things.contains(&address) {
                    things.push(address);
                }
            }
        }
        let told = self.presence.told.take().unwrap_or_default();
        let same = told.len() == things.len() && told.iter().all(|address| things.contains(address));
        if open && !same {
            let looked = |entity: EntityRef| ViewedEntity { entity_code: entity.code, entity_id: entity.id };
            let things = things.iter().filter_map(|address| from_path(address)).map(looked).collect();
            self.effects.push(Effect::Send(ClientMessage::Viewing { things }));
        }
        if !(open && same) {
            let mut gone: Vec<String> = self.presence.others.keys().cloned().collect();
            gone.retain(|address| !things.contains(address));
            for address in gone {
                self.set_presence(address, BTreeMap::new());
            }
        }
        self.presence.told = open.then_some(things);
    }
}
