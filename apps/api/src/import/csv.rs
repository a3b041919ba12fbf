//! Parser of CSV files: maps columns and converts cells to values of a type. Pure.
//!
//! Must not: access the database. The caller resolves references by name.

mod cell_error; // errors of cells

pub use cell_error::CellError;

use pmo_domain::api_types::FieldError;
use pmo_domain::{Column, ColumnKind, EntityType};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Maximum number of rows in a file.
pub const MAX_ROWS: usize = 10_000;
/// Maximum number of columns in a file.
const MAX_COLUMNS: usize = 200;
/// Maximum length of a cell in bytes: four for each character of the longest text.
const MAX_CELL_BYTES: usize = 4 * pmo_domain::column::MAX_TEXT_LEN;

/// Parsed CSV file.
///
/// Invariant: every row has as many cells as the header.
#[derive(Clone, Debug, PartialEq)]
pub struct CsvTable {
    /// Column names from the first line.
    pub header: Vec<String>,
    /// Remaining rows, each with its line number in the file.
    pub rows: Vec<(u64, Vec<String>)>,
}

fn csv_error(location: impl Into<String>, message: impl Into<String>) -> FieldError {
    FieldError { field: location.into(), message: message.into() }
}

/// Decodes a file: UTF-8 with or without byte order mark, or UTF-16 with byte order mark.
fn decode_text(bytes: &[u8]) -> Result<String, FieldError> {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
        String::from_utf16(&units)
            .map_err(|_| csv_error("file", "The file starts as UTF-16 but contains invalid data."))
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
                            "The file is not UTF-8: line {line} has a character in another encoding. Save it as CSV UTF-8 and try again."
                        ),
                    ))
                }
            }
        }
    }
}

/// Detects the delimiter: the candidate that is most frequent in the first line, outside quotes.
fn delimiter(text: &str) -> u8 {
    let mut counts = [(b',', 0usize), (b';', 0), (b'\t', 0)];
    let mut quoted = false;
    for byte in text.bytes().take(MAX_CELL_BYTES) {
        match byte {
            b'"' => quoted = !quoted,
            b'\n' | b'\r' if !quoted => break,
            _ if !quoted => {
                counts.iter_mut().filter(|(delimiter, _)| *delimiter == byte).for_each(|(_, count)| *count += 1)
            }
            _ => {}
        }
    }
    counts
        .into_iter()
        .rev()
        .max_by_key(|(_, count)| *count)
        .map_or(b',', |(delimiter, count)| if count == 0 { b',' } else { delimiter })
}

/// Counter that converts ascending byte offsets into line numbers.
///
/// The count of the CSV reader is one too low if lines end with CRLF.
struct LineCount<'a> {
    text: &'a [u8],
    position: usize,
    line: u64,
}

impl LineCount<'_> {
    fn line_number(&mut self, offset: u64) -> u64 {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX).min(self.text.len());
        // A record starts after the line breaks that precede it.
        let line_breaks = self.text[offset..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        while self.position < offset + line_breaks {
            let is_line_end = match self.text[self.position] {
                b'\n' => true,
                b'\r' => self.text.get(self.position + 1) != Some(&b'\n'),
                _ => false,
            };
            self.line += u64::from(is_line_end);
            self.position += 1;
        }
        self.line
    }
}

