//! The configuration as a user types it: the sections, their defaults and their documentation.
//!
//! Data only. `load` reads a file into [`Config`] with every error of it at once, `check` holds the rules that cross
//! sections, `env` replaces `${NAME}`. What a request needs is compiled from this in `route`.

pub mod check;
mod de;
pub mod endpoint;
pub mod env;
pub mod error;
mod invalidation;
pub mod key;
pub mod listener;
pub mod load;
mod merge;
mod parse;
mod path;
pub mod pattern;
pub mod process;
mod resolved;
pub mod route;
mod schema;
pub mod stores;
pub mod template;
mod tree;
pub mod upstream;

pub use check::check_files;
pub use endpoint::Endpoint;
pub use error::{Error, Errors};
pub use key::{KeySource, key_parts};
pub use listener::{Direction, Listener, ListenerTls, Protocol, ProxyProtocol};
pub use load::{Loaded, load, load_file, load_with_warnings};
pub use pattern::{PathPattern, Segment};
pub use process::{Access, Admin, Drain, Level, Limits, LogFormat, Logging, Runtime};
pub use route::{Defaults, HeaderChanges, Headers, Jwt, Match, Rewrite, Route};
pub use schema::schema;
pub use stores::{EncryptionKey, Redis, Stores};
pub use template::{Part, PathPart, PathTemplate, Template};
pub use upstream::{HostHeader, Pool, Upstream, UpstreamProtocol, UpstreamTls};

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::policy::redact;

/// The whole file. Routes already hold what `defaults` says: sections merge key by key before they are read.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The process: its threads and its hand-over.
    #[serde(default)]
    pub runtime: Runtime,
    /// The administration listeners.
    #[serde(default)]
    pub admin: Admin,
    /// What is logged, and how.
    #[serde(default)]
    pub logging: Logging,
    /// What never stands in a log line, a trace or an administration answer.
    #[serde(default)]
    pub redaction: redact::Settings,
    /// The way out: what happens between SIGTERM and the end.
    #[serde(default)]
    pub drain: Drain,
    /// Limits of the process and of its client connections.
    #[serde(default)]
    pub limits: Limits,
    /// Where things are kept that outlive a request.
    #[serde(default)]
    pub stores: Stores,
    /// Request headers that say who is asking; never shared, never logged.
    #[serde(default = "default_credentials")]
    pub credentials: Vec<String>,
    /// Where clients connect; at least one.
    #[schemars(length(min = 1))]
    pub listeners: Vec<Listener>,
    /// The applications behind, by name.
    pub upstreams: BTreeMap<String, Upstream>,
    /// What every route starts from; a route's own keys win.
    #[serde(default)]
    pub defaults: Defaults,
    /// Which request goes where. Left out where there is one upstream: one route named `default` that takes everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
}

fn default_credentials() -> Vec<String> {
    ["authorization", "cookie", "x-api-key"].map(String::from).to_vec()
}
