//! Who is asking, and what the application is told of it: X-Forwarded-*, Forwarded (RFC 7239).
//!
//! A peer outside `trusted_proxies` cannot say whom it speaks for: what it sent is removed and its own address is told.
//! From a trusted one the lists are believed and appended to; the client is then the right-most address that is not trusted.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use ipnet::IpNet;
use pingora::http::RequestHeader;

use super::state::ListenerPolicy;
use crate::config::Direction;

static FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What else a stranger may not say of where a request comes from.
const OTHERS: [HeaderName; 6] = [
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-forwarded-ssl"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("x-request-start"),
];

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
    if listener.direction == Direction::Inbound {
        for name in [&FOR, &PROTO, &HOST, &header::FORWARDED].into_iter().chain(&OTHERS) {
            request.remove_header(name);
        }
    }
    for name in &listener.strip {
        request.remove_header(name);
    }
}

/// Tells the application who asked. Without a peer's address (a Unix socket) nothing is said of it.
pub(super) fn tell(
    request: &mut RequestHeader,
    listener: &ListenerPolicy,
    peer: Option<IpAddr>,
    host: Option<&HeaderValue>,
) -> pingora::Result<()> {
    let proto = if listener.tls { "https" } else { "http" };
    let mut element = String::with_capacity(64);
    if let Some(ip) = peer {
        let mut list = joined(request, &FOR);
        let _ = write!(list, "{}", ip.to_canonical());
        set(request, &FOR, &list)?;
        let _ = match ip.to_canonical() {
            IpAddr::V4(ip) => write!(element, "for={ip};"),
            IpAddr::V6(ip) => write!(element, "for=\"[{ip}]\";"),
        };
    }
    if let Some(host) = host {
        if !request.headers.contains_key(&HOST) {
            request.insert_header(HOST.clone(), host.clone())?;
        }
        if let Ok(host) = host.to_str() {
            // A port needs the quotes (RFC 7239 4).
            let _ =
                if host.contains(':') { write!(element, "host=\"{host}\";") } else { write!(element, "host={host};") };
        }
    }
    if !request.headers.contains_key(&PROTO) {
        request.insert_header(PROTO.clone(), HeaderValue::from_static(proto))?;
    }
    element.push_str("proto=");
    element.push_str(proto);
    let mut list = joined(request, &header::FORWARDED);
    list.push_str(&element);
    set(request, &header::FORWARDED, &list)
}

/// The lines of a list header as one, ready for another element.
fn joined(request: &RequestHeader, name: &HeaderName) -> String {
    let mut list = String::new();
    for line in request.headers.get_all(name) {
        if let Ok(line) = line.to_str() {
            list.push_str(line);
            list.push_str(", ");
        }
    }
    list
}

fn set(request: &mut RequestHeader, name: &HeaderName, value: &str) -> pingora::Result<()> {
    if let Ok(value) = HeaderValue::from_str(value) {
        request.insert_header(name.clone(), value)?;
    }
    Ok(())
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
