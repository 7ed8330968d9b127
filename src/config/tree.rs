//! YAML text into a tree whose every node knows its line and column.

use std::borrow::Cow;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use super::path::{Mark, Path, Step, printable};

/// The longest file that is read.
const MAX_BYTES: usize = 1 << 20;
/// The deepest nesting that is read; ours needs seven.
const MAX_DEPTH: usize = 64;

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

/// Reads one document. What is wrong but can be passed over (a key twice, an anchor) comes beside the tree.
pub(crate) fn parse(text: &str) -> Result<(Node, Vec<Flaw>), Flaw> {
    let start = Mark { line: 1, column: 1 };
    let flaw = |mark, message: &str| Flaw { mark, path: Path::default(), message: message.to_owned(), lost: true };
    if text.len() > MAX_BYTES {
        return Err(flaw(start, "expected a file of at most 1MiB"));
    }
    // The parser takes NUL for the end: what stands behind it would be passed over in silence.
    if let Some(at) = text.find('\0') {
        let before = &text[..at];
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        return Err(flaw(Mark { line: before.matches('\n').count() + 1, column }, "expected text, found a NUL byte"));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder { parser: Parser::new_from_str(text), text, flaws: Vec::new(), path: Path::default() };
    let mut root = None;
    while let Some((event, span)) = builder.next()? {
        match event {
            Event::DocumentStart(_) if root.is_some() => {
                return Err(flaw(mark(&span.start), "expected one document, found a second"));
            }
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            Event::StreamEnd => break,
            event => root = Some(builder.node(event, span)?),
        }
    }
    match root {
        Some(root) if !root.is_null() => Ok((root, builder.flaws)),
        _ => Err(flaw(start, "expected a configuration, found an empty file; listeners and upstreams are required")),
    }
}

fn mark(marker: &Marker) -> Mark {
    Mark { line: marker.line().max(1), column: marker.col() + 1 }
}

struct Builder<'t> {
    parser: Parser<'t, StrInput<'t>>,
    text: &'t str,
    flaws: Vec<Flaw>,
    path: Path,
}

impl<'t> Builder<'t> {
    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, Flaw> {
        self.parser.next_event().transpose().map_err(|e| self.syntax(&e))
    }

    /// The next event where the document cannot end.
    fn inner(&mut self) -> Result<(Event<'t>, Span), Flaw> {
        self.next()?.ok_or_else(|| self.flaw(Mark::default(), "expected more, found the end of the file"))
    }

    fn flaw(&self, mark: Mark, message: impl Into<String>) -> Flaw {
        Flaw { mark, path: self.path.clone(), message: message.into(), lost: true }
    }

    /// Something that can be passed over. An anchor or a second key leaves what stands at the path readable.
    fn note(&mut self, mark: Mark, message: &str, lost: bool) {
        let flaw = Flaw { lost, ..self.flaw(mark, message) };
        self.flaws.push(flaw);
    }

    /// The parser's own words, and what mostly helps.
    fn syntax(&self, error: &ScanError) -> Flaw {
        let at = mark(error.marker());
        let line = self.text.lines().nth(at.line - 1).unwrap_or_default();
        let rest = line.chars().skip(at.column - 1).collect::<String>();
        let hint = match rest.trim_start().chars().next() {
            Some('*') => "; a value that begins with * is an alias: quote it",
            Some('&' | '%' | '@' | '`' | '!') => "; a value that begins so: quote it",
            Some('\t') => "; indent with spaces, not with tabs",
            _ if line.contains('\t') => "; indent with spaces, not with tabs",
            _ if line.contains(['{', '[', '*']) => "; quote values that hold { } [ ] or *",
            _ => "",
        };
        self.flaw(at, format!("not valid YAML: {}{hint}", error.info().to_lowercase()))
    }

    fn node(&mut self, event: Event<'t>, span: Span) -> Result<Node, Flaw> {
        let at = mark(&span.start);
        if self.path.0.len() >= MAX_DEPTH {
            return Err(self.flaw(at, "expected at most 64 levels of nesting"));
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && !self.is_text(at, anchor, tag.as_deref());
                let scalar = Scalar { text: text.into_owned(), plain, written: None };
                Ok(Node::new(at, Value::Scalar(scalar)))
            }
            Event::SequenceStart(anchor, tag) => {
                self.is_text(at, anchor, tag.as_deref());
                self.list(at)
            }
            Event::MappingStart(anchor, tag) => {
                self.is_text(at, anchor, tag.as_deref());
                self.map(at)
            }
            _ => {
                let hint = "anchors and aliases are not read: use `defaults`; a value that begins with *: quote it";
                self.note(at, hint, true);
                Ok(Node::plain(at, "null"))
            }
        }
    }

    /// Whether a tag says that this is text; other tags, and anchors, are flaws.
    fn is_text(&mut self, at: Mark, anchor: usize, tag: Option<&Tag>) -> bool {
        if anchor != 0 {
            self.note(
                at,
                "anchors and aliases are not read: use `defaults`; a value that begins with &: quote it",
                false,
            );
        }
        match tag {
            None => false,
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => true,
            Some(_) => {
                self.note(at, "tags are not read; a value that begins with !: quote it", true);
                false
            }
        }
    }

    fn list(&mut self, at: Mark) -> Result<Node, Flaw> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.inner()?;
            if event == Event::SequenceEnd {
                return Ok(Node::new(at, Value::List(items)));
            }
            self.path.0.push(Step::Index(items.len()));
            items.push(self.node(event, span)?);
            self.path.0.pop();
        }
    }

    fn map(&mut self, at: Mark) -> Result<Node, Flaw> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (event, span) = self.inner()?;
            let key_at = mark(&span.start);
            let (key, anchor) = match event {
                Event::MappingEnd => return Ok(Node::new(at, Value::Map(entries))),
                Event::Scalar(key, _, anchor, _) => (Cow::into_owned(key), anchor),
                _ => return Err(self.flaw(key_at, "expected a key, found a list, a section or an alias")),
            };
            self.is_text(key_at, anchor, None);
            self.path.0.push(Step::Key(key.clone()));
            let (event, span) = self.inner()?;
            let value = self.node(event, span)?;
            // Only a mapping with thousands of keys would feel that this is a search through a list.
            if let Some(first) = entries.iter().find(|e| e.key == key) {
                let message = format!("the same key twice; the first is on line {}", first.mark.line);
                self.note(key_at, &message, false);
            } else if key == "<<" {
                self.note(key_at, "merge keys are not read: use `defaults`", true);
            } else {
                entries.push(Entry { key, mark: key_at, value });
            }
            self.path.0.pop();
        }
    }
}

#[cfg(test)]
mod tests;
