//! Hop-by-hop header fields (RFC 9110 7.6.1): they speak of one connection and never cross the proxy.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Whether a field speaks of the connection alone. `trailer` and `te` are judged by who sends and who receives.
pub(super) fn is_hop_by_hop(name: &[u8]) -> bool {
    match name.len() {
        2 => name.eq_ignore_ascii_case(b"te"),
        7 => name.eq_ignore_ascii_case(b"upgrade") || name.eq_ignore_ascii_case(b"trailer"),
        10 => name.eq_ignore_ascii_case(b"connection") || name.eq_ignore_ascii_case(b"keep-alive"),
        16 => name.eq_ignore_ascii_case(b"proxy-connection"),
        17 => name.eq_ignore_ascii_case(b"transfer-encoding"),
        19 => name.eq_ignore_ascii_case(b"proxy-authorization"),
        18 => name.eq_ignore_ascii_case(b"proxy-authenticate"),
        _ => false,
    }
}

/// The fields that a Connection header names besides the usual options. What frames or routes a message may not be taken
/// away by its sender naming it here.
pub(super) fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    let mut names = Vec::new();
    for value in headers.get_all(header::CONNECTION) {
        for option in tokens(value) {
            let usual = [&b"close"[..], b"keep-alive", b"upgrade", b"te", b"http2-settings"];
            if usual.iter().any(|u| option.eq_ignore_ascii_case(u)) {
                continue;
            }
            match HeaderName::from_bytes(option) {
                Ok(name) if name != header::HOST && name != header::CONTENT_LENGTH => names.push(name),
                _ => {}
            }
        }
    }
    names
}

/// The tokens of a list.
pub(super) fn tokens(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|t| !t.is_empty())
}

/// Whether the request asks for a WebSocket: the only protocol that is switched to. Others would let a client speak past
/// every policy here.
pub(super) fn is_websocket(headers: &HeaderMap) -> bool {
    let upgrade =
        headers.get_all(header::UPGRADE).iter().flat_map(tokens).any(|t| t.eq_ignore_ascii_case(b"websocket"));
    let named = headers.get_all(header::CONNECTION).iter().flat_map(tokens).any(|t| t.eq_ignore_ascii_case(b"upgrade"));
    upgrade && named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_header_names_what_else_is_dropped_but_not_what_frames() {
        let mut headers = HeaderMap::new();
        headers.append("connection", "close, X-Secret".parse().unwrap());
        headers.append("connection", "content-length, host,, x-b".parse().unwrap());
        let names: Vec<_> = nominated(&headers).iter().map(|n| n.as_str().to_owned()).collect();
        assert_eq!(names, ["x-secret", "x-b"]);
    }

    #[test]
    fn only_a_websocket_is_switched_to() {
        let ask = |upgrade: &str, connection: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("upgrade", upgrade.parse().unwrap());
            headers.insert("connection", connection.parse().unwrap());
            is_websocket(&headers)
        };
        assert!(ask("WebSocket", "keep-alive, Upgrade"));
        assert!(!ask("h2c", "Upgrade, HTTP2-Settings"));
        assert!(!ask("websocket", "keep-alive"));
    }
}
