//! Certificates that clients show when they connect: mutual TLS.

use std::sync::Arc;

use mcp_auth::HostError;
use mcp_auth_host::identity::Identity;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

/// The same settings for a client that shows this. Nothing of its connections is resumed by others, nor
/// the other way round: whoever resumed one would be taken for this client.
pub(super) fn showing(tls: &ClientConfig, identity: &Identity) -> Result<ClientConfig, HostError> {
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(identity.certificate()).filter_map(Result::ok).collect();
    if chain.is_empty() {
        return Err(identity.no_certificate());
    }
    let key = PrivateKeyDer::from_pem_slice(identity.key()).map_err(|_| identity.no_key())?;
    let certified = CertifiedKey::from_der(chain, key, tls.crypto_provider());
    let certified = certified.map_err(HostError::new)?;
    let mut tls = tls.clone();
    tls.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(certified));
    tls.resumption = Resumption::disabled();
    Ok(tls)
}
