//! Boxed reactive closures for views and attributes.
//!
//! Every closure has its own type, and Leptos monomorphizes its rendering code for each of them.
//! Boxing the closure avoids that and makes the download about 10 % smaller.

use leptos::prelude::*;

/// Returns a view that is rendered again when a signal that `render` reads changes.
pub(crate) fn reactive_view<V: IntoAny>(
    mut render: impl FnMut() -> V + Send + 'static,
) -> Box<dyn FnMut() -> AnyView + Send> {
    Box::new(move || render().into_any())
}

/// Returns an attribute value that is updated when a signal that `read` reads changes.
pub(crate) fn reactive_attr<T>(read: impl FnMut() -> T + Send + 'static) -> Box<dyn FnMut() -> T + Send> {
    Box::new(read)
}

/// Calls `run` after the next frame has been painted, so that input is visible before longer work.
///
/// While the page is in the background, the call is delayed until it is visible again.
pub(crate) fn after_paint(run: impl FnOnce() + 'static) {
    request_animation_frame(move || set_timeout(run, std::time::Duration::ZERO));
}
