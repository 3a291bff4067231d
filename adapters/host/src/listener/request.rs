//! What a request asks for, decided from its head alone.

use super::page::Response;

/// Browsers send about twenty.
const MAX_FIELDS: usize = 100;

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The authorization server's redirect, with its request target.
    Redirect(String),
    /// Anything else, with our answer.
    Other(Response),
}

/// Decides what the request asks of a listener at `path` on `port`.
pub(super) fn understand(head: &[u8], path: &str, port: u16) -> Asked {
    match parse(head, path, port) {
        Ok(target) => Asked::Redirect(target),
        // The answer to HEAD ends with its fields (RFC 9110 §9.3.2).
        Err(response) if head.starts_with(b"HEAD ") => Asked::Other(response.without_body()),
        Err(response) => Asked::Other(response),
    }
}

fn parse(head: &[u8], path: &str, port: u16) -> Result<String, Response> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Response::too_long()),
        Ok(httparse::Status::Partial) | Err(_) => return Err(Response::malformed()),
    }
    let (Some(method), Some(target)) = (request.method, request.path) else {
        return Err(Response::malformed());
    };
    // Absolute form would name another host than the one that is checked next.
    if !target.starts_with('/') {
        return Err(Response::malformed());
    }
    // A page that made its own name point at this address shows here.
    let mut hosts = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("host"));
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_us(host.value, port) => {}
        (Some(_), None) => return Err(Response::misdirected()),
        _ => return Err(Response::malformed()),
    }
    if target.split('?').next() != Some(path) {
        return Err(Response::not_for_us());
    }
    match method {
        "GET" => Ok(target.to_owned()),
        "HEAD" => Err(Response::looked_at()),
        // A page on the public web asks before it sends the user to a private address.
        "OPTIONS" => Err(Response::preflight()),
        _ => Err(Response::wrong_method()),
    }
}

fn is_us(host: &[u8], port: u16) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    let host = host.to_ascii_lowercase();
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|name| {
        match host.strip_prefix(name).map(|rest| rest.strip_prefix(':').ok_or(rest)) {
            Some(Ok(digits)) => digits == port.to_string(),
            // Clients leave the default port out.
            Some(Err(rest)) => rest.is_empty() && port == 80,
            None => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(head: &str) -> Asked {
        understand(head.as_bytes(), "/callback", 4000)
    }

    fn status(head: &str) -> u16 {
        match ask(head) {
            Asked::Redirect(_) => 200,
            Asked::Other(response) => response.status(),
        }
    }

    #[test]
    fn a_redirect_is_handed_over_with_its_query() {
        assert_eq!(
            ask("GET /callback?code=c%2F&state=s HTTP/1.1\r\nHost: LocalHost:4000\r\n\r\n"),
            Asked::Redirect("/callback?code=c%2F&state=s".into())
        );
    }

    #[test]
    fn only_loopback_names_with_our_port_are_us() {
        for host in ["localhost:4000", "127.0.0.1:4000", "[::1]:4000"] {
            assert!(is_us(host.as_bytes(), 4000), "{host}");
        }
        for host in [
            "",
            "localhost",
            "localhost:",
            "localhost:4001",
            "localhost:04000",
            "localhost.:4000",
            "evil.example:4000",
            "localhost.evil.example:4000",
            "a@localhost:4000",
            "[::1]4000",
            "127.0.0.1:4000:4000",
            "::1:4000",
            "127.0.0.2:4000",
            "0.0.0.0:4000",
        ] {
            assert!(!is_us(host.as_bytes(), 4000), "{host}");
        }
        assert!(is_us(b"localhost", 80));
        assert!(!is_us(b"localhost\xff:4000", 4000));
    }

    #[test]
    fn other_paths_are_not_ours_however_similar() {
        for target in ["/", "/favicon.ico", "/callback/", "/callbackx", "/Callback", "//callback"] {
            assert_eq!(
                status(&format!("GET {target} HTTP/1.1\r\nHost: localhost:4000\r\n\r\n")),
                404
            );
        }
    }

    #[test]
    fn a_target_that_is_not_a_path_is_refused() {
        for target in ["http://localhost:4000/callback?code=c", "localhost:4000", "*"] {
            assert_eq!(
                status(&format!("GET {target} HTTP/1.1\r\nHost: localhost:4000\r\n\r\n")),
                400
            );
        }
    }

    #[test]
    fn a_request_needs_exactly_one_host() {
        assert_eq!(status("GET /callback HTTP/1.1\r\n\r\n"), 400);
        assert_eq!(
            status("GET /callback HTTP/1.1\r\nHost: localhost:4000\r\nHost: evil.example\r\n\r\n"),
            400
        );
        assert_eq!(status("GET /callback HTTP/1.1\r\nHost: evil.example:4000\r\n\r\n"), 421);
    }

    #[test]
    fn only_get_carries_a_redirect() {
        for method in ["POST", "PUT", "get", "CONNECT"] {
            let head =
                format!("{method} /callback?code=c HTTP/1.1\r\nHost: localhost:4000\r\n\r\n");
            assert_eq!(status(&head), 405, "{method}");
        }
        assert_eq!(status("HEAD /callback?code=c HTTP/1.1\r\nHost: localhost:4000\r\n\r\n"), 200);
        let preflight = "OPTIONS /callback?code=c HTTP/1.1\r\nHost: localhost:4000\r\n\r\n";
        assert_eq!(status(preflight), 204);
    }

    #[test]
    fn noise_is_answered_and_too_many_fields_are_too_many() {
        for noise in ["\r\n\r\n", "\x16\x03\x01\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9\r\n\r\n"] {
            assert_eq!(status(noise), 400, "{noise:?}");
        }
        let fields = "A: b\r\n".repeat(MAX_FIELDS + 1);
        assert_eq!(status(&format!("GET /callback HTTP/1.1\r\n{fields}\r\n")), 431);
    }
}
