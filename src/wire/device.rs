//! The device authorization grant: RFC 8628. A program without a browser shows a code, which the
//! person enters on another device, and asks the token endpoint until that has happened.

use std::time::Duration;

use ::url::{Url, form_urlencoded};
use http::{HeaderMap, Request, StatusCode};

use super::Malformed;
use super::authorization::is_protected;
use super::failure::{Failure, Fields, is_page};
use super::scope::ScopeSet;
use super::token::{AuthMethod, basic_credentials, identify, post, set_authorization};
use super::url;
use crate::text::printable;
use crate::{Secret, UnixTime};

const DOCUMENT: &str = "device authorization reply";

/// The name of the grant (RFC 8628 §3.4).
pub const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// Between two polls where the server says nothing (RFC 8628 §3.2).
const INTERVAL: f64 = 5.0;
/// No server means to be asked more often than this, in seconds, whatever it says.
const SHORTEST_INTERVAL: f64 = 1.0;
/// The longest interval and life that are believed, in seconds: a day.
const LONGEST: f64 = 86_400.0;
/// The longest code that a person could copy, in bytes.
const MAX_CODE: usize = 128;

/// Everything that a device authorization request says (RFC 8628 §3.1).
///
/// ```
/// use mcp_auth::wire::device::DeviceAuthorizationRequest;
/// use mcp_auth::wire::scope::ScopeSet;
/// use mcp_auth::wire::token::AuthMethod;
///
/// // RFC 8628 §3.1.
/// let request = DeviceAuthorizationRequest {
///     endpoint: &"https://server.example.com/device_authorization".parse()?,
///     client_id: "1406020730",
///     client_secret: None,
///     auth_method: AuthMethod::None,
///     scope: &ScopeSet::parse("example_scope"),
///     scope_parameter: "scope",
///     resource: None,
///     prompt: None,
///     extra: &[],
/// };
/// assert_eq!(request.to_http().body(), b"client_id=1406020730&scope=example_scope");
/// # Ok::<(), url::ParseError>(())
/// ```
#[derive(Clone, Copy)]
pub struct DeviceAuthorizationRequest<'a> {
    /// The device authorization endpoint.
    pub endpoint: &'a Url,
    /// The client identifier.
    pub client_id: &'a str,
    /// The client secret; without one the client is public, whatever `auth_method` says.
    pub client_secret: Option<&'a Secret<String>>,
    /// How the secret travels: as at the token endpoint.
    pub auth_method: AuthMethod,
    /// What is asked for; no parameter if empty.
    pub scope: &'a ScopeSet,
    /// The name of the scope parameter.
    pub scope_parameter: &'a str,
    /// The resource indicator (RFC 8707), byte for byte as the metadata has it.
    pub resource: Option<&'a str>,
    /// OpenID Connect's `prompt`, e.g. `consent`.
    pub prompt: Option<&'a str>,
    /// Further parameters. They replace ours, except those that an authorization request protects
    /// too, and the client's secret.
    pub extra: &'a [(String, String)],
}

impl DeviceAuthorizationRequest<'_> {
    /// The POST to send. Where the client has a secret, header or body hold it.
    pub fn to_http(&self) -> Request<Vec<u8>> {
        let scope = self.scope.to_string();
        let mut params = Vec::new();
        let basic = identify(&mut params, self.client_id, self.client_secret, self.auth_method);
        let optional = [
            (self.scope_parameter, Some(scope.as_str()).filter(|scope| !scope.is_empty())),
            ("resource", self.resource),
            ("prompt", self.prompt),
        ];
        let optional = optional.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let extra = self.extra.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let is_ours = |name: &str| is_protected(name) || name == "client_secret";
        for (name, value) in optional.chain(extra).filter(|(name, _)| !is_ours(name)) {
            params.retain(|(known, _)| *known != name);
            params.push((name, value));
        }
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(&params).finish();
        let mut request = post(self.endpoint, "application/x-www-form-urlencoded", body.into());
        if let Some(secret) = basic {
            set_authorization(&mut request, &basic_credentials(self.client_id, secret));
        }
        request
    }
}

