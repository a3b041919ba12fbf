//! What pods tell each other of who looks at what, as they say it through the database. Pure.

use pmo_domain::protocol::PresentUser;
use pmo_domain::{EntityCode, EntityRef};
use pmo_feed::PodPresence;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// PostgreSQL carries less than 8000 bytes in a notification.
const MAX_PAYLOAD_BYTES: usize = 7_800;
/// Letters of a name.
const MAX_NAME_CHARS: usize = 80;

#[derive(Serialize, Deserialize)]
struct PresencePayload {
    pod: Uuid,
    code: EntityCode,
    id: Uuid,
    people: Vec<PresentUser>,
}

/// As a notification; people are left out where they are too many for one.
pub fn encode(looking: &PodPresence) -> String {
    let short =
        |here: &PresentUser| PresentUser { name: here.name.chars().take(MAX_NAME_CHARS).collect(), ..here.clone() };
    let (code, id) = (looking.entity.code.clone(), looking.entity.id);
    let mut said = PresencePayload { pod: looking.pod, code, id, people: looking.people.iter().map(short).collect() };
    loop {
        let text = serde_json::to_string(&said).unwrap_or_default();
        if text.len() <= MAX_PAYLOAD_BYTES || said.people.is_empty() {
            return text;
        }
        said.people.truncate(said.people.len() / 2);
    }
}

/// What another pod said; none where it is `own`, or can't be read.
pub fn decode(text: &str, own: Uuid) -> Option<PodPresence> {
    let said: PresencePayload = serde_json::from_str(text).ok()?;
    let entity = EntityRef::new(said.code, said.id);
    (said.pod != own).then_some(PodPresence { pod: said.pod, entity, people: said.people })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_pod_writes_another_reads_and_itself_does_not() {
        let here = |n: u128| PresentUser { person_id: Uuid::from_u128(n), name: "\u{1F984}".repeat(300) };
        let entity = EntityRef::new(EntityCode::new("task").unwrap(), Uuid::from_u128(7));
        let one = PodPresence { pod: Uuid::from_u128(1), entity, people: vec![here(3)] };
        let text = encode(&one);
        assert!(decode(&text, one.pod).is_none());
        let told = decode(&text, Uuid::from_u128(2)).unwrap();
        assert_eq!((&told.entity, told.people.len()), (&one.entity, 1));
        let many = PodPresence { people: (0..50).map(here).collect(), ..one };
        let text = encode(&many);
        assert!(text.len() < 8000, "{}", text.len());
        assert!(!decode(&text, Uuid::nil()).unwrap().people.is_empty());
        assert!(decode("{}", Uuid::nil()).is_none() && decode("", Uuid::nil()).is_none());
    }
}
