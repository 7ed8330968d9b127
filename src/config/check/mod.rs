//! The rules that no single value can break: names that refer to each other, addresses that clash, times that do not
//! add up. Also what a value's type cannot say: valid header names, paths, hosts.

mod breakers;
mod caches;
mod compressions;
mod faults;
mod files;
mod headers;
mod idempotency;
mod invalidates;
mod keys;
mod limits;
mod listeners;
mod process;
mod queues;
mod retries;
mod routes;
mod same;
mod stores;
mod upstreams;

pub use files::{NamedFile, check_files, named_files};
pub use idempotency::{IN_CLEAR, LOCAL as LOCAL_RECORDS};

use super::error::{Error, nearest};
use super::path::{Mark, Path, Step, printable};
use super::tree::{Node, Value};
use super::{Config, Route, Upstream};

/// What was found.
pub(crate) struct Findings {
    pub(crate) errors: Vec<Error>,
    pub(crate) warnings: Vec<Error>,
}

/// Holds every rule against a configuration whose `defaults` are merged, and fills in the upstream of routes that may
/// leave it out; a route has no cache from `defaults` that could never store anything. `lost` is what could not be read: nothing is said about it.
pub(crate) fn check(config: &mut Config, tree: &Node, file: &str, lost: &[Path]) -> Findings {
    let only = match config.upstreams.keys().next() {
        Some(name) if config.upstreams.len() == 1 => Some(name.clone()),
        _ => None,
    };
    let mut check = Check {
        listeners: live(tree, "listeners"),
        routes: live(tree, "routes"),
        config,
        tree,
        file,
        lost,
        errors: Vec::new(),
        warnings: Vec::new(),
    };
    process::check(&mut check);
    listeners::check(&mut check);
    upstreams::check(&mut check);
    routes::check(&mut check);
    queues::check(&mut check);
    breakers::check(&mut check);
    retries::check(&mut check);
    faults::check(&mut check);
    caches::check(&mut check);
    invalidates::check(&mut check);
    compressions::check(&mut check);
    stores::check(&mut check);
    idempotency::check(&mut check);
    let idle = caches::of_no_use(&check);
    let findings = Findings { errors: check.errors, warnings: check.warnings };
    for route in &mut config.routes {
        route.upstream = route.upstream.take().or_else(|| only.clone());
    }
    for index in idle {
        config.routes[index].cache = None;
    }
    findings
}

/// The places of the items of a list that were read.
fn live(tree: &Node, section: &str) -> Vec<Path> {
    let items = tree.get(section).map(Node::items).unwrap_or_default();
    let section = Path::of(section);
    items.iter().enumerate().filter(|(_, item)| !item.hole).map(|(index, _)| section.index(index)).collect()
}

struct Check<'c> {
    config: &'c Config,
    tree: &'c Node,
    file: &'c str,
    lost: &'c [Path],
    /// Where each of `config.listeners` stands.
    listeners: Vec<Path>,
    /// Where each of `config.routes` stands.
    routes: Vec<Path>,
    errors: Vec<Error>,
    warnings: Vec<Error>,
}

impl<'c> Check<'c> {
    /// Whether something at, above or below this place could not be read.
    fn is_lost(&self, path: &Path) -> bool {
        let there = path.in_defaults();
        let touches = |lost: &Path, path: &Path| lost.holds(path) || path.holds(lost);
        self.lost.iter().any(|l| touches(l, path) || there.as_ref().is_some_and(|there| touches(l, there)))
    }

    /// Whether a whole item of a section could not be read: then a name that is not known may be its.
    fn lacks_items(&self, section: &Path) -> bool {
        self.lost.iter().any(|lost| lost.holds(section) || (section.holds(lost) && lost.0.len() == 2))
    }

    fn mark(&self, path: &Path) -> Mark {
        self.tree.towards(path).0.mark
    }

    fn line(&self, path: &Path) -> usize {
        self.mark(path).line
    }

    /// Whether the file says anything at this place, or `defaults` does for it.
    fn is_written(&self, path: &Path) -> bool {
        let Some((_, parent)) = path.0.split_last() else { return true };
        let (node, above) = (self.tree.towards(path).0, self.tree.towards(&Path(parent.to_vec())).0);
        !std::ptr::eq(node, above) && !node.is_null()
    }

