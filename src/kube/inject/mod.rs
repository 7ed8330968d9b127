//! A pod in, a pod out: the sidecar is put beside the application, takes its port over, and both end in order.
//!
//! ```text
//!  asked for? ─ annotations ─ the application and its port ─ the configuration ─ records: do they outlive the pod?
//!                                                                            └─ secrets: are its files there?
//!     └─ takeover: the port's name goes to the sidecar; what referred to it inside the application gets the number
//!     └─ sidecar:  the container and its volumes
//!     └─ shutdown: the application sleeps, the pod has the time that a drain takes
//! ```

mod app;
mod configuration;
mod records;
mod secrets;
pub mod services;
mod shutdown;
mod sidecar;
mod takeover;
mod volumes;

use serde_json::{Value, json};

use super::annotations::{self, Mode, OnFailure, Wish, default_mode};
use super::pod::{self, SIDECAR};
use super::status::{STATUS, Status};
use super::version::Version;
use super::workload::Maker;
use app::App;
use services::Targets;
use sidecar::Sidecar;
pub(super) use sidecar::{LABEL, VOLUMES};
pub(super) use takeover::UNNAMED;

/// What all pods of an injector have in common.
#[derive(Debug, Clone)]
pub struct Injector {
    /// The sidecar's image.
    pub image: String,
    /// The Kubernetes that runs the pods.
    pub kubernetes: Version,
    /// Pods that say nothing get the sidecar as well.
    pub all: bool,
}

/// What is known around a pod.
pub struct Surroundings<'a> {
    /// It comes to an end by itself: a Job's.
    pub ends: bool,
    /// What makes it, and will make it again.
    pub maker: Maker,
    /// The Services that select it; none where they are not known.
    pub services: Option<Targets>,
    /// The Services that reach the port by its number can be changed with the pod.
    pub services_change: bool,
    /// The text of a ConfigMap's `outboard.yaml`; none where it cannot be read.
    pub config_map: &'a dyn Fn(&str) -> Option<String>,
}

/// What became of a pod.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It has the sidecar.
    Injected(Box<Injected>),
    /// It is as it was.
    Left(Left),
}

/// A pod with the sidecar.
#[derive(Debug, Clone, PartialEq)]
pub struct Injected {
    /// The pod, or the template of one.
    pub pod: Value,
    /// What its owner should know.
    pub warnings: Vec<String>,
    /// The application's port, and the name under which the sidecar has it now.
    pub taken: (u16, String),
}

/// Why a pod is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// It did not ask.
    NotAsked,
    /// It said no.
    Declined,
    /// It has the sidecar already.
    Already,
}

impl Left {
    /// The word in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Left::NotAsked => "not_asked",
            Left::Declined => "declined",
            Left::Already => "already",
        }
    }
}

/// Why a pod cannot be injected safely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// An annotation is wrong.
    Annotation,
    /// It uses the node's network.
    HostNetwork,
    /// It is for Windows.
    Windows,
    /// It is not known which port is the application's.
    AppPort,
    /// The port has no name.
    UnnamedPort,
    /// A Service reaches the port by its number.
    NumericTarget,
    /// A port, a volume or a name of the sidecar is in use.
    Conflict,
    /// Its configuration is wrong.
    Configuration,
    /// Its idempotency records would be missed by a retry.
    LocalRecords,
    /// Kubernetes is too old for it.
    Version,
    /// It is no pod.
    Malformed,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 11] = [
        Reason::Annotation,
        Reason::HostNetwork,
        Reason::Windows,
        Reason::AppPort,
        Reason::UnnamedPort,
        Reason::NumericTarget,
        Reason::Conflict,
        Reason::Configuration,
        Reason::LocalRecords,
        Reason::Version,
        Reason::Malformed,
    ];

    /// The word in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::Annotation => "annotation",
            Reason::HostNetwork => "host_network",
            Reason::Windows => "windows",
            Reason::AppPort => "app_port",
            Reason::UnnamedPort => "unnamed_port",
            Reason::NumericTarget => "numeric_target",
            Reason::Conflict => "conflict",
            Reason::Configuration => "configuration",
            Reason::LocalRecords => "local_records",
            Reason::Version => "version",
            Reason::Malformed => "malformed",
        }
    }
}

