//! What actions need: the network, a store, a browser, keys.

use std::panic::{AssertUnwindSafe, catch_unwind};

use mcp_auth::output::{
    BrowseCall, FoundSecret, HttpCall, KeyCall, LoadCall, SaveCall, SecretCall, ShowCodeCall,
};
use mcp_auth::wire::jws::{PublicKey, SigningAlgorithm};
use mcp_auth::{HostError, Revision, SecretRef, TransportError, TransportErrorKind};
use mcp_auth_host::browser::Browser;
use mcp_auth_host::secrets::{self, SecretProvider};
use mcp_auth_host::signer::{PemSigner, Signer};
use mcp_auth_host::store::{Lock, Store};

use crate::certificate::client_certificate;
use crate::exchange::exchange;
use crate::network::Network;

/// Shows a person a code.
pub(crate) type ShowCode = Box<dyn Fn(&ShowCodeCall) -> Result<(), HostError> + Send + Sync>;

/// The outside world, as one session uses it. Every method may block.
pub(crate) struct Hands {
    pub(crate) network: Network,
    pub(crate) store: Box<dyn Store>,
    pub(crate) browser: Box<dyn Browser>,
    pub(crate) show_code: Option<ShowCode>,
    pub(crate) secrets: Option<Box<dyn SecretProvider>>,
    pub(crate) signer: Option<Box<dyn Signer>>,
    pub(crate) program: Option<String>,
}

impl Hands {
    /// The record, and the lock if one was asked for.
    pub(crate) fn load(
        &self,
        call: &LoadCall,
    ) -> Result<(Option<Vec<u8>>, Option<Lock>), HostError> {
        contain(panicked, || {
            let lock = if call.lock() { Some(self.store.lock(call.deadline())?) } else { None };
            Ok((self.store.load()?, lock))
        })
    }

    pub(crate) fn save(&self, call: &SaveCall) -> Result<(), HostError> {
        contain(panicked, || {
            let Some(record) = call.record() else { return self.store.erase(call.expected()) };
            let mut expected = call.expected().unwrap_or(Revision::NOTHING);
            if call.set_aside() {
                self.store.set_aside(expected)?;
                expected = Revision::NOTHING;
            }
            self.store.save(record, expected)
        })
    }

    pub(crate) fn secret(&self, call: &SecretCall) -> Result<Option<FoundSecret>, HostError> {
        contain(panicked, || secrets::find(call.place(), self.secrets.as_deref()))
    }

    pub(crate) fn key(&self, call: &KeyCall) -> Result<PublicKey, HostError> {
        contain(panicked, || match &self.signer {
            Some(signer) => signer.public_key(call.key()),
            None => PemSigner::with(self.secrets.as_deref()).public_key(call.key()),
        })
    }

    pub(crate) fn sign(
        &self,
        key: &SecretRef,
        algorithm: SigningAlgorithm,
        message: &[u8],
    ) -> Result<Vec<u8>, HostError> {
        contain(panicked, || match &self.signer {
            Some(signer) => signer.sign(key, algorithm, message),
            None => PemSigner::with(self.secrets.as_deref()).sign(key, algorithm, message),
        })
    }

    pub(crate) fn browse(&self, call: &BrowseCall) -> Result<(), HostError> {
        // Whether that ends the login is for the machine to say.
        let otherwise = match self.show_code {
            Some(_) => HostError::headless,
            None => HostError::new,
        };
        contain(panicked, || self.browser.open(call.url().as_str()).map_err(otherwise))
    }

    pub(crate) fn show_code(&self, call: &ShowCodeCall) -> Result<(), HostError> {
        let nowhere = || HostError::new("this program shows no codes");
        contain(panicked, || self.show_code.as_ref().ok_or_else(nowhere)?(call))
    }

    pub(crate) fn http(&self, call: &HttpCall) -> Result<http::Response<Vec<u8>>, TransportError> {
        contain(
            || TransportError::new(TransportErrorKind::Other, "the agent panicked"),
            || {
                let shown = call.certificate();
                let shown = shown.map(|shown| client_certificate(shown, self.secrets.as_deref()));
                let shown = shown
                    .transpose()
                    .map_err(|error| TransportError::new(TransportErrorKind::Other, error))?;
                exchange(&self.network, call.request(), call.limits(), call.reach(), shown)
            },
        )
    }
}

/// A panic in somebody else's code is the failure of one action, which the machine knows how to
/// take; unanswered, the action would hold up others until its deadline.
fn contain<T, E>(failure: impl FnOnce() -> E, act: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|_| Err(failure()))
}

fn panicked() -> HostError {
    HostError::new("it panicked")
}
