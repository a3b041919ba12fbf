//! Message about a failed request.

use super::reactive::reactive_view;
use super::value_view::icon;
use leptos::prelude::*;

/// Shows the message of a failure, if there is one.
pub(crate) fn error_message(error: RwSignal<Option<String>>) -> impl IntoView {
    reactive_view(move || {
        error.get().map(|message| view! { <p class="hint error" role="alert">{icon("circle-alert")}{message}</p> })
    })
}
