//! `Vary: Accept-Encoding`.

use http::header::{ACCEPT_ENCODING, VARY};
use http::{HeaderMap, HeaderValue};

/// What is said.
pub const NAME: &str = "Accept-Encoding";

/// Says that the answer depends on `Accept-Encoding`, if it does not yet. What the field held is kept, on one line: there are
/// caches that read only one.
pub fn on_accept_encoding(headers: &mut HeaderMap) {
    if is_said(headers) {
        return;
    }
    let lines = headers.get_all(VARY);
    if lines.iter().next().is_none() {
        headers.insert(VARY, HeaderValue::from_static(NAME));
        return;
    }
    let mut merged = Vec::new();
    for line in lines.iter().map(|line| line.as_bytes().trim_ascii()).chain([NAME.as_bytes()]) {
        if !merged.is_empty() && !line.is_empty() {
            merged.extend_from_slice(b", ");
        }
        merged.extend_from_slice(line);
    }
    // Values joined by a comma are a value. If they were none, `*` would be true as well.
    headers.insert(VARY, HeaderValue::from_bytes(&merged).unwrap_or(HeaderValue::from_static("*")));
}

/// Whether the answer says that it depends on `Accept-Encoding`.
pub fn is_said(headers: &HeaderMap) -> bool {
    headers.get_all(VARY).iter().any(says_so)
}

fn says_so(line: &HeaderValue) -> bool {
    let name = ACCEPT_ENCODING.as_str().as_bytes();
    line.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii).any(|m| m == b"*" || m.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_merged_into_what_is_there() {
        let cases: &[(&[&str], &[&str])] = &[
            (&[], &["Accept-Encoding"]),
            (&["Origin"], &["Origin, Accept-Encoding"]),
            (&["Origin", "Accept, X-Tenant"], &["Origin, Accept, X-Tenant, Accept-Encoding"]),
            (&[""], &["Accept-Encoding"]),
            (&["X-Accept-Encoding"], &["X-Accept-Encoding, Accept-Encoding"]),
            // Already said.
            (&["accept-encoding"], &["accept-encoding"]),
            (&["Origin", "Accept , ACCEPT-ENCODING"], &["Origin", "Accept , ACCEPT-ENCODING"]),
            (&["*"], &["*"]),
            (&["Origin, *"], &["Origin, *"]),
        ];
        for (before, after) in cases {
            let mut headers = HeaderMap::new();
            before.iter().for_each(|line| {
                headers.append(VARY, HeaderValue::from_str(line).unwrap());
            });
            for _ in 0..2 {
                on_accept_encoding(&mut headers);
                let lines: Vec<&str> = headers.get_all(VARY).iter().map(|v| v.to_str().unwrap()).collect();
                assert_eq!(lines, *after, "{before:?}");
            }
        }
    }
}
