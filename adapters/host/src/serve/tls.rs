//! TLS under a certificate for tests: whoever trusts it trusts everybody who has this repository.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{Secure, Stream};

/// The certificate of `*.example.com` and `localhost`, in DER: it is its own root.
pub const CERTIFICATE: &[u8] = include_bytes!("certificate.der");

const KEY: &[u8] = include_bytes!("key.der");

pub(super) fn secure() -> io::Result<Secure> {
    let key = PrivateKeyDer::try_from(KEY).map_err(io::Error::other)?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder
                .with_no_client_auth()
                .with_single_cert(vec![CertificateDer::from(CERTIFICATE)], key)
        })
        .map_err(io::Error::other)?;
    let config = Arc::new(config);
    Ok(Box::new(move |stream: TcpStream| {
        let connection = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
        Ok(Box::new(StreamOwned::new(connection, stream)) as Box<dyn Stream>)
    }))
}
