//! Certificates that clients show when they connect: mutual TLS.

use mcp_auth::{ClientCertificate, HostError, SecretRef};
use mcp_auth_host::hands::Hands;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, parse_pem};

/// What is at these places, in PEM.
pub(crate) fn client_certificate(
    shown: &ClientCertificate,
    hands: &Hands,
) -> Result<ClientCert, HostError> {
    let read = |place: &SecretRef| {
        let fail = |why: &dyn std::fmt::Display| {
            HostError::new(format!("the client's certificate, {place}: {why}"))
        };
        let found = hands.secret_at(place).map_err(|error| fail(&error))?;
        found.ok_or_else(|| fail(&"it is not set"))
    };
    let (chain, key) = (read(&shown.certificate)?, read(&shown.key)?);
    let items = parse_pem(chain.value().expose().as_bytes());
    let chain: Vec<Certificate<'static>> = items
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if chain.is_empty() {
        let place = &shown.certificate;
        return Err(HostError::new(format!("{place} has no certificate in PEM")));
    }
    let key = PrivateKey::from_pem(key.value().expose().as_bytes())
        .map_err(|_| HostError::new(format!("{} has no private key in PEM", shown.key)))?;
    Ok(ClientCert::new_with_certs(&chain, key))
}
