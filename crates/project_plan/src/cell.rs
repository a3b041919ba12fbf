//! Values of columns, read with tolerance: numbers may be texts, and null is an absent value.

use pmo_planning::{Day, Moment, Span};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use uuid::Uuid;

/// Value that cannot be read as what its column contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// Result of reading a value; `None` for null.
pub(crate) type Read<T> = Result<Option<T>, Unreadable>;

/// Maximum number of entries of a list; what comes after is ignored.
const MAX_LIST: usize = 10_000;

/// Value of a column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell<'a> {
    Null,
    Flag(bool),
    Number(f64),
    Text(Cow<'a, str>),
    List(Vec<Cell<'a>>),
    Object,
}

/// Type that is read column by column.
pub(crate) trait Columns: Default {
    /// Takes over the value of a column; a name that the type does not know is ignored.
    fn set(&mut self, column: &str, cell: &Cell<'_>) -> Result<(), Unreadable>;

    /// Notes a column whose value cannot be read.
    fn note_unreadable(&mut self, column: &str);

    /// Reads the columns of a row.
    fn read(row: &crate::Row) -> Self {
        let mut read = Self::default();
        for (column, value) in row {
            if read.set(column, &Cell::from(value)).is_err() {
                read.note_unreadable(column);
            }
        }
        read
    }
}

/// Deserializes the columns of a row.
pub(crate) fn deserialize_columns<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Columns,
{
    deserializer.deserialize_map(ColumnsVisitor(PhantomData))
}

struct ColumnsVisitor<T>(PhantomData<T>);

impl<'de, T: Columns> Visitor<'de> for ColumnsVisitor<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the columns of a row")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut read = T::default();
        while let Some(column) = map.next_key::<Cell<'de>>()? {
            let cell = map.next_value::<Cell<'de>>()?;
            if let Cell::Text(column) = column
                && read.set(&column, &cell).is_err()
            {
                read.note_unreadable(&column);
            }
        }
        Ok(read)
    }
}

impl<'de> Deserialize<'de> for Cell<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CellVisitor)
    }
}

struct CellVisitor;

impl<'de> Visitor<'de> for CellVisitor {
    type Value = Cell<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Cell::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Self::Value, E> {
        Ok(Cell::Flag(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Cell::Number(number as f64))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Cell::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Cell::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cell::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cell::Text(Cow::Borrowed(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut cells = Vec::new();
        while cells.len() < MAX_LIST {
            match list.next_element::<Cell<'de>>()? {
                Some(cell) => cells.push(cell),
                None => return Ok(Cell::List(cells)),
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Cell::List(cells))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Cell::Object)
    }
}

impl<'a> From<&'a Value> for Cell<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(flag) => Self::Flag(*flag),
            Value::Number(number) => Self::Number(number.as_f64().unwrap_or(f64::NAN)),
            Value::String(text) => Self::Text(Cow::Borrowed(text)),
            Value::Array(list) => Self::List(list.iter().take(MAX_LIST).map(Self::from).collect()),
            Value::Object(_) => Self::Object,
        }
    }
}

