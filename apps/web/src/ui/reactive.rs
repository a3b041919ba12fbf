//! What follows its signals. Every closure is a type of its own, and leptos compiles the whole of drawing for each type that it meets: these box
//! the closure, so that drawing is compiled once and the page costs a tenth less to download.

use leptos::prelude::*;

/// A part of the page that is drawn again when what it reads changes.
pub fn reactive_view<V: IntoAny>(mut draw: impl FnMut() -> V + Send + 'static) -> Box<dyn FnMut() -> AnyView + Send> {
    Box::new(move || draw().into_any())
}

/// An attribute's value that follows what it reads.
pub fn reactive_attr<T>(read: impl FnMut() -> T + Send + 'static) -> Box<dyn FnMut() -> T + Send> {
    Box::new(read)
}

/// Runs something when the frame that is being made has been drawn: what a person did is on the screen before work that may take longer begins. Not before
/// the page is looked at, where it is in the background.
pub fn after_paint(run: impl FnOnce() + 'static) {
    request_animation_frame(move || set_timeout(run, std::time::Duration::ZERO));
}
