//! What stands for a key, a credential and a payload: hashes that nobody can find a second text for.

use ring::digest::{Context, SHA256};

use crate::policy::parts::Parts;

/// By what a record is found, and what it is held against: the first half of a SHA-256.
pub type Hash = [u8; 16];

/// A hash as people read it, and as it stands in names: 32 hexadecimal digits.
pub fn hex(hash: &Hash) -> String {
    format!("{:032x}", u128::from_be_bytes(*hash))
}

/// The hash of what [`hex`] wrote.
pub fn unhex(text: &str) -> Option<Hash> {
    let digits = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let number = digits.then(|| u128::from_str_radix(text, 16).ok())??;
    Some(number.to_be_bytes())
}

/// Hashes parts, each with its length: `ab` and `c` are not `a` and `bc`.
#[derive(Clone)]
pub struct Digest(Context);

impl Digest {
    /// Begins a hash for one use: the same parts for another use give another hash.
    pub fn new(of: &str) -> Self {
        let mut digest = Digest(Context::new(&SHA256));
        digest.part(of.as_bytes());
        digest
    }

    /// The hash of what was added.
    pub fn finish(self) -> Hash {
        let (mut half, whole) = (Hash::default(), self.0.finish());
        half.copy_from_slice(&whole.as_ref()[..16]);
        half
    }
}

impl Parts for Digest {
    fn part(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }
}

/// What a request asks for, as it was received: method, target, the type and coding of its body, and every byte of it. Two
/// ways to write one JSON are two payloads: what is refused in doubt is not charged twice (docs/decisions/0012).
pub fn fingerprint<'v>(
    method: &str,
    path_and_query: &str,
    content_type: Option<&'v [u8]>,
    content_encoding: Option<&'v [u8]>,
    body: &[u8],
) -> Hash {
    let mut digest = Digest::new("fingerprint");
    let texts = [method.as_bytes(), path_and_query.as_bytes()];
    texts.into_iter().for_each(|text| digest.part(text));
    [content_type, content_encoding].into_iter().for_each(|field| digest.part(field.unwrap_or_default()));
    digest.part(body);
    digest.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_request_counts() {
        let json = Some(&b"application/json"[..]);
        let all = [
            fingerprint("POST", "/v1/payments", json, None, b"{}"),
            fingerprint("PUT", "/v1/payments", json, None, b"{}"),
            fingerprint("POST", "/v1/payments?a=1", json, None, b"{}"),
            fingerprint("POST", "/v1/payments", None, json, b"{}"),
            fingerprint("POST", "/v1/payments", json, Some(b"gzip"), b"{}"),
            fingerprint("POST", "/v1/payments", json, None, b"{ }"),
            fingerprint("POST", "/v1/payments", None, None, b""),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|other| one != other), "{i}");
        }
        assert_eq!(all[0], fingerprint("POST", "/v1/payments", json, None, b"{}"));
    }

    #[test]
    fn a_hash_stays_the_same_between_versions_of_the_program() {
        let mut digest = Digest::new("key");
        digest.part(b"mer_0001");
        digest.part(b"8e03978e");
        let hex: String = digest.finish().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "c83577024ee1344e477a45a5685592cb");
    }
}
