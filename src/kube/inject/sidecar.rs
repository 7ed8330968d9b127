//! The sidecar's container and its volumes. It passes the `restricted` Pod Security Standard, and has no token of the pod's
//! service account.

use serde_json::{Map, Value, json};

use super::app::App;
use super::configuration::DEFAULT;
use super::records::Folder;
use super::{PROBES_PORT, Wish};
use crate::kube::annotations::{Configuration as Given, Mode, PREFIX};
use crate::kube::pod::{self, SIDECAR};
use crate::kube::status::Status;

/// The volumes: its configuration, its runtime folder, nothing where a token would be, and a folder for records that end
/// with the pod.
pub(in crate::kube) const VOLUMES: [&str; 4] =
    ["outboard-config", "outboard-run", "outboard-no-token", "outboard-data-dir"];

/// The label of pods that have the sidecar.
pub(in crate::kube) const LABEL: &str = "outboard.dev/injected";

/// Where its configuration is.
pub(super) const FOLDER: &str = "/etc/outboard";
/// Where its secrets are: in a folder of their own, for nothing can be mounted inside a volume that is read-only.
pub(super) const SECRETS: &str = "/secrets";
const FILE: &str = "/etc/outboard/outboard.yaml";
const RUN: &str = "/run/outboard";
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// What in the container is the sidecar's own: the binary, and what is mounted.
pub(super) const OWN: [&str; 5] = ["/outboard", FOLDER, SECRETS, RUN, TOKEN];

/// The user that it runs as, and its group.
pub(super) const USER: u32 = 65_532;

/// What it is made of.
pub(super) struct Sidecar<'a> {
    pub(super) wish: &'a Wish,
    pub(super) app: &'a App,
    pub(super) mode: Mode,
    pub(super) image: &'a str,
    /// The name of the port that it listens at.
    pub(super) port_name: &'a str,
    /// The folder that it may write to.
    pub(super) folder: Option<&'a Folder>,
}

impl Sidecar<'_> {
    /// Puts it into a pod.
    pub(super) fn put(&self, pod: &mut Value, status: &mut Status) {
        let spec = &mut pod["spec"];
        let key = match self.mode {
            Mode::Native => "initContainers",
            // Before the others, so that its postStart keeps them waiting until it is there.
            Mode::Classic => "containers",
        };
        pod::list_mut(spec, key).insert(0, container(self));
        pod::list_mut(spec, "volumes").extend(volumes(self));
        annotate(pod, self.wish, self.app, self.mode, status);
    }
}

/// Says on the pod what reads it there: the configuration, a scraper, kubectl.
fn annotate(pod: &mut Value, wish: &Wish, app: &App, mode: Mode, status: &mut Status) {
    let mut added = Vec::new();
    if wish.config == Given::Default {
        added.push((format!("{PREFIX}config"), DEFAULT.to_owned()));
    }
    let present = pod::annotations(pod);
    if wish.scrape && !present.keys().any(|name| name.starts_with("prometheus.io/")) {
        let port = PROBES_PORT.to_string();
        for (name, value) in [("scrape", "true"), ("port", port.as_str()), ("path", "/metrics")] {
            added.push((format!("prometheus.io/{name}"), value.to_owned()));
        }
    }
    let default = "kubectl.kubernetes.io/default-container";
    if mode == Mode::Classic && !present.contains_key(default) {
        added.push((default.to_owned(), app.container.clone()));
    }
    if pod.get("metadata").is_none_or(|metadata| !metadata.is_object()) {
        pod["metadata"] = json!({});
    }
    // By it a PodMonitor and a NetworkPolicy find the pod.
    pod::map_mut(&mut pod["metadata"], "labels").insert(LABEL.into(), "true".into());
    let annotations = pod::map_mut(&mut pod["metadata"], "annotations");
    for (name, value) in added {
        annotations.insert(name.clone(), value.into());
        status.annotations.push(name);
    }
}