/// What a server answers (RFC 8628 §3.2).
///
/// ```
/// use http::{HeaderMap, StatusCode};
/// use mcp_auth::UnixTime;
/// use mcp_auth::wire::device::DeviceAuthorization;
///
/// // RFC 8628 §3.2.
/// let body = br#"{
///     "device_code": "GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS",
///     "user_code": "WDJB-MJHT",
///     "verification_uri": "https://example.com/device",
///     "verification_uri_complete": "https://example.com/device?user_code=WDJB-MJHT",
///     "expires_in": 1800,
///     "interval": 5
/// }"#;
/// let (headers, now) = (HeaderMap::new(), UnixTime(1_790_000_000));
/// let code = DeviceAuthorization::parse(StatusCode::OK, &headers, body, now)?;
/// assert_eq!(
///     format!("enter {} at {}", code.user_code, code.verification_uri),
///     "enter WDJB-MJHT at https://example.com/device"
/// );
/// assert_eq!(code.interval.as_secs(), 5);
/// # Ok::<(), mcp_auth::wire::failure::Failure>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceAuthorization {
    /// What the program asks the token endpoint with; nobody else may see it.
    pub device_code: Secret<String>,
    /// What the person enters: printable, at most 128 bytes.
    pub user_code: String,
    /// Where; a URL that [`url::parse`] accepted.
    pub verification_uri: Url,
    /// The same with the code in it, for a QR code or a click. A useless one is dropped.
    pub verification_uri_complete: Option<Url>,
    /// How long the codes live, at most a day.
    pub expires_in: Duration,
    /// How long to wait between two polls: 5 s where nothing is said, 1 s to a day.
    pub interval: Duration,
}

