//! Names and values of headers, wherever the configuration holds some.

use http::{HeaderName, HeaderValue};

use super::Check;
use crate::config::path::Path;
use crate::config::route::HeaderChanges;

const NAME: &str = "the name of a header";

/// Headers that say how a message is framed or to whom it goes. A change of one could make two parties read two
/// different messages out of the same bytes.
const OURS: &[&str] = &[
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A list of header names.
pub(super) fn names(check: &mut Check<'_>, path: &Path, names: &[String]) {
    for (index, name) in names.iter().enumerate() {
        if !is_name(name) {
            check.invalid(&path.index(index), NAME);
        }
    }
}

pub(super) fn is_name(name: &str) -> bool {
    HeaderName::from_bytes(name.as_bytes()).is_ok()
}

/// One half of a route's `headers`.
pub(super) fn changes(check: &mut Check<'_>, path: &Path, changes: &HeaderChanges) {
    for (key, map) in [("set", &changes.set), ("add", &changes.add)] {
        let path = path.key(key);
        for (name, value) in map {
            let path = path.key(name);
            if !is_name(name) {
                check.invalid_key(&path, NAME);
            } else if HeaderValue::from_str(value).is_err() {
                check.error(&path, "expected the value of a header: visible characters, spaces and tabs on one line");
            }
            ours(check, &path, name);
        }
        unlike(check, &path, map.keys());
    }
    let path = path.key("remove");
    names(check, &path, &changes.remove);
    for (index, name) in changes.remove.iter().enumerate() {
        ours(check, &path.index(index), name);
    }
}

fn ours(check: &mut Check<'_>, path: &Path, name: &str) {
    let name = name.to_ascii_lowercase();
    if name == "host" {
        check.error(path, "host is not changed here; use upstreams.*.host");
    } else if OURS.contains(&name.as_str()) {
        check.error(path, format!("{name} belongs to the connection and is not changed here"));
    }
}

/// Names that differ in nothing but case are the same header.
pub(super) fn unlike<'n>(check: &mut Check<'_>, path: &Path, names: impl Iterator<Item = &'n String>) {
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if !seen.insert(name.to_ascii_lowercase()) {
            check.error(&path.key(name), "the same header twice, in another case");
        }
    }
}
