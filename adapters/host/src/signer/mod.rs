//! Keys that clients prove themselves by, and that tokens are bound to: each is in a file, in the
//! environment, or with the program's secret provider, in PKCS #8 PEM; or behind a [`Signer`] of the
//! program's own, such as an agent or a device, that never shows it.

#[cfg(feature = "signer")]
mod pem;

use mcp_auth::output::FoundKey;
use mcp_auth::wire::jws::{PublicKey, SigningAlgorithm};
use mcp_auth::{HostError, SecretRef};

#[cfg(feature = "signer")]
pub use pem::{PemSigner, generate};

/// Signs with keys that the settings name. Calls may block for as long as the action's deadline says.
///
/// Errors are shown to people: they must hold no secrets.
///
/// ```
/// use mcp_auth::wire::jws::{PublicKey, SigningAlgorithm};
/// use mcp_auth::{HostError, SecretRef};
/// use mcp_auth_host::signer::Signer;
///
/// /// A key in a device.
/// struct Token(Device);
///
/// impl Signer for Token {
///     fn public_key(&self, _: &SecretRef) -> Result<PublicKey, HostError> {
///         Ok(PublicKey::ed25519(&self.0.public_key()))
///     }
///
///     fn sign(
///         &self,
///         _: &SecretRef,
///         algorithm: SigningAlgorithm,
///         message: &[u8],
///     ) -> Result<Vec<u8>, HostError> {
///         match algorithm {
///             SigningAlgorithm::EdDsa => Ok(self.0.sign(message)),
///             _ => Err(HostError::new("it signs with EdDSA alone")),
///         }
///     }
/// }
///
/// # struct Device;
/// # impl Device {
/// #     fn public_key(&self) -> [u8; 32] { [7; 32] }
/// #     fn sign(&self, _: &[u8]) -> Vec<u8> { vec![7; 64] }
/// # }
/// let (token, key) = (Token(Device), SecretRef::Name("slot-1".into()));
/// assert_eq!(token.public_key(&key)?.jwk()["crv"], "Ed25519");
/// assert!(token.sign(&key, SigningAlgorithm::Rs256, b"message").is_err());
/// # Ok::<(), HostError>(())
/// ```
pub trait Signer: Send + Sync {
    /// The public half of this key.
    ///
    /// # Errors
    ///
    /// Where it can't be had.
    fn public_key(&self, key: &SecretRef) -> Result<PublicKey, HostError>;

    /// The same, and whether others than its owner can read the key where it is, which people are told.
    /// Default: they can't.
    ///
    /// # Errors
    ///
    /// As [`public_key`](Self::public_key).
    fn find(&self, key: &SecretRef) -> Result<FoundKey, HostError> {
        self.public_key(key).map(FoundKey::new)
    }

    /// What this key signs, as a JSON Web Signature has it (see [`SigningAlgorithm`]).
    ///
    /// # Errors
    ///
    /// Where it doesn't.
    fn sign(
        &self,
        key: &SecretRef,
        algorithm: SigningAlgorithm,
        message: &[u8],
    ) -> Result<Vec<u8>, HostError>;
}
