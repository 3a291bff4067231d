//! WHAT HAPPENS, in order. Flows are pure values: `start` gives a [`Step`], each `on_*` consumes the
//! flow and gives the next one, so a handler can't forget to move on, and an answer in the wrong
//! state has nowhere to go.
//!
//! ```text
//! login:    detect ─▶ discover ─▶ claim ─▶ listen ─▶ register ─▶ (keep) ─▶ authorize ─▶ exchange
//!              │          │         │                    ▲                      │            │
//!              ▼          ▼         ▼                    └── client rejected ───┴────────────┘
//!         not required  inspected  adopted
//!
//! by code:  … ─▶ claim ─▶ register ─▶ (keep) ─▶ device authorization ─▶ show the code ─▶ poll
//!
//! refresh:  read (under the lock) ─▶ (freshen) ─▶ exchange
//!              │
//!              ▼
//!           adopted
//!
//! logout:   read (under the lock) ─▶ revoke ─▶ delete the registration ─▶ (erase)
//! ```
//!
//! A flow knows no clock (it is told the time), draws no randomness but from the [`Entropy`] that it
//! was given, and logs nothing: what it tells is pushed to the `notes` that its caller passes in.
//!
//! [`Entropy`]: crate::Entropy

pub(crate) mod authorize;
pub(crate) mod binding;
pub(crate) mod detect;
pub(crate) mod device;
pub(crate) mod discover;
pub(crate) mod exchange;
pub(crate) mod fetch;
pub(crate) mod freshen;
pub(crate) mod identity;
pub(crate) mod job;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod prepare;
mod redact;
pub(crate) mod register;
pub(crate) mod resource;
pub(crate) mod secret;
pub(crate) mod server;
pub(crate) mod sign;
pub(crate) mod upkeep;

use std::time::Duration;

use url::Url;

use crate::config::ClientCertificate;
use crate::flow::sign::SignerAsk;
use crate::flow::upkeep::Wish;
use crate::notice::Notice;
use crate::output::{ListenSpec, Purpose, TransportError, UserCode};
use crate::secret::SecretRef;
use crate::session::record::{ClientHome, Discovery, Record, Registration};

/// A flow's next move: exactly one ask, or its result.
pub(crate) enum Step<F, T> {
    Ask(F, Ask),
    Done(T),
}

/// What a flow asks of the world.
pub(crate) enum Ask {
    Http(HttpAsk),
    /// Read a secret.
    Secret(SecretRef),
    /// Ask the host's signer.
    Signer(SignerAsk),
    /// Keep what was learned, durably, before going on.
    Keep(Box<Learned>),
    /// The turn to ask a person: no other program may do so meanwhile.
    Claim,
    Listen(ListenSpec),
    Browse(Url),
    /// Show a code; then the same as a pause of this length.
    ShowCode(Box<UserCode>, Duration),
    Pause(Duration),
    /// See to a registered client first.
    LookAfter(Wish),
}

pub(crate) struct HttpAsk {
    pub(crate) request: Box<http::Request<Vec<u8>>>,
    pub(crate) purpose: Purpose,
    /// What the client shows when it connects.
    pub(crate) certificate: Option<ClientCertificate>,
}

impl Ask {
    pub(crate) fn http(request: http::Request<Vec<u8>>, purpose: Purpose) -> Self {
        Self::http_as(request, purpose, None)
    }

    /// The same as a client that shows this certificate.
    pub(crate) fn http_as(
        request: http::Request<Vec<u8>>,
        purpose: Purpose,
        certificate: Option<ClientCertificate>,
    ) -> Self {
        Ask::Http(HttpAsk { request: Box::new(request), purpose, certificate })
    }
}

/// The response of any status, or why there is none.
pub(crate) type HttpResult = Result<http::Response<Vec<u8>>, TransportError>;

/// What flows tell.
pub(crate) type Notes = Vec<Notice>;

/// What a login learned that the record shall keep, whether or not it ends well.
#[derive(Clone, Debug, Default)]
pub(crate) struct Learned {
    pub(crate) discovery: Option<Discovery>,
    pub(crate) registered: Option<Registration>,
    /// Issuers that no longer know the registered client.
    pub(crate) forgotten: Vec<String>,
    /// Issuers that rejected our client ID metadata document.
    pub(crate) document_rejected: Vec<String>,
    /// The configured client has logged in here.
    pub(crate) client_home: Option<ClientHome>,
}

impl Learned {
    pub(crate) fn apply(self, record: &mut Record) {
        for issuer in self.forgotten {
            record.registrations.remove(&issuer);
        }
        if let Some(registration) = self.registered {
            record.register(registration);
        }
        record.document_rejected_by.extend(self.document_rejected);
        if self.client_home.is_some() {
            record.client_home = self.client_home;
        }
        if self.discovery.is_some() {
            record.discovery = self.discovery;
        }
    }
}
