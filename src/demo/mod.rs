//! `outboard demo`: a sample payment API, the same seeded traffic sent to it directly and through the proxy, and what
//! was measured of both.
//!
//! In reading order: `api` is the application, `plan` what is sent to it, `load` sends it, `overhead` measures what
//! one request costs, `report` prints. Nothing here knows how the proxy is started: its address is enough.

mod api;
mod client;
mod load;
mod overhead;
mod plan;
mod report;
mod zipf;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::TcpListener;

pub use self::api::{Api, Counters, Endpoint};
pub use self::load::{Progress, Report};
pub use self::overhead::Overhead;
pub use self::plan::{Kind, Plan};
pub use self::report::{Comparison, Side};

/// How the demonstration is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The whole of it takes at most so long; without it, it stays up until it is interrupted.
    pub for_: Option<Duration>,
    /// Of the rows and the requests.
    pub seed: u64,
    /// Clients at once.
    pub clients: usize,
    /// The least time of a query of the sample application.
    pub db_latency: Duration,
    /// Print JSON and nothing else.
    pub json: bool,
    /// Rewrite a line to show progress: the output is a terminal.
    pub live: bool,
}

impl Default for Options {
    fn default() -> Self {
        let db_latency = Duration::from_millis(15);
        Options { for_: None, seed: 42, clients: 32, db_latency, json: false, live: false }
    }
}

impl Options {
    /// How long each half is measured.
    fn half(&self) -> Duration {
        self.for_.map_or(Duration::from_secs(10), |all| all.mul_f64(0.35))
    }

    /// How long the cost of one request is measured.
    fn tail(&self) -> Duration {
        self.for_.map_or(Duration::from_secs(2), |all| all.mul_f64(0.1)).min(Duration::from_secs(2))
    }
}

/// What the demonstration has to know of the proxy.
pub struct Proxy<'a> {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where its administration listens.
    pub admin: Option<SocketAddr>,
    /// Its own metrics, by name, as they are when this is called.
    pub metrics: &'a (dyn Fn() -> Vec<(String, String)> + Send + Sync),
}

/// Why the demonstration could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The listener of the sample application cannot be used.
    #[error("cannot use the listener of the sample application")]
    Listener(#[source] io::Error),
    /// No folder for its database.
    #[error("cannot create {}", path.display())]
    Folder {
        /// What was to be created.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Its database refused a statement.
    #[error("the sample application's database failed")]
    Database(#[from] rusqlite::Error),
    /// Its database was closed.
    #[error("the sample application's database is closed")]
    Closed,
    /// A thread of it broke down.
    #[error("a task of the sample application broke down")]
    Task(#[from] tokio::task::JoinError),
    /// The report cannot be written.
    #[error("cannot write the report")]
    Output(#[from] io::Error),
}

/// Starts the sample API on a listener. `Api::stop` ends it and removes its files.
pub async fn serve_api(listener: TcpListener, options: &Options) -> Result<Api, Error> {
    Api::serve(listener, options.db_latency, options.seed).await
}

/// Sends the same traffic to the API directly and through the proxy, and prints what was measured. Without a bound it
/// also prints how a person can try both; it is for the caller to keep them up.
pub async fn measure(
    api: &Api,
    proxy: &Proxy<'_>,
    options: &Options,
    out: &mut (dyn Write + Send),
) -> Result<Comparison, Error> {
    let plan = Plan { seed: options.seed, clients: options.clients, duration: options.half() };
    let direct = half("direct", api.address(), api, &plan, options, out).await?;
    let proxied = half("through outboard", proxy.address, api, &plan, options, out).await?;
    let overhead = overhead::measure(api.address(), proxy.address, options.tail()).await;
    let metrics = (proxy.metrics)();
    let comparison = Comparison { plan, db_latency: options.db_latency, direct, proxied, overhead, metrics };
    if options.json {
        writeln!(out, "{:#}", comparison.to_json())?;
    } else {
        comparison.print(out)?;
        if options.for_.is_none() {
            invite(api.address(), proxy, out)?;
        }
    }
    out.flush()?;
    Ok(comparison)
}

/// One half, on the rows as they were at the start.
async fn half(
    name: &str,
    target: SocketAddr,
    api: &Api,
    plan: &Plan,
    options: &Options,
    out: &mut (dyn Write + Send),
) -> Result<Side, Error> {
    api.reset().await?;
    let before = api.counters().queries;
    let load = load::run(target, plan, |progress| {
        // A line of progress that cannot be written is not worth an end.
        if options.live && !options.json {
            let _ = show(name, progress, out);
        }
    })
    .await;
    let queries = api.counters().queries - before;
    if !options.json {
        let (begin, end) = if options.live { ("\r", "\x1b[K") } else { ("", "") };
        let (requests, seconds) = (load.requests(), load.elapsed.as_secs_f64());
        writeln!(out, "{begin}{name:<18}{requests:>7} requests in {seconds:.1} s, {} errors{end}", load.errors())?;
        out.flush()?;
    }
    Ok(Side { load, queries })
}

fn show(name: &str, p: Progress, out: &mut (dyn Write + Send)) -> io::Result<()> {
    const WIDTH: usize = 30;
    let done = p.elapsed.as_secs_f64() / p.duration.as_secs_f64().max(1e-9);
    let full = ((done * WIDTH as f64) as usize).min(WIDTH);
    let bar = format!("{}{}", "#".repeat(full), ".".repeat(WIDTH - full));
    write!(out, "\r{name:<18}[{bar}] {:>7} requests, {} errors\x1b[K", p.requests, p.errors)?;
    out.flush()
}

/// What to type to try both.
fn invite(api: SocketAddr, proxy: &Proxy<'_>, out: &mut (dyn Write + Send)) -> io::Result<()> {
    let body = r#"{"amount":1999,"currency":"EUR","merchant_id":"mer_0001","payment_method":{"type":"card","brand":"visa","last4":"4242"}}"#;
    for (name, address) in [("directly", api), ("through outboard", proxy.address)] {
        writeln!(out, "\n{name}: create a payment, read one, list a merchant's")?;
        writeln!(out, "  curl -i http://{address}/v1/payments -H 'content-type: application/json' -d '{body}'")?;
        writeln!(out, "  curl -i http://{address}/v1/payments/pay_000001")?;
        writeln!(out, "  curl -i 'http://{address}/v1/payments?merchant_id=mer_0001&limit=5'")?;
    }
    if let Some(admin) = proxy.admin {
        writeln!(out, "\nwhat outboard counts\n  curl -s http://{admin}/metrics")?;
    }
    writeln!(out, "\nBoth stay up; Ctrl-C ends them.")
}

#[cfg(test)]
mod tests;
