//! The body of POST /cache/purge: what of the stored answers is ended, read strictly.
//!
//! A purge that is misspelled must not look as if it had been done: whoever asks for it has just been told that something
//! wrong is being served. So what can name nothing that is ever stored is refused, instead of ending nothing.

use std::fmt;

use http::Uri;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

/// What of the stored answers is ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purge {
    /// `http://host/path?query`: every variant of it and every credential's copy; or `/path`: that path with any query, of
    /// any host.
    Url(String),
    /// Every path that begins so, byte by byte as it was requested, of any host.
    Prefix(String),
    /// What is filed under this tag.
    Tag(String),
    /// What a route stored.
    Route(String),
    /// Everything.
    All,
}

/// An order to end stored answers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Body")]
pub struct PurgeOrder {
    /// What is ended.
    pub what: Purge,
    /// It becomes stale, instead of going away.
    pub soft: bool,
}

impl Purge {
    /// Its key in JSON, as on the command line.
    fn key(&self) -> &'static str {
        match self {
            Purge::Url(_) => "url",
            Purge::Prefix(_) => "prefix",
            Purge::Tag(_) => "tag",
            Purge::Route(_) => "route",
            Purge::All => "all",
        }
    }

    fn name(&self) -> Option<&str> {
        match self {
            Purge::Url(name) | Purge::Prefix(name) | Purge::Tag(name) | Purge::Route(name) => Some(name),
            Purge::All => None,
        }
    }

    fn to_json(&self) -> Value {
        json!({ self.key(): self.name().map_or(Value::Bool(true), Value::from) })
    }

    /// Refuses what nothing that is stored can be called.
    fn check(&self) -> Result<(), String> {
        let (key, name) = (self.key(), self.name());
        if name.is_some_and(str::is_empty) {
            return Err(format!("{key}: expected a text that is not empty"));
        }
        match self {
            Purge::Url(url) if !is_url(url) => Err(format!(
                "{key}: expected http://host/path?query, or /path without a query, as it is requested, got {url}"
            )),
            Purge::Prefix(prefix) if !is_path(prefix) => {
                Err(format!("{key}: expected the start of a path, from its / on and as it is requested, got {prefix}"))
            }
            _ => Ok(()),
        }
    }
}

impl PurgeOrder {
    /// As JSON: `{"tag": "payments:mer_1", "soft": false}`.
    pub fn to_json(&self) -> Value {
        let mut body = self.what.to_json();
        body["soft"] = self.soft.into();
        body
    }

    /// The answer to an order that was carried out: `{"purged": {"tag": "payments:mer_1"}, "soft": false}`.
    pub fn done(&self) -> Value {
        json!({ "purged": self.what.to_json(), "soft": self.soft })
    }
}

/// `tag payments:mer_1`.
impl fmt::Display for Purge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())?;
        self.name().map_or(Ok(()), |name| write!(f, " {name}"))
    }
}

/// `tag payments:mer_1`, or `soft tag payments:mer_1`: the name comes last, since anything may stand in it.
impl fmt::Display for PurgeOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.soft { "soft " } else { "" }, self.what)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    #[serde(default, deserialize_with = "text")]
    url: Option<String>,
    #[serde(default, deserialize_with = "text")]
    prefix: Option<String>,
    #[serde(default, deserialize_with = "text")]
    tag: Option<String>,
    #[serde(default, deserialize_with = "text")]
    route: Option<String>,
    #[serde(default)]
    all: bool,
    #[serde(default)]
    soft: bool,
}

/// A key that is there has a text: a null is a script's unset variable.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    String::deserialize(deserializer).map(Some)
}

impl TryFrom<Body> for PurgeOrder {
    type Error = String;

    fn try_from(body: Body) -> Result<Self, String> {
        let named = [
            body.url.map(Purge::Url),
            body.prefix.map(Purge::Prefix),
            body.tag.map(Purge::Tag),
            body.route.map(Purge::Route),
            body.all.then_some(Purge::All),
        ];
        let mut named: Vec<Purge> = named.into_iter().flatten().collect();
        match (named.pop(), named.is_empty()) {
            (Some(what), true) => {
                what.check()?;
                Ok(PurgeOrder { what, soft: body.soft })
            }
            (last, _) => {
                let got: Vec<_> = named.iter().chain(&last).map(Purge::key).collect();
                let got = if got.is_empty() { "none".to_owned() } else { got.join(", ") };
                Err(format!("expected exactly one of url, prefix, tag, route and all: true, got {got}"))
            }
        }
    }
}

