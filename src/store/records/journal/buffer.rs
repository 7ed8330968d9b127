//! Memory from which a file can be written past the system's cache.

use super::batch::BLOCK;

/// Bytes that begin at the border of a block in memory as well, as such a write asks for.
#[derive(Debug, Default)]
pub(super) struct Buffer(Vec<u8>);

impl Buffer {
    /// What `fill` appends, which is so many bytes.
    pub(super) fn filled(&mut self, length: usize, fill: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        self.0.clear();
        self.0.reserve(BLOCK + length);
        let start = self.0.as_ptr().align_offset(BLOCK);
        self.0.resize(start, 0);
        fill(&mut self.0);
        debug_assert_eq!(self.0.len() - start, length);
        &self.0[start..]
    }

    /// Gives memory back that is more than this.
    pub(super) fn shrink_to(&mut self, capacity: usize) {
        self.0.clear();
        self.0.shrink_to(capacity);
    }
}
