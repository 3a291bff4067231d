//! Logout at the servers: refresh tokens, access tokens (RFC 7009), then registrations (RFC 7592
//! §2.3), for revoking needs the client. The record is the machine's.
//!
//! ```text
//! revoke refresh token ─▶ revoke access token ─▶ delete registration ─▶ report
//! ```
//!
//! Each is sent to the server that it belongs to and to no other; what fails is reported, and the
//! next one's turn comes.

use std::collections::VecDeque;

use url::Url;

use crate::config::Config;
use crate::entropy::{Entropy, Identifiers};
use crate::error::{Error, ErrorKind, unanswered};
use crate::flow::identity::{Identity, recall};
use crate::flow::secret::{FindSecret, SecretResult};
use crate::flow::sign::{Jwt, SignerResult};
use crate::flow::{Ask, HttpResult, Notes, Step, redact};
use crate::logout::{self, Credential, Ending};
use crate::notice::{ClientSource, Notice};
use crate::output::{HostError, Purpose, TransportErrorKind};
use crate::secret::Secret;
use crate::session::record::{Record, Registration};
use crate::session::tokens::Tokens;
use crate::text::printable_url;
use crate::time::UnixTime;
use crate::wire::revocation::{self, RevocationRequest, Revoked, TokenTypeHint};
use crate::wire::token::AuthMethod;
use crate::wire::{registration, url as address};

/// A logout on its way.
pub(crate) struct Logout {
    current: End,
    /// The secret of the client that revokes is looked for.
    finding: Option<FindSecret>,
    plan: Plan,
}

/// What is left to ask, and what came of the rest.
struct Plan {
    left: VecDeque<End>,
    /// Servers that can't be reached, and why: they aren't waited for once more.
    silent: Vec<(Url, String)>,
    report: logout::Logout,
    ids: Identifiers,
}

/// Something to end.
struct End {
    what: Credential,
    url: Url,
    how: How,
}

enum How {
    Revoke { token: Secret, hint: TokenTypeHint, client: Box<Identity>, proof: Option<Box<Proof>> },
    Delete { token: Secret },
}

/// What a client with a key makes for the request.
struct Proof {
    jwt: Jwt,
    token_endpoint: String,
}

