//! Encrypts the answers in records: AES-256-GCM, each answer with a key of its own.
//!
//! One key must not encrypt more than 2^32 messages with random nonces (NIST SP 800-38D, 8.3), which a busy route reaches
//! within weeks. So every answer gets a key of its own, derived from the configured one and 16 random bytes (HKDF, RFC 5869);
//! with that the nonce may be fixed. What was encrypted is bound to its record's hash: an answer that is put into another
//! record cannot be opened.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};

use zeroize::{Zeroize, Zeroizing};

use super::record::{ReadError, Reader};
use crate::policy::idempotency::Hash;

/// Bytes of a key.
pub const KEY: usize = 32;

const SALT: usize = 16;

/// The keys, the first of which encrypts. Without one nothing is encrypted.
#[derive(Default)]
pub struct Sealer {
    keys: Vec<(String, Prk)>,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(id, _)| id)).finish()
    }
}

struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        KEY
    }
}

impl Sealer {
    /// With these keys, each with its name.
    pub fn new(keys: impl IntoIterator<Item = (String, Zeroizing<[u8; KEY]>)>) -> Self {
        let mut sealer = Sealer::default();
        keys.into_iter().for_each(|(id, key)| sealer.add(id, &key));
        sealer
    }

    /// Adds a key. What is kept of it is derived, inside the library.
    pub fn add(&mut self, id: String, key: &Zeroizing<[u8; KEY]>) {
        self.keys.push((id, Salt::new(HKDF_SHA256, b"outboard idempotency records").extract(&key[..])));
    }

    /// Whether anything is encrypted.
    pub fn seals(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Encrypts what stands in `out` from `from` on, where there is a key. Its name and what else is needed to open it come
    /// before it.
    pub(super) fn seal(&self, hash: &Hash, out: &mut Vec<u8>, from: usize) {
        let Some((id, key)) = self.keys.first() else { return };
        let mut text = out.split_off(from);
        let mut salt = [0; SALT];
        let fresh = getrandom::fill(&mut salt).ok();
        let sealed = fresh
            .and_then(|()| derived(key, &salt))
            .map(|key| key.seal_in_place_append_tag(Nonce::assume_unique_for_key([0; 12]), Aad::from(hash), &mut text));
        // A system without random numbers, which had some at start. Rather lost than in clear, or under a key used twice:
        // what cannot be opened is refused to later tries.
        if !matches!(sealed, Some(Ok(()))) {
            text.fill(0);
        }
        out.push(id.len() as u8);
        out.extend_from_slice(id.as_bytes());
        out.extend_from_slice(&salt);
        out.append(&mut text);
    }

    /// Decrypts it.
    pub(super) fn open(&self, hash: &Hash, sealed: &[u8]) -> Result<Vec<u8>, ReadError> {
        let mut reader = Reader(sealed);
        let length = reader.byte()?.into();
        let id = String::from_utf8_lossy(reader.take(length)?).into_owned();
        let salt: [u8; SALT] = reader.array()?;
        let key = self.keys.iter().find(|(known, _)| *known == id).and_then(|(_, key)| derived(key, &salt));
        let Some(key) = key else { return Err(ReadError::Key(id)) };
        let mut text = reader.0.to_vec();
        let opened = key.open_in_place(Nonce::assume_unique_for_key([0; 12]), Aad::from(hash), &mut text);
        let Ok(length) = opened.map(|plain| plain.len()) else { return Err(ReadError::Key(id)) };
        text.truncate(length);
        Ok(text)
    }
}

/// The key of one answer.
fn derived(key: &Prk, salt: &[u8; SALT]) -> Option<LessSafeKey> {
    let mut bytes = [0; KEY];
    key.expand(&[salt], Length).ok()?.fill(&mut bytes).ok()?;
    let key = UnboundKey::new(&AES_256_GCM, &bytes).ok().map(LessSafeKey::new);
    bytes.zeroize();
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(sealer: &Sealer, text: &[u8]) -> Vec<u8> {
        let mut out = b"head".to_vec();
        out.extend_from_slice(text);
        sealer.seal(&[1; 16], &mut out, 4);
        out.split_off(4)
    }

    #[test]
    fn keys_rotate_and_what_the_old_one_encrypted_is_still_read() {
        let old = Sealer::new([("k1".to_owned(), [1; KEY].into())]);
        let both = Sealer::new([("k2".to_owned(), [2; KEY].into()), ("k1".to_owned(), [1; KEY].into())]);
        let new = Sealer::new([("k2".to_owned(), [2; KEY].into())]);
        let (by_old, by_new) = (sealed(&old, b"pay_1"), sealed(&both, b"pay_2"));
        assert_eq!(both.open(&[1; 16], &by_old), Ok(b"pay_1".to_vec()));
        assert_eq!(new.open(&[1; 16], &by_new), Ok(b"pay_2".to_vec()));
        assert_eq!(new.open(&[1; 16], &by_old), Err(ReadError::Key("k1".into())));
        let namesake = Sealer::new([("k1".to_owned(), [3; KEY].into())]);
        assert_eq!(namesake.open(&[1; 16], &by_old), Err(ReadError::Key("k1".into())));
    }

    #[test]
    fn the_same_text_is_never_encrypted_to_the_same_bytes() {
        let sealer = Sealer::new([("k1".to_owned(), [1; KEY].into())]);
        let (one, two) = (sealed(&sealer, b"4111111111111111"), sealed(&sealer, b"4111111111111111"));
        assert_ne!(one, two);
        assert!(!one.windows(16).any(|w| w == b"4111111111111111"));
        assert_eq!(format!("{sealer:?}"), "[\"k1\"]");
    }
}
