//! Upkeep of a registered client: its secret is renewed before it ends (RFC 7592 §2.2), and a client
//! that the server may have forgotten is asked for (§2.1). One request each; what fails is tried
//! again another time, for the server may have done what it was asked, and replaced what it was
//! shown.
//!
//! ```text
//! its metadata is not known ─▶ learn ─▶ renew
//! ```

use std::time::Duration;

use url::Url;

use crate::flow::{Ask, HttpResult, Notes, redact};
use crate::notice::Notice;
use crate::output::Purpose;
use crate::secret::Secret;
use crate::session::record::Registration;
use crate::text::{printable, printable_url};
use crate::time::UnixTime;
use crate::wire::failure::Failure;
use crate::wire::registration::{RegistrationReply, UpdateRequest, read_request};
use crate::wire::url as address;

/// What is to be done about a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errand {
    /// Its secret ends soon, or has ended.
    Renew,
    /// The same, and nobody knows what is registered: a renewal has to say it all.
    Learn,
    /// The server may not know it any more.
    Confirm,
}

/// The client that a login waits for before it takes it to the person.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) issuer: String,
    pub(crate) client_id: String,
    /// The login doubts it, whatever the record says.
    pub(crate) doubtful: bool,
}

/// An errand that is out, or about to be.
pub(crate) struct Upkeep {
    client: Registration,
    errand: Errand,
    uri: Url,
    token: Secret,
}

/// Why an answer changes nothing.
struct Unanswered {
    why: String,
    retry_after: Option<Duration>,
}

impl Errand {
    /// What a login needs done about this client, if anything can be. A person doesn't wait for the
    /// end of a pause.
    pub(crate) fn before_login(client: &Registration, now: UnixTime) -> Option<Self> {
        client.manager()?;
        // Doubted again, or by a person, it is replaced whatever the server says.
        if client.suspect && client.confirmed {
            return None;
        }
        if client.expires_soon(now) {
            return (!client.was_just_tried(now)).then(|| Self::renewal(client));
        }
        client.suspect.then_some(Errand::Confirm)
    }

    /// The way to a secret that lives longer.
    pub(crate) fn renewal(client: &Registration) -> Self {
        if client.metadata.is_some() { Errand::Renew } else { Errand::Learn }
    }
}

impl Upkeep {
    /// `None` where there is nothing to do it with.
    pub(crate) fn start(
        client: &Registration,
        errand: Errand,
        now: UnixTime,
    ) -> Option<(Self, Ask)> {
        let (uri, token) = client.manager()?;
        let token = token.clone();
        let request = match errand {
            Errand::Learn | Errand::Confirm => read_request(&uri, &token),
            Errand::Renew => UpdateRequest {
                uri: &uri,
                token: &token,
                client_id: &client.client_id,
                client_secret: client.client_secret.as_ref(),
                metadata: client.metadata.as_ref()?,
            }
            .to_http(),
        };
        let client = match errand {
            Errand::Renew => client.clone().tried(now, None),
            Errand::Learn | Errand::Confirm => client.clone(),
        };
        let ask = Ask::http(request, Purpose::Upkeep);
        Some((Self { client, errand, uri, token }, ask))
    }

    /// The client, as whoever crashes now shall find it.
    pub(crate) fn client(&self) -> &Registration {
        &self.client
    }

    pub(crate) fn errand(&self) -> Errand {
        self.errand
    }

    /// What has become of the client.
    pub(crate) fn on_http(
        self,
        now: UnixTime,
        reply: HttpResult,
        notes: &mut Notes,
    ) -> Registration {
        let client_id = printable(&self.client.client_id);
        let answered = self.read(now, reply).and_then(|reply| self.taken_over(now, reply, notes));
        let failed = match (answered, self.errand) {
            (Ok(client), Errand::Confirm) => {
                if !client.suspect {
                    notes.push(Notice::ClientConfirmed { client_id });
                }
                return client;
            }
            // The renewal comes next, unless that was one.
            (Ok(client), Errand::Learn) if client.metadata.is_some() => return client,
            (Ok(client), Errand::Learn) if !client.expires_soon(now) => return client,
            (Ok(client), Errand::Learn) => {
                (client, "the server has registered more than can be kept".to_owned(), None)
            }
            (Ok(client), Errand::Renew) if client.unrenewed.is_none() => {
                notes.push(Notice::SecretRenewed { client_id, expires_at: client.secret_end() });
                return client;
            }
            (Ok(client), Errand::Renew) => {
                (client, "the server lets it live no longer than before".to_owned(), None)
            }
            (Err(failed), Errand::Confirm) => {
                let url = printable_url(self.uri.as_str());
                notes.push(Notice::Skipped { url, why: failed.why });
                return self.client;
            }
            (Err(failed), Errand::Renew | Errand::Learn) => {
                (self.client, failed.why, failed.retry_after)
            }
        };
        let (client, why, retry_after) = failed;
        let client = client.tried(now, retry_after);
        let retry_in = client.unrenewed.as_ref().map(|tried| tried.wait()).unwrap_or_default();
        notes.push(Notice::SecretNotRenewed { client_id, why, retry_in });
        client
    }