fn container(sidecar: &Sidecar<'_>) -> Value {
    let Sidecar { wish, app, mode, image, port_name, folder } = *sidecar;
    let mut env = vec![
        json!({ "name": "APP_PORT", "value": app.port.to_string() }),
        json!({ "name": "OUTBOARD_PORT", "value": wish.port.to_string() }),
        // The commands of the probes and hooks find the administration by it.
        json!({ "name": "OUTBOARD_CONFIG", "value": FILE }),
    ];
    if let Some(level) = &wish.log_level {
        env.push(json!({ "name": "LOG_LEVEL", "value": level }));
    }
    let mut container = Map::new();
    let mut set = |key: &str, value: Value| {
        container.insert(key.to_owned(), value);
    };
    set("name", json!(SIDECAR));
    set("image", json!(image));
    set("imagePullPolicy", json!("IfNotPresent"));
    set("args", json!(["run", "--config", FILE]));
    if mode == Mode::Native {
        set("restartPolicy", json!("Always"));
    }
    set("env", json!(env));
    set(
        "ports",
        json!([
            { "name": port_name, "containerPort": wish.port, "protocol": "TCP" },
            { "name": "outboard-probes", "containerPort": PROBES_PORT, "protocol": "TCP" },
        ]),
    );
    set("resources", wish.resources.clone());
    // Nothing waits for it before it is ready: native, the kubelet by this probe; classic, by the hook below.
    set(
        "startupProbe",
        json!({
            "exec": { "command": ["/outboard", "health"] },
            "periodSeconds": 1, "timeoutSeconds": 2, "failureThreshold": 60,
        }),
    );
    set(
        "readinessProbe",
        json!({
            "httpGet": { "path": "/readyz", "port": PROBES_PORT },
            "periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 1,
        }),
    );
    set(
        "livenessProbe",
        json!({
            "httpGet": { "path": "/livez", "port": PROBES_PORT },
            "periodSeconds": 10, "timeoutSeconds": 2, "failureThreshold": 3,
        }),
    );
    let pre_stop = json!({ "exec": { "command": ["/outboard", "drain", "--wait"] } });
    set(
        "lifecycle",
        match mode {
            Mode::Native => json!({ "preStop": pre_stop }),
            Mode::Classic => json!({
                "postStart": { "exec": { "command": ["/outboard", "health", "--wait", "60s"] } },
                "preStop": pre_stop,
            }),
        },
    );
    set(
        "securityContext",
        json!({
            "runAsNonRoot": true, "runAsUser": USER, "runAsGroup": USER,
            "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
            "capabilities": { "drop": ["ALL"] },
            "seccompProfile": { "type": "RuntimeDefault" },
        }),
    );
    let mut mounts = vec![
        json!({ "name": VOLUMES[0], "mountPath": FOLDER, "readOnly": true }),
        json!({ "name": VOLUMES[1], "mountPath": RUN }),
        json!({ "name": VOLUMES[2], "mountPath": TOKEN, "readOnly": true }),
    ];
    // The root is read-only: without a mount the sidecar could not make the folder of its records, and would not start.
    if let Some(folder) = folder {
        mounts.push(json!({ "name": folder.volume.as_deref().unwrap_or(VOLUMES[3]), "mountPath": folder.path }));
    }
    // Whole and not by subPath, so that a Secret that changes is seen.
    if let Some(volume) = &wish.secret_volume {
        mounts.push(json!({ "name": volume, "mountPath": SECRETS, "readOnly": true }));
    }
    set("volumeMounts", json!(mounts));
    // What the log line of an ended container is taken from, where it said nothing itself.
    set("terminationMessagePolicy", json!("FallbackToLogsOnError"));
    Value::Object(container)
}

fn volumes(sidecar: &Sidecar<'_>) -> Vec<Value> {
    let source = match &sidecar.wish.config {
        Given::ConfigMap(name) => json!({ "name": VOLUMES[0], "configMap": { "name": name } }),
        // The annotation as a file: it is there wherever the pod is, and a change of it is seen.
        Given::Default | Given::Inline(_) => json!({ "name": VOLUMES[0], "downwardAPI": { "items": [
            { "path": "outboard.yaml", "fieldRef": { "fieldPath": format!("metadata.annotations['{PREFIX}config']") } },
        ] } }),
    };
    let mut volumes = vec![
        source,
        json!({ "name": VOLUMES[1], "emptyDir": { "medium": "Memory", "sizeLimit": "1Mi" } }),
        json!({ "name": VOLUMES[2], "emptyDir": {} }),
    ];
    if sidecar.folder.is_some_and(|folder| folder.volume.is_none()) {
        volumes.push(json!({ "name": VOLUMES[3], "emptyDir": {} }));
    }
    volumes
}
