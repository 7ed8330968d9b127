//! `outboard drain`: tells the running proxy to leave.

use std::time::Duration;

use serde_json::json;

use super::Failure;
use super::remote::{Remote, block_on};

/// Arguments of `drain`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    remote: Remote,
    /// Return only when no inbound request is in flight any more
    #[arg(long)]
    wait: bool,
    /// End the process afterwards
    #[arg(long)]
    exit: bool,
}

/// The longest that a drain can take to be waited for.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// Exit 0: it drains; with `--wait`: it has drained.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let timeout = if args.wait { PATIENCE } else { Duration::from_secs(5) };
    let client = args.remote.client(true, timeout)?;
    let answer = block_on(client.post("/drain", &json!({ "wait": args.wait, "exit": args.exit })))?;
    let answer = answer.map_err(|e| Failure::Remote(e.to_string()))?;
    if answer.status.is_success() {
        return Ok(());
    }
    Err(Failure::Remote(format!(
        "it said {}: {}",
        answer.status.as_u16(),
        String::from_utf8_lossy(&answer.body).trim()
    )))
}