    fn read(&self, now: UnixTime, reply: HttpResult) -> Result<RegistrationReply, Unanswered> {
        let failed = |why: String| Unanswered { why, retry_after: None };
        let (head, body) = reply.map_err(|error| failed(error.to_string()))?.into_parts();
        let parse = |body: &[u8]| RegistrationReply::parse(head.status, &head.headers, body, now);
        let secrets = [Some(&self.token), self.client.client_secret.as_ref()];
        match redact::read(&body, secrets.into_iter().flatten().cloned(), parse) {
            Ok(reply) if reply.client_id == self.client.client_id => Ok(reply),
            Ok(_) => Err(failed("the answer is about another client".into())),
            Err(Failure::Passing { status, retry_after, .. }) => {
                Err(Unanswered { why: format!("HTTP {status}"), retry_after })
            }
            Err(Failure::Malformed(_)) if !head.status.is_success() => {
                Err(failed(format!("HTTP {}", head.status.as_u16())))
            }
            Err(failure) => Err(failed(failure.to_string())),
        }
    }

    /// The client as the answer has it: whatever is new takes the place of the old (RFC 7592 §3).
    fn taken_over(
        &self,
        now: UnixTime,
        mut reply: RegistrationReply,
        notes: &mut Notes,
    ) -> Result<Registration, Unanswered> {
        let failed = |why: String| Unanswered { why, retry_after: None };
        let old = &self.client;
        let elsewhere = reply
            .redirect_uris
            .as_ref()
            .is_some_and(|uris| !uris.iter().any(|uri| is_place(uri, &old.redirect_uri)));
        let (secret, ends) = (&reply.client_secret, reply.client_secret_expires_at);
        let secret_expires_at = match secret {
            // A secret that had expired before it was issued is a server's mistake about "never".
            Some(secret) if Some(secret) != old.client_secret.as_ref() => {
                ends.filter(|at| *at > now)
            }
            // Nor does one that still works end in the past.
            None if !reply.names_expiry => old.secret_expires_at,
            Some(_) | None => match ends {
                Some(at) if at <= now => old.secret_expires_at,
                ends => ends,
            },
        };
        if reply.client_secret.is_none() {
            reply.client_secret.clone_from(&old.client_secret);
        }
        let auth_method =
            reply.auth_method(old.auth_method).map_err(|what| failed(what.to_string()))?;
        let metadata = old.metadata.as_ref().map(|known| known.updated_by(&reply.metadata));
        let mut client = Registration {
            client_secret: reply.client_secret,
            secret_expires_at,
            auth_method,
            management_token: reply
                .registration_access_token
                .or_else(|| old.management_token.clone()),
            metadata: Some(metadata.unwrap_or(reply.metadata)),
            changes: old.changes.saturating_add(1),
            suspect: elsewhere,
            confirmed: true,
            ..old.clone()
        };
        if let Some(uri) = reply.registration_client_uri {
            self.move_to(&mut client, uri, notes);
        }
        let longer = match (client.secret_end(), old.secret_end()) {
            (None, _) => true,
            (Some(new), Some(old)) => new > old && new > now,
            (Some(_), None) => false,
        };
        if longer {
            client.registered_at = now;
            client.unrenewed = None;
        }
        Ok(client.without_needless_metadata())
    }

    /// The management token goes to the server that gave it, and to no other.
    fn move_to(&self, client: &mut Registration, uri: String, notes: &mut Notes) {
        let parsed = address::parse("registration_client_uri", &uri);
        if parsed.is_ok_and(|new| address::same_origin(&new, &self.uri)) {
            client.management_uri = Some(uri);
        } else {
            let why = "a client is managed by the server that has registered it".into();
            notes.push(Notice::Skipped { url: printable_url(&uri), why });
        }
    }
}

/// Whether a browser that is sent to the one arrives at the other: some servers leave out the port
/// of a loopback address, for it may be any (RFC 8252 §7.3).
fn is_place(registered: &str, ours: &str) -> bool {
    let path = |uri: &str| {
        let uri = Url::parse(uri).ok().filter(address::is_loopback)?;
        Some((uri.host_str()?.to_owned(), uri.path().to_owned()))
    };
    registered == ours || path(ours).is_some_and(|place| path(registered) == Some(place))
}
