//! What actions need beside the network: a store, a browser, secrets, keys. All of it may block.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use mcp_auth::output::{
    BrowseCall, FoundKey, FoundSecret, KeyCall, ListenSpec, LoadCall, Page, SaveCall, SecretCall,
    ShowCodeCall, SignCall,
};
use mcp_auth::wire::jws::SigningAlgorithm;
use mcp_auth::{ClientCertificate, Error, HostError, Proof, Revision, SecretRef};

use crate::browser::Browser;
use crate::identity::Identity;
use crate::listener::{self, CallbackListener, RunningListener};
use crate::secrets::{self, SecretProvider};
use crate::signer::Signer;
use crate::store::{Lock, Store};
use crate::tokens::Hooks;

/// Shows a person a code.
///
/// ```
/// use mcp_auth_host::hands::ShowCode;
/// use mcp_auth_host::setup::Setup;
///
/// let show: ShowCode = Box::new(|code| {
///     println!("Open {} and enter {}", code.verification_uri(), code.user_code());
///     Ok(())
/// });
/// let setup = Setup { show_code: Some(show), ..Setup::new("https://mcp.example.com/mcp".into()) };
/// assert!(setup.open().is_ok());
/// ```
pub type ShowCode = Box<dyn Fn(&ShowCodeCall) -> Result<(), HostError> + Send + Sync>;

/// The outside world, as one session uses it.
///
/// ```
/// use mcp_auth::output::Page;
/// use mcp_auth::{Secret, SecretRef};
/// use mcp_auth_host::setup::Setup;
///
/// let hands = Setup {
///     secrets: Some(Box::new(|name: &str| Ok((name == "notes").then(|| Secret::from("hush"))))),
///     program: Some("Notes".into()),
///     ..Setup::new("https://mcp.example.com/mcp".into())
/// }
/// .open()?
/// .hands;
/// // Action::Secret names a place, and is answered with what is there.
/// let found = hands.secret_at(&SecretRef::Name("notes".into()))?;
/// assert_eq!(found.unwrap().value().expose(), "hush");
/// assert!(hands.page(Page::Success).html().contains("Notes finishes the login"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Hands {
    pub(crate) store: Box<dyn Store>,
    pub(crate) hooks: Arc<Hooks>,
    pub(crate) browser: Box<dyn Browser>,
    pub(crate) show_code: Option<ShowCode>,
    pub(crate) secrets: Option<Box<dyn SecretProvider>>,
    pub(crate) signer: Option<Box<dyn Signer>>,
    pub(crate) program: Option<String>,
}

