//! Where a key is taken from a request: `client_ip | header:N | query:N | cookie:N | path:PARAM | constant`.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hasher};
use std::net::IpAddr;

use http::{HeaderMap, header};

use crate::config::KeySource;

/// Several parts, taken together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(Vec<KeySource>);

/// What a key is taken from.
pub struct Source<'a> {
    /// The client's address.
    pub client: Option<IpAddr>,
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// The query as received.
    pub query: Option<&'a str>,
    /// The parameters of the route's path.
    pub params: &'a dyn Fn(&str) -> Option<&'a str>,
}

impl<'a> Source<'a> {
    /// One part as text; none where the request does not have it, or where it is no text of the request.
    pub fn text(&self, part: &KeySource) -> Option<&'a str> {
        match part {
            KeySource::Header(name) => self.headers.get(name)?.to_str().ok(),
            KeySource::Query(name) => pair(self.query?, '&', name),
            KeySource::Cookie(name) => {
                let mut cookies = self.headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
                cookies.find_map(|c| pair(c, ';', name))
            }
            KeySource::Path(name) => (self.params)(name),
            KeySource::ClientIp | KeySource::Jwt(_) | KeySource::Constant => None,
        }
    }
}

impl Key {
    /// Parses a list of parts; none where the list is empty or a part is none of the kinds.
    pub fn parse_all(parts: &[String]) -> Option<Key> {
        let parts: Option<Vec<KeySource>> = parts.iter().map(|p| p.parse().ok()).collect();
        parts.filter(|p| !p.is_empty()).map(Key)
    }

    /// A number that is the same for the same key. A part that is missing counts as empty.
    pub fn hash(&self, source: &Source<'_>) -> u64 {
        let mut hasher = BuildHasherDefault::<DefaultHasher>::default().build_hasher();
        for part in &self.0 {
            write(part, source, &mut hasher);
            hasher.write_u8(0xff);
        }
        hasher.finish()
    }
}

fn write(part: &KeySource, source: &Source<'_>, hasher: &mut impl Hasher) {
    match part {
        KeySource::ClientIp => match source.client {
            Some(IpAddr::V4(ip)) => hasher.write(&ip.octets()),
            Some(IpAddr::V6(ip)) => hasher.write(&ip.octets()),
            None => {}
        },
        KeySource::Header(name) => source.headers.get_all(name).iter().for_each(|v| hasher.write(v.as_bytes())),
        KeySource::Query(_) | KeySource::Cookie(_) | KeySource::Path(_) => {
            hasher.write(source.text(part).unwrap_or("").as_bytes());
        }
        // Claims are known where a token was verified, not here.
        KeySource::Jwt(_) | KeySource::Constant => {}
    }
}

/// The value of `name=value` in a list.
fn pair<'a>(list: &'a str, separator: char, name: &str) -> Option<&'a str> {
    list.split(separator).find_map(|p| p.trim_start().strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(key: &str, headers: &HeaderMap, query: &str) -> u64 {
        let key = Key::parse_all(&[key.to_owned()]).unwrap();
        key.hash(&Source { client: None, headers, query: Some(query), params: &|_| None })
    }

    #[test]
    fn the_same_value_gives_the_same_key_and_another_gives_another() {
        let mut a = HeaderMap::new();
        a.insert("x-merchant-id", "mer_1".parse().unwrap());
        a.insert("cookie", "a=1; sid=xyz".parse().unwrap());
        let mut b = a.clone();
        b.insert("x-merchant-id", "mer_2".parse().unwrap());
        assert_eq!(hash("header:x-merchant-id", &a, ""), hash("header:x-merchant-id", &a.clone(), "q=1"));
        assert_ne!(hash("header:x-merchant-id", &a, ""), hash("header:x-merchant-id", &b, ""));
        assert_eq!(hash("cookie:sid", &a, ""), hash("cookie:sid", &b, ""));
        assert_ne!(hash("query:m", &a, "x=2&m=1"), hash("query:m", &a, "m=2"));
    }

    #[test]
    fn a_part_is_read_as_text_where_it_is_one() {
        let mut headers = HeaderMap::new();
        headers.insert("x-priority", "high".parse().unwrap());
        headers.insert("cookie", "a=1; p=low".parse().unwrap());
        let params = |name: &str| (name == "p").then_some("critical");
        let source =
            Source { client: Some([127, 0, 0, 1].into()), headers: &headers, query: Some("p=normal"), params: &params };
        for (part, expected) in [
            ("header:x-priority", Some("high")),
            ("cookie:p", Some("low")),
            ("query:p", Some("normal")),
            ("path:p", Some("critical")),
            ("path:q", None),
            ("query:q", None),
            ("header:q", None),
            ("client_ip", None),
            ("constant", None),
        ] {
            assert_eq!(source.text(&part.parse().unwrap()), expected, "{part}");
        }
    }

    #[test]
    fn what_is_no_key_is_none() {
        for text in ["", "header", "header:", "ip", "jwt:", "header:a b"] {
            assert!(Key::parse_all(&[text.to_owned()]).is_none(), "{text}");
        }
    }
}
