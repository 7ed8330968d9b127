//! Who may import whom. The table below is the architecture; a new edge in it is a decision, not a fix of this test.
//!
//! Read from the source as text, comments and tests left out: every path that begins with `crate::`, and what of the
//! outside world a layer may touch.

// The lints know tests by #[test]; what the tests share is a test as well.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A module, and the modules it may import besides itself. A name with a path allows only what lies under it.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    // Leaves: they know nothing of outboard.
    ("units", &[]),
    ("refusal", &[]),
    ("timer", &[]),
    ("io", &[]),
    // Messages as bytes: what is refused, and how a stream is read.
    ("http1", &["io", "refusal"]),
    // Rules without I/O, and the data they are configured by.
    ("policy", &["units"]),
    ("config", &["policy", "units"]),
    ("store", &["policy", "units"]),
    // What encodes knows no more than the names of codings.
    ("codec", &["policy"]),
    ("lifecycle", &["config"]),
    ("observe", &["config", "refusal", "units"]),
    // The one place that compiles settings, and the one that owns connections to applications.
    ("upstream", &["policy", "config", "observe", "http1", "io", "timer"]),
    ("route", &["config", "policy", "upstream", "observe", "timer", "units"]),
    // The way of a request, and the shell around a client connection.
    (
        "proxy",
        &[
            "route",
            "policy",
            "upstream",
            "store",
            "codec",
            "refusal",
            "observe",
            "lifecycle",
            "config",
            "http1",
            "io",
            "timer",
            "units",
        ],
    ),
    ("listen", &["proxy", "lifecycle", "observe", "config", "http1", "io", "refusal", "timer", "upstream::tls"]),
    // Around the traffic.
    ("admin", &["config", "units"]),
    (
        "server",
        &[
            "admin",
            "config",
            "lifecycle",
            "listen",
            "observe",
            "policy",
            "proxy",
            "route",
            "store",
            "timer",
            "upstream",
        ],
    ),
    // Pods and manifests; of the proxy they know how it is configured.
    ("kube", &["config", "units"]),
    ("webhook", &["kube", "config", "observe", "policy::redact", "timer", "upstream::tls"]),
    // Of the policies their settings, to say in words what they do.
    ("cli", &["admin", "config", "demo", "kube", "policy", "route", "server", "units", "webhook"]),
    ("demo", &["config", "codec", "policy::compression"]),
];

/// A layer, what may not stand in it, and why.
const BANNED: &[(&str, &[&str], &str)] = &[
    (
        "policy",
        &[
            "pingora::",
            "prometheus::",
            "tracing::",
            "tokio::net",
            "std::fs",
            "Instant::now",
            "SystemTime",
            "fastrand::",
        ],
        "a policy is pure: `now` and seeds come in, decisions go out as values",
    ),
    ("config", &["pingora::", "tracing::", "tokio::", "Instant::now"], "the configuration is data"),
    (
        "store",
        &["pingora::", "prometheus::", "tracing::", "tokio::net", "Instant::now", "SystemTime", "fastrand::"],
        "the store keeps what it is given: `now` and seeds come in, counts are asked for",
    ),
    ("kube", &["pingora::", "tokio::", "Instant::now", "std::fs"], "a pod goes in and a pod comes out"),
    ("route", &["tokio::", "Instant::now", "pingora::"], "routes are compiled and looked up, nothing else"),
    ("lifecycle", &["pingora::", "tokio::net"], "the phases know no connections, only their number"),
    ("observe", &["pingora::", "tokio::net"], "what is observed comes as values"),
    (
        "proxy",
        &["tokio::net", "std::net::Tcp", "UnixStream"],
        "raw sockets are seen by io, listen and upstream::connect",
    ),
    ("upstream", &["tokio::net", "std::net::Tcp", "UnixStream"], "raw sockets are opened in upstream::connect alone"),
];

/// Files in which something banned above may stand after all.
const EXCEPT: &[(&str, &str)] = &[
    ("src/store/records/redis/dial.rs", "tokio::net"),
    ("src/upstream/connect.rs", "tokio::net"),
    ("src/upstream/connect.rs", "UnixStream"),
    ("src/upstream/resolver.rs", "tokio::net::lookup_host"),
];

/// The most lines of a file, its tests left out.
const LINES: usize = 400;

