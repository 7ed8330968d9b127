//! `outboard demo`: a sample payment API, the same seeded traffic sent to it directly and through the proxy, and what
//! was measured of both.
//!
//! In reading order: `api` is the application, `plan` what is sent to it, `load` sends it, `check` holds every answer
//! against what was written, `cache` reads the proxy's metrics, `overhead` measures what one request costs, `report`
//! prints. Nothing here knows how the proxy is started: its address and its metrics are enough.

mod api;
mod cache;
mod check;
mod client;
mod latency;
mod load;
mod overhead;
mod plan;
mod report;
mod zipf;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

pub use self::api::{Api, Counters, Endpoint};
pub use self::cache::CacheCount;
pub use self::load::{Progress, Report};
pub use self::overhead::Overhead;
pub use self::plan::{Kind, Plan};
pub use self::report::{Comparison, Part, Side};

use self::check::Known;
use self::plan::Step;

/// How the demonstration is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// It ends by itself, after about so long; without it, it stays up until it is interrupted.
    pub for_: Option<Duration>,
    /// Of the rows and the requests.
    pub seed: u64,
    /// Clients at once.
    pub clients: usize,
    /// A round trip to the sample application's database.
    pub db_latency: Duration,
    /// Print JSON and nothing else.
    pub json: bool,
    /// Rewrite a line to show progress: the output is a terminal.
    pub live: bool,
}

impl Default for Options {
    fn default() -> Self {
        let db_latency = Duration::from_millis(10);
        Options { for_: None, seed: 42, clients: 64, db_latency, json: false, live: false }
    }
}

impl Options {
    /// The loads together, when nothing else is said.
    const USUALLY: Duration = Duration::from_secs(60);

    /// A part of the time. They come to 0.97: what is in flight at the end of each part is waited for.
    fn share(&self, part: f64) -> Duration {
        self.for_.unwrap_or(Self::USUALLY).mul_f64(part)
    }

    /// Until then the payment page of each merchant was read, or not: with less time the cache is colder.
    fn warm_up(&self) -> Duration {
        self.share(0.12)
    }

    fn saturated(&self) -> Duration {
        self.share(0.10)
    }

    /// The longest part, for the sake of its writes: at half load there are three a second.
    fn half(&self) -> Duration {
        self.share(0.25)
    }

    fn one_request(&self) -> Duration {
        self.share(0.03).min(Duration::from_secs(2))
    }
}

/// What the demonstration has to know of the proxy.
pub struct Proxy<'a> {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where its administration listens.
    pub admin: Option<SocketAddr>,
    /// Its metrics as text, as they are when this is called.
    pub metrics: &'a (dyn Fn() -> String + Send + Sync),
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
    /// It was told to end before it had measured.
    #[error("stopped before everything was measured")]
    Stopped,
    /// An answer lacked a write that was answered before, or was another merchant's.
    #[error("expected every answer to be right, got stale reads or answers of another merchant")]
    Incorrect,
    /// The report cannot be written.
    #[error("cannot write the report")]
    Output(#[from] io::Error),
}

/// Starts the sample API on a listener. `Api::stop` ends it and removes its files.
pub async fn serve_api(listener: TcpListener, options: &Options) -> Result<Api, Error> {
    Api::serve(listener, options.db_latency, options.seed).await
}

/// Sends the same traffic to the API directly and through the proxy, and prints what was measured. The proxy has to be
/// new: what it kept of other rows would be stale. Without a bound it also prints how a person can try both; it is for
/// the caller to keep them up.
pub async fn measure(
    api: &Api,
    proxy: &Proxy<'_>,
    options: &Options,
    out: &mut (dyn Write + Send),
) -> Result<Comparison, Error> {
    let plan = Plan { seed: options.seed, clients: options.clients };
    if !options.json {
        let seconds = options.share(1.0).as_secs_f64();
        writeln!(
            out,
            "The same traffic to a sample payment API, directly and through outboard: about {seconds:.0} s."
        )?;
        out.flush()?;
    }
    let none = String::new;
    let direct = Run { name: "direct", target: api.address(), metrics: &none, api, plan, options };
    let (direct, half_rate) = direct.side(None, out).await?;
    let proxied = Run { name: "outboard", target: proxy.address, metrics: proxy.metrics, api, plan, options };
    let (proxied, half_rate) = proxied.side(Some(half_rate), out).await?;
    let overhead = overhead::measure(api.address(), proxy.address, options.one_request()).await;
    let comparison = Comparison { plan, db_latency: options.db_latency, half_rate, direct, proxied, overhead };
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

/// The loads of one side.
struct Run<'a> {
    name: &'a str,
    target: SocketAddr,
    metrics: &'a (dyn Fn() -> String + Send + Sync),
    api: &'a Api,
    plan: Plan,
    options: &'a Options,
}

