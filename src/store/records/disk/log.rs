//! Whether the log of a database lost anything but what was not synced.
//!
//! SQLite reads its log up to the first frame (a page with its number and check sum) that is not valid and forgets the
//! rest, as it must where the machine stopped in the middle of a write. It does the same where a byte was damaged, and
//! then the rest is transactions that were told to be on the disk. The two differ: what was being written is the last
//! transaction, because each is synced before the next begins. So a frame that is not valid is damage where what follows
//! it cannot be of the same transaction: the ends of two, or one end where the frame itself is an end.
//!
//! What follows is recognised because a frame's sum goes on from the sum in the frame before. Transactions that failed
//! leave frames too, that later ones did not write over; each such rest has one end at most, and none goes on from
//! another.
//!
//! Not told apart are a torn write and damage to the last transaction in the log, or to the head of the last frame of the
//! one before it.
//!
//! The layout is SQLite's file format, "The Write-Ahead Log", which has not changed since 2010.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::{Error, OpenError};

/// Of the log and of a frame.
const LOG_HEAD: usize = 32;
const FRAME_HEAD: usize = 24;

/// The first four bytes, with the lowest bit cleared. It says how the words of a sum are written.
const MAGIC: u32 = 0x377f_0682;

/// What SQLite calls salt: which frames are of this log, and not of one that stood in the file before.
type Salt = [u8; 8];

/// Looks at the log before SQLite does.
pub(super) fn check(database: &Path, log: &Path) -> Result<(), OpenError> {
    let failed = |path: &Path, source| OpenError::Io { path: path.to_owned(), source };
    let damaged =
        |file: &Path, what: &str| OpenError::Database(Error::Damaged { file: file.to_owned(), what: what.to_owned() });
    let length = |path: &Path| match path.metadata() {
        Ok(data) => Ok(data.len()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(e) => Err(failed(path, e)),
    };
    if length(log)? <= LOG_HEAD as u64 {
        return Ok(());
    }
    if length(database)? == 0 {
        // SQLite would throw the log away. It never makes one before the database has its first page.
        return Err(damaged(database, "it is missing or empty, and its log is not"));
    }
    let file = File::open(log).map_err(|e| failed(log, e))?;
    match read(BufReader::with_capacity(1 << 16, file)).map_err(|e| failed(log, e))? {
        Found::Whole => Ok(()),
        Found::Damaged(what) => Err(damaged(log, what)),
    }
}

/// What a log turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Valid, up to an end that may be torn.
    Whole,
    Damaged(&'static str),
}

fn read(mut log: impl BufRead) -> io::Result<Found> {
    let mut head = [0; LOG_HEAD];
    if !fill(&mut log, &mut head)? {
        return Ok(Found::Whole);
    }
    let magic = word(&head, 0);
    let big = magic & 1 == 1;
    let page = word(&head, 8) as usize;
    let valid = magic & !1 == MAGIC && page.is_power_of_two() && (512..=65536).contains(&page);
    let sums = Sums::default().with(big, &head[..24]);
    if !valid || sums != Sums::at(&head, 24) {
        // The head is synced before any frame of its log is written.
        let frames = log.bytes().try_fold(false, |any, byte| byte.map(|byte| any || byte != 0))?;
        return Ok(if frames { Found::Damaged("its head is not what was written") } else { Found::Whole });
    }
    let salt = salt(&head, 16);
    let mut frames = Frames { sums, broken: None };
    let mut frame = vec![0; FRAME_HEAD + page];
    while fill(&mut log, &mut frame)? {
        if frames.damaged(&frame, big, salt) {
            return Ok(Found::Damaged("what was committed after the damage would be lost"));
        }
    }
    Ok(Found::Whole)
}

/// Frames that were read.
struct Frames {
    /// The sums in the last one.
    sums: Sums,
    /// How many transactions are known to have ended since the last frame that is not valid, with that one, if there was
    /// such.
    broken: Option<usize>,
}

impl Frames {
    /// Reads another one. Whether a transaction is lost that was on the disk.
    fn damaged(&mut self, frame: &[u8], big: bool, salt: Salt) -> bool {
        let (head, page) = frame.split_at(FRAME_HEAD);
        let ours = self::salt(head, 8) == salt && word(head, 0) != 0;
        let end = ours && word(head, 4) != 0;
        let sums = self.sums.with(big, &head[..8]).with(big, page);
        self.sums = Sums::at(head, 16);
        let valid = ours && sums == self.sums;
        self.broken = match self.broken {
            None if valid => None,
            Some(ends) if valid => Some(ends + usize::from(end)),
            _ => Some(usize::from(end)),
        };
        self.broken.is_some_and(|ends| ends >= 2)
    }
}

/// SQLite's sums, over words of 32 bits two at a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sums(u32, u32);

impl Sums {
    fn at(bytes: &[u8], at: usize) -> Self {
        Sums(word(bytes, at), word(bytes, at + 4))
    }

    fn with(self, big: bool, bytes: &[u8]) -> Self {
        let read = |bytes: [u8; 4]| if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) };
        bytes.as_chunks().0.iter().fold(self, |Sums(one, two), &[a, b, c, d, e, f, g, h]| {
            let one = one.wrapping_add(read([a, b, c, d])).wrapping_add(two);
            Sums(one, two.wrapping_add(read([e, f, g, h])).wrapping_add(one))
        })
    }
}

/// A word of a head: these are big-endian whatever those of a sum are. Zero where the bytes end.
fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|bytes| bytes.first_chunk()).map_or(0, |word| u32::from_be_bytes(*word))
}

fn salt(bytes: &[u8], at: usize) -> Salt {
    bytes.get(at..).and_then(|bytes| bytes.first_chunk()).copied().unwrap_or_default()
}

/// Fills the buffer. False where the file ends before.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(e) => Err(e),
    }
}
