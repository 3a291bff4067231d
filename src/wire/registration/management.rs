//! The management of a registration: RFC 7592, read (§2.1), update (§2.2) and delete (§2.3), at its
//! `registration_client_uri` and with its `registration_access_token`. The answer to the first two is
//! a [`RegistrationReply`](super::RegistrationReply): any of it may be new.

use ::url::Url;
use http::{HeaderMap, Method, Request, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ClientMetadata;
use crate::secret::exposed;
use crate::wire::failure::{Failure, is_page};
use crate::wire::revocation::Revoked;
use crate::wire::token::{post, set_authorization};
use crate::{Secret, UnixTime};

/// What a reply says besides the metadata (RFC 7591 §3.2.1, RFC 7592 §3): an update must not say it,
/// but for the first two.
const NOT_METADATA: [&str; 6] = [
    "client_id",
    "client_secret",
    "client_id_issued_at",
    "client_secret_expires_at",
    "registration_access_token",
    "registration_client_uri",
];

/// More than any server registers, in bytes: it ends up in the record.
const MAX_METADATA: usize = 16 * 1024;

/// All that a server has registered of a client, also what only the server understands: an update
/// that leaves something out takes it away (RFC 7592 §2.2). It doesn't print.
///
/// ```
/// use http::{HeaderMap, StatusCode};
/// use mcp_auth::UnixTime;
/// use mcp_auth::wire::registration::{RegistrationReply, UpdateRequest};
///
/// // The server says something of its own.
/// let body = br#"{ "client_id": "s6BhdRkqt3", "tenant": "blue" }"#;
/// let reply = RegistrationReply::parse(StatusCode::CREATED, &HeaderMap::new(), body, UnixTime(0))?;
/// let update = UpdateRequest {
///     uri: &"https://server.example.com/register/s6BhdRkqt3".parse()?,
///     token: &"reg-23410913-abewfq.123483".into(),
///     client_id: &reply.client_id,
///     client_secret: None,
///     metadata: &reply.metadata,
/// };
/// assert_eq!(update.to_http().body(), br#"{"client_id":"s6BhdRkqt3","tenant":"blue"}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Registered(#[serde(with = "exposed")] Secret<String>);

impl Registered {
    /// What a client has asked for.
    pub fn asked(client: &ClientMetadata) -> Self {
        match serde_json::to_value(client) {
            Ok(Value::Object(members)) => Self::new(members),
            _ => Self::new(Map::new()),
        }
    }

    /// What a reply says.
    pub(super) fn read(members: &Map<String, Value>) -> Self {
        let says = |(name, value): &(&String, &Value)| {
            !value.is_null() && !NOT_METADATA.contains(&name.as_str())
        };
        let members = members.iter().filter(says);
        Self::new(members.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    /// The same, with whatever a later reply says otherwise.
    #[must_use]
    pub fn updated_by(&self, reply: &Self) -> Self {
        let mut members = self.members();
        members.extend(reply.members());
        Self::new(members)
    }

    fn new(members: Map<String, Value>) -> Self {
        Self(Secret::new(Value::Object(members).to_string()))
    }

    fn members(&self) -> Map<String, Value> {
        serde_json::from_str(self.0.expose()).unwrap_or_default()
    }

    /// Whether it is small enough to be remembered.
    pub fn is_bounded(&self) -> bool {
        self.0.expose().len() <= MAX_METADATA
    }
}

/// The GET that reads a registration (RFC 7592 §2.1).
pub fn read_request(uri: &Url, token: &Secret<String>) -> Request<Vec<u8>> {
    bare(Method::GET, uri, token)
}

/// Everything that an update says (RFC 7592 §2.2).
///
/// ```
/// use mcp_auth::wire::registration::{ClientMetadata, Registered, UpdateRequest};
///
/// // RFC 7592 §2.2.
/// let client = ClientMetadata::new("https://client.example.org/callback", "My New Example");
/// let update = UpdateRequest {
///     uri: &"https://server.example.com/register/s6BhdRkqt3".parse()?,
///     token: &"reg-23410913-abewfq.123483".into(),
///     client_id: "s6BhdRkqt3",
///     client_secret: Some(&"cf136dc3c1fc93f31185e5885805d".into()),
///     metadata: &Registered::asked(&client),
/// };
/// let put = update.to_http();
/// assert_eq!(put.method(), "PUT");
/// let sent: serde_json::Value = serde_json::from_slice(put.body())?;
/// assert_eq!(sent["client_id"], "s6BhdRkqt3");
/// assert_eq!(sent["client_name"], "My New Example");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct UpdateRequest<'a> {
    /// The `registration_client_uri`.
    pub uri: &'a Url,
    /// The `registration_access_token`.
    pub token: &'a Secret<String>,
    /// The client identifier, which can't change.
    pub client_id: &'a str,
    /// The client secret that is good now, if there is one: only the server can change it.
    pub client_secret: Option<&'a Secret<String>>,
    /// All of the metadata.
    pub metadata: &'a Registered,
}

impl UpdateRequest<'_> {
    /// The PUT to send. Header and body hold secrets.
    pub fn to_http(&self) -> Request<Vec<u8>> {
        let mut members = self.metadata.members();
        members.retain(|name, _| !NOT_METADATA.contains(&name.as_str()));
        members.insert("client_id".into(), self.client_id.into());
        if let Some(secret) = self.client_secret {
            members.insert("client_secret".into(), secret.expose().as_str().into());
        }
        let body = Value::Object(members).to_string().into_bytes();
        let mut request = post(self.uri, "application/json", body);
        *request.method_mut() = Method::PUT;
        authorize(&mut request, self.token);
        request
    }
}

/// The DELETE that ends a registration (RFC 7592 §2.3).
pub fn delete_request(uri: &Url, token: &Secret<String>) -> Request<Vec<u8>> {
    bare(Method::DELETE, uri, token)
}

fn bare(method: Method, uri: &Url, token: &Secret<String>) -> Request<Vec<u8>> {
    let mut request = Request::new(Vec::new());
    *request.method_mut() = method;
    *request.uri_mut() = uri.as_str().parse().unwrap_or_default();
    authorize(&mut request, token);
    request
}

fn authorize(request: &mut Request<Vec<u8>>, token: &Secret<String>) {
    set_authorization(request, &format!("Bearer {}", token.expose()));
}

/// Reads the answer to [`delete_request`]: any success, 404 and 410 mean that there is no such
/// registration any more, 405 and 501 that the server ends none.
///
/// # Errors
///
/// See [`Failure::read`].
pub fn read_deleted(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    now: UnixTime,
) -> Result<Revoked, Failure> {
    match status.as_u16() {
        404 | 410 => Ok(Revoked::Done),
        405 | 501 => Ok(Revoked::Unsupported),
        _ if status.is_success() && !is_page(headers, body) => Ok(Revoked::Done),
        _ => Err(Failure::read("registration's end", status, headers, body, now)),
    }
}
