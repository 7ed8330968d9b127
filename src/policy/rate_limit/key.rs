//! From a limit and the parts of a key to the 64 bits that stand for them.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::policy::parts::Parts;

/// Hashes a limit's identity and the parts of a key.
///
/// SipHash-1-3 under a secret seed: nobody outside can look for keys that share a count or crowd one place of the table.
/// What does not change from request to request (the route, the limit's name) is hashed once; a clone goes on from there.
#[derive(Debug, Clone)]
pub struct KeyHasher(SipHasher13);

impl KeyHasher {
    pub(super) fn new(seed: [u64; 2]) -> Self {
        KeyHasher(SipHasher13::new_with_keys(seed[0], seed[1]))
    }

    /// The hash of what was added.
    pub fn finish(&self) -> u64 {
        self.0.finish()
    }
}

impl Parts for KeyHasher {
    fn part(&mut self, bytes: &[u8]) {
        self.0.write(&(bytes.len() as u64).to_le_bytes());
        self.0.write(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(seed: [u64; 2], parts: &[&str]) -> u64 {
        let mut hasher = KeyHasher::new(seed);
        parts.iter().for_each(|p| hasher.part(p.as_bytes()));
        hasher.finish()
    }

    #[test]
    fn parts_and_seeds_tell_keys_apart() {
        let all = [
            hash([1, 2], &["ab", "c"]),
            hash([1, 2], &["a", "bc"]),
            hash([1, 2], &["abc"]),
            hash([1, 2], &["abc", ""]),
            hash([1, 2], &["", "abc"]),
            hash([2, 1], &["abc"]),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b), "{i}");
        }
    }

    #[test]
    fn a_clone_goes_on_where_its_origin_stood() {
        let mut prefix = KeyHasher::new([7, 7]);
        prefix.part(b"route");
        let mut whole = prefix.clone();
        whole.part(b"mer_0001");
        assert_eq!(whole.finish(), hash([7, 7], &["route", "mer_0001"]));
        assert_eq!(prefix.finish(), hash([7, 7], &["route"]));
    }
}
