//! What `match.path` and `match.host` may say.

use std::fmt;
use std::str::FromStr;

use super::endpoint::is_host;

/// A path as `match.path` spells it: `/exact`, `/with/{param}`, `/{*rest}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    /// From the left; the root path is one empty literal.
    pub segments: Vec<Segment>,
}

/// One part of a path, between slashes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Segment {
    /// This text.
    Literal(String),
    /// Any one segment that is not empty.
    Param(String),
    /// Everything from here on; the last segment only.
    Rest(String),
}

/// Why a text is no path pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PatternError(&'static str);

impl PathPattern {
    /// The names of its parameters.
    pub fn params(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|s| match s {
            Segment::Param(name) | Segment::Rest(name) => Some(name.as_str()),
            Segment::Literal(_) => None,
        })
    }

    /// Whether it takes this path.
    pub fn takes(&self, path: &str) -> bool {
        let Some(path) = path.strip_prefix('/') else { return false };
        let mut parts = path.split('/');
        for segment in &self.segments {
            match (segment, parts.next()) {
                (Segment::Rest(_), Some(_)) => return true,
                (Segment::Literal(text), Some(part)) if text == part => {}
                (Segment::Param(_), Some(part)) if !part.is_empty() => {}
                _ => return false,
            }
        }
        parts.next().is_none()
    }

    /// Whether there is a path that both take.
    pub fn meets(&self, other: &PathPattern) -> bool {
        let (mut a, mut b) = (self.segments.iter(), other.segments.iter());
        loop {
            match (a.next(), b.next()) {
                (None, None) => return true,
                (Some(Segment::Rest(_)), Some(_)) | (Some(_), Some(Segment::Rest(_))) => return true,
                (Some(Segment::Literal(a)), Some(Segment::Literal(b))) if a == b => {}
                (Some(Segment::Param(_)), Some(Segment::Literal(text)))
                | (Some(Segment::Literal(text)), Some(Segment::Param(_)))
                    if !text.is_empty() => {}
                (Some(Segment::Param(_)), Some(Segment::Param(_))) => {}
                _ => return false,
            }
        }
    }

    /// The pattern without the names of its parameters: two with the same shape take the same paths.
    pub(crate) fn shape(&self) -> String {
        let mut shape = String::new();
        for segment in &self.segments {
            match segment {
                Segment::Literal(text) => shape.push_str(&format!("/{text}")),
                Segment::Param(_) => shape.push_str("/{}"),
                Segment::Rest(_) => shape.push_str("/{*}"),
            }
        }
        shape
    }
}

impl FromStr for PathPattern {
    type Err = PatternError;

    fn from_str(s: &str) -> Result<Self, PatternError> {
        let rest = s.strip_prefix('/').ok_or(PatternError("expected a path that starts with /"))?;
        if s.contains(['?', '#']) {
            return Err(PatternError("expected a path without ? and #; a query is matched by match.query"));
        }
        if !s.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(PatternError("expected a path of visible ASCII; other characters are written %XX"));
        }
        let mut segments = Vec::new();
        for text in rest.split('/') {
            if matches!(segments.last(), Some(Segment::Rest(_))) {
                return Err(PatternError("expected {*rest} at the end only"));
            }
            segments.push(segment(text)?);
        }
        let pattern = PathPattern { segments };
        let mut names: Vec<_> = pattern.params().collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(PatternError("expected each parameter once"));
        }
        Ok(pattern)
    }
}

fn segment(text: &str) -> Result<Segment, PatternError> {
    if let Some(inside) = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')) {
        let (name, rest) = match inside.strip_prefix('*') {
            Some(name) => (name, true),
            None => (inside, false),
        };
        if !is_param(name) {
            return Err(PatternError("expected letters, digits and _ as a parameter's name"));
        }
        return Ok(if rest { Segment::Rest(name.to_owned()) } else { Segment::Param(name.to_owned()) });
    }
    if text.contains(['{', '}', '*']) {
        return Err(PatternError("expected a whole segment for a parameter: /{name}, or /{*rest} at the end"));
    }
    // Requests with dot segments are refused before they are matched: such a route would never be taken.
    let dots = text.to_ascii_lowercase().replace("%2e", ".");
    if dots == "." || dots == ".." {
        return Err(PatternError("expected no . or .. segment"));
    }
    Ok(Segment::Literal(text.to_owned()))
}

