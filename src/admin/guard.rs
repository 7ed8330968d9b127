//! Who may ask: no page in a browser, nobody who came by a foreign name, and for most things only who has the token.

use std::net::{IpAddr, SocketAddr};

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::{HeaderMap, Uri};

/// Why a request is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Foreign {
    Origin,
    Host,
}

/// Refuses what a browser sends for a page of someone else: such requests carry an Origin, or reach a loopback address
/// by a name of the page's choice (DNS rebinding).
///
/// Allowed are `address` as configured, `localhost`, and addresses in figures that are the listener's own or loopback: no
/// DNS server has a say about figures.
pub(super) fn foreign(headers: &HeaderMap, uri: &Uri, address: &str, local: SocketAddr) -> Option<Foreign> {
    if headers.contains_key(ORIGIN) {
        return Some(Foreign::Origin);
    }
    let mut hosts = headers.get_all(HOST).iter();
    let one = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().is_ok_and(|host| host_is_ours(host, address, local)),
        _ => false,
    };
    let target = uri.authority().is_none_or(|a| host_is_ours(a.as_str(), address, local));
    (!one || !target).then_some(Foreign::Host)
}

fn host_is_ours(host: &str, address: &str, local: SocketAddr) -> bool {
    if host.eq_ignore_ascii_case(address) {
        return true;
    }
    let (name, port) = match host.rsplit_once(':') {
        // The colons of a bare IPv6 address are inside its brackets.
        Some((name, port)) if !port.ends_with(']') => (name, port.parse::<u16>().ok()),
        _ => (host, Some(80)),
    };
    if port != Some(local.port()) {
        return false;
    }
    let figures = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name);
    match figures.parse::<IpAddr>() {
        Ok(ip) => ip.is_loopback() || ip.to_canonical() == local.ip().to_canonical(),
        Err(_) => name.eq_ignore_ascii_case("localhost"),
    }
}

/// Whether the request carries the token. Takes as long for a token that is nearly right as for one that is not at all.
pub(super) fn has_token(headers: &HeaderMap, token: &str) -> bool {
    let Some(value) = headers.get(AUTHORIZATION) else { return false };
    let Some((scheme, given)) = value.as_bytes().split_at_checked(7) else { return false };
    scheme.eq_ignore_ascii_case(b"bearer ") && same(given, token.as_bytes())
}

/// Compares in a time that depends on the lengths only, and the length of a token is no secret.
fn same(a: &[u8], b: &[u8]) -> bool {
    let different = a.iter().zip(b).fold(0u8, |different, (x, y)| std::hint::black_box(different | (x ^ y)));
    a.len() == b.len() && !b.is_empty() && different == 0
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn ours(host: &str) -> bool {
        host_is_ours(host, "admin.pod.internal:9901", "10.1.2.3:9901".parse().unwrap())
    }

    #[test]
    fn hosts() {
        for host in [
            "127.0.0.1:9901",
            "127.9.9.9:9901",
            "localhost:9901",
            "LOCALHOST:9901",
            "[::1]:9901",
            "10.1.2.3:9901",
            "[::ffff:10.1.2.3]:9901",
            "admin.pod.internal:9901",
        ] {
            assert!(ours(host), "{host}");
        }
        for host in [
            "",
            ":9901",
            "evil.example:9901",
            "127.0.0.1",
            "127.0.0.1:80",
            "localhost:99010",
            "localhost.evil.example:9901",
            "127.0.0.1.evil.example:9901",
            "10.1.2.4:9901",
            "[::2]:9901",
            "[::1]",
            "admin.pod.internal:9902",
            "evil@127.0.0.1:9901",
        ] {
            assert!(!ours(host), "{host}");
        }
        assert!(host_is_ours("localhost", "x", "127.0.0.1:80".parse().unwrap()));
    }

    #[test]
    fn tokens() {
        let given = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_static(value));
            has_token(&headers, "0123456789abcdef")
        };
        assert!(given("Bearer 0123456789abcdef"));
        assert!(given("bearer 0123456789abcdef"));
        for wrong in
            ["", "Bearer", "Bearer ", "Bearer 0123456789abcde", "Bearer 0123456789abcdeF", "Basic 0123456789abcdef"]
        {
            assert!(!given(wrong), "{wrong}");
        }
        assert!(!given("Bearer 0123456789abcdef0"));
        assert!(!has_token(&HeaderMap::new(), ""));
    }
}
