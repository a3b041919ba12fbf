//! Writer of XML text with indentation.

use std::fmt::{Display, Write};

/// XML text under construction.
#[derive(Debug, Default)]
pub(crate) struct XmlWriter {
    text: String,
    depth: usize,
}

impl XmlWriter {
    /// Returns a document with its declaration.
    pub(crate) fn new() -> Self {
        let text = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>".to_owned();
        Self { text, depth: 0 }
    }

    /// Returns the text.
    pub(crate) fn finish(mut self) -> String {
        self.text.push('\n');
        self.text
    }

    /// Writes an element that contains what `content` writes; `attributes` begin with a space.
    pub(crate) fn element(&mut self, name: &str, attributes: &str, content: impl FnOnce(&mut Self)) {
        self.indent();
        self.push_tag("<", name, attributes);
        self.depth += 1;
        content(self);
        self.depth -= 1;
        self.indent();
        self.push_tag("</", name, "");
    }

    /// Writes an element without attributes.
    pub(crate) fn group(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        self.element(name, "", content);
    }

    /// Writes an element with text, without characters that XML cannot represent.
    pub(crate) fn text(&mut self, name: &str, text: &str) {
        self.indent();
        self.push_tag("<", name, "");
        for character in text.chars() {
            match character {
                '&' => self.text.push_str("&amp;"),
                '<' => self.text.push_str("&lt;"),
                '>' => self.text.push_str("&gt;"),
                // A reader would turn it into a line feed.
                '\r' => self.text.push_str("&#13;"),
                '\t' | '\n' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'.. => {
                    self.text.push(character);
                }
                _ => {}
            }
        }
        self.push_tag("</", name, "");
    }

    /// Writes an element with a value whose text needs no escapes.
    pub(crate) fn value(&mut self, name: &str, value: impl Display) {
        self.indent();
        self.push_tag("<", name, "");
        // Writing to memory cannot fail.
        let _ = write!(self.text, "{value}");
        self.push_tag("</", name, "");
    }

    /// Writes an element with a value, if there is one.
    pub(crate) fn optional(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.value(name, value);
        }
    }

    /// Writes an element with 1 for true and 0 for false.
    pub(crate) fn flag(&mut self, name: &str, flag: bool) {
        self.value(name, u8::from(flag));
    }

    fn push_tag(&mut self, open: &str, name: &str, attributes: &str) {
        self.text.push_str(open);
        self.text.push_str(name);
        self.text.push_str(attributes);
        self.text.push('>');
    }

    fn indent(&mut self) {
        self.text.push('\n');
        for _ in 0..self.depth {
            self.text.push(' ');
        }
    }
}