/// Parses a file.
///
/// Lines may end with LF, CRLF or CR, also mixed; empty lines are skipped.
pub fn parse(bytes: &[u8]) -> Result<CsvTable, FieldError> {
    let text = decode_text(bytes)?;
    if text.trim().is_empty() {
        return Err(csv_error("file", "The file is empty."));
    }
    if text.contains('\0') {
        return Err(csv_error("file", "The file contains NUL characters and is not a text file."));
    }
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter(&text))
        .flexible(true)
        .has_headers(false)
        .from_reader(text.as_bytes());
    let mut line_counter = LineCount { text: text.as_bytes(), position: 0, line: 1 };
    let mut lines = Vec::new();
    let mut record = csv::StringRecord::new();
    loop {
        match reader.read_record(&mut record) {
            Ok(false) => break,
            Ok(true) => {}
            Err(error) => return Err(csv_error("file", format!("The file is not valid CSV: {error}."))),
        }
        let line = line_counter.line_number(record.position().map_or(0, csv::Position::byte));
        if record.iter().any(|cell| cell.len() > MAX_CELL_BYTES) {
            return Err(csv_error(
                format!("line {line}"),
                "A cell exceeds the maximum text length. A closing quotation mark may be missing.",
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
        // Checked before cells are copied, because a line may consist of delimiters only.
        if record.iter().skip(MAX_COLUMNS).any(|cell| !cell.trim().is_empty()) {
            return Err(csv_error(format!("line {line}"), format!("The file has more than {MAX_COLUMNS} columns.")));
        }
        lines.push((line, record.iter().take(MAX_COLUMNS).map(str::to_owned).collect::<Vec<_>>()));
    }
    let mut lines = lines.into_iter();
    let (_, head) = lines.next().ok_or_else(|| csv_error("file", "The file is empty."))?;
    let head: Vec<String> = head.iter().map(|name| name.trim().to_owned()).collect();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (index, name) in head.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
        if let Some(first) = seen.insert(name.to_lowercase(), index) {
            return Err(csv_error(
                format!("column {}", index + 1),
                format!(
                    "Two columns have the name '{}': columns {} and {}. Rename one of them.",
                    truncate(name),
                    first + 1,
                    index + 1
                ),
            ));
        }
    }
    let mut rows = Vec::with_capacity(lines.len());
    for (line, mut cells) in lines {
        // Cells beyond the header belong to no column; spreadsheets often append empty ones.
        if cells.iter().skip(head.len()).any(|cell| !cell.trim().is_empty()) {
            return Err(csv_error(
                format!("line {line}"),
                format!(
                    "The line has {} cells, but the header has {}. A quotation mark may be missing.",
                    cells.len(),
                    head.len()
                ),
            ));
        }
        cells.resize(head.len(), String::new());
        rows.push((line, cells));
    }
    Ok(CsvTable { header: head, rows })
}

fn truncate(text: &str) -> String {
    text.chars().take(60).collect()
}

/// Maps each name in the header to a column; `None` skips it.
///
/// `mapping` assigns columns explicitly, an empty string skips. Other names are matched with the
/// name or label of a column. Read-only columns are skipped.
pub fn map_columns<'a>(
    head: &[String],
    entity: &'a EntityType,
    mapping: &BTreeMap<String, String>,
) -> Result<Vec<Option<&'a Column>>, Vec<FieldError>> {
    let writable = |column: &&Column| !column.read_only && !matches!(column.kind, ColumnKind::Json | ColumnKind::Id);
    let mut errors = Vec::new();
    for name in mapping.keys().filter(|name| !head.contains(name)) {
        errors.push(csv_error(truncate(name), "is not a column of the file"));
    }
    let find_writable = |lowercase_name: &str| {
        let by_name = entity.columns.iter().find(|column| column.name.to_lowercase() == lowercase_name);
        by_name
            .or_else(|| entity.columns.iter().find(|column| column.label.to_lowercase() == lowercase_name))
            .filter(writable)
    };
    let exact_match = |name: &String| find_writable(&name.to_lowercase());
    // A unit may follow the name of an amount, as in `Impact (EUR)`, if no other column of the file
    // has that name.
    let with_unit = |name: &String| {
        let lower = name.to_lowercase();
        let column = find_writable(lower.strip_suffix(')')?.rsplit_once('(')?.0.trim())?;
        let is_amount = matches!(
            column.kind,
            ColumnKind::Money
                | ColumnKind::Hours
                | ColumnKind::Days
                | ColumnKind::Minutes
                | ColumnKind::Percent
                | ColumnKind::Number
        );
        let allows_unit = |other: &String| {
            other == name
                || (mapping.get(other).is_none_or(|target| *target != column.name)
                    && exact_match(other) != Some(column))
        };
        (is_amount && head.iter().all(allows_unit)).then_some(column)
    };
    let mut mapped: BTreeSet<&str> = BTreeSet::new();
    let mut columns = Vec::with_capacity(head.len());
    for name in head {
        let column = match mapping.get(name) {
            Some(target) if target.is_empty() => None,
            Some(target) => match entity.column(target).filter(writable) {
                None => {
                    errors.push(csv_error(
                        truncate(name),
                        format!("'{}' is not a writable column of {}", truncate(target), entity.with_article()),
                    ));
                    None
                }
                column => column,
            },
            None => {
                exact_match(name).or_else(|| with_unit(name).filter(|column| !mapped.contains(column.name.as_str())))
            }
        };
        match column {
            Some(column) if !mapped.insert(&column.name) => {
                errors.push(csv_error(
                    truncate(name),
                    format!("another column of the file is already mapped to {}", column.label),
                ));
                columns.push(None);
            }
            column => columns.push(column),
        }
    }
    if errors.is_empty() { Ok(columns) } else { Err(errors) }
}

