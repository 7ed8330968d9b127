//! Texts in which a part of a request stands: `payments:{header:x-merchant-id}`.

use std::fmt;
use std::str::FromStr;

use super::key::{KeyError, KeySource};
use super::pattern::{PathPattern, PatternError, Segment};

/// A text with parts of a request in it. `{{` and `}}` are a brace each.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Template {
    /// In their order; never empty, and no two texts beside each other.
    pub parts: Vec<Part>,
}

/// A part of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Part {
    /// This text.
    Text(String),
    /// What the request has there.
    Key(KeySource),
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Nothing stands there.
    #[error("expected a text that is not empty")]
    Empty,
    /// A brace was opened at this character, from 1.
    #[error("expected }} after the {{ at character {0}; a brace itself is written {{{{")]
    Unclosed(usize),
    /// A brace was closed at this character that nothing had opened.
    #[error("expected {{ before the }} at character {0}; a brace itself is written }}}}")]
    Unopened(usize),
    /// At this character a key begins that is none.
    #[error("{error} after the {{ at character {at}")]
    Key {
        /// Where the brace is.
        at: usize,
        /// What is wrong with it.
        error: KeyError,
    },
    /// A key that says nothing of the request.
    #[error("expected a part of the request after the {{ at character {0}: constant is the same for all")]
    Constant(usize),
    /// In a path: a text that cannot stand in one.
    #[error("{0}")]
    Path(#[from] PatternError),
}

impl TemplateError {
    /// The same, of a text that so many characters stand before.
    fn moved(self, by: usize) -> TemplateError {
        match self {
            TemplateError::Unclosed(at) => TemplateError::Unclosed(at + by),
            TemplateError::Unopened(at) => TemplateError::Unopened(at + by),
            TemplateError::Constant(at) => TemplateError::Constant(at + by),
            TemplateError::Key { at, error } => TemplateError::Key { at: at + by, error },
            TemplateError::Empty | TemplateError::Path(_) => self,
        }
    }
}

impl Template {
    /// The parts of a request that stand in it.
    pub fn keys(&self) -> impl Iterator<Item = &KeySource> {
        self.parts.iter().filter_map(|part| match part {
            Part::Key(key) => Some(key),
            Part::Text(_) => None,
        })
    }

    /// Whether both can be the same text, for some two requests.
    pub fn meets(&self, other: &Template) -> bool {
        meets(&self.flat(), &other.flat())
    }

    /// Its characters, with a gap for each part of a request: one character at least.
    fn flat(&self) -> Vec<Piece> {
        let mut flat = Vec::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => flat.extend(text.chars().map(Piece::Is)),
                Part::Key(_) => flat.extend([Piece::One, Piece::Many]),
            }
        }
        flat
    }
}

/// A piece of a text with gaps.
#[derive(Clone, Copy, PartialEq)]
enum Piece {
    /// This character.
    Is(char),
    /// Any one.
    One,
    /// Any number of any.
    Many,
}

