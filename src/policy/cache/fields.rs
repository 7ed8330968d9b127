//! Which fields of an answer are kept with it (RFC 9111, 3.1).

use http::header::{AGE, CONNECTION, HeaderMap, HeaderName, HeaderValue};

/// Fields that belong to a connection, to a proxy or to one answer on its way, not to what is kept. Set-Cookie is none of
/// them: an answer that has it is not stored at all, or, where a route asks for the standard, with it.
const NEVER: [&str; 12] = [
    "age",
    "cache-status",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Whether a field is never kept, whatever the answer says.
pub fn is_never_kept(name: &HeaderName) -> bool {
    *name == AGE || NEVER.contains(&name.as_str())
}

/// The fields of an answer that are kept, in their order. `drop` is what its directives name: `private="…"` and
/// `no-cache="…"`, whose fields would have to be validated first, and so are left to the answer that was.
pub fn kept<'h>(
    headers: &'h HeaderMap,
    drop: &[HeaderName],
) -> impl Iterator<Item = (&'h HeaderName, &'h HeaderValue)> {
    headers.iter().filter(move |(name, _)| !is_never_kept(name) && !drop.contains(name) && !is_nominated(headers, name))
}

/// Removes what is not kept.
pub fn strip(headers: &mut HeaderMap, drop: &[HeaderName]) {
    let gone: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_never_kept(name) || drop.contains(name) || is_nominated(headers, name))
        .cloned()
        .collect();
    for name in gone {
        headers.remove(name);
    }
}

/// Whether `Connection` names a field.
pub(super) fn is_nominated(headers: &HeaderMap, name: &HeaderName) -> bool {
    let lines = headers.get_all(CONNECTION).iter();
    let mut members = lines.flat_map(|line| line.as_bytes().split(|b| *b == b','));
    members.any(|member| member.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::super::tests::head;
    use super::*;

    #[test]
    fn what_belongs_to_a_connection_to_one_answer_or_to_nobody_else_is_not_kept() {
        let all = head(&[
            ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("connection", "a, B"),
            ("connection", "close"),
            ("a", "1"),
            ("b", "2"),
            ("c", "3"),
            ("c", "4"),
            ("d", "5"),
            ("age", "7"),
            ("cache-status", "other; hit"),
            ("keep-alive", "timeout=5"),
            ("proxy-authenticate", "Basic"),
            ("proxy-authentication-info", "x"),
            ("proxy-authorization", "x"),
            ("proxy-connection", "close"),
            ("set-cookie", "a=b"),
            ("set-cookie2", "a=b"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "x"),
            ("content-length", "10"),
            ("content-range", "x"),
        ]);
        let drop = [HeaderName::from_static("d")];
        let names: Vec<_> = kept(&all, &drop).map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        let expected = [
            ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("c", "3"),
            ("c", "4"),
            ("set-cookie", "a=b"),
            ("set-cookie2", "a=b"),
            ("content-length", "10"),
            ("content-range", "x"),
        ];
        for field in expected {
            assert!(names.contains(&field), "{field:?} is not in {names:?}");
        }
        assert_eq!(names.len(), expected.len(), "{names:?}");

        let mut stripped = all.clone();
        strip(&mut stripped, &drop);
        assert_eq!(
            stripped,
            kept(&all, &drop).map(|(n, v)| (n.clone(), v.clone())).fold(HeaderMap::new(), |mut map, (n, v)| {
                map.append(n, v);
                map
            })
        );
    }
}
