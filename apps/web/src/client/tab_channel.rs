//! Leader election and messages between the tabs of one user.
//!
//! One tab is the leader: it holds a Web Lock until it is closed. The browser elects the leader;
//! the engine defines its duties. All tabs exchange messages over a `BroadcastChannel`.

use super::connection_event::{ConnectionEvent, OnConnectionEvent};
use futures_channel::oneshot;
use pmo_domain::PersonId;
use pmo_sync::{Event, TabMessage};
use std::cell::Cell;
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

/// The channel to the other tabs, and the leader lock.
pub(crate) struct Tabs {
    channel: Option<web_sys::BroadcastChannel>,
    lock: LeaderLock,
}

/// The Web Lock that the leader tab of a user holds.
#[derive(Clone)]
pub(crate) struct LeaderLock {
    name: String,
    on_event: OnConnectionEvent,
}

impl Tabs {
    /// Opens the channel of `person` and reports its messages to `on_event`.
    pub(crate) fn join(person: PersonId, on_event: OnConnectionEvent) -> Self {
        let channel = web_sys::BroadcastChannel::new(&format!("pmo-{person}")).ok();
        if let Some(channel) = &channel {
            let on_message = Closure::<dyn Fn(web_sys::MessageEvent)>::new(move |event: web_sys::MessageEvent| {
                let Some(text) = event.data().as_string() else { return };
                on_event(match text.as_str() {
                    OUTBOX_CHANGED => ConnectionEvent::OutboxChanged,
                    DRAFTS_CHANGED => ConnectionEvent::DraftsChanged,
                    SIGNED_OUT => ConnectionEvent::SignedOut,
                    SIGNED_IN => ConnectionEvent::SignedIn,
                    // Messages of a newer build are ignored.
                    text => match serde_json::from_str::<TabMessage>(text) {
                        Ok(message) => ConnectionEvent::Engine(Event::TabMessageReceived(message)),
                        Err(_) => return,
                    },
                });
            });
            channel.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
            on_message.forget();
        }
        Self { channel, lock: LeaderLock { name: format!("pmo-{person}-leader"), on_event } }
    }

    /// Posts a message to the other tabs.
    pub(crate) fn post_message(&self, text: &str) {
        if let Some(channel) = &self.channel {
            let _ = channel.post_message(&JsValue::from_str(text));
        }
    }

    /// Returns the leader lock.
    pub(crate) fn lock(&self) -> LeaderLock {
        self.lock.clone()
    }
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

thread_local! {
    static STEALING_LOCK: Cell<bool> = const { Cell::new(false) };
}

impl LeaderLock {
    /// Acquires the lock if it is free, and returns whether this tab is the leader.
    ///
    /// Without Web Locks (insecure page) every tab is a leader; idempotency keys make it harmless
    /// if two tabs send the same write.
    pub(crate) async fn try_acquire(&self) -> bool {
        let (sender, receiver) = oneshot::channel();
        let granted = move |acquired| {
            let _ = sender.send(acquired);
        };
        let lock = self.clone();
        if !request(&self.name, Some("ifAvailable"), granted, move || lock.on_lost()) {
            return true;
        }
        receiver.await.unwrap_or(false)
    }

    /// Queues for the lock, and reports when this tab acquires it.
    pub(crate) fn wait(&self) {
        let (on_event, lock) = (self.on_event, self.clone());
        let granted = move |acquired| {
            if acquired {
                on_event(ConnectionEvent::LockAcquired);
            }
        };
        request(&self.name, None, granted, move || lock.on_lost());
    }

    /// Makes this tab a follower, after another tab has stolen the lock, and queues for it again.
    fn on_lost(&self) {
        (self.on_event)(ConnectionEvent::Engine(Event::LeadershipLost));
        self.wait();
    }

    /// Takes the lock from a tab that does not respond.
    pub(crate) fn steal(&self) {
        if STEALING_LOCK.replace(true) {
            return;
        }
        let on_event = self.on_event;
        let granted = move |acquired| {
            STEALING_LOCK.set(false);
            if acquired {
                on_event(ConnectionEvent::LockAcquired);
            }
        };
        let lost = move || on_event(ConnectionEvent::Engine(Event::LeadershipLost));
        if !request(&self.name, Some("steal"), granted, lost) {
            // Without Web Locks every tab that asks becomes a leader.
            STEALING_LOCK.set(false);
            on_event(ConnectionEvent::LockAcquired);
        }
    }
}
