//! Rows as the texts that the server sent. Thousands of them lie in memory and few are looked at: a row is decoded when somebody looks, and a single
//! column is read without decoding the rest. It must never change a text.

use pmo_domain::Row;
use serde_json::Value;
use std::sync::Arc;
use uuid::Uuid;

/// A row's JSON: a part of a text that it shares with its neighbours.
#[derive(Clone)]
pub struct RawRow {
    // Not `Arc<str>`: an answer becomes one without being copied.
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
    /// A text of its own.
    pub fn new(text: &str) -> Self {
        Self { from: 0, to: text.len() as u32, text: Arc::new(text.to_owned()) }
    }

    /// A part of a shared text; none where there is no such part.
    pub fn slice(text: &Arc<String>, from: usize, to: usize) -> Option<Self> {
        text.get(from..to)?;
        Some(Self { text: text.clone(), from: from as u32, to: to as u32 })
    }

    /// Writes a row.
    pub fn from_row(row: &Row) -> Self {
        Self::new(&serde_json::to_string(row).unwrap_or_default())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.text.get(self.from as usize..self.to as usize).unwrap_or_default()
    }

    /// All columns; empty where the text is no row.
    pub fn decode(&self) -> Row {
        serde_json::from_str(self.as_str()).unwrap_or_default()
    }

    /// The JSON of one column.
    pub fn field(&self, name: &str) -> Option<&str> {
        fields(self.as_str()).find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// The value of one column; null where there is none.
    pub fn value(&self, name: &str) -> Value {
        self.field(name).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    /// The text of one column, where it is one.
    pub fn text(&self, name: &str) -> Option<String> {
        match self.value(name) {
            Value::String(text) => Some(text),
            _ => None,
        }
    }
}

/// What the engine must know of every row, read in one pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowHeader {
    /// The id.
    pub id: Option<Uuid>,
    /// The version.
    pub version: i64,
    /// The reader's level, where it is told.
    pub permission: Option<u8>,
    /// Whether names of referenced things come with it.
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

    /// Reads a row's marks.
    pub fn of(text: &str) -> Self {
        let mut marks = Self::default();
        fields(text).for_each(|(key, value)| marks.set_header_field(key, value));
        marks
    }
}

/// Whether two rows tell the same, but for the reader's level and for names that come with them.
pub fn values_equal(a: &RawRow, b: &RawRow) -> bool {
    if a == b {
        return true;
    }
    let told = |raw: &RawRow| {
        let mut row = raw.decode();
        row.remove("permission");
        row.remove("ref_data_entityInstance");
        row
    };
    told(a) == told(b)
}

/// The names and values of a JSON object, one after the other, as they are written. Ends where the text is no object any more. Column names have no
/// escapes; one that had would not be found, and no harm done.
pub fn fields(text: &str) -> FieldScanner<'_> {
    let start = text.len() - text.trim_start().len();
    let at = if text.as_bytes().get(start) == Some(&b'{') { start + 1 } else { text.len() };
    FieldScanner { text, at, closed: false }
}

/// What is told of an answer while it is read, see [`scan`].
pub enum ScanItem<'a> {
    /// A field and its value.
    Field(&'a str, &'a str),
    /// A row: where it begins and ends, and its marks.
    Row(usize, usize, RowHeader),
}

/// Reads an answer whose rows are the array under the name `rows`, in one pass. None where it is no such answer, or was cut off; what was told until then
/// counts for nothing.
pub fn scan_response<'a>(text: &'a str, rows: &str, mut each: impl FnMut(ScanItem<'a>)) -> Option<()> {
    let mut reader = fields(text);
    let mut found = false;
    while let Some(key) = reader.key() {
        if key == rows {
            reader.rows(&mut each)?;
            found = true;
        } else {
            each(ScanItem::Field(key, reader.value()?));
        }
    }
    (found && reader.closed).then_some(())
}

/// A bit for each byte of a word that is this one; those above the lowest may be wrong.
fn matching_byte_mask(word: u64, byte: u8) -> u64 {
    const LOW_BITS: u64 = 0x0101_0101_0101_0101;
    let same = word ^ (LOW_BITS * u64::from(byte));
    same.wrapping_sub(LOW_BITS) & !same & (LOW_BITS << 7)
}

/// See [`fields`].
pub struct FieldScanner<'a> {
    text: &'a str,
    at: usize,
    /// The object has been read to its end.
    closed: bool,
}

