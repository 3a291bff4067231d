//! Certificates that clients show when they connect: mutual TLS.

use mcp_auth::HostError;
use mcp_auth_host::identity::Identity;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, parse_pem};

/// In ureq's form.
pub(crate) fn client_certificate(identity: &Identity) -> Result<ClientCert, HostError> {
    let chain: Vec<Certificate<'static>> = parse_pem(identity.certificate())
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if chain.is_empty() {
        return Err(identity.no_certificate());
    }
    let key = PrivateKey::from_pem(identity.key()).map_err(|_| identity.no_key())?;
    Ok(ClientCert::new_with_certs(&chain, key))
}
