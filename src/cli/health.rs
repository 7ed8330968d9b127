//! `outboard health`: asks the running proxy whether it is ready.

use std::time::Duration;

use super::Failure;
use super::remote::{Remote, block_on};

/// Arguments of `health`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    remote: Remote,
    /// Ask whether it lives, instead of whether it is ready
    #[arg(long)]
    live: bool,
}

/// Exit 0: yes.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let client = args.remote.client(false, Duration::from_secs(2))?;
    let path = if args.live { "/livez" } else { "/readyz" };
    let answer = block_on(client.get(path))?.map_err(|e| Failure::Remote(e.to_string()))?;
    if answer.status.is_success() {
        return Ok(());
    }
    Err(Failure::Remote(format!(
        "{path} says {}: {}",
        answer.status.as_u16(),
        String::from_utf8_lossy(&answer.body).trim()
    )))
}
