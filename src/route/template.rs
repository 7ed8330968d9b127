//! What a request makes of a template: the name of a tag, or a path.

use std::net::IpAddr;

use percent_encoding::percent_decode;

use super::key::Source;
use crate::config::KeySource;
use crate::config::template::{Part, PathPart, PathTemplate, Template};

/// The text that a request makes of a template; none where it lacks a part of it. An empty part counts as missing, and what
/// is escaped in a target is unescaped: other ways to write a value are no other values.
pub fn render(template: &Template, source: &Source<'_>) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    for part in &template.parts {
        match part {
            Part::Text(own) => text.extend_from_slice(own.as_bytes()),
            Part::Key(key) => text.extend_from_slice(&value(key, source)?),
        }
    }
    Some(text)
}

/// The path that a request makes of a template, unescaped; none where it lacks a part of it, or where more than one path is
/// meant.
pub fn path(template: &PathTemplate, source: &Source<'_>) -> Option<Vec<u8>> {
    let mut path = Vec::new();
    for part in &template.segments {
        path.push(b'/');
        match part {
            PathPart::Fixed(crate::config::Segment::Literal(text)) => path.extend(percent_decode(text.as_bytes())),
            PathPart::Fixed(_) => return None,
            PathPart::Filled(template) => path.extend(render(template, source)?),
        }
    }
    Some(path)
}

/// A part of a request, as it counts in a name.
fn value(key: &KeySource, source: &Source<'_>) -> Option<Vec<u8>> {
    let value: Vec<u8> = match key {
        KeySource::ClientIp => match source.client?.to_canonical() {
            IpAddr::V4(ip) => ip.to_string().into_bytes(),
            IpAddr::V6(ip) => ip.to_string().into_bytes(),
        },
        KeySource::Header(_) => source.text(key)?.trim().as_bytes().to_vec(),
        KeySource::Query(_) => percent_decode(source.text(key)?.replace('+', " ").as_bytes()).collect(),
        KeySource::Path(_) => percent_decode(source.text(key)?.as_bytes()).collect(),
        KeySource::Cookie(_) | KeySource::Jwt(_) => source.text(key)?.as_bytes().to_vec(),
        KeySource::Constant => return None,
    };
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn made(text: &str, query: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert("x-m", " mer_1 ".parse().unwrap());
        headers.insert("x-empty", "".parse().unwrap());
        let params = |name: &str| (name == "merchant").then_some("mer%5f1");
        let source = Source {
            client: Some([10, 0, 0, 1].into()),
            headers: &headers,
            query: Some(query),
            params: &params,
            claims: &|_| None,
        };
        let made = match text.strip_prefix('/') {
            Some(_) => path(&text.parse().unwrap(), &source),
            None => render(&text.parse().unwrap(), &source),
        };
        made.map(|made| String::from_utf8(made).unwrap())
    }

    #[test]
    fn a_name_is_made_of_what_the_request_has() {
        for (template, expected) in [
            ("all", Some("all")),
            ("payments:{header:x-m}", Some("payments:mer_1")),
            ("m:{path:merchant}", Some("m:mer_1")),
            ("{client_ip}/{query:q}", Some("10.0.0.1/a b")),
            ("m:{header:x-empty}", None),
            ("m:{header:x-none}", None),
            ("m:{path:other}", None),
            ("/v1/merchants/{path:merchant}/config", Some("/v1/merchants/mer_1/config")),
            ("/v1/merchants/{header:x-none}/config", None),
            ("/v1/{merchant}/config", None),
            ("/v1/{*rest}", None),
        ] {
            assert_eq!(made(template, "q=a%20b").as_deref(), expected, "{template}");
        }
    }
}
