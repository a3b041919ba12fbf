//! Log of the most recent WebSocket frames, for the devtools.
//!
//! Recorded only while the devtools are open; frames are truncated.
//!
//! Must not: record a token.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

/// Maximum number of recorded frames.
const MAX_FRAMES: usize = 100;
/// Maximum length of a recorded frame, in characters.
const MAX_FRAME_CHARS: usize = 300;

/// Ring buffer of the most recent frames.
#[derive(Default)]
pub struct FrameLog {
    enabled: Cell<bool>,
    frames: RefCell<VecDeque<Vec<String>>>,
}

impl FrameLog {
    /// Starts or stops recording; stopping clears the log.
    pub fn set_enabled(&self, enabled: bool) {
        self.enabled.set(enabled);
        if !enabled {
            self.frames.borrow_mut().clear();
        }
    }

    /// Records a frame that was sent (`outgoing`) or received.
    pub fn record(&self, outgoing: bool, text: &str) {
        if !self.enabled.get() {
            return;
        }
        let has_token = text.contains("\"token\"");
        let text = if has_token { "[token redacted]".to_owned() } else { text.chars().take(MAX_FRAME_CHARS).collect() };
        let time = js_sys::Date::new_0().to_locale_time_string("en-GB").as_string().unwrap_or_default();
        let mut frames = self.frames.borrow_mut();
        frames.push_front(vec![time, if outgoing { "sent" } else { "received" }.to_owned(), text]);
        frames.truncate(MAX_FRAMES);
    }

    /// Returns time, direction and text of each recorded frame, newest first.
    pub fn entries(&self) -> Vec<Vec<String>> {
        self.frames.borrow().iter().cloned().collect()
    }
}
