//! `outboard purge`: ends stored answers of the running proxy.

use std::io::Write;
use std::time::Duration;

use super::Failure;
use super::remote::{Remote, block_on};
use crate::admin::{Purge, PurgeOrder};

/// Arguments of `purge`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    what: What,
    /// Mark it as stale instead of taking it away: what may be served stale still is, while it is fetched anew
    #[arg(long)]
    soft: bool,
    #[command(flatten)]
    remote: Remote,
}

/// Exactly one of these.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct What {
    /// `http://host/path?query`, every variant and every credential's copy of it; or `/path`, with any query, of any host
    #[arg(long)]
    url: Option<String>,
    /// Every path that begins so, as it was requested, of any host
    #[arg(long, value_name = "PATH")]
    prefix: Option<String>,
    /// What is filed under this tag
    #[arg(long)]
    tag: Option<String>,
    /// What this route stored
    #[arg(long)]
    route: Option<String>,
    /// Everything
    #[arg(long)]
    all: bool,
}

impl Args {
    fn order(&self) -> PurgeOrder {
        let What { url, prefix, tag, route, all: _ } = &self.what;
        let what = (url.clone().map(Purge::Url))
            .or(prefix.clone().map(Purge::Prefix))
            .or(tag.clone().map(Purge::Tag))
            .or(route.clone().map(Purge::Route))
            // One of them is there: what is left is --all.
            .unwrap_or(Purge::All);
        PurgeOrder { what, soft: self.soft }
    }
}

/// Everything at once takes as long as it takes to drop it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Exit 0: nothing of it is served any more.
pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<(), Failure> {
    let client = args.remote.client(true, PATIENCE)?;
    let order = args.order();
    let answer = block_on(client.post("/cache/purge", &order.to_json()))?;
    let answer = answer.map_err(|e| Failure::Remote(e.to_string()))?;
    if !answer.status.is_success() {
        return Err(Failure::Remote(format!(
            "it said {}: {}",
            answer.status.as_u16(),
            String::from_utf8_lossy(&answer.body).trim()
        )));
    }
    let done = if order.soft { "marked as stale" } else { "purged" };
    writeln!(out, "{done}: {}", order.what)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Cli, Command};
    use super::*;

    fn order(args: &[&str]) -> Result<PurgeOrder, clap::error::ErrorKind> {
        let cli = Cli::try_parse_from(["outboard", "purge"].iter().chain(args)).map_err(|e| e.kind())?;
        match cli.command {
            Command::Purge(args) => Ok(args.order()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn exactly_one_thing_is_named() {
        use clap::error::ErrorKind::{ArgumentConflict, MissingRequiredArgument};
        for (args, what) in [
            (["--url", "http://a.test/v1?x"].as_slice(), Purge::Url("http://a.test/v1?x".into())),
            (&["--prefix", "/v1/"], Purge::Prefix("/v1/".into())),
            (&["--tag", "payments:mer_1"], Purge::Tag("payments:mer_1".into())),
            (&["--route=list"], Purge::Route("list".into())),
            (&["--all"], Purge::All),
        ] {
            assert_eq!(order(args), Ok(PurgeOrder { what: what.clone(), soft: false }));
            assert_eq!(order(&[args, &["--soft"]].concat()), Ok(PurgeOrder { what, soft: true }));
        }
        assert_eq!(order(&[]), Err(MissingRequiredArgument));
        assert_eq!(order(&["--soft"]), Err(MissingRequiredArgument));
        assert_eq!(order(&["--all", "--tag", "a"]), Err(ArgumentConflict));
        assert_eq!(order(&["--url", "/a", "--prefix", "/a"]), Err(ArgumentConflict));
        assert_eq!(order(&["--tag", "a", "--tag", "b"]), Err(ArgumentConflict));
    }
}
