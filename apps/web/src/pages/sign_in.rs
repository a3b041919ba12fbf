//! Sign-in, as a page or as a dialog.
//!
//! When the session expires, the dialog opens over the page; the state of the page is preserved.

use crate::client::http::HttpError;
use crate::client::{client, http};
use crate::ui::error_message::error_message;
use crate::ui::reactive::{reactive_attr, reactive_view};
use crate::ui::value_view::icon;
use leptos::prelude::*;
use wasm_bindgen_futures::spawn_local;

/// Sign-in form, as a page or as a dialog over the current page.
#[component]
pub(crate) fn SignIn(
    /// Whether a session has expired; the form is then a dialog over the current page.
    over_page: bool,
) -> impl IntoView {
    let (email, password) = (RwSignal::new(String::new()), RwSignal::new(String::new()));
    let (error, busy, shown) = (RwSignal::new(None::<String>), RwSignal::new(false), RwSignal::new(false));
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        if busy.get_untracked() {
            return;
        }
        busy.set(true);
        error.set(None);
        spawn_local(async move {
            match http::login(&email.get_untracked(), &password.get_untracked()).await {
                Ok(response) => client().signed_in(response).await,
                Err(HttpError::Unreachable) => {
                    error.set(Some("Server unreachable. Check the network and try again.".to_owned()));
                }
                Err(failure) => error.set(Some(failure.to_string())),
            }
            busy.set(false);
        });
    };
    let form = view! {
        <form aria-labelledby="welcome" on:submit=submit>
            <p class="brand"><span class="mark"><i class="i i-logo" aria-hidden="true"></i></span>"PMO"</p>
            <div>
                <h1 id="welcome">{if over_page { "Sign in again" } else { "Sign in" }}</h1>
                <p class="lead">{if over_page { "Session expired. Your work is saved." } else { "to Program Office" }}</p>
            </div>
            <div class="field"><label for="email">"Email"</label>
                <span class="input"><input id="email" type="email" name="email" autocomplete="username" required autofocus
                    on:input=move |e| email.set(event_target_value(&e))/></span></div>
            <div class="field"><label for="password">"Password"</label>
                <span class="input"><input id="password" name="password" type=reactive_attr(move || if shown.get() { "text" } else { "password" }) autocomplete="current-password" required
                    aria-invalid=reactive_attr(move || error.get().is_some().then_some("true")) on:input=move |e| password.set(event_target_value(&e))/>
                    <button type="button" class="btn quiet icon sm" aria-label=reactive_attr(move || if shown.get() { "Hide password" } else { "Show password" })
                        on:click=move |_| shown.update(|s| *s = !*s)>{reactive_view(move || icon(if shown.get() { "eye-off" } else { "eye" }))}</button></span></div>
            {error_message(error)}
            <button class="btn primary lg wide" disabled=reactive_attr(move || busy.get())>{reactive_view(move || if busy.get() { "Signing in…" } else { "Sign in" })}</button>
            <p class="fine">{icon("hard-drive")}<span>"Plans that you open stay available offline and can be edited. Signing out removes them from this device."</span></p>
        </form>
    };
    if over_page {
        return view! { <div class="scrim"><div class="dialog sign-in-dialog" role="dialog" aria-modal="true" aria-label="Sign in again">{form}</div></div> }.into_any();
    }
    view! {
        <div class="sign-in">
            <main>{form}</main>
            <aside aria-hidden="true">
                <div class="sample-timeline">
                    <header><i class="i i-health-amber sm"></i><strong>"Release 4.0 · Road to beta"</strong></header>
                    <ul>{SAMPLE_TIMELINE.iter().map(|(icon_name, name, style)| view! {
                        <li><span><i class=format!("i i-{icon_name}")></i><span>{*name}</span></span><i class=if style.contains("--d") { "" } else { "dia" } style=*style></i></li>
                    }).collect_view()}</ul>
                </div>
                <p class="sample-note">"One shared plan, updated in real time and available offline."</p>
            </aside>
        </div>
    }
    .into_any()
}

/// Sample plan, shown as decoration: icon, task name and position on the timeline (CSS properties).
const SAMPLE_TIMELINE: [(&str, &str, &str); 8] = [
    ("stage-completed", "Scope agreed", "--s:12"),
    ("stage-in-progress", "Freeze the interfaces", "--s:16;--d:25;--p:60"),
    ("stage-in-progress", "Translate the release notes", "--s:16;--d:36;--p:45"),
    ("stage-in-progress", "Test the beta candidate", "--s:30;--d:12;--p:10"),
    ("stage-to-do", "Stage and sync to mirrors", "--s:43;--d:9;--p:0"),
    ("stage-to-do", "Beta is public", "--s:52"),
    ("stage-to-do", "Beta testing", "--s:52;--d:36;--p:0"),
    ("stage-planning", "Final change deadline", "--s:88"),
];
