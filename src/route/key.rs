//! Where a key is taken from a request:
//! `client_ip | header:N | query:N | cookie:N | path:PARAM | jwt:CLAIM | constant`.

use std::borrow::Cow;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hasher};
use std::net::IpAddr;

use http::{HeaderMap, header};
use percent_encoding::percent_decode;

use crate::config::{KeySource, key_parts};
use crate::policy::parts::Parts;

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
    /// The claims of the request's token, as text; none of them where the token is not good.
    pub claims: &'a dyn Fn(&str) -> Option<&'a str>,
}

impl<'a> Source<'a> {
    /// One part as text; none where the request does not have it, or where it is no text of the request.
    pub fn text(&self, part: &KeySource) -> Option<&'a str> {
        match part {
            KeySource::Header(name) => self.headers.get(name)?.to_str().ok(),
            KeySource::Query(name) => pairs(self.query?, '&', name).next(),
            KeySource::Cookie(name) => cookies(self.headers, name).next(),
            KeySource::Path(name) => (self.params)(name),
            KeySource::Jwt(claim) => (self.claims)(claim),
            KeySource::ClientIp | KeySource::Constant => None,
        }
    }
}

impl Key {
    /// Parses a list of parts; none where the list is empty or a part is none of the kinds.
    pub fn parse_all(parts: &[String]) -> Option<Key> {
        let parts: Option<Vec<KeySource>> = parts.iter().map(|p| p.parse().ok()).collect();
        parts.filter(|p| !p.is_empty()).map(Key)
    }

    /// Its parts.
    pub fn parts(&self) -> &[KeySource] {
        &self.0
    }

    /// A number that is the same for the same key, in every process. A part that is missing counts as empty.
    pub fn hash(&self, source: &Source<'_>) -> u64 {
        let mut hasher = BuildHasherDefault::<DefaultHasher>::default().build_hasher();
        for part in &self.0 {
            write(part, source, &mut hasher);
            hasher.write_u8(0xff);
        }
        hasher.finish()
    }

    /// Adds every part of a request's key to a hasher.
    ///
    /// # Errors
    /// The first part that the request lacks. An empty value counts as missing, and so does one that is there twice: of
    /// two values the application may read the other one, and who adds a second would choose his count.
    pub fn feed(&self, source: &Source<'_>, hasher: &mut impl Parts) -> Result<(), &KeySource> {
        self.0.iter().try_for_each(|part| feed(part, source, hasher).ok_or(part))
    }

    /// Adds a key that was written down: its parts joined by a comma. None where that is no such key.
    pub fn feed_text(&self, text: &str, hasher: &mut impl Parts) -> Option<()> {
        for (part, text) in self.0.iter().zip(key_parts(text, self.0.len())?) {
            match part {
                KeySource::ClientIp => hasher.part(&octets(text.parse().ok()?)),
                KeySource::Constant => hasher.part(b""),
                _ => hasher.part(text.as_bytes()),
            }
        }
        Some(())
    }
}

/// An address as every way to write it has it: an IPv4 address that came in IPv6 is the same one.
pub fn octets(ip: IpAddr) -> [u8; 16] {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// Adds one part. What is escaped in a target is unescaped first: other ways to write a value are no other values.
fn feed(part: &KeySource, source: &Source<'_>, hasher: &mut impl Parts) -> Option<()> {
    let value = match part {
        KeySource::ClientIp => {
            hasher.part(&octets(source.client?));
            return Some(());
        }
        KeySource::Constant => {
            hasher.part(b"");
            return Some(());
        }
        KeySource::Header(name) => {
            let lines = source.headers.get_all(name).iter().map(|v| v.as_bytes().trim_ascii());
            Cow::Borrowed(only(lines)?)
        }
        KeySource::Query(name) => form_decoded(only(pairs(source.query?, '&', name))?),
        KeySource::Cookie(name) => Cow::Borrowed(only(cookies(source.headers, name))?.as_bytes()),
        KeySource::Path(name) => percent_decode((source.params)(name)?.as_bytes()).into(),
        KeySource::Jwt(claim) => Cow::Borrowed((source.claims)(claim)?.as_bytes()),
    };
    (!value.is_empty()).then(|| hasher.part(&value))
}

/// The item of an iterator that has one.
fn only<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let first = items.next()?;
    items.next().is_none().then_some(first)
}

/// A value of a query: `%XX` and plus signs are undone.
fn form_decoded(value: &str) -> Cow<'_, [u8]> {
    if value.contains('+') {
        return percent_decode(value.replace('+', " ").as_bytes()).collect::<Vec<_>>().into();
    }
    percent_decode(value.as_bytes()).into()
}

fn write(part: &KeySource, source: &Source<'_>, hasher: &mut impl Hasher) {
    match part {
        KeySource::ClientIp => match source.client {
            Some(IpAddr::V4(ip)) => hasher.write(&ip.octets()),
            Some(IpAddr::V6(ip)) => hasher.write(&ip.octets()),
            None => {}
        },
        KeySource::Header(name) => source.headers.get_all(name).iter().for_each(|v| hasher.write(v.as_bytes())),
        KeySource::Query(name) => {
            hasher.write(pairs(source.query.unwrap_or(""), '&', name).next().unwrap_or("").as_bytes());
        }
        KeySource::Cookie(name) => hasher.write(cookies(source.headers, name).next().unwrap_or("").as_bytes()),
        KeySource::Path(name) => hasher.write((source.params)(name).unwrap_or("").as_bytes()),
        KeySource::Jwt(claim) => hasher.write((source.claims)(claim).unwrap_or("").as_bytes()),
        KeySource::Constant => {}
    }
}

