//! `outboard health`: asks the running proxy whether it is ready.

use std::time::Duration;

use tokio::time::Instant;

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
    /// Wait so long for it
    #[arg(long, value_name = "TIME")]
    wait: Option<crate::units::Duration>,
}

/// How often it is asked while it is waited for.
const PAUSE: Duration = Duration::from_millis(100);

/// Exit 0: yes.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let client = args.remote.client(false, Duration::from_secs(2))?;
    let path = if args.live { "/livez" } else { "/readyz" };
    block_on(async {
        let until = args.wait.map(|wait| Instant::now() + wait.get());
        loop {
            let asked = match client.get(path).await {
                Ok(answer) if answer.status.is_success() => return Ok(()),
                Ok(answer) => {
                    format!("{path} says {}: {}", answer.status.as_u16(), String::from_utf8_lossy(&answer.body).trim())
                }
                Err(e) => e.to_string(),
            };
            if until.is_none_or(|until| Instant::now() >= until) {
                return Err(Failure::Remote(asked));
            }
            tokio::time::sleep(PAUSE).await;
        }
    })?
}
