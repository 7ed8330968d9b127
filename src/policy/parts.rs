//! What takes the parts of a key, one after the other.

/// Takes the parts of a key. The length of a part is a part of it: `ab` and `c` are not `a` and `bc`.
pub trait Parts {
    /// Adds a part.
    fn part(&mut self, bytes: &[u8]);
}
