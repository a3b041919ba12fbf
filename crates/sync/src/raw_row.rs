//! Rows stored as the JSON text that the server sent.
//!
//! Thousands of rows are in memory and few are displayed: a row is decoded on demand, and a single
//! column is read without decoding the others.
//!
//! Must not: modify the text of a row.

use pmo_domain::Row;
use serde_json::Value;
use std::sync::Arc;
use uuid::Uuid;

/// JSON text of a row: a slice of a text that is shared with the other rows of the response.
#[derive(Clone)]
pub struct RawRow {
    // Not `Arc<str>`: a response body becomes an `Arc<String>` without a copy.
    text: Arc<String>,
    from: u32,
    to: u32,
}

impl std::fmt::Debug for RawRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialEq for RawRow {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl RawRow {
    /// Creates a row with a text of its own.
    pub fn new(text: &str) -> Self {
        Self { from: 0, to: text.len() as u32, text: Arc::new(text.to_owned()) }
    }

    /// Creates a row from the byte range `from..to` of a shared text.
    ///
    /// Returns `None` if the range is out of bounds or not on character boundaries.
    pub fn slice(text: &Arc<String>, from: usize, to: usize) -> Option<Self> {
        text.get(from..to)?;
        Some(Self { text: text.clone(), from: from as u32, to: to as u32 })
    }

    /// Serializes a decoded row.
    pub fn from_row(row: &Row) -> Self {
        Self::new(&serde_json::to_string(row).unwrap_or_default())
    }

    /// Returns the JSON text.
    pub fn as_str(&self) -> &str {
        self.text.get(self.from as usize..self.to as usize).unwrap_or_default()
    }

    /// Decodes all columns; returns an empty row if the text is not a JSON object.
    pub fn decode(&self) -> Row {
        serde_json::from_str(self.as_str()).unwrap_or_default()
    }

    /// Returns the JSON text of one column.
    pub fn field(&self, name: &str) -> Option<&str> {
        fields(self.as_str()).find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// Decodes the value of one column; null if the column is missing.
    pub fn value(&self, name: &str) -> Value {
        self.field(name).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    /// Returns the value of one column if it is a string.
    pub fn text(&self, name: &str) -> Option<String> {
        match self.value(name) {
            Value::String(text) => Some(text),
            _ => None,
        }
    }
}

/// Fields of a row that the engine always needs, read in one pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowHeader {
    /// Id of the entity; `None` if missing or invalid.
    pub id: Option<Uuid>,
    /// Version of the row; 0 if missing.
    pub version: i64,
    /// Permission level of the user, if the row contains it.
    pub permission: Option<u8>,
    /// Whether the row contains the display names of referenced entities.
    pub has_reference_names: bool,
}

impl RowHeader {
    fn set_header_field(&mut self, key: &str, value: &str) {
        match key {
            "id" => self.id = value.trim_matches('"').parse().ok(),
            "version" => self.version = value.parse().unwrap_or_default(),
            "permission" => self.permission = value.parse().ok(),
            "ref_data_entityInstance" => self.has_reference_names = true,
            _ => {}
        }
    }

    /// Parses the header from the JSON text of a row.
    pub fn parse(text: &str) -> Self {
        let mut header = Self::default();
        fields(text).for_each(|(key, value)| header.set_header_field(key, value));
        header
    }
}

/// Returns whether two rows have equal columns, apart from the permission and reference names.
pub fn values_equal(a: &RawRow, b: &RawRow) -> bool {
    if a == b {
        return true;
    }
    let columns = |raw: &RawRow| {
        let mut row = raw.decode();
        row.remove("permission");
        row.remove("ref_data_entityInstance");
        row
    };
    columns(a) == columns(b)
}

/// Iterates over the fields of a JSON object as pairs of name and JSON text of the value.
///
/// The iteration ends where the text is not valid. Escapes in names are not decoded: column names
/// have none, and a name with one would not be found.
pub fn fields(text: &str) -> FieldScanner<'_> {
    let start = text.len() - text.trim_start().len();
    let at = if text.as_bytes().get(start) == Some(&b'{') { start + 1 } else { text.len() };
    FieldScanner { text, at, closed: false }
}

/// Item that [`scan_response`] reports.
pub enum ScanItem<'a> {
    /// Name of a field and the JSON text of its value.
    Field(&'a str, &'a str),
    /// Start and end of a row in the text (byte offsets), and its header.
    Row(usize, usize, RowHeader),
}