/// A pod cannot be injected safely.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// The kind of reason.
    pub reason: Reason,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl Refused {
    fn new(reason: Reason, message: impl Into<String>) -> Refused {
        Refused { reason, message: message.into() }
    }
}

/// The ports that the sidecar needs beside the one that it listens at.
const ADMIN_PORT: u16 = 9901;
const PROBES_PORT: u16 = 9902;

/// Puts the sidecar into a pod, or into the template of one.
///
/// # Errors
/// Where that cannot be done safely; the pod is as it was.
pub fn inject(injector: &Injector, around: &Surroundings<'_>, pod: &Value) -> Result<Outcome, Refused> {
    let annotations = pod::annotations(pod);
    match annotations::asks(&annotations) {
        Some(false) => return Ok(Outcome::Left(Left::Declined)),
        // An empty value is what a template leaves of one that was not set.
        None if !injector.all && annotations.get("outboard.dev/inject").is_none_or(|value| value.trim().is_empty()) => {
            return Ok(Outcome::Left(Left::NotAsked));
        }
        _ => {}
    }
    if annotations.contains_key(STATUS) {
        let has_it = |spec| pod::containers(spec).any(|container| pod::text(container, "name") == Some(SIDECAR));
        if pod.get("spec").is_some_and(has_it) {
            return Ok(Outcome::Left(Left::Already));
        }
        return Err(Refused::new(
            Reason::Annotation,
            format!(
                "{STATUS} says that it has the sidecar, and it has none; remove that annotation, it is outboard's own"
            ),
        ));
    }
    let wish = annotations::read(&annotations).map_err(|errors| Refused::new(Reason::Annotation, errors.join("; ")))?;
    let spec = pod.get("spec").filter(|spec| spec.is_object());
    let spec = spec.ok_or_else(|| Refused::new(Reason::Malformed, "it has no spec"))?;
    possible(spec)?;
    let app = App::find(spec, &wish)?;
    // A Job's, and what other controllers run to its end.
    let ends = around.ends || matches!(pod::text(spec, "restartPolicy"), Some("Never" | "OnFailure"));
    let mode = mode(injector, ends, &wish)?;
    free(spec, &wish, &app, &around.maker)?;
    let configuration = configuration::read(&wish, &app, around.config_map)?;
    let mut warnings = configuration.warnings.clone();
    let (maker, files) = (&around.maker, configuration.files.as_ref());
    let folder = records::arrange(spec, &wish, maker, configuration.records.as_ref(), &mut warnings)?;
    secrets::arrange(spec, &wish, maker, files, folder.as_ref(), &mut warnings)?;

    let mut changed = pod.clone();
    let mut status = Status { mode: mode.as_str().into(), ..Status::default() };
    let name = takeover::take(&mut changed["spec"], &app, around, &mut status, &mut warnings)?;
    let image = wish.image.as_deref().unwrap_or(&injector.image);
    let sidecar = Sidecar { wish: &wish, app: &app, mode, image, port_name: &name, folder: folder.as_ref() };
    sidecar.put(&mut changed, &mut status);
    shutdown::arrange(&mut changed["spec"], injector, &wish, &app, &configuration, &mut status, &mut warnings);
    let status = serde_json::to_string(&status).map_err(|e| Refused::new(Reason::Malformed, e.to_string()))?;
    let metadata = changed.get_mut("metadata");
    if let Some(metadata) = metadata {
        pod::map_mut(metadata, "annotations").insert(STATUS.into(), json!(status));
    }
    Ok(Outcome::Injected(Box::new(Injected { pod: changed, warnings, taken: (app.port, name) })))
}

