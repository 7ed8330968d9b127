//! The examples of `k8s/testdata`, and what must hold for all of them.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::inject::Injector;
use super::manifest::{Done, What, Work, run};
use super::version::Version;
use super::workload;

/// Writes the golden files anew: `OUTBOARD_BLESS=1 cargo test --lib kube`.
const BLESS: &str = "OUTBOARD_BLESS";

fn examples() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("k8s/testdata");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.to_string_lossy().ends_with(".input.yaml"));
    files.sort();
    assert!(files.len() >= 25);
    files.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

fn injector(text: &str) -> Injector {
    let version = text.strip_prefix("# kubernetes: ").and_then(|rest| rest.lines().next());
    let kubernetes = version.map_or(Version::new(1, 34), |version| version.parse().unwrap());
    Injector { image: "outboard:test".into(), kubernetes, all: false }
}

fn inject(text: &str) -> Done {
    run(text, "test", &Work::Inject(injector(text))).unwrap()
}

fn refused(done: &Done) -> bool {
    done.notes.iter().any(|note| matches!(note.what, What::Refused(..)))
}

/// What the command would print: what it says, as comments, and what it writes.
fn told(done: &Done) -> String {
    let mut told = String::new();
    for note in &done.notes {
        let object = &note.object;
        match &note.what {
            What::Injected(warnings) => {
                writeln!(told, "#> {object}: injected").unwrap();
                warnings.iter().for_each(|warning| writeln!(told, "#> {object}: warning: {warning}").unwrap());
            }
            What::Uninjected => writeln!(told, "#> {object}: taken out").unwrap(),
            What::Left(left) => writeln!(told, "#> {object}: left: {}", left.as_str()).unwrap(),
            What::Renamed(name) => writeln!(told, "#> {object}: targetPort {name}").unwrap(),
            What::Ignored(message) => {
                writeln!(told, "#> {object}: ignored: {}", message.replace('\n', "\n#> ")).unwrap()
            }
            What::Refused(reason, message) => {
                writeln!(told, "#> {object}: refused ({}): {}", reason.as_str(), message.replace('\n', "\n#> "))
                    .unwrap();
            }
        }
    }
    if !refused(done) {
        told.push_str(&done.text);
    }
    told
}