impl<'a> FieldScanner<'a> {
    fn skip_whitespace(&mut self) {
        let bytes = self.text.as_bytes();
        while bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    /// Passes over a string whose opening quote is at the present place.
    fn string(&mut self) -> Option<()> {
        let bytes = self.text.as_bytes();
        self.at += 1;
        loop {
            // Eight letters at a time, up to one that means something.
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

    /// Passes over a value.
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

    /// Passes over the next name, and comes to its value.
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

    /// Passes over a value, and answers it.
    fn value(&mut self) -> Option<&'a str> {
        let from = self.at;
        self.skip_value()?;
        self.text.get(from..self.at)
    }

    fn step(&mut self) -> Option<(&'a str, &'a str)> {
        let key = self.key()?;
        Some((key, self.value()?))
    }

    /// Passes over a row, and answers its marks; over anything else without any. A function of its own, because a browser makes functions faster that are
    /// called often, and not those that stay long.
    #[inline(never)]
    fn row(&mut self) -> Option<RowHeader> {
        let mut marks = RowHeader::default();
        if self.text.as_bytes().get(self.at) != Some(&b'{') {
            self.skip_value()?;
            return Some(marks);
        }
        self.at += 1;
        while let Some((key, value)) = self.step() {
            marks.set_header_field(key, value);
        }
        if !std::mem::take(&mut self.closed) {
            return None;
        }
        self.at += 1;
        Some(marks)
    }

    /// Passes over an array of rows; none where it is not whole.
    fn rows(&mut self, each: &mut impl FnMut(ScanItem<'a>)) -> Option<()> {
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
            let (from, marks) = (self.at, self.row()?);
            each(ScanItem::Row(from, self.at, marks));
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
    fn one_column_is_read_without_the_rest() {
        let raw = RawRow::new(
            r#" { "a" : "x\"}," , "b":[1,{"c":"]"}], "n": -1.5e3 ,"t":true,"z":null,"id":"00000000-0000-0000-0000-000000000007","version":12}"#,
        );
        assert_eq!(raw.value("a"), json!("x\"},"));
        assert_eq!(raw.value("b"), json!([1, {"c": "]"}]));
        assert_eq!((raw.field("n"), raw.field("t"), raw.field("z")), (Some("-1.5e3"), Some("true"), Some("null")));
        let marks = RowHeader::of(raw.as_str());
        assert_eq!((marks.id, marks.version, marks.permission), (Some(Uuid::from_u128(7)), 12, None));
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
        fn what_is_read_piecewise_is_what_is_decoded(row in proptest::collection::btree_map("[a-z_]{1,6}", values(), 0..8), pretty in any::<bool>()) {
            let row: Row = row.into_iter().collect();
            let text = if pretty { serde_json::to_string_pretty(&row) } else { serde_json::to_string(&row) }.unwrap();
            let read: Row = fields(&text).map(|(k, v)| (k.to_owned(), serde_json::from_str(v).unwrap())).collect();
            prop_assert_eq!(read, row);
        }

        #[test]
        fn an_answer_is_read_in_one_pass_and_one_that_was_cut_off_is_none(rows in proptest::collection::vec((any::<u128>(), any::<i64>(), values()), 0..6), more in values(), pretty in any::<bool>(), cut in any::<prop::sample::Index>()) {
            let rows: Vec<Value> = rows.into_iter().map(|(id, version, value)| json!({"id": Uuid::from_u128(id), "version": version, "value": value})).collect();
            let answer = json!({"data": rows, "more": more, "zero": {"data": [1]}});
            let text = if pretty { serde_json::to_string_pretty(&answer) } else { serde_json::to_string(&answer) }.unwrap();
            let read = |text: &str| {
                let mut read = serde_json::Map::from_iter([("data".to_owned(), json!([]))]);
                scan_response(text, "data", |scanned| match scanned {
                    ScanItem::Field(key, value) => drop(read.insert(key.into(), serde_json::from_str(value).unwrap())),
                    ScanItem::Row(from, to, marks) => {
                        assert_eq!(marks, RowHeader::of(&text[from..to]));
                        read["data"].as_array_mut().unwrap().push(serde_json::from_str(&text[from..to]).unwrap());
                    }
                })?;
                Some(Value::Object(read))
            };
            prop_assert_eq!(read(&text), Some(answer));
            let mut at = cut.index(text.len());
            while !text.is_char_boundary(at) { at -= 1; }
            prop_assert_eq!(read(&text[..at]), None);
            prop_assert_eq!(read(r#"{"more":[]}"#), None);
            prop_assert_eq!(read(r#"{"data":{}}"#), None);
        }

        #[test]
        fn no_text_makes_it_stumble(text in "\\PC{0,40}", cut in 0..60usize) {
            let _ = (fields(&text).count(), scan_response(&text, "data", |_| {}));
            let json = r#"{"a":"\u00e9\\","b":[{"c":[]}],"d":1}"#;
            let _ = fields(json.get(..cut.min(json.len())).unwrap_or_default()).count();
        }
    }
}
