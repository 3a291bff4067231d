//! The loopback listener that receives the authorization response (RFC 8252 §7.3).
//!
//! ```text
//! bind ──▶ CallbackListener ── start(closure) ──▶ RunningListener ── close or drop ──▶ port free
//!          redirect_uri()                          closure(target) -> Page, per redirect
//! ```
//!
//! Everybody on the machine, and every web page in the user's browser, can talk to this port. So
//! it binds loopback addresses only, asks the closure about nothing but `GET`s of the callback's
//! path with a loopback `Host`, and lets no silent or slow connection stand in another's way.

mod page;
mod request;
mod server;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};

use mcp_auth::output::{CallbackHost, CallbackPort, ListenSpec};

pub use page::Page;
pub use server::RunningListener;

/// How many free ports are tried before a port is found that is free on both loopback addresses.
const FREE_PORT_TRIES: usize = 16;

/// Why there is no listener.
///
/// ```
/// use mcp_auth::output::{CallbackHost, CallbackPort, ListenSpec};
/// use mcp_auth_host::listener::{CallbackListener, ListenError};
///
/// # let other = std::net::TcpListener::bind(("127.0.0.1", 0))?;
/// # let port = other.local_addr()?.port();
/// let path = "/callback".to_owned();
/// let spec = ListenSpec { host: CallbackHost::V4, port: CallbackPort::Fixed(port), path };
/// match CallbackListener::bind(&spec) {
///     Ok(listener) => println!("come back to {}", listener.redirect_uri()),
///     Err(ListenError::Busy { port }) => println!("another login is under way on port {port}"),
///     Err(other) => return Err(other.into()),
/// }
/// # assert!(matches!(CallbackListener::bind(&spec), Err(ListenError::Busy { port: p }) if p == port));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The path can't be part of a redirect URI.
    #[error("the callback path {path:?} must be empty or begin with '/', and have no '?' or '#'")]
    Path {
        /// The path that was given.
        path: String,
    },
    /// Somebody else listens on the fixed port.
    #[error(
        "port {port} is taken, perhaps by another login that is under way: end that program, \
         or choose another callback port that the server knows"
    )]
    Busy {
        /// The port.
        port: u16,
    },
    /// The system refused for another reason.
    #[error("cannot listen on the loopback address, port {port}: {reason}")]
    Bind {
        /// The port; 0 where any would have done.
        port: u16,
        /// The system's own reason.
        reason: io::Error,
    },
    /// No thread could be started.
    #[error("cannot start a thread for the callback listener: {reason}")]
    Thread {
        /// The system's own reason.
        reason: io::Error,
    },
}

/// A bound listener that doesn't answer yet: connections wait until [`start`](Self::start).
///
/// ```
/// use std::sync::mpsc::channel;
///
/// use mcp_auth::output::{CallbackHost, CallbackPort, ListenSpec};
/// use mcp_auth_host::listener::{CallbackListener, Page};
///
/// let path = "/callback".to_owned();
/// let spec = ListenSpec { host: CallbackHost::V4, port: CallbackPort::Free, path };
/// let bound = CallbackListener::bind(&spec)?;
/// let redirect_uri = bound.redirect_uri().to_owned(); // for the authorization request
///
/// let (send, redirects) = channel();
/// let running = bound.start(move |target| {
///     let _ = send.send(target);
///     Page::Success { program: Some("Notes".into()) }
/// })?;
/// # use std::io::{Read as _, Write as _};
/// # let origin = redirect_uri.strip_prefix("http://").unwrap().strip_suffix("/callback").unwrap();
/// # let mut browser = std::net::TcpStream::connect(origin)?;
/// # write!(browser, "GET /callback?code=c&state=s HTTP/1.1\r\nHost: {origin}\r\n\r\n")?;
/// # let mut page = String::new();
/// # browser.read_to_string(&mut page)?;
/// # assert!(page.contains("Notes finishes the login"), "{page}");
/// assert_eq!(redirects.recv()?, "/callback?code=c&state=s");
/// running.close();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct CallbackListener {
    sockets: Vec<TcpListener>,
    port: u16,
    path: String,
    redirect_uri: String,
}

