//! Configuration files as users write them: what loads, what is refused and with which words.

// The lints know tests by #[test]; what the tests share is a test as well.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

use outboard::config::{self, Config, Errors, Loaded};
use serde_json::Value;

#[path = "config/caches.rs"]
mod caches;
#[path = "config/compressions.rs"]
mod compressions;
#[path = "config/defaults.rs"]
mod defaults;
#[path = "config/fuzz.rs"]
mod fuzz;
#[path = "config/idempotency.rs"]
mod idempotency;
#[path = "config/limits.rs"]
mod limits;
#[path = "config/policies.rs"]
mod policies;
#[path = "config/queues.rs"]
mod queues;
#[path = "config/refused.rs"]
mod refused;
#[path = "config/rules.rs"]
mod rules;

fn none(_: &str) -> Option<String> {
    None
}

/// The configuration, or the errors.
fn load(text: &str) -> Result<Config, Errors> {
    config::load(text, "f.yaml", &none)
}

/// The configuration with its warnings.
fn loaded(text: &str) -> Loaded {
    config::load_with_warnings(text, "f.yaml", &none).unwrap_or_else(|e| panic!("{e}\nin\n{text}"))
}

/// What is said about a file that is wrong, without the file's name.
fn errors(text: &str) -> Vec<String> {
    let errors = load(text).err().unwrap_or_else(|| panic!("loads:\n{text}"));
    errors.to_string().lines().map(|line| line.trim_start_matches("f.yaml:").to_owned()).collect()
}

fn valid(text: &str) -> Result<(), String> {
    let instance: Value = serde_yaml::from_str(text).map_err(|e| e.to_string())?;
    let schema = config::schema();
    jsonschema::validate(&schema, &instance).map_err(|e| format!("{}: {e}", e.instance_path()))
}

fn examples() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> = std::fs::read_dir(root.join("config")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 4);
    files.push(root.join("tests/data/contract.yaml"));
    files
}

#[test]
fn every_example_loads_without_a_warning_and_passes_the_schema() {
    for file in examples() {
        let loaded = config::load_file(&file).unwrap_or_else(|e| panic!("{e}"));
        let warned: Vec<&str> = loaded.warnings.iter().map(|w| w.path.as_str()).collect();
        // The whole surface names what does not go together, and keeps its records in memory.
        let expected: &[&str] = match file.ends_with("contract.yaml") {
            true => &["routes[0].rate_limits[0].burst", "routes[0].idempotency", "routes[0].idempotency"],
            false => &[],
        };
        assert_eq!(warned, expected, "{:?}", loaded.warnings);
        let text = std::fs::read_to_string(&file).unwrap();
        valid(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    }
}

#[test]
fn what_is_written_out_loads_again() {
    for file in examples() {
        let first = config::load_file(&file).unwrap().config;
        let text = serde_yaml::to_string(&first).unwrap();
        assert_eq!(load(&text).unwrap_or_else(|e| panic!("{e}\n{text}")), first);
        valid(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    }
}

#[test]
fn variables_reach_every_kind_of_value() {
    let text = "
runtime: { threads: \"${T}\" }
listeners: [{ name: in, address: \"127.0.0.1:${PORT:-8080}\" }]
upstreams:
  app:
    endpoints: [\"${APP}\"]
    pool:
      max_idle: ${N}
drain: { delay: \"${MISSING:-1s}\" }
# ${NOT_READ}
";
    let env = |name: &str| {
        let known = [("N", "7"), ("APP", "app:80"), ("T", "auto")];
        known.iter().find(|(k, _)| *k == name).map(|(_, v)| (*v).to_owned())
    };
    let config = config::load(text, "f", &env).unwrap();
    assert_eq!(config.listeners[0].address, "127.0.0.1:8080");
    assert_eq!(config.upstreams["app"].pool.max_idle, 7);
    assert_eq!(config.upstreams["app"].endpoints, ["app:80"]);
    assert_eq!(config.drain.delay.to_string(), "1s");
    let errors = load(text).unwrap_err().to_string();
    assert_eq!(errors.lines().count(), 3, "{errors}");
    assert!(errors.contains("f.yaml:8:17: upstreams.app.pool.max_idle: N is not set in the environment"), "{errors}");
}

#[test]
fn what_came_from_the_environment_is_not_shown() {
    let env = |_: &str| Some("hunter2 hunter2".to_owned());
    let text = "
listeners: [{ name: in, address: \"${A}\" }]
upstreams: { app: { endpoints: [\"${A}\"], protocol: \"${A}\", dns_refresh: \"${A}\" } }
routes: [{ name: r, upstream: \"${A}\", match: { path: \"${A}\" } }]
";
    let errors = config::load(text, "f", &env).unwrap_err().to_string();
    assert!(!errors.contains("hunter2") && errors.lines().count() == 6, "{errors}");
}
