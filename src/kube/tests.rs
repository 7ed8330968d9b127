//! The examples of `k8s/testdata`, and what must hold for all of them.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::inject::{Injector, Outcome, Surroundings, inject as inject_pod};
use super::manifest::{Done, What, Work, run};
use super::version::Version;
use super::workload::{self, Maker};

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
            What::Unreachable(port) => writeln!(told, "#> {object}: warning: unreachable by {port}").unwrap(),
            What::Unread(why) => writeln!(told, "#> {object}: unread: {why}").unwrap(),
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
            // The status of nothing goes.
            let leaves = ["list.input.yaml", "status_without_sidecar.input.yaml"];
            if workload::is_service(before) || leaves.iter().any(|name| path.ends_with(name)) {
                continue;
            }
            assert_eq!(before, after, "{}", path.display());
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

/// Anything at all where a pod should be, made of the words that are looked for.
fn anything() -> impl Strategy<Value = Value> {
    let words = [
        "metadata",
        "annotations",
        "labels",
        "spec",
        "containers",
        "initContainers",
        "volumes",
        "name",
        "ports",
        "containerPort",
        "protocol",
        "lifecycle",
        "preStop",
        "httpGet",
        "port",
        "readinessProbe",
        "http",
        "app",
        "outboard",
        "outboard.dev/status",
        "outboard.dev/config",
        "outboard.dev/app-port",
        "{\"container\":\"app\"}",
        "terminationGracePeriodSeconds",
        "sleep",
        "seconds",
        "hostNetwork",
        "",
        "8080",
        "a: [b",
        "é\n",
    ];
    let word = prop::sample::select(words.to_vec()).prop_map(str::to_owned);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        prop_oneof![any::<i64>(), 0i64..70_000].prop_map(Value::from),
        word.clone().prop_map(Value::String),
    ];
    leaf.prop_recursive(6, 60, 5, move |inner| {
        let pairs = prop::collection::vec((word.clone(), inner.clone()), 0..5);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::Array),
            pairs.prop_map(|pairs| Value::Object(Map::from_iter(pairs))),
        ]
    })
}

/// A pod that asks, with something else at a place or two.
fn broken_pod() -> impl Strategy<Value = Value> {
    let places = [
        "/metadata",
        "/metadata/annotations",
        "/metadata/labels",
        "/spec",
        "/spec/containers",
        "/spec/containers/0",
        "/spec/containers/0/name",
        "/spec/containers/0/ports",
        "/spec/containers/0/ports/0",
        "/spec/containers/0/ports/0/containerPort",
        "/spec/containers/0/lifecycle",
        "/metadata/ownerReferences",
        "/spec/volumes",
        "/spec/volumes/0/name",
        "/spec/volumes/0/persistentVolumeClaim",
        "/spec/volumes/1",
        "/spec/volumes/1/projected",
        "/spec/volumes/1/projected/sources",
        "/spec/volumes/1/projected/sources/0",
        "/spec/volumes/1/projected/sources/0/secret/items",
        "/spec/initContainers",
        "/spec/terminationGracePeriodSeconds",
        "/spec/containers/0/readinessProbe",
    ];
    let broken = prop::collection::vec((prop::sample::select(places.to_vec()), anything()), 0..3);
    (broken, any::<bool>()).prop_map(|(broken, keyed)| {
        let mut pod = json!({
            "metadata": { "annotations": { "outboard.dev/inject": "enabled" }, "labels": {} },
            "spec": {
                "containers": [{
                    "name": "app", "ports": [{ "name": "http", "containerPort": 8080 }],
                    "lifecycle": {}, "readinessProbe": { "httpGet": { "port": "http" } },
                }],
                "initContainers": [], "volumes": [], "terminationGracePeriodSeconds": 10,
            },
        });
        if keyed {
            let configuration = "{ stores: { data_dir: /data, encryption_keys: [{ id: k1, file: /secrets/k1 }] }, admin: { probes: 0.0.0.0:9902 }, upstreams: { app: { endpoints: [127.0.0.1:1] } }, \
                listeners: [{ name: in, address: \"0.0.0.0:15080\", direction: inbound }], routes: [{ name: all, idempotency: { owner: [constant] } }] }";
            pod["metadata"]["annotations"]["outboard.dev/config"] = json!(configuration);
            pod["metadata"]["annotations"]["outboard.dev/data-volume"] = json!("records");
            pod["metadata"]["annotations"]["outboard.dev/secret-volume"] = json!("keys");
            pod["spec"]["volumes"] = json!([
                { "name": "records", "persistentVolumeClaim": { "claimName": "records" } },
                { "name": "keys", "projected": { "sources": [{ "secret": { "name": "keys", "items": [{ "mode": 292 }] } }] } },
            ]);
        }
        for (place, value) in broken {
            if let Some(place) = pod.pointer_mut(place) {
                *place = value;
            }
        }
        pod
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Neither way panics, whatever stands where a pod should; what was injected can be taken out, and is injected once.
    #[test]
    fn whatever_stands_there_it_is_answered(pod in prop_oneof![anything(), broken_pod()], all in any::<bool>()) {
        let injector = Injector { image: "outboard:test".into(), kubernetes: Version::new(1, 34), all };
        let around = Surroundings { ends: false, maker: Maker::default(), services: None, services_change: false, config_map: &|_| None };
        let _ = super::uninject::uninject(&pod);
        if let Ok(Outcome::Injected(injected)) = inject_pod(&injector, &around, &pod) {
            let again = inject_pod(&injector, &around, &injected.pod).unwrap();
            prop_assert!(matches!(again, Outcome::Left(_)), "{again:?}");
            prop_assert!(super::uninject::uninject(&injected.pod).is_some());
        }
    }
}
