//! Toolbar: legend, layers, zoom, problems and export.

use super::export::{ExportAction, PrintDialog, save};
use super::state::GanttState;
use crate::ui::action_menu::{Action, Actions};
use crate::ui::reactive::{reactive_attr, reactive_view};
use crate::ui::value_view::icon;
use leptos::prelude::*;
use pmo_gantt::{Layer, Zoom};

/// Toolbar of the chart.
#[component]
pub(super) fn Toolbar(state: GanttState, title: Signal<String>) -> impl IntoView {
    let layer = move |layer: Layer, label: &'static str| {
        let pressed = move || state.layers.with(|layers| layers.contains(&layer)).to_string();
        view! { <button class="btn quiet sm desk" aria-pressed=reactive_attr(pressed) on:click=move |_| state.toggle_layer(layer)>{label}</button> }
    };
    let zoom = Memo::new(move |_| Zoom::nearest(state.scale.get()));
    let zoom_button = move |named: Zoom| {
        view! { <button aria-pressed=reactive_attr(move || (zoom.get() == named).to_string()) on:click=move |_| state.set_zoom(named)>{named.label()}</button> }
    };
    let problems = Memo::new(move |_| {
        state.version.track();
        state.core.with_value(|core| core.problems.len())
    });
    let problems_button = move || {
        let count = problems.get();
        (count > 0).then(|| {
            let label = if count == 1 { "1 problem".to_owned() } else { format!("{count} problems") };
            view! { <button class="btn quiet sm warn" aria-expanded=reactive_attr(move || state.problems_open.get().to_string()) on:click=move |_| state.problems_open.update(|open| *open = !*open)>{icon("triangle-alert")}{label}</button> }
        })
    };
    let stored = Memo::new(move |_| {
        state.version.track();
        state.shows_stored_dates()
    });
    let printing = RwSignal::new(false);
    let actions = Callback::new(move |()| {
        let item = |icon, label: &str, run: Callback<()>| Action { icon, label: label.to_owned(), run };
        vec![
            item("printer", "Print…", Callback::new(move |()| printing.set(true))),
            item(
                "file-down",
                "Save as SVG",
                Callback::new(move |()| save(state, &title.get_untracked(), ExportAction::Svg)),
            ),
            item(
                "file-down",
                "Save as PNG",
                Callback::new(move |()| save(state, &title.get_untracked(), ExportAction::Png)),
            ),
        ]
    });
    view! {
        <div class="toolbar gantt-toolbar">
            <div class="legend desk">
                <span><i class="sw critical"></i>"Critical path"</span><span><i class="sw done"></i>"Done"</span><span><i class="sw"></i>"To come"</span>
            </div>
            <span class="grow"></span>
            {reactive_view(move || stored.get().then(|| view! { <span class="meta" data-testid="gantt-stored" title="A part of this plan is not on this device">{icon("info")}"Dates of the server"</span> }))}
            {reactive_view(problems_button)}
            {layer(Layer::Critical, "Critical path")}
            {layer(Layer::Links, "Links")}
            {layer(Layer::Slack, "Slack")}
            {layer(Layer::Baselines, "Baselines")}
            <button class="btn quiet sm" on:click=move |_| state.scroll_to_today()>"Today"</button>
            <button class="btn quiet sm" on:click=move |_| state.fit()>"Fit"</button>
            <button class="btn quiet icon sm" aria-label="Zoom out" title="Zoom out (-)" on:click=move |_| state.zoom_by(1.0 / 1.5)>{icon("zoom-out")}</button>
            <button class="btn quiet icon sm" aria-label="Zoom in" title="Zoom in (+)" on:click=move |_| state.zoom_by(1.5)>{icon("zoom-in")}</button>
            <div class="segments desk" role="group" aria-label="Zoom">{Zoom::ALL.map(zoom_button).into_iter().collect_view()}</div>
            <ChartActions actions=actions/>
        </div>
        {reactive_view(move || printing.get().then(|| view! { <PrintDialog state=state title=title open=printing/> }))}
    }
}

/// Menu of the chart; that of the project is in the header of the page.
#[component]
fn ChartActions(actions: Callback<(), Vec<Action>>) -> impl IntoView {
    view! { <Actions actions=actions id="gantt-actions" label="Print and export"/> }
}