/// Whether two texts with gaps can be filled to the same text.
fn meets(a: &[Piece], b: &[Piece]) -> bool {
    let width = b.len() + 1;
    // Whether what is left of both can be, worked out from their ends.
    let mut can = vec![false; (a.len() + 1) * width];
    for i in (0..=a.len()).rev() {
        for j in (0..=b.len()).rev() {
            let at = |i: usize, j: usize| can.get(i * width + j).copied().unwrap_or_default();
            can[i * width + j] = match (a.get(i), b.get(j)) {
                (None, None) => true,
                (Some(Piece::Many), other) => at(i + 1, j) || (other.is_some() && at(i, j + 1)),
                (other, Some(Piece::Many)) => at(i, j + 1) || (other.is_some() && at(i + 1, j)),
                (Some(Piece::Is(c)), Some(Piece::Is(d))) => c == d && at(i + 1, j + 1),
                (Some(_), Some(_)) => at(i + 1, j + 1),
                _ => false,
            };
        }
    }
    can[0]
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(s: &str) -> Result<Self, TemplateError> {
        let (mut parts, mut text) = (Vec::new(), String::new());
        let mut rest = s.char_indices().zip(1..).peekable();
        while let Some(((at, c), place)) = rest.next() {
            if !matches!(c, '{' | '}') {
                text.push(c);
                continue;
            }
            if rest.next_if(|((_, next), _)| *next == c).is_some() {
                text.push(c);
                continue;
            }
            if c == '}' {
                return Err(TemplateError::Unopened(place));
            }
            let inside = &s[at + 1..];
            let end = inside.find(['{', '}']).filter(|end| inside[*end..].starts_with('}'));
            let inside = &inside[..end.ok_or(TemplateError::Unclosed(place))?];
            match inside.parse() {
                Ok(KeySource::Constant) => return Err(TemplateError::Constant(place)),
                Ok(key) => {
                    if !text.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut text)));
                    }
                    parts.push(Part::Key(key));
                }
                Err(error) => return Err(TemplateError::Key { at: place, error }),
            }
            while rest.next_if(|((here, _), _)| *here <= at + 1 + inside.len()).is_some() {}
        }
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        if parts.is_empty() { Err(TemplateError::Empty) } else { Ok(Template { parts }) }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            match part {
                Part::Text(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}"))?,
                Part::Key(key) => write!(f, "{{{key}}}")?,
            }
        }
        Ok(())
    }
}

/// Paths, as `invalidates.paths` spells them: a pattern as in `match.path`, in whose segments parts of the request may
/// stand: `/v1/payments/{*rest}`, `/v1/merchants/{path:merchant}/config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTemplate {
    /// From the left; the root path is one empty literal.
    pub segments: Vec<PathPart>,
}

/// A segment of a [`PathTemplate`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathPart {
    /// As in `match.path`.
    Fixed(Segment),
    /// What the request makes of it.
    Filled(Template),
}

impl PathTemplate {
    /// The parts of a request that stand in it.
    pub fn keys(&self) -> impl Iterator<Item = &KeySource> {
        let filled = self.segments.iter().filter_map(|segment| match segment {
            PathPart::Filled(template) => Some(template),
            PathPart::Fixed(_) => None,
        });
        filled.flat_map(Template::keys)
    }

    /// The pattern of all paths that it can stand for: whatever a request fills in counts as a parameter, `0` for the first
    /// segment. Where nothing is filled in, the paths of this pattern are the ones that are meant.
    pub fn pattern(&self) -> PathPattern {
        let segments = self.segments.iter().enumerate().map(|(at, segment)| match segment {
            PathPart::Fixed(segment) => segment.clone(),
            PathPart::Filled(_) => Segment::Param(at.to_string()),
        });
        PathPattern { segments: segments.collect() }
    }
}

impl FromStr for PathTemplate {
    type Err = TemplateError;