/// An absolute URL, or a path for any query and host.
fn is_url(text: &str) -> bool {
    if text.starts_with('/') {
        return is_path(text);
    }
    let Ok(uri) = text.parse::<Uri>() else { return false };
    let host = uri.authority().is_some_and(|a| !a.host().is_empty() && !a.as_str().contains('@'));
    matches!(uri.scheme_str(), Some("http" | "https")) && host && is_sent(text)
}

fn is_path(text: &str) -> bool {
    text.starts_with('/') && !text.contains('?') && is_sent(text)
}

/// Whether it can stand in the target of a request: what has to be percent-encoded there is percent-encoded.
fn is_sent(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'"' | b'<' | b'>' | b'`'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &Value) -> Result<PurgeOrder, String> {
        serde_json::from_str(&body.to_string()).map_err(|e| e.to_string())
    }

    #[test]
    fn one_thing_is_named() {
        for (body, what) in [
            (json!({ "url": "http://a.test/v1?x=1&y" }), Purge::Url("http://a.test/v1?x=1&y".into())),
            (json!({ "url": "HTTPS://[::1]:8443/" }), Purge::Url("HTTPS://[::1]:8443/".into())),
            (json!({ "url": "http://a.test" }), Purge::Url("http://a.test".into())),
            (json!({ "url": "/v1/a%20b" }), Purge::Url("/v1/a%20b".into())),
            (json!({ "prefix": "/" }), Purge::Prefix("/".into())),
            (json!({ "tag": "payments:mer 1" }), Purge::Tag("payments:mer 1".into())),
            (json!({ "route": "list", "all": false }), Purge::Route("list".into())),
            (json!({ "all": true }), Purge::All),
        ] {
            assert_eq!(read(&body), Ok(PurgeOrder { what: what.clone(), soft: false }), "{body}");
            let soft = PurgeOrder { what, soft: true };
            assert_eq!(read(&soft.to_json()), Ok(soft), "{body}");
        }
    }

    #[test]
    fn what_names_nothing_is_told_what_was_expected() {
        for (body, told) in [
            (json!({}), "expected exactly one of url, prefix, tag, route and all: true, got none"),
            (json!({ "all": false, "soft": true }), "got none"),
            (json!({ "tag": "a", "url": "/b" }), "got url, tag"),
            (json!({ "tag": "a", "all": true }), "got tag, all"),
            (
                json!({ "tags": "a" }),
                "unknown field `tags`, expected one of `url`, `prefix`, `tag`, `route`, `all`, `soft`",
            ),
            (json!({ "tag": "a", "for": "1m" }), "unknown field `for`"),
            (json!({ "tag": "a", "url": null }), "invalid type: null, expected a string"),
            (json!({ "tag": ["a"] }), "expected a string"),
            (json!({ "all": "true" }), "expected a boolean"),
            (json!({ "tag": "a", "soft": 1 }), "expected a boolean"),
            (json!({ "url": "" }), "url: expected a text that is not empty"),
            (json!({ "prefix": "" }), "prefix: expected a text that is not empty"),
            (json!({ "tag": "" }), "tag: expected a text that is not empty"),
            (json!({ "route": "" }), "route: expected a text that is not empty"),
        ] {
            let error = read(&body).unwrap_err();
            assert!(error.contains(told), "{body}: {error}");
        }
        let twice = serde_json::from_str::<PurgeOrder>(r#"{"tag": "a", "tag": "b"}"#).unwrap_err();
        assert!(twice.to_string().contains("duplicate field `tag`"), "{twice}");
    }

    #[test]
    fn what_no_request_can_ask_for_is_refused() {
        for url in [
            "v1",
            "a.test/v1",
            "/v1?x",
            "/a b",
            "/ä",
            "/v1#top",
            "/<a>",
            "http:///v1",
            "http://a.test/#top",
            "http://me@a.test/",
            "ftp://a.test/",
            "http://a.test/a b",
            "*",
        ] {
            let error = read(&json!({ "url": url })).unwrap_err();
            assert!(error.starts_with("url: expected http://host/path?query, or /path"), "{url}: {error}");
        }
        for prefix in ["v1", "http://a.test/v1", "/v1?x", "/v1/ä", " /v1"] {
            let error = read(&json!({ "prefix": prefix })).unwrap_err();
            assert!(error.starts_with("prefix: expected the start of a path"), "{prefix}: {error}");
        }
    }

    #[test]
    fn an_order_is_shown() {
        let order = |what, soft| PurgeOrder { what, soft };
        assert_eq!(order(Purge::Tag("a, b".into()), true).to_string(), "soft tag a, b");
        assert_eq!(order(Purge::All, false).to_string(), "all");
        assert_eq!(order(Purge::All, false).done(), json!({ "purged": { "all": true }, "soft": false }));
        assert_eq!(order(Purge::Url("/a".into()), true).done(), json!({ "purged": { "url": "/a" }, "soft": true }));
    }
}