impl Logout {
    /// `known`: each state of the record that may hold something that lives, the newest last as far
    /// as anybody knows; `unread`: why what is stored isn't among them; `report`: what has been ended
    /// before.
    pub(crate) fn start<'a>(
        config: &Config,
        known: &'a [Record],
        unread: Option<HostError>,
        report: logout::Logout,
        entropy: &mut Entropy,
        now: UnixTime,
        notes: &mut Notes,
    ) -> Step<Self, logout::Logout> {
        let (left, silent, ids) = (VecDeque::new(), Vec::new(), Identifiers::new(entropy));
        let mut plan = Plan { left, silent, report, ids };
        for (what, hint) in [
            (Credential::RefreshToken, TokenTypeHint::RefreshToken),
            (Credential::AccessToken, TokenTypeHint::AccessToken),
        ] {
            let mut seen: Vec<&Secret> = Vec::new();
            for record in known.iter().rev() {
                let Some((tokens, token)) = held(record, hint) else { continue };
                if !seen.contains(&token) {
                    seen.push(token);
                    let end = revocation(config, record, tokens, token, hint);
                    plan.add(what, end.ok_or(Ending::NotOffered), notes);
                }
            }
        }
        if let Some(error) = unread.filter(|_| known.iter().all(|record| record.tokens.is_none())) {
            let error = Error::from(ErrorKind::Store(error));
            for what in [Credential::RefreshToken, Credential::AccessToken] {
                plan.conclude(what, Ending::Failed(error.clone()), notes);
            }
        }
        let mut seen: Vec<(&str, &str)> = Vec::new();
        let registered = |record: &'a Record| record.registrations.values().chain(&record.former);
        for client in known.iter().rev().flat_map(registered) {
            let name = (client.issuer.as_str(), client.client_id.as_str());
            if !seen.contains(&name) {
                seen.push(name);
                let end = match deletion(client) {
                    _ if !config.delete_registration => Err(Ending::Kept),
                    end => end.ok_or(Ending::NotOffered),
                };
                plan.add(Credential::Registration, end, notes);
            }
        }
        plan.next(now, notes)
    }

    pub(crate) fn on_http(
        self,
        now: UnixTime,
        reply: HttpResult,
        notes: &mut Notes,
    ) -> Step<Self, logout::Logout> {
        let Self { current, mut plan, .. } = self;
        let ending = match reply {
            Ok(response) => match current.read(now, response) {
                Ok(Revoked::Done) => Ending::Ended,
                Ok(Revoked::Unsupported) => Ending::NotOffered,
                Err(why) => Ending::Failed(current.error(why)),
            },
            Err(error) if error.kind == TransportErrorKind::Refused => {
                let url = printable_url(current.url.as_str());
                Ending::Failed(unanswered(url, purpose(current.what), error).into())
            }
            Err(error) => {
                let why = error.to_string();
                if matches!(error.kind, TransportErrorKind::Connect | TransportErrorKind::Timeout) {
                    plan.silent.push((current.url.clone(), why.clone()));
                }
                Ending::Failed(current.error(why))
            }
        };
        plan.conclude(current.what, ending, notes);
        plan.next(now, notes)
    }

    pub(crate) fn on_secret(
        self,
        result: SecretResult,
        now: UnixTime,
        notes: &mut Notes,
    ) -> Step<Self, logout::Logout> {
        let Self { mut current, finding, plan } = self;
        let next = match (&mut current.how, finding) {
            (How::Revoke { client, .. }, Some(find)) => client.on_secret(find, result, notes),
            _ => Ok(None),
        };
        match next {
            Ok(Some((find, ask))) => Step::Ask(Self { current, finding: Some(find), plan }, ask),
            Ok(None) => plan.send(current, now, notes),
            Err(error) => plan.give_up(&current, error, now, notes),
        }
    }

    pub(crate) fn on_signer(
        self,
        result: SignerResult,
        now: UnixTime,
        notes: &mut Notes,
    ) -> Step<Self, logout::Logout> {
        let Self { mut current, plan, .. } = self;
        let signed = match &mut current.how {
            How::Revoke { proof: Some(proof), .. } => proof.jwt.on_signer(result),
            _ => Ok(()),
        };
        match signed {
            Ok(()) => plan.send(current, now, notes),
            Err(error) => plan.give_up(&current, error, now, notes),
        }
    }
}

impl Plan {
    fn add(&mut self, what: Credential, end: Result<End, Ending>, notes: &mut Notes) {
        match end {
            Ok(end) => self.left.push_back(end),
            Err(ending) => self.conclude(what, ending, notes),
        }
    }

    fn conclude(&mut self, what: Credential, ending: Ending, notes: &mut Notes) {
        notes.push(Notice::Ended { what, ending: ending.clone() });
        self.report.add(what, ending);
    }

    fn give_up(
        mut self,
        end: &End,
        error: Error,
        now: UnixTime,
        notes: &mut Notes,
    ) -> Step<Logout, logout::Logout> {
        self.conclude(end.what, Ending::Failed(error), notes);
        self.next(now, notes)
    }

    fn next(mut self, now: UnixTime, notes: &mut Notes) -> Step<Logout, logout::Logout> {
        while let Some(end) = self.left.pop_front() {
            let silent = self.silent.iter().find(|(url, _)| address::same_origin(url, &end.url));
            if let Some((_, why)) = silent {
                let ending = Ending::Failed(end.error(why.clone()));
                self.conclude(end.what, ending, notes);
                continue;
            }
            if let How::Revoke { client, .. } = &end.how
                && let Some((find, ask)) = client.find_secret()
            {
                return Step::Ask(Logout { current: end, finding: Some(find), plan: self }, ask);
            }
            return self.send(end, now, notes);
        }
        Step::Done(self.report)
    }