/// Scans a response whose rows are the array in the field `rows`, in one pass.
///
/// Calls `on_item` for each field and each row. Returns `None` if the text has no such array or was
/// truncated; the caller must then discard all reported items.
pub fn scan_response<'a>(text: &'a str, rows: &str, mut on_item: impl FnMut(ScanItem<'a>)) -> Option<()> {
    let mut scanner = fields(text);
    let mut found = false;
    while let Some(key) = scanner.key() {
        if key == rows {
            scanner.rows(&mut on_item)?;
            found = true;
        } else {
            on_item(ScanItem::Field(key, scanner.value()?));
        }
    }
    (found && scanner.closed).then_some(())
}

/// Returns a mask with the high bit set in each byte of `word` that equals `byte`.
///
/// Only the lowest set bit is reliable; higher ones may be false positives.
fn matching_byte_mask(word: u64, byte: u8) -> u64 {
    const LOW_BITS: u64 = 0x0101_0101_0101_0101;
    let difference = word ^ (LOW_BITS * u64::from(byte));
    difference.wrapping_sub(LOW_BITS) & !difference & (LOW_BITS << 7)
}

/// Scanner over the fields of a JSON object, see [`fields`].
pub struct FieldScanner<'a> {
    text: &'a str,
    /// Current byte offset in `text`.
    at: usize,
    /// Whether the closing brace was reached.
    closed: bool,
}

