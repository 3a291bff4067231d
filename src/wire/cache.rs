//! How long a document may be kept: RFC 9111 §4.2 and §5.2.2, for a cache that one program has for
//! itself.

use std::time::Duration;

use http::HeaderMap;
use http::header::{AGE, CACHE_CONTROL, EXPIRES};

use super::date;
use crate::UnixTime;

/// How much longer a document is fresh that came at `now`, as its header fields say; `None` if they
/// say nothing. What they forbid to keep, or to use without asking again, is not fresh at all, and so
/// is what can't be read. The value is the server's own, however absurd.
pub fn freshness_lifetime(headers: &HeaderMap, now: UnixTime) -> Option<Duration> {
    let mut max_age = None;
    for directive in directives(headers) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => return Some(Duration::ZERO),
            // Of two the shorter one counts.
            "max-age" => {
                let seconds = delta_seconds(value).unwrap_or_default();
                max_age = Some(max_age.map_or(seconds, |known: u64| known.min(seconds)));
            }
            _ => {}
        }
    }
    let age = headers.get(AGE).and_then(|value| delta_seconds(value.to_str().ok()?));
    let life = match max_age {
        Some(seconds) => Duration::from_secs(seconds),
        None => {
            // One that is no date is in the past (§5.3).
            let end = date::parse(headers.get(EXPIRES)?.to_str().unwrap_or_default());
            date::of(headers).unwrap_or(now).until(end.unwrap_or_default())
        }
    };
    Some(life.saturating_sub(Duration::from_secs(age.unwrap_or_default())))
}

fn directives(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(CACHE_CONTROL).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// §1.2.2: what is too large for us is as large as it gets.
fn delta_seconds(text: &str) -> Option<u64> {
    let digits = text.trim().trim_matches('"');
    let sound = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    sound.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    const NOW: UnixTime = UnixTime(1_700_000_000);

    fn life(fields: &[(&str, &str)]) -> Option<u64> {
        let field = |(name, value): &(&str, &str)| {
            let name: HeaderName = name.parse().unwrap();
            (name, HeaderValue::from_str(value).unwrap())
        };
        let headers = fields.iter().map(field).collect();
        freshness_lifetime(&headers, NOW).map(|life| life.as_secs())
    }

    #[test]
    fn what_the_fields_say() {
        for (fields, seconds) in [
            (&[][..], None),
            (&[("cache-control", "public")], None),
            (&[("cache-control", "public, max-age=3600")], Some(3600)),
            (&[("cache-control", "MAX-AGE = \"60\" , public")], Some(60)),
            (&[("cache-control", "max-age=60"), ("cache-control", "max-age=9")], Some(9)),
            (&[("cache-control", "max-age=60"), ("age", "20")], Some(40)),
            (&[("cache-control", "max-age=60"), ("age", "61")], Some(0)),
            (&[("cache-control", "max-age=60"), ("age", "old")], Some(60)),
            (&[("cache-control", "s-maxage=60")], None),
            (&[("cache-control", "no-store")], Some(0)),
            (&[("cache-control", "max-age=60, No-Cache=\"set-cookie\"")], Some(0)),
            (&[("cache-control", "max-age=-1")], Some(0)),
            (&[("cache-control", "max-age=soon")], Some(0)),
            (&[("cache-control", "max-age")], Some(0)),
            (&[("cache-control", "max-age=99999999999999999999")], Some(u64::MAX)),
            (&[("expires", "Tue, 14 Nov 2023 22:14:20 GMT")], Some(60)),
            (&[("expires", "Tue, 14 Nov 2023 22:12:20 GMT")], Some(0)),
            (&[("expires", "0")], Some(0)),
            // By the server's own clock, where it tells that.
            (
                &[
                    ("expires", "Tue, 14 Nov 2023 20:00:09 GMT"),
                    ("date", "Tue, 14 Nov 2023 20:00:00 GMT"),
                ],
                Some(9),
            ),
            (&[("cache-control", "max-age=5"), ("expires", "0")], Some(5)),
        ] {
            assert_eq!(life(fields), seconds, "{fields:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(
            values in proptest::collection::vec((0..4_usize, proptest::collection::vec(any::<u8>(), 0..40)), 0..6),
            now: u64,
        ) {
            let names = [CACHE_CONTROL, AGE, EXPIRES, http::header::DATE];
            let mut headers = HeaderMap::new();
            for (name, value) in values {
                if let Ok(value) = HeaderValue::from_bytes(&value) {
                    headers.append(names[name].clone(), value);
                }
            }
            let _ = freshness_lifetime(&headers, UnixTime(now));
        }
    }
}
