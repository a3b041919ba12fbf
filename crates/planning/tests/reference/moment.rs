//! Civil moments in ticks of six seconds since 2000-01-01 00:00, computed by counting days.

/// A moment or a length in tenths of a minute.
pub(crate) type Tick = i64;

pub(crate) const MINUTE: Tick = 10;
pub(crate) const HOUR: Tick = 60 * MINUTE;
/// A day of 24 hours.
pub(crate) const DAY: Tick = 24 * HOUR;
/// A unit "d" of a length: `MinutesPerDay` is 480 in all plans of these tests.
pub(crate) const WORK_DAY: Tick = 8 * HOUR;

/// Days since 2000-01-01, a Saturday.
pub(crate) type Day = i64;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEK_DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Returns the number of days of a month, which is 1 to 12.
pub(crate) fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

fn days_of_year(year: i64) -> i64 {
    if is_leap(year) { 366 } else { 365 }
}

/// Returns year, month and day of the month.
pub(crate) fn civil(day: Day) -> (i64, i64, i64) {
    let (mut year, mut rest) = (2000, day);
    while rest < 0 {
        year -= 1;
        rest += days_of_year(year);
    }
    while rest >= days_of_year(year) {
        rest -= days_of_year(year);
        year += 1;
    }
    let mut month = 1;
    while rest >= days_of_month(year, month) {
        rest -= days_of_month(year, month);
        month += 1;
    }
    (year, month, rest + 1)
}

/// Returns the day of a date.
pub(crate) fn day_of(year: i64, month: i64, day: i64) -> Day {
    let years: i64 =
        if year >= 2000 { (2000..year).map(days_of_year).sum() } else { -(year..2000).map(days_of_year).sum::<i64>() };
    years + (1..month).map(|m| days_of_month(year, m)).sum::<i64>() + day - 1
}

/// Returns 0 for Sunday to 6 for Saturday.
pub(crate) fn week_day(day: Day) -> usize {
    usize::try_from((day + 6).rem_euclid(7)).unwrap()
}

/// Returns the moment of `"2 Mar 08:00"` in 2026; week days before the date are allowed, and
/// checked.
pub(crate) fn at(text: &str) -> Tick {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [.., day, month, time] = words[..] else { panic!("not a moment: {text}") };
    let month = MONTHS.iter().position(|name| *name == month).unwrap_or_else(|| panic!("not a month: {text}"));
    let date = day_of(2026, i64::try_from(month).unwrap() + 1, day.parse().unwrap());
    if words.len() == 4 {
        assert_eq!(words[0], WEEK_DAYS[week_day(date)], "wrong week day: {text}");
    }
    date * DAY + clock(time)
}

/// Returns the length since midnight of `"08:00"`.
pub(crate) fn clock(text: &str) -> Tick {
    let (hour, minute) = text.split_once(':').unwrap_or((text, "0"));
    hour.parse::<Tick>().unwrap() * HOUR + minute.parse::<Tick>().unwrap() * MINUTE
}

/// Writes a moment as `Mon 02 Mar 08:00`, with the year where it is not 2026.
pub(crate) fn show(moment: Tick) -> String {
    let day = moment.div_euclid(DAY);
    let (year, month, date) = civil(day);
    let clock = moment.rem_euclid(DAY);
    let tenth = clock % MINUTE;
    let mut text = format!(
        "{} {date:02} {} {:02}:{:02}",
        WEEK_DAYS[week_day(day)],
        MONTHS[usize::try_from(month - 1).unwrap()],
        clock / HOUR,
        clock % HOUR / MINUTE
    );
    if tenth != 0 {
        text.push_str(&format!(".{tenth}"));
    }
    if year != 2026 {
        text.push_str(&format!(" {year}"));
    }
    text
}

/// Writes a length in hours and minutes.
pub(crate) fn show_length(length: Tick) -> String {
    let sign = if length < 0 { "-" } else { "" };
    let length = length.abs();
    let (hours, rest) = (length / HOUR, length % HOUR);
    match (rest, rest % MINUTE) {
        (0, _) => format!("{sign}{hours}h"),
        (_, 0) => format!("{sign}{hours}h{:02}", rest / MINUTE),
        (_, tenth) => format!("{sign}{hours}h{:02}.{tenth}", rest / MINUTE),
    }
}

#[test]
fn days_and_dates_agree() {
    for day in -2000..20000 {
        let (year, month, date) = civil(day);
        assert_eq!(day_of(year, month, date), day);
    }
    assert_eq!(show(at("Mon 02 Mar 08:00")), "Mon 02 Mar 08:00");
}
