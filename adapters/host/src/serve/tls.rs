//! TLS under a certificate for tests: whoever trusts it trusts everybody who has this repository.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::{Secure, Stream};

/// The certificate of `*.example.com` and `localhost`, in DER: it is its own root.
pub const CERTIFICATE: &[u8] = include_bytes!("certificate.der");

const KEY: &[u8] = include_bytes!("key.der");

/// `clients`: the root that clients must have their certificate under, in DER; without it they need none.
pub(super) fn secure(clients: Option<&[u8]>) -> io::Result<Secure> {
    let key = PrivateKeyDer::try_from(KEY).map_err(io::Error::other)?;
    let provider = Arc::new(ring::default_provider());
    let verifier = match clients {
        None => WebPkiClientVerifier::no_client_auth(),
        Some(root) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from(root)).map_err(io::Error::other)?;
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .build()
                .map_err(io::Error::other)?
        }
    };
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder
                .with_client_cert_verifier(verifier)
                .with_single_cert(vec![CertificateDer::from(CERTIFICATE)], key)
        })
        .map_err(io::Error::other)?;
    let config = Arc::new(config);
    Ok(Box::new(move |stream: TcpStream| {
        let connection = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
        Ok(Box::new(StreamOwned::new(connection, stream)) as Box<dyn Stream>)
    }))
}
