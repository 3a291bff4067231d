//! Keys in PEM.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mcp_auth::output::{FoundKey, FoundSecret};
use mcp_auth::wire::jws::{PublicKey, SigningAlgorithm};
use mcp_auth::{HostError, Secret, SecretRef};
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;

use super::Signer;
use crate::secrets::{SecretProvider, find};

/// Signs with keys in PKCS #8 PEM: of P-256, P-384, Ed25519 and RSA (2048 bits and more). A key is read
/// for each signature, and kept nowhere.
///
/// ```
/// use mcp_auth::SecretRef;
/// use mcp_auth_host::signer::{PemSigner, Signer, generate};
///
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("client.pem");
/// generate(&path)?; // or: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256
/// let key = SecretRef::File(path.display().to_string());
/// println!("register this: {}", PemSigner::new().public_key(&key)?.jwk());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct PemSigner<'a> {
    provider: Option<&'a dyn SecretProvider>,
}

impl<'a> PemSigner<'a> {
    /// For keys in files and in the environment.
    pub fn new() -> Self {
        Self::default()
    }

    /// For those that this provider has, too.
    pub fn with(provider: Option<&'a dyn SecretProvider>) -> Self {
        Self { provider }
    }

    fn look(&self, place: &SecretRef) -> Result<FoundSecret, HostError> {
        find(place, self.provider)?.ok_or_else(|| HostError::new("it is not set"))
    }
}

impl Signer for PemSigner<'_> {
    fn public_key(&self, key: &SecretRef) -> Result<PublicKey, HostError> {
        self.find(key).map(|found| found.public().clone())
    }

    fn find(&self, key: &SecretRef) -> Result<FoundKey, HostError> {
        let found = self.look(key)?;
        let key = FoundKey::new(Key::read(found.value())?.public());
        Ok(if found.is_exposed() { key.exposed() } else { key })
    }

    fn sign(
        &self,
        key: &SecretRef,
        algorithm: SigningAlgorithm,
        message: &[u8],
    ) -> Result<Vec<u8>, HostError> {
        Key::read(self.look(key)?.value())?.sign(algorithm, message)
    }
}

enum Key {
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl Key {
    fn read(pem: &Secret) -> Result<Self, HostError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.expose().as_bytes()).map_err(|_| {
            HostError::new(
                "it is no private key in PKCS #8 PEM (`openssl pkcs8 -topk8 -nocrypt` makes one of others)",
            )
        })?;
        let (der, rng) = (der.secret_pkcs8_der(), SystemRandom::new());
        let ecdsa = |algorithm| EcdsaKeyPair::from_pkcs8(algorithm, der, &rng).ok();
        ecdsa(&signature::ECDSA_P256_SHA256_FIXED_SIGNING)
            .map(Key::P256)
            .or_else(|| ecdsa(&signature::ECDSA_P384_SHA384_FIXED_SIGNING).map(Key::P384))
            .or_else(|| Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok().map(Key::Ed25519))
            .or_else(|| RsaKeyPair::from_pkcs8(der).ok().map(Key::Rsa))
            .ok_or_else(|| {
                HostError::new(
                    "it is no key of P-256, P-384, Ed25519, or RSA with 2048 bits or more",
                )
            })
    }

    fn public(&self) -> PublicKey {
        let point = |curve, key: &EcdsaKeyPair| {
            // Uncompressed: a 4, then both coordinates (SEC 1 §2.3.3).
            let point = key.public_key().as_ref().get(1..).unwrap_or_default();
            let (x, y) = point.split_at(point.len() / 2);
            PublicKey::ec(curve, x, y)
        };
        match self {
            Key::P256(key) => point("P-256", key),
            Key::P384(key) => point("P-384", key),
            Key::Ed25519(key) => PublicKey::ed25519(key.public_key().as_ref()),
            Key::Rsa(key) => {
                let parts = signature::RsaPublicKeyComponents::<Vec<u8>>::from(key.public());
                PublicKey::rsa(&parts.n, &parts.e)
            }
        }
    }

    fn sign(&self, algorithm: SigningAlgorithm, message: &[u8]) -> Result<Vec<u8>, HostError> {
        let rng = SystemRandom::new();
        let failed = |_| HostError::new("the signature could not be made");
        let rsa = |key: &RsaKeyPair, padding| {
            let mut signature = vec![0; key.public().modulus_len()];
            key.sign(padding, &rng, message, &mut signature).map_err(failed)?;
            Ok(signature)
        };
        match (self, algorithm) {
            (Key::P256(key), SigningAlgorithm::Es256)
            | (Key::P384(key), SigningAlgorithm::Es384) => {
                Ok(key.sign(&rng, message).map_err(failed)?.as_ref().to_vec())
            }
            (Key::Ed25519(key), SigningAlgorithm::EdDsa) => Ok(key.sign(message).as_ref().to_vec()),
            (Key::Rsa(key), SigningAlgorithm::Rs256) => rsa(key, &signature::RSA_PKCS1_SHA256),
            (Key::Rsa(key), SigningAlgorithm::Ps256) => rsa(key, &signature::RSA_PSS_SHA256),
            _ => Err(HostError::new(format!("it doesn't sign with {}", algorithm.as_str()))),
        }
    }
}

/// Makes a new key of P-256 at this place, for its owner alone to read. One that is there stays.
///
/// # Errors
///
/// Where it can't be written, or one is there ([`io::ErrorKind::AlreadyExists`]).
pub fn generate(path: &Path) -> io::Result<()> {
    let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
    let der = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new())
        .map_err(|_| io::Error::other("the system has no randomness to give"))?;
    let body = Secret::new(STANDARD.encode(der.as_ref()));
    let mut pem = Secret::new(String::from("-----BEGIN PRIVATE KEY-----\n"));
    let mut text = pem.expose().clone();
    for line in body.expose().as_bytes().chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text.push_str("-----END PRIVATE KEY-----\n");
    pem = Secret::new(text);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(pem.expose().as_bytes())?;
    file.sync_all()
}
