//! Neighbouring tabs of one person: one of them leads (it holds a Web Lock for as long as it lives), and all hear what the others say. Who leads is
//! decided by the browser; what leading means, by the engine.

use super::{AuthState, StoreTask, client};
use futures_channel::oneshot;
use leptos::prelude::GetUntracked;
use pmo_domain::PersonId;
use pmo_sync::{Event, TabMessage};
use std::cell::RefCell;
use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{JsCast, JsValue};

/// Says that the outbox on the device has changed.
pub const OUTBOX_CHANGED: &str = "outbox";
/// Says that drafts on the device have changed.
pub const DRAFTS_CHANGED: &str = "drafts";
/// Says that this person has signed out.
pub const SIGNED_OUT: &str = "signed-out";
/// Says that this person has signed in again, after their session had ended.
pub const SIGNED_IN: &str = "signed-in";

/// The channel to the other tabs.
pub struct Tabs {
    channel: Option<web_sys::BroadcastChannel>,
    lock: String,
}

impl Tabs {
    /// Joins the tabs of `person`.
    pub fn join(person: PersonId) -> Self {
        let channel = web_sys::BroadcastChannel::new(&format!("pmo-{person}")).ok();
        if let Some(channel) = &channel {
            let heard = Closure::<dyn Fn(web_sys::MessageEvent)>::new(|event: web_sys::MessageEvent| {
                let Some(text) = event.data().as_string() else { return };
                match text.as_str() {
                    OUTBOX_CHANGED => client().enqueue_store_task(StoreTask::ReadOutbox),
                    DRAFTS_CHANGED => client().enqueue_store_task(StoreTask::ReadDrafts),
                    SIGNED_OUT => super::reload(),
                    SIGNED_IN if matches!(client().presence.get_untracked(), AuthState::SessionExpired(_)) => {
                        client().refresh_token();
                    }
                    // A message of a later build is passed over.
                    text => {
                        if let Ok(message) = serde_json::from_str::<TabMessage>(text) {
                            client().dispatch(Event::TabMessageReceived(message));
                        }
                    }
                }
            });
            channel.set_onmessage(Some(heard.as_ref().unchecked_ref()));
            heard.forget();
        }
        Self { channel, lock: lock_name(person) }
    }

    /// Says something to the others.
    pub fn post_message(&self, text: &str) {
        if let Some(channel) = &self.channel {
            let _ = channel.post_message(&JsValue::from_str(text));
        }
    }
}

fn lock_name(person: PersonId) -> String {
    format!("pmo-{person}-leader")
}

/// Whether the browser has locks: on secure pages alone.
pub fn supports_locks() -> bool {
    let navigator = web_sys::window().map(|w| w.navigator());
    navigator.and_then(|n| js_sys::Reflect::get(&n, &"locks".into()).ok()).is_some_and(|locks| locks.is_object())
}

/// Asks for the lock. `granted` hears whether it was got; the lock is kept until another tab takes it, and `lost` hears of that. False where the browser
/// has no locks.
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
    let holding = Closure::once_into_js(move |lock: JsValue| -> JsValue {
        let got = !lock.is_null();
        granted(got);
        if got { js_sys::Promise::new(&mut |_, _| {}).into() } else { JsValue::UNDEFINED }
    });
    let answer = function.call3(&locks, &JsValue::from_str(name), &options, &holding);
    if let Ok(answer) = answer
        && let Ok(promise) = answer.dyn_into::<js_sys::Promise>()
    {
        wasm_bindgen_futures::spawn_local(async move {
            // It never ends well: either it was taken, or it was not to be had.
            if wasm_bindgen_futures::JsFuture::from(promise).await.is_err() {
                lost();
            }
        });
    }
    true
}

/// Leads at once where no other tab does. Without Web Locks (an insecure page) every tab leads; keys make a double send harmless.
pub async fn try_acquire_lock(person: PersonId) -> bool {
    let (sender, receiver) = oneshot::channel();
    let name = lock_name(person);
    let granted = move |got| {
        let _ = sender.send(got);
    };
    if !request(&name, Some("ifAvailable"), granted, on_leadership_lost) {
        return true;
    }
    receiver.await.unwrap_or(false)
}

/// Leads as soon as no other tab does.
pub fn wait_for_lock(person: PersonId) {
    wait_for(lock_name(person));
}

fn wait_for(name: String) {
    request(
        &name,
        None,
        |got| {
            if got {
                client().enqueue_store_task(StoreTask::Lead)
            }
        },
        on_leadership_lost,
    );
}

/// Another tab has taken the lead: this one follows, and waits for its turn.
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

/// Takes the lead from a tab that does not answer.
pub fn steal_lock() {
    let name = client().tabs.borrow().as_ref().map(|tabs| tabs.lock.clone());
    let Some(name) = name else { return };
    if STEALING_LOCK.with(|taking| taking.replace(true)) {
        return;
    }
    let granted = |got| {
        STEALING_LOCK.with(|taking| taking.replace(false));
        if got {
            client().enqueue_store_task(StoreTask::Lead);
        }
    };
    if !request(&name, Some("steal"), granted, || client().dispatch(Event::LeadershipLost)) {
        // A browser without locks: who asks leads.
        STEALING_LOCK.with(|taking| taking.replace(false));
        client().enqueue_store_task(StoreTask::Lead);
    }
}
