//! Who the clients are, and how they prove it (RFC 6749 §2.3).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Request, header};
use mcp_auth::wire::assertion::TYPE as ASSERTION_TYPE;
use mcp_auth::wire::jws::PublicKey;
use serde_json::{Map, Value};
use url::{Url, form_urlencoded};

use super::device;
use super::refusal::Refusal;
use super::{AuthorizationServer, Cimd, Redirects};
use crate::laws::SecretKind;
use crate::signer::Jwt;
use crate::text::{self, Form};

/// How a client authenticates at the token endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// Not at all: a public client.
    None,
    /// With HTTP Basic.
    Basic,
    /// With its secret in the form.
    Post,
    /// With an assertion that its key has signed (RFC 7523).
    PrivateKeyJwt,
    /// By the certificate of its connection (RFC 8705).
    TlsClientAuth,
}

impl ClientAuthentication {
    /// Every method of a client without a key.
    pub const ALL: [ClientAuthentication; 3] =
        [ClientAuthentication::None, ClientAuthentication::Basic, ClientAuthentication::Post];

    /// The registered name (RFC 7591 §2).
    pub fn as_str(self) -> &'static str {
        match self {
            ClientAuthentication::None => "none",
            ClientAuthentication::Basic => "client_secret_basic",
            ClientAuthentication::Post => "client_secret_post",
            ClientAuthentication::PrivateKeyJwt => "private_key_jwt",
            ClientAuthentication::TlsClientAuth => "tls_client_auth",
        }
    }
}

/// An extension of a request: the certificate that was shown on its connection, by any name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented(pub String);

/// A client that a server knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its identifier.
    pub id: String,
    /// Its secret, if it has one.
    pub secret: Option<String>,
    /// Its key, if it proves itself by one.
    pub key: Option<PublicKey>,
    /// Its certificate, if it proves itself by one.
    pub certificate: Option<Presented>,
    /// When the secret ends, in Unix seconds; 0 is never.
    pub secret_expires_at: u64,
    /// The method that it must authenticate with; `None` is any that the server knows.
    pub authentication: Option<ClientAuthentication>,
    /// The redirect URIs that it may use; any if there are none.
    pub redirect_uris: Vec<String>,
    /// The grants that it may use.
    pub grant_types: Vec<String>,
    /// The token that manages its registration.
    pub registration_token: Option<String>,
    /// What else is registered of it.
    pub metadata: Map<String, Value>,
    /// A secret that was replaced and is still good, and its end.
    pub old_secret: Option<(String, u64)>,
    /// Secrets and tokens that were replaced.
    pub(super) replaced: Vec<(SecretKind, String)>,
    /// Did it register itself?
    pub dynamic: bool,
}

impl Client {
    pub(super) fn secrets(&self) -> impl Iterator<Item = (SecretKind, &str)> {
        let secret = self.secret.as_deref().map(|secret| (SecretKind::ClientSecret, secret));
        let token = self.registration_token.as_deref();
        let id = self.dynamic.then_some((SecretKind::ClientId, self.id.as_str()));
        secret
            .into_iter()
            .chain(token.map(|token| (SecretKind::RegistrationToken, token)))
            .chain(self.replaced.iter().map(|(kind, secret)| (*kind, secret.as_str())))
            .chain(id)
    }

    /// May it use this grant?
    pub(super) fn may(&self, grant_type: &str) -> bool {
        self.grant_types.iter().any(|known| known == grant_type)
    }

    fn from_url(id: &str) -> Client {
        Client {
            id: id.to_owned(),
            secret: None,
            key: None,
            certificate: None,
            secret_expires_at: 0,
            authentication: Some(ClientAuthentication::None),
            redirect_uris: Vec::new(),
            grant_types: ["authorization_code", "refresh_token", device::GRANT_TYPE]
                .map(str::to_owned)
                .to_vec(),
            registration_token: None,
            metadata: Map::new(),
            old_secret: None,
            replaced: Vec::new(),
            dynamic: false,
        }
    }

    /// Is this its secret? None where it has none; the end of the one that it is, or 0.
    fn secret_ends(&self, shown: &str) -> Option<u64> {
        let old = self.old_secret.as_ref().filter(|(old, _)| old == shown).map(|(_, end)| *end);
        let is_ours = self.secret.as_deref() == Some(shown);
        if is_ours { Some(self.secret_expires_at) } else { old }
    }
}

/// What a token request shows of its client.
struct Shown {
    id: String,
    secret: Option<String>,
    assertion: Option<String>,
    method: ClientAuthentication,
}

