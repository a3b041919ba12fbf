//! Rows from a CSV file, read against a type's columns. Pure: bytes in, values and what is wrong with them out. It must never know a database; what a cell
//! refers to by name is looked up by its caller.

use pmo_domain::api_types::FieldError;
use pmo_domain::{Column, ColumnKind, EntityType};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Most rows of a file.
pub const MAX_ROWS: usize = 10_000;
/// Most columns.
const MAX_COLUMNS: usize = 200;
/// Longest cell in bytes: four for each character of the longest text.
const MAX_CELL_CHARS: usize = 4 * pmo_domain::column::MAX_TEXT_LEN;

/// A file as it was read: every line has as many cells as the head.
#[derive(Clone, Debug, PartialEq)]
pub struct CsvTable {
    /// The names in the first line.
    pub head: Vec<String>,
    /// The lines below, each with its number in the file.
    pub rows: Vec<(u64, Vec<String>)>,
}

fn csv_error(place: impl Into<String>, message: impl Into<String>) -> FieldError {
    FieldError { field: place.into(), message: message.into() }
}

/// The text of a file: UTF-8, with or without its mark, or UTF-16 with its mark.
fn decode_text(bytes: &[u8]) -> Result<String, FieldError> {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
        String::from_utf16(&units)
            .map_err(|_| csv_error("file", "The file begins as UTF-16 and is damaged further on."))
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        _ => {
            let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
            match std::str::from_utf8(bytes) {
                Ok(text) => Ok(text.to_owned()),
                Err(error) => {
                    let line = bytes[..error.valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
                    Err(csv_error(
                        "file",
                        format!(
                            "The file is not UTF-8: line {line} has a letter of another encoding. Save it as CSV UTF-8 and try again."
                        ),
                    ))
                }
            }
        }
    }
}

/// The sign between cells: whichever stands most often in the first line, outside quotes.
fn delimiter(text: &str) -> u8 {
    let mut counts = [(b',', 0usize), (b';', 0), (b'\t', 0)];
    let mut quoted = false;
    for byte in text.bytes().take(MAX_CELL_CHARS) {
        match byte {
            b'"' => quoted = !quoted,
            b'\n' | b'\r' if !quoted => break,
            _ if !quoted => counts.iter_mut().filter(|(sign, _)| *sign == byte).for_each(|(_, n)| *n += 1),
            _ => {}
        }
    }
    counts.into_iter().rev().max_by_key(|(_, n)| *n).map_or(b',', |(sign, n)| if n == 0 { b',' } else { sign })
}

/// Which line a place is in, for places in order. (The reader's own count is one short where lines end in two signs.)
struct LineCount<'a> {
    text: &'a [u8],
    at: usize,
    line: u64,
}

impl LineCount<'_> {
    fn line_number(&mut self, place: u64) -> u64 {
        let place = usize::try_from(place).unwrap_or(usize::MAX).min(self.text.len());
        // A record begins behind the line ends before it.
        let blank = self.text[place..].iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        while self.at < place + blank {
            let ends = match self.text[self.at] {
                b'\n' => true,
                b'\r' => self.text.get(self.at + 1) != Some(&b'\n'),
                _ => false,
            };
            self.line += u64::from(ends);
            self.at += 1;
        }
        self.line
    }
}

