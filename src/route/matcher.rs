//! The matcher: from a request to the one route that takes it.
//!
//! Routes are compared in one order: listener, then host (exact, longest `*.` suffix, none), then path segment by segment
//! (literal, `{param}`, `{*rest}`, none), then methods (some, none), then the number of headers, then of query parameters.
//! The first route in that order that takes the request wins, so a narrow path whose routes all want another header or
//! method gives way to a wider one. Two routes that stand equal and could both take one request are an error, never a
//! matter of their order in the file.
//!
//! A path is a walk down a tree with a hash map at each node, so ten thousand routes cost what ten cost; only routes that
//! share a listener, host and path are tried one by one. Nothing is allocated on the way to a route. Paths and queries are
//! compared as they were received, byte by byte: no escape is decoded (`%41` is not `A`) and case matters.

use std::cmp::Ordering;
use std::collections::HashMap;

use http::{HeaderMap, Method};

mod conditions;
mod explain;
mod host;
mod pattern;

use conditions::{Conditions, Miss};
pub use explain::Verdict;
pub use host::host_without_port;
use host::{Host, MAX_HOST, lower_case};
pub use pattern::Params;
use pattern::{Pattern, Segment};

/// What a route asks of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// What [`Matcher::explain`] and errors call it.
    pub name: String,
    /// The number of its listener; None: any.
    pub listener: Option<usize>,
    /// A name, or `*.` and a suffix.
    pub host: Option<String>,
    /// `/literal/{param}/{*rest}`.
    pub path: Option<String>,
    /// None named: every method. GET includes HEAD, unless another route of the same rank names HEAD.
    pub methods: Vec<String>,
    /// Name and value; `*`: present. All lines of that name have to hold the value.
    pub headers: Vec<(String, String)>,
    /// Name and value as they are written in the target; `*`: present.
    pub query: Vec<(String, String)>,
}

/// What of a request is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The number of the listener it came in at.
    pub listener: usize,
    /// Its host without a port ([`host_without_port`]).
    pub host: Option<&'a str>,
    /// The path as received, without the query.
    pub path: &'a str,
    /// The method.
    pub method: &'a Method,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// What stands behind the `?`.
    pub query: Option<&'a str>,
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// To the route at this index of the rules.
    Route(usize),
    /// Some route would take it, were it for these methods: the value of `Allow`.
    MethodNotAllowed(String),
    /// No route takes it.
    None,
}

/// Why rules cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// A rule is wrong by itself.
    #[error("{key}: {problem}")]
    Malformed {
        /// Which rule.
        index: usize,
        /// Which key of its match.
        key: &'static str,
        /// What was expected.
        problem: String,
    },
    /// Two rules could take the same request, and nothing says which.
    #[error("the match of {second} is as specific as that of {first}, and one request could be both")]
    Ambiguous {
        /// Which rule, the later one.
        index: usize,
        /// The name of the earlier rule.
        first: String,
        /// The name of the later rule.
        second: String,
    },
}

/// One rule, ready to be compared.
#[derive(Debug)]
struct Compiled {
    index: usize,
    name: String,
    listener: Option<usize>,
    host: Option<Host>,
    path: Option<Pattern>,
    conditions: Conditions,
}

/// All rules, compiled.
#[derive(Debug, Default)]
pub struct Matcher {
    /// In order of precedence. Trees hold positions in here.
    rules: Vec<Compiled>,
    /// Where the rule of an index stands in `rules`.
    positions: Vec<usize>,
    /// By the number of the listener.
    listeners: Vec<Hosts>,
    any_listener: Hosts,
}

/// The rules of one listener.
#[derive(Debug, Default)]
struct Hosts {
    exact: HashMap<String, Tree>,
    suffix: HashMap<String, Tree>,
    none: Tree,
}

/// The rules of one host: a node for each segment of their paths.
#[derive(Debug, Default)]
struct Tree {
    root: Node,
    /// Rules without a path.
    none: Vec<usize>,
}

