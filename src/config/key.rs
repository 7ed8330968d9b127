//! Where a key is taken from in a request: `client_ip`, `header:N`, `query:N`, `cookie:N`, `path:PARAM`,
//! `jwt:CLAIM`, `constant`.

use std::fmt;
use std::str::FromStr;

use http::HeaderName;

/// One part of a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeySource {
    /// The client's address, behind trusted proxies.
    ClientIp,
    /// A request header.
    Header(HeaderName),
    /// A parameter of the query.
    Query(String),
    /// A cookie.
    Cookie(String),
    /// A `{param}` of the route's path.
    Path(String),
    /// A claim of the verified token.
    Jwt(String),
    /// The same for every request.
    Constant,
}

/// Why a text is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected client_ip, header:NAME, query:NAME, cookie:NAME, path:PARAM, jwt:CLAIM or constant")]
pub struct KeyError;

impl FromStr for KeySource {
    type Err = KeyError;

    fn from_str(s: &str) -> Result<Self, KeyError> {
        let Some((kind, name)) = s.split_once(':') else {
            return match s {
                "client_ip" => Ok(KeySource::ClientIp),
                "constant" => Ok(KeySource::Constant),
                _ => Err(KeyError),
            };
        };
        let visible = !name.is_empty() && name.chars().all(|c| !c.is_whitespace() && !c.is_control());
        match kind {
            "header" => name.parse().map(KeySource::Header).map_err(|_| KeyError),
            "query" if visible => Ok(KeySource::Query(name.to_owned())),
            "cookie" if visible && !name.contains(['=', ';', ',']) => Ok(KeySource::Cookie(name.to_owned())),
            "path" if super::pattern::is_param(name) => Ok(KeySource::Path(name.to_owned())),
            "jwt" if visible => Ok(KeySource::Jwt(name.to_owned())),
            _ => Err(KeyError),
        }
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeySource::ClientIp => f.write_str("client_ip"),
            KeySource::Header(name) => write!(f, "header:{name}"),
            KeySource::Query(name) => write!(f, "query:{name}"),
            KeySource::Cookie(name) => write!(f, "cookie:{name}"),
            KeySource::Path(param) => write!(f, "path:{param}"),
            KeySource::Jwt(claim) => write!(f, "jwt:{claim}"),
            KeySource::Constant => f.write_str("constant"),
        }
    }
}

/// The parts of a key that is written down, joined by a comma; alone, a part may hold one. None where they are not so many,
/// or one is empty: an empty part counts as missing.
pub fn key_parts(text: &str, parts: usize) -> Option<Vec<&str>> {
    let found: Vec<&str> = if parts == 1 { vec![text] } else { text.split(',').collect() };
    let found: Vec<&str> = found.into_iter().map(str::trim).collect();
    (found.len() == parts && found.iter().all(|part| !part.is_empty())).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_and_written_alike() {
        for text in
            ["client_ip", "constant", "header:x-merchant-id", "query:m", "cookie:sid", "path:merchant", "jwt:sub"]
        {
            assert_eq!(text.parse::<KeySource>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", "header", "header:", "header:a b", "query:", "cookie:a=b", "path:", "path:{a}", "ip", "jwt:"] {
            assert!(text.parse::<KeySource>().is_err(), "{text}");
        }
    }
}
