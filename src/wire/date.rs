//! Dates in header fields: RFC 9110 §5.6.7.

use std::time::UNIX_EPOCH;

use http::HeaderMap;
use http::header::DATE;

use crate::UnixTime;

/// When the server made this answer, by its own clock (RFC 9110 §6.6.1).
pub(crate) fn of(headers: &HeaderMap) -> Option<UnixTime> {
    parse(headers.get(DATE)?.to_str().ok()?)
}

/// One of the three forms of a date; none before 1970.
pub(super) fn parse(text: &str) -> Option<UnixTime> {
    let at = httpdate::parse_http_date(text.trim()).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(UnixTime(at.as_secs()))
}