impl Hands {
    /// The record, and the lock if one was asked for and can be had within that time.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub fn load(
        &self,
        call: &LoadCall,
        within: Duration,
    ) -> Result<(Option<Vec<u8>>, Option<Lock>), HostError> {
        contain(panicked, || {
            let lock = if call.lock() { Some(self.store.lock(within)?) } else { None };
            Ok((self.store.load()?, lock))
        })
    }

    /// Saves the record, or erases it.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub fn save(&self, call: &SaveCall) -> Result<(), HostError> {
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

    /// The secret that the settings name.
    ///
    /// # Errors
    ///
    /// See [`secrets::find`].
    pub fn secret(&self, call: &SecretCall) -> Result<Option<FoundSecret>, HostError> {
        self.secret_at(call.place())
    }

    /// The secret at a place that the settings name.
    ///
    /// # Errors
    ///
    /// See [`secrets::find`].
    pub fn secret_at(&self, place: &SecretRef) -> Result<Option<FoundSecret>, HostError> {
        contain(panicked, || secrets::find(place, self.secrets.as_deref()))
    }

    /// What a client shows when it connects (mutual TLS).
    ///
    /// # Errors
    ///
    /// See [`secrets::find`]; or it is not there.
    pub fn identity(&self, places: &ClientCertificate) -> Result<Identity, HostError> {
        let read = |place: &SecretRef| {
            let fail = |why: &dyn std::fmt::Display| {
                HostError::new(format!("the client's certificate, {place}: {why}"))
            };
            let found = self.secret_at(place).map_err(|error| fail(&error))?;
            found.map(|found| found.value().clone()).ok_or_else(|| fail(&"it is not set"))
        };
        Ok(Identity::new(places.clone(), read(&places.certificate)?, read(&places.key)?))
    }

    /// The public half of a key.
    ///
    /// # Errors
    ///
    /// What the signer says.
    pub fn key(&self, call: &KeyCall) -> Result<FoundKey, HostError> {
        self.with_signer(|signer| signer.find(call.key()))
    }

    /// What a key signs.
    ///
    /// # Errors
    ///
    /// What the signer says.
    pub fn sign(&self, call: &SignCall) -> Result<Vec<u8>, HostError> {
        self.signature(call.key(), call.algorithm(), call.input())
    }

    /// The signature of a proof that goes with a token ([`Sending::prepare`](crate::desk::Sending::prepare)).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::SigningFailed`](mcp_auth::ErrorKind::SigningFailed).
    pub fn prove(&self, proof: &Proof) -> Result<Vec<u8>, Error> {
        let signed = self.signature(proof.key(), proof.algorithm(), proof.input());
        signed.map_err(|error| proof.failed(error))
    }

    fn signature(
        &self,
        key: &SecretRef,
        algorithm: SigningAlgorithm,
        message: &[u8],
    ) -> Result<Vec<u8>, HostError> {
        self.with_signer(|signer| signer.sign(key, algorithm, message))
    }

    fn with_signer<T>(
        &self,
        act: impl FnOnce(&dyn Signer) -> Result<T, HostError>,
    ) -> Result<T, HostError> {
        contain(panicked, || match &self.signer {
            Some(signer) => act(&**signer),
            #[cfg(feature = "signer")]
            None => act(&crate::signer::PemSigner::with(self.secrets.as_deref())),
            #[cfg(not(feature = "signer"))]
            None => Err(HostError::new("this program has no signer")),
        })
    }

    /// Shows the person the URL.
    ///
    /// # Errors
    ///
    /// What the browser says.
    pub fn browse(&self, call: &BrowseCall) -> Result<(), HostError> {
        // Whether that ends the login is for the machine to say.
        let otherwise = match self.show_code {
            Some(_) => HostError::headless,
            None => HostError::new,
        };
        contain(panicked, || self.browser.open(call.url().as_str()).map_err(otherwise))
    }

    /// Shows the person a code to enter on another device.
    ///
    /// # Errors
    ///
    /// Where nothing does that.
    pub fn show_code(&self, call: &ShowCodeCall) -> Result<(), HostError> {
        let nowhere = || HostError::new("this program shows no codes");
        contain(panicked, || self.show_code.as_ref().ok_or_else(nowhere)?(call))
    }

    /// Listens for the person's return. A redirect's path and query are handed over on a thread of the
    /// listener's.
    ///
    /// # Errors
    ///
    /// See [`ListenError`](listener::ListenError); [`HostError::headless`] where no browser can be opened
    /// and codes are shown.
    pub fn listen(
        &self,
        spec: &ListenSpec,
        on_redirect: impl Fn(String) -> listener::Page + Send + Sync + 'static,
    ) -> Result<RunningListener, HostError> {
        // Where a code is shown anyway, for no browser can be opened, nobody comes back.
        if self.show_code.is_some() {
            contain(panicked, || self.browser.check().map_err(HostError::headless))?;
        }
        let bound = CallbackListener::bind(spec);
        bound.and_then(|bound| bound.start(on_redirect)).map_err(HostError::new)
    }

    /// The core's page in words for a person.
    pub fn page(&self, page: Page) -> listener::Page {
        listener::Page::of(page, self.program.as_deref())
    }

    /// Why a persister has not kept something, if it hasn't.
    pub fn not_persisted(&self) -> Option<HostError> {
        self.hooks.failure()
    }
}

impl std::fmt::Debug for Hands {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hands").field("program", &self.program).finish_non_exhaustive()
    }
}

/// A panic in somebody else's code is the failure of one action, which the machine knows how to
/// take; unanswered, the action would hold up others until its deadline.
///
/// # Errors
///
/// Those of the act, and `failure` where it panics.
pub fn contain<T, E>(
    failure: impl FnOnce() -> E,
    act: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|_| Err(failure()))
}

fn panicked() -> HostError {
    HostError::new("it panicked")
}
