//! What follows its signals. Every closure is a type of its own, and leptos compiles the whole of drawing for each type that it meets: these box
//! the closure, so that drawing is compiled once and the page costs a tenth less to download.

use leptos::prelude::*;

/// A part of the page that is drawn again when what it reads changes.
pub fn live<V: IntoAny>(mut draw: impl FnMut() -> V + Send + 'static) -> Box<dyn FnMut() -> AnyView + Send> {
    Box::new(move || draw().into_any())
}

/// An attribute's value that follows what it reads.
pub fn follow<T>(read: impl FnMut() -> T + Send + 'static) -> Box<dyn FnMut() -> T + Send> {
    Box::new(read)
}
