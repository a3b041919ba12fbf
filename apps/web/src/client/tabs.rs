//! Neighbouring tabs of one person: one of them sends the outbox (it holds a Web Lock for as long as it lives), all hear when the
//! outbox on the device has changed.

use super::{DeviceTask, Presence, client};
use leptos::prelude::GetUntracked;
use pmo_domain::PersonId;
use pmo_sync::Event;
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
}

impl Tabs {
    /// Joins the tabs of `person`, and leads them once no other does.
    pub fn join(person: PersonId) -> Self {
        let name = format!("pmo-{person}");
        let channel = web_sys::BroadcastChannel::new(&name).ok();
        if let Some(channel) = &channel {
            let heard = Closure::<dyn Fn(web_sys::MessageEvent)>::new(|event: web_sys::MessageEvent| {
                match event.data().as_string().as_deref() {
                    Some(OUTBOX_CHANGED) => client().on_device(DeviceTask::ReadOutbox),
                    Some(DRAFTS_CHANGED) => client().on_device(DeviceTask::ReadDrafts),
                    Some(SIGNED_OUT) => super::reload(),
                    Some(SIGNED_IN) if matches!(client().presence.get_untracked(), Presence::Ended(_)) => {
                        client().renew_token();
                    }
                    _ => {}
                }
            });
            channel.set_onmessage(Some(heard.as_ref().unchecked_ref()));
            heard.forget();
        }
        lead(&name);
        Self { channel }
    }

    /// Says a word to the others.
    pub fn say(&self, word: &str) {
        if let Some(channel) = &self.channel {
            let _ = channel.post_message(&JsValue::from_str(word));
        }
    }
}

/// Waits for the lock and keeps it while the tab lives. Without Web Locks (an insecure page) every tab leads; keys make a double send
/// harmless.
fn lead(name: &str) {
    let granted = Closure::once_into_js(move |_lock: JsValue| -> js_sys::Promise {
        client().on_device(DeviceTask::ReadOutbox);
        client().dispatch(Event::Leader(true));
        js_sys::Promise::new(&mut |_, _| {})
    });
    let locks = web_sys::window().and_then(|w| js_sys::Reflect::get(&w.navigator(), &"locks".into()).ok());
    let request = locks
        .as_ref()
        .and_then(|l| js_sys::Reflect::get(l, &"request".into()).ok()?.dyn_into::<js_sys::Function>().ok());
    match (locks, request) {
        (Some(locks), Some(request)) => {
            let _ = request.call2(&locks, &JsValue::from_str(&format!("{name}-outbox")), &granted);
        }
        _ => client().dispatch(Event::Leader(true)),
    }
}
