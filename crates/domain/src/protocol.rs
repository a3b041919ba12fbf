//! Messages of the WebSocket: names in capitals under `type`, the rest under `payload`, camelCase. The codec must accept
//! every message of a client that knows only the first protocol (no `AUTH`, no `RESUME`, no `since`).

use crate::{EntityCode, Version};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use uuid::Uuid;

/// The protocol's number, told in `HELLO`.
pub const PROTOCOL_VERSION: u32 = 1;
/// A client sends `PING` this often, in seconds.
pub const HEARTBEAT_INTERVAL_SECONDS: u64 = 30;
/// No token, a bad one, or none in time.
pub const CLOSE_UNAUTHORIZED: u16 = 4001;
/// The token's time is over.
pub const CLOSE_TOKEN_EXPIRED: u16 = 4002;
/// The client read too slowly: come back and resume.
pub const CLOSE_SLOW_CONSUMER: u16 = 4008;
/// The server is going away: come back, spread over a few seconds.
pub const CLOSE_SERVICE_RESTART: u16 = 1012;
/// The client broke the rules too often.
pub const CLOSE_POLICY_VIOLATION: u16 = 1008;

/// The thing whose children are watched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentScope {
    /// Its type.
    pub entity_code: EntityCode,
    /// Its id.
    pub entity_id: Uuid,
    /// Not only its children, but all that hangs below it by owned links, however deep.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[serde(rename = "deep")]
    pub recursive: bool,
}

/// What to watch. With ids, those; without, the whole type or the children of `parent`; an empty list watches nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubscribeRequest {
    /// The type of what is watched.
    pub entity_code: EntityCode,
    /// The things, by id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity_ids: Option<Vec<Uuid>>,
    /// Only children of this thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentScope>,
    /// Tell what has changed since this cursor, so that nothing falls between a fetch and this message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// A message from the client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "payload", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ClientMessage {
    /// Who this is; the first message where the address carries no token.
    Auth {
        /// The access token.
        token: String,
    },
    /// Watch.
    Subscribe(SubscribeRequest),
    /// Stop watching; without ids, everything of the type (or of the parent).
    #[serde(rename_all = "camelCase")]
    Unsubscribe {
        /// The type.
        entity_code: EntityCode,
        /// The things; all where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        entity_ids: Option<Vec<Uuid>>,
        /// The children of this thing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent: Option<ParentScope>,
    },
    /// Stop watching anything.
    UnsubscribeAll,
    /// Still here.
    Ping,
    /// A new access token, before the old one expires.
    TokenRefresh {
        /// The access token.
        token: String,
    },
    /// What is looked at now, and nothing else: those who look at the same are told.
    #[serde(rename = "LOOKING")]
    Viewing {
        /// The things, one for each tab that is in sight.
        things: Vec<ViewedEntity>,
    },
    /// After SUBSCRIBE, on reconnect: tell what was missed.
    Resume {
        /// The epoch of the last HELLO.
        epoch: String,
        /// The last cursor seen.
        cursor: String,
    },
}

/// A thing that is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ViewedEntity {
    /// Its type.
    pub entity_code: EntityCode,
    /// Its id.
    pub entity_id: Uuid,
}

/// Somebody who looks at a thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PresentUser {
    /// Who.
    pub person_id: Uuid,
    /// What they are called.
    pub name: String,
}

impl PresentUser {
    /// Read by hand, as the frames are.
    fn from_json(value: &Value) -> Option<Self> {
        let text = |name: &str| value.get(name)?.as_str();
        Some(Self { person_id: text("personId")?.parse().ok()?, name: text("name")?.to_owned() })
    }
}

/// A frame that is no message of this protocol; the text is for the client's developer.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct InvalidMessage(pub String);

impl ClientMessage {
    /// Reads a text frame. A missing, null or empty payload is the same for messages that have none.
    pub fn parse(text: &str) -> Result<Self, InvalidMessage> {
        let mut value: Value =
            serde_json::from_str(text).map_err(|_| InvalidMessage("the frame is not JSON".to_owned()))?;
        let kind = value.get("type").and_then(Value::as_str).map(str::to_owned);
        let Some(kind) = kind else { return Err(InvalidMessage("the message has no 'type'".to_owned())) };
        if matches!(kind.as_str(), "PING" | "UNSUBSCRIBE_ALL")
            && let Some(object) = value.as_object_mut()
        {
            object.remove("payload");
        }
        serde_json::from_value(value).map_err(|error| {
            let kind: String = kind.chars().take(40).collect();
            let error = error.to_string();
            // What the reader calls its own types is nobody else's business.
            InvalidMessage(if error.contains("ClientMessage") {
                format!("{kind}: its payload is missing or no object")
            } else {
                format!("{kind}: {error}")
            })
        })
    }
}

