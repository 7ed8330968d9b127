//! A stream to the server: TCP, TCP with TLS, or a Unix socket.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use redis::{ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::error::Error;

/// A stream of any kind.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// When a silent connection is probed: what stands between forgets a connection that is silent for some minutes, and tells nobody.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Where the server is, and how it is spoken to.
pub(super) struct Dial {
    target: Target,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// Who we are there.
    pub(super) settings: RedisConnectionInfo,
}

enum Target {
    Tcp(String, u16),
    Unix(PathBuf),
}

impl fmt::Display for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Target::Tcp(host, port) => write!(f, "{host}:{port}"),
            Target::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Dial {
    /// Reads a URL. The crate's own TLS is not used, as it takes its provider from the process and reads the system's
    /// certificates with every connection: so it is shown a URL without.
    pub(super) fn new(url: &str, ca_file: Option<&Path>) -> Result<Dial, Error> {
        const WHAT: &str = "expected redis://, rediss:// or redis+unix:// with an address that parses";
        let url = url.trim();
        let (scheme, rest) = url.split_once("://").ok_or(Error::Url(WHAT))?;
        let tls = matches!(scheme, "rediss" | "valkeys");
        // `#insecure` would switch verification off; nothing else is defined there.
        if rest.contains('#') {
            return Err(Error::Url("expected no fragment; a # in a password is written %23"));
        }
        let plain = if tls { format!("redis://{rest}") } else { url.to_owned() };
        let info = redis::parse_redis_url(&plain).ok_or(Error::Url(WHAT))?;
        let info = info.into_connection_info().map_err(|_| Error::Url(WHAT))?;
        let target = match info.addr() {
            ConnectionAddr::Tcp(host, port) => Target::Tcp(host.clone(), *port),
            ConnectionAddr::Unix(path) => Target::Unix(path.clone()),
            _ => return Err(Error::Url(WHAT)),
        };
        let tls = match &target {
            Target::Tcp(host, _) if tls => {
                let name = ServerName::try_from(host.clone());
                let name = name.map_err(|_| Error::Url("expected a host that a certificate can name"))?;
                Some((TlsConnector::from(Arc::new(client_config(ca_file)?)), name))
            }
            _ if ca_file.is_some() => return Err(Error::Url("expected rediss:// where there is a ca_file")),
            _ => None,
        };
        // Two commands less when a connection is made; nobody asks for the library's name.
        Ok(Dial { target, tls, settings: info.redis_settings().clone().set_skip_set_lib_name() })
    }

    /// Opens a stream.
    pub(super) async fn open(&self) -> std::io::Result<Box<dyn Io>> {
        let stream = match &self.target {
            Target::Unix(path) => return Ok(Box::new(UnixStream::connect(path).await?)),
            Target::Tcp(host, port) => TcpStream::connect((host.as_str(), *port)).await?,
        };
        stream.set_nodelay(true)?;
        let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3);
        socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
        Ok(match &self.tls {
            Some((connector, name)) => Box::new(connector.connect(name.clone(), stream).await?),
            None => Box::new(stream),
        })
    }
}

/// Verifies the server by the file's certificates, else by the system's, else by the built-in ones.
fn client_config(ca_file: Option<&Path>) -> Result<ClientConfig, Error> {
    let failed = |cause: String| Error::Ca { file: ca_file.unwrap_or(Path::new("certificates")).to_owned(), cause };
    let mut roots = RootCertStore::empty();
    if let Some(file) = ca_file {
        for certificate in CertificateDer::pem_file_iter(file).map_err(|e| failed(e.to_string()))? {
            let certificate = certificate.map_err(|e| failed(e.to_string()))?;
            roots.add(certificate).map_err(|e| failed(e.to_string()))?;
        }
        if roots.is_empty() {
            return Err(failed("expected at least one certificate".to_owned()));
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            // An empty root file system, as in the image.
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|e| failed(e.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
