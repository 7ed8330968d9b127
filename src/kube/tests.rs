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

#[test]
fn what_runs_no_pods_passes_byte_for_byte() {
    for name in ["custom_resource", "opted_out", "not_asked", "host_network_ignored"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("k8s/testdata/{name}.input.yaml"));
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(inject(&text).text, text, "{name}");
    }
}
