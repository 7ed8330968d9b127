//! The section `upstreams`: the applications behind.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::policy::balance::LoadBalance;
use crate::policy::{breaker, health, outlier, queue, retry};
use crate::units::Duration;

/// One application, or several endpoints of it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// host:port, several for balancing, or unix:/run/app.sock.
    #[schemars(length(min = 1))]
    pub endpoints: Vec<String>,
    /// What is spoken to it.
    #[serde(default)]
    pub protocol: UpstreamProtocol,
    /// The Host it is sent: `preserve`, `endpoint`, or a name. Left out: preserve; endpoint where tls is set.
    #[serde(default)]
    pub host: Option<HostHeader>,
    /// TLS to it; the endpoint is verified.
    #[serde(default)]
    pub tls: Option<UpstreamTls>,
    /// How often names are resolved; the last good answer is kept when a look-up fails.
    #[serde(default = "default_dns_refresh")]
    pub dns_refresh: Duration,
    /// How an endpoint is chosen.
    #[serde(default)]
    pub load_balance: LoadBalance,
    /// For consistent_hash: where the key is taken from: client_ip | header:N | query:N | cookie:N | path:PARAM | constant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hash_on: Vec<String>,
    /// The server itself answers a repeated idempotency key without doing its work twice. True only where that is so.
    #[serde(default)]
    pub honours_idempotency_keys: bool,
    /// Connections that are kept.
    #[serde(default)]
    pub pool: Pool,
    /// How many requests it works on at once, and how others wait. Left out: as many as come.
    #[serde(default)]
    pub queue: Option<queue::Settings>,
    /// When it is left alone because it fails.
    #[serde(default)]
    pub circuit_breaker: Option<breaker::Settings>,
    /// How much load retries may add.
    #[serde(default)]
    pub retry_budget: retry::BudgetSettings,
    /// Checks that ask each endpoint whether it is well. Left out: none.
    #[serde(default)]
    pub health_check: Option<health::Settings>,
    /// Requests that fail take their endpoint out for a time. Left out: never.
    #[serde(default)]
    pub outlier_detection: Option<outlier::Settings>,
}

fn default_dns_refresh() -> Duration {
    Duration::from_secs(30)
}

/// What is spoken to an upstream.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum UpstreamProtocol {
    /// HTTP/1.1, in clear or over TLS.
    #[default]
    Http1,
    /// HTTP/2 in clear, by prior knowledge.
    H2c,
    /// HTTP/2 over TLS.
    H2,
    /// Over TLS, what ALPN agrees on.
    Auto,
}

/// The Host an upstream is sent.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(from = "String", into = "String")]
#[schemars(with = "String")]
pub enum HostHeader {
    /// What the client sent.
    Preserve,
    /// The endpoint as it is written in `endpoints`.
    Endpoint,
    /// This name.
    Name(String),
}

impl From<String> for HostHeader {
    fn from(s: String) -> Self {
        match s.as_str() {
            "preserve" => HostHeader::Preserve,
            "endpoint" => HostHeader::Endpoint,
            _ => HostHeader::Name(s),
        }
    }
}

impl From<HostHeader> for String {
    fn from(h: HostHeader) -> Self {
        match h {
            HostHeader::Preserve => "preserve".into(),
            HostHeader::Endpoint => "endpoint".into(),
            HostHeader::Name(name) => name,
        }
    }
}

/// TLS to an upstream.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamTls {
    /// The name the certificate must carry. Left out: the host of the endpoint, an IP address included.
    pub server_name: Option<String>,
    /// The CAs that are trusted, PEM. Left out: the system's, or the built-in ones where there are none.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate chain, PEM.
    pub cert_file: Option<PathBuf>,
    /// The key of our own certificate, PEM.
    pub key_file: Option<PathBuf>,
    /// Trust anyone. For a test, never for money.
    pub insecure_skip_verify: bool,
}

/// Connections to an upstream that are kept.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Pool {
    /// Attempts in flight per endpoint; above it the next endpoint is taken.
    #[schemars(range(min = 1))]
    pub max_connections: u32,
    /// Idle connections kept per endpoint.
    pub max_idle: u32,
    /// How long an idle connection is kept; always 1s less than the server's Keep-Alive header says.
    pub idle_timeout: Duration,
    /// A connection idle for longer carries no POST: it may just be closing.
    pub reuse_for_unsafe: Duration,
    /// The longest a connection is used.
    pub max_lifetime: Duration,
    /// Requests on one connection; 0 = no limit.
    pub max_requests: u32,
    /// Streams at once on one HTTP/2 connection.
    #[schemars(range(min = 1))]
    pub max_streams: u32,
}

impl Default for Pool {
    fn default() -> Self {
        Pool {
            max_connections: 256,
            max_idle: 128,
            idle_timeout: Duration::from_secs(4),
            reuse_for_unsafe: Duration::from_secs(1),
            max_lifetime: Duration::from_secs(3600),
            max_requests: 0,
            max_streams: 100,
        }
    }
}
