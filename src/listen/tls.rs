//! TLS on a listener. The files are watched: a renewed certificate holds for the next connection.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::WebPkiClientVerifier;
use rustls::{ServerConfig, version};

use crate::config::Protocol;
use crate::config::listener::{ListenerTls, TlsVersion};
use crate::upstream::tls::{TlsError, certificates, private_key, provider, roots};

/// The TLS configuration of a listener, as its files say now.
pub struct TlsSource {
    settings: ListenerTls,
    protocols: Vec<Protocol>,
    current: ArcSwap<ServerConfig>,
    seen: parking_lot::Mutex<Vec<Option<Stamp>>>,
}

/// What tells whether a file changed: also a link that was swapped, as Kubernetes does it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    modified: Option<std::time::SystemTime>,
    length: u64,
    inode: u64,
}

impl TlsSource {
    /// Reads the files.
    ///
    /// # Errors
    /// When one cannot be read, or they do not fit together.
    pub fn new(settings: &ListenerTls, protocols: &[Protocol]) -> Result<Self, TlsError> {
        let config = server_config(settings, protocols)?;
        Ok(TlsSource {
            settings: settings.clone(),
            protocols: protocols.to_vec(),
            current: ArcSwap::from_pointee(config),
            seen: parking_lot::Mutex::new(stamps(settings)),
        })
    }

    /// The configuration for the next connection.
    pub fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// Reads the files again if one changed. A bad one changes nothing.
    pub fn refresh(&self) {
        let now = stamps(&self.settings);
        if *self.seen.lock() == now {
            return;
        }
        *self.seen.lock() = now;
        let file = self.settings.cert_file.display().to_string();
        match server_config(&self.settings, &self.protocols) {
            Ok(config) => {
                self.current.store(Arc::new(config));
                tracing::info!(event = "certificate_loaded", file);
            }
            Err(e) => tracing::error!(event = "certificate_refused", file, cause = %e),
        }
    }
}

fn stamps(settings: &ListenerTls) -> Vec<Option<Stamp>> {
    let files = [Some(&settings.cert_file), Some(&settings.key_file), settings.client_ca_file.as_ref()];
    files.into_iter().flatten().map(|f| stamp(f)).collect()
}

fn stamp(file: &Path) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt;
    let meta = std::fs::metadata(file).ok()?;
    Some(Stamp { modified: meta.modified().ok(), length: meta.len(), inode: meta.ino() })
}

fn server_config(settings: &ListenerTls, protocols: &[Protocol]) -> Result<ServerConfig, TlsError> {
    let versions = match settings.min_version {
        TlsVersion::V1_2 => &[&version::TLS13, &version::TLS12][..],
        TlsVersion::V1_3 => &[&version::TLS13][..],
    };
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions)?;
    let builder = match &settings.client_ca_file {
        Some(ca) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(Some(ca))?), provider());
            builder.with_client_cert_verifier(
                verifier.build().map_err(|e| TlsError::Rustls(rustls::Error::General(e.to_string())))?,
            )
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(certificates(&settings.cert_file)?, private_key(&settings.key_file)?)?;
    let speaks = |p: Protocol| protocols.contains(&p);
    let names = [(speaks(Protocol::H2), &b"h2"[..]), (speaks(Protocol::Http1), b"http/1.1")];
    config.alpn_protocols = names.into_iter().filter(|(on, _)| *on).map(|(_, name)| name.to_vec()).collect();
    Ok(config)
}