impl AuthorizationServer {
    /// Enters a client by hand: with a secret, or as a public client. It may use every grant and
    /// any redirect URI; change the returned value to narrow that.
    pub fn preregister(&mut self, id: &str, secret: Option<&str>) -> &mut Client {
        let mut client = Client::from_url(id);
        client.grant_types.push("client_credentials".to_owned());
        client.secret = secret.map(str::to_owned);
        if secret.is_some() {
            client.authentication = None;
        }
        self.state.clients.insert(id.to_owned(), client);
        self.state.clients.entry(id.to_owned()).or_insert_with(|| Client::from_url(id))
    }

    /// Enters a client that proves itself by a key, as [`preregister`](Self::preregister) does.
    pub fn preregister_key(&mut self, id: &str, key: PublicKey) -> &mut Client {
        if !self.client_authentication.contains(&ClientAuthentication::PrivateKeyJwt) {
            self.client_authentication.push(ClientAuthentication::PrivateKeyJwt);
        }
        let client = self.preregister(id, None);
        client.key = Some(key);
        client.authentication = Some(ClientAuthentication::PrivateKeyJwt);
        client
    }

    /// Enters a client that proves itself by a certificate.
    pub fn preregister_certificate(&mut self, id: &str, certificate: Presented) -> &mut Client {
        if !self.client_authentication.contains(&ClientAuthentication::TlsClientAuth) {
            self.client_authentication.push(ClientAuthentication::TlsClientAuth);
        }
        let client = self.preregister(id, None);
        client.certificate = Some(certificate);
        client.authentication = Some(ClientAuthentication::TlsClientAuth);
        client
    }

    /// A client that it knows.
    pub fn client(&self, id: &str) -> Option<&Client> {
        self.state.clients.get(id)
    }

    /// The clients that it knows.
    pub fn clients(&self) -> impl Iterator<Item = &Client> {
        self.state.clients.values()
    }

    /// Forgets a client, as servers with a short memory do; its tokens stay. Was it known?
    pub fn forget_client(&mut self, id: &str) -> bool {
        self.state.clients.remove(id).is_some()
    }

    /// Forgets all clients.
    pub fn forget_clients(&mut self) {
        self.state.clients.clear();
    }

    pub(super) fn find_client(&self, id: &str) -> Option<Client> {
        let known = self.state.clients.get(id).cloned();
        known.or_else(|| {
            let document = Url::parse(id).ok()?;
            let well_formed = document.scheme() == "https" && document.path() != "/";
            let key = self.document_keys.get(id).cloned();
            let authentication = match key {
                Some(_) => ClientAuthentication::PrivateKeyJwt,
                None => ClientAuthentication::None,
            };
            let client =
                Client { key, authentication: Some(authentication), ..Client::from_url(id) };
            (self.cimd != Cimd::Unsupported && well_formed).then_some(client)
        })
    }

    pub(super) fn takes_redirect(&self, client: &Client, presented: &str) -> bool {
        if client.redirect_uris.is_empty() {
            return Url::parse(presented)
                .is_ok_and(|url| is_loopback(&url) || url.scheme() == "https");
        }
        client.redirect_uris.iter().any(|registered| {
            registered == presented
                || (self.redirects == Redirects::LoopbackAnyPort
                    && differ_by_loopback_port(registered, presented))
        })
    }

    /// The client that sent this request. Exactly one method must be used.
    pub(super) fn authenticate(
        &mut self,
        now: u64,
        request: &Request<Vec<u8>>,
        form: &Form,
    ) -> Result<(Client, ClientAuthentication), Refusal> {
        let shown = shown(request, form)?;
        let unknown = || Refusal::invalid_client(shown.method, "unknown client");
        let client = self.find_client(&shown.id).ok_or_else(unknown)?;
        let by_url = !self.state.clients.contains_key(&shown.id);
        if by_url && self.cimd == Cimd::RefusedAtToken {
            return Err(unknown());
        }
        let wanted = client.authentication;
        if wanted == Some(ClientAuthentication::TlsClientAuth) {
            let method = ClientAuthentication::TlsClientAuth;
            let presented = request.extensions().get::<Presented>();
            let alone = shown.method == ClientAuthentication::None;
            return match alone && presented.is_some() && presented == client.certificate.as_ref() {
                true => Ok((client, method)),
                false => Err(Refusal::invalid_client(method, "not its certificate")),
            };
        }
        if wanted.is_some_and(|wanted| wanted != shown.method)
            || (!self.client_authentication.contains(&shown.method) && !by_url)
        {
            return Err(Refusal::invalid_client(shown.method, "wrong authentication method"));
        }
        if let Some(assertion) = &shown.assertion {
            let why = self.check_assertion(now, &client, assertion);
            return match why {
                Ok(()) => Ok((client, shown.method)),
                Err(why) => Err(Refusal::invalid_client(shown.method, why)),
            };
        }
        // A client with a secret must show it, whatever method it may choose.
        let end = shown.secret.as_deref().and_then(|secret| client.secret_ends(secret));
        let public = wanted == Some(ClientAuthentication::None);
        if !public && end.is_none() {
            return Err(Refusal::invalid_client(shown.method, "wrong client secret"));
        }
        if !public && end.is_some_and(|end| end != 0 && now >= end) {
            return Err(Refusal::invalid_client(shown.method, "the client secret has expired"));
        }
        Ok((client, shown.method))
    }
}

