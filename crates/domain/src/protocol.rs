//! Messages of the WebSocket protocol.
//!
//! Each message is a JSON object with `type` in capitals and `payload` in camelCase.
//!
//! Invariant: the server accepts all messages of clients that implement only the first version of
//! the protocol (without `AUTH`, `RESUME` and `since`).

use crate::{EntityCode, Version};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use uuid::Uuid;

/// Version of the protocol, sent in `HELLO`; clients of every version are accepted.
///
/// Version 2 names `VIEWING {entities}` and `parent.recursive`. The names of version 1 are aliases:
/// `LOOKING {things}` and `parent.deep`.
pub const PROTOCOL_VERSION: u32 = 2;
/// Interval between `PING` messages of a client, in seconds.
pub const HEARTBEAT_INTERVAL_SECONDS: u64 = 30;
/// Close code: the token is missing, invalid or was not sent in time.
pub const CLOSE_UNAUTHORIZED: u16 = 4001;
/// Close code: the token expired.
pub const CLOSE_TOKEN_EXPIRED: u16 = 4002;
/// Close code: the client read too slowly; it should reconnect and resume.
pub const CLOSE_SLOW_CONSUMER: u16 = 4008;
/// Close code: the server shuts down; clients should reconnect, spread over a few seconds.
pub const CLOSE_SERVICE_RESTART: u16 = 1012;
/// Close code: the client violated the protocol limits too often.
pub const CLOSE_POLICY_VIOLATION: u16 = 1008;

/// Parent entity whose children or descendants a subscription covers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentScope {
    /// Type code of the parent.
    pub entity_code: EntityCode,
    /// Id of the parent.
    pub entity_id: Uuid,
    /// Whether all descendants over owned links are covered instead of only the children.
    ///
    /// Named `deep` in version 1 of the protocol.
    #[serde(default, skip_serializing_if = "std::ops::Not::not", alias = "deep")]
    pub recursive: bool,
}

/// Payload of `SUBSCRIBE`.
///
/// With `entity_ids`: subscribes to these entities; an empty list subscribes to nothing. Without:
/// subscribes to the children of `parent` or, without a parent, to the whole type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubscribeRequest {
    /// Type code of the entities.
    pub entity_code: EntityCode,
    /// Ids of the entities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity_ids: Option<Vec<Uuid>>,
    /// Limits the subscription to children of this parent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentScope>,
    /// Cursor after which changes are delivered.
    ///
    /// Prevents a gap between a fetch and the subscription.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// A message from the client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "payload", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ClientMessage {
    /// Authenticates the client; must be the first message if the URL contains no token.
    Auth {
        /// The access token.
        token: String,
    },
    /// Subscribes to changes.
    Subscribe(SubscribeRequest),
    /// Ends subscriptions.
    ///
    /// Without `entity_ids`: all subscriptions of the type or, with `parent`, of that parent.
    #[serde(rename_all = "camelCase")]
    Unsubscribe {
        /// Type code of the entities.
        entity_code: EntityCode,
        /// Ids of the entities; all if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        entity_ids: Option<Vec<Uuid>>,
        /// Parent of the subscription to end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent: Option<ParentScope>,
    },
    /// Ends all subscriptions of the connection.
    UnsubscribeAll,
    /// Heartbeat of the client.
    Ping,
    /// Replaces the access token before it expires.
    TokenRefresh {
        /// The access token.
        token: String,
    },
    /// Replaces the set of entities that the client views now.
    ///
    /// Other users who view the same entities receive `PRESENCE`. Named `LOOKING` in version 1 of
    /// the protocol.
    #[serde(alias = "LOOKING")]
    Viewing {
        /// Viewed entities, one per visible tab; named `things` in version 1 of the protocol.
        #[serde(alias = "things")]
        entities: Vec<ViewedEntity>,
    },
    /// Requests the changes since a cursor; sent after `SUBSCRIBE` on reconnect.
    Resume {
        /// Epoch of the last `HELLO`.
        epoch: String,
        /// Last cursor that the client received.
        cursor: String,
    },
}

/// An entity that a client views.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ViewedEntity {
    /// Type code of the entity.
    pub entity_code: EntityCode,
    /// Id of the entity.
    pub entity_id: Uuid,
}

/// A user who views an entity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PresentUser {
    /// Id of the person.
    pub person_id: Uuid,
    /// Display name.
    pub name: String,
}