struct File {
    /// `src/proxy/mod.rs`.
    name: String,
    /// `proxy`.
    module: String,
    /// Modules from the crate's root to this file: 1 for `src/proxy/mod.rs`, 2 for `src/proxy/hop.rs`.
    depth: usize,
    /// The code without comments and tests, line by line.
    lines: Vec<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<File> {
    let mut found = Vec::new();
    rust_files(&root().join("src"), &mut found);
    found.sort();
    found.iter().filter_map(|path| read(path)).collect()
}

/// A source file; none for files of tests.
fn read(path: &Path) -> Option<File> {
    let name = path.strip_prefix(root()).unwrap().display().to_string();
    let parts: Vec<&str> = name.trim_start_matches("src/").trim_end_matches(".rs").split('/').collect();
    if parts.contains(&"tests") {
        return None;
    }
    let depth = parts.len() - usize::from(parts.last() == Some(&"mod"));
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().map(str::to_owned).collect::<Vec<_>>();
    let tests = lines.windows(2).position(|w| w[0] == "#[cfg(test)]" && w[1].starts_with("mod tests"));
    let lines = lines[..tests.unwrap_or(lines.len())].iter();
    let code = lines.map(|l| if l.trim_start().starts_with("//") { String::new() } else { l.clone() }).collect();
    Some(File { module: parts[0].to_owned(), depth, lines: code, name })
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The paths behind every `crate::` of a line, one for each name in braces.
fn imports(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        let rest = &line[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let inside = group.split('}').next().unwrap_or(group);
            found.extend(inside.split(',').map(|n| n.trim().to_owned()).filter(|n| !n.is_empty()));
        } else {
            let end = rest.find(|c: char| !is_name(c) && c != ':').unwrap_or(rest.len());
            found.push(rest[..end].trim_end_matches(':').to_owned());
        }
    }
    found
}

fn under(path: &str, allowed: &str) -> bool {
    path == allowed || path.strip_prefix(allowed).is_some_and(|rest| rest.starts_with("::"))
}

fn fail(what: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{what}:\n  {}\n(tests/layering.rs says who may import whom)", found.join("\n  "));
}

#[test]
fn modules_import_only_what_lies_below_them() {
    let mut wrong = Vec::new();
    for file in sources().iter().filter(|f| !matches!(f.module.as_str(), "lib" | "main")) {
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(module, _)| *module == file.module) else {
            wrong.push(format!("{}: the module {} does not stand in the table", file.name, file.module));
            continue;
        };
        for (number, line) in file.lines.iter().enumerate() {
            for path in imports(line) {
                if !under(&path, &file.module) && !allowed.iter().any(|a| under(&path, a)) {
                    let may = if allowed.is_empty() { "nothing".to_owned() } else { allowed.join(", ") };
                    let place = format!("{}:{}", file.name, number + 1);
                    wrong.push(format!("{place}: imports crate::{path}; {} may import {may}", file.module));
                }
            }
            if line.contains(&"super::".repeat(file.depth)) {
                wrong.push(format!("{}:{}: climbs to the crate's root by super::", file.name, number + 1));
            }
        }
    }
    fail("an import against the layers", wrong);
}

#[test]
fn layers_touch_only_what_they_may() {
    let mut wrong = Vec::new();
    for file in sources() {
        for (_, banned, why) in BANNED.iter().filter(|(module, ..)| *module == file.module) {
            for (number, line) in file.lines.iter().enumerate() {
                let allowed =
                    |word: &str| EXCEPT.iter().any(|(f, w)| *f == file.name && w.contains(word) && line.contains(w));
                for word in banned.iter().filter(|w| line.contains(**w) && !allowed(w)) {
                    wrong.push(format!("{}:{}: {word}: {why}", file.name, number + 1));
                }
            }
        }
    }
    fail("something that this layer may not touch", wrong);
}

#[test]
fn the_table_has_no_circle_and_names_no_module_that_is_gone() {
    let modules: BTreeSet<String> = sources().into_iter().map(|f| f.module).collect();
    for (module, allowed) in MAY_IMPORT {
        assert!(modules.contains(*module), "{module} is no module any more: take it out of the table");
        for below in *allowed {
            let below = below.split("::").next().unwrap();
            assert!(modules.contains(below), "{below} is no module any more: take it out of the table");
        }
    }
    let below = |module: &str| MAY_IMPORT.iter().find(|(m, _)| *m == module).map_or(&[][..], |(_, allowed)| allowed);
    for (module, _) in MAY_IMPORT {
        let (mut seen, mut next) = (BTreeSet::new(), vec![*module]);
        while let Some(at) = next.pop() {
            for below in below(at).iter().map(|b| b.split("::").next().unwrap()) {
                assert_ne!(below, *module, "{module} imports {at}, which imports {module} again");
                if seen.insert(below) {
                    next.push(below);
                }
            }
        }
    }
}

#[test]
fn no_file_is_too_long_to_be_read_at_once() {
    let files = sources();
    let long = files.iter().filter(|f| f.lines.len() > LINES);
    let long = long.map(|f| format!("{}: {} lines, at most {LINES}: split it by what it does", f.name, f.lines.len()));
    fail("a file too long", long.collect());
}

#[test]
fn a_test_is_ignored_only_with_a_reason() {
    let mut found = Vec::new();
    for dir in ["src", "tests", "benches"] {
        rust_files(&root().join(dir), &mut found);
    }
    let bare = "#[ignore".to_owned() + "]";
    let wrong = found.iter().filter(|f| std::fs::read_to_string(f).unwrap().contains(&bare));
    fail("an ignored test that does not say why", wrong.map(|f| f.display().to_string()).collect());
}