    fn send(
        mut self,
        mut end: End,
        now: UnixTime,
        notes: &mut Notes,
    ) -> Step<Logout, logout::Logout> {
        if let How::Revoke { client, proof: Some(proof), .. } = &mut end.how
            && let Some(key) = &client.key
        {
            let Proof { jwt, token_endpoint } = &mut **proof;
            match key.prove(jwt, &client.client_id, token_endpoint, now, &mut self.ids) {
                Ok(None) => {}
                Ok(Some(ask)) => {
                    return Step::Ask(Logout { current: end, finding: None, plan: self }, ask);
                }
                Err(error) => return self.give_up(&end, error, now, notes),
            }
        }

        let ask = match &end.how {
            How::Delete { token } => {
                Ask::http(registration::delete_request(&end.url, token), Purpose::Management)
            }
            How::Revoke { token, hint, client, proof } => {
                let assertion = proof.as_ref().and_then(|proof| proof.jwt.token());
                let request = RevocationRequest {
                    endpoint: &end.url,
                    token,
                    hint: *hint,
                    client_id: &client.client_id,
                    client_secret: assertion.or(client.client_secret.as_ref()),
                    auth_method: client.auth_method,
                };
                let certificate = client.certificate.clone();
                Ask::http_as(request.to_http(), Purpose::Revocation, certificate)
            }
        };
        Step::Ask(Logout { current: end, finding: None, plan: self }, ask)
    }
}

fn purpose(what: Credential) -> Purpose {
    match what {
        Credential::Registration => Purpose::Management,
        Credential::RefreshToken | Credential::AccessToken => Purpose::Revocation,
    }
}

impl End {
    fn read(&self, now: UnixTime, response: http::Response<Vec<u8>>) -> Result<Revoked, String> {
        let (head, body) = response.into_parts();
        let read = match self.what {
            Credential::Registration => registration::read_deleted,
            Credential::RefreshToken | Credential::AccessToken => revocation::read,
        };
        let read = |body: &[u8]| read(head.status, &head.headers, body, now);
        redact::read(&body, self.secrets(), read).map_err(|failure| failure.to_string())
    }

    /// What the request holds.
    fn secrets(&self) -> impl Iterator<Item = Secret> {
        let (token, client, assertion) = match &self.how {
            How::Revoke { token, client, proof, .. } => {
                (token, Some(client), proof.as_ref().and_then(|proof| proof.jwt.token()))
            }
            How::Delete { token } => (token, None, None),
        };
        let own = [Some(token), assertion].into_iter().flatten();
        own.cloned().chain(client.into_iter().flat_map(|client| client.shown()))
    }

    fn error(&self, why: String) -> Error {
        ErrorKind::NotEnded { url: printable_url(self.url.as_str()), why }.into()
    }
}

fn held(record: &Record, hint: TokenTypeHint) -> Option<(&Tokens, &Secret)> {
    let tokens = record.tokens.as_ref()?;
    let token = match hint {
        TokenTypeHint::RefreshToken => tokens.refresh_token.as_ref()?,
        TokenTypeHint::AccessToken => &tokens.access_token,
    };
    Some((tokens, token))
}

/// `None` where nothing is known of a revocation endpoint of the tokens' own issuer.
fn revocation(
    config: &Config,
    record: &Record,
    tokens: &Tokens,
    token: &Secret,
    hint: TokenTypeHint,
) -> Option<End> {
    let found = record.discovery.as_ref().filter(|found| found.issuer == tokens.issuer)?;
    // A client whose secret isn't at hand may be believed without; one that has expired is shown all
    // the same.
    let client = recall(config, record, UnixTime::default()).unwrap_or_else(|| Identity {
        client_id: tokens.client_id.clone(),
        client_secret: None,
        secret_from: Vec::new(),
        auth_method: AuthMethod::None,
        key: None,
        certificate: None,
        source: ClientSource::Remembered,
    });
    let endpoint = client.sees(&found.server).revocation_endpoint()?;
    let what = match hint {
        TokenTypeHint::RefreshToken => Credential::RefreshToken,
        TokenTypeHint::AccessToken => Credential::AccessToken,
    };
    let proof = client.key.as_ref().map(|key| {
        let (jwt, token_endpoint) = (key.jwt(), tokens.token_endpoint.clone());
        Box::new(Proof { jwt, token_endpoint })
    });
    let how = How::Revoke { token: token.clone(), hint, client: Box::new(client), proof };
    Some(End { what, url: endpoint, how })
}

/// `None` where the server gave nothing to manage the registration with.
fn deletion(client: &Registration) -> Option<End> {
    let token = client.management_token.clone()?;
    let url = address::parse("registration_client_uri", client.management_uri.as_ref()?).ok()?;
    Some(End { what: Credential::Registration, url, how: How::Delete { token } })
}