#[derive(Debug, Default)]
struct Node {
    literals: HashMap<Box<str>, Node>,
    param: Option<Box<Node>>,
    /// Rules whose path goes on with `{*rest}` here.
    rest: Vec<usize>,
    /// Rules whose path ends here.
    end: Vec<usize>,
}

impl Matcher {
    /// Compiles rules; a rule's index is its position here. Answers every error there is.
    pub fn new(rules: &[Rule]) -> Result<Matcher, Vec<RuleError>> {
        let mut errors = Vec::new();
        let mut compiled = Vec::with_capacity(rules.len());
        for (index, rule) in rules.iter().enumerate() {
            match Compiled::new(index, rule) {
                Ok(rule) => compiled.push(rule),
                Err(malformed) => errors.extend(malformed),
            }
        }
        compiled.sort_by(Compiled::precedence);
        let mut matcher = Matcher { rules: compiled, positions: vec![0; rules.len()], ..Matcher::default() };
        for (position, rule) in matcher.rules.iter().enumerate() {
            matcher.positions[rule.index] = position;
            let hosts = match rule.listener {
                None => &mut matcher.any_listener,
                Some(listener) => {
                    if matcher.listeners.len() <= listener {
                        matcher.listeners.resize_with(listener + 1, Hosts::default);
                    }
                    &mut matcher.listeners[listener]
                }
            };
            let place = hosts.place(rule);
            for earlier in place.iter().map(|p| &matcher.rules[*p]) {
                if earlier.conditions.ambiguous_with(&rule.conditions) {
                    let (first, second) = if earlier.index < rule.index { (earlier, rule) } else { (rule, earlier) };
                    errors.push(RuleError::Ambiguous {
                        index: second.index,
                        first: first.name.clone(),
                        second: second.name.clone(),
                    });
                }
            }
            place.push(position);
        }
        if errors.is_empty() { Ok(matcher) } else { Err(errors) }
    }

    /// The route that takes this request.
    pub fn find(&self, request: &Request<'_>) -> Found {
        let mut found = None;
        let mut wrong_method = false;
        self.walk(request, &mut |position| {
            let rule = &self.rules[position];
            match rule.conditions.check(request) {
                Ok(()) => found = Some(rule.index),
                Err(Miss::Method) => wrong_method = true,
                Err(_) => {}
            }
            found.is_some()
        });
        match found {
            Some(index) => Found::Route(index),
            None if wrong_method => Found::MethodNotAllowed(self.allowed(request)),
            None => Found::None,
        }
    }

    /// The value of `Allow`: the methods of all rules that lack nothing but the method.
    fn allowed(&self, request: &Request<'_>) -> String {
        let mut methods: Vec<&str> = Vec::new();
        self.walk(request, &mut |position| {
            let conditions = &self.rules[position].conditions;
            if matches!(conditions.check(request), Err(Miss::Method)) {
                methods.extend(conditions.methods());
            }
            false
        });
        methods.sort_unstable();
        methods.dedup();
        methods.join(", ")
    }

    /// The parameters of the route's path as they stand in this path, in the order of the pattern.
    pub fn params<'a>(&'a self, index: usize, path: &'a str) -> Params<'a> {
        let rule = self.positions.get(index).and_then(|position| self.rules.get(*position));
        Params::new(rule.and_then(|rule| rule.path.as_ref()), path)
    }

    /// Visits the rules whose listener, host and path take the request, in order of precedence, until one says stop.
    fn walk(&self, request: &Request<'_>, visit: &mut dyn FnMut(usize) -> bool) -> bool {
        let mut buffer = [0; MAX_HOST];
        let host = request.host.and_then(|host| lower_case(host, &mut buffer));
        let own = self.listeners.get(request.listener);
        own.into_iter().chain([&self.any_listener]).any(|hosts| hosts.walk(host, request.path, visit))
    }
}

