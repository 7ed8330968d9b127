//! The annotations of a pod, and what they mean. One table: what reads them and what documents them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::version::Version;

/// What all of them begin with.
pub const PREFIX: &str = "outboard.dev/";

/// One of them, for the documentation.
#[derive(Debug)]
pub struct Annotation {
    /// Its name behind the prefix.
    pub name: &'static str,
    /// What may be written.
    pub value: &'static str,
    /// What it is when left out.
    pub default: &'static str,
    /// What it does.
    pub about: &'static str,
}

const fn row(name: &'static str, value: &'static str, default: &'static str, about: &'static str) -> Annotation {
    Annotation { name, value, default, about }
}

/// All that are read.
pub const ALL: &[Annotation] = &[
    row("inject", "`enabled`, `disabled`", "`disabled`", "Whether the pod gets the sidecar."),
    row(
        "app-port",
        "a port's name or number",
        "the only port, or the one named `http`",
        "The port of the application that the sidecar takes over.",
    ),
    row("app-container", "a container's name", "the one that has the port", "The container the application is in."),
    row(
        "config",
        "a ConfigMap's name, or YAML",
        "forwards, compresses, retries what does no harm twice",
        "The configuration: key `outboard.yaml` of a ConfigMap, or the text itself. `${APP_PORT}` and `${OUTBOARD_PORT}` are set.",
    ),
    row(
        "data-volume",
        "a volume's name",
        "an emptyDir where `stores.data_dir` is set",
        "The volume that `stores.data_dir` is on, mounted at the folder above it: one of the pod's, or a volumeClaimTemplate of its StatefulSet.",
    ),
    row(
        "secret-volume",
        "a volume's name",
        "none",
        "The volume with the files that the configuration names (keys, tokens, certificates): one of the pod's that is a secret, projected or csi, mounted read-only at `/secrets`, into the sidecar alone.",
    ),
    row(
        "idempotency-local",
        "`i-run-one-replica`",
        "refused where records may be missed",
        "Lets routes keep idempotency records with `store: local` where a retry may reach another pod, or one that began without them.",
    ),
    row("port", "a number", "`15080`", "Where the sidecar listens."),
    row("image", "an image", "that of the injector", "The sidecar's image."),
    row(
        "mode",
        "`native`, `classic`",
        "native from 1.32 on and for Jobs, else classic",
        "An init container that goes on running, or a container beside the application's.",
    ),
    row("cpu-request", "a quantity", "`50m`", "CPU the sidecar asks for."),
    row("cpu-limit", "a quantity", "none", "CPU it may use at most. A limit delays requests whenever it is met."),
    row("memory-request", "a quantity", "`64Mi`", "Memory it asks for."),
    row(
        "memory-limit",
        "a quantity",
        "`192Mi`",
        "Memory it may use at most: `outboard check` says what a configuration takes.",
    ),
    row(
        "log-level",
        "`error`, `warn`, `info`, `debug`",
        "`info`",
        "For a configuration that says `level: ${LOG_LEVEL:-info}`.",
    ),
    row(
        "drain-delay",
        "seconds, such as `5s`",
        "what the configuration says, else `5s`",
        "How long requests still come; the application sleeps a second longer before it is stopped. For a ConfigMap that the injector cannot read.",
    ),
    row(
        "drain-timeout",
        "seconds, such as `21s`",
        "what the configuration says, else `21s`",
        "What terminationGracePeriodSeconds must allow; for a ConfigMap that the injector cannot read.",
    ),
    row(
        "app-sleep",
        "`enabled`, `disabled`",
        "`enabled`",
        "Whether the application is told to sleep while requests drain.",
    ),
    row(
        "scrape",
        "`enabled`, `disabled`",
        "`enabled`",
        "Whether the pod gets `prometheus.io/` annotations for the sidecar.",
    ),
    row(
        "on-failure",
        "`refuse`, `ignore`",
        "that of the namespace, else `refuse`",
        "What becomes of a pod that cannot be injected safely: not created, or created as it is.",
    ),
    row("status", "written by outboard", "", "What was done to the pod, so that it can be taken back."),
];

/// How the sidecar stands in the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// An init container with `restartPolicy: Always`: starts before the application, ends after it.
    Native,
    /// A container beside it.
    Classic,
}

