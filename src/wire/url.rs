//! URLs: which ones are used at all, and where the well-known documents are.
//!
//! RFC 9728 §3, RFC 8414 §3, OpenID Connect Discovery §4, RFC 8707 §2.

use ::url::{Host, ParseError, Url};

use super::Malformed;
use crate::text::printable_url;

/// The longest URL, in bytes.
const MAX_LEN: usize = 8 * 1024;

/// Reads an absolute URL that a program may follow: `https`, or `http` to this machine; with a host;
/// without user information and fragment; at most 8 KiB.
///
/// The URL parser of the web repairs a lot: it strips control characters, turns `\` into `/`, finds a
/// host in `https:a`. Two readers of one repaired text can see two hosts, so such text is refused.
///
/// # Errors
///
/// [`Malformed`] names the broken rule; `document` says where the text stood.
pub fn parse(document: &'static str, text: &str) -> Result<Url, Malformed> {
    let refuse = |expected: &str| Malformed::new(document, expected, printable_url(text));
    if text.len() > MAX_LEN {
        return Err(refuse("a URL of at most 8 KiB"));
    }
    if text.chars().any(needs_repair) {
        return Err(refuse("a URL without whitespace, control characters and backslashes"));
    }
    let authority = text
        .split_once("://")
        .map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default())
        .filter(|authority| !authority.is_empty())
        .ok_or_else(|| refuse("an absolute URL"))?;
    // An empty user (`https://@host`) is gone after parsing.
    if authority.contains('@') {
        return Err(refuse(NO_USER));
    }
    if authority.contains('%') {
        return Err(refuse("a URL whose host isn't percent-encoded"));
    }
    let url = Url::parse(text).map_err(|e| refuse(&format!("a URL ({e})")))?;
    check(document, &url)?;
    Ok(url)
}

const NO_USER: &str = "a URL without user name and password";

/// Applies the rules of [`parse`] to a URL that is already parsed.
///
/// # Errors
///
/// [`Malformed`] names the broken rule; `document` says where the URL comes from.
pub fn check(document: &'static str, url: &Url) -> Result<(), Malformed> {
    let refuse =
        |expected: &str| Err(Malformed::new(document, expected, printable_url(url.as_str())));
    if url.as_str().len() > MAX_LEN {
        return refuse("a URL of at most 8 KiB");
    }
    if url.host().is_none() {
        return refuse("a URL with a host");
    }
    if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback(url)) {
        return refuse("an https URL (http only to a loopback host)");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse(NO_USER);
    }
    // The web's parser takes `{` and `"` in a host; a request can't be made of it.
    if url.as_str().parse::<http::Uri>().is_err() {
        return refuse("a URL whose host RFC 3986 knows");
    }
    if url.fragment().is_some() {
        return refuse("a URL without a fragment");
    }
    Ok(())
}

fn needs_repair(c: char) -> bool {
    c.is_control() || c.is_whitespace() || c == '\\'
}

/// Whether the host is this machine by its name: `localhost`, `*.localhost` (RFC 6761 §6.3),
/// `127.0.0.0/8` or `[::1]`. Nothing is resolved.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Whether scheme, host and port agree, a missing port being the scheme's own.
pub fn same_origin(a: &Url, b: &Url) -> bool {
    a.has_host()
        && a.scheme() == b.scheme()
        && a.host() == b.host()
        && a.port_or_known_default() == b.port_or_known_default()
}

/// Where a server's protected resource metadata may be (RFC 9728 §3.1), best first.
///
/// The path form comes before the root; the server's query isn't carried over. A path that ends in a
/// slash has two forms, because servers differ: without it (what most publish), then with it (what
/// the specification says).
pub fn resource_metadata_urls(server: &Url) -> Vec<Url> {
    const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";
    let path = path_of(server);
    let mut urls = vec![at(server, &format!("{WELL_KNOWN}{path}"))];
    if !path.is_empty() {
        if server.path().ends_with('/') {
            urls.push(at(server, &format!("{WELL_KNOWN}{}", server.path())));
        }
        urls.push(at(server, WELL_KNOWN));
    }
    urls
}

/// Where an issuer's metadata may be, best first: RFC 8414 §3.1, then OpenID Connect with the path
/// inserted and, as OpenID Connect Discovery §4.1 has it, appended; last, where some servers have
/// appended the path of RFC 8414.
pub fn server_metadata_urls(issuer: &Url) -> Vec<Url> {
    const OAUTH: &str = "/.well-known/oauth-authorization-server";
    const OPENID: &str = "/.well-known/openid-configuration";
    let path = path_of(issuer);
    let mut urls =
        vec![at(issuer, &format!("{OAUTH}{path}")), at(issuer, &format!("{OPENID}{path}"))];
    if !path.is_empty() {
        urls.push(at(issuer, &format!("{path}{OPENID}")));
        urls.push(at(issuer, &format!("{path}{OAUTH}")));
    }
    urls
}

/// The path without its terminating slash; empty at the root.
fn path_of(url: &Url) -> &str {
    url.path().trim_end_matches('/')
}

/// `path` at the origin of `base`.
fn at(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(path);
    url.set_query(None);
    url.set_fragment(None);
    url
}

/// Whether metadata that names `resource` speaks for the MCP server at `server`: the same origin, and
/// a path that is the server's own or a parent of it, with or without a terminating slash.
///
/// A resource with a query speaks for exactly that URL. Whatever [`parse`] refuses covers nothing.
pub fn resource_covers(resource: &str, server: &Url) -> bool {
    let Ok(resource) = parse("resource", resource) else { return false };
    let Some(rest) = path_of(server).strip_prefix(path_of(&resource)) else { return false };
    same_origin(&resource, server)
        && match resource.query() {
            Some(query) => rest.is_empty() && server.query() == Some(query),
            None => rest.is_empty() || rest.starts_with('/'),
        }
}