    fn from_str(s: &str) -> Result<Self, TemplateError> {
        let (mut filled, mut plain, mut place) = (Vec::new(), String::new(), 0);
        for (index, text) in s.split('/').enumerate() {
            if index > 0 {
                plain.push('/');
            }
            let is_filled = text.contains('{') && text.contains(':');
            if is_filled {
                let template: Template = text.parse().map_err(|error: TemplateError| error.moved(place))?;
                for part in &template.parts {
                    if let Part::Text(text) = part {
                        format!("/x{text}").parse::<PathPattern>()?;
                    }
                }
                filled.push(Some(template));
            } else {
                filled.push(None);
            }
            plain.push_str(if is_filled { "x" } else { text });
            place += text.chars().count() + 1;
        }
        // Everything else is held to the rules of a pattern, the whole of it.
        let pattern: PathPattern = plain.parse()?;
        let segments = filled.into_iter().skip(1).zip(pattern.segments).map(|(template, fixed)| match template {
            Some(template) => PathPart::Filled(template),
            None => PathPart::Fixed(fixed),
        });
        Ok(PathTemplate { segments: segments.collect() })
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            match segment {
                PathPart::Fixed(segment) => write!(f, "/{segment}")?,
                PathPart::Filled(template) => write!(f, "/{template}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_read_and_written_alike() {
        for text in [
            "payments",
            "payments:{header:x-merchant-id}",
            "{path:merchant}",
            "{client_ip}",
            "a{query:b}c{cookie:d}{jwt:sub}e",
            "{{{path:a}}}",
            "ä{header:x}ö",
        ] {
            assert_eq!(text.parse::<Template>().unwrap_or_else(|e| panic!("{text}: {e}")).to_string(), text);
        }
        let template: Template = "payments:{header:X-Merchant-Id}".parse().unwrap();
        let key = Part::Key("header:x-merchant-id".parse().unwrap());
        assert_eq!(template.parts, [Part::Text("payments:".to_owned()), key]);
        assert_eq!("{{a}}".parse::<Template>().unwrap().parts, [Part::Text("{a}".to_owned())]);
    }

    #[test]
    fn what_is_no_template_is_refused_with_its_place() {
        for (text, expected) in [
            ("", "expected a text that is not empty"),
            ("a{header:x", "expected } after the { at character 2; a brace itself is written {{"),
            ("äö{header:x", "expected } after the { at character 3; a brace itself is written {{"),
            ("a{header:{x}", "expected } after the { at character 2; a brace itself is written {{"),
            ("a}b", "expected { before the } at character 2; a brace itself is written }}"),
            ("{header:x}}", "expected { before the } at character 11; a brace itself is written }}"),
            (
                "a{heder:x}",
                "expected client_ip, header:NAME, query:NAME, cookie:NAME, path:PARAM, jwt:CLAIM or constant after the { at character 2",
            ),
            ("a{}", "constant after the { at character 2"),
            ("a{constant}", "expected a part of the request after the { at character 2: constant is the same for all"),
        ] {
            let error = text.parse::<Template>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn which_templates_meet() {
        let meet = |a: &str, b: &str| {
            let (a, b): (Template, Template) = (a.parse().unwrap(), b.parse().unwrap());
            assert_eq!(a.meets(&b), b.meets(&a));
            a.meets(&b)
        };
        for (a, b, expected) in [
            ("a", "a", true),
            ("a", "b", false),
            ("p:{header:x}", "p:{path:m}", true),
            ("p:{header:x}", "p:mer_1", true),
            ("p:{header:x}", "p:", false),
            ("p:{header:x}", "q:{header:x}", false),
            ("p:{header:x}", "p:{header:x}:all", true),
            ("{header:x}", "p:{path:m}", true),
            ("p:{header:x}:a", "p:{header:x}:b", false),
            ("{header:x}a", "b{path:m}", true),
        ] {
            assert_eq!(meet(a, b), expected, "{a} and {b}");
        }
    }

    #[test]
    fn paths_are_read_and_written_alike() {
        for (text, pattern) in [
            ("/", "/"),
            ("/v1/payments", "/v1/payments"),
            ("/v1/payments/{*rest}", "/v1/payments/{*rest}"),
            ("/v1/a:b/{id}", "/v1/a:b/{id}"),
            ("/v1/merchants/{path:merchant}/config", "/v1/merchants/{2}/config"),
            ("/{header:x}/{id}/m-{query:m}.json/{*rest}", "/{0}/{id}/{2}/{*rest}"),
        ] {
            let path: PathTemplate = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!((path.to_string(), path.pattern().to_string()), (text.to_owned(), pattern.to_owned()));
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for (text, expected) in [
            ("", "expected a path that starts with /"),
            ("a", "expected a path that starts with /"),
            ("{path:a}/b", "expected a path that starts with /"),
            ("/a?b={query:b}", "expected a path without ? and #"),
            ("/a/{*rest}/{path:b}", "expected {*rest} at the end only"),
            ("/a/x{b}", "expected a whole segment for a parameter"),
            ("/a/{path:b", "expected } after the { at character 4"),
            ("/ab/c-{pth:b}", "jwt:CLAIM or constant after the { at character 7"),
            ("/a/{path:b}*", "expected a whole segment for a parameter"),
            ("/{a}/{a}", "expected each parameter once"),
        ] {
            let error = text.parse::<PathTemplate>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
