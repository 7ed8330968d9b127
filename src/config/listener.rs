//! The section `listeners`: where clients connect.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

/// One listening address.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// The name that routes and metrics use.
    pub name: String,
    /// host:port, or unix:/run/outboard.sock.
    pub address: String,
    /// Whose requests come here; required where there are several listeners: a drain closes inbound ones first.
    #[serde(default)]
    pub direction: Option<Direction>,
    /// In clear: http1, h2c (prior knowledge); with tls: http1, h2. Left out: both.
    #[serde(default)]
    pub protocols: Vec<Protocol>,
    /// The PROXY protocol, v1 and v2, believed from trusted_proxies only.
    #[serde(default)]
    pub proxy_protocol: ProxyProtocol,
    /// From these networks X-Forwarded-* and Forwarded are believed and appended to; from others they are removed.
    /// A single address is a network of one.
    #[serde(default, deserialize_with = "networks")]
    #[schemars(with = "Vec<String>")]
    pub trusted_proxies: Vec<IpNet>,
    /// Request headers that only a trusted proxy may send.
    #[serde(default)]
    pub strip_from_untrusted: Vec<String>,
    /// TLS on this listener; the files are watched.
    #[serde(default)]
    pub tls: Option<ListenerTls>,
}

/// Networks, or addresses without a prefix.
fn networks<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<IpNet>, D::Error> {
    struct Network(IpNet);
    impl<'de> Deserialize<'de> for Network {
        fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
            let text = String::deserialize(d)?;
            let net = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            let expected = "a network such as 10.0.0.0/8, or an address";
            net.map(Network).map_err(|_| de::Error::invalid_value(de::Unexpected::Str(&text), &expected))
        }
    }
    Vec::<Network>::deserialize(d).map(|networks| networks.into_iter().map(|n| n.0).collect())
}

/// Whose requests a listener takes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From clients to the application.
    Inbound,
    /// From the application to others.
    Outbound,
}

/// A protocol spoken on a listener.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1 and HTTP/1.0.
    Http1,
    /// HTTP/2 in clear, by prior knowledge.
    H2c,
    /// HTTP/2 over TLS, by ALPN.
    H2,
}

/// Whether connections begin with a PROXY protocol header.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum ProxyProtocol {
    /// Never.
    #[default]
    Off,
    /// Where it is there.
    Optional,
    /// Always; a connection without it is closed.
    Required,
}

/// TLS on a listener.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ListenerTls {
    /// The certificate chain, PEM.
    pub cert_file: PathBuf,
    /// The private key, PEM.
    pub key_file: PathBuf,
    /// Clients must show a certificate that this CA signed, PEM.
    #[serde(default)]
    pub client_ca_file: Option<PathBuf>,
    /// The oldest version spoken.
    #[serde(default)]
    pub min_version: TlsVersion,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[default]
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    V1_3,
}
