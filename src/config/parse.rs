//! YAML text into a tree whose every node knows its line and column.

use std::borrow::Cow;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use super::path::{Mark, Path, Step};
use super::tree::{Entry, Flaw, Node, Scalar, Value};

/// The longest file that is read.
const MAX_BYTES: usize = 1 << 20;
/// The deepest nesting that is read; ours needs seven.
const MAX_DEPTH: usize = 64;
/// The most comments without a space in front that are read.
const MAX_FORGIVEN: usize = 100;
/// What the parser says of such a comment.
const NO_SPACE: &str = "comments must be separated";

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
    let mut text = Cow::Borrowed(text.strip_prefix('\u{feff}').unwrap_or(text));
    // `[a]# comment` is forgiven by libyaml, so files have it. What stands behind is a comment: no column moves.
    for _ in 0..MAX_FORGIVEN {
        match document(&text) {
            Err(flaw) if flaw.message.contains(NO_SPACE) => {
                let line: usize = text.split_inclusive('\n').take(flaw.mark.line - 1).map(str::len).sum();
                let column = text[line..].char_indices().nth(flaw.mark.column - 1).map_or(0, |(at, _)| at);
                text.to_mut().insert(line + column, ' ');
            }
            read => return read,
        }
    }
    Err(flaw(start, "expected a space in front of every comment"))
}

fn document(text: &str) -> Result<(Node, Vec<Flaw>), Flaw> {
    let mut builder = Builder { parser: Parser::new_from_str(text), text, flaws: Vec::new(), path: Path::default() };
    let mut root = None;
    while let Some((event, span)) = builder.next()? {
        match event {
            Event::DocumentStart(_) if root.is_some() => {
                return Err(builder.flaw(mark(&span.start), "expected one document, found a second"));
            }
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            Event::StreamEnd => break,
            event => root = Some(builder.node(event, span)?),
        }
    }
    match root {
        Some(root) if !root.is_null() => Ok((root, builder.flaws)),
        _ => {
            let message = "expected a configuration, found an empty file; listeners and upstreams are required";
            Err(builder.flaw(Mark { line: 1, column: 1 }, message))
        }
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
