//! The webhook's own certificate: a CA made for it alone, whose key is forgotten once it has signed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::upstream::tls::provider;

/// How long one holds.
pub(super) const HOLDS: Duration = Duration::from_secs(90 * 24 * 3600);
/// It is made anew when so much is left.
pub(super) const RENEWED: Duration = Duration::from_secs(30 * 24 * 3600);
/// Clocks of API servers may be behind.
const SKEW: Duration = Duration::from_secs(3600);

/// A certificate, its key and its CA, as PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Issued {
    /// What API servers verify it by.
    pub(super) ca: String,
    /// The certificate.
    pub(super) certificate: String,
    /// Its private key.
    pub(super) key: String,
    /// When it ends, in seconds since 1970.
    pub(super) until: u64,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum CertificateError {
    /// It cannot be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// What was given is none, or does not fit its key.
    #[error("cannot use the certificate: {0}")]
    Use(String),
}

/// Makes a CA, and a certificate for these names.
pub(super) fn issue(names: &[String], now: SystemTime) -> std::result::Result<Issued, CertificateError> {
    let until = now + HOLDS;
    let period = |params: &mut CertificateParams| {
        params.not_before = (now - SKEW).into();
        params.not_after = until.into();
    };
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.distinguished_name = named("outboard webhook CA");
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    period(&mut ca);
    let ca_key = KeyPair::generate()?;
    let ca_certificate = ca.self_signed(&ca_key)?;
    let issuer = Issuer::new(ca, ca_key);

    let mut own = CertificateParams::new(names.to_vec())?;
    own.distinguished_name = named("outboard webhook");
    own.use_authority_key_identifier_extension = true;
    own.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    own.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    period(&mut own);
    let key = KeyPair::generate()?;
    let certificate = own.signed_by(&key, &issuer)?;
    Ok(Issued {
        ca: ca_certificate.pem(),
        certificate: certificate.pem(),
        key: key.serialize_pem(),
        until: until.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
    })
}

fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    named
}

/// What serves with a certificate and its key.
pub(super) fn server(certificate: &[u8], key: &[u8]) -> std::result::Result<ServerConfig, CertificateError> {
    let unfit = |e: &dyn std::fmt::Display| CertificateError::Use(e.to_string());
    let chain: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| unfit(&e))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| unfit(&e))?
        .with_no_client_auth()
        .with_single_cert(chain.map_err(|e| unfit(&e))?, key)
        .map_err(|e| unfit(&e))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
