//! How Go writes durations and times: `time.Duration` as text, and RFC 3339.

use crate::time::UnixTime;

/// What a unit is worth, in nanoseconds. Go has two spellings of the micro sign.
const UNITS: [(&str, i128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{B5}s", 1_000),
    ("\u{3BC}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3600 * 1_000_000_000),
];

/// Reads `time.ParseDuration`'s grammar, such as `5m`, `1h15m30.5s` or `-1.5h`, in nanoseconds.
///
/// ```text
/// [+-] ( 0 | (digits [. digits] | . digits) unit … )      unit: ns us µs ms s m h
/// ```
///
/// `None` if the text isn't of that form, or the duration doesn't fit 64 bits.
pub fn parse_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(end);
        let worth = UNITS.iter().find(|(name, _)| *name == unit)?.1;
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        total = total.checked_add(whole.checked_mul(worth)?)?;
        total = total.checked_add(part_of(worth, fraction))?;
        rest = next;
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

/// The decimal fraction of a unit, in nanoseconds; in floating point, to get what Go gets.
fn part_of(worth: i128, fraction: &str) -> i128 {
    let (mut count, mut scale) = (0_u64, 1.0_f64);
    for digit in fraction.bytes().map(|b| u64::from(b - b'0')) {
        match count.checked_mul(10).and_then(|count| count.checked_add(digit)) {
            Some(next) if next <= 1 << 63 => (count, scale) = (next, scale * 10.0),
            _ => break,
        }
    }
    (count as f64 * (worth as f64 / scale)) as i128
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// `time.Duration`'s own text for so many nanoseconds: `5m0s`, `1.5s`, `100ms`, `0s`.
pub fn format_duration(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let all = nanoseconds.unsigned_abs();
    let below_a_second = [("ns", 1_u64), ("\u{B5}s", 1_000), ("ms", 1_000_000)].into_iter().rev();
    if all == 0 {
        return "0s".to_owned();
    }
    if all < 1_000_000_000 {
        for (unit, worth) in below_a_second {
            if all >= worth {
                return format!("{sign}{}{unit}", decimal(all, worth));
            }
        }
    }
    let (minutes, left) = (all / 60_000_000_000, all % 60_000_000_000);
    let seconds = decimal(left, 1_000_000_000);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

/// `count / worth` without zeros at the end, `worth` being a power of ten.
fn decimal(count: u64, worth: u64) -> String {
    let (whole, rest) = (count / worth, count % worth);
    if rest == 0 {
        return whole.to_string();
    }
    let width = worth.ilog10() as usize;
    format!("{whole}.{}", format!("{rest:0width$}").trim_end_matches('0'))
}

/// Go's zero time, which stands for none.
pub(super) const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// Reads an RFC 3339 time; parts of a second are dropped, and what is before 1970 is 1970. The outer
/// `None` is text of another form, the inner one Go's zero time.
pub(super) fn parse_time(text: &str) -> Option<Option<UnixTime>> {
    let (date, rest) = text.split_at_checked(10)?;
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, rest) = rest.split_at_checked(8)?;
    let rest = match rest.strip_prefix('.') {
        Some(fraction) => match digits(fraction) {
            ("", _) => return None,
            (_, rest) => rest,
        },
        None => rest,
    };
    let [year, month, day] = numbers(date, b'-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(clock, b':', [2, 2, 2])?;
    let offset = match rest {
        "Z" | "z" => 0,
        _ => {
            let [hours, minutes] = numbers(rest.strip_prefix(['+', '-'])?, b':', [2, 2])?;
            let offset = (hours <= 23 && minutes <= 59).then_some(hours * 3600 + minutes * 60)?;
            if rest.starts_with('-') { -offset } else { offset }
        }
    };
    let sane = (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour <= 23
        && minute <= 59
        && second <= 59;
    if !sane {
        return None;
    }
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    let unix = seconds - offset;
    let zero = days_since_1970(1, 1, 1) * 86_400;
    Some((unix != zero).then(|| UnixTime(u64::try_from(unix).unwrap_or(0))))
}

/// Numbers of so many digits each.
fn numbers<const N: usize>(text: &str, between: u8, widths: [usize; N]) -> Option<[i64; N]> {
    let mut found = [0; N];
    let mut parts = text.split(char::from(between));
    for (number, width) in found.iter_mut().zip(widths) {
        let part = parts.next().filter(|part| part.len() == width)?;
        *number = part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok())??;
    }
    parts.next().is_none().then_some(found)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Of the Gregorian calendar; a year begins in March here, so that the leap day is its last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The RFC 3339 text of a time, in UTC. Go reads years up to 9999: what is later is that year's end.
pub(super) fn format_time(time: UnixTime) -> String {
    const LAST: u64 = 253_402_300_799;
    let seconds = time.0.min(LAST);
    let (days, clock) = ((seconds / 86_400) as i64, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let (hour, minute, second) = (clock / 3600, clock / 60 % 60, clock % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_duration_is_read_as_go_reads_it() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("+0", 0),
            ("5m", 300_000_000_000),
            ("5s", 5_000_000_000),
            ("-5s", -5_000_000_000),
            ("+5s", 5_000_000_000),
            ("5.s", 5_000_000_000),
            (".5s", 500_000_000),
            ("-.5s", -500_000_000),
            ("1h15m30.918273645s", 4_530_918_273_645),
            ("0.000000000000000000000001h", 0),
            ("10ns11us12\u{B5}s13\u{3BC}s14ms", 14_036_010),
            ("0.3333333333333333333h", 1_200_000_000_000),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
        ] {
            assert_eq!(parse_duration(text), Some(nanoseconds), "{text}");
        }
        for text in [
            "", "3", "-", "s", ".", "-.", ".s", "+.s", "1d", "5 m", " 5m", "5m ", "1e3s", "--5s",
            "3000000h",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
        assert_eq!(parse_duration("9223372036854775808ns"), None);
        assert_eq!(parse_duration(&format!("{}h", "9".repeat(60))), None);
    }

    #[test]
    fn a_duration_is_written_as_go_writes_it() {
        for (nanoseconds, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1\u{B5}s"),
            (2_200_000, "2.2ms"),
            (3_300_000_000, "3.3s"),
            (300_000_000_000, "5m0s"),
            (245_001_000_000, "4m5.001s"),
            (18_367_001_000_000, "5h6m7.001s"),
            (480_000_000_001, "8m0.000000001s"),
            (i64::MAX, "2562047h47m16.854775807s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ] {
            assert_eq!(format_duration(nanoseconds), text);
        }
    }

    #[test]
    fn a_time_is_read_with_its_zone_and_the_zero_time_is_none() {
        for (text, unix) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2026-08-17T12:30:05Z", Some(1_786_969_805)),
            ("2026-08-17T14:30:05.999999999+02:00", Some(1_786_969_805)),
            ("2026-08-17t03:00:05-09:30", Some(1_786_969_805)),
            ("2024-02-29 23:59:59z", Some(1_709_251_199)),
            ("9999-12-31T23:59:59Z", Some(253_402_300_799)),
            ("1969-07-20T20:17:40Z", Some(0)),
            (ZERO_TIME, None),
            ("0001-01-01T01:00:00+01:00", None),
        ] {
            assert_eq!(parse_time(text), Some(unix.map(UnixTime)), "{text}");
        }
        for text in [
            "",
            "2026-08-17",
            "2026-08-17T12:30:05",
            "2026-08-17T12:30Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:60Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+2:00",
            "2026-01-01T00:00:00+24:00",
            "2026-01-01T00:00:00Z ",
            "+026-01-01T00:00:00Z",
            "20260101T000000ZZZZZ",
            "2026-01-0\u{FF11}T00:00:00Z",
        ] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(nanoseconds: i64, time in 0_u64..253_402_300_800) {
            prop_assert_eq!(parse_duration(&format_duration(nanoseconds)), Some(nanoseconds));
            let time = UnixTime(time);
            prop_assert_eq!(parse_time(&format_time(time)), Some(Some(time)));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*", number in "[-+]?[0-9.]{0,40}[nuµmsh]{0,3}") {
            let _ = (parse_duration(&text), parse_duration(&number), parse_time(&text));
        }
    }
}