#[test]
fn examples_become_what_their_golden_files_say() {
    let mut different = Vec::new();
    for (path, text) in examples() {
        let golden = PathBuf::from(path.to_string_lossy().replace(".input.", ".golden."));
        let told = told(&inject(&text));
        if std::env::var_os(BLESS).is_some() {
            std::fs::write(&golden, &told).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        if told != expected {
            different.push(format!("{}:\n{told}", golden.display()));
        }
    }
    assert!(different.is_empty(), "{}\n({BLESS}=1 writes them anew)", different.join("\n"));
}

#[test]
fn what_was_injected_is_injected_to_the_same() {
    for (path, text) in examples() {
        let once = inject(&text);
        if refused(&once) {
            continue;
        }
        let head: String =
            text.lines().take_while(|line| line.starts_with("# kubernetes")).map(|line| format!("{line}\n")).collect();
        let again = if once.text.starts_with(&head) { once.text.clone() } else { format!("{head}{}", once.text) };
        let twice = run(&again, "test", &Work::Inject(injector(&text))).unwrap();
        assert_eq!(twice.text, again, "{}", path.display());
    }
}

fn values(text: &str) -> Vec<Value> {
    super::manifest::values(text)
}

#[test]
fn what_was_injected_can_be_taken_out_again() {
    for (path, text) in examples() {
        let once = inject(&text);
        if refused(&once) {
            continue;
        }
        let back = run(&once.text, "test", &Work::Uninject).unwrap();
        let (before, after) = (values(&text), values(&back.text));
        for (before, after) in before.iter().zip(&after) {
            // A Service may go on reaching the port by its name.
            if workload::is_service(before) || path.ends_with("list.input.yaml") {
                continue;
            }
            assert_eq!(before, after, "{}", path.display());
        }
    }
}

/// As Kubernetes 1.29 knows it: every field is one of its fields, and holds what it may hold.
fn strictly<T: serde::de::DeserializeOwned + serde::Serialize>(object: &Value) -> Result<(), String> {
    let typed: T = serde_json::from_value(object.clone()).map_err(|e| e.to_string())?;
    let known = serde_json::to_value(typed).unwrap();
    lost(object, &known, String::new())
}

/// Where a value has something that another one lacks. What is empty may be left out.
fn lost(value: &Value, known: &Value, place: String) -> Result<(), String> {
    match (value, known) {
        (Value::Object(map), _) => map.iter().try_for_each(|(key, value)| {
            let place = format!("{place}/{key}");
            let empty = value.as_object().is_some_and(serde_json::Map::is_empty)
                || value.as_array().is_some_and(Vec::is_empty)
                || value.is_null();
            match known.get(key) {
                Some(known) => lost(value, known, place),
                None if empty => Ok(()),
                None => Err(format!("{place} is not known")),
            }
        }),
        (Value::Array(list), Value::Array(known)) if list.len() == known.len() => list
            .iter()
            .zip(known)
            .enumerate()
            .try_for_each(|(at, (value, known))| lost(value, known, format!("{place}/{at}"))),
        (value, known) if value == known => Ok(()),
        (value, known) => Err(format!("{place} is {value}, read as {known}")),
    }
}

fn valid(object: &Value) -> Result<(), String> {
    use k8s_openapi::api::{apps::v1 as apps, batch::v1 as batch, core::v1 as core};
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
    match kind {
        "Pod" => strictly::<core::Pod>(object),
        "Service" => strictly::<core::Service>(object),
        "ConfigMap" => strictly::<core::ConfigMap>(object),
        "Deployment" => strictly::<apps::Deployment>(object),
        "StatefulSet" => strictly::<apps::StatefulSet>(object),
        "DaemonSet" => strictly::<apps::DaemonSet>(object),
        "ReplicaSet" => strictly::<apps::ReplicaSet>(object),
        "Job" => strictly::<batch::Job>(object),
        "CronJob" => strictly::<batch::CronJob>(object),
        "List" => object["items"].as_array().unwrap().iter().try_for_each(valid),
        "PaymentRoute" => Ok(()),
        other => Err(format!("a kind that is not looked at: {other}")),
    }
}

#[test]
fn what_is_written_is_what_kubernetes_knows() {
    for (path, text) in examples() {
        let done = inject(&text);
        if !refused(&done) {
            for object in values(&done.text) {
                assert_eq!(valid(&object), Ok(()), "{}", path.display());
            }
        }
    }
}

/// The Pod Security Standard `restricted`, of what is ours: <https://kubernetes.io/docs/concepts/security/pod-security-standards/>
#[test]
fn the_sidecar_passes_the_restricted_standard_and_has_no_token() {
    for (path, text) in examples() {
        for object in values(&inject(&text).text) {
            let Some(kind) = workload::of(&object) else { continue };
            let spec = object.pointer(&format!("{}/spec", kind.pod)).unwrap();
            let Some(sidecar) =
                super::pod::containers(spec).find(|c| c["name"] == "outboard" && c.get("args").is_some())
            else {
                continue;
            };
            let context = &sidecar["securityContext"];
            assert_eq!(context["runAsNonRoot"], true, "{}", path.display());
            assert_eq!(context["allowPrivilegeEscalation"], false);
            assert_eq!(context["readOnlyRootFilesystem"], true);
            assert_eq!(context["capabilities"], serde_json::json!({ "drop": ["ALL"] }));
            assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault");
            let token = "/var/run/secrets/kubernetes.io/serviceaccount";
            let mount =
                sidecar["volumeMounts"].as_array().unwrap().iter().find(|mount| mount["mountPath"] == token).unwrap();
            let volume =
                spec["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == mount["name"]).unwrap();
            assert_eq!(
                volume["emptyDir"],
                serde_json::json!({}),
                "an empty folder stands where a token would be mounted"
            );
        }
    }
}

#[test]
fn what_runs_no_pods_passes_byte_for_byte() {
    for name in ["custom_resource", "opted_out", "not_asked", "host_network_ignored"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("k8s/testdata/{name}.input.yaml"));
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(inject(&text).text, text, "{name}");
    }
}
