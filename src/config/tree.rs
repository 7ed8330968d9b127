//! The tree of a file: every node knows its line and column.

use super::path::{Mark, Path, Step, printable};

/// A node of the file.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) mark: Mark,
    pub(crate) value: Value,
    /// A list item that is passed over, so that those behind it keep their place.
    pub(crate) hole: bool,
    /// Came into a route from `defaults`.
    pub(crate) inherited: bool,
}

/// What a node holds.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A text that is not yet a number, a boolean or nothing: that depends on `plain`.
#[derive(Debug, Clone)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    /// Written without quotes.
    pub(crate) plain: bool,
    /// How it was written, where the environment changed it: errors show this and not what may be a secret.
    pub(crate) written: Option<String>,
}

/// A key and its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) mark: Mark,
    pub(crate) value: Node,
}

/// What a scalar is by the core schema of YAML 1.2.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Resolved<'t> {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(&'t str),
}

/// Something wrong with the text itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Flaw {
    pub(crate) mark: Mark,
    pub(crate) path: Path,
    pub(crate) message: String,
    /// Whether nothing can be read at that path.
    pub(crate) lost: bool,
}

impl Node {
    pub(crate) fn new(mark: Mark, value: Value) -> Node {
        Node { mark, value, hole: false, inherited: false }
    }

    /// A scalar written plainly.
    pub(crate) fn plain(mark: Mark, text: &str) -> Node {
        Node::new(mark, Value::Scalar(Scalar { text: text.to_owned(), plain: true, written: None }))
    }

    /// The value of a key, if this is a mapping that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|e| e.key == key).map(|e| &e.value),
            _ => None,
        }
    }

    /// The value of a key, to be changed.
    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        match &mut self.value {
            Value::Map(entries) => entries.iter_mut().find(|e| e.key == key).map(|e| &mut e.value),
            _ => None,
        }
    }

    /// The entries of a mapping.
    pub(crate) fn entries_mut(&mut self) -> Option<&mut Vec<Entry>> {
        match &mut self.value {
            Value::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The items of a list, holes among them; empty where this is no list.
    pub(crate) fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// Whether nothing is written here.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(s) if s.resolve() == Resolved::Null)
    }

    /// Whether this says `off` or `false`. Quotes do not matter: half of the tools that write YAML put them.
    pub(crate) fn is_off(&self) -> bool {
        matches!(&self.value, Value::Scalar(s) if s.text == "off" || s.resolve() == Resolved::Bool(false))
    }

    /// What an error says was found here.
    pub(crate) fn found(&self) -> String {
        match &self.value {
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a section".to_owned(),
            Value::Scalar(s) => s.found(),
        }
    }

    /// The node at the end of a path, to be changed.
    pub(crate) fn at_mut(&mut self, path: &[Step]) -> Option<&mut Node> {
        path.iter().try_fold(self, |node, step| match (step, &mut node.value) {
            (Step::Key(key), Value::Map(entries)) => entries.iter_mut().find(|e| e.key == *key).map(|e| &mut e.value),
            (Step::Index(index), Value::List(items)) => items.get_mut(*index),
            _ => None,
        })
    }

    /// The node at the end of a path or, where there is none, the last one on the way; and whether the way leads
    /// through what came from `defaults`.
    pub(crate) fn towards(&self, path: &Path) -> (&Node, bool) {
        let (mut node, mut inherited) = (self, false);
        for step in &path.0 {
            let next = match step {
                Step::Key(key) => node.get(key),
                Step::Index(index) => node.items().get(*index),
            };
            let Some(next) = next else { break };
            node = next;
            inherited |= node.inherited;
        }
        (node, inherited)
    }
}

impl Scalar {
    pub(crate) fn resolve(&self) -> Resolved<'_> {
        let text = self.text.as_str();
        if !self.plain {
            return Resolved::Text(text);
        }
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return Resolved::Null,
            "true" | "True" | "TRUE" => return Resolved::Bool(true),
            "false" | "False" | "FALSE" => return Resolved::Bool(false),
            _ => {}
        }
        if let Some(n) = integer(text) {
            return n;
        }
        // Rust reads `inf`, `nan` and `1e5x` otherwise than YAML: only what begins like a number can be one.
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        if digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
            && let Ok(n) = text.parse::<f64>()
        {
            return Resolved::Float(n);
        }
        Resolved::Text(text)
    }

    pub(crate) fn found(&self) -> String {
        let text = self.written.as_deref().unwrap_or(&self.text);
        match self.resolve() {
            _ if !self.plain => format!("\"{}\"", printable(text)),
            Resolved::Null if self.written.is_none() => "nothing".to_owned(),
            _ => printable(text),
        }
    }
}

fn integer(text: &str) -> Option<Resolved<'static>> {
    let unsigned = match (text.strip_prefix("0x"), text.strip_prefix("0o")) {
        (Some(hex), _) => u64::from_str_radix(hex, 16).ok(),
        (_, Some(octal)) => u64::from_str_radix(octal, 8).ok(),
        _ => text.parse().ok(),
    };
    unsigned.map(Resolved::Unsigned).or_else(|| text.parse().ok().map(Resolved::Signed))
}