impl CallbackListener {
    /// Binds the loopback addresses that `spec` names, and no others. The path is empty, or begins with
    /// `/`; port 0 is [`CallbackPort::Free`].
    ///
    /// # Errors
    ///
    /// [`ListenError::Path`], [`ListenError::Busy`] for a fixed port, else [`ListenError::Bind`].
    pub fn bind(spec: &ListenSpec) -> Result<Self, ListenError> {
        let ListenSpec { host, port, ref path } = *spec;
        let in_uri = |b: u8| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'"' | b'\\');
        if !(path.is_empty() || path.starts_with('/')) || !path.bytes().all(in_uri) {
            return Err(ListenError::Path { path: path.clone() });
        }
        let bound = match port {
            CallbackPort::Free | CallbackPort::Fixed(0) | CallbackPort::Prefer(0) => {
                bind_free(host)
            }
            CallbackPort::Fixed(port) => bind_at(host, port),
            CallbackPort::Prefer(port) => bind_at(host, port).or_else(|_| bind_free(host)),
        };
        let (sockets, bound_port) = bound.map_err(|reason| match port {
            CallbackPort::Fixed(port) if reason.kind() == io::ErrorKind::AddrInUse => {
                ListenError::Busy { port }
            }
            CallbackPort::Fixed(port) => ListenError::Bind { port, reason },
            CallbackPort::Free | CallbackPort::Prefer(_) => ListenError::Bind { port: 0, reason },
        })?;
        Ok(Self {
            sockets,
            port: bound_port,
            path: path.clone(),
            redirect_uri: format!("http://{}:{bound_port}{path}", host.as_str()),
        })
    }

    /// The redirect URI, for example `http://127.0.0.1:49152/callback`.
    pub fn redirect_uri(&self) -> &str {
        &self.redirect_uri
    }

    /// Answers in background threads until the result is closed or dropped.
    ///
    /// `on_redirect` gets the request target (path and query, which may hold an authorization
    /// code) of each redirect and returns the page for the user. It runs on a thread of its own
    /// and may take seconds to decide; it may be called several times, also at once, for browsers
    /// repeat themselves.
    ///
    /// # Errors
    ///
    /// [`ListenError`] where a thread can't be started.
    pub fn start(
        self,
        on_redirect: impl Fn(String) -> Page + Send + Sync + 'static,
    ) -> Result<RunningListener, ListenError> {
        RunningListener::start(self, Box::new(on_redirect))
    }
}

fn bind_free(host: CallbackHost) -> io::Result<(Vec<TcpListener>, u16)> {
    let mut bound = bind_at(host, 0);
    for _ in 1..FREE_PORT_TRIES {
        match &bound {
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => bound = bind_at(host, 0),
            _ => break,
        }
    }
    bound
}

fn bind_at(host: CallbackHost, port: u16) -> io::Result<(Vec<TcpListener>, u16)> {
    let first = match host {
        CallbackHost::V6 => TcpListener::bind((Ipv6Addr::LOCALHOST, port))?,
        CallbackHost::V4 | CallbackHost::Localhost => {
            TcpListener::bind((Ipv4Addr::LOCALHOST, port))?
        }
    };
    let port = first.local_addr()?.port();
    let mut sockets = vec![first];
    if host == CallbackHost::Localhost {
        match TcpListener::bind((Ipv6Addr::LOCALHOST, port)) {
            Ok(second) => sockets.push(second),
            // Browsers may prefer IPv6 for `localhost`: whoever is there would get our codes.
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => return Err(e),
            // No IPv6 on this machine.
            Err(_) => {}
        }
    }
    Ok((sockets, port))
}
