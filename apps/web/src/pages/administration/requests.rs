//! Requests and shared helpers of the administration pages.

use crate::client::http::{self, Method};
use crate::client::new_id;
use crate::hooks::{catalog, invalidate};
use leptos::prelude::*;
use pmo_domain::EntityCode;
use pmo_sync::Query;
use serde_json::Value;
use std::cell::RefCell;
use wasm_bindgen_futures::spawn_local;

thread_local! {
    /// Last request without a response and its idempotency key.
    ///
    /// The same request sent again uses the same key, so that the server executes it once.
    static PENDING_REQUEST: RefCell<Option<(String, String)>> = const { RefCell::new(None) };
}

/// Sends a change to the server and calls `done` with the response; `error` receives a failure.
pub(crate) fn send(
    method: Method,
    path: String,
    body: Option<Value>,
    busy: RwSignal<bool>,
    error: RwSignal<Option<String>>,
    done: impl FnOnce(Value) + 'static,
) {
    busy.set(true);
    error.set(None);
    let request = format!("{path} {}", body.as_ref().map(ToString::to_string).unwrap_or_default());
    let pending = PENDING_REQUEST.with_borrow_mut(Option::take).filter(|(sent, _)| *sent == request);
    let key = pending.map_or_else(|| new_id().to_string(), |(_, key)| key);
    PENDING_REQUEST.set(Some((request, key.clone())));
    spawn_local(async move {
        match http::request(method, &path, body.as_ref(), Some(&key)).await {
            Ok(response) => {
                PENDING_REQUEST.set(None);
                done(response);
            }
            Err(failure) => drop(error.try_set(Some(failure.to_string()))),
        }
        busy.try_set(false);
    });
}

/// Refetches types, option sets and settings after one of them changed.
pub(crate) fn refresh_reference_data() {
    invalidate(|query| matches!(query, Query::Meta(_)));
}

/// Converts an identifier to a label: `task_stage` becomes `Task stage`.
pub(crate) fn humanize(name: &str) -> String {
    let text = name.replace('_', " ");
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Returns all entity types as code and plural label, sorted by label.
pub(crate) fn type_choices() -> Vec<(EntityCode, String)> {
    let mut choices: Vec<_> = catalog().types.values().map(|kind| (kind.code.clone(), kind.ui_label.clone())).collect();
    choices.sort_by(|a, b| a.1.cmp(&b.1));
    choices
}
