//! What some settings can be.

use serde::{Deserialize, Serialize};

use crate::secret::SecretRef;

/// Whether the resource indicator (RFC 8707) is sent. A login without one says so:
/// [`Leniency::ResourceOmitted`](crate::Leniency::ResourceOmitted).
///
/// ```
/// use mcp_auth::{Config, SendResource};
///
/// let config: Config = serde_json::from_str(r#"{ "send_resource": "auto" }"#)?;
/// assert_eq!(config.send_resource, SendResource::Auto);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SendResource {
    /// With every request that may have it. A server that refuses it ends the login, or the grant.
    #[default]
    Always,
    /// Until a server refuses it (`invalid_target`, or Entra's AADSTS9010010 and AADSTS901002): then
    /// the same is asked once more without, and so is all that follows. Such a server knows no
    /// audiences: its tokens may be good for other resources too.
    Auto,
    /// Never: for servers that show their refusal to the person, and don't send them back.
    Never,
}

/// Whom a client's assertions are for: `aud` (RFC 7523 §3).
///
/// ```
/// use mcp_auth::{AssertionAudience, Config, SecretRef};
///
/// let mut config = Config {
///     client_id: Some("my-program".into()),
///     client_key: Some(SecretRef::File("client.pem".into())),
///     client_assertion_audience: AssertionAudience::TokenEndpoint,
///     ..Config::default()
/// };
/// // Any server could name that endpoint as its own, and be shown the assertion.
/// assert!(config.check().is_err());
/// config.client_issuer = Some("https://auth.example.com".into());
/// config.check()?;
/// # Ok::<(), mcp_auth::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssertionAudience {
    /// The authorization server's issuer identifier, as the only value (draft-ietf-oauth-rfc7523bis): an
    /// assertion for it is of no use anywhere else. Request objects are always for it (RFC 9101 §4). Where
    /// endpoints are configured without an issuer, both are for the token endpoint.
    #[default]
    Issuer,
    /// The URL of the token endpoint, for servers that know nothing else.
    TokenEndpoint,
}

/// A certificate and its key, where the host finds them.
///
/// ```
/// use mcp_auth::{ClientCertificate, Config, SecretRef};
///
/// let config = Config {
///     client_id: Some("my-program".into()),
///     client_certificate: Some(ClientCertificate {
///         certificate: SecretRef::File("client.crt".into()),
///         key: SecretRef::File("client.key".into()),
///     }),
///     ..Config::default()
/// };
/// config.check()?;
/// # let json = serde_json::to_value(&config.client_certificate).unwrap();
/// # assert_eq!(json["key"]["file"], "client.key");
/// # Ok::<(), mcp_auth::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClientCertificate {
    /// The certificate, and those that it was issued under, in PEM.
    pub certificate: SecretRef,
    /// Its private key, in PEM.
    pub key: SecretRef,
}

/// Whether the tokens of a login are bound to a key: DPoP, RFC 9449.
///
/// ```
/// use mcp_auth::{Config, DpopUse, SecretRef};
///
/// let mut config = Config { dpop: DpopUse::Auto, ..Config::default() };
/// assert!(config.check().is_err(), "it takes a key");
/// config.dpop_key = Some(SecretRef::File("dpop.pem".into()));
/// config.check()?;
/// # Ok::<(), mcp_auth::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DpopUse {
    /// Bearer tokens.
    #[default]
    Never,
    /// Where the server's metadata says that it knows DPoP; bearer tokens elsewhere, and where it gives
    /// one all the same.
    Auto,
    /// At every server. A bearer token ends the login.
    Always,
}

/// How a passing failure of a refresh is waited out: the network, 5xx, 429 and `Retry-After`, a
/// firewall's page. First the attempt itself tries again, and its callers wait with it; then there is
/// a long quiet phase, in which callers get
/// [`ErrorKind::Passing`](crate::ErrorKind::Passing) at once, and a demand tries again only when it is
/// due. A valid access token is lent all the while.
///
/// Where the server asks for a longer wait, that counts.
///
/// ```
/// use mcp_auth::{Config, Retry};
///
/// // For a command: nobody waits in front of it for five minutes.
/// let retry = Retry { tries: 1, ..Retry::default() };
/// let mut config = Config { retry, ..Config::default() };
/// config.check()?;
/// config.retry.quiet_seconds = 0;
/// assert!(config.check().is_err(), "a server that is down is not asked without a pause");
/// # Ok::<(), mcp_auth::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Retry {
    /// The first wait inside an attempt, in seconds; it doubles each time. Default 10: a restart of
    /// the server, or of the network, takes about that.
    pub first_delay_seconds: u64,
    /// The longest wait inside an attempt, in seconds. Default 120: more is no longer passing.
    pub longest_delay_seconds: u64,
    /// How many tries the short phase has. Default 5; with 1, callers never wait.
    pub tries: u32,
    /// How long the short phase may last, in seconds. Default 300: about as long as a person has
    /// patience.
    pub within_seconds: u64,
    /// The wait between two tries in the quiet phase, in seconds. Default 600: often enough to be
    /// back soon after the server is, seldom enough to be no burden to one that is down. No wait is
    /// longer than a day.
    pub quiet_seconds: u64,
    /// When a try fails after this many seconds of trouble, it isn't tried again: a login is
    /// required. The client registration is kept. Default 86400, a day: a server that was down for
    /// longer has most likely moved or forgotten us.
    pub give_up_seconds: u64,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            first_delay_seconds: 10,
            longest_delay_seconds: 120,
            tries: 5,
            within_seconds: 300,
            quiet_seconds: 600,
            give_up_seconds: 24 * 60 * 60,
        }
    }
}

/// When the device authorization grant is used (RFC 8628): a code is shown, and the person enters it in
/// a browser on another device. It needs no browser and no listener here; but whoever is shown a code by
/// somebody else can be made to log that one in (RFC 8628 §5.4), so a browser here comes first.
///
/// ```
/// use mcp_auth::{Config, DeviceGrant};
///
/// // For a machine that nobody sits in front of.
/// let config: Config = serde_json::from_str(r#"{ "device_grant": "always" }"#)?;
/// assert_eq!(config.device_grant, DeviceGrant::Always);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceGrant {
    /// Never.
    Never,
    /// Where the host says that it can open no browser and show a code
    /// ([`HostError::headless`](crate::HostError::headless)), and the server's metadata names a
    /// `device_authorization_endpoint`.
    #[default]
    Auto,
    /// In place of the browser. A server that doesn't offer it is an error.
    Always,
}
