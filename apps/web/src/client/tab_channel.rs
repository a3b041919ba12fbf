//! Leader election and messages between the tabs of one user.
//!
//! One tab is the leader: it holds a Web Lock until it is closed. The browser elects the leader;
//! the engine defines its duties. All tabs exchange messages over a `BroadcastChannel`.

use super::{AuthState, StoreTask, client};
use futures_channel::oneshot;
use leptos::prelude::GetUntracked;
use pmo_domain::PersonId;
use pmo_sync::{Event, TabMessage};
use std::cell::RefCell;
use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{JsCast, JsValue};

/// Message: the persisted outbox has changed.
pub(crate) const OUTBOX_CHANGED: &str = "outbox";
/// Message: the persisted drafts have changed.
pub(crate) const DRAFTS_CHANGED: &str = "drafts";
/// Message: the user has signed out.
pub(crate) const SIGNED_OUT: &str = "signed-out";
/// Message: the user has signed in again, after the session had expired.
pub(crate) const SIGNED_IN: &str = "signed-in";

/// The channel to the other tabs, and the name of the leader lock.
pub(crate) struct Tabs {
    channel: Option<web_sys::BroadcastChannel>,
    lock: String,
}

impl Tabs {
    /// Opens the channel of `person` and handles its messages.
    pub(crate) fn join(person: PersonId) -> Self {
        let channel = web_sys::BroadcastChannel::new(&format!("pmo-{person}")).ok();
        if let Some(channel) = &channel {
            let on_message = Closure::<dyn Fn(web_sys::MessageEvent)>::new(|event: web_sys::MessageEvent| {
                let Some(text) = event.data().as_string() else { return };
                match text.as_str() {
                    OUTBOX_CHANGED => client().enqueue_store_task(StoreTask::ReadOutbox),
                    DRAFTS_CHANGED => client().enqueue_store_task(StoreTask::ReadDrafts),
                    SIGNED_OUT => super::reload(),
                    SIGNED_IN if matches!(client().auth_state.get_untracked(), AuthState::SessionExpired(_)) => {
                        client().refresh_token();
                    }
                    // Messages of a newer build are ignored.
                    text => {
                        if let Ok(message) = serde_json::from_str::<TabMessage>(text) {
                            client().dispatch(Event::TabMessageReceived(message));
                        }
                    }
                }
            });
            channel.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
            on_message.forget();
        }
        Self { channel, lock: lock_name(person) }
    }

    /// Posts a message to the other tabs.
    pub(crate) fn post_message(&self, text: &str) {
        if let Some(channel) = &self.channel {
            let _ = channel.post_message(&JsValue::from_str(text));
        }
    }
}

fn lock_name(person: PersonId) -> String {
    format!("pmo-{person}-leader")
}

/// Returns whether the browser offers Web Locks; it does so only on secure pages.
pub(crate) fn supports_locks() -> bool {
    let navigator = web_sys::window().map(|w| w.navigator());
    navigator.and_then(|n| js_sys::Reflect::get(&n, &"locks".into()).ok()).is_some_and(|locks| locks.is_object())
}

/// Requests the lock `name`, with `option` (`ifAvailable` or `steal`) set.
///
/// Calls `granted` with whether the lock was acquired. The lock is held until the tab is closed or
/// another tab steals it; `lost` is called in the second case. Returns `false` if the browser has
/// no Web Locks; neither callback is called then.
fn request(
    name: &str,
    option: Option<&str>,
    granted: impl FnOnce(bool) + 'static,
    lost: impl FnOnce() + 'static,
) -> bool {
    let locks = web_sys::window().and_then(|w| js_sys::Reflect::get(&w.navigator(), &"locks".into()).ok());
    let function = locks
        .as_ref()
        .and_then(|l| js_sys::Reflect::get(l, &"request".into()).ok()?.dyn_into::<js_sys::Function>().ok());
    let (Some(locks), Some(function)) = (locks, function) else { return false };
    let options = js_sys::Object::new();
    if let Some(option) = option {
        let _ = js_sys::Reflect::set(&options, &option.into(), &JsValue::TRUE);
    }
    let on_lock = Closure::once_into_js(move |lock: JsValue| -> JsValue {
        let acquired = !lock.is_null();
        granted(acquired);
        // A promise that never resolves keeps the lock.
        if acquired { js_sys::Promise::new(&mut |_, _| {}).into() } else { JsValue::UNDEFINED }
    });
    let result = function.call3(&locks, &JsValue::from_str(name), &options, &on_lock);
    if let Ok(result) = result
        && let Ok(promise) = result.dyn_into::<js_sys::Promise>()
    {
        wasm_bindgen_futures::spawn_local(async move {
            // The promise of an acquired lock is rejected when another tab steals the lock.
            if wasm_bindgen_futures::JsFuture::from(promise).await.is_err() {
                lost();
            }
        });
    }
    true
}

/// Acquires the leader lock if it is free, and returns whether this tab is the leader.
///
/// Without Web Locks (insecure page) every tab is a leader; idempotency keys make it harmless if
/// two tabs send the same write.
pub(crate) async fn try_acquire_lock(person: PersonId) -> bool {
    let (sender, receiver) = oneshot::channel();
    let name = lock_name(person);
    let granted = move |acquired| {
        let _ = sender.send(acquired);
    };
    if !request(&name, Some("ifAvailable"), granted, on_leadership_lost) {
        return true;
    }
    receiver.await.unwrap_or(false)
}

/// Queues for the leader lock; this tab becomes the leader when it acquires the lock.
pub(crate) fn wait_for_lock(person: PersonId) {
    wait_for(lock_name(person));
}

fn wait_for(name: String) {
    request(
        &name,
        None,
        |acquired| {
            if acquired {
                client().enqueue_store_task(StoreTask::BecomeLeader)
            }
        },
        on_leadership_lost,
    );
}

/// Makes this tab a follower, after another tab has taken the lock, and queues for the lock again.
fn on_leadership_lost() {
    client().dispatch(Event::LeadershipLost);
    let name = client().tabs.borrow().as_ref().map(|tabs| tabs.lock.clone());
    if let Some(name) = name {
        wait_for(name);
    }
}

thread_local! {
    static STEALING_LOCK: RefCell<bool> = const { RefCell::new(false) };
}

/// Takes the leader lock from a tab that does not respond.
pub(crate) fn steal_lock() {
    let name = client().tabs.borrow().as_ref().map(|tabs| tabs.lock.clone());
    let Some(name) = name else { return };
    if STEALING_LOCK.with(|stealing| stealing.replace(true)) {
        return;
    }
    let granted = |acquired| {
        STEALING_LOCK.with(|stealing| stealing.replace(false));
        if acquired {
            client().enqueue_store_task(StoreTask::BecomeLeader);
        }
    };
    if !request(&name, Some("steal"), granted, || client().dispatch(Event::LeadershipLost)) {
        // Without Web Locks every tab that asks becomes a leader.
        STEALING_LOCK.with(|stealing| stealing.replace(false));
        client().enqueue_store_task(StoreTask::BecomeLeader);
    }
}
