//! What a client shows when it connects: mutual TLS (RFC 8705), for whoever sends its requests.

use mcp_auth::{ClientCertificate, HostError, Secret};

/// A client's certificate and its private key, as they were read from where the settings say.
///
/// ```
/// use mcp_auth::{ClientCertificate, SecretRef};
/// use mcp_auth_host::identity::Identity;
///
/// let file = |name: &str| SecretRef::File(format!("/run/keys/{name}"));
/// let places = ClientCertificate { certificate: file("client.crt"), key: file("client.key") };
/// let identity = Identity::new(places, "-----BEGIN …".into(), "-----BEGIN …".into());
/// assert!(identity.no_key().to_string().contains("/run/keys/client.key"));
/// assert!(!format!("{identity:?}").contains("BEGIN"));
/// ```
#[derive(Clone, Debug)]
pub struct Identity {
    places: ClientCertificate,
    certificate: Secret,
    key: Secret,
}

impl Identity {
    /// From what is at these places.
    pub fn new(places: ClientCertificate, certificate: Secret, key: Secret) -> Self {
        Self { places, certificate, key }
    }

    /// The certificate, and those that it was issued under, in PEM.
    pub fn certificate(&self) -> &[u8] {
        self.certificate.expose().as_bytes()
    }

    /// The private key, in PEM.
    pub fn key(&self) -> &[u8] {
        self.key.expose().as_bytes()
    }

    /// Why it can't be shown: there is no certificate.
    pub fn no_certificate(&self) -> HostError {
        HostError::new(format!("{} has no certificate in PEM", self.places.certificate))
    }

    /// Why it can't be shown: there is no private key.
    pub fn no_key(&self) -> HostError {
        HostError::new(format!("{} has no private key in PEM", self.places.key))
    }
}