impl Mode {
    /// The word of the annotation.
    pub const fn as_str(self) -> &'static str {
        match self {
            Mode::Native => "native",
            Mode::Classic => "classic",
        }
    }
}

/// What becomes of a pod that cannot be injected safely.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// It is not created, and who asked is told why.
    #[default]
    Refuse,
    /// It is created as it is, with a warning.
    Ignore,
}

/// Where the configuration comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Configuration {
    /// The default one.
    Default,
    /// A ConfigMap of this name.
    ConfigMap(String),
    /// This text.
    Inline(String),
}

/// What a pod asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// It asks for the sidecar; none: it says nothing.
    pub inject: Option<bool>,
    /// The application's port, by name or number.
    pub app_port: Option<String>,
    /// The application's container.
    pub app_container: Option<String>,
    /// The configuration.
    pub config: Configuration,
    /// The volume on which the configuration keeps its records.
    pub data_volume: Option<String>,
    /// The volume with the files that the configuration names.
    pub secret_volume: Option<String>,
    /// Its owner says that only one replica runs, for `store: local` where that is not seen.
    pub one_replica: bool,
    /// Where the sidecar listens.
    pub port: u16,
    /// Its image.
    pub image: Option<String>,
    /// How it stands in the pod.
    pub mode: Option<Mode>,
    /// What it asks for and is limited to: `requests` and `limits` of a container.
    pub resources: Value,
    /// Its log level.
    pub log_level: Option<String>,
    /// `drain.delay`, in seconds.
    pub drain_delay: Option<u64>,
    /// `drain.timeout`, in seconds.
    pub drain_timeout: Option<u64>,
    /// The application is told to sleep.
    pub app_sleep: bool,
    /// The pod is annotated for a scraper.
    pub scrape: bool,
    /// What becomes of it where injection fails.
    pub on_failure: Option<OnFailure>,
}

/// The port that the sidecar listens at unless it is told another.
pub const PORT: u16 = 15_080;

/// Reads the annotations of a pod.
///
/// # Errors
/// All that is wrong with them, one sentence each: which annotation, what it says, what it may say.
pub fn read(annotations: &BTreeMap<String, String>) -> Result<Wish, Vec<String>> {
    let mut reader = Reader { annotations, errors: Vec::new() };
    reader.unknown();
    let wish = Wish {
        inject: reader.switch("inject"),
        app_port: reader.text("app-port"),
        app_container: reader.text("app-container"),
        config: reader.config(),
        data_volume: reader.text("data-volume"),
        secret_volume: reader.text("secret-volume"),
        one_replica: reader.word("idempotency-local", &[("i-run-one-replica", true)]).unwrap_or(false),
        port: reader.parsed("port", |port| port.parse().ok().filter(|port| *port > 0)).unwrap_or(PORT),
        image: reader.text("image"),
        mode: reader.word("mode", &[("native", Mode::Native), ("classic", Mode::Classic)]),
        resources: reader.resources(),
        log_level: reader.word("log-level", &["error", "warn", "info", "debug"].map(|level| (level, level.to_owned()))),
        drain_delay: reader.parsed("drain-delay", seconds),
        drain_timeout: reader.parsed("drain-timeout", seconds),
        app_sleep: reader.switch("app-sleep").unwrap_or(true),
        scrape: reader.switch("scrape").unwrap_or(true),
        on_failure: reader.on_failure(),
    };
    if reader.errors.is_empty() { Ok(wish) } else { Err(reader.errors) }
}

/// Whether the annotations ask for the sidecar; none where they say nothing that can be understood.
pub fn asks(annotations: &BTreeMap<String, String>) -> Option<bool> {
    Reader { annotations, errors: Vec::new() }.switch("inject")
}

/// What the annotations say of a pod that cannot be injected.
pub fn on_failure(annotations: &BTreeMap<String, String>) -> Option<OnFailure> {
    Reader { annotations, errors: Vec::new() }.on_failure()
}

struct Reader<'a> {
    annotations: &'a BTreeMap<String, String>,
    errors: Vec<String>,
}

