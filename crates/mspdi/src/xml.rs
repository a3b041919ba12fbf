//! XML reader: passes on one item of a section at a time, as a small tree of elements.
//!
//! Rejects document types and entities other than the five predefined ones, because entity
//! expansion could make a small file grow without limit. Depth and size of an item are limited.

use quick_xml::events::Event;

/// Maximum nesting depth of elements.
const MAX_DEPTH: usize = 32;
/// Maximum number of elements in one item.
const MAX_ITEM_ELEMENTS: usize = 400_000;

/// Error of a file that cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{location}: {message}")]
pub struct Error {
    /// Message for the importing user.
    pub message: String,
    /// Location in the file: an element or a task.
    pub location: String,
}

pub(crate) fn invalid(location: impl Into<String>, message: impl Into<String>) -> Error {
    Error { location: location.into(), message: message.into() }
}

/// Element with its text and its children.
#[derive(Clone, Debug, Default)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) children: Vec<Self>,
}

impl Element {
    /// Returns the text of the first child with a name, without surrounding space; `None` if empty.
    pub(crate) fn text_of(&self, name: &str) -> Option<&str> {
        let child = self.children.iter().find(|child| child.name == name)?;
        Some(child.text.trim()).filter(|text| !text.is_empty())
    }

    /// Returns the first child with a name.
    pub(crate) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// Returns the children with a name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// Returns the children with a name inside the first child with another.
    pub(crate) fn list<'a>(&'a self, list: &str, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.child(list).into_iter().flat_map(move |list| list.all(name))
    }
}

/// Passes each item of a file to `visit`, with the name of its section.
///
/// The section of fields of the project itself is "". Fails if the file is not well-formed, is
/// truncated or exceeds a limit, or if `visit` fails.
pub(crate) fn for_each_item(
    text: &str,
    mut visit: impl FnMut(&str, Element) -> Result<(), Error>,
) -> Result<(), Error> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_start().is_empty() {
        return Err(invalid("file", "The file is empty."));
    }
    let mut reader = quick_xml::Reader::from_str(text);
    reader.config_mut().check_end_names = true;
    reader.config_mut().expand_empty_elements = true;
    let mut open: Vec<Element> = Vec::new();
    let (mut finished, mut count) = (false, 0);
    loop {
        let event = reader.read_event().map_err(|error| {
            let position = reader.buffer_position();
            invalid(
                "file",
                format!("The file is not well-formed XML near byte {position}: {error}. It may be truncated."),
            )
        })?;
        match event {
            Event::DocType(_) => {
                let message = "The file declares a document type, which a Microsoft Project file never does.";
                return Err(invalid("file", message));
            }
            Event::Start(start) => {
                let name = AsRef::<str>::as_ref(&start.local_name()).to_owned();
                count = if open.len() <= 2 { 0 } else { count + 1 };
                check_start(&name, open.len(), finished, count)?;
                open.push(Element { name, ..Element::default() });
            }
            Event::Text(part) => push_text(&mut open, &part),
            Event::CData(part) => push_text(&mut open, &part),
            Event::GeneralRef(reference) => push_reference(&mut open, &reference)?,
            Event::End(_) => {
                let element =
                    open.pop().ok_or_else(|| invalid("file", "The file has an end tag without a start tag."))?;
                finished |= open.is_empty();
                close(&mut open, element, &mut visit)?;
            }
            Event::Eof => break,
            _ => {}
        }
    }
    match open.last() {
        None if finished => Ok(()),
        last => {
            let name = last.map_or("Project", |element| element.name.as_str());
            Err(invalid("file", format!("The file ends inside <{name}>: it is truncated. Export the plan again.")))
        }
    }
}

fn check_start(name: &str, depth: usize, finished: bool, count: usize) -> Result<(), Error> {
    if depth == 0 && (name != "Project" || finished) {
        let name: String = name.chars().take(60).collect();
        return Err(invalid("file", format!("The file is not Microsoft Project XML: it starts with <{name}>.")));
    }
    if depth >= MAX_DEPTH {
        return Err(invalid("file", "The elements of the file are nested too deeply."));
    }
    if count > MAX_ITEM_ELEMENTS {
        return Err(invalid("file", "An element of the file has too many parts."));
    }
    Ok(())
}

fn push_text(open: &mut [Element], text: &str) {
    // Text between elements is only layout; it is kept where an element has no children.
    if let Some(element) = open.last_mut().filter(|element| element.children.is_empty()) {
        element.text.push_str(text);
    }
}

fn push_reference(open: &mut [Element], reference: &quick_xml::events::BytesRef<'_>) -> Result<(), Error> {
    let character = match (reference.resolve_char_ref().ok().flatten(), &**reference) {
        (Some(character), _) => character,
        (None, "amp") => '&',
        (None, "lt") => '<',
        (None, "gt") => '>',
        (None, "quot") => '"',
        (None, "apos") => '\'',
        _ => return Err(invalid("file", "The file uses an undefined XML entity. It was rejected.")),
    };
    push_text(open, character.encode_utf8(&mut [0; 4]));
    Ok(())
}

/// Passes on an item or a field of the project, and attaches any other element to its parent.
fn close(
    open: &mut [Element],
    element: Element,
    visit: &mut impl FnMut(&str, Element) -> Result<(), Error>,
) -> Result<(), Error> {
    match open {
        [] => Ok(()),
        [_] => visit("", element),
        [_, section] => visit(&section.name, element),
        [.., parent] => {
            parent.children.push(element);
            Ok(())
        }
    }
}