/// What happened to a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Action {
    /// It is new for the receiver.
    Create,
    /// It has another version.
    Update,
    /// It was deleted.
    Delete,
    /// The receiver may not see it any more.
    Revoke,
}

/// One thing that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// The thing.
    pub entity_id: Uuid,
    /// What happened.
    pub action: Action,
    /// The row's version after it.
    pub version: Version,
}

/// Changes of things of one type, each thing once.
#[derive(Clone, Debug, Default)]
pub struct CoalescedChanges {
    list: VecDeque<Change>,
    /// Where each is, counted from the first that ever was.
    at: HashMap<Uuid, usize>,
    taken: usize,
}

impl CoalescedChanges {
    /// Folds a change in: of one thing the last action stands, but something made and then changed is still new.
    pub fn coalesce(&mut self, change: Change) {
        match self.at.get(&change.entity_id).and_then(|at| self.list.get_mut(at - self.taken)) {
            None => {
                self.at.insert(change.entity_id, self.taken + self.list.len());
                self.list.push_back(change);
            }
            Some(known) => {
                if !(known.action == Action::Create && change.action == Action::Update) {
                    known.action = change.action;
                }
                known.version = known.version.max(change.version);
            }
        }
    }

    /// The first `most`, which are not among them any more.
    pub fn drain_up_to(&mut self, most: usize) -> Vec<Change> {
        let first: Vec<Change> = self.list.drain(..most.min(self.list.len())).collect();
        self.taken += first.len();
        for change in &first {
            self.at.remove(&change.entity_id);
        }
        first
    }

    /// How many things there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// In the order in which things came first.
    pub fn into_vec(self) -> Vec<Change> {
        self.list.into()
    }
}

/// A message to the client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "payload", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ServerMessage {
    /// Where the feed stands.
    #[serde(rename_all = "camelCase")]
    Hello {
        /// [`PROTOCOL`].
        protocol: u32,
        /// Incarnation of the database.
        epoch: String,
        /// Where the feed stands.
        cursor: String,
        /// How often to send PING.
        heartbeat_seconds: u64,
    },
    /// Refetch these.
    #[serde(rename_all = "camelCase")]
    Invalidate {
        /// The type of all of them.
        entity_code: EntityCode,
        /// What changed.
        changes: Vec<Change>,
        /// RFC 3339.
        timestamp: String,
        /// Where the feed stands after them.
        cursor: String,
    },
    /// SUBSCRIBE is done.
    #[serde(rename_all = "camelCase")]
    Subscribed {
        /// Ids accepted; 1 for a type or a parent.
        count: usize,
        /// The type.
        entity_code: EntityCode,
        /// Ids refused.
        refused: usize,
    },
    /// Answer to RESUME, after the last caught-up INVALIDATE.
    Resumed {
        /// False: mark everything stale and sweep.
        recovered: bool,
        /// Where the feed stands.
        cursor: String,
    },
    /// What this person may see has changed: sweep what is held.
    #[serde(rename_all = "camelCase")]
    Access {
        /// A number that changes each time.
        access_epoch: String,
    },
    /// Who else looks at a thing that the receiver looks at.
    #[serde(rename_all = "camelCase")]
    Presence {
        /// The type of the thing.
        entity_code: EntityCode,
        /// The thing.
        entity_id: Uuid,
        /// The others, each once.
        people: Vec<PresentUser>,
    },
    /// Answer to PING.
    Pong {
        /// Where the feed stands.
        cursor: String,
    },
    /// Send TOKEN_REFRESH.
    #[serde(rename_all = "camelCase")]
    TokenExpiringSoon {
        /// Seconds left.
        expires_in: i64,
    },
    /// The last message was not understood or not allowed.
    Error {
        /// For people.
        message: String,
        /// For programs: `bad_message`, `too_large`, `rate`, `too_many_subscriptions`.
        code: String,
    },
}

