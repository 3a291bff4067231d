//! A JSON Web Token that a key of the host's signs: first the public key is asked for, which decides the
//! algorithm, then the signature.

use crate::error::{Error, ErrorKind};
use crate::event::SignerAnswer;
use crate::flow::Ask;
use crate::output::HostError;
use crate::secret::{Secret, SecretRef};
use crate::wire::jws::{self, PublicKey, SigningAlgorithm};

/// More than any algorithm makes, in bytes.
const MAX_SIGNATURE: usize = 2048;

/// What the host says.
pub(crate) type SignerResult = Result<SignerAnswer, HostError>;

/// What the host is asked for.
pub(crate) enum SignerAsk {
    Key(SecretRef),
    Sign { key: SecretRef, algorithm: SigningAlgorithm, input: String },
}

/// A token that is made for each request anew.
#[derive(Clone, Debug)]
pub(crate) struct Jwt {
    what: &'static str,
    key: SecretRef,
    public: Option<PublicKey>,
    input: Option<String>,
    /// The signer was asked, and has not answered.
    asked: bool,
    signed: Option<Secret>,
}

impl Jwt {
    /// `what`: the key, for people.
    pub(crate) fn new(what: &'static str, key: SecretRef) -> Self {
        Self { what, key, public: None, input: None, asked: false, signed: None }
    }

    /// Asks for the public key, and no more.
    pub(crate) fn begin(self) -> (Self, Ask) {
        let ask = Ask::Signer(SignerAsk::Key(self.key.clone()));
        (self, ask)
    }

    /// Whether the key that was told could be used.
    pub(crate) fn rehearse(&self, taken: Option<&[String]>) -> Result<(), Error> {
        let usable = self.public.as_ref().is_some_and(|key| key.algorithm(taken).is_some());
        if usable { Ok(()) } else { Err(self.useless(taken)) }
    }

    /// What is to be asked before there is one, made by `compose`.
    pub(crate) fn wanted(
        &mut self,
        compose: impl FnOnce(SigningAlgorithm, &PublicKey) -> String,
        taken: Option<&[String]>,
    ) -> Result<Option<Ask>, Error> {
        if self.signed.is_some() {
            return Ok(None);
        }
        let key = self.key.clone();
        self.asked = true;
        let Some(public) = &self.public else { return Ok(Some(Ask::Signer(SignerAsk::Key(key)))) };
        let Some(algorithm) = public.algorithm(taken) else { return Err(self.useless(taken)) };
        let input = compose(algorithm, public);
        self.input = Some(input.clone());
        Ok(Some(Ask::Signer(SignerAsk::Sign { key, algorithm, input })))
    }

    pub(crate) fn on_signer(&mut self, result: SignerResult) -> Result<(), Error> {
        self.asked = false;
        match (result.map_err(|source| self.failed(source))?, self.input.take()) {
            (SignerAnswer::Key { public, .. }, None) => self.public = Some(public),
            (SignerAnswer::Signature(signature), Some(input)) => {
                if signature.is_empty() || signature.len() > MAX_SIGNATURE {
                    return Err(self.failed(HostError::new("what it signed is no signature")));
                }
                self.signed = Some(jws::signed(&input, &signature));
            }
            _ => return Err(self.failed(HostError::new("it answered something else"))),
        }
        Ok(())
    }

    pub(crate) fn public(&self) -> Option<&PublicKey> {
        self.public.as_ref()
    }

    /// It waits for the signer.
    pub(crate) fn waits(&self) -> bool {
        self.asked
    }

    pub(crate) fn token(&self) -> Option<&Secret> {
        self.signed.as_ref()
    }

    /// It was sent: the next request needs another.
    pub(crate) fn spend(&mut self) {
        self.signed = None;
    }

    fn failed(&self, source: HostError) -> Error {
        let key = self.key.to_string();
        ErrorKind::SigningFailed { what: self.what, key, source }.into()
    }

    fn useless(&self, taken: Option<&[String]>) -> Error {
        let taken = taken.unwrap_or_default().join(", ");
        let can = self.public.iter().flat_map(|key| key.algorithms());
        let can = can.map(|algorithm| algorithm.as_str()).collect::<Vec<_>>().join(", ");
        let can = if can.is_empty() { "nothing that is known here" } else { &can };
        self.failed(HostError::new(format!("it signs with {can}; the server takes {taken}")))
    }
}
