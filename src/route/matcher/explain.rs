//! Why a route took a request and the others did not, for `outboard explain`.

use super::conditions::{Miss, Wanted, query_values};
use super::host::{MAX_HOST, lower_case};
use super::{Compiled, Matcher, Request};

/// What one route says to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The index of the rule.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// It takes the request.
    pub won: bool,
    /// `won`, or why it lost.
    pub why: String,
}

impl Matcher {
    /// What every route says to this request, in order of precedence.
    pub fn explain(&self, request: &Request<'_>) -> Vec<Verdict> {
        let mut winner: Option<&str> = None;
        let mut verdicts = Vec::with_capacity(self.rules.len());
        for rule in &self.rules {
            let (won, why) = match (rule.lacks(request), winner) {
                (Some(why), _) => (false, why),
                (None, Some(winner)) => (false, format!("less specific than {winner}")),
                (None, None) => {
                    winner = Some(&rule.name);
                    (true, "won".into())
                }
            };
            verdicts.push(Verdict { index: rule.index, name: rule.name.clone(), won, why });
        }
        verdicts
    }
}

impl Compiled {
    /// What the request lacks to be taken by this rule alone.
    fn lacks(&self, request: &Request<'_>) -> Option<String> {
        if self.listener.is_some_and(|listener| listener != request.listener) {
            return Some("listener differs".into());
        }
        if let Some(host) = &self.host {
            let mut buffer = [0; MAX_HOST];
            let theirs = request.host.and_then(|theirs| lower_case(theirs, &mut buffer));
            if !theirs.is_some_and(|theirs| host.takes(theirs)) {
                return Some("host differs".into());
            }
        }
        if self.path.as_ref().is_some_and(|path| !path.takes(request.path)) {
            return Some("path differs".into());
        }
        match self.conditions.check(request).err()? {
            Miss::Method => {
                let methods: Vec<&str> = self.conditions.methods().collect();
                Some(format!("method: expected {}, got {}", methods.join(" or "), request.method))
            }
            Miss::Header(name, wanted) => {
                let got =
                    request.headers.get_all(name).iter().map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
                Some(format!("header {name}: {}", differs(wanted, got)))
            }
            Miss::Query(name, wanted) => {
                Some(format!("query {name}: {}", differs(wanted, query_values(request.query, name).map(String::from))))
            }
        }
    }
}

/// `expected "2", got nothing`
fn differs(wanted: &Wanted, got: impl Iterator<Item = String>) -> String {
    let got: Vec<String> = got.map(|value| format!("{value:?}")).collect();
    let got = if got.is_empty() { "nothing".into() } else { got.join(" and ") };
    match wanted {
        Wanted::Present => format!("expected some value, got {got}"),
        Wanted::Exactly(value) => format!("expected {value:?}, got {got}"),
    }
}
