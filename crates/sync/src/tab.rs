//! What the tabs of one person tell each other. One of them leads: it holds the socket, asks the server, sends the outbox and writes the cache; the
//! others say what they look at and hear what is new.

use crate::key::{ListKey, MetaKey, Query};
use crate::outbox::Choice;
use pmo_domain::{EntityCode, EntityRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use uuid::Uuid;

/// A tab, for as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TabId(pub Uuid);

/// What a tab looks at, and what it holds of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Watched {
    /// The query.
    pub query: Query,
    /// A number for what is held: the leader tells what is missing where its own is another.
    pub digest: u64,
}

/// A row as the server told it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RowNews {
    /// Its type.
    pub code: EntityCode,
    /// The reader's level, where it is known.
    #[serde(default)]
    pub permission: Option<u8>,
    /// Its columns.
    pub row: Box<RawValue>,
}

impl PartialEq for RowNews {
    fn eq(&self, other: &Self) -> bool {
        self.code == other.code && self.permission == other.permission && self.row.get() == other.row.get()
    }
}

/// A list as the server told it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListNews {
    /// Which.
    pub key: ListKey,
    /// Its rows, in order.
    pub ids: Vec<Uuid>,
    /// Nothing that belongs to it is missing.
    pub complete: bool,
    /// Milliseconds since 1970 when the server said so.
    pub synced_at: f64,
}

/// What the leader has learnt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct News {
    /// The leader's term: what an earlier leader says is not news.
    pub term: u64,
    /// Rows.
    pub rows: Vec<RowNews>,
    /// Things that are gone for this person.
    pub gone: Vec<EntityRef>,
    /// What this person may see has changed: what a tab holds and does not look at goes.
    pub swept: bool,
    /// Lists.
    pub lists: Vec<ListNews>,
    /// Lists that can't be seen any more.
    pub lists_gone: Vec<ListKey>,
    /// Reference data.
    pub metas: Vec<(MetaKey, Value)>,
    /// Names by type; those of a type replace what was known.
    pub names: BTreeMap<String, BTreeMap<Uuid, String>>,
    /// Queries that were answered, and whether that went well.
    pub settled: Vec<(Query, bool)>,
    /// Things that are kept on the device with all that hangs below them.
    /// How much of each there is, and whether all of it.
    pub kept: Option<Vec<(EntityRef, usize, bool)>>,
    /// Who else looks at what a tab looks at, by its address.
    pub present: BTreeMap<String, BTreeMap<Uuid, String>>,
    /// Where the feed stands: epoch and cursor.
    pub feed: Option<(String, String)>,
    /// Whether the server can be reached, and whether changes are heard of.
    pub status: (bool, bool),
}

impl News {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
            && self.gone.is_empty()
            && !self.swept
            && self.lists.is_empty()
            && self.lists_gone.is_empty()
            && self.metas.is_empty()
            && self.names.is_empty()
            && self.settled.is_empty()
            && self.kept.is_none()
            && self.present.is_empty()
    }
}

/// A message between tabs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TabMessage {
    /// The leader lives.
    Leading {
        /// Its term.
        term: u64,
        /// It has just begun: say what you look at.
        new: bool,
    },
    /// A tab says all that it looks at.
    Watching {
        /// Who.
        tab: TabId,
        /// What.
        watched: Vec<Watched>,
        /// The address of what its page is about, while it is in sight; empty: nothing.
        #[serde(default)]
        looking: String,
    },
    /// A tab asks for a query anew, however fresh it is.
    Refetch {
        /// Which.
        query: Query,
    },
    /// A tab wants the next page of a list.
    More {
        /// Which.
        key: ListKey,
    },
    /// A person has settled a write in another tab than the leader: it alone changes what it may be sending. (Not `settle`: a tab of an earlier build reads
    /// that as a choice for theirs.)
    Decide {
        /// The entry.
        entry: Uuid,
        /// The key that it had when the person looked.
        seen: Uuid,
        /// What they chose.
        choice: Choice,
    },
    /// A person gives a write up.
    Discard {
        /// The entry.
        entry: Uuid,
    },
    /// A person mends a refused write in its draft.
    Reopen {
        /// The entry.
        entry: Uuid,
    },
    /// A person wants a thing kept on the device with all that hangs below it, or no longer.
    Keep {
        /// The thing.
        entity: EntityRef,
        /// To be kept, or not.
        on: bool,
    },
    /// A tab closes.
    Bye {
        /// Who.
        tab: TabId,
    },
    /// The leader has learnt something.
    News(Box<News>),
}
