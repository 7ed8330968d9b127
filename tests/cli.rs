//! The commands as a person, a probe and a script use them: what they print, and how they exit.

// The lints know tests by #[test]; what the tests share is a test as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod common;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use common::{Client, Origin, eventually};

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

fn outboard(args: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outboard"));
    let output = command.args(args).current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn file(dir: &tempfile::TempDir, text: &str) -> PathBuf {
    let path = dir.path().join("outboard.yaml");
    std::fs::write(&path, text).unwrap();
    path
}

const GOOD: &str = "listeners: [{ name: inbound, address: \"127.0.0.1:0\" }]\n\
                    upstreams: { app: { endpoints: [\"127.0.0.1:3000\"] } }\n";

#[test]
fn check_says_ok_and_what_each_route_does() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, GOOD);
    let ran = outboard(&["check", path.to_str().unwrap()]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert!(ran.out.contains("outboard.yaml: ok") && ran.out.contains("memory at worst:"), "{}", ran.out);
    assert!(ran.out.contains("- name: default") && ran.out.contains("total: 15s"), "{}", ran.out);
    let quiet = outboard(&["check", "--quiet", path.to_str().unwrap()]);
    assert_eq!((quiet.code, quiet.out.lines().count()), (Some(0), 1));
}

#[test]
fn check_prints_every_error_with_its_place_and_exits_64() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(
        &dir,
        "listeners:\n  - { name: inbound, address: nowhere }\nupstreams:\n  app:\n    endpoint: [\"127.0.0.1:3000\"]\n\
         drain: { delay: soon }\ndefaults: { timeouts: { totl: 5s } }\n",
    );
    let name = path.to_str().unwrap();
    for args in [vec!["check", name], vec!["run", "--config", name], vec!["explain", "--config", name, "GET", "/"]] {
        let ran = outboard(&args);
        assert_eq!(ran.code, Some(64), "{args:?}: {}", ran.err);
        for expected in [
            "outboard.yaml:2:",
            "listeners[0].address: expected host:port",
            "did you mean endpoints?",
            "drain.delay: expected a duration such as",
            "did you mean total?",
        ] {
            assert!(ran.err.contains(expected), "{args:?}: {expected} in\n{}", ran.err);
        }
    }
    let both = outboard(&["check", name, "config/minimal.yaml"]);
    assert_eq!(both.code, Some(64));
    assert!(both.out.contains("config/minimal.yaml: ok"), "the good one is told as well: {}", both.out);
}

#[test]
fn a_file_that_is_not_there_is_a_wrong_configuration() {
    for args in [["check", "/nowhere/outboard.yaml"], ["run", "--config=/nowhere/outboard.yaml"]] {
        let ran = outboard(&args);
        assert_eq!(ran.code, Some(64), "{}", ran.err);
        assert!(ran.err.contains("/nowhere/outboard.yaml: cannot be read: no such file"), "{}", ran.err);
    }
}

#[test]
fn every_example_checks() {
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("config")).unwrap() {
        let path = entry.unwrap().path();
        let ran = outboard(&["check", "--no-files", path.to_str().unwrap()]);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{}", path.display());
    }
}