impl Run<'_> {
    /// All of them, on the rows as they were at the start. Half the rate is measured here unless it is known.
    async fn side(&self, half_rate: Option<f64>, out: &mut (dyn Write + Send)) -> Result<(Side, f64), Error> {
        self.api.reset().await?;
        let (known, options, plan) = (Arc::new(Known::new()), self.options, &self.plan);
        let warm_up = self.part("warm-up", plan.warm_up(), options.warm_up(), &known, out).await?;
        let saturated = self.part("saturation", plan.saturating(), options.saturated(), &known, out).await?;
        let half_rate = half_rate.unwrap_or(saturated.throughput() / 2.0);
        let half = self.part("half load", plan.paced(half_rate), options.half(), &known, out).await?;
        Ok((Side { warm_up, saturated, half }, half_rate))
    }

    async fn part(
        &self,
        part: &str,
        steps: impl Iterator<Item = Step> + Send + 'static,
        duration: Duration,
        known: &Arc<Known>,
        out: &mut (dyn Write + Send),
    ) -> Result<Part, Error> {
        let name = format!("{}, {part}", self.name);
        let before = (self.api.counters().queries, CacheCount::of(&(self.metrics)()));
        let load = load::run(self.target, self.plan.clients, steps, duration, known, |progress| {
            // A line of progress that cannot be written is not worth an end.
            if self.options.live && !self.options.json {
                let _ = show(&name, progress, out);
            }
        })
        .await;
        let queries = self.api.counters().queries - before.0;
        let cache = CacheCount::of(&(self.metrics)()).since(&before.1);
        if !self.options.json {
            let (begin, end) = if self.options.live { ("\r", "\x1b[K") } else { ("", "") };
            let (requests, seconds) = (load.requests(), load.elapsed.as_secs_f64());
            writeln!(out, "{begin}{name:<22}{requests:>7} requests in {seconds:.1} s, {} errors{end}", load.errors())?;
            out.flush()?;
        }
        Ok(Part { load, queries, cache })
    }
}

fn show(name: &str, p: Progress, out: &mut (dyn Write + Send)) -> io::Result<()> {
    const WIDTH: usize = 30;
    let done = p.elapsed.as_secs_f64() / p.duration.as_secs_f64().max(1e-9);
    let full = ((done * WIDTH as f64) as usize).min(WIDTH);
    let bar = format!("{}{}", "#".repeat(full), ".".repeat(WIDTH - full));
    write!(out, "\r{name:<22}[{bar}] {:>7} requests, {} errors\x1b[K", p.requests, p.errors)?;
    out.flush()
}

/// What to type to try both.
fn invite(api: SocketAddr, proxy: &Proxy<'_>, out: &mut (dyn Write + Send)) -> io::Result<()> {
    let body = r#"{"amount":1999,"currency":"EUR","merchant_id":"mer_0001","payment_method":{"type":"card","brand":"visa","last4":"4242"}}"#;
    for (name, address) in [("directly", api), ("through outboard", proxy.address)] {
        writeln!(out, "\n{name}: create a payment, read one, list a merchant's")?;
        writeln!(out, "  curl -i http://{address}/v1/payments -H 'content-type: application/json' -d '{body}'")?;
        writeln!(out, "  curl -i http://{address}/v1/payments/pay_000001")?;
        writeln!(out, "  curl -i 'http://{address}/v1/payments?limit=5' -H 'x-merchant-id: mer_0001'")?;
    }
    if let Some(admin) = proxy.admin {
        writeln!(out, "\nwhat outboard counts\n  curl -s http://{admin}/metrics")?;
    }
    writeln!(out, "\nBoth stay up; Ctrl-C ends them.")
}

#[cfg(test)]
mod tests;