impl DeviceAuthorization {
    /// Reads the answer of a device authorization endpoint. Google's name for the URI,
    /// `verification_url`, counts too.
    ///
    /// # Errors
    ///
    /// See [`Failure::read`]; an `error` in place of the codes is one at any status. A success
    /// without codes, with a URI that isn't one to use, or without a lifetime is
    /// [`Failure::Malformed`].
    pub fn parse(
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        now: UnixTime,
    ) -> Result<Self, Failure> {
        let failure = || Failure::read(DOCUMENT, status, headers, body, now);
        if !status.is_success() || is_page(headers, body) {
            return Err(failure());
        }
        let mut fields = Fields::json_or_form(DOCUMENT, body)?;
        if !fields.has("device_code") && fields.has("error") {
            return Err(failure());
        }
        let device_code = Secret::new(fields.required_text("device_code")?);
        let user_code = fields.required_text("user_code")?;
        // It ends up on a terminal: no escape sequence, and nothing that looks like another code.
        if user_code.len() > MAX_CODE || printable(&user_code) != user_code {
            let expected = "`user_code`, printable and at most 128 bytes";
            return Err(Malformed::new(DOCUMENT, expected, "another").into());
        }
        let named =
            if fields.has("verification_uri") { "verification_uri" } else { "verification_url" };
        let verification_uri = url::parse(DOCUMENT, &fields.required_text(named)?)?;
        let complete = fields.text("verification_uri_complete");
        let complete = complete.and_then(|text| url::parse(DOCUMENT, &text).ok());
        // A code may not lead elsewhere than to where the person is told that it does.
        let verification_uri_complete =
            complete.filter(|complete| url::same_origin(complete, &verification_uri));
        let Some(expires_in) = fields.number("expires_in") else {
            return Err(Malformed::new(DOCUMENT, "`expires_in`, a number", "nothing").into());
        };
        let interval = fields.number("interval").unwrap_or(INTERVAL);
        let seconds =
            |number: f64, least: f64| Duration::from_secs(number.clamp(least, LONGEST) as u64);
        Ok(Self {
            device_code,
            user_code,
            verification_uri,
            verification_uri_complete,
            expires_in: seconds(expires_in, 0.0),
            interval: seconds(interval, SHORTEST_INTERVAL),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(json: &str) -> Result<DeviceAuthorization, Failure> {
        let (status, headers) = (StatusCode::OK, HeaderMap::new());
        DeviceAuthorization::parse(status, &headers, json.as_bytes(), UnixTime(0))
    }

    /// A reply with this in the place of a member.
    fn with(name: &str, value: &str) -> Result<DeviceAuthorization, Failure> {
        let mut reply = serde_json::json!({
            "device_code": "GmRhmhcxhwAzkoEqiMEg", "user_code": "WDJB-MJHT",
            "verification_uri": "https://a.example/device", "expires_in": 1800,
        });
        reply[name] = serde_json::from_str(value).unwrap();
        parse(&reply.to_string())
    }

    fn decoded(request: &Request<Vec<u8>>) -> Vec<(String, String)> {
        form_urlencoded::parse(request.body()).into_owned().collect()
    }

    #[test]
    fn the_example_of_the_specification() {
        let reply = parse(
            r#"{"device_code":"GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS","user_code":"WDJB-MJHT",
                "verification_uri":"https://example.com/device",
                "verification_uri_complete":"https://example.com/device?user_code=WDJB-MJHT",
                "expires_in":1800,"interval":5}"#,
        )
        .unwrap();
        assert_eq!(reply.user_code, "WDJB-MJHT");
        assert_eq!(reply.verification_uri.as_str(), "https://example.com/device");
        assert_eq!(reply.verification_uri_complete.unwrap().query(), Some("user_code=WDJB-MJHT"));
        assert_eq!((reply.expires_in.as_secs(), reply.interval.as_secs()), (1800, 5));
        assert!(!format!("{:?}", reply.device_code).contains("GmRh"));
    }

    #[test]
    fn what_a_server_leaves_out_or_exaggerates_has_its_bounds() {
        assert_eq!(with("interval", "null").unwrap().interval.as_secs(), 5);
        for (said, meant) in [("0", 1), ("-3", 1), ("\"7\"", 7), ("1e300", 86_400), ("[]", 5)] {
            assert_eq!(with("interval", said).unwrap().interval.as_secs(), meant, "{said}");
        }
        for (said, meant) in [("0", 0), ("-1", 0), ("\"60\"", 60), ("1e300", 86_400)] {
            assert_eq!(with("expires_in", said).unwrap().expires_in.as_secs(), meant, "{said}");
        }
        assert!(matches!(with("expires_in", "null"), Err(Failure::Malformed(_))));
    }

    #[test]
    fn a_person_is_sent_to_the_web_alone_and_shown_nothing_that_isnt_a_code() {
        for uri in ["javascript:alert(1)", "http://a.example/", "file:///etc/passwd", "a b", ""] {
            let refused = with("verification_uri", &format!("{uri:?}"));
            assert!(matches!(refused, Err(Failure::Malformed(_))), "{uri}: {refused:?}");
        }
        for uri in ["https://evil.example/?user_code=A", "javascript:alert(1)", "7"] {
            let reply = with("verification_uri_complete", &format!("{uri:?}")).unwrap();
            assert_eq!(reply.verification_uri_complete, None, "{uri}");
        }
        for code in [r#""\u001b[2J""#, r#""A\nB""#, &format!("{:?}", "A".repeat(129)), "7", "null"]
        {
            let refused = with("user_code", code);
            assert!(matches!(refused, Err(Failure::Malformed(_))), "{code}: {refused:?}");
        }
        assert!(with("user_code", r#""ハロー-1234""#).is_ok());
    }

    #[test]
    fn an_older_name_and_an_error_inside_a_success() {
        let google = parse(
            r#"{"device_code":"d","user_code":"U","verification_url":"https://g.example/device","expires_in":1}"#,
        );
        assert_eq!(google.unwrap().verification_uri.as_str(), "https://g.example/device");
        let refused = parse(r#"{"error":"unauthorized_client"}"#);
        assert!(
            matches!(refused, Err(Failure::Refused { error, .. }) if error.error == "unauthorized_client")
        );
    }

    #[test]
    fn the_request_names_each_thing_once_and_the_client_proves_itself_in_one_way() {
        let endpoint = Url::parse("https://a.example/device_authorization").unwrap();
        let secret = Secret::from("s:ecret");
        let (scope, none) = (ScopeSet::parse("a b"), ScopeSet::new());
        let extra = [
            ("audience".to_owned(), "api".to_owned()),
            ("client_id".to_owned(), "evil".to_owned()),
            ("client_secret".to_owned(), "evil".to_owned()),
            ("prompt".to_owned(), "login".to_owned()),
        ];
        let mut request = DeviceAuthorizationRequest {
            endpoint: &endpoint,
            client_id: "c",
            client_secret: Some(&secret),
            auth_method: AuthMethod::Post,
            scope: &scope,
            scope_parameter: "user_scope",
            resource: Some("https://mcp.example.com/mcp"),
            prompt: Some("consent"),
            extra: &extra,
        };
        let pairs = decoded(&request.to_http());
        let pairs: Vec<_> = pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(
            pairs,
            [
                ("client_id", "c"),
                ("client_secret", "s:ecret"),
                ("user_scope", "a b"),
                ("resource", "https://mcp.example.com/mcp"),
                ("audience", "api"),
                ("prompt", "login"),
            ]
        );
        request.auth_method = AuthMethod::Basic;
        (request.scope, request.resource, request.prompt, request.extra) = (&none, None, None, &[]);
        let request = request.to_http();
        assert_eq!(decoded(&request), [("client_id".to_owned(), "c".to_owned())]);
        let credentials = request.headers().get("authorization").unwrap();
        assert!(credentials.is_sensitive());
        assert_eq!(credentials, "Basic YzpzJTNBZWNyZXQ=");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = DeviceAuthorization::parse(StatusCode::OK, &HeaderMap::new(), &body, UnixTime(0));
        }
    }
}