/// Reads a file. Lines may end in any of the usual ways, mixed; empty ones are passed over.
pub fn read(bytes: &[u8]) -> Result<CsvTable, FieldError> {
    let text = decode_text(bytes)?;
    if text.trim().is_empty() {
        return Err(csv_error("file", "The file is empty."));
    }
    if text.contains('\0') {
        return Err(csv_error("file", "The file has NUL characters in it: it is no text."));
    }
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter(&text))
        .flexible(true)
        .has_headers(false)
        .from_reader(text.as_bytes());
    let mut lines_of = LineCount { text: text.as_bytes(), at: 0, line: 1 };
    let mut lines = Vec::new();
    let mut record = csv::StringRecord::new();
    loop {
        match reader.read_record(&mut record) {
            Ok(false) => break,
            Ok(true) => {}
            Err(error) => return Err(csv_error("file", format!("The file can't be read as CSV: {error}."))),
        }
        let line = lines_of.line_number(record.position().map_or(0, csv::Position::byte));
        if record.iter().any(|cell| cell.len() > MAX_CELL_CHARS) {
            return Err(csv_error(
                format!("line {line}"),
                "A cell is longer than any text may be. A quotation mark may be missing where it ends.",
            ));
        }
        if record.iter().all(|cell| cell.trim().is_empty()) {
            continue;
        }
        if lines.len() > MAX_ROWS {
            return Err(csv_error(
                "file",
                format!("The file has more than {MAX_ROWS} rows. Split it and import the parts."),
            ));
        }
        // Before anything is copied: a line may be all commas.
        if record.iter().skip(MAX_COLUMNS).any(|cell| !cell.trim().is_empty()) {
            return Err(csv_error(format!("line {line}"), format!("The file has more than {MAX_COLUMNS} columns.")));
        }
        lines.push((line, record.iter().take(MAX_COLUMNS).map(str::to_owned).collect::<Vec<_>>()));
    }
    let mut lines = lines.into_iter();
    let (_, head) = lines.next().ok_or_else(|| csv_error("file", "The file is empty."))?;
    let head: Vec<String> = head.iter().map(|name| name.trim().to_owned()).collect();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (n, name) in head.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
        if let Some(before) = seen.insert(name.to_lowercase(), n) {
            return Err(csv_error(
                format!("column {}", n + 1),
                format!(
                    "Two columns are called '{}', the {}. and the {}. Rename one of them.",
                    truncate(name),
                    before + 1,
                    n + 1
                ),
            ));
        }
    }
    let mut rows = Vec::with_capacity(lines.len());
    for (line, mut cells) in lines {
        // Cells beyond the head are nobody's; empty ones are what spreadsheets leave behind.
        if cells.iter().skip(head.len()).any(|cell| !cell.trim().is_empty()) {
            return Err(csv_error(
                format!("line {line}"),
                format!(
                    "The line has {} cells, and the first line names {}. A quotation mark may be missing.",
                    cells.len(),
                    head.len()
                ),
            ));
        }
        cells.resize(head.len(), String::new());
        rows.push((line, cells));
    }
    Ok(CsvTable { head, rows })
}

fn truncate(text: &str) -> String {
    text.chars().take(60).collect()
}

/// Which column each name of the head stands for; none: left out. `asked` says it for some by name, empty for 'leave out'; the rest is found by a column's name or
/// label. What the server alone writes is left out.
pub fn map_columns<'a>(
    head: &[String],
    entity: &'a EntityType,
    asked: &BTreeMap<String, String>,
) -> Result<Vec<Option<&'a Column>>, Vec<FieldError>> {
    let writable = |column: &&Column| !column.read_only && !matches!(column.kind, ColumnKind::Json | ColumnKind::Id);
    let mut errors = Vec::new();
    for name in asked.keys().filter(|name| !head.contains(name)) {
        errors.push(csv_error(truncate(name), "is no column of the file"));
    }
    let called = |words: &str| {
        let by_name = entity.columns.iter().find(|c| c.name.to_lowercase() == words);
        by_name.or_else(|| entity.columns.iter().find(|c| c.label.to_lowercase() == words)).filter(writable)
    };
    let exactly = |name: &String| called(&name.to_lowercase());
    // A unit may stand behind the name of an amount, 'Impact (EUR)', where nothing else of the file has that name.
    let with_unit = |name: &String| {
        let lower = name.to_lowercase();
        let column = called(lower.strip_suffix(')')?.rsplit_once('(')?.0.trim())?;
        let amount = matches!(
            column.kind,
            ColumnKind::Money | ColumnKind::Hours | ColumnKind::Days | ColumnKind::Percent | ColumnKind::Number
        );
        let free = |other: &String| {
            other == name || (asked.get(other).is_none_or(|to| *to != column.name) && exactly(other) != Some(column))
        };
        (amount && head.iter().all(free)).then_some(column)
    };
    let mut taken: BTreeSet<&str> = BTreeSet::new();
    let mut found = Vec::with_capacity(head.len());
    for name in head {
        let column = match asked.get(name) {
            Some(wanted) if wanted.is_empty() => None,
            Some(wanted) => match entity.column(wanted).filter(writable) {
                None => {
                    errors.push(csv_error(
                        truncate(name),
                        format!("'{}' is no column of {} that can be written", truncate(wanted), entity.with_article()),
                    ));
                    None
                }
                column => column,
            },
            None => exactly(name).or_else(|| with_unit(name).filter(|column| !taken.contains(column.name.as_str()))),
        };
        match column {
            Some(column) if !taken.insert(&column.name) => {
                errors.push(csv_error(
                    truncate(name),
                    format!("another column of the file stands for {} already", column.label),
                ));
                found.push(None);
            }
            column => found.push(column),
        }
    }
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

