//! Sections of the process: runtime, admin, logging, drain, limits.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{Auto, ByteRate, Duration, Ratio, Size};

/// The process itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Runtime {
    /// Threads that carry traffic. `auto`: the cgroup's CPU quota rounded up, at most 4 where there is none.
    #[schemars(extend("minimum" = 1, "maximum" = 256))]
    pub threads: Auto<u16>,
    /// A Unix socket, mode 0600, on which `run --upgrade` asks the running process for its listening sockets.
    pub upgrade_socket: Option<PathBuf>,
}

/// The administration listeners.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Everything; /livez /readyz /metrics need no token, the rest does. host:port.
    pub address: String,
    /// A second address that answers only GET /livez /readyz /metrics, for a kubelet and a scraper. host:port.
    pub probes: Option<String>,
    /// The file the token is read from. Left out: a random token is written 0600 into the runtime folder.
    pub token_file: Option<PathBuf>,
}

impl Default for Admin {
    fn default() -> Self {
        Admin { address: "127.0.0.1:9901".into(), probes: None, token_file: None }
    }
}

/// What is logged, and how.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Logging {
    /// The least severe line that is written; dependencies stay at warn.
    pub level: Level,
    /// json or text.
    pub format: LogFormat,
    /// One line a request.
    pub access: Access,
}

/// How severe a log line is.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Level {
    Off,
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// For a person at a terminal.
    Text,
}

/// The access log.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Access {
    /// Whether requests are logged at all.
    pub enabled: bool,
    /// The share of good answers that is logged; errors and refusals are always logged.
    pub sample: Ratio,
    /// A request that took longer is always logged.
    pub slow: Duration,
    /// Request headers that stand in the line.
    pub request_headers: Vec<String>,
}

impl Default for Access {
    fn default() -> Self {
        Access {
            enabled: true,
            sample: Ratio::percent(100.0),
            slow: Duration::from_secs(1),
            request_headers: Vec::new(),
        }
    }
}

/// The way out.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Drain {
    /// After SIGTERM readiness fails at once; inbound listeners accept this much longer.
    pub delay: Duration,
    /// From SIGTERM to the end at the latest. `auto`: delay + the largest timeouts.total + 1s.
    pub timeout: Auto<Duration>,
    /// Allow a `timeout` that can cut a request which was accepted late.
    pub allow_cut: bool,
}

impl Default for Drain {
    fn default() -> Self {
        Drain { delay: Duration::from_secs(5), timeout: Auto::Auto, allow_cut: false }
    }
}

/// Limits of the process and of its client connections.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Client connections at once. `auto`: a quarter of the cgroup's memory / 32KiB, at most 10000.
    #[schemars(extend("minimum" = 1))]
    pub max_connections: Auto<u32>,
    /// Bytes of bodies held in memory by all requests; above it 503 overloaded. `auto`: a quarter of the cgroup's memory.
    pub max_buffered: Auto<Size>,
    /// Bytes of a request's head; above it 431.
    pub max_request_headers: Size,
    /// Bytes of a request's body; above it 413. A route may override it.
    pub max_request_body: Size,
    /// From the first byte of a head to its last; 408.
    pub header_read_timeout: Duration,
    /// Silence of a client inside a body; 408.
    pub body_read_timeout: Duration,
    /// To a client that reads slowly.
    pub min_send_rate: ByteRate,
    /// How long an idle client connection is kept.
    pub keepalive_timeout: Duration,
    /// Requests on one client connection, HTTP/1.1 and HTTP/2.
    #[schemars(range(min = 1))]
    pub keepalive_requests: u32,
    /// Streams at once of one HTTP/2 client connection.
    #[schemars(range(min = 1))]
    pub max_streams: u32,
    /// Event streams and WebSockets at once.
    pub max_event_streams: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_connections: Auto::Auto,
            max_buffered: Auto::Auto,
            max_request_headers: Size::from_bytes(64 << 10),
            max_request_body: Size::from_bytes(10 << 20),
            header_read_timeout: Duration::from_secs(10),
            body_read_timeout: Duration::from_secs(30),
            min_send_rate: ByteRate::new(4 << 10, std::time::Duration::from_secs(1)),
            keepalive_timeout: Duration::from_secs(60),
            keepalive_requests: 10_000,
            max_streams: 100,
            max_event_streams: 100,
        }
    }
}