/// Whether this can be the name of a parameter.
pub(crate) fn is_param(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether `match.host` can be this: an exact name or address, or `*.example.com`. Ports are not matched.
pub(crate) fn is_host_pattern(host: &str) -> bool {
    let v6 = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    match (v6, host.strip_prefix("*.")) {
        (Some(v6), _) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        (_, Some(suffix)) => is_host(suffix),
        _ => is_host(host),
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.segments.iter().try_for_each(|segment| write!(f, "/{segment}"))
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Segment::Literal(text) => f.write_str(text),
            Segment::Param(name) => write!(f, "{{{name}}}"),
            Segment::Rest(name) => write!(f, "{{*{name}}}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_are_read_and_written_alike() {
        for text in ["/", "/a", "/a/", "/v1/payments/{id}", "/{*rest}", "/a/{b}/{*c}", "/a%20b", "/.well-known/x"] {
            assert_eq!(text.parse::<PathPattern>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in [
            "",
            "a",
            "*",
            "/a?b",
            "/a#b",
            "/a b",
            "/ä",
            "/{}",
            "/{a-b}",
            "/x{a}",
            "/{a}x",
            "/a*",
            "/{*a}/b",
            "/{a}/{a}",
            "/{a}/{*a}",
            "/a/../b",
            "/.",
            "/a/%2E%2e",
            "/{*}",
        ] {
            assert!(text.parse::<PathPattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_shape_forgets_names() {
        let shape = |s: &str| s.parse::<PathPattern>().unwrap().shape();
        assert_eq!(shape("/a/{b}/{*c}"), shape("/a/{x}/{*y}"));
        assert_ne!(shape("/a/{b}"), shape("/a/{*b}"));
        assert_ne!(shape("/a"), shape("/a/"));
    }

    #[test]
    fn which_paths_a_pattern_takes() {
        for (pattern, taken, not) in [
            ("/", "/", "/a"),
            ("/a", "/a", "/a/"),
            ("/a/{b}", "/a/1", "/a/"),
            ("/a/{b}/c", "/a/1/c", "/a/1/d"),
            ("/a/{*b}", "/a/1/2", "/a"),
            ("/a/{*b}", "/a/", "/b/1"),
        ] {
            let pattern: PathPattern = pattern.parse().unwrap();
            assert!(pattern.takes(taken) && !pattern.takes(not) && !pattern.takes("a"), "{pattern}");
        }
    }

    #[test]
    fn which_patterns_meet() {
        for (a, b, expected) in [
            ("/a", "/a", true),
            ("/a", "/b", false),
            ("/a", "/a/{b}", false),
            ("/a/{b}", "/a/1", true),
            ("/a/{b}", "/a/", false),
            ("/a/{b}", "/{c}/1", true),
            ("/a/{*b}", "/a/{c}/d", true),
            ("/a/{*b}", "/a", false),
            ("/a/{*b}", "/{*c}", true),
            ("/a/{b}/c", "/a/{b}/d", false),
        ] {
            let (a, b): (PathPattern, PathPattern) = (a.parse().unwrap(), b.parse().unwrap());
            assert!(a.meets(&b) == expected && b.meets(&a) == expected, "{a} and {b}");
        }
    }

    #[test]
    fn hosts() {
        assert!(["a.example.com", "*.example.com", "[::1]", "10.0.0.1", "localhost"].into_iter().all(is_host_pattern));
        assert!(!["", "*", "a.*.com", "a:80", "http://a", "*.", "a/b", "::1"].into_iter().any(is_host_pattern));
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_written_the_same(text in "(/[a-z{}*.%0-9]{0,4}){1,4}") {
            if let Ok(pattern) = text.parse::<PathPattern>() {
                prop_assert_eq!(pattern.to_string(), text);
            }
        }
    }
}