#[test]
fn explain_names_the_route_and_why_not_the_others() {
    let ran = outboard(&["explain", "--config", "config/sidecar.yaml", "POST", "/v1/payments"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.out.starts_with("POST /v1/payments at listener inbound\n"), "{}", ran.out);
    assert!(ran.out.contains("takes route create-payment to upstream app"), "{}", ran.out);
    assert!(ran.out.contains("not payment-events:") && ran.out.contains("not everything-else:"), "{}", ran.out);
    assert!(ran.out.contains("total: 25s"), "what the route does: {}", ran.out);

    let takes = |config: &str, args: &[&str]| {
        let ran = outboard(&[&["explain", "--config", config], args].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        ran.out.lines().nth(1).unwrap_or_default().trim().to_owned()
    };
    let sidecar = "config/sidecar.yaml";
    assert_eq!(takes(sidecar, &["GET", "/v1/payments"]), "takes route everything-else to upstream app");
    assert_eq!(takes(sidecar, &["GET", "/v1/payments/1/events"]), "takes route payment-events to upstream app");
    let refused = takes(sidecar, &["GET", "/v1/../admin"]);
    assert!(refused.starts_with("refused: bad_request ("), "{refused}");
    let egress = "config/egress.yaml";
    assert_eq!(takes(egress, &["POST", "/v1/charges"]), "takes route to-application to upstream app");
    let out = ["--listener", "egress", "POST", "/v1/charges"];
    assert_eq!(takes(egress, &out), "takes route to-gateway to upstream gateway");
    let standalone = "config/standalone.yaml";
    let url = "https://api.example.com/sessions/1";
    assert_eq!(takes(standalone, &["GET", url]), "takes route sessions to upstream sessions");
    let legacy = ["-H", "X-Api-Version: 1", "GET", "https://api.example.com/x"];
    assert_eq!(takes(standalone, &legacy), "takes route legacy-clients to upstream payments");
    let partner = ["-H", "Host: a.partners.example.com", "GET", "/x"];
    assert_eq!(takes(standalone, &partner), "takes route partners to upstream payments");
    assert_eq!(takes(standalone, &["GET", "https://example.org/"]), "takes no route: 404");
}

#[test]
fn explain_says_which_policies_a_request_meets_in_their_order() {
    let ran = outboard(&["explain", "--config", "config/sidecar.yaml", "POST", "/v1/payments"]);
    let keys: Vec<&str> = ran.out.lines().skip_while(|l| !l.is_empty()).skip(1).take_while(|l| !l.is_empty()).collect();
    let keys: Vec<&str> = keys.iter().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(keys, ["circuit_breaker", "queue", "load_balance", "retry", "compression"], "{}", ran.out);
    assert!(
        ran.out.contains("\n  queue            64 at once, 500 wait for at most 1s; priority critical"),
        "{}",
        ran.out
    );
    let of = outboard(&["explain", "--config", "config/standalone.yaml", "GET", "https://api.example.com/x"]);
    assert!(of.out.contains("\n  fault            held back 50% for 500ms; answered 50% with 503"), "{}", of.out);
    let none = outboard(&["explain", "--config", "config/standalone.yaml", "GET", "https://example.org/"]);
    assert!(!none.out.contains("load_balance"), "{}", none.out);
}

#[test]
fn explain_says_405_and_what_it_does_not_understand() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, &format!("{GOOD}routes: [{{ name: pay, match: {{ path: /pay, methods: [POST] }} }}]\n"));
    let name = path.to_str().unwrap();
    let ran = outboard(&["explain", "--config", name, "GET", "/pay"]);
    assert!(ran.out.contains("takes no route: 405, Allow: POST"), "{}", ran.out);
    for (args, expected) in [
        (vec!["--listener", "egress", "GET", "/"], "--listener: expected one of inbound, got egress"),
        (vec!["G T", "/"], "G T"),
        (vec!["-H", "nonsense", "GET", "/"], "nonsense"),
    ] {
        let ran = outboard(&[&["explain", "--config", name][..], &args].concat());
        assert_eq!(ran.code, Some(1), "{args:?}");
        assert!(ran.err.contains(expected), "{}", ran.err);
    }
}

#[test]
fn the_schema_is_json_and_names_every_section() {
    let ran = outboard(&["schema"]);
    assert_eq!(ran.code, Some(0));
    let schema: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    for section in ["listeners", "upstreams", "routes", "defaults", "drain", "limits", "admin"] {
        assert!(schema["properties"][section].is_object(), "{section}");
    }
}

#[test]
fn a_wrong_command_line_exits_64_and_help_0() {
    for args in
        [&["rum"][..], &["run"], &["run", "--config", "a", "--upstream", "b"], &["check"], &["run", "--listen", "a"]]
    {
        assert_eq!(outboard(args).code, Some(64), "{args:?}");
    }
    assert_eq!(outboard(&["--help"]).code, Some(0));
    let version = outboard(&["--version"]);
    assert_eq!((version.code, version.out.trim()), (Some(0), concat!("outboard ", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn an_address_in_use_exits_1_and_names_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, &(GOOD.replace("127.0.0.1:0", &address) + "admin: { address: \"127.0.0.1:0\" }\n"));
    let ran = outboard(&["run", "--config", path.to_str().unwrap()]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains(&format!("cannot listen on {address}: ")), "{}", ran.err);
}

/// A child that is killed with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn two_addresses_are_enough_to_run() {
    let origin = Origin::echo();
    let mut command = Command::new(env!("CARGO_BIN_EXE_outboard"));
    command.args(["run", "--listen", "127.0.0.1:0", "--upstream", &origin.to_string()]);
    // The administration has its usual address here; where another process has it, there is nothing to see.
    let spawned = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut running = Running(spawned);
    let output = Arc::new(Mutex::new(String::new()));
    for mut from in
        [Box::new(running.0.stdout.take().unwrap()) as Box<dyn Read + Send>, Box::new(running.0.stderr.take().unwrap())]
    {
        let into = output.clone();
        std::thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(n @ 1..) = from.read(&mut part) {
                into.lock().unwrap().push_str(&String::from_utf8_lossy(&part[..n]));
            }
        });
    }
    let mut address = None;
    eventually("it listens, or says why not", || {
        let text = output.lock().unwrap().clone();
        let lines = text.lines().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok());
        let listening = lines.clone().find(|l| l["event"] == "listening");
        address = listening.map(|l| l["address"].as_str().unwrap().to_owned());
        address.is_some() || text.contains("cannot listen on 127.0.0.1:9901")
    });
    let Some(address) = address else {
        eprintln!("127.0.0.1:9901 is taken on this machine: not tested");
        return;
    };
    let answer = Client::connect(address.parse().unwrap()).get("/hello");
    assert_eq!((answer.status, answer.json()["target"].as_str()), (200, Some("/hello")));
}