/// Splits a reference cell into single references; returns none for other columns.
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

/// Leading characters that make a spreadsheet evaluate a cell as a formula.
const FORMULA_PREFIXES: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// Escapes a text for a CSV cell: prefixes an apostrophe if a spreadsheet would evaluate it.
///
/// Spreadsheets treat a cell with a leading apostrophe as text.
pub fn escape_formula(text: &str) -> String {
    // A leading apostrophe is escaped as well, so that unescaping restores the original text.
    if text.starts_with(FORMULA_PREFIXES) || text.starts_with('\'') { format!("'{text}") } else { text.to_owned() }
}

/// Removes the apostrophe that [`escape_formula`] added. A formula stays text.
fn unescape_formula(cell: &str) -> String {
    match cell.strip_prefix('\'') {
        Some(rest) if rest.starts_with(FORMULA_PREFIXES) || rest.starts_with('\'') => rest.to_owned(),
        _ => cell.to_owned(),
    }
}

/// Converts a cell into a value of its column.
///
/// `ids` are the resolved references of the cell. An empty cell becomes null or an empty list.
pub fn parse_cell(column: &Column, cell: &str, options: &[String], ids: &[Value]) -> Result<Value, CellError> {
    let trimmed = cell.trim();
    let parsed = match &column.kind {
        ColumnKind::References { .. } => json!(ids),
        _ if trimmed.is_empty() => Value::Null,
        ColumnKind::Reference { .. } => ids.first().cloned().unwrap_or(Value::Null),
        ColumnKind::Boolean => match trimmed.to_lowercase().as_str() {
            "true" | "yes" | "1" | "x" => json!(true),
            "false" | "no" | "0" => json!(false),
            _ => return Err(CellError::NotBoolean),
        },
        // Exported amounts have four decimals; with three, a dot may be a thousands separator.
        ColumnKind::Money if is_ambiguous(trimmed, '.') => return Err(ambiguous_number(trimmed, '.')),
        ColumnKind::Money => json!(parse_number(trimmed)?),
        ColumnKind::Percent
        | ColumnKind::Hours
        | ColumnKind::Days
        | ColumnKind::Minutes
        | ColumnKind::Integer
        | ColumnKind::Number => {
            json!(parse_number(trimmed)?)
        }
        ColumnKind::Datalabel { .. } => {
            let lower = trimmed.to_lowercase();
            match options.iter().find(|option| option.to_lowercase() == lower) {
                Some(option) => json!(option),
                None => return Err(CellError::NotAnOption(options.join(", "))),
            }
        }
        ColumnKind::TextList => {
            json!(cell.split(['\n', ';']).map(str::trim).filter(|t| !t.is_empty()).collect::<Vec<_>>())
        }
        ColumnKind::LongText => json!(unescape_formula(cell)),
        _ => json!(unescape_formula(trimmed)),
    };
    if parsed.is_null() && column.not_null && !column.required {
        return Err(CellError::Empty);
    }
    column.validate(&parsed).map_err(|error| CellError::Invalid(error.to_string()))
}

/// Removes whitespace, apostrophes and a trailing unit from a number.
fn strip_unit(text: &str) -> String {
    let text: String = text.chars().filter(|ch| !ch.is_whitespace() && *ch != '\'').collect();
    text.trim_end_matches(|ch: char| ch.is_alphabetic() || ch == '%' || ch == '€').to_owned()
}

/// Returns whether `separator` may separate either thousands or decimals, as in 1,500.
fn is_ambiguous(text: &str, separator: char) -> bool {
    let number = strip_unit(text);
    let other = if separator == ',' { '.' } else { ',' };
    number.split_once(separator).is_some_and(|(integer_part, fraction)| {
        let digits = integer_part.trim_start_matches(['-', '+']);
        let is_only_separator = !fraction.contains([separator, other]) && !integer_part.contains(other);
        is_only_separator && fraction.len() == 3 && (1..=3).contains(&digits.len()) && !digits.starts_with('0')
    })
}

