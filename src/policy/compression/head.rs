//! What changes in the head of an answer whose body we encode or decode.

use http::header::{ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, HeaderName};
use http::{HeaderMap, HeaderValue};

use super::etag::{self, Served};
use super::{Coding, vary};

/// Fields that hold a digest of the body in the coding it was sent in, so of bytes that nobody gets any more.
///
/// `Content-Digest` is over the content of the message and `Repr-Digest` over the representation's data, of which the coding
/// is a part (RFC 9530, 2 and 3; RFC 9110, 8.1). `Digest` was over the same (RFC 3230), `Content-MD5` over the message's
/// body. They are removed rather than computed anew: a digest tells whether the bytes are the application's.
const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

/// The coding that the application gave a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoded {
    /// None.
    Not,
    /// One that we can take off.
    As(Coding),
    /// One that we do not know, or more than one.
    Otherwise,
}

/// Reads `Content-Encoding`.
pub fn encoded(response: &HeaderMap) -> Encoded {
    let mut found = Encoded::Not;
    for line in response.get_all(CONTENT_ENCODING) {
        for name in line.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii) {
            if name.is_empty() || name.eq_ignore_ascii_case(b"identity") {
                continue;
            }
            found = match (found, Coding::from_name(name)) {
                (Encoded::Not, Some(coding)) => Encoded::As(coding),
                _ => return Encoded::Otherwise,
            };
        }
    }
    found
}

/// Whether a field tells a digest of the bytes as they were: such a one may come behind the body as well, as a trailer.
pub fn is_digest(name: &HeaderName) -> bool {
    DIGESTS.contains(name)
}

/// Makes the head true for the body that is sent: its length (none: not known yet), coding, tag, and what it depends on.
/// For a body that we neither encode nor decode only the tag may change, see [`etag`].
pub fn rewrite(headers: &mut HeaderMap, served: Served, length: Option<u64>) {
    if let Some(tag) = headers.get(ETAG)
        && let std::borrow::Cow::Owned(tag) = etag::sent(tag.as_bytes(), served)
        && let Ok(tag) = HeaderValue::from_bytes(&tag)
    {
        headers.insert(ETAG, tag);
    }
    match served {
        Served::AsItIs => return,
        Served::Encoded(coding) => {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.as_str()));
        }
        Served::Decoded => {
            headers.remove(CONTENT_ENCODING);
        }
    }
    match length {
        Some(length) => headers.insert(CONTENT_LENGTH, HeaderValue::from(length)),
        None => headers.remove(CONTENT_LENGTH),
    };
    // The application's ranges count its own bytes. Said only where it said that there are ranges.
    if let Some(ranges) = headers.get_mut(ACCEPT_RANGES) {
        *ranges = HeaderValue::from_static("none");
    }
    for name in &DIGESTS {
        headers.remove(name);
    }
    vary::on_accept_encoding(headers);
}

#[cfg(test)]
mod tests {
    use http::header::VARY;

    use super::*;

    fn answer() -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-type", "application/json"),
            ("content-length", "9930"),
            ("etag", "\"abc\""),
            ("accept-ranges", "bytes"),
            ("content-md5", "Q2hlY2sgSW50ZWdyaXR5IQ=="),
            ("digest", "sha-256=abc"),
            ("content-digest", "sha-256=:abc:"),
            ("repr-digest", "sha-256=:abc:"),
            ("want-repr-digest", "sha-256=1"),
            ("vary", "Origin"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    fn expect(headers: &HeaderMap, fields: &[(&str, &str)]) {
        let mut found: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
        found.sort_unstable();
        assert_eq!(found, fields);
    }

    #[test]
    fn an_encoded_body_has_another_length_tag_and_no_digest() {
        let mut headers = answer();
        rewrite(&mut headers, Served::Encoded(Coding::Gzip), Some(1716));
        expect(
            &headers,
            &[
                ("accept-ranges", "none"),
                ("content-encoding", "gzip"),
                ("content-length", "1716"),
                ("content-type", "application/json"),
                ("etag", "\"abc~gzip\""),
                ("vary", "Origin, Accept-Encoding"),
                ("want-repr-digest", "sha-256=1"),
            ],
        );
    }

    #[test]
    fn a_decoded_body_has_no_coding() {
        let mut headers = answer();
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("br"));
        rewrite(&mut headers, Served::Decoded, None);
        expect(
            &headers,
            &[
                ("accept-ranges", "none"),
                ("content-type", "application/json"),
                ("etag", "\"abc~identity\""),
                ("vary", "Origin, Accept-Encoding"),
                ("want-repr-digest", "sha-256=1"),
            ],
        );
    }

    #[test]
    fn what_is_neither_stays_but_for_a_tag_that_looks_like_ours() {
        let mut headers = answer();
        rewrite(&mut headers, Served::AsItIs, Some(9930));
        assert_eq!(headers, answer());
        headers.insert(ETAG, HeaderValue::from_static("\"abc~gzip\""));
        rewrite(&mut headers, Served::AsItIs, None);
        assert_eq!(headers[ETAG], "\"abc~gzip~as-is\"");
        assert_eq!(headers.len(), answer().len());
    }

    #[test]
    fn nothing_is_said_that_was_not_said() {
        let mut headers = HeaderMap::new();
        rewrite(&mut headers, Served::Encoded(Coding::Zstd), None);
        expect(&headers, &[("content-encoding", "zstd"), ("vary", "Accept-Encoding")]);
        assert_eq!(headers[VARY], "Accept-Encoding");
    }

    #[test]
    fn a_coding_is_known_only_when_it_is_the_only_one() {
        let cases: &[(&[&str], Encoded)] = &[
            (&[], Encoded::Not),
            (&["identity"], Encoded::Not),
            (&[""], Encoded::Not),
            (&["gzip"], Encoded::As(Coding::Gzip)),
            (&["X-GZIP"], Encoded::As(Coding::Gzip)),
            (&["identity, br"], Encoded::As(Coding::Br)),
            (&["gzip, gzip"], Encoded::Otherwise),
            (&["gzip", "br"], Encoded::Otherwise),
            (&["deflate"], Encoded::Otherwise),
            (&["aes128gcm"], Encoded::Otherwise),
        ];
        for (lines, found) in cases {
            let mut headers = HeaderMap::new();
            for line in *lines {
                headers.append(CONTENT_ENCODING, HeaderValue::from_str(line).unwrap());
            }
            assert_eq!(encoded(&headers), *found, "{lines:?}");
        }
    }

    #[test]
    fn digests_are_known_as_trailers_too() {
        assert!(is_digest(&HeaderName::from_static("repr-digest")));
        assert!(!is_digest(&HeaderName::from_static("want-repr-digest")));
    }
}