/// What an object's annotations, a pod's or its namespace's, say of a pod that cannot be injected.
pub fn on_failure(object: &Value) -> Option<OnFailure> {
    annotations::on_failure(&pod::annotations(object))
}

/// What no sidecar can be put into.
fn possible(spec: &Value) -> Result<(), Refused> {
    if spec.get("hostNetwork").and_then(Value::as_bool) == Some(true) {
        return Err(Refused::new(
            Reason::HostNetwork,
            "it uses hostNetwork: every pod of the node would share the sidecar's ports, and whoever reaches the node the \
             application; run outboard there as a proxy of its own, or do without hostNetwork",
        ));
    }
    let os = spec.pointer("/os/name").or_else(|| spec.pointer("/nodeSelector/kubernetes.io~1os"));
    if os.and_then(Value::as_str) == Some("windows") {
        return Err(Refused::new(Reason::Windows, "it is for Windows, and outboard's image is for Linux"));
    }
    Ok(())
}

fn mode(injector: &Injector, ends: bool, wish: &Wish) -> Result<Mode, Refused> {
    let mode = wish.mode.unwrap_or_else(|| default_mode(injector.kubernetes, ends));
    let kubernetes = injector.kubernetes;
    match mode {
        Mode::Native if kubernetes < Version::NATIVE => Err(Refused::new(
            Reason::Version,
            format!(
                "Kubernetes {kubernetes} has no native sidecars ({} has); {}",
                Version::NATIVE,
                if ends {
                    "what runs to an end would never end with another container beside it: run it without outboard.dev/inject"
                } else {
                    "write outboard.dev/mode: classic"
                }
            ),
        )),
        Mode::Native if kubernetes < Version::NATIVE_PORTS && !ends => Err(Refused::new(
            Reason::Version,
            format!(
                "in Kubernetes {kubernetes} a Service's named targetPort does not find the port of a native sidecar ({} does): \
                 it would have no endpoints; write outboard.dev/mode: classic",
                Version::NATIVE_PORTS
            ),
        )),
        Mode::Classic if ends => Err(Refused::new(
            Reason::Version,
            "what runs to an end, a Job, never ends with a classic sidecar; leave outboard.dev/mode out",
        )),
        mode => Ok(mode),
    }
}

/// Whether what the sidecar is to have is free.
fn free(spec: &Value, wish: &Wish, app: &App, maker: &Maker) -> Result<(), Refused> {
    let taken = |what: String| Err(Refused::new(Reason::Conflict, what));
    if pod::containers(spec).any(|container| pod::text(container, "name") == Some(SIDECAR)) {
        return taken(format!(
            "a container is called {SIDECAR}, and it was not put there by an injection; rename it, or leave the annotation out"
        ));
    }
    let volumes = pod::list(spec, "volumes").iter().filter_map(|volume| pod::text(volume, "name"));
    let mut volumes = volumes.chain(maker.claims.iter().map(String::as_str));
    if let Some(name) = volumes.find(|name| VOLUMES.contains(name)) {
        return taken(format!("a volume is called {name}, as one of the sidecar's is; rename it"));
    }
    let needed = [("outboard.dev/port", wish.port), ("its administration", ADMIN_PORT), ("its probes", PROBES_PORT)];
    let used = pod::containers(spec).flat_map(|container| pod::list(container, "ports"));
    let used: Vec<u64> =
        used.filter_map(|port| port.get("containerPort")?.as_u64()).chain([u64::from(app.port)]).collect();
    for (what, port) in needed {
        if used.contains(&u64::from(port)) {
            return taken(format!(
                "port {port} is a container's, and the sidecar needs it ({what}){}",
                if port == wish.port { "; write another number into outboard.dev/port" } else { "" }
            ));
        }
    }
    if wish.port == ADMIN_PORT || wish.port == PROBES_PORT {
        return taken(format!("outboard.dev/port is {}, which is the sidecar's own for something else", wish.port));
    }
    Ok(())
}