/// The words of a cell that refers to things, each alone.
pub fn split_references(column: &Column, cell: &str) -> Vec<String> {
    match column.kind {
        ColumnKind::References { .. } => {
            cell.split([';', '\n']).map(|part| unescape_formula(part.trim())).filter(|part| !part.is_empty()).collect()
        }
        ColumnKind::Reference { .. } => {
            vec![unescape_formula(cell.trim())].into_iter().filter(|part| !part.is_empty()).collect()
        }
        _ => Vec::new(),
    }
}

/// Signs with which a spreadsheet begins to calculate.
const FORMULA_PREFIXES: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// A text as it goes into a cell: one that a spreadsheet would calculate gets an apostrophe before it, which spreadsheets take for 'this is a text'.
pub fn escape_formula(text: &str) -> String {
    // What begins with an apostrophe gets another, so that taking one away gives back what was there.
    if text.starts_with(FORMULA_PREFIXES) || text.starts_with('\'') { format!("'{text}") } else { text.to_owned() }
}

/// A cell without the apostrophe that [`harmless`] put there. A formula in it is the text that it is.
fn unescape_formula(cell: &str) -> String {
    match cell.strip_prefix('\'') {
        Some(rest) if rest.starts_with(FORMULA_PREFIXES) || rest.starts_with('\'') => rest.to_owned(),
        _ => cell.to_owned(),
    }
}

/// A cell as a value of its column, or what is wrong with it. `ids` are what its words refer to; empty cells say that there is nothing.
pub fn value(column: &Column, cell: &str, options: &[String], ids: &[Value]) -> Result<Value, String> {
    let trimmed = cell.trim();
    let read = match &column.kind {
        ColumnKind::References { .. } => json!(ids),
        _ if trimmed.is_empty() => Value::Null,
        ColumnKind::Reference { .. } => ids.first().cloned().unwrap_or(Value::Null),
        ColumnKind::Boolean => match trimmed.to_lowercase().as_str() {
            "true" | "yes" | "1" | "x" => json!(true),
            "false" | "no" | "0" => json!(false),
            _ => return Err("must be yes or no".to_owned()),
        },
        // Our own amounts have four places: three are thousands, or nobody knows.
        ColumnKind::Money if is_ambiguous(trimmed, '.') => return Err(normalize_separators(trimmed, '.')),
        ColumnKind::Money => json!(number(trimmed)?),
        ColumnKind::Percent | ColumnKind::Hours | ColumnKind::Days | ColumnKind::Integer | ColumnKind::Number => {
            json!(number(trimmed)?)
        }
        ColumnKind::Datalabel { .. } => {
            let lower = trimmed.to_lowercase();
            match options.iter().find(|option| option.to_lowercase() == lower) {
                Some(option) => json!(option),
                None => return Err(format!("must be one of {}", options.join(", "))),
            }
        }
        ColumnKind::TextList => {
            json!(cell.split(['\n', ';']).map(str::trim).filter(|t| !t.is_empty()).collect::<Vec<_>>())
        }
        ColumnKind::LongText => json!(unescape_formula(cell)),
        _ => json!(unescape_formula(trimmed)),
    };
    if read.is_null() && column.not_null && !column.required {
        return Err("must not be empty".to_owned());
    }
    column.validate(&read)
}

/// The signs of a number alone, without blanks and unit.
fn strip_unit(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_whitespace() && *c != '\'').collect();
    text.trim_end_matches(|c: char| c.is_alphabetic() || c == '%' || c == '€').to_owned()
}

/// Whether a number may have thousands told apart by `sign`, or a part of one behind it: 1,500.
fn is_ambiguous(text: &str, sign: char) -> bool {
    let bare = strip_unit(text);
    let other = if sign == ',' { '.' } else { ',' };
    bare.split_once(sign).is_some_and(|(whole, rest)| {
        let digits = whole.trim_start_matches(['-', '+']);
        let alone = !rest.contains([sign, other]) && !whole.contains(other);
        alone && rest.len() == 3 && (1..=3).contains(&digits.len()) && !digits.starts_with('0')
    })
}

fn normalize_separators(text: &str, sign: char) -> String {
    let bare = strip_unit(text);
    let (whole, rest) = bare.split_once(sign).unwrap_or((&bare, ""));
    format!("'{bare}' could be {whole}{rest} or {whole}.{rest}0: write one of them")
}