impl PresentUser {
    /// Parses an element of `people` without serde derive; see [`ServerMessage::parse`].
    fn from_json(value: &Value) -> Option<Self> {
        let text = |name: &str| value.get(name)?.as_str();
        Some(Self { person_id: text("personId")?.parse().ok()?, name: text("name")?.to_owned() })
    }
}

/// Error for a frame that is not a valid message of this protocol.
///
/// The text is intended for developers of clients.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct InvalidMessage(pub String);

impl ClientMessage {
    /// Parses a text frame.
    ///
    /// For messages without a payload, a missing, null or empty `payload` is accepted.
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
            // serde names the Rust enum in this error; clients must not see internal type names.
            InvalidMessage(if error.contains("ClientMessage") {
                format!("{kind}: the payload is missing or not an object")
            } else {
                format!("{kind}: {error}")
            })
        })
    }
}

/// Kind of a change to an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Action {
    /// The entity is new for the recipient.
    Create,
    /// The entity has a new version.
    Update,
    /// The entity was deleted.
    Delete,
    /// The recipient may no longer view the entity.
    Revoke,
}

/// A change of one entity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = EntityChange))]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Id of the entity.
    pub entity_id: Uuid,
    /// Kind of the change.
    pub action: Action,
    /// Version of the row after the change.
    #[cfg_attr(feature = "openapi", schema(value_type = i64))]
    pub version: Version,
}

/// Changes of entities of one type, at most one per entity.
#[derive(Clone, Debug, Default)]
pub struct CoalescedChanges {
    list: VecDeque<Change>,
    /// Position of each entity, counted from the first change that was ever added.
    positions: HashMap<Uuid, usize>,
    /// Number of changes drained so far: the position of the first element of `list`.
    drained_count: usize,
}

impl CoalescedChanges {
    /// Adds a change and merges it with an earlier change of the same entity.
    ///
    /// The action of the higher version wins, because transactions may be logged in another order
    /// than they changed the row. Of equal versions, and if one has none (0, as after a change of
    /// access), the last action wins. An update after a create remains a create. The version is the
    /// highest of both.
    pub fn coalesce(&mut self, change: Change) {
        match self
            .positions
            .get(&change.entity_id)
            .and_then(|position| self.list.get_mut(position - self.drained_count))
        {
            None => {
                self.positions.insert(change.entity_id, self.drained_count + self.list.len());
                self.list.push_back(change);
            }
            Some(existing) => {
                let is_earlier = change.version != Version::default() && change.version < existing.version;
                let (first, last) =
                    if is_earlier { (change.action, existing.action) } else { (existing.action, change.action) };
                existing.action = if first == Action::Create && last == Action::Update { Action::Create } else { last };
                existing.version = existing.version.max(change.version);
            }
        }
    }

    /// Removes and returns the first `max` changes.
    pub fn drain_up_to(&mut self, max: usize) -> Vec<Change> {
        let drained: Vec<Change> = self.list.drain(..max.min(self.list.len())).collect();
        self.drained_count += drained.len();
        for change in &drained {
            self.positions.remove(&change.entity_id);
        }
        drained
    }

    /// Returns the number of changed entities.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Returns whether there are no changes.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns the changes in the order in which their entities were first added.
    pub fn into_vec(self) -> Vec<Change> {
        self.list.into()
    }
}

