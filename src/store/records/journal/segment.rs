//! A file of the journal: one generation, which is written by one thread.

use std::fs::File;
use std::hash::Hasher;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use siphasher::sip::SipHasher13;

use super::batch::{self, BLOCK, Found, Label, Salt};
use super::buffer::Buffer;
use super::{FORMAT, OLDEST, Part};
use crate::store::records::disk::{Error, Op, OpenError};

/// How long a file is. The more the database gets at a time, the fewer pages of its index each record costs: of a million
/// keys that are there a file's worth of new ones shares nearly every page. As much of it is in memory, too, at most.
/// Tests write hundreds of files; those that measure are not built for debugging.
pub(super) const SIZE: usize = if cfg!(all(test, debug_assertions)) { 6 << 20 } else { 16 << 20 };

/// What the steps of one batch may take, at most.
pub(in crate::store::records) const ROOM: usize = SIZE - FIRST as usize - BLOCK;

/// Where the first batch begins: behind two heads.
pub(super) const FIRST: u64 = 2 * BLOCK as u64;

const MAGIC: [u8; 8] = *b"outbjrnl";
/// The name, the format in four bytes and four more, the generation, the salt; then the sum of these.
const SUM: usize = 40;
const HEAD: usize = 48;

/// A buffer that one batch made larger than this is given back.
const KEPT: usize = 256 << 10;

/// A file, and where it is written next.
#[derive(Debug)]
pub(in crate::store::records) struct Segment {
    file: File,
    /// The same, written past the system's cache, where that can be: a sync has less to look for then.
    pub(super) direct: Option<File>,
    path: PathBuf,
    generation: u64,
    salt: Salt,
    /// Where the next batch goes.
    place: u64,
    batches: u64,
    /// How many batches the generation before had; none where nothing says so yet.
    before: Option<u64>,
    /// Something may stand at the place that was not told to be durable.
    failed: bool,
    buffer: Buffer,
    #[cfg(test)]
    pub(super) faults: super::tests::Faults,
}

