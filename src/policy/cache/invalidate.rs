//! What a successful change makes stale (RFC 9111, 4.4).

use http::header::{CONTENT_LOCATION, HeaderMap, HeaderName, LOCATION};
use http::{Method, Uri};

use super::key::without_default_port;

/// Whether a method may change something.
pub fn is_unsafe(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

/// The URL that a request was for.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Whether the client came over TLS.
    pub secure: bool,
    /// The host and, where there is one, the port.
    pub host: &'a str,
    /// The path and the query as they came.
    pub path_and_query: &'a str,
}

/// The paths, with their queries, of this origin that the answer to a change says have changed: the request's own, and
/// those that `Location` and `Content-Location` name. Other origins are none of its business. Nothing, where the answer is
/// an error.
///
/// This is what RFC 9111 asks for. A route's `invalidates` asks for more: it does not trust a change that failed to have
/// changed nothing.
pub fn paths(target: &Target<'_>, status: u16, answer: &HeaderMap) -> Vec<String> {
    if !(200..400).contains(&status) {
        return Vec::new();
    }
    let mut paths = vec![target.path_and_query.to_owned()];
    for name in [LOCATION, CONTENT_LOCATION] {
        let path = named(target, answer, &name);
        if let Some(path) = path.filter(|path| !paths.contains(path)) {
            paths.push(path);
        }
    }
    paths
}

fn named(target: &Target<'_>, answer: &HeaderMap, name: &HeaderName) -> Option<String> {
    let reference = answer.get(name)?.to_str().ok()?.trim();
    let reference = reference.split('#').next().unwrap_or_default();
    if reference.starts_with("//") {
        let scheme = if target.secure { "https" } else { "http" };
        return absolute(target, &format!("{scheme}:{reference}"));
    }
    if has_scheme(reference) {
        return absolute(target, reference);
    }
    Some(relative(target.path_and_query, reference))
}

/// The path of an absolute URL, where it is one of this origin.
fn absolute(target: &Target<'_>, reference: &str) -> Option<String> {
    let uri: Uri = reference.parse().ok()?;
    let secure = match uri.scheme_str()? {
        scheme if scheme.eq_ignore_ascii_case("https") => true,
        scheme if scheme.eq_ignore_ascii_case("http") => false,
        _ => return None,
    };
    let host = without_default_port(uri.authority()?.as_str(), secure);
    let same = secure == target.secure && host.eq_ignore_ascii_case(without_default_port(target.host, secure));
    same.then(|| relative("/", uri.path_and_query().map_or("/", |path| path.as_str())))
}

/// Whether a reference begins with a scheme: then there is a colon before anything else that parts it.
fn has_scheme(reference: &str) -> bool {
    let end = reference.find([':', '/', '?']);
    end.is_some_and(|at| reference[at..].starts_with(':') && reference.starts_with(|c: char| c.is_ascii_alphabetic()))
}

/// A reference without scheme and host, taken from where the request went (RFC 3986, 5.2).
fn relative(base: &str, reference: &str) -> String {
    let base_path = base.split('?').next().unwrap_or(base);
    let (path, query) = match reference.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (reference, None),
    };
    if path.is_empty() {
        return match query {
            Some(query) => format!("{base_path}?{query}"),
            None => base.to_owned(),
        };
    }
    let mut whole = if path.starts_with('/') {
        without_dots(path)
    } else {
        let folder = base_path.rfind('/').map_or("/", |at| &base_path[..=at]);
        without_dots(&format!("{folder}{path}"))
    };
    if let Some(query) = query {
        whole.push('?');
        whole.push_str(query);
    }
    whole
}

/// A path without its `.` and `..` segments.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            _ => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::head;
    use super::*;

    const TARGET: Target<'_> = Target { secure: false, host: "App.example:80", path_and_query: "/v1/pay/7?a=1" };

    #[test]
    fn references_are_taken_from_where_the_request_went() {
        for (reference, path) in [
            ("/v1/new", "/v1/new"),
            ("8", "/v1/pay/8"),
            ("8?x", "/v1/pay/8?x"),
            ("?b=2", "/v1/pay/7?b=2"),
            ("#there", "/v1/pay/7?a=1"),
            ("", "/v1/pay/7?a=1"),
            ("..", "/v1/"),
            ("../x/./y", "/v1/x/y"),
            ("/../../x", "/x"),
            ("./", "/v1/pay/"),
            ("/a//b", "/a//b"),
            ("http://app.example/x?y#z", "/x?y"),
            ("http://APP.example:80/x", "/x"),
            ("http://app.example", "/"),
            ("//app.example/x", "/x"),
            ("HTTP://app.example/a/../b", "/b"),
        ] {
            let paths = paths(&TARGET, 201, &head(&[("location", reference)]));
            let mut expected = vec!["/v1/pay/7?a=1".to_owned()];
            expected.extend((path != expected[0]).then(|| path.to_owned()));
            assert_eq!(paths, expected, "{reference}");
        }
    }

    #[test]
    fn other_origins_are_left_alone() {
        for reference in [
            "https://app.example/x",
            "http://app.example:8080/x",
            "http://other.example/x",
            "//other.example/x",
            "http://app.example@other.example/x",
            "mailto:a@app.example",
            "http:///x",
        ] {
            let paths = paths(&TARGET, 200, &head(&[("content-location", reference)]));
            assert_eq!(paths, ["/v1/pay/7?a=1"], "{reference}");
        }
    }

    #[test]
    fn an_error_changes_nothing_by_the_letter_of_the_law() {
        let answer = head(&[("location", "/x"), ("content-location", "/y")]);
        assert_eq!(paths(&TARGET, 200, &answer), ["/v1/pay/7?a=1", "/x", "/y"]);
        assert_eq!(paths(&TARGET, 303, &answer).len(), 3);
        for status in [101, 400, 404, 500, 503] {
            assert!(paths(&TARGET, status, &answer).is_empty(), "{status}");
        }
        let twice = head(&[("location", "/x"), ("content-location", "/x")]);
        assert_eq!(paths(&TARGET, 201, &twice).len(), 2);
    }

    #[test]
    fn only_what_reads_is_safe() {
        for (method, changes) in [("GET", false), ("HEAD", false), ("OPTIONS", false), ("TRACE", false), ("POST", true)]
        {
            assert_eq!(is_unsafe(&method.parse().unwrap()), changes, "{method}");
        }
        assert!(is_unsafe(&"M-SEARCH".parse().unwrap()));
    }

    proptest::proptest! {
        #[test]
        fn every_path_is_one(reference in "[a-z:/?#.%]{0,20}") {
            for path in paths(&TARGET, 200, &head(&[("location", &reference)])) {
                proptest::prop_assert!(path.starts_with('/'), "{}", path);
                let path = path.split('?').next().unwrap();
                proptest::prop_assert!(path.split('/').all(|s| s != ".." && s != "."), "{}", path);
            }
        }
    }
}
