//! `outboard run`: the proxy.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Failure;
use crate::config::{Config, load};
use crate::server::{self, Source};

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration file
    #[arg(short, long, required_unless_present = "upstream", conflicts_with_all = ["listen", "upstream"])]
    config: Option<PathBuf>,
    /// Without a file: where to listen, host:port
    #[arg(long, requires = "upstream", default_value = "0.0.0.0:8080")]
    listen: String,
    /// Without a file: the application, host:port
    #[arg(long)]
    upstream: Option<String>,
    /// Take the listening sockets over from the process that runs (runtime.upgrade_socket)
    #[arg(long, requires = "config")]
    upgrade: bool,
}

/// Runs until the end; blocks.
pub(super) fn run(args: Args) -> Result<(), Failure> {
    let source = match (args.config, args.upstream) {
        (Some(file), _) => Source::File(file),
        (None, upstream) => Source::Given(Box::new(safe_defaults(&args.listen, &upstream.unwrap_or_default())?)),
    };
    Ok(server::run(source, args.upgrade)?)
}

/// What `run --listen A --upstream B` means: the file that says only these two.
fn safe_defaults(listen: &str, upstream: &str) -> Result<Config, Failure> {
    let section = |key: &str, value: serde_json::Value| BTreeMap::from([(key.to_owned(), value)]);
    let file = serde_json::json!({
        "listeners": [{ "name": "inbound", "address": listen, "direction": "inbound" }],
        "upstreams": section("app", serde_json::json!({ "endpoints": [upstream] })),
    });
    // JSON is YAML, and goes through every check that a file goes through.
    load(&file.to_string(), "command line", &|_| None).map_err(|e| Failure::Start(server::StartError::Config(e)))
}