impl<'a> FieldScanner<'a> {
    fn skip_whitespace(&mut self) {
        let bytes = self.text.as_bytes();
        while bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    /// Skips a string whose opening quote is at the current offset.
    fn string(&mut self) -> Option<()> {
        let bytes = self.text.as_bytes();
        self.at += 1;
        loop {
            // Eight bytes at a time, up to the next quote or backslash.
            while let Some(word) = bytes.get(self.at..self.at + 8).and_then(|word| word.try_into().ok()) {
                let word = u64::from_le_bytes(word);
                let found = matching_byte_mask(word, b'"') | matching_byte_mask(word, b'\\');
                if found != 0 {
                    self.at += found.trailing_zeros() as usize / 8;
                    break;
                }
                self.at += 8;
            }
            match bytes.get(self.at)? {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
    }

    /// Skips a value.
    fn skip_value(&mut self) -> Option<()> {
        let bytes = self.text.as_bytes();
        match bytes.get(self.at)? {
            b'"' => self.string(),
            b'{' | b'[' => {
                let mut depth = 0;
                loop {
                    match bytes.get(self.at)? {
                        b'"' => {
                            self.string()?;
                            continue;
                        }
                        b'{' | b'[' => depth += 1,
                        b'}' | b']' => depth -= 1,
                        _ => {}
                    }
                    self.at += 1;
                    if depth == 0 {
                        return Some(());
                    }
                }
            }
            _ => {
                while !matches!(bytes.get(self.at)?, b',' | b'}' | b']') && !bytes[self.at].is_ascii_whitespace() {
                    self.at += 1;
                }
                Some(())
            }
        }
    }

    /// Reads the next name and moves to its value; `None` at the end or on invalid text.
    fn key(&mut self) -> Option<&'a str> {
        let bytes = self.text.as_bytes();
        self.skip_whitespace();
        if bytes.get(self.at) == Some(&b',') {
            self.at += 1;
            self.skip_whitespace();
        }
        if bytes.get(self.at) != Some(&b'"') {
            self.closed = bytes.get(self.at) == Some(&b'}');
            return None;
        }
        let key = self.at + 1;
        self.string()?;
        let key = self.text.get(key..self.at - 1)?;
        self.skip_whitespace();
        if bytes.get(self.at) != Some(&b':') {
            return None;
        }
        self.at += 1;
        self.skip_whitespace();
        Some(key)
    }

    /// Reads a value as JSON text.
    fn value(&mut self) -> Option<&'a str> {
        let from = self.at;
        self.skip_value()?;
        self.text.get(from..self.at)
    }

    fn step(&mut self) -> Option<(&'a str, &'a str)> {
        let key = self.key()?;
        Some((key, self.value()?))
    }

    /// Reads a row and returns its header; any other value is skipped and has an empty header.
    ///
    /// Not inlined: the browser optimizes functions that are called often, not a loop in a function
    /// that is called once.
    #[inline(never)]
    fn row(&mut self) -> Option<RowHeader> {
        let mut header = RowHeader::default();
        if self.text.as_bytes().get(self.at) != Some(&b'{') {
            self.skip_value()?;
            return Some(header);
        }
        self.at += 1;
        while let Some((key, value)) = self.step() {
            header.set_header_field(key, value);
        }
        if !std::mem::take(&mut self.closed) {
            return None;
        }
        self.at += 1;
        Some(header)
    }

    /// Reads an array of rows; `None` if it is truncated or not an array.
    fn rows(&mut self, on_item: &mut impl FnMut(ScanItem<'a>)) -> Option<()> {
        let bytes = self.text.as_bytes();
        if bytes.get(self.at) != Some(&b'[') {
            return None;
        }
        self.at += 1;
        self.skip_whitespace();
        if bytes.get(self.at) == Some(&b']') {
            self.at += 1;
            return Some(());
        }
        loop {
            self.skip_whitespace();
            let (from, header) = (self.at, self.row()?);
            on_item(ScanItem::Row(from, self.at, header));
            self.skip_whitespace();
            self.at += 1;
            match bytes.get(self.at - 1)? {
                b',' => {}
                b']' => return Some(()),
                _ => return None,
            }
        }
    }
}

impl<'a> Iterator for FieldScanner<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let found = self.step();
        if found.is_none() {
            self.at = self.text.len();
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn single_columns_are_read_without_decoding_the_row() {
        let raw = RawRow::new(
            r#" { "a" : "x\"}," , "b":[1,{"c":"]"}], "n": -1.5e3 ,"t":true,"z":null,"id":"00000000-0000-0000-0000-000000000007","version":12}"#,
        );
        assert_eq!(raw.value("a"), json!("x\"},"));
        assert_eq!(raw.value("b"), json!([1, {"c": "]"}]));
        assert_eq!((raw.field("n"), raw.field("t"), raw.field("z")), (Some("-1.5e3"), Some("true"), Some("null")));
        let header = RowHeader::parse(raw.as_str());
        assert_eq!((header.id, header.version, header.permission), (Some(Uuid::from_u128(7)), 12, None));
        assert_eq!(raw.value("absent"), Value::Null);
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "\\PC{0,8}".prop_map(Value::from),
            "[\\\\\"{}\\[\\],: ]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map("[a-z]{1,4}", inner, 0..5)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn scanned_fields_equal_decoded_fields(row in proptest::collection::btree_map("[a-z_]{1,6}", values(), 0..8), pretty in any::<bool>()) {
            let row: Row = row.into_iter().collect();
            let text = if pretty { serde_json::to_string_pretty(&row) } else { serde_json::to_string(&row) }.unwrap();
            let read: Row = fields(&text).map(|(k, v)| (k.to_owned(), serde_json::from_str(v).unwrap())).collect();
            prop_assert_eq!(read, row);
        }

        #[test]
        fn scan_returns_all_items_and_none_for_a_truncated_response(rows in proptest::collection::vec((any::<u128>(), any::<i64>(), values()), 0..6), more in values(), pretty in any::<bool>(), cut in any::<prop::sample::Index>()) {
            let rows: Vec<Value> = rows.into_iter().map(|(id, version, value)| json!({"id": Uuid::from_u128(id), "version": version, "value": value})).collect();
            let response = json!({"data": rows, "more": more, "zero": {"data": [1]}});
            let text = if pretty { serde_json::to_string_pretty(&response) } else { serde_json::to_string(&response) }.unwrap();
            let read = |text: &str| {
                let mut read = serde_json::Map::from_iter([("data".to_owned(), json!([]))]);
                scan_response(text, "data", |item| match item {
                    ScanItem::Field(key, value) => drop(read.insert(key.into(), serde_json::from_str(value).unwrap())),
                    ScanItem::Row(from, to, header) => {
                        assert_eq!(header, RowHeader::parse(&text[from..to]));
                        read["data"].as_array_mut().unwrap().push(serde_json::from_str(&text[from..to]).unwrap());
                    }
                })?;
                Some(Value::Object(read))
            };
            prop_assert_eq!(read(&text), Some(response));
            let mut end = cut.index(text.len());
            while !text.is_char_boundary(end) { end -= 1; }
            prop_assert_eq!(read(&text[..end]), None);
            prop_assert_eq!(read(r#"{"more":[]}"#), None);
            prop_assert_eq!(read(r#"{"data":{}}"#), None);
        }

        #[test]
        fn invalid_text_does_not_panic(text in "\\PC{0,40}", cut in 0..60usize) {
            let _ = (fields(&text).count(), scan_response(&text, "data", |_| {}));
            let json = r#"{"a":"\u00e9\\","b":[{"c":[]}],"d":1}"#;
            let _ = fields(json.get(..cut.min(json.len())).unwrap_or_default()).count();
        }
    }
}
