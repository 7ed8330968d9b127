//! The path of a rule: segments that are literal, `{param}` or, at the end, `{*rest}`.

use std::cmp::Ordering;

/// One segment of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    Literal(String),
    /// One segment that is not empty.
    Param(String),
    /// This segment and all behind it; there has to be one, but it may be empty.
    Rest(String),
}

/// A path with parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Segment>);

impl Pattern {
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix('/').ok_or("expected a path that begins with /")?;
        if let Some(odd) = text.chars().find(|c| !c.is_ascii_graphic() || matches!(c, '?' | '#')) {
            return Err(format!("expected a path as it stands in a request, got {odd:?} in it"));
        }
        let segments: Vec<Segment> = rest.split('/').map(Segment::new).collect::<Result<_, _>>()?;
        if segments.iter().rev().skip(1).any(|s| matches!(s, Segment::Rest(_))) {
            return Err("expected {*rest} at the end alone".into());
        }
        let mut names: Vec<&str> = segments.iter().filter_map(Segment::param).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err("expected each parameter once".into());
        }
        Ok(Pattern(segments))
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// Less: tried first. Segment by segment: literal, parameter, rest.
    pub(super) fn precedence(&self, other: &Self) -> Ordering {
        for (a, b) in self.0.iter().zip(&other.0) {
            let order = match (a, b) {
                (Segment::Literal(a), Segment::Literal(b)) => a.cmp(b),
                (a, b) => a.rank().cmp(&b.rank()),
            };
            if order != Ordering::Equal {
                return order;
            }
        }
        self.0.len().cmp(&other.0.len())
    }

    /// Whether it takes this path: what the tree does, for one pattern.
    pub(super) fn takes(&self, path: &str) -> bool {
        let Some(path) = path.strip_prefix('/') else { return false };
        let mut parts = path.split('/');
        for segment in &self.0 {
            match (segment, parts.next()) {
                (Segment::Rest(_), Some(_)) => return true,
                (Segment::Literal(text), Some(part)) if text == part => {}
                (Segment::Param(_), Some(part)) if !part.is_empty() => {}
                _ => return false,
            }
        }
        parts.next().is_none()
    }
}

impl Segment {
    fn new(text: &str) -> Result<Self, String> {
        let name_of = |name: &str| {
            let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
            let good = !name.is_empty() && name.bytes().all(known);
            good.then(|| name.to_owned()).ok_or("expected a name of letters, digits, _ and - in braces")
        };
        match text.strip_prefix('{').and_then(|t| t.strip_suffix('}')) {
            Some(name) => match name.strip_prefix('*') {
                Some(rest) => Ok(Segment::Rest(name_of(rest)?)),
                None => Ok(Segment::Param(name_of(name)?)),
            },
            None if text.contains(['{', '}']) => Err("expected braces around a whole segment".into()),
            None => Ok(Segment::Literal(text.to_owned())),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Segment::Literal(_) => 0,
            Segment::Param(_) => 1,
            Segment::Rest(_) => 2,
        }
    }

    fn param(&self) -> Option<&str> {
        match self {
            Segment::Literal(_) => None,
            Segment::Param(name) | Segment::Rest(name) => Some(name),
        }
    }
}

/// The parameters of a path, one by one, cut out when asked for.
#[derive(Debug, Clone)]
pub struct Params<'a> {
    segments: std::slice::Iter<'a, Segment>,
    path: Option<&'a str>,
}

impl<'a> Params<'a> {
    pub(super) fn new(pattern: Option<&'a Pattern>, path: &'a str) -> Self {
        let segments = pattern.map_or(&[][..], |p| p.segments()).iter();
        Params { segments, path: path.strip_prefix('/') }
    }
}

impl<'a> Iterator for Params<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let segment = self.segments.next()?;
            let path = self.path?;
            if let Segment::Rest(name) = segment {
                return Some((name, path));
            }
            let (part, after) = match path.split_once('/') {
                Some((part, after)) => (part, Some(after)),
                None => (path, None),
            };
            self.path = after;
            if let Segment::Param(name) = segment {
                return Some((name, part));
            }
        }
    }
}
