//! Opens one connection to an endpoint: socket, then TLS.

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::endpoint::{Address, Endpoint};
use crate::config::UpstreamProtocol;
use crate::io::{Conn, Socket};

/// What TLS needs for the connections of an upstream.
#[derive(Debug, Clone)]
pub(super) struct Tls {
    pub(super) config: Arc<ClientConfig>,
    /// The name the certificate must carry; left out: the endpoint's host.
    pub(super) server_name: Option<String>,
}

/// A connection, and whether its peer speaks HTTP/2 by ALPN.
pub(super) struct Opened {
    pub(super) conn: Conn,
    pub(super) alpn_h2: bool,
}

impl Opened {
    /// Whether HTTP/2 is spoken on it.
    ///
    /// # Errors
    /// When it has to be, and its peer did not agree.
    pub(super) fn is_http2(&self, protocol: UpstreamProtocol) -> io::Result<bool> {
        match protocol {
            UpstreamProtocol::H2c => Ok(true),
            UpstreamProtocol::Http1 => Ok(false),
            UpstreamProtocol::Auto => Ok(self.alpn_h2),
            UpstreamProtocol::H2 if self.alpn_h2 => Ok(true),
            UpstreamProtocol::H2 => Err(io::Error::new(io::ErrorKind::Unsupported, "the server does not speak HTTP/2")),
        }
    }
}

/// Connects. Bounded in time by the caller.
pub(super) async fn open(endpoint: &Endpoint, tls: Option<&Tls>) -> io::Result<Opened> {
    let socket = match &endpoint.address {
        Address::Tcp(addr) => {
            let stream = TcpStream::connect(addr).await?;
            stream.set_nodelay(true)?;
            Socket::from(stream)
        }
        Address::Unix(path) => Socket::from(UnixStream::connect(path).await?),
    };
    let Some(tls) = tls else {
        return Ok(Opened { conn: Conn::clear(socket), alpn_h2: false });
    };
    // Never without a name: what is not named is not verified.
    let name = tls.server_name.as_deref().unwrap_or(&endpoint.host);
    let name = ServerName::try_from(name.to_owned())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the server name is no name and no address"))?;
    let stream = TlsConnector::from(tls.config.clone()).connect(name, socket).await?;
    let alpn_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    Ok(Opened { conn: Conn::tls(stream.into()), alpn_h2 })
}
