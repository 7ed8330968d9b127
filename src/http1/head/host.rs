//! Host: `name[:port]`, `1.2.3.4[:port]` or `[::1][:port]`, and nothing else.

use std::net::Ipv6Addr;

use super::bad;
use crate::refusal::Refusal;

/// Checks the value of Host, or the authority of an absolute-form target.
///
/// Stricter than RFC 3986, whose reg-name allows `!$&'()*+,;=%`: none of them is in a name that resolves, and each of
/// them is how some parser is told another host than another. A port may be empty, as the RFC has it.
pub(super) fn check(host: &[u8]) -> Result<(), Refusal> {
    let port = match host {
        [] => return Err(bad("Host is empty")),
        [b'[', rest @ ..] => {
            let (literal, after) = rest
                .iter()
                .position(|b| *b == b']')
                .map(|end| (&rest[..end], &rest[end + 1..]))
                .ok_or_else(|| bad("Host is malformed"))?;
            if std::str::from_utf8(literal).ok().and_then(|l| l.parse::<Ipv6Addr>().ok()).is_none() {
                return Err(bad("Host is malformed"));
            }
            after
        }
        _ => {
            let end = host.iter().position(|b| !is_name(*b)).unwrap_or(host.len());
            if end == 0 {
                return Err(bad("Host is malformed"));
            }
            &host[end..]
        }
    };
    match port {
        [] => Ok(()),
        [b':', digits @ ..] if is_port(digits) => Ok(()),
        _ => Err(bad("Host is malformed")),
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Empty, or at most 65535.
fn is_port(digits: &[u8]) -> bool {
    digits.len() <= 5
        && digits.iter().all(u8::is_ascii_digit)
        && digits.iter().fold(0u32, |port, d| port * 10 + u32::from(d - b'0')) <= 65535
}