#[test]
fn two_addresses_that_are_none_are_a_wrong_configuration() {
    let ran = outboard(&["run", "--listen", "127.0.0.1:0", "--upstream", "nowhere"]);
    assert_eq!(ran.code, Some(64), "{}", ran.err);
    assert!(ran.err.contains("command line") && ran.err.contains("upstreams.app.endpoints[0]"), "{}", ran.err);
}

/// Manifests go in by a pipe and come out for another; what happened stands beside them.
#[test]
fn inject_writes_manifests_to_its_output_and_says_beside_it_what_it_did() {
    let ran = outboard(&[
        "inject",
        "-f",
        "k8s/testdata/own_pre_stop.input.yaml",
        "--image",
        "outboard:test",
        "--kubernetes",
        "1.34",
    ]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.starts_with("Pod/payments: injected\nPod/payments: warning: "), "{}", ran.err);
    let golden =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("k8s/testdata/own_pre_stop.golden.yaml"));
    let golden: String =
        golden.unwrap().lines().filter(|line| !line.starts_with("#>")).map(|line| format!("{line}\n")).collect();
    assert_eq!(ran.out, golden);
}

/// Nothing is written where one of them is refused: behind a pipe nothing is applied by half.
#[test]
fn inject_writes_nothing_where_a_pod_cannot_be_injected() {
    let (good, bad) = ("k8s/testdata/pod.input.yaml", "k8s/testdata/ambiguous_ports.input.yaml");
    let ran = outboard(&["inject", "-f", good, "-f", bad]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(64), ""));
    assert!(
        ran.err.contains("Deployment/payments: error: it has several ports (api (8080 of payments), internal"),
        "{}",
        ran.err
    );
    let dir = tempfile::tempdir().unwrap();
    let broken = dir.path().join("broken.yaml");
    std::fs::write(&broken, "kind: Pod\nkind: Pod\n").unwrap();
    let ran = outboard(&["inject", "-f", good, "-f", broken.to_str().unwrap()]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(64), ""));
    assert!(ran.err.contains("broken.yaml:2:7: the key kind stands here twice"), "{}", ran.err);
    let ran = outboard(&["inject", "-f", "/nowhere.yaml"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(64), ""));
    assert!(ran.err.starts_with("/nowhere.yaml: cannot be read"), "{}", ran.err);
}

/// What the classic sidecar's postStart waits by.
#[test]
fn health_waits_until_the_proxy_is_there() {
    // Free a moment ago: nobody listens there until the proxy does.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let asking = {
        let address = address.clone();
        std::thread::spawn(move || outboard(&["health", "--admin", &address, "--wait", "30s"]))
    };
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, &format!("{GOOD}admin: {{ address: \"{address}\" }}\n"));
    let mut proxy = Command::new(env!("CARGO_BIN_EXE_outboard"))
        .args(["run", "--config", path.to_str().unwrap()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .env("XDG_RUNTIME_DIR", dir.path())
        .spawn()
        .unwrap();
    let ran = asking.join().unwrap();
    let _ = proxy.kill();
    let _ = proxy.wait();
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let gone = outboard(&["health", "--admin", &address, "--wait", "200ms"]);
    assert_eq!(gone.code, Some(1), "{}", gone.err);
}

/// A ConfigMap that was edited badly changes nothing in the process that runs; its preStop must drain it all the same.
#[test]
fn a_bad_edit_of_the_file_keeps_nobody_from_asking_the_process_that_runs() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = common::Proxy::start(&common::yaml("127.0.0.1:9", ""));
    let (admin, config) = (proxy.admin().to_string(), dir.path().join("outboard.yaml"));
    std::fs::write(&config, "listners: [").unwrap();
    let asked = |command: &[&str]| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_outboard"));
        child.args(command).args(["--admin", &admin, "--config", config.to_str().unwrap()]);
        child.env("XDG_RUNTIME_DIR", proxy.dir()).output().unwrap()
    };
    for command in [&["health"][..], &["drain", "--wait"]] {
        let ran = asked(command);
        let err = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{command:?}: {err}");
        assert!(err.contains("asking") && err.contains("all the same"), "{err}");
    }
}
