//! `outboard demo`: the proxy before a sample payment API, measured side by side.

use std::io::{IsTerminal, Write};

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::Failure;
use crate::config::load;
use crate::demo::{Error, Options, Proxy, measure, serve_api};
use crate::server::{self, Source, StartError};
use crate::units;

/// What the demonstration runs; part of the binary, so that it needs no file.
const CONFIG: &str = include_str!("../../config/demo.yaml");

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// End by itself after about so long; else it measures for about a minute and stays up for you to try
    #[arg(long = "for", value_name = "DURATION")]
    for_: Option<units::Duration>,
    /// Of the rows and the requests: the same seed gives the same traffic
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Clients at once
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// A round trip to the sample application's database
    #[arg(long, value_name = "DURATION", default_value = "10ms")]
    db_latency: units::Duration,
    /// Print JSON and nothing else
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(super) fn run(args: Args) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(demonstrate(args));
    runtime.shutdown_background();
    result
}

async fn demonstrate(args: Args) -> Result<(), Failure> {
    let options = Options {
        for_: args.for_.map(units::Duration::get),
        seed: args.seed,
        clients: args.clients,
        json: args.json,
        db_latency: args.db_latency.get(),
        live: std::io::stdout().is_terminal() && !args.json,
    };
    // The proxy heeds them as well; before it does, they would end this process in the middle.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut told = async || tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let app = listener.local_addr()?;
    let api = serve_api(listener, &options).await?;
    let json = options.json;
    let env = |name: &str| match name {
        // The report and the log share the standard output: a program wants nothing but the report.
        "OUTBOARD_DEMO_LOG" => Some(if json { "off" } else { "warn" }.to_owned()),
        "OUTBOARD_DEMO_ACCESS" => Some((!json).to_string()),
        "OUTBOARD_DEMO_APP" => Some(app.to_string()),
        "OUTBOARD_DEMO_LISTEN" | "OUTBOARD_DEMO_ADMIN" => Some("127.0.0.1:0".to_owned()),
        _ => None,
    };
    let config = load(CONFIG, "demo.yaml", &env).map_err(|e| Failure::Start(StartError::Config(e)))?;
    let running = server::start(Source::Given(Box::new(config)), false).await?;
    let admin = running.admin_address;
    let address = running.addresses.first().and_then(|(_, a)| a.parse().ok());
    let address = address.ok_or_else(|| Failure::Remote("the proxy listens nowhere".to_owned()))?;
    let ender = running.ender();
    let metrics = running.metrics();
    // The proxy drives its control plane on a thread of its own, as it does when it is run.
    let proxy =
        std::thread::Builder::new().name("outboard-control".to_owned()).spawn(move || running.block_until_end())?;
    let shown = || metrics.render();
    let proxied = Proxy { address, admin: Some(admin), metrics: &shown };
    let mut out = std::io::stdout();
    let measured = tokio::select! {
        measured = measure(&api, &proxied, &options, &mut out) => measured,
        () = told() => Err(Error::Stopped),
    };
    if measured.is_ok() && options.for_.is_none() {
        told().await;
    }
    ender.end();
    let _ = tokio::task::spawn_blocking(move || proxy.join()).await;
    let stopped = api.stop().await;
    std::io::stdout().flush()?;
    let comparison = measured?;
    stopped?;
    if comparison.is_correct() { Ok(()) } else { Err(Failure::Demo(Error::Incorrect)) }
}
