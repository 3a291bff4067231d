//! The scripted person: follows an authorization URL to where it ends, as a browser would.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use http::Uri;

/// The most redirects, as browsers have it.
const MAX_STEPS: usize = 20;
/// The most that is read of a page, in bytes.
const MAX_PAGE: u64 = 64 << 10;
const PATIENCE: Duration = Duration::from_secs(10);

/// Fetches an `http` URL, follows its redirects, and returns the status of the last page.
///
/// # Errors
///
/// Where a server can't be reached, or isn't one.
pub fn walk(url: &str) -> io::Result<u16> {
    let mut url = url.to_owned();
    for _ in 0..MAX_STEPS {
        let page = fetch(&url)?;
        match (300..400).contains(&page.status).then_some(page.location).flatten() {
            Some(next) => url = next,
            None => return Ok(page.status),
        }
    }
    Err(io::Error::other("too many redirects"))
}

struct Page {
    status: u16,
    location: Option<String>,
}

fn fetch(url: &str) -> io::Result<Page> {
    let unusable = |what| move || io::Error::new(io::ErrorKind::InvalidInput, what);
    let uri: Uri = url.parse().map_err(|_| unusable("not a URL")())?;
    let authority = uri.authority().ok_or_else(unusable("not an absolute URL"))?;
    let host = authority.host().trim_matches(['[', ']']);
    let mut stream = TcpStream::connect((host, authority.port_u16().unwrap_or(80)))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    write!(stream, "GET {target} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.take(MAX_PAGE).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let location = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("location"))
        .map(|(_, value)| value.trim().to_owned());
    Ok(Page { status: status.ok_or_else(unusable("not an answer"))?, location })
}