impl AuthorizationServer {
    /// RFC 7523 §3.
    fn check_assertion(
        &mut self,
        now: u64,
        client: &Client,
        assertion: &str,
    ) -> Result<(), &'static str> {
        let jwt = Jwt::read(assertion).ok_or("the assertion is no JWT")?;
        let key = client.key.as_ref().ok_or("the client has no key")?;
        if !jwt.is_signed_with(key) {
            return Err("the assertion is signed by somebody else");
        }
        if jwt.text("iss") != client.id || jwt.text("sub") != client.id {
            return Err("the assertion is of another client");
        }
        let audience = match self.takes_token_endpoint_as_audience {
            true => self.url("token"),
            false => self.said_issuer().to_owned(),
        };
        if jwt.claims["aud"] != audience.as_str() {
            return Err("the assertion is for somebody else");
        }
        let (issued, end) = (jwt.number("iat"), jwt.number("exp"));
        if end <= now || end > now + 300 || issued > now + 30 {
            return Err("the assertion is too old, or from the future");
        }
        match self.state.seen_ids.insert(jwt.text("jti").to_owned()) {
            true if !jwt.text("jti").is_empty() => Ok(()),
            _ => Err("the assertion was used before"),
        }
    }
}

fn shown(request: &Request<Vec<u8>>, form: &Form) -> Result<Shown, Refusal> {
    let id = form.owned("client_id");
    let secret = form.owned("client_secret");
    let assertion = form.owned("client_assertion");
    if let Some(assertion) = assertion {
        let method = ClientAuthentication::PrivateKeyJwt;
        let alone = secret.is_none() && !request.headers().contains_key(header::AUTHORIZATION);
        if !alone || form.get("client_assertion_type") != Some(ASSERTION_TYPE) {
            return Err(Refusal::invalid_request("not one assertion, and nothing else"));
        }
        // The identifier may be left out (RFC 7521 §4.2).
        let said = Jwt::read(&assertion).map(|jwt| jwt.text("sub").to_owned());
        let id = id.or(said).unwrap_or_default();
        return Ok(Shown { id, secret: None, assertion: Some(assertion), method });
    }
    if !request.headers().contains_key(header::AUTHORIZATION) {
        let id =
            id.ok_or_else(|| Refusal::invalid_client(ClientAuthentication::None, "no client"))?;
        let method = match secret {
            Some(_) => ClientAuthentication::Post,
            None => ClientAuthentication::None,
        };
        return Ok(Shown { id, secret, assertion: None, method });
    }
    if secret.is_some() {
        return Err(Refusal::invalid_request("more than one authentication method"));
    }
    let malformed = || Refusal::invalid_client(ClientAuthentication::Basic, "malformed Basic");
    let basic = text::credential(request, "Basic").ok_or_else(malformed)?;
    let basic = STANDARD.decode(basic).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let basic = basic.ok_or_else(malformed)?;
    let (user, password) = basic.split_once(':').ok_or_else(malformed)?;
    let user = form_decoded(user);
    if id.is_some_and(|id| id != user) {
        return Err(Refusal::invalid_request("two different clients"));
    }
    let method = ClientAuthentication::Basic;
    Ok(Shown { id: user, secret: Some(form_decoded(password)), assertion: None, method })
}

/// Both halves of Basic are form-encoded first (RFC 6749 §2.3.1).
fn form_decoded(text: &str) -> String {
    // An `=` or `&` would be read as structure: encoded text has none.
    let safe = text.replace('&', "%26").replace('=', "%3D");
    form_urlencoded::parse(safe.as_bytes()).map(|(key, _)| key.into_owned()).collect()
}

pub(super) fn is_loopback(url: &Url) -> bool {
    url.scheme() == "http"
        && matches!(url.host_str(), Some("127.0.0.1") | Some("[::1]") | Some("localhost"))
}

fn differ_by_loopback_port(registered: &str, presented: &str) -> bool {
    let (Ok(mut left), Ok(mut right)) = (Url::parse(registered), Url::parse(presented)) else {
        return false;
    };
    is_loopback(&left)
        && left.set_port(None).is_ok()
        && right.set_port(None).is_ok()
        && left == right
}