/// Makes a file with this generation: under another name until all of it is on the disk.
pub(super) fn create(path: &Path, generation: u64) -> Result<(), OpenError> {
    let new = path.with_added_extension("new");
    let make = || {
        let file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
        zeros(&file, 0)?;
        file.write_all_at(&head(generation, &salt()?), slot(generation))?;
        file.sync_all()?;
        std::fs::rename(&new, path)?;
        // Also that of the folder: it is no journal before its name is on the disk.
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    make().map_err(|source| {
        _ = std::fs::remove_file(&new);
        Error::io(path, source).into()
    })
}

/// Opens a file, and reads what is in it.
pub(super) fn open(path: &Path) -> Result<Part, OpenError> {
    let failed = |source| OpenError::from(Error::io(path, source));
    let damaged = |what: &str| OpenError::from(Error::Damaged { file: path.to_owned(), what: what.to_owned() });
    let file = File::options().read(true).write(true).open(path).map_err(failed)?;
    let bytes = std::fs::read(path).map_err(failed)?;

    let mut newest = None;
    for head in bytes.chunks(BLOCK).take(2) {
        if head.starts_with(&MAGIC) {
            let format = number(head, 8) as u32;
            if !is_read(format) {
                let (oldest, newest) = (OLDEST.into(), FORMAT.into());
                return Err(OpenError::Format { file: path.to_owned(), found: format.into(), oldest, newest });
            }
        }
        newest = newest.max(read_head(head));
    }
    let Some((generation, salt)) = newest else { return Err(damaged("it has no head")) };
    let mut segment = Segment {
        file,
        direct: open_direct(path),
        path: path.to_owned(),
        generation,
        salt,
        place: FIRST,
        batches: 0,
        before: None,
        failed: false,
        buffer: Buffer::default(),
        #[cfg(test)]
        faults: Default::default(),
    };
    let (mut orders, mut time) = (Vec::new(), 0);
    let batches = bytes.get(FIRST as usize..).unwrap_or_default();
    // A head is on the disk before what it is for. Of the first block it is certain that it is a batch's.
    if batch::claims(batches).is_some_and(|of| of > generation) {
        return Err(damaged("its head is older than what is in it"));
    }
    let mut rest = batches;
    while let Found::Batch(label, length, steps) = batch::read(rest, generation, &salt) {
        if label.number != segment.batches {
            return Err(damaged("a batch is not where it was written"));
        }
        let Some(steps) = steps else { return Err(damaged("a batch has steps that no version writes")) };
        orders.extend(steps);
        time = time.max(label.time);
        (segment.batches, segment.before) = (label.number + 1, Some(label.before));
        segment.place += length as u64;
        rest = rest.get(length..).unwrap_or_default();
    }
    while let Some(behind) = rest.get(BLOCK..) {
        if matches!(batch::read(behind, generation, &salt), Found::Batch(..)) {
            return Err(damaged("what was written after the damage would be lost"));
        }
        rest = behind;
    }
    if segment.batches == 0 && bytes.len() < SIZE {
        segment.fill(bytes.len()).map_err(failed)?;
    }
    Ok(Part { segment, orders, time })
}

impl Segment {
    /// Which generation it is.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Its file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// How many batches are in it.
    pub(in crate::store::records) fn batches(&self) -> u64 {
        self.batches
    }

    /// How many batches its own say that the generation before had.
    pub(super) fn before(&self) -> Option<u64> {
        self.before
    }

    /// Says how many batches the generation before had. To be called before the first is written.
    pub(in crate::store::records) fn follows(&mut self, batches: u64) {
        self.before = Some(batches);
    }

    /// Whether there is room for a batch whose steps take so many bytes.
    pub(in crate::store::records) fn has_room(&self, steps: usize) -> bool {
        self.place + batch::blocks(steps) as u64 <= SIZE as u64
    }

    /// Writes a batch, with the time. It is on the disk when this returns, or, where it fails, is not believed.
    ///
    /// # Errors
    /// Where it cannot be written or synced.
    pub(in crate::store::records) fn append(&mut self, ops: &[Op<'_>], time: u64) -> Result<(), Error> {
        self.forget_failed()?;
        let Segment { generation, batches: number, before, .. } = *self;
        let mut buffer = std::mem::take(&mut self.buffer);
        let label = Label { generation, number, before: before.unwrap_or(0), time };
        let length = batch::blocks(ops.iter().map(batch::size).sum());
        let batch = buffer.filled(length, |into| batch::write(into, &label, &self.salt, ops));
        self.failed = true;
        let written = self.write(batch, self.place).and_then(|()| self.sync());
        buffer.shrink_to(KEPT);
        self.buffer = buffer;
        written.map_err(|source| Error::io(&self.path, source))?;
        self.failed = false;
        self.place += length as u64;
        self.batches += 1;
        Ok(())
    }

    /// Makes certain that nothing is found later of a batch that failed.
    ///
    /// # Errors
    /// Where that cannot be.
    pub(in crate::store::records) fn forget_failed(&mut self) -> Result<(), Error> {
        if self.failed {
            let forget = self.write_block(&[0; BLOCK], self.place);
            forget.map_err(|source| Error::io(&self.path, source))?;
            self.failed = false;
        }
        Ok(())
    }

    /// What is in it is in the database: it begins anew, behind the generation of the other file.
    ///
    /// # Errors
    /// Where its head cannot be written or synced. What was in it may be gone then, or be there.
    pub(in crate::store::records) fn renew(&mut self) -> Result<(), Error> {
        let generation = self.generation + 2;
        self.salt = self.begin(generation).map_err(|source| Error::io(&self.path, source))?;
        (self.generation, self.place, self.batches, self.before) = (generation, FIRST, 0, None);
        self.failed = false;
        Ok(())
    }

    /// Writes the head of a generation, and tells what is in it.
    fn begin(&mut self, generation: u64) -> io::Result<Salt> {
        let salt = salt()?;
        let length = self.file.metadata()?.len();
        if length < SIZE as u64 {
            self.fill(length as usize)?;
        }
        self.write_block(&head(generation, &salt), slot(generation))?;
        Ok(salt)
    }

    /// Writes a block, and syncs it.
    fn write_block(&mut self, block: &[u8; BLOCK], at: u64) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let block = buffer.filled(BLOCK, |into| into.extend_from_slice(block));
        let written = self.write(block, at).and_then(|()| self.sync());
        self.buffer = buffer;
        written
    }

    /// Makes a file as long as it was that was cut.
    fn fill(&self, from: usize) -> io::Result<()> {
        zeros(&self.file, from)?;
        self.file.sync_all()
    }

    pub(super) fn write(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        #[cfg(test)]
        if let Some(written) = self.faults.write() {
            self.file.write_all_at(&bytes[..written.min(bytes.len())], at)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        match self.direct.as_ref().map(|direct| direct.write_all_at(bytes, at)) {
            // Not from here, or not to there: nothing of it was written.
            Some(Err(e)) if e.kind() == io::ErrorKind::InvalidInput => self.direct = None,
            Some(written) => return written,
            None => {}
        }
        self.file.write_all_at(bytes, at)
    }

    fn sync(&self) -> io::Result<()> {
        #[cfg(test)]
        if self.faults.sync() {
            return Err(io::Error::other("a sync that fails"));
        }
        self.file.sync_data()
    }
}

impl Part {
    /// Whether it is as it was made.
    pub(super) fn is_untouched(&self) -> bool {
        self.segment.generation == 1 && !self.is_used()
    }
}

/// The file, past the system's cache; none where its file system has no such thing.
fn open_direct(path: &Path) -> Option<File> {
    let flags = rustix::fs::OFlags::DIRECT.bits().cast_signed();
    File::options().write(true).custom_flags(flags).open(path).ok()
}

fn zeros(file: &File, from: usize) -> io::Result<()> {
    let zeros = vec![0; 1 << 20];
    let mut at = from;
    while at < SIZE {
        let length = zeros.len().min(SIZE - at);
        file.write_all_at(&zeros[..length], at as u64)?;
        at += length;
    }
    Ok(())
}

fn salt() -> io::Result<Salt> {
    let mut salt = Salt::default();
    getrandom::fill(&mut salt).map_err(io::Error::other)?;
    Ok(salt)
}

/// Where the head of a generation is. That of the generation before in the same file is the other one.
pub(super) fn slot(generation: u64) -> u64 {
    generation / 2 % 2 * BLOCK as u64
}

pub(super) fn head(generation: u64, salt: &Salt) -> [u8; BLOCK] {
    let mut head = [0; BLOCK];
    head[..8].copy_from_slice(&MAGIC);
    head[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    head[16..24].copy_from_slice(&generation.to_le_bytes());
    head[24..SUM].copy_from_slice(salt);
    let sum = sum(&head[..SUM]);
    head[SUM..HEAD].copy_from_slice(&sum.to_le_bytes());
    head
}

fn read_head(bytes: &[u8]) -> Option<(u64, Salt)> {
    let head = bytes.get(..HEAD).filter(|head| head.starts_with(&MAGIC))?;
    (sum(&head[..SUM]) == number(head, SUM)).then(|| Some((number(head, 16), head[24..SUM].try_into().ok()?)))?
}

/// Keyed with nothing: it is there to find what is torn.
fn sum(bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(0, 0);
    hasher.write(bytes);
    hasher.finish()
}

/// Eight bytes as a number; 0 where they are not there.
fn number(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn is_read(format: u32) -> bool {
    (OLDEST..=FORMAT).contains(&format)
}
