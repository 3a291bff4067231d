//! A person's way to the authorization endpoint and back: the callback listener, the browser, and what
//! that shows.

use std::fmt;

use url::Url;

use super::{CallId, HostError, answer};
use crate::event::{AnswerContent, Event};
use crate::text::printable_url;

/// Where the callback listener shall be.
///
/// ```
/// use mcp_auth::output::{CallbackHost, CallbackPort, ListenSpec};
///
/// let spec = ListenSpec { host: CallbackHost::V6, port: CallbackPort::Free, path: "/callback".into() };
/// let redirect_uri = |bound: u16| format!("http://{}:{bound}{}", spec.host.as_str(), spec.path);
/// assert_eq!(redirect_uri(49152), "http://[::1]:49152/callback"); // for `ListenCall::answer`
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenSpec {
    /// The host name in the redirect URI; always a loopback name.
    pub host: CallbackHost,
    /// Which port.
    pub port: CallbackPort,
    /// The path, with its leading slash.
    pub path: String,
}

/// The loopback name in a redirect URI (RFC 8252 §7.3).
///
/// ```
/// use mcp_auth::Config;
/// use mcp_auth::output::CallbackHost;
///
/// let config: Config = serde_json::from_str(r#"{ "callback_host": "localhost" }"#)?;
/// assert_eq!(config.callback_host, CallbackHost::Localhost);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
)]
pub enum CallbackHost {
    /// `127.0.0.1`: what RFC 8252 §8.3 recommends.
    #[default]
    #[serde(rename = "127.0.0.1")]
    V4,
    /// `[::1]`.
    #[serde(rename = "::1")]
    V6,
    /// `localhost`, for servers that accept nothing else; the host listens on both addresses.
    #[serde(rename = "localhost")]
    Localhost,
}

impl CallbackHost {
    /// As it stands in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "127.0.0.1",
            Self::V6 => "[::1]",
            Self::Localhost => "localhost",
        }
    }
}

/// Which port a callback listener takes.
///
/// ```
/// use mcp_auth::output::CallbackPort;
///
/// /// What to bind, one after the other; 0 is any free port.
/// fn ports(port: CallbackPort) -> Vec<u16> {
///     match port {
///         CallbackPort::Free => vec![0],
///         CallbackPort::Prefer(port) => vec![port, 0],
///         CallbackPort::Fixed(port) => vec![port],
///     }
/// }
///
/// assert_eq!(ports(CallbackPort::Prefer(8666)), [8666, 0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallbackPort {
    /// Any free one.
    Free,
    /// This one, or else any free one.
    Prefer(u16),
    /// This one and no other.
    Fixed(u16),
}

/// Bind the callback address; the redirect URI is built from what was really bound.
///
/// ```
/// use std::io;
/// use std::net::TcpListener;
/// use mcp_auth::Event;
/// use mcp_auth::output::ListenCall;
///
/// fn listen(call: ListenCall) -> io::Result<(TcpListener, Event)> {
///     let host = call.spec().host.as_str();
///     let listener = TcpListener::bind(format!("{host}:0"))?; // see `CallbackPort` for others
///     let port = listener.local_addr()?.port();
///     let redirect_uri = format!("http://{host}:{port}{}", call.spec().path);
///     Ok((listener, call.answer(Ok(redirect_uri))))
/// }
/// # let mut s = mcp_auth_world::scenario::Scenario::new();
/// # s.demand(mcp_auth::Demand::interactive(mcp_auth::Need::default()));
/// # let mcp_auth::Action::Listen(call) = s.take_action("listen") else { panic!() };
/// # let (listener, event) = listen(call)?;
/// # s.handle(event);
/// # s.run_until("browse");
/// # let mcp_auth::Action::Browse(call) = s.take_action("browse") else { panic!() };
/// # let port = listener.local_addr()?.port();
/// # assert!(call.url().as_str().contains(&format!("redirect_uri=http%3A%2F%2F127.0.0.1%3A{port}%2F")));
/// # Ok::<(), io::Error>(())
/// ```
#[derive(Debug)]
pub struct ListenCall {
    pub(crate) id: CallId,
    pub(crate) spec: ListenSpec,
}

impl ListenCall {
    /// Where to listen.
    pub fn spec(&self) -> &ListenSpec {
        &self.spec
    }

    /// The redirect URI, e.g. `http://127.0.0.1:49152/callback`. Requests that come to it are
    /// [`Event::Redirected`], until [`Output::Dismiss`](super::Output::Dismiss). See also [`HostError::headless`].
    pub fn answer(self, result: Result<String, HostError>) -> Event {
        answer(self.id, AnswerContent::Listening(result))
    }
}

/// Take a person to the authorization endpoint.
///
/// ```
/// use std::io;
/// use mcp_auth::output::BrowseCall;
/// use mcp_auth::{Event, HostError};
///
/// fn browse(call: BrowseCall, open: impl Fn(&str) -> io::Result<()>) -> Event {
///     match open(call.url().as_str()) {
///         Ok(()) => call.answer(Ok(())),
///         // Where this host can show a code, and the server gives one, the login goes on by that.
///         Err(error) => call.answer(Err(HostError::headless(error))),
///     }
/// }
/// # let mut s = mcp_auth_world::scenario::Scenario::new();
/// # s.world.authorization[0].device = true;
/// # s.demand(mcp_auth::Demand::interactive(mcp_auth::Need::default()));
/// # let mcp_auth::Action::Browse(call) = s.take_action("browse") else { panic!() };
/// # assert!(call.url().as_str().starts_with("https://auth.example.com/authorize?"));
/// # s.handle(browse(call, |_| Err(io::ErrorKind::NotFound.into())));
/// # s.run_until("code");
/// ```
pub struct BrowseCall {
    pub(crate) id: CallId,
    pub(crate) url: Url,
}

impl BrowseCall {
    /// Where to. It holds `state` and the PKCE challenge: show it to the person only.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// `Ok` once the person has the URL, however it was handed over. Their return is an
    /// [`Event::Redirected`].
    ///
    /// [`HostError::headless`] lets the login go on by a code, where settings and server do
    /// ([`Config::device_grant`](crate::Config::device_grant)).
    pub fn answer(self, result: Result<(), HostError>) -> Event {
        answer(self.id, AnswerContent::Browsed(result))
    }
}

impl fmt::Debug for BrowseCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BrowseCall({})", printable_url(self.url.as_str()))
    }
}

/// What the person's browser shows after a redirect.
///
/// ```
/// use mcp_auth::output::Page;
///
/// /// What the browser shows, as `text/plain`.
/// fn text(page: &Page) -> String {
///     match page {
///         Page::Success => "You are logged in: this tab can be closed.".into(),
///         Page::Failure(error) => format!("You are not logged in: {error}"),
///         Page::Expired => "That login was given up: please start another.".into(),
///         _ => "This is not the answer that is waited for.".into(),
///     }
/// }
///
/// assert_eq!(text(&Page::Failure("access_denied".into())), "You are not logged in: access_denied");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Page {
    /// The authorization came back; the tab can be closed.
    Success,
    /// It came back with this error.
    Failure(String),
    /// The request was none of ours: the login goes on.
    NotForUs,
    /// It may be ours and can't be used, for this reason: the login goes on.
    Unusable(&'static str),
    /// It came to the right address and brought nothing: the answer may stand behind the `#` of the
    /// address, which browsers keep to themselves. The login goes on; the person may paste the
    /// address, which is an [`Event::Redirected`] too.
    Bare,
    /// It answers a login that was given up on: another one is to be started.
    Expired,
}
