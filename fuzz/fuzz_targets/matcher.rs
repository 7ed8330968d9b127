//! The tree finds what a search through all routes finds, whatever the order of the file.
#![no_main]

use http::{HeaderMap, Method};
use libfuzzer_sys::fuzz_target;
use outboard::route::matcher::{Found, Matcher, Request, Rule};

const METHODS: [&str; 4] = ["GET", "HEAD", "POST", "PURGE"];

/// A listener and methods (bits), a host, a path.
type RuleData = (u8, String, String);

fn rule((bits, host, path): &RuleData) -> Rule {
    Rule {
        name: format!("{bits} {host} {path}"),
        listener: (bits & 1 != 0).then_some(usize::from(bits >> 1 & 1)),
        host: (!host.is_empty()).then(|| host.clone()),
        path: (!path.is_empty()).then(|| path.clone()),
        methods: (0..4).filter(|i| bits >> (4 + i) & 1 != 0).map(|i| METHODS[i].into()).collect(),
        ..Rule::default()
    }
}

fuzz_target!(|data: (Vec<RuleData>, u8, String, String)| {
    let (rules, bits, host, path) = data;
    let rules: Vec<Rule> = rules.iter().take(16).map(rule).collect();
    let reversed: Vec<Rule> = rules.iter().rev().cloned().collect();
    let (matcher, other) = match (Matcher::new(&rules), Matcher::new(&reversed)) {
        (Ok(matcher), Ok(other)) => (matcher, other),
        (a, b) => return assert!(a.is_err() && b.is_err()),
    };
    let method = METHODS[usize::from(bits >> 4 & 3)].parse::<Method>().expect("a method");
    let headers = HeaderMap::new();
    let request = Request {
        listener: usize::from(bits & 1),
        host: Some(&host),
        path: &path,
        method: &method,
        headers: &headers,
        query: None,
    };
    let found = matcher.find(&request);
    let winner = matcher.explain(&request).into_iter().find(|v| v.won).map(|v| v.index);
    match &found {
        Found::Route(index) => {
            assert_eq!(winner, Some(*index));
            assert_eq!(other.find(&request), Found::Route(rules.len() - 1 - index));
            for (_, value) in matcher.params(*index, &path) {
                assert!(path.contains(value));
            }
        }
        _ => {
            assert_eq!(winner, None);
            assert_eq!(other.find(&request), found);
        }
    }
});