impl ServerMessage {
    /// Reads a text frame; none where it is no message of this protocol, such as one of a later. (Read by hand: what a derived reader of this shape costs
    /// the browser is more than half of what the session takes.)
    pub fn parse(text: &str) -> Option<Self> {
        let mut frame: Value = serde_json::from_str(text).ok()?;
        let kind = frame.get("type")?.as_str()?.to_owned();
        let mut payload = frame.get_mut("payload").map(Value::take).unwrap_or_default();
        let changes = payload.get_mut("changes").map(Value::take);
        let text = |name: &str| payload.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let number = |name: &str| payload.get(name).and_then(Value::as_u64).unwrap_or_default();
        let code = || EntityCode::new(text("entityCode")).ok();
        Some(match kind.as_str() {
            "HELLO" => Self::Hello {
                protocol: number("protocol") as u32,
                epoch: text("epoch"),
                cursor: text("cursor"),
                heartbeat_seconds: number("heartbeatSeconds"),
            },
            "INVALIDATE" => Self::Invalidate {
                entity_code: code()?,
                changes: crate::api_types::from_value(&changes?)?,
                timestamp: text("timestamp"),
                cursor: text("cursor"),
            },
            "PRESENCE" => Self::Presence {
                entity_code: code()?,
                entity_id: text("entityId").parse().ok()?,
                people: payload.get("people")?.as_array()?.iter().filter_map(PresentUser::from_json).collect(),
            },
            "SUBSCRIBED" => Self::Subscribed {
                count: number("count") as usize,
                entity_code: code()?,
                refused: number("refused") as usize,
            },
            "RESUMED" => Self::Resumed { recovered: payload.get("recovered")?.as_bool()?, cursor: text("cursor") },
            "ACCESS" => Self::Access { access_epoch: text("accessEpoch") },
            "PONG" => Self::Pong { cursor: text("cursor") },
            "TOKEN_EXPIRING_SOON" => Self::TokenExpiringSoon { expires_in: number("expiresIn") as i64 },
            "ERROR" => Self::Error { message: text("message"), code: text("code") },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_message_of_the_server_is_read_as_it_was_written() {
        let entity_code = EntityCode::new("project").unwrap();
        let change = Change { entity_id: Uuid::from_u128(7), action: Action::Revoke, version: Version(42) };
        let cursor = || "1.2".to_owned();
        for message in [
            ServerMessage::Hello { protocol: 1, epoch: "3".into(), cursor: cursor(), heartbeat_seconds: 30 },
            ServerMessage::Invalidate {
                entity_code: entity_code.clone(),
                changes: vec![change],
                timestamp: "t".into(),
                cursor: cursor(),
            },
            ServerMessage::Subscribed { count: 2, entity_code, refused: 1 },
            ServerMessage::Resumed { recovered: false, cursor: cursor() },
            ServerMessage::Access { access_epoch: "9".into() },
            ServerMessage::Pong { cursor: cursor() },
            ServerMessage::TokenExpiringSoon { expires_in: 300 },
            ServerMessage::Error { message: "no".into(), code: "rate".into() },
        ] {
            let text = serde_json::to_string(&message).unwrap();
            assert_eq!(ServerMessage::parse(&text), Some(message), "{text}");
        }
        for text in ["", "{}", r#"{"type":"LATER","payload":{}}"#, r#"{"type":"INVALIDATE","payload":{"changes":3}}"#] {
            assert_eq!(ServerMessage::parse(text), None);
        }
    }

    #[test]
    fn a_client_of_the_first_protocol_is_understood() {
        let id = Uuid::from_u128(1);
        let subscribe = json!({"type": "SUBSCRIBE", "payload": {"entityCode": "project", "entityIds": [id]}});
        assert_eq!(
            ClientMessage::parse(&subscribe.to_string()),
            Ok(ClientMessage::Subscribe(SubscribeRequest {
                entity_code: EntityCode::new("project").unwrap(),
                entity_ids: Some(vec![id]),
                parent: None,
                since: None
            }))
        );
        for frame in [r#"{"type":"PING"}"#, r#"{"type":"PING","payload":{}}"#, r#"{"type":"PING","payload":null}"#] {
            assert_eq!(ClientMessage::parse(frame), Ok(ClientMessage::Ping), "{frame}");
        }
    }

    #[test]
    fn an_invalidate_has_the_documented_shape() {
        let message = ServerMessage::Invalidate {
            entity_code: EntityCode::new("project").unwrap(),
            changes: vec![Change { entity_id: Uuid::nil(), action: Action::Update, version: Version(42) }],
            timestamp: "2025-11-28T10:30:00.000Z".into(),
            cursor: "1.2".into(),
        };
        assert_eq!(
            serde_json::to_value(message).unwrap(),
            json!({"type": "INVALIDATE", "payload": {
                "entityCode": "project",
                "changes": [{"entityId": Uuid::nil(), "action": "UPDATE", "version": 42}],
                "timestamp": "2025-11-28T10:30:00.000Z",
                "cursor": "1.2"
            }})
        );
    }

    #[test]
    fn a_bad_frame_is_an_error_that_says_what_is_wrong() {
        for (frame, word) in [
            ("", "JSON"),
            ("[]", "type"),
            (r#"{"type":"NOPE"}"#, "NOPE"),
            (r#"{"type":"SUBSCRIBE","payload":{"entityCode":"a b"}}"#, "entity code"),
            (r#"{"type":"SUBSCRIBE"}"#, "SUBSCRIBE"),
            (r#"{"type":"RESUME","payload":3}"#, "payload"),
        ] {
            let error = ClientMessage::parse(frame).unwrap_err();
            assert!(error.0.contains(word) && !error.0.contains("::"), "{frame}: {error}");
        }
    }
}