impl Reader<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        let value = self.annotations.get(&format!("{PREFIX}{name}"))?.trim();
        (!value.is_empty()).then_some(value)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    fn parsed<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let value = self.get(name)?.to_owned();
        let parsed = parse(&value);
        if parsed.is_none() {
            let expected = ALL.iter().find(|known| known.name == name).map_or("", |known| known.value);
            self.errors.push(format!("{PREFIX}{name}: expected {}, got {value:?}", expected.replace('`', "")));
        }
        parsed
    }

    fn word<T: Clone>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        self.parsed(name, |value| words.iter().find(|(word, _)| *word == value).map(|(_, meaning)| meaning.clone()))
    }

    fn switch(&mut self, name: &str) -> Option<bool> {
        self.word(name, &[("enabled", true), ("true", true), ("disabled", false), ("false", false)])
    }

    fn on_failure(&mut self) -> Option<OnFailure> {
        self.word("on-failure", &[("refuse", OnFailure::Refuse), ("ignore", OnFailure::Ignore)])
    }

    fn config(&self) -> Configuration {
        match self.get("config") {
            None => Configuration::Default,
            Some(name) if is_name(name) => Configuration::ConfigMap(name.to_owned()),
            Some(text) => Configuration::Inline(text.to_owned()),
        }
    }

    /// `requests` and `limits`. A default gives way where the other one of its pair was written.
    fn resources(&mut self) -> Value {
        let (mut requests, mut limits) = (Map::new(), Map::new());
        for (what, request, limit) in [("cpu", "50m", ""), ("memory", "64Mi", "192Mi")] {
            let mut written = |kind: &str| {
                self.parsed(&format!("{what}-{kind}"), |value| quantity(value).map(|size| (value.to_owned(), size)))
            };
            let default = |text: &str| quantity(text).map(|size| (text.to_owned(), size));
            let (own_request, own_limit) = (written("request"), written("limit"));
            let (request, limit) = match (own_request, own_limit) {
                (Some(request), Some(limit)) if request.1 > limit.1 => {
                    self.errors.push(format!(
                        "{PREFIX}{what}-request: {} is more than {PREFIX}{what}-limit {}",
                        request.0, limit.0
                    ));
                    continue;
                }
                (Some(request), Some(limit)) => (Some(request), Some(limit)),
                (Some(request), None) => {
                    let limit = default(limit).map(|limit| if limit.1 < request.1 { request.clone() } else { limit });
                    (Some(request), limit)
                }
                (None, Some(limit)) => {
                    let request =
                        default(request).map(|request| if request.1 > limit.1 { limit.clone() } else { request });
                    (request, Some(limit))
                }
                (None, None) => (default(request), default(limit)),
            };
            for (of, quantity) in [(&mut requests, request), (&mut limits, limit)] {
                if let Some((text, _)) = quantity {
                    of.insert(what.to_owned(), Value::String(text));
                }
            }
        }
        json!({ "requests": requests, "limits": limits })
    }

    fn unknown(&mut self) {
        for name in self.annotations.keys().filter_map(|name| name.strip_prefix(PREFIX)) {
            if ALL.iter().any(|known| known.name == name) {
                continue;
            }
            let nearest = ALL.iter().max_by(|a, b| strsim::jaro(a.name, name).total_cmp(&strsim::jaro(b.name, name)));
            let nearest = nearest.map_or("", |nearest| nearest.name);
            self.errors.push(format!("{PREFIX}{name}: there is no such annotation; did you mean {PREFIX}{nearest}?"));
        }
    }
}

/// Whole seconds: `5s`, `1m`.
fn seconds(text: &str) -> Option<u64> {
    let time = text.parse::<crate::units::Duration>().ok()?.get();
    Some(time.as_secs() + u64::from(time.subsec_nanos() > 0))
}

/// A name of an object (RFC 1123): it cannot be a configuration, which has a colon.
fn is_name(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    text.len() <= 253 && text.bytes().all(good)
}

/// A quantity as Kubernetes writes it: how much it is; none where it is none, or nothing.
fn quantity(text: &str) -> Option<f64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" => 1.0,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        _ => return None,
    };
    let number: f64 = digits.parse().ok()?;
    (number > 0.0 && number.is_finite()).then_some(number * unit)
}

/// The sidecar's form where neither the pod nor the injector says one.
pub fn default_mode(kubernetes: Version, ends: bool) -> Mode {
    // A container beside a Job's would keep it from ever being complete.
    if ends || kubernetes >= Version::NATIVE_PORTS { Mode::Native } else { Mode::Classic }
}