    /// Whether it is `defaults` that says it.
    fn is_inherited(&self, path: &Path) -> bool {
        self.tree.towards(path).1
    }

    /// Where a value stands that an error at another place names.
    fn whence(&self, path: &Path) -> String {
        if self.is_written(path) { format!("line {}", self.line(path)) } else { "its default".to_owned() }
    }

    /// The upstream that a route leads to.
    fn upstream_of(&self, route: &Route) -> Option<(&'c str, &'c Upstream)> {
        let upstreams = &self.config.upstreams;
        let found = match route.upstream.as_deref() {
            Some(name) => upstreams.get_key_value(name),
            None => upstreams.first_key_value().filter(|_| upstreams.len() == 1),
        };
        found.map(|(name, upstream)| (name.as_str(), upstream))
    }

    /// The routes that lead to an upstream, each with its place.
    fn routes_to(&self, upstream: &str) -> Vec<(&'c Route, Path)> {
        let leads = |route: &Route| self.upstream_of(route).is_some_and(|(name, _)| name == upstream);
        let routes = self.config.routes.iter().zip(&self.routes).filter(|(route, _)| leads(route));
        routes.map(|(route, place)| (route, place.clone())).collect()
    }

    /// What stands at a place, as errors show it.
    fn found(&self, path: &Path) -> String {
        self.tree.towards(path).0.found()
    }

    fn finding(&self, path: &Path, mark: Mark, message: String) -> Error {
        match path.in_defaults().filter(|_| self.tree.towards(path).1) {
            Some(there) => Error::new(self.file, mark, &there, message),
            None => Error::new(self.file, mark, path, message),
        }
    }

    fn error(&mut self, path: &Path, message: impl Into<String>) {
        if !self.is_lost(path) {
            let error = self.finding(path, self.mark(path), message.into());
            self.errors.push(error);
        }
    }

    /// The value at a place is not what it must be.
    fn invalid(&mut self, path: &Path, expected: &str) {
        let found = self.found(path);
        if !self.is_lost(path) {
            let mut error = self.finding(path, self.mark(path), format!("expected {expected}, found {found}"));
            error.expected = Some(expected.to_owned());
            error.found = Some(found);
            self.errors.push(error);
        }
    }

    /// The key at a place is not what it must be.
    fn invalid_key(&mut self, path: &Path, expected: &str) {
        let (Some((Step::Key(key), parent)), false) = (path.0.split_last(), self.is_lost(path)) else { return };
        let parent = self.tree.towards(&Path(parent.to_vec())).0;
        let mark = match &parent.value {
            Value::Map(entries) => entries.iter().find(|e| e.key == *key).map_or(parent.mark, |e| e.mark),
            _ => parent.mark,
        };
        let mut error = self.finding(path, mark, format!("expected {expected}, found {}", printable(key)));
        error.expected = Some(expected.to_owned());
        self.errors.push(error);
    }

    /// The name at a place refers to nothing.
    fn unknown(&mut self, path: &Path, what: &str, name: &str, known: &[&str]) {
        if self.is_lost(path) {
            return;
        }
        let nearest = nearest(name, known.iter().copied());
        let help = match nearest {
            Some(nearest) => format!("did you mean {nearest}?"),
            None => format!("known: {}", known.join(", ")),
        };
        let mut error = self.finding(path, self.mark(path), format!("no such {what}: {}; {help}", self.found(path)));
        error.nearest = nearest.map(str::to_owned);
        error.found = Some(self.found(path));
        self.errors.push(error);
    }

    fn warn(&mut self, path: &Path, message: impl Into<String>) {
        if !self.is_lost(path) {
            let warning = self.finding(path, self.mark(path), message.into());
            self.warnings.push(warning);
        }
    }

    /// A value that makes no sense as zero.
    fn positive(&mut self, path: &Path, is_zero: bool) {
        if is_zero {
            self.invalid(path, "more than zero");
        }
    }
}

/// Whether this can be a name: it becomes a label in metrics and a word in commands.
fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// What a name must be, for errors.
const NAME: &str = "a name of at most 64 letters, digits, - _ and .";
