//! A file into a [`Config`], with every error of the file at once.
//!
//! serde stops at its first error. So that error is noted, what caused it is taken out of the tree, and the tree is
//! read again, until it reads; then the rules across sections are held against what is left. What was taken out is
//! remembered, so that nothing is said about its absence.

use std::path::Path as FilePath;

use super::check::{self, Findings};
use super::de::{self, Fault, Kind};
use super::env::{self, Lookup};
use super::error::{Error, Errors, nearest};
use super::path::{Mark, Path, Step};
use super::tree::{Flaw, Node, Value};
use super::{Config, merge, parse};

/// Errors that are looked for at most, so that a hostile file cannot keep us busy.
const MOST: usize = 1000;

/// A configuration, and what its owner should know about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration: `defaults` merged into the routes, each route's upstream filled in.
    pub config: Config,
    /// What is allowed but dangerous, in the order of the file.
    pub warnings: Vec<Error>,
}

/// Reads a configuration. `file` is its name in errors; `env` finds variables for `${NAME}`.
pub fn load(text: &str, file: &str, env: &Lookup<'_>) -> Result<Config, Errors> {
    load_with_warnings(text, file, env).map(|loaded| loaded.config)
}

/// Reads a configuration from a file, with variables from the environment of the process.
pub fn load_file(path: &FilePath) -> Result<Loaded, Errors> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|e| {
        Errors(vec![Error::new(
            &file,
            Mark::default(),
            &Path::default(),
            format!("cannot be read: {e}").to_lowercase(),
        )])
    })?;
    load_with_warnings(&text, &file, &|name| std::env::var(name).ok())
}

/// Reads a configuration, and says what is allowed but dangerous.
pub fn load_with_warnings(text: &str, file: &str, env: &Lookup<'_>) -> Result<Loaded, Errors> {
    let mut reader = Reader { file, errors: Vec::new(), lost: Vec::new() };
    let config = match parse::parse(text) {
        Ok((root, flaws)) => reader.config(root, &flaws, env),
        Err(flaw) => {
            reader.flaw(&flaw);
            None
        }
    };
    match config {
        Some((config, warnings)) if reader.errors.is_empty() => Ok(Loaded { config, warnings: in_order(warnings) }),
        _ => Err(Errors(in_order(reader.errors))),
    }
}

/// By their place; what several routes inherited is told once.
fn in_order(mut errors: Vec<Error>) -> Vec<Error> {
    errors.sort_by(|a, b| (a.line, a.column, &a.message).cmp(&(b.line, b.column, &b.message)));
    errors.dedup_by(|a, b| a.line > 0 && (a.line, a.column, &a.message) == (b.line, b.column, &b.message));
    errors
}

struct Reader<'f> {
    file: &'f str,
    errors: Vec<Error>,
    /// What was taken out of the tree.
    lost: Vec<Path>,
}

impl Reader<'_> {
    fn config(&mut self, mut root: Node, flaws: &[Flaw], env: &Lookup<'_>) -> Option<(Config, Vec<Error>)> {
        flaws.iter().for_each(|flaw| self.flaw(flaw));
        for flaw in env::replace(&mut root, env) {
            self.flaw(&flaw);
            self.take_out(&mut root, &flaw.path);
        }
        let offs = merge::prepare(&mut root);
        // Once without the routes, so that what is wrong in `defaults` is told there. The routes cannot be read before the
        // merge: an item of a list may leave to `defaults` what it must have.
        let routes = root.get_mut("routes").map(|r| std::mem::replace(r, Node::plain(r.mark, "")));
        self.read(&mut root)?;
        if let (Some(routes), Some(place)) = (routes, root.get_mut("routes")) {
            *place = routes;
        }
        merge::default_route(&mut root);
        merge::apply(&mut root, &offs);
        let mut config = self.read(&mut root)?;
        let findings = check::check(&mut config, &root, self.file, &self.lost);
        let Findings { errors, warnings } = findings;
        self.errors.extend(errors);
        Some((config, warnings))
    }

    /// Reads the tree until it reads. `None` where what is left has no meaning.
    fn read(&mut self, root: &mut Node) -> Option<Config> {
        for _ in 0..MOST {
            match de::read::<Config>(root) {
                Ok(config) => return Some(config),
                Err(fault) => {
                    self.fault(root, &fault);
                    if !self.neutralise(root, &fault) {
                        return None;
                    }
                }
            }
        }
        None
    }

    fn flaw(&mut self, flaw: &Flaw) {
        self.errors.push(Error::new(self.file, flaw.mark, &flaw.path, flaw.message.clone()));
        if flaw.lost {
            self.lost.push(flaw.path.clone());
        }
    }

    fn fault(&mut self, root: &Node, fault: &Fault) {
        let mut path = fault.path();
        if let Kind::MissingKey(key) = fault.kind {
            path = path.key(key);
        }
        if self.lost.iter().any(|lost| lost.holds(&path)) {
            return;
        }
        let mut error = fault.error(self.file);
        if root.towards(&path).1
            && let Some(there) = path.in_defaults()
        {
            error.path = there.to_string();
        }
        self.errors.push(error);
    }

    /// Changes the tree so that this fault does not come again; false where that cannot be.
    fn neutralise(&mut self, root: &mut Node, fault: &Fault) -> bool {
        let path = fault.path();
        let Kind::UnknownKey { key, known } = &fault.kind else { return self.take_out(root, &path) };
        let Some((_, parent)) = path.0.split_last() else { return false };
        let Some(entries) = root.at_mut(parent).and_then(Node::entries_mut) else { return false };
        // A key with a slip in it is read as what it was meant to be: its value may be wrong as well, and what was
        // meant is not missing.
        let meant = nearest(key, known.iter().copied()).filter(|meant| entries.iter().all(|e| e.key != *meant));
        match (meant, entries.iter().position(|e| e.key == *key)) {
            (Some(meant), Some(at)) => entries[at].key = meant.to_owned(),
            (None, Some(at)) => drop(entries.remove(at)),
            (_, None) => return false,
        }
        true
    }

    /// Removes a value; a list keeps the place of the items behind.
    fn take_out(&mut self, root: &mut Node, path: &Path) -> bool {
        self.lost.push(path.clone());
        let Some((last, parent)) = path.0.split_last() else { return false };
        let Some(parent) = root.at_mut(parent) else { return false };
        match (last, &mut parent.value) {
            (Step::Key(key), Value::Map(entries)) => {
                let before = entries.len();
                entries.retain(|e| e.key != *key);
                entries.len() < before
            }
            (Step::Index(index), Value::List(items)) => match items.get_mut(*index) {
                Some(item) => !std::mem::replace(&mut item.hole, true),
                None => false,
            },
            _ => false,
        }
    }
}
