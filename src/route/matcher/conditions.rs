//! What a rule asks beside listener, host and path: method, headers, query.

use std::cmp::Ordering;

use http::{HeaderName, Method};

use super::{Request, Rule};

/// The methods, headers and query parameters of a rule.
#[derive(Debug)]
pub(super) struct Conditions {
    /// Empty: every method.
    methods: Vec<Method>,
    headers: Vec<(HeaderName, Wanted)>,
    query: Vec<(String, Wanted)>,
}

/// A value a rule wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Present,
    Exactly(String),
}

/// The first thing a request lacks. The method is looked at last: only who lacks nothing else may name it in `Allow`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Miss<'a> {
    Header(&'a HeaderName, &'a Wanted),
    Query(&'a str, &'a Wanted),
    Method,
}

impl Wanted {
    fn new(value: &str) -> Self {
        if value == "*" { Wanted::Present } else { Wanted::Exactly(value.to_owned()) }
    }

    fn takes(&self, value: &[u8]) -> bool {
        match self {
            Wanted::Present => true,
            Wanted::Exactly(wanted) => wanted.as_bytes() == value,
        }
    }

    /// Whether no value is both.
    fn excludes(&self, other: &Self) -> bool {
        matches!((self, other), (Wanted::Exactly(a), Wanted::Exactly(b)) if a != b)
    }
}

impl Conditions {
    /// None after the errors were noted.
    pub(super) fn new(rule: &Rule, note: &mut dyn FnMut(&'static str, String)) -> Option<Self> {
        let mut good = true;
        let mut wrong = |key, problem| {
            good = false;
            note(key, problem);
        };
        let mut methods = Vec::new();
        for text in &rule.methods {
            match Method::from_bytes(text.as_bytes()) {
                Ok(method) if methods.contains(&method) => wrong("methods", format!("{text} is named twice")),
                Ok(method) if !text.bytes().any(|b| b.is_ascii_lowercase()) => methods.push(method),
                _ => wrong("methods", format!("expected a method in capital letters, got {text:?}")),
            }
        }
        let mut headers: Vec<(HeaderName, Wanted)> = Vec::new();
        for (text, value) in &rule.headers {
            match HeaderName::from_bytes(text.as_bytes()) {
                Ok(name) if headers.iter().any(|(n, _)| *n == name) => {
                    wrong("headers", format!("{name} is named twice"))
                }
                Ok(name) => headers.push((name, Wanted::new(value))),
                Err(_) => wrong("headers", format!("expected the name of a header, got {text:?}")),
            }
        }
        let mut query: Vec<(String, Wanted)> = Vec::new();
        for (name, value) in &rule.query {
            if name.is_empty() || name.contains(['&', '=', '#']) || value.contains(['&', '#']) {
                wrong("query", format!("expected a name and a value as they stand in a target, got {name:?}"));
            } else if query.iter().any(|(n, _)| n == name) {
                wrong("query", format!("{name} is named twice"));
            } else {
                query.push((name.clone(), Wanted::new(value)));
            }
        }
        good.then_some(Conditions { methods, headers, query })
    }

    /// Whether a request has all that is asked; else the first thing it lacks.
    pub(super) fn check(&self, request: &Request<'_>) -> Result<(), Miss<'_>> {
        for (name, wanted) in &self.headers {
            let mut values = request.headers.get_all(name).iter().peekable();
            if values.peek().is_none() || !values.all(|v| wanted.takes(v.as_bytes())) {
                return Err(Miss::Header(name, wanted));
            }
        }
        for (name, wanted) in &self.query {
            let mut values = query_values(request.query, name).peekable();
            if values.peek().is_none() || !values.all(|v| wanted.takes(v.as_bytes())) {
                return Err(Miss::Query(name, wanted));
            }
        }
        if self.takes_method(request.method) { Ok(()) } else { Err(Miss::Method) }
    }

    fn takes_method(&self, method: &Method) -> bool {
        let named = |m: &Method| self.methods.contains(m);
        self.methods.is_empty() || named(method) || (*method == Method::HEAD && named(&Method::GET))
    }

    /// The methods that are taken, where some are named.
    pub(super) fn methods(&self) -> impl Iterator<Item = &str> {
        let head = self.methods.contains(&Method::GET).then_some("HEAD");
        self.methods.iter().map(Method::as_str).chain(head)
    }

    /// Less: tried first. Last of all a rule that names HEAD stands before one that takes it with GET.
    pub(super) fn precedence(&self, other: &Self) -> Ordering {
        let rank = |c: &Self| (c.methods.is_empty(), usize::MAX - c.headers.len(), usize::MAX - c.query.len());
        let without_head = |c: &Self| !c.methods.contains(&Method::HEAD);
        rank(self).cmp(&rank(other)).then_with(|| without_head(self).cmp(&without_head(other)))
    }

    /// Whether both stand equal and one request could be taken by either.
    pub(super) fn ambiguous_with(&self, other: &Self) -> bool {
        let same_rank = self.methods.is_empty() == other.methods.is_empty()
            && self.headers.len() == other.headers.len()
            && self.query.len() == other.query.len();
        let share_method = self.methods.is_empty() || self.methods.iter().any(|m| other.methods.contains(m));
        let apart_by_header = self
            .headers
            .iter()
            .any(|(name, wanted)| other.headers.iter().any(|(n, w)| n == name && w.excludes(wanted)));
        let apart_by_query =
            self.query.iter().any(|(name, wanted)| other.query.iter().any(|(n, w)| n == name && w.excludes(wanted)));
        same_rank && share_method && !apart_by_header && !apart_by_query
    }
}

/// The values of a query parameter as they are written; one without `=` has the empty value.
pub(super) fn query_values<'a>(query: Option<&'a str>, name: &str) -> impl Iterator<Item = &'a str> {
    query.into_iter().flat_map(|q| q.split('&')).filter_map(move |pair| {
        let (n, value) = pair.split_once('=').unwrap_or((pair, ""));
        (n == name).then_some(value)
    })
}
