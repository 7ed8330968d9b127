//! Who is asking, and what the application is told of it: X-Forwarded-*, Forwarded (RFC 7239).
//!
//! A peer outside `trusted_proxies` cannot say whom it speaks for: what it sent is removed and its own address is told.
//! From a trusted one the lists are believed and appended to; the client is then the right-most address that is not trusted.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use pingora::http::RequestHeader;

use super::context::Context;
use super::request::Sums;
use super::state::ListenerPolicy;
use crate::config::Direction;

static FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Whether an address is one of the trusted proxies.
pub(crate) fn is_trusted(trusted: &[IpNet], ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    trusted.iter().any(|net| net.contains(&ip))
}

/// The client: the peer, or behind trusted proxies the right-most address that is not trusted.
pub(super) fn client_ip(
    peer: Option<IpAddr>,
    trusted_peer: bool,
    trusted: &[IpNet],
    headers: &HeaderMap,
) -> Option<IpAddr> {
    if !trusted_peer {
        return peer;
    }
    let lines: Vec<&HeaderValue> = headers.get_all(&FOR).iter().collect();
    let mut client = peer;
    for line in lines.iter().rev() {
        for hop in line.as_bytes().rsplit(|b| *b == b',') {
            // Something that is no address ends what can be believed.
            let Some(ip) = parse_hop(hop) else { return client };
            client = Some(ip);
            if !is_trusted(trusted, ip) {
                return client;
            }
        }
    }
    client
}

fn parse_hop(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop.trim_ascii()).ok()?;
    hop.parse()
        .ok()
        .or_else(|| hop.parse::<SocketAddr>().ok().map(|a| a.ip()))
        .or_else(|| hop.strip_prefix('[').and_then(|h| h.strip_suffix(']')).and_then(|h| h.parse().ok()))
}

/// Removes what a stranger may not say, before anything here is decided by it.
pub(super) fn strip(request: &mut RequestHeader, listener: &ListenerPolicy) {
    let inbound = listener.direction == Direction::Inbound;
    let claims = request.headers.keys().filter(|n| inbound && is_claim(n.as_str()) || listener.strip.contains(n));
    let claims: Vec<HeaderName> = claims.cloned().collect();
    for name in &claims {
        request.remove_header(name);
    }
}

/// Whether a field says where a request comes from.
fn is_claim(name: &str) -> bool {
    match name.len() {
        9 => name == "forwarded" || name == "x-real-ip",
        15 => matches!(name, "x-forwarded-for" | "x-forwarded-ssl" | "x-request-start"),
        16 => matches!(name, "x-forwarded-host" | "x-forwarded-port"),
        17 => name == "x-forwarded-proto",
        18 => matches!(name, "x-forwarded-prefix" | "x-forwarded-server"),
        _ => false,
    }
}

/// Tells the application who asked, behind what a trusted peer said. Without a peer's address (a Unix socket) nothing is
/// said of it.
pub(super) fn tell(cx: &Context, sums: &mut Sums, own: &mut impl FnMut(&str, &[u8])) {
    let proto = if cx.listener.tls { "https" } else { "http" };
    let host = cx.host.as_ref().and_then(|h| h.to_str().ok());
    let element = &mut sums.forwarded;
    if element.is_empty() {
        element.reserve(128);
    } else {
        element.extend_from_slice(b", ");
    }
    let mut push = |part: &str| element.extend_from_slice(part.as_bytes());
    if let Some(ip) = cx.peer {
        let list = &mut sums.forwarded_for;
        if !list.is_empty() {
            list.extend_from_slice(b", ");
        }
        list.extend_from_slice(cx.peer_text.as_bytes());
        own("X-Forwarded-For", list);
        let (before, behind) = if ip.is_ipv4() { ("for=", ";") } else { ("for=\"[", "]\";") };
        push(before);
        push(&cx.peer_text);
        push(behind);
    }
    if let Some(host) = host {
        if !sums.host {
            own("X-Forwarded-Host", host.as_bytes());
        }
        // A port needs the quotes (RFC 7239 4).
        let (before, behind) = if host.contains(':') { ("host=\"", "\";") } else { ("host=", ";") };
        push(before);
        push(host);
        push(behind);
    }
    if !sums.proto {
        own("X-Forwarded-Proto", proto.as_bytes());
    }
    push("proto=");
    push(proto);
    own("Forwarded", element);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(nets: &[&str]) -> Vec<IpNet> {
        nets.iter().map(|n| n.parse().unwrap()).collect()
    }

    fn client(peer: &str, trusted: &[&str], lists: &[&str]) -> String {
        let trusted = nets(trusted);
        let peer: IpAddr = peer.parse().unwrap();
        let mut headers = HeaderMap::new();
        for list in lists {
            headers.append(&FOR, list.parse().unwrap());
        }
        client_ip(Some(peer), is_trusted(&trusted, peer), &trusted, &headers).unwrap().to_string()
    }

    #[test]
    fn a_stranger_speaks_for_itself() {
        assert_eq!(client("1.2.3.4", &["10.0.0.0/8"], &["9.9.9.9"]), "1.2.3.4");
    }

    #[test]
    fn behind_trusted_proxies_the_right_most_stranger_is_the_client() {
        assert_eq!(client("10.0.0.1", &["10.0.0.0/8"], &["6.6.6.6, 9.9.9.9, 10.1.1.1"]), "9.9.9.9");
        assert_eq!(client("10.0.0.1", &["10.0.0.0/8"], &["6.6.6.6", "9.9.9.9", "10.1.1.1"]), "9.9.9.9");
        assert_eq!(client("10.0.0.1", &["10.0.0.0/8"], &["10.2.2.2"]), "10.2.2.2");
        assert_eq!(client("10.0.0.1", &["10.0.0.0/8"], &[]), "10.0.0.1");
    }

    #[test]
    fn what_is_no_address_ends_what_is_believed() {
        assert_eq!(client("10.0.0.1", &["10.0.0.0/8"], &["9.9.9.9, unknown"]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["10.0.0.0/8"], &["9.9.9.9:1234"]), "9.9.9.9");
        assert_eq!(client("10.0.0.1", &["10.0.0.0/8"], &["[2001:db8::1]:443"]), "2001:db8::1");
    }

    #[test]
    fn an_ipv4_address_in_ipv6_dress_is_the_same_address() {
        assert_eq!(client("::ffff:10.0.0.1", &["10.0.0.0/8"], &["9.9.9.9"]), "9.9.9.9");
    }
}