impl Cell<'_> {
    /// Reads a flag.
    pub(crate) fn flag(&self) -> Read<bool> {
        match self {
            Self::Null => Ok(None),
            Self::Flag(flag) => Ok(Some(*flag)),
            Self::Number(number) => Ok(Some(*number != 0.0)),
            Self::Text(text) => match &**text {
                "true" | "t" | "1" => Ok(Some(true)),
                "false" | "f" | "0" => Ok(Some(false)),
                _ => Err(Unreadable),
            },
            _ => Err(Unreadable),
        }
    }

    /// Reads a text; an empty one is absent.
    pub(crate) fn text(&self) -> Read<&str> {
        match self {
            Self::Null => Ok(None),
            Self::Text(text) => Ok(Some(&**text).filter(|text| !text.is_empty())),
            _ => Err(Unreadable),
        }
    }

    /// Reads a number and returns it multiplied by `scale`, rounded to a whole number.
    pub(crate) fn scaled(&self, scale: f64) -> Read<i64> {
        let number = match self {
            Self::Null => return Ok(None),
            Self::Number(number) => *number,
            Self::Text(text) if text.trim().is_empty() => return Ok(None),
            Self::Text(text) => text.trim().parse::<f64>().map_err(|_| Unreadable)?,
            _ => return Err(Unreadable),
        };
        let scaled = (number * scale).round();
        // Far below the range of i64, far above that of every column.
        if scaled.is_finite() && scaled.abs() < 1e15 { Ok(Some(scaled as i64)) } else { Err(Unreadable) }
    }

    /// Reads a number of minutes.
    pub(crate) fn minutes(&self) -> Read<Span> {
        self.span(10.0)
    }

    /// Reads a number of minutes that is not negative.
    pub(crate) fn positive_minutes(&self) -> Read<Span> {
        self.minutes()?.map(|span| if span < Span::ZERO { Err(Unreadable) } else { Ok(span) }).transpose()
    }

    /// Reads a length of time given in units of `tenths` tenths of a minute.
    pub(crate) fn span(&self, tenths: f64) -> Read<Span> {
        let Some(tenths) = self.scaled(tenths)? else { return Ok(None) };
        let span = Span::clamped(tenths);
        if i64::from(span.0) == tenths { Ok(Some(span)) } else { Err(Unreadable) }
    }

    /// Reads a local moment, `YYYY-MM-DDTHH:MM:SS`; seconds and the whole time may be missing.
    pub(crate) fn moment(&self) -> Read<Moment> {
        self.text()?.map(|text| parse_moment(text).ok_or(Unreadable)).transpose()
    }

    /// Reads a date; a time after it is ignored.
    pub(crate) fn day(&self) -> Read<Day> {
        self.text()?.map(|text| text.get(..10).and_then(parse_day).ok_or(Unreadable)).transpose()
    }

    /// Reads an id.
    pub(crate) fn id(&self) -> Read<Uuid> {
        self.text()?.map(|text| Uuid::try_parse(text).map_err(|_| Unreadable)).transpose()
    }
}

impl<'a> Cell<'a> {
    /// Reads a list; null is an empty list.
    pub(crate) fn list<T>(&self, read: impl Fn(&Cell<'a>) -> Read<T>) -> Result<Vec<T>, Unreadable> {
        match self {
            Self::Null => Ok(Vec::new()),
            Self::List(cells) => cells.iter().map(|cell| read(cell)?.ok_or(Unreadable)).collect(),
            _ => Err(Unreadable),
        }
    }
}

/// Parses `YYYY-MM-DD` from 1800 to 2199, the years that the engine computes with.
pub(crate) fn parse_day(text: &str) -> Option<Day> {
    let mut parts = text.split('-');
    let year = digits(parts.next()?, 4)?;
    let (month, day) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let parsed = Day::from_civil(i32::try_from(year).ok()?, month, day);
    let exists = parsed.to_civil() == (i32::try_from(year).ok()?, month, day);
    (parts.next().is_none() && (1800..2200).contains(&year) && exists).then_some(parsed)
}

/// Parses a local moment; seconds are cut to tenths of a minute.
pub(crate) fn parse_moment(text: &str) -> Option<Moment> {
    let day = parse_day(text.get(..10)?)?;
    let Some(time) = text.get(10..).filter(|time| !time.is_empty()) else { return Some(day.midnight()) };
    let mut parts = time.strip_prefix(['T', ' '])?.split(':');
    let (hour, minute) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let second = match parts.next() {
        Some(second) => digits(second.split('.').next()?, 2)?,
        None => 0,
    };
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let tenths = hour * 600 + minute * 10 + second / 6;
    Some(day.midnight().plus(Span(i32::try_from(tenths).ok()?)))
}

fn digits(text: &str, count: usize) -> Option<u32> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// Returns a date as `YYYY-MM-DD`.
pub(crate) fn format_day(day: Day) -> String {
    let (year, month, day) = day.to_civil();
    format!("{year:04}-{month:02}-{day:02}")
}

/// Returns a length of time as a number of minutes with at most one decimal.
pub(crate) fn minutes_value(span: Span) -> Value {
    decimal_value(i64::from(span.0), 10)
}

/// Returns `number / scale` as a JSON number, a whole one if possible.
pub(crate) fn decimal_value(number: i64, scale: i64) -> Value {
    if number % scale == 0 {
        return Value::from(number / scale);
    }
    Value::from(number as f64 / scale as f64)
}

/// Returns a moment as JSON; null if absent.
pub(crate) fn moment_value(moment: Moment) -> Value {
    moment.get().map_or(Value::Null, |moment| Value::from(moment.to_string()))
}
