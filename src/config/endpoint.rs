//! An address: a host and a port, or a Unix socket.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;

/// Where to listen, or where to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    /// A name or an IP address (IPv6 without its brackets), and a port.
    Tcp {
        /// The name or the address.
        host: String,
        /// 0 only where we listen: any free one.
        port: u16,
    },
    /// The absolute path of a Unix socket.
    Unix(PathBuf),
}

/// Why a text is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected host:port, [ipv6]:port or unix:/path")]
pub struct EndpointError;

impl Endpoint {
    /// The IP address, where it is written as one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Endpoint::Tcp { host, .. } => host.parse().ok(),
            Endpoint::Unix(_) => None,
        }
    }

    /// The port; none on a Unix socket.
    pub fn port(&self) -> Option<u16> {
        match self {
            Endpoint::Tcp { port, .. } => Some(*port),
            Endpoint::Unix(_) => None,
        }
    }

    /// Whether a process that listens on one cannot listen on the other as well.
    pub(crate) fn clashes(&self, other: &Endpoint) -> bool {
        match (self, other) {
            (Endpoint::Tcp { port: a, .. }, Endpoint::Tcp { port: b, .. }) if a != b || *a == 0 => false,
            (Endpoint::Tcp { host: a, .. }, Endpoint::Tcp { host: b, .. }) => {
                let every = |e: &Endpoint| e.ip().is_some_and(|ip| ip.is_unspecified());
                a.eq_ignore_ascii_case(b) || every(self) || every(other)
            }
            _ => self == other,
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(s: &str) -> Result<Self, EndpointError> {
        if let Some(path) = s.strip_prefix("unix:") {
            // 107 bytes is what the kernel takes.
            let good = path.len() > 1 && path.starts_with('/') && path.len() <= 107 && !path.contains('\0');
            return if good { Ok(Endpoint::Unix(path.into())) } else { Err(EndpointError) };
        }
        let (host, port) = s.rsplit_once(':').ok_or(EndpointError)?;
        if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(EndpointError);
        }
        let port = port.parse().map_err(|_| EndpointError)?;
        let host = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            Some(v6) => v6.parse::<Ipv6Addr>().map_err(|_| EndpointError)?.to_string(),
            None if is_host(host) => host.to_owned(),
            None => return Err(EndpointError),
        };
        Ok(Endpoint::Tcp { host, port })
    }
}

/// Whether this is a name that can be resolved, or an IPv4 address.
pub(crate) fn is_host(host: &str) -> bool {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    let digits = |b: u8| b.is_ascii_digit() || b == b'.';
    // Digits and dots alone are an address or a slip.
    name.len() <= 253
        && name.split('.').all(label)
        && (!name.bytes().all(digits) || name.parse::<std::net::Ipv4Addr>().is_ok())
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Endpoint::Tcp { host, port } => write!(f, "{host}:{port}"),
            Endpoint::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn endpoints_are_read_and_written_alike() {
        for text in ["127.0.0.1:80", "app:3000", "a.example.com:443", "[::1]:8080", "[::]:0", "unix:/run/app.sock"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for text in [
            "",
            "app",
            ":80",
            "app:",
            "app:x",
            "app:65536",
            "app:+1",
            "::1:80",
            "[::1]",
            "[app]:80",
            "http://app:80",
            "a b:80",
            "app:80/",
            "1.2.3:80",
            "1.2.3.400:80",
            "unix:",
            "unix:/",
            "unix:run/app.sock",
            "-a:80",
            "a..b:80",
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }

    #[test]
    fn which_listeners_clash() {
        let clash = |a: &str, b: &str| a.parse::<Endpoint>().unwrap().clashes(&b.parse().unwrap());
        assert!(clash("0.0.0.0:80", "127.0.0.1:80") && clash("[::]:80", "0.0.0.0:80") && clash("a:80", "A:80"));
        assert!(clash("unix:/a", "unix:/a"));
        assert!(!clash("0.0.0.0:80", "0.0.0.0:81") && !clash("127.0.0.1:0", "127.0.0.1:0"));
        assert!(!clash("127.0.0.1:80", "127.0.0.2:80") && !clash("unix:/a", "unix:/b"));
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_written_so_that_it_is_read_again(text in "\\PC{0,40}|[a-z0-9.:\\[\\]-]{0,20}:[0-9]{1,5}") {
            if let Ok(endpoint) = text.parse::<Endpoint>() {
                prop_assert_eq!(endpoint.to_string().parse::<Endpoint>(), Ok(endpoint));
            }
        }
    }
}