/// Whether `resource` is the very MCP server at `server`, with or without a terminating slash.
pub fn same_resource(resource: &str, server: &Url) -> bool {
    parse("resource", resource).is_ok_and(|resource| {
        same_origin(&resource, server)
            && path_of(&resource) == path_of(server)
            && resource.query() == server.query()
    })
}

/// The resource indicator of a server that names none itself (RFC 8707 §2): its URL with scheme and
/// host in lower case and without a fragment. Path, query, port and a slash at the end stay as they
/// are. `None` for what can't be one: no absolute URL, or one with user information.
pub fn resource_indicator(server: &str) -> Option<String> {
    let text = server.split('#').next().filter(|text| !text.chars().any(needs_repair))?;
    let url = Url::parse(text).ok().filter(|url| url.has_host() && url.username().is_empty())?;
    let (scheme, rest) = text.split_once("://").filter(|_| url.password().is_none())?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    Some(format!("{}://{}{path}", scheme.to_ascii_lowercase(), authority.to_ascii_lowercase()))
}

/// The issuers that a challenge's realm may stand for, best first: an `https` URL, or any to this
/// machine, without query and fragment, its dot segments resolved, and the same without the slashes
/// at its end. Anything else is no issuer.
pub fn issuers_of_realm(realm: &str) -> Vec<String> {
    let text = realm.split(['?', '#']).next().unwrap_or_default();
    let Ok(url) = parse("realm", text) else { return Vec::new() };
    let rest = text.split_once("://").map_or("", |(_, rest)| rest);
    let path = rest.find('/').map_or("/", |at| &rest[at..]);
    // The realm's own bytes, unless the path was resolved.
    let resolved = if path == url.path() { text.to_owned() } else { String::from(url.clone()) };
    let bare = Some(resolved.trim_end_matches('/')).filter(|_| !path_of(&url).is_empty());
    let bare = bare.filter(|bare| *bare != resolved).map(str::to_owned);
    std::iter::once(resolved).chain(bare).collect()
}

/// Whether two issuer identifiers are the same string (RFC 8414 §3.3, RFC 9207 §2.4).
///
/// The one tolerated difference is the root slash of an empty path, `https://a` and `https://a/`:
/// URL libraries add it on their own.
pub fn issuers_match(expected: &str, got: &str) -> bool {
    without_root_slash(expected) == without_root_slash(got)
}

/// Whether `issuer` is nothing but the origin of another issuer, `of`, which has a path; `https` only.
pub fn is_origin_of(issuer: &str, of: &str) -> bool {
    let (Ok(issuer), Ok(of)) = (parse("issuer", issuer), parse("issuer", of)) else { return false };
    issuer.scheme() == "https"
        && (issuer.path(), issuer.query()) == ("/", None)
        && same_origin(&issuer, &of)
}

fn without_root_slash(issuer: &str) -> &str {
    issuer
        .strip_suffix('/')
        .filter(|head| {
            head.split_once("://")
                .is_some_and(|(_, host)| !host.is_empty() && !host.contains(['/', '?', '#']))
        })
        .unwrap_or(issuer)
}

/// Reads a URL that a server gave in its answer to a request for `asked`: an absolute one as
/// [`parse`], a relative one (RFC 3986 §5) at the origin that was asked. A relative one's fragment is
/// dropped.
///
/// # Errors
///
/// [`Malformed`] names the broken rule; `document` says where the text stood.
pub fn resolve(document: &'static str, asked: &Url, text: &str) -> Result<Url, Malformed> {
    match Url::parse(text) {
        Err(ParseError::RelativeUrlWithoutBase) => within(document, asked, text),
        _ => parse(document, text),
    }
}

/// Where a redirected GET may go: to the same origin only, so that the answer still comes from the
/// party that was asked.
///
/// `location` may be relative; its fragment is dropped.
///
/// # Errors
///
/// [`Malformed`] if `location` isn't a URL, breaks a rule of [`parse`], or leaves the origin.
pub fn redirect_target(from: &Url, location: &str) -> Result<Url, Malformed> {
    within("redirect", from, location)
}

fn within(document: &'static str, from: &Url, location: &str) -> Result<Url, Malformed> {
    let refuse = |expected: &str| Malformed::new(document, expected, printable_url(location));
    if location.is_empty() || location.len() > MAX_LEN || location.chars().any(needs_repair) {
        return Err(refuse("a location of 1 B to 8 KiB without whitespace and backslashes"));
    }
    let mut to = from.join(location).map_err(|e| refuse(&format!("a location ({e})")))?;
    to.set_fragment(None);
    check(document, &to)?;
    if !same_origin(from, &to) {
        let origin = from.origin().ascii_serialization();
        return Err(refuse(&format!("a location on {origin}")));
    }
    Ok(to)
}

/// Where the same MCP server is, as a redirect that keeps the method says (RFC 9110 §15.4.8,
/// §15.4.9): the URL that was asked for, with a slash at the end or without. `None` for all else.
///
/// `http` in `location` means `https` where that was asked for: a server behind a proxy that ends TLS
/// believes that it speaks http.
pub fn moved_to(from: &Url, location: &str) -> Option<Url> {
    let to = match location.strip_prefix("http://") {
        Some(rest) if from.scheme() == "https" => redirect_target(from, &format!("https://{rest}")),
        _ => redirect_target(from, location),
    };
    to.ok().filter(|to| to != from && path_of(to) == path_of(from) && to.query() == from.query())
}

#[cfg(test)]
mod tests;