impl Hosts {
    /// Where a rule belongs.
    fn place(&mut self, rule: &Compiled) -> &mut Vec<usize> {
        let tree = match &rule.host {
            None => &mut self.none,
            Some(Host::Exact(host)) => self.exact.entry(host.clone()).or_default(),
            Some(Host::Suffix(suffix)) => self.suffix.entry(suffix.clone()).or_default(),
        };
        let Some(path) = &rule.path else { return &mut tree.none };
        let mut node = &mut tree.root;
        for segment in path.segments() {
            node = match segment {
                Segment::Literal(text) => node.literals.entry(text.as_str().into()).or_default(),
                Segment::Param(_) => node.param.get_or_insert_default(),
                Segment::Rest(_) => return &mut node.rest,
            };
        }
        &mut node.end
    }

    fn walk(&self, host: Option<&str>, path: &str, visit: &mut dyn FnMut(usize) -> bool) -> bool {
        if let Some(host) = host {
            if self.exact.get(host).is_some_and(|tree| tree.walk(path, visit)) {
                return true;
            }
            // From the first dot on: the longest suffix first.
            if !self.suffix.is_empty() {
                let mut suffixes = memchr::memchr_iter(b'.', host.as_bytes()).filter(|dot| *dot > 0);
                if suffixes.any(|dot| self.suffix.get(&host[dot..]).is_some_and(|tree| tree.walk(path, visit))) {
                    return true;
                }
            }
        }
        self.none.walk(path, visit)
    }
}

impl Tree {
    fn walk(&self, path: &str, visit: &mut dyn FnMut(usize) -> bool) -> bool {
        path.strip_prefix('/').is_some_and(|rest| self.root.walk(Some(rest), visit))
            || self.none.iter().any(|position| visit(*position))
    }
}

impl Node {
    /// `rest` is what follows the slash behind this node's segment; None: the path ended with that segment.
    fn walk(&self, rest: Option<&str>, visit: &mut dyn FnMut(usize) -> bool) -> bool {
        let Some(rest) = rest else { return self.end.iter().any(|position| visit(*position)) };
        let (segment, after) = match memchr::memchr(b'/', rest.as_bytes()) {
            Some(slash) => (&rest[..slash], Some(&rest[slash + 1..])),
            None => (rest, None),
        };
        if self.literals.get(segment).is_some_and(|node| node.walk(after, visit)) {
            return true;
        }
        if let Some(node) = self.param.as_ref().filter(|_| !segment.is_empty())
            && node.walk(after, visit)
        {
            return true;
        }
        self.rest.iter().any(|position| visit(*position))
    }
}

impl Compiled {
    fn new(index: usize, rule: &Rule) -> Result<Self, Vec<RuleError>> {
        let mut errors = Vec::new();
        let mut note = |key, problem| errors.push(RuleError::Malformed { index, key, problem });
        let host = rule.host.as_deref().map(Host::new).transpose().map_err(|e| note("host", e)).unwrap_or_default();
        let path = rule.path.as_deref().map(Pattern::new).transpose().map_err(|e| note("path", e)).unwrap_or_default();
        match Conditions::new(rule, &mut note) {
            Some(conditions) if errors.is_empty() => {
                Ok(Compiled { index, name: rule.name.clone(), listener: rule.listener, host, path, conditions })
            }
            _ => Err(errors),
        }
    }

    /// Less: tried first.
    fn precedence(&self, other: &Self) -> Ordering {
        fn some_first<T>(a: &Option<T>, b: &Option<T>, both: impl Fn(&T, &T) -> Ordering) -> Ordering {
            match (a, b) {
                (Some(a), Some(b)) => both(a, b),
                (a, b) => b.is_some().cmp(&a.is_some()),
            }
        }
        some_first(&self.listener, &other.listener, |a, b| a.cmp(b))
            .then_with(|| some_first(&self.host, &other.host, Host::precedence))
            .then_with(|| some_first(&self.path, &other.path, Pattern::precedence))
            .then_with(|| self.conditions.precedence(&other.conditions))
            .then_with(|| self.index.cmp(&other.index))
    }
}

#[cfg(test)]
mod tests;
