//! The last frames of the socket, for whoever looks: kept only while somebody does, cut short, and without tokens.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

/// Frames that are kept.
const MAX_FRAMES: usize = 100;
/// Letters of each that are kept.
const MAX_FRAME_CHARS: usize = 300;

/// The last frames.
#[derive(Default)]
pub struct FrameLog {
    listening: Cell<bool>,
    last: RefCell<VecDeque<Vec<String>>>,
}

impl FrameLog {
    /// Begins or ends keeping them.
    pub fn listen(&self, on: bool) {
        self.listening.set(on);
        if !on {
            self.last.borrow_mut().clear();
        }
    }

    /// A frame went out or came in.
    pub fn note(&self, out: bool, text: &str) {
        if !self.listening.get() {
            return;
        }
        let secret = text.contains("\"token\"");
        let text = if secret { "a token".to_owned() } else { text.chars().take(MAX_FRAME_CHARS).collect() };
        let time = js_sys::Date::new_0().to_locale_time_string("en-GB").as_string().unwrap_or_default();
        let mut last = self.last.borrow_mut();
        last.push_front(vec![time, if out { "sent" } else { "came" }.to_owned(), text]);
        last.truncate(MAX_FRAMES);
    }

    /// Time, direction and text of each, the last first.
    pub fn entries(&self) -> Vec<Vec<String>> {
        self.last.borrow().iter().cloned().collect()
    }
}
