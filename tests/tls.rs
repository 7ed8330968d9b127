//! TLS on both sides: who is believed, which protocol is agreed on, and that a failure tells nothing.

// The lints know tests by #[test]; what the tests share is a test as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod common;

#[path = "tls/inbound.rs"]
mod inbound;
#[path = "tls/outbound.rs"]
mod outbound;

use std::net::TcpStream;
use std::sync::Arc;

use common::*;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn roots(tls: &Tls) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(tls.ca_file()).unwrap()).unwrap();
    roots
}

fn pair(pair: &tls::Pair) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    (vec![CertificateDer::from_pem_file(&pair.cert).unwrap()], PrivateKeyDer::from_pem_file(&pair.key).unwrap())
}

/// A client that trusts this CA, speaks these versions, and shows this certificate.
fn client(tls: &Tls, versions: &[&'static SupportedProtocolVersion], own: Option<&tls::Pair>) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(versions).unwrap();
    let builder = builder.with_root_certificates(roots(tls));
    match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let (certificates, key) = pair(own);
            builder.with_client_auth_cert(certificates, key).unwrap()
        }
    }
}

/// A connection with this configuration; the handshake is done by the first write.
fn connect(addr: std::net::SocketAddr, config: ClientConfig) -> Client {
    let connection = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let stream = TcpStream::connect(addr).unwrap();
    Client::over(Wire::TlsClient(Box::new(StreamOwned::new(connection, stream))))
}

/// GET, or why there is no answer.
fn ask(mut client: Client) -> std::io::Result<Response> {
    client.try_send("GET / HTTP/1.1\r\nHost: test.example\r\n\r\n")?;
    client.try_read_response("GET")
}
