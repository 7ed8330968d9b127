//! What the head of an answer says of its body's coding, and of the bytes in that coding.

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, HeaderName};

use super::Coding;

/// Fields that hold a digest of the body in the coding it was sent in, so of bytes that nobody gets any more.
///
/// `Content-Digest` is over the content of the message and `Repr-Digest` over the representation's data, of which the coding
/// is a part (RFC 9530, 2 and 3; RFC 9110, 8.1). `Digest` was over the same (RFC 3230), `Content-MD5` over the message's
/// body. They are removed rather than computed anew: a digest tells whether the bytes are the application's.
static DIGESTS: [HeaderName; 4] = [
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

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

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
