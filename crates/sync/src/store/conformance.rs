//! Conformance suite for [`Store`], run on each implementation, natively and in the browser.

use super::{
    KeySelector, KeyValue, Namespace, PersistedState, Store, StoreError, Write, current_term, increment_term, load,
};
use crate::draft::Draft;
use crate::outbox::{Operation, OutboxEntry, WriteIds};
use pmo_domain::{EntityCode, EntityRef, UnixMillis};
use uuid::Uuid;

fn put(namespace: Namespace, key: &str, bytes: &[u8]) -> Write {
    Write::Put(namespace, key.to_owned(), bytes.to_vec())
}

fn key_value(key: &str, bytes: &[u8]) -> KeyValue {
    (key.to_owned(), bytes.to_vec())
}

fn message(error: StoreError) -> String {
    error.to_string()
}

fn expect(ok: bool, expectation: &str) -> Result<(), String> {
    if ok { Ok(()) } else { Err(expectation.to_owned()) }
}

/// Runs the suite on an empty store and returns the first expectation that is not met.
pub async fn run(store: &impl Store) -> Result<(), String> {
    expect(load(store).await.map_err(message)? == PersistedState::default(), "an empty store has no state")?;
    check_values(store).await?;
    check_selectors(store).await?;
    check_transactions(store).await?;
    check_user_data(store).await?;
    check_terms(store).await?;
    store.write(&Namespace::ALL.map(Write::Clear), None).await.map_err(message)?;
    expect(load(store).await.map_err(message)? == PersistedState::default(), "a cleared store has no state")
}

/// Values are returned unchanged, in ascending order of keys, independent of the order of writing.
///
/// Values of user data are UTF-8 text; values of the cache are arbitrary bytes.
async fn check_values(store: &impl Store) -> Result<(), String> {
    let all_bytes: Vec<u8> = (0..=255).collect();
    let text = "{\"ä\": \"\u{1F600}\\n\"}".as_bytes().to_vec();
    let large: Vec<u8> = (0..3_000_000u32).map(|n| ((n * 31) >> 3) as u8).collect();
    for namespace in Namespace::ALL {
        let value = if namespace.is_user_data() { text.clone() } else { all_bytes.clone() };
        store
            .write(&[put(namespace, "b", &value), put(namespace, "a", &[]), put(namespace, "c", b"{}")], None)
            .await
            .map_err(message)?;
        let found = store.read(namespace, KeySelector::All).await.map_err(message)?;
        expect(
            found == [key_value("a", &[]), key_value("b", &value), key_value("c", b"{}")],
            "values are returned unchanged, in order of keys",
        )?;
    }
    store.write(&[put(Namespace::Entities, "large", &large)], None).await.map_err(message)?;
    let found = store.read(Namespace::Entities, KeySelector::Keys(&["large".into()])).await.map_err(message)?;
    expect(found == [("large".to_owned(), large)], "a large value is returned unchanged")?;
    Ok(())
}

/// Prefixes and lists of keys select a part of a namespace.
async fn check_selectors(store: &impl Store) -> Result<(), String> {
    let namespace = Namespace::Entities;
    store
        .write(
            &[
                put(namespace, "row:1", b"1"),
                put(namespace, "row:2", b"2"),
                put(namespace, "rower", b"3"),
                put(namespace, "chunk:1", b"4"),
            ],
            None,
        )
        .await
        .map_err(message)?;
    let found = store.read(namespace, KeySelector::Prefix("row:")).await.map_err(message)?;
    expect(
        found == [key_value("row:1", b"1"), key_value("row:2", b"2")],
        "a prefix selects the keys that start with it",
    )?;
    let keys = store.keys(namespace, "chunk:").await.map_err(message)?;
    expect(keys == ["chunk:1"], "keys can be listed without values")?;
    let requested = ["row:2".to_owned(), "nothing".to_owned(), "chunk:1".to_owned()];
    let found = store.read(namespace, KeySelector::Keys(&requested)).await.map_err(message)?;
    expect(found == [key_value("chunk:1", b"4"), key_value("row:2", b"2")], "missing keys are left out")?;
    Ok(())
}