/// The values of a cookie. HTTP/2 clients may send each in a line of its own.
fn cookies<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
    lines.flat_map(move |line| pairs(line, ';', name))
}

/// The values of `name=value` in a list.
fn pairs<'a>(list: &'a str, separator: char, name: &str) -> impl Iterator<Item = &'a str> {
    list.split(separator).filter_map(move |p| p.trim_start().strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::rate_limit::Table;

    fn key(parts: &[&str]) -> Key {
        Key::parse_all(&parts.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields.iter().fold(HeaderMap::new(), |mut map, (name, value)| {
            map.append(*name, value.parse().unwrap());
            map
        })
    }

    fn hash(part: &str, headers: &HeaderMap, query: &str) -> u64 {
        key(&[part]).hash(&Source { client: None, headers, query: Some(query), params: &|_| None, claims: &|_| None })
    }

    /// What a request is counted by, or what it lacks.
    fn fed(parts: &[&str], headers: &HeaderMap, query: &str, param: &'static str) -> Result<u64, String> {
        let (params, claims) = (|_: &str| Some(param), |name: &str| (name == "sub").then_some("mer_1"));
        let client = Some("10.0.0.1".parse().unwrap());
        let source = Source { client, headers, query: Some(query), params: &params, claims: &claims };
        let mut hasher = Table::new([1, 2]).hasher();
        key(parts).feed(&source, &mut hasher).map_err(ToString::to_string)?;
        Ok(hasher.finish())
    }

    fn text(parts: &[&str], text: &str) -> Option<u64> {
        let mut hasher = Table::new([1, 2]).hasher();
        key(parts).feed_text(text, &mut hasher)?;
        Some(hasher.finish())
    }

    #[test]
    fn the_same_value_gives_the_same_key_and_another_gives_another() {
        let a = headers(&[("x-merchant-id", "mer_1"), ("cookie", "a=1; sid=xyz")]);
        let b = headers(&[("x-merchant-id", "mer_2"), ("cookie", "a=1; sid=xyz")]);
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
        let source = Source {
            client: Some([127, 0, 0, 1].into()),
            headers: &headers,
            query: Some("p=normal"),
            params: &params,
            claims: &|_| None,
        };
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

    #[test]
    fn a_part_that_is_missing_empty_or_there_twice_is_named() {
        for (part, fields, query) in [
            ("header:x-m", vec![], ""),
            ("header:x-m", vec![("x-m", "")], ""),
            ("header:x-m", vec![("x-m", "a"), ("x-m", "a")], ""),
            ("query:m", vec![], ""),
            ("query:m", vec![], "mm=1&m"),
            ("query:m", vec![], "m="),
            ("query:m", vec![], "m=1&m=2"),
            ("cookie:sid", vec![("cookie", "a=1")], ""),
            ("cookie:sid", vec![("cookie", "sid=")], ""),
            ("cookie:sid", vec![("cookie", "sid=1; sid=2")], ""),
            ("cookie:sid", vec![("cookie", "sid=1"), ("cookie", "sid=1")], ""),
            ("path:p", vec![], ""),
            ("jwt:other", vec![], ""),
        ] {
            let lacks = fed(&["constant", part, "client_ip"], &headers(&fields), query, "");
            assert_eq!(lacks, Err(part.to_owned()), "{fields:?} {query}");
        }
    }

    #[test]
    fn other_ways_to_write_a_value_are_no_other_values() {
        let none = HeaderMap::new();
        let written = text(&["query:m"], "a b");
        for query in ["m=a%20b", "m=a+b", "m=%61+%62", "x=1&m=a%20b"] {
            assert_eq!(fed(&["query:m"], &none, query, "").ok(), written, "{query}");
        }
        for param in ["mer_1", "mer%5f1", "%6der_1"] {
            assert_eq!(fed(&["path:p"], &none, "", param).ok(), text(&["path:p"], "mer_1"), "{param}");
        }
        assert_ne!(fed(&["path:p"], &none, "", "a+b").ok(), text(&["path:p"], "a b"), "no form in a path");
        let spaced = headers(&[("x-m", " mer_1\t")]);
        assert_eq!(fed(&["header:x-m"], &spaced, "", "").ok(), text(&["header:x-m"], "mer_1"));
        assert_eq!(fed(&["jwt:sub"], &none, "", "").ok(), text(&["jwt:sub"], "mer_1"));
    }

    #[test]
    fn a_key_that_is_written_down_has_as_many_parts() {
        let both = ["header:x-m", "client_ip"];
        let came = fed(&both, &headers(&[("x-m", "mer_1")]), "", "").ok();
        for same in ["mer_1,10.0.0.1", "mer_1, 10.0.0.1", "mer_1,::ffff:10.0.0.1", " mer_1 ,::ffff:a00:1"] {
            assert_eq!(text(&both, same), came, "{same}");
        }
        assert_ne!(text(&both, "mer_1,10.0.0.2"), came);
        for other in ["mer_1", "mer_1,", ",10.0.0.1", "mer_1,10.0.0.1,x", "mer_1,10.0.0", ""] {
            assert_eq!(text(&both, other), None, "{other}");
        }
        // Alone, a value may hold a comma.
        assert_eq!(text(&["header:x-m"], "a,b"), fed(&["header:x-m"], &headers(&[("x-m", "a,b")]), "", "").ok());
    }
}