/// A number as it is written in one country or another: 1,5 and 1.5, 1.250,50 and 1,250.50, 1 250 €. What could be either is refused, and so is what is none, such as a day.
fn number(text: &str) -> Result<String, String> {
    let bare = strip_unit(text);
    let no_number = || format!("'{}' can't be read as a number", bare.chars().take(40).collect::<String>());
    let (commas, dots) = (bare.matches(',').count(), bare.matches('.').count());
    // Thousands are told apart in threes.
    let joined = |text: &str, sign: char| {
        let mut groups = text.trim_start_matches(['-', '+']).split(sign);
        let first = groups.next().unwrap_or_default();
        let sound = (1..=3).contains(&first.len()) && groups.all(|group| group.len() == 3);
        if sound { Ok(text.replace(sign, "")) } else { Err(no_number()) }
    };
    match (commas, dots) {
        (0, 0 | 1) => Ok(bare),
        (1, 0) if is_ambiguous(text, ',') => Err(normalize_separators(text, ',')),
        (1, 0) => Ok(bare.replace(',', ".")),
        (0, _) => joined(&bare, '.'),
        (_, 0) => joined(&bare, ','),
        _ => {
            let ends_in_comma = bare.rfind(',') > bare.rfind('.');
            let (last, thousands) = if ends_in_comma { (',', '.') } else { ('.', ',') };
            let (whole, part) = bare.rsplit_once(last).unwrap_or((&bare, ""));
            if whole.contains(last) {
                return Err(no_number());
            }
            Ok(format!("{}.{part}", joined(whole, thousands)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pmo_domain::EntityCode;
    use proptest::prelude::*;

    #[test]
    fn a_line_is_counted_alike_however_lines_end() {
        for end in ["\n", "\r\n", "\r"] {
            let text = ["name,descr", "a,", "", "b,\"two", "lines\"", "c,"].join(end);
            let table = read(text.as_bytes()).unwrap();
            assert_eq!(table.rows.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 4, 6], "{end:?}");
        }
    }

    #[test]
    fn numbers_are_read_as_they_are_written_anywhere_and_what_could_be_either_is_refused() {
        let read = |text: &str| number(text).ok();
        for (text, value) in [
            ("1.5", "1.5"),
            ("1,5", "1.5"),
            ("7,5 h", "7.5"),
            ("30%", "30"),
            ("1.250,50 €", "1250.50"),
            ("1,250.50", "1250.50"),
            ("1.250.000", "1250000"),
            ("1,250,000", "1250000"),
            ("1 250,5", "1250.5"),
            ("1'250.5", "1250.5"),
            ("0,125", "0.125"),
            ("1250,500", "1250.500"),
            ("-3,25", "-3.25"),
            ("0.125", "0.125"),
        ] {
            assert_eq!(read(text).as_deref(), Some(value), "{text}");
        }
        for text in ["1,500", "-12,000", "1.2,3.4", "1,2.3,4", "12.03.2024", "1,2,3", "1.25,50", "1.250.00"] {
            assert_eq!(read(text), None, "{text}");
        }
        let amount = Column::infer("task", "budget_amt", "numeric", false, &Default::default());
        assert!(value(&amount, "1.500", &[], &[]).is_err(), "of an amount it could be either");
        assert_eq!(value(&amount, "1250.5000", &[], &[]).unwrap(), "1250.5000");
    }

    fn task() -> EntityType {
        let columns = [
            ("id", "uuid"),
            ("code", "text"),
            ("name", "text"),
            ("descr", "text"),
            ("due_date", "date"),
            ("estimated_hours", "numeric"),
            ("budget_amt", "numeric"),
            ("milestone_flag", "boolean"),
            ("assignee__employee_ids", "uuid[]"),
            ("dl__task_stage", "text"),
            ("version", "bigint"),
        ];
        EntityType::from_columns(EntityCode::new("task").unwrap(), &columns, &["task", "employee"])
    }

    #[test]
    fn any_usual_file_is_read() {
        let expected = CsvTable {
            head: vec!["a".into(), "b".into()],
            rows: vec![(2, vec!["1".into(), "x, y".into()]), (3, vec!["2".into(), String::new()])],
        };
        for text in [
            "a,b\n1,\"x, y\"\n2,\n",
            "\u{feff}a;b\r\n1;x, y\r\n2;\r\n",
            "a\tb\r1\tx, y\r2\t",
            "a,b\r\n1,\"x, y\"\n2\n\n , \n",
        ] {
            let table = read(text.as_bytes()).unwrap();
            let cells = |t: &CsvTable| t.rows.iter().map(|(_, cells)| cells.clone()).collect::<Vec<_>>();
            assert_eq!((&table.head, cells(&table)), (&expected.head, cells(&expected)), "{text:?}");
        }
        let mut utf16 = vec![0xff, 0xfe];
        utf16.extend("ä,b\n1,2".encode_utf16().flat_map(u16::to_le_bytes));
        assert_eq!(read(&utf16).unwrap().head, ["ä", "b"]);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        let many = format!("a\n{}", "1\n".repeat(MAX_ROWS + 1));
        let long = format!("a,b\n\"{},2", "x".repeat(MAX_CELL_CHARS + 1));
        for (bytes, word) in [
            (b"".to_vec(), "empty"),
            (b" \n\n".to_vec(), "empty"),
            (b"a,b\n\xe4,1".to_vec(), "line 2"),
            (b"a,b,A\n1,2,3".to_vec(), "Two columns"),
            (b"a,b\n1,2,3".to_vec(), "3 cells"),
            (b"a\0b".to_vec(), "NUL"),
            (many.into_bytes(), "more than 10000 rows"),
            (long.into_bytes(), "longer than any text"),
            (vec![b'x'; 1 << 20], "longer than any text"),
        ] {
            let wrong = read(&bytes).unwrap_err();
            assert!(format!("{} {}", wrong.field, wrong.message).contains(word), "{word}: {wrong:?}");
        }
    }

    #[test]
    fn columns_are_found_by_name_or_label_or_as_asked() {
        let entity = task();
        let head = ["Name", "Estimated (h)", "Wann", "Version", "rest"].map(str::to_owned);
        let names = |asked: &[(&str, &str)]| {
            let asked = asked.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
            map_columns(&head, &entity, &asked).map(|found| {
                found.into_iter().map(|c| c.map(|c| c.name.clone()).unwrap_or_default()).collect::<Vec<_>>()
            })
        };
        assert_eq!(names(&[]).unwrap(), ["name", "estimated_hours", "", "", ""]);
        let twice = ["Estimated (was)", "Name (old)", "Estimated"].map(str::to_owned);
        let found = map_columns(&twice, &entity, &BTreeMap::new()).unwrap();
        let found: Vec<_> = found.into_iter().map(|c| c.map(|c| c.name.as_str())).collect();
        assert_eq!(found, [None, None, Some("estimated_hours")], "what has the name itself has it");
        assert_eq!(names(&[("Wann", "due_date"), ("Name", "")]).unwrap(), ["", "estimated_hours", "due_date", "", ""]);
        for (asked, word) in [
            (("nope", "name"), "no column of the file"),
            (("rest", "version"), "can be written"),
            (("rest", "name"), "already"),
        ] {
            assert!(names(&[asked]).unwrap_err()[0].message.contains(word), "{asked:?}");
        }
    }

    #[test]
    fn cells_are_read_as_people_write_them() {
        let entity = task();
        let stages = ["To Do".to_owned(), "Done".to_owned()];
        let read = |column: &str, cell: &str| value(entity.column(column).unwrap(), cell, &stages, &[]);
        assert_eq!(read("estimated_hours", " 7,5 h").unwrap(), json!(7.5));
        assert_eq!(read("budget_amt", "1,250.50 €").unwrap(), json!("1250.50"));
        assert_eq!(read("dl__task_stage", "done").unwrap(), json!("Done"));
        assert_eq!(read("milestone_flag", "Yes").unwrap(), json!(true));
        assert_eq!(read("due_date", "").unwrap(), Value::Null);
        assert_eq!(read("name", "=1+1").unwrap(), json!("=1+1"), "a formula is the text that it is");
        for (column, cell, word) in [
            ("dl__task_stage", "Later", "To Do, Done"),
            ("due_date", "31.1.2026", "day"),
            ("estimated_hours", "many", "number"),
            ("milestone_flag", "maybe", "yes or no"),
        ] {
            assert!(read(column, cell).unwrap_err().contains(word), "{column}");
        }
    }

    proptest! {
        #[test]
        fn a_text_survives_the_way_through_a_cell(text in "['=+@\\-\t]{0,3}[a-z=']{0,5}") {
            let cell = escape_formula(&text);
            prop_assert!(!cell.starts_with(FORMULA_PREFIXES));
            prop_assert_eq!(unescape_formula(&cell), text);
        }

        #[test]
        fn nothing_makes_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "[a-c,;\"\n\r\t]{0,80}") {
            let _ = read(&bytes);
            let _ = read(text.as_bytes());
        }
    }
}