/// A message to the client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "payload", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ServerMessage {
    /// First message of the server after the client is authenticated.
    #[serde(rename_all = "camelCase")]
    Hello {
        /// Protocol version; see [`PROTOCOL_VERSION`].
        protocol: u32,
        /// Epoch of the database.
        epoch: String,
        /// Current position of the feed.
        cursor: String,
        /// Interval at which the client must send `PING`, in seconds.
        heartbeat_seconds: u64,
    },
    /// Marks entities as changed; clients refetch them.
    #[serde(rename_all = "camelCase")]
    Invalidate {
        /// Type code of all changed entities.
        entity_code: EntityCode,
        /// Changes, at most one per entity.
        changes: Vec<Change>,
        /// Server time of the message, in RFC 3339 form.
        timestamp: String,
        /// Position of the feed after these changes.
        cursor: String,
    },
    /// Response to `SUBSCRIBE`.
    #[serde(rename_all = "camelCase")]
    Subscribed {
        /// Number of accepted ids; 1 for a type or a parent.
        count: usize,
        /// Type code of the subscription.
        entity_code: EntityCode,
        /// Number of refused ids.
        refused: usize,
    },
    /// Response to `RESUME`, sent after the last `INVALIDATE` of the catch-up.
    Resumed {
        /// `false` if missed changes are unavailable: the client must revalidate all cached data.
        recovered: bool,
        /// Current position of the feed.
        cursor: String,
    },
    /// The user's access changed; clients must revalidate all cached data.
    #[serde(rename_all = "camelCase")]
    Access {
        /// Token that differs for each access change.
        access_epoch: String,
    },
    /// Other users who view an entity that the recipient views.
    #[serde(rename_all = "camelCase")]
    Presence {
        /// Type code of the entity.
        entity_code: EntityCode,
        /// Id of the entity.
        entity_id: Uuid,
        /// Other users, each once.
        people: Vec<PresentUser>,
    },
    /// Response to `PING`.
    Pong {
        /// Current position of the feed.
        cursor: String,
    },
    /// The access token expires soon; the client should send `TOKEN_REFRESH`.
    #[serde(rename_all = "camelCase")]
    TokenExpiringSoon {
        /// Remaining lifetime of the token, in seconds.
        expires_in: i64,
    },
    /// The last message was invalid or not permitted.
    Error {
        /// Text for people.
        message: String,
        /// Code for programs: `bad_message`, `too_large`, `rate` or `too_many_subscriptions`.
        code: String,
    },
}

impl ServerMessage {
    /// Parses a text frame; returns `None` for unknown messages, such as those of a later version.
    ///
    /// Hand-written because the derived deserializer of this enum would add more than half the size
    /// of the sync session code to the browser app.
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
    use proptest::strategy::Strategy;
    use serde_json::json;

    #[test]
    fn server_messages_round_trip() {
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

    fn coalesced(changes: &[(Action, i64)]) -> (Action, i64) {
        let mut coalesced = CoalescedChanges::default();
        for (action, version) in changes {
            coalesced.coalesce(Change { entity_id: Uuid::nil(), action: *action, version: Version(*version) });
        }
        let changes = coalesced.into_vec();
        (changes[0].action, changes[0].version.0)
    }

    #[test]
    fn action_of_the_highest_version_wins() {
        use Action::{Create, Delete, Revoke, Update};
        for (changes, expected) in [
            (&[(Create, 1), (Update, 2)][..], (Create, 2)),
            (&[(Update, 2), (Create, 1)], (Create, 2)),
            (&[(Update, 3), (Delete, 2)], (Update, 3)),
            (&[(Delete, 3), (Update, 2)], (Delete, 3)),
            (&[(Create, 1), (Delete, 2)], (Delete, 2)),
            (&[(Update, 5), (Revoke, 0)], (Revoke, 5)),
            (&[(Revoke, 0), (Create, 0)], (Create, 0)),
            (&[(Revoke, 0), (Update, 4)], (Update, 4)),
        ] {
            assert_eq!(coalesced(changes), expected, "{changes:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn deletion_does_not_depend_on_the_order_of_the_log(
            (deletions, order) in proptest::collection::vec(proptest::bool::ANY, 1..8).prop_flat_map(|deletions| {
                let order: Vec<usize> = (0..deletions.len()).collect();
                (proptest::strategy::Just(deletions), proptest::strategy::Just(order).prop_shuffle())
            })
        ) {
            let change = |index: usize| {
                (if deletions[index] { Action::Delete } else { Action::Update }, index as i64 + 1)
            };
            let changes: Vec<(Action, i64)> = order.into_iter().map(change).collect();
            proptest::prop_assert_eq!(coalesced(&changes), change(deletions.len() - 1));
        }
    }

    #[test]
    fn clients_of_the_first_protocol_version_are_accepted() {
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
    fn invalidate_has_the_documented_shape() {
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
    fn invalid_frame_returns_a_descriptive_error() {
        for (frame, expected) in [
            ("", "JSON"),
            ("[]", "type"),
            (r#"{"type":"NOPE"}"#, "NOPE"),
            (r#"{"type":"SUBSCRIBE","payload":{"entityCode":"a b"}}"#, "entity code"),
            (r#"{"type":"SUBSCRIBE"}"#, "SUBSCRIBE"),
            (r#"{"type":"RESUME","payload":3}"#, "payload"),
        ] {
            let error = ClientMessage::parse(frame).unwrap_err();
            assert!(error.0.contains(expected) && !error.0.contains("::"), "{frame}: {error}");
        }
    }
}
