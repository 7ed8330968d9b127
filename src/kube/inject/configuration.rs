//! The configuration that the sidecar runs with: what it says of ports and of the drain.

use std::path::PathBuf;

use super::app::App;
use super::{PROBES_PORT, Reason, Refused, Wish};
use crate::config::check::{NamedFile, named_files};
use crate::config::{Config, Direction, load_with_warnings};
use crate::kube::annotations::Configuration as Given;

/// What is run where the pod names no configuration.
pub(super) const DEFAULT: &str = "\
admin: { probes: \"0.0.0.0:9902\" }
logging: { level: \"${LOG_LEVEL:-info}\" }
listeners: [{ name: inbound, address: \"0.0.0.0:${OUTBOARD_PORT}\", direction: inbound }]
upstreams: { app: { endpoints: [\"127.0.0.1:${APP_PORT}\"] } }
";

/// `drain.delay` and `drain.timeout` where they cannot be read: their defaults.
const DELAY: u64 = 5;
const TIMEOUT: u64 = 21;

/// What a configuration means for its pod.
#[derive(Debug, Clone)]
pub(super) struct Configuration {
    /// How long inbound traffic still comes, in seconds.
    pub(super) delay: u64,
    /// How long the drain takes at most, in seconds.
    pub(super) timeout: u64,
    /// What it says of records that outlive a request; none where it was not read.
    pub(super) records: Option<Records>,
    /// The files that it names; none where it was not read.
    pub(super) files: Option<Files>,
    /// What its owner should know.
    pub(super) warnings: Vec<String>,
}

/// What a configuration says of the records of idempotency keys.
#[derive(Debug, Clone)]
pub(super) struct Records {
    /// What the configuration is called.
    pub(super) place: String,
    /// A route that keeps them with `store: local`.
    pub(super) local: Option<String>,
    /// The folder that is written to.
    pub(super) data_dir: Option<PathBuf>,
}

/// What a configuration says of files.
#[derive(Debug, Clone)]
pub(super) struct Files {
    /// What the configuration is called.
    pub(super) place: String,
    /// Each file, and the setting that names it.
    pub(super) named: Vec<NamedFile>,
}

/// Reads it, as the sidecar will.
pub(super) fn read(
    wish: &Wish,
    app: &App,
    config_map: &dyn Fn(&str) -> Option<String>,
) -> Result<Configuration, Refused> {
    let (text, place) = match &wish.config {
        Given::Default => (DEFAULT.to_owned(), "the default configuration".to_owned()),
        Given::Inline(text) => (text.clone(), "outboard.dev/config".to_owned()),
        Given::ConfigMap(name) => match config_map(name) {
            Some(text) => (text, format!("ConfigMap {name}")),
            None => return Ok(unread(wish, name)),
        },
    };
    let refused = |message: String| Refused::new(Reason::Configuration, message);
    let variables = |name: &str| match name {
        "APP_PORT" => Some(app.port.to_string()),
        "OUTBOARD_PORT" => Some(wish.port.to_string()),
        "LOG_LEVEL" => wish.log_level.clone(),
        _ => None,
    };
    let loaded = load_with_warnings(&text, &place, &variables).map_err(|errors| refused(errors.to_string()))?;
    ports(&loaded.config, wish, &place)?;
    let seconds = |time: std::time::Duration| time.as_secs() + u64::from(time.subsec_nanos() > 0);
    Ok(Configuration {
        delay: seconds(loaded.config.drain.delay.get()),
        timeout: seconds(loaded.config.drain_timeout()),
        files: Some(Files { place: place.clone(), named: named_files(&loaded.config) }),
        records: Some(Records {
            place,
            local: loaded.config.local_records().map(|route| route.name.clone()),
            data_dir: loaded.config.stores.data_dir.clone(),
        }),
        warnings: loaded.warnings.iter().map(ToString::to_string).collect(),
    })
}

/// A ConfigMap that is not at hand.
fn unread(wish: &Wish, name: &str) -> Configuration {
    let delay = wish.drain_delay.unwrap_or(DELAY);
    let timeout = wish.drain_timeout.unwrap_or(delay + TIMEOUT - DELAY);
    let mut warnings = Vec::new();
    if wish.drain_delay.is_none() || wish.drain_timeout.is_none() {
        warnings.push(format!(
            "ConfigMap {name} was not read: its drain is taken to be {delay} s of delay and {timeout} s in all; where it is \
             not, say so in outboard.dev/drain-delay and outboard.dev/drain-timeout"
        ));
    }
    Configuration { delay, timeout, records: None, files: None, warnings }
}

/// Its ports have to be those that the pod's Services and the kubelet ask.
fn ports(config: &Config, wish: &Wish, place: &str) -> Result<(), Refused> {
    let refused = |message: String| Err(Refused::new(Reason::Configuration, format!("{place}: {message}")));
    let port_of = |address: &str| address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    let mut inbound = config.listeners.iter().filter(|listener| listener.direction() == Direction::Inbound);
    if !inbound.any(|listener| port_of(&listener.address) == Some(wish.port)) {
        return refused(format!(
            "no inbound listener is at port {}, which is what the pod's Services reach; write address: \
             \"0.0.0.0:${{OUTBOARD_PORT}}\", or the listener's port into outboard.dev/port",
            wish.port
        ));
    }
    let probes = config.admin.probes.as_deref();
    if probes.and_then(port_of) != Some(PROBES_PORT) || probes.is_some_and(|address| address.starts_with("127.")) {
        return refused(format!(
            "admin.probes is {}, where the kubelet does not ask; write admin: {{ probes: \"0.0.0.0:{PROBES_PORT}\" }}",
            probes.unwrap_or("not set"),
        ));
    }
    Ok(())
}