/// The last write of a key wins, also within one transaction; namespaces are independent.
async fn check_transactions(store: &impl Store) -> Result<(), String> {
    let namespace = Namespace::Entities;
    store
        .write(
            &[
                put(namespace, "row:1", b"new"),
                Write::Remove(namespace, "row:2".into()),
                put(namespace, "row:3", b"x"),
                Write::Remove(namespace, "row:3".into()),
            ],
            None,
        )
        .await
        .map_err(message)?;
    let found = store.read(namespace, KeySelector::Prefix("row:")).await.map_err(message)?;
    expect(found == [key_value("row:1", b"new")], "the last write of a key wins")?;
    store.write(&[Write::Clear(namespace), put(namespace, "after", b"1")], None).await.map_err(message)?;
    let found = store.read(namespace, KeySelector::All).await.map_err(message)?;
    expect(found == [key_value("after", b"1")], "writes after a clear are stored")?;
    expect(
        store.read(Namespace::Lists, KeySelector::All).await.map_err(message)?.len() == 3,
        "clearing leaves other namespaces unchanged",
    )?;
    Ok(())
}

/// User data is parsed and returned in order; values that cannot be parsed are skipped.
async fn check_user_data(store: &impl Store) -> Result<(), String> {
    let code = EntityCode::new("task").map_err(|e| e.to_string())?;
    let entity = EntityRef::new(code, Uuid::from_u128(1));
    let draft = Draft::new(entity.clone(), 3, UnixMillis::new(5));
    let entry = |n: u128| {
        let operation = Operation::Delete { base_version: 1 };
        let ids = WriteIds { entry: Uuid::from_u128(n), idempotency_key: Uuid::from_u128(n + 100) };
        OutboxEntry::new(ids, entity.clone(), operation)
    };
    fn to_json_bytes(value: &impl serde::Serialize) -> Vec<u8> {
        serde_json::to_vec(value).unwrap_or_default()
    }
    store
        .write(
            &[
                Write::Clear(Namespace::Drafts),
                Write::Clear(Namespace::Outbox),
                put(Namespace::Drafts, "task:1", &to_json_bytes(&draft)),
                put(Namespace::Drafts, "task:2", b"{broken"),
                put(Namespace::Outbox, &entry(2).id.to_string(), &to_json_bytes(&entry(2))),
                put(Namespace::Outbox, &entry(1).id.to_string(), &to_json_bytes(&entry(1))),
            ],
            None,
        )
        .await
        .map_err(message)?;
    let stored = load(store).await.map_err(message)?;
    expect(stored.drafts == [draft], "drafts are read and invalid ones skipped")?;
    expect(stored.outbox.iter().map(|e| e.id.as_u128()).eq([1, 2]), "the outbox is read in order")?;
    Ok(())
}

/// A tab whose term has ended can write user input only.
async fn check_terms(store: &impl Store) -> Result<(), String> {
    let (first, second) =
        (increment_term(store, UnixMillis::new(5)).await, increment_term(store, UnixMillis::new(5)).await);
    expect((first, second, current_term(store).await) == (5, 6, 6), "each term is later than the previous one")?;
    let fenced = Write::PutFenced(Namespace::Outbox, "late".into(), b"1".to_vec());
    let late = [put(Namespace::Lists, "late", b"1"), put(Namespace::Drafts, "late", b"1"), fenced.clone()];
    store.write(&late, Some(first)).await.map_err(message)?;
    expect(
        store.keys(Namespace::Lists, "late").await.map_err(message)?.is_empty(),
        "a former leader cannot write the cache",
    )?;
    expect(store.keys(Namespace::Drafts, "late").await.map_err(message)?.len() == 1, "any tab can write user input")?;
    expect(
        store.keys(Namespace::Outbox, "late").await.map_err(message)?.is_empty(),
        "a former leader cannot change outbox entries",
    )?;
    store.write(&[fenced], Some(second)).await.map_err(message)?;
    expect(
        store.keys(Namespace::Outbox, "late").await.map_err(message)?.len() == 1,
        "the leader can change outbox entries",
    )?;
    store
        .write(&[Write::Clear(Namespace::Metadata), put(Namespace::Lists, "late", b"2")], Some(second))
        .await
        .map_err(message)?;
    expect(store.keys(Namespace::Lists, "late").await.map_err(message)?.len() == 1, "the leader can write the cache")?;
    expect(current_term(store).await == second, "the term survives clearing the cache")?;
    Ok(())
}
