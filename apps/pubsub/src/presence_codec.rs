//! Codec of the presence messages that pods exchange through `NOTIFY`. Pure functions.

use pmo_domain::protocol::PresentUser;
use pmo_domain::{EntityCode, EntityRef};
use pmo_feed::PodPresence;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Maximum size of a payload in bytes; PostgreSQL limits it to less than 8000.
const MAX_PAYLOAD_BYTES: usize = 7_800;
/// Maximum length of a name in characters.
const MAX_NAME_CHARS: usize = 80;

#[derive(Serialize, Deserialize)]
struct PresencePayload {
    pod: Uuid,
    code: EntityCode,
    id: Uuid,
    people: Vec<PresentUser>,
}

/// Encodes the viewers of an entity as a `NOTIFY` payload; drops viewers that do not fit.
pub(crate) fn encode(presence: &PodPresence) -> String {
    let shorten =
        |user: &PresentUser| PresentUser { name: user.name.chars().take(MAX_NAME_CHARS).collect(), ..user.clone() };
    let (code, id) = (presence.entity.code.clone(), presence.entity.id);
    let people = presence.people.iter().map(shorten).collect();
    let mut payload = PresencePayload { pod: presence.pod, code, id, people };
    loop {
        let text = serde_json::to_string(&payload).unwrap_or_default();
        if text.len() <= MAX_PAYLOAD_BYTES || payload.people.is_empty() {
            return text;
        }
        payload.people.truncate(payload.people.len() / 2);
    }
}

/// Decodes a payload. Returns `None` if it is invalid or was sent by the pod `own`.
pub(crate) fn decode(text: &str, own: Uuid) -> Option<PodPresence> {
    let payload: PresencePayload = serde_json::from_str(text).ok()?;
    let entity = EntityRef::new(payload.code, payload.id);
    (payload.pod != own).then_some(PodPresence { pod: payload.pod, entity, people: payload.people })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_is_decoded_by_other_pods_and_ignored_by_its_sender() {
        let user = |n: u128| PresentUser { person_id: Uuid::from_u128(n), name: "\u{1F984}".repeat(300) };
        let entity = EntityRef::new(EntityCode::new("task").unwrap(), Uuid::from_u128(7));
        let sent = PodPresence { pod: Uuid::from_u128(1), entity, people: vec![user(3)] };
        let text = encode(&sent);
        assert!(decode(&text, sent.pod).is_none());
        let decoded = decode(&text, Uuid::from_u128(2)).unwrap();
        assert_eq!((&decoded.entity, decoded.people.len()), (&sent.entity, 1));
        let large = PodPresence { people: (0..50).map(user).collect(), ..sent };
        let text = encode(&large);
        assert!(text.len() < 8000, "{}", text.len());
        assert!(!decode(&text, Uuid::nil()).unwrap().people.is_empty());
        assert!(decode("{}", Uuid::nil()).is_none() && decode("", Uuid::nil()).is_none());
    }
}
