//! Service worker: registration, detection of a new build, and the switch to it.

use super::client;
use leptos::prelude::{Set, window};
use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};

/// Registers the service worker that caches the app, and detects a new build.
pub fn register() {
    // A development build is not cached: a rebuild must be visible immediately.
    if cfg!(debug_assertions) {
        return;
    }
    let workers = window().navigator().service_worker();
    if JsValue::from(&workers).is_undefined() {
        return;
    }
    spawn_local(async move {
        let Ok(value) = JsFuture::from(workers.register("/sw.js")).await else { return };
        let Ok(registration) = value.dyn_into::<web_sys::ServiceWorkerRegistration>() else { return };
        let observed = registration.clone();
        let on_update_found = Closure::<dyn Fn()>::new(move || {
            let Some(worker) = observed.installing() else { return };
            let first_install = window().navigator().service_worker().controller().is_none();
            let installing = worker.clone();
            let on_state_change = Closure::<dyn Fn()>::new(move || {
                if installing.state() == web_sys::ServiceWorkerState::Installed && !first_install {
                    client().update_available.set(true);
                }
            });
            worker.set_onstatechange(Some(on_state_change.as_ref().unchecked_ref()));
            on_state_change.forget();
        });
        registration.set_onupdatefound(Some(on_update_found.as_ref().unchecked_ref()));
        on_update_found.forget();
        if registration.waiting().is_some() {
            client().update_available.set(true);
        }
    });
}

/// Activates the waiting build and reloads the page.
///
/// The update runs only on request of the user. Drafts are persisted and survive the reload.
pub fn apply_update() {
    spawn_local(async {
        let workers = window().navigator().service_worker();
        if let Ok(value) = JsFuture::from(workers.get_registration()).await
            && let Ok(registration) = value.dyn_into::<web_sys::ServiceWorkerRegistration>()
            && let Some(waiting) = registration.waiting()
        {
            let _ = waiting.post_message(&JsValue::from_str("take-over"));
        }
        let _ = window().location().reload();
    });
}