fn ambiguous_number(text: &str, separator: char) -> CellError {
    let number = strip_unit(text);
    let (integer, fraction) = number.split_once(separator).unwrap_or((&number, ""));
    let (integer, fraction) = (integer.to_owned(), fraction.to_owned());
    CellError::AmbiguousNumber { number, integer, fraction }
}

/// Normalizes a number in any common notation: 1,5 and 1.5, 1.250,50 and 1,250.50, 1 250 €.
///
/// Returns an error if the notation is ambiguous or the text is not a number, such as a date.
fn parse_number(text: &str) -> Result<String, CellError> {
    let stripped = strip_unit(text);
    let not_a_number = || CellError::NotANumber(stripped.chars().take(40).collect());
    let (commas, dots) = (stripped.matches(',').count(), stripped.matches('.').count());
    // Thousands separators form groups of three digits.
    let join_groups = |text: &str, separator: char| {
        let mut groups = text.trim_start_matches(['-', '+']).split(separator);
        let first = groups.next().unwrap_or_default();
        let valid = (1..=3).contains(&first.len()) && groups.all(|group| group.len() == 3);
        if valid { Ok(text.replace(separator, "")) } else { Err(not_a_number()) }
    };
    match (commas, dots) {
        (0, 0 | 1) => Ok(stripped),
        (1, 0) if is_ambiguous(text, ',') => Err(ambiguous_number(text, ',')),
        (1, 0) => Ok(stripped.replace(',', ".")),
        (0, _) => join_groups(&stripped, '.'),
        (_, 0) => join_groups(&stripped, ','),
        _ => {
            let ends_in_comma = stripped.rfind(',') > stripped.rfind('.');
            let (decimal_separator, thousands_separator) = if ends_in_comma { (',', '.') } else { ('.', ',') };
            let (integer_part, fraction) = stripped.rsplit_once(decimal_separator).unwrap_or((&stripped, ""));
            if integer_part.contains(decimal_separator) {
                return Err(not_a_number());
            }
            Ok(format!("{}.{fraction}", join_groups(integer_part, thousands_separator)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pmo_domain::EntityCode;
    use pmo_domain::column::Nullability;
    use proptest::prelude::*;

    #[test]
    fn line_numbers_are_independent_of_line_endings() {
        for end in ["\n", "\r\n", "\r"] {
            let text = ["name,descr", "a,", "", "b,\"two", "lines\"", "c,"].join(end);
            let table = parse(text.as_bytes()).unwrap();
            assert_eq!(table.rows.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 4, 6], "{end:?}");
        }
    }

    #[test]
    fn numbers_in_common_notations_are_parsed_and_ambiguous_ones_rejected() {
        let parse = |text: &str| parse_number(text).ok();
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
            assert_eq!(parse(text).as_deref(), Some(value), "{text}");
        }
        for text in ["1,500", "-12,000", "1.2,3.4", "1,2.3,4", "12.03.2024", "1,2,3", "1.25,50", "1.250.00"] {
            assert_eq!(parse(text), None, "{text}");
        }
        let amount = Column::infer("task", "budget_amt", "numeric", Nullability::Nullable, &Default::default());
        assert!(parse_cell(&amount, "1.500", &[], &[]).is_err(), "ambiguous for an amount");
        assert_eq!(parse_cell(&amount, "1250.5000", &[], &[]).unwrap(), "1250.5000");
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
    fn common_csv_dialects_are_parsed() {
        let expected = CsvTable {
            header: vec!["a".into(), "b".into()],
            rows: vec![(2, vec!["1".into(), "x, y".into()]), (3, vec!["2".into(), String::new()])],
        };
        for text in [
            "a,b\n1,\"x, y\"\n2,\n",
            "\u{feff}a;b\r\n1;x, y\r\n2;\r\n",
            "a\tb\r1\tx, y\r2\t",
            "a,b\r\n1,\"x, y\"\n2\n\n , \n",
        ] {
            let table = parse(text.as_bytes()).unwrap();
            let cells = |t: &CsvTable| t.rows.iter().map(|(_, cells)| cells.clone()).collect::<Vec<_>>();
            assert_eq!((&table.header, cells(&table)), (&expected.header, cells(&expected)), "{text:?}");
        }
        let mut utf16 = vec![0xff, 0xfe];
        utf16.extend("ä,b\n1,2".encode_utf16().flat_map(u16::to_le_bytes));
        assert_eq!(parse(&utf16).unwrap().header, ["ä", "b"]);
    }

    #[test]
    fn invalid_files_are_rejected_with_a_reason() {
        let too_many_rows = format!("a\n{}", "1\n".repeat(MAX_ROWS + 1));
        let long_cell = format!("a,b\n\"{},2", "x".repeat(MAX_CELL_BYTES + 1));
        for (bytes, expected) in [
            (b"".to_vec(), "empty"),
            (b" \n\n".to_vec(), "empty"),
            (b"a,b\n\xe4,1".to_vec(), "line 2"),
            (b"a,b,A\n1,2,3".to_vec(), "Two columns"),
            (b"a,b\n1,2,3".to_vec(), "3 cells"),
            (b"a\0b".to_vec(), "NUL"),
            (too_many_rows.into_bytes(), "more than 10000 rows"),
            (long_cell.into_bytes(), "maximum text length"),
            (vec![b'x'; 1 << 20], "maximum text length"),
        ] {
            let error = parse(&bytes).unwrap_err();
            assert!(format!("{} {}", error.field, error.message).contains(expected), "{expected}: {error:?}");
        }
    }

    #[test]
    fn columns_are_mapped_by_name_label_or_request() {
        let entity = task();
        let head = ["Name", "Estimated (h)", "Wann", "Version", "rest"].map(str::to_owned);
        let names = |mapping: &[(&str, &str)]| {
            let mapping = mapping.iter().map(|(name, target)| ((*name).to_owned(), (*target).to_owned())).collect();
            map_columns(&head, &entity, &mapping).map(|columns| {
                columns
                    .into_iter()
                    .map(|column| column.map(|column| column.name.clone()).unwrap_or_default())
                    .collect::<Vec<_>>()
            })
        };
        assert_eq!(names(&[]).unwrap(), ["name", "estimated_hours", "", "", ""]);
        let with_units = ["Estimated (was)", "Name (old)", "Estimated"].map(str::to_owned);
        let columns = map_columns(&with_units, &entity, &BTreeMap::new()).unwrap();
        let columns: Vec<_> = columns.into_iter().map(|column| column.map(|column| column.name.as_str())).collect();
        assert_eq!(columns, [None, None, Some("estimated_hours")], "the exact name takes precedence");
        assert_eq!(names(&[("Wann", "due_date"), ("Name", "")]).unwrap(), ["", "estimated_hours", "due_date", "", ""]);
        for (mapping, expected) in [
            (("nope", "name"), "not a column of the file"),
            (("rest", "version"), "writable"),
            (("rest", "name"), "already"),
        ] {
            assert!(names(&[mapping]).unwrap_err()[0].message.contains(expected), "{mapping:?}");
        }
    }

    #[test]
    fn cells_are_parsed_in_common_notations() {
        let entity = task();
        let stages = ["To Do".to_owned(), "Done".to_owned()];
        let read = |column: &str, cell: &str| parse_cell(entity.column(column).unwrap(), cell, &stages, &[]);
        assert_eq!(read("estimated_hours", " 7,5 h").unwrap(), json!(7.5));
        assert_eq!(read("budget_amt", "1,250.50 €").unwrap(), json!("1250.50"));
        assert_eq!(read("dl__task_stage", "done").unwrap(), json!("Done"));
        assert_eq!(read("milestone_flag", "Yes").unwrap(), json!(true));
        assert_eq!(read("due_date", "").unwrap(), Value::Null);
        assert_eq!(read("name", "=1+1").unwrap(), json!("=1+1"), "a formula is imported as text");
        for (column, cell, expected) in [
            ("dl__task_stage", "Later", "To Do, Done"),
            ("due_date", "31.1.2026", "date"),
            ("estimated_hours", "many", "number"),
            ("milestone_flag", "maybe", "yes or no"),
        ] {
            assert!(read(column, cell).unwrap_err().to_string().contains(expected), "{column}");
        }
    }

    proptest! {
        #[test]
        fn escaped_text_round_trips(text in "['=+@\\-\t]{0,3}[a-z=']{0,5}") {
            let cell = escape_formula(&text);
            prop_assert!(!cell.starts_with(FORMULA_PREFIXES));
            prop_assert_eq!(unescape_formula(&cell), text);
        }

        #[test]
        fn arbitrary_input_does_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "[a-c,;\"\n\r\t]{0,80}") {
            let _ = parse(&bytes);
            let _ = parse(text.as_bytes());
        }
    }
}
