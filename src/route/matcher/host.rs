//! The host of a rule: a name, or a suffix of names.

use std::cmp::Ordering;

/// Names are at most so long; a longer host has no route of its own.
pub(super) const MAX_HOST: usize = 255;

/// A host in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    Exact(String),
    /// What follows the `*`, its dot included.
    Suffix(String),
}

impl Host {
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let (name, host) = match text.strip_prefix("*.") {
            Some(name) => (name, Host::Suffix(format!(".{}", name.to_ascii_lowercase()))),
            None => (text, Host::Exact(text.to_ascii_lowercase())),
        };
        let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b':' | b'[' | b']');
        if name.is_empty() || name.len() > MAX_HOST || name.ends_with('.') || !name.bytes().all(known) {
            return Err("expected a name without a port, or *. and a name".into());
        }
        if host_without_port(name) != name {
            return Err("expected a name without a port".into());
        }
        Ok(host)
    }

    pub(super) fn precedence(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Host::Exact(a), Host::Exact(b)) => a.cmp(b),
            (Host::Exact(_), Host::Suffix(_)) => Ordering::Less,
            (Host::Suffix(_), Host::Exact(_)) => Ordering::Greater,
            (Host::Suffix(a), Host::Suffix(b)) => b.len().cmp(&a.len()).then_with(|| a.cmp(b)),
        }
    }

    /// Whether it takes a host in lower case.
    pub(super) fn takes(&self, host: &str) -> bool {
        match self {
            Host::Exact(name) => name == host,
            Host::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
        }
    }
}

/// What of an authority is the host: `a:80` is `a`, `[::1]:80` is `[::1]`.
pub fn host_without_port(authority: &str) -> &str {
    let bytes = authority.as_bytes();
    let name_end = memchr::memrchr(b']', bytes).map_or(0, |i| i + 1);
    &authority[..memchr::memchr(b':', &bytes[name_end..]).map_or(authority.len(), |colon| name_end + colon)]
}

/// The host as rules are kept: in lower case, without the dot that ends a full name.
pub(super) fn lower_case<'a>(host: &str, buffer: &'a mut [u8; MAX_HOST]) -> Option<&'a str> {
    let host = host.strip_suffix('.').unwrap_or(host).as_bytes();
    let lower = buffer.get_mut(..host.len())?;
    lower.copy_from_slice(host);
    lower.make_ascii_lowercase();
    std::str::from_utf8(lower).ok()
}
