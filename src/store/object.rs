//! What is stored of an answer: never changed, shared by all who serve it.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use bytes::Bytes;

use super::generations::{How, Moment, SOFTENED, SWEPT, Slot};

/// How many codings a body can be kept in, besides as it is.
pub const CODINGS: usize = 3;

/// More hits than this are not counted: a count that many threads write costs them the cache line that they read.
const MOST_HITS: u32 = 255;

/// What an object costs besides key, head and bodies: itself and its counts, its place in the index, the share of the keys
/// that are remembered after they were driven out, and the counts of its buffers once they are shared.
const FIXED: u64 = 272;

/// The counts before what is shared.
const COUNTS: usize = 16;

/// Bodies up to this size are copied, so that they hold nothing in memory but themselves; larger ones are kept as given.
const COPIED: usize = 16 << 10;

/// The bodies of an object in the codings that it was asked for.
type Forms = Option<Box<[Option<Bytes>; CODINGS]>>;

/// What an object is made of.
#[derive(Debug, Clone)]
pub struct Parts<'a, L> {
    /// The primary key.
    pub key: &'a [u8],
    /// The part of the key that is its path: what free prefixes are compared with.
    pub place: Range<usize>,
    /// The status code.
    pub status: u16,
    /// The head as field lines, `Name: value\r\n` each; without what belongs to a connection, Content-Length and Age.
    pub head: &'a [u8],
    /// Where in the head the value of ETag stands.
    pub etag: Option<Range<usize>>,
    /// Where in the head the value of Last-Modified stands.
    pub last_modified: Option<Range<usize>>,
    /// The body as the application sent it. One over 16 KiB is kept as it is given: it must not be a part of something
    /// larger, which it would hold in memory.
    pub body: Bytes,
    /// What Vary names, and what the request said there. Empty where the answer does not vary.
    pub selector: Selector<'a>,
    /// All that it is filed under.
    pub slots: &'a [Slot],
    /// When its fetch began: taken before the first byte was sent.
    pub filed_at: Moment,
    /// How long it lives: whatever the owner needs to know of it.
    pub life: L,
    /// Marks of the owner.
    pub flags: u16,
}

/// By what an answer was chosen among those of its key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Selector<'a> {
    /// The names in Vary, in a spelling and an order of the owner.
    pub names: &'a [u8],
    /// What the request said under these names, likewise.
    pub values: &'a [u8],
}

impl Selector<'_> {
    /// Whether the answer does not vary.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

/// A stored answer.
///
/// Key, selector, slots and head lie in one buffer, and the body behind them or in a buffer of its own, whichever takes
/// less memory: allocators round a size up by as much as a quarter. The fields are in the order in which a hit reads them:
/// of a million objects none is in the processor's cache, and each line of it that is touched costs its time.
#[derive(Debug)]
#[repr(C)]
pub struct Object<L> {
    /// Key, names and values of the selector, slots, head, and the body where it lies here.
    data: Arc<[u8]>,
    sizes: Sizes,
    hits: AtomicU32,
    /// How many raises were told when it was last found valid; or what a sweep said of it.
    seen: AtomicU64,
    life: L,
    filed_at: Moment,
    place: Span,
    status: u16,
    flags: u16,
    forms: Forms,
    /// The body where it does not lie behind the head. Empty otherwise.
    apart: Bytes,
    etag: Span,
    last_modified: Span,
}

/// How long the parts of an object's buffer are, in their order.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    /// First, and beside the buffer: a key is compared by both.
    key: u16,
    names: u16,
    values: u16,
    /// So many of them.
    slots: u16,
    head: u32,
}

/// A range in a key or head, in a quarter of the space. An empty one at 0 is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Span {
    start: u16,
    end: u16,
}

impl<L: Copy> Object<L> {
    /// An object of these parts; none where a range does not lie in its text, or beyond its first 64 KiB, and where the
    /// key or what it is selected by is longer than that.
    pub fn new(parts: Parts<'_, L>) -> Option<Self> {
        let Parts { key, place, status, head, etag, last_modified, body, .. } = parts;
        let Parts { selector, slots, filed_at, life, flags, .. } = parts;
        let sizes = Sizes {
            key: u16::try_from(key.len()).ok()?,
            names: u16::try_from(selector.names.len()).ok()?,
            values: u16::try_from(selector.values.len()).ok()?,
            slots: u16::try_from(slots.len()).ok()?,
            head: u32::try_from(head.len()).ok()?,
        };
        let before_body = sizes.before_body();
        let joined = is_better_joined(before_body, body.len());
        let mut data = Vec::with_capacity(before_body + if joined { body.len() } else { 0 });
        for part in [key, selector.names, selector.values] {
            data.extend_from_slice(part);
        }
        slots.iter().for_each(|slot| data.extend_from_slice(&slot.to_bytes()));
        data.extend_from_slice(head);
        let apart = match body {
            body if joined => {
                data.extend_from_slice(&body);
                Bytes::new()
            }
            body if body.len() <= COPIED => Bytes::copy_from_slice(&body),
            body => body,
        };
        let in_head = |range: Option<Range<usize>>| range.map_or(Some(Span::default()), |range| Span::new(range, head));
        Some(Object {
            sizes,
            place: Span::new(place, key)?,
            etag: in_head(etag)?,
            last_modified: in_head(last_modified)?,
            data: data.into(),
            apart,
            forms: None,
            hits: AtomicU32::new(0),
            status,
            flags,
            filed_at,
            seen: AtomicU64::new(0),
            life,
        })
    }

    /// The same object with a body in one more coding. Buffers are shared, what is counted goes on.
    pub fn with_form(&self, coding: usize, body: Bytes) -> Self {
        let mut forms = self.forms.clone().unwrap_or_default();
        if let Some(form) = forms.get_mut(coding) {
            *form = Some(body);
        }
        Object {
            data: Arc::clone(&self.data),
            apart: self.apart.clone(),
            forms: Some(forms),
            hits: AtomicU32::new(self.hits()),
            seen: AtomicU64::new(self.seen.load(Ordering::SeqCst)),
            ..*self
        }
    }

    /// Whether the two are one answer, in whatever codings it is kept.
    pub fn is_same(&self, other: &Self) -> bool {
        self.data.as_ptr() == other.data.as_ptr()
    }

    /// The primary key.
    pub fn key(&self) -> &[u8] {
        self.part(0, self.key_len())
    }

    /// The path.
    pub fn place(&self) -> &[u8] {
        self.place.of(self.key())
    }

    /// By what it was chosen.
    pub fn selector(&self) -> Selector<'_> {
        let (names, values) = (usize::from(self.sizes.names), usize::from(self.sizes.values));
        Selector { names: self.part(self.key_len(), names), values: self.part(self.key_len() + names, values) }
    }

    /// What it is filed under.
    pub fn slots(&self) -> impl Iterator<Item = Slot> + '_ {
        let size = self.sizes.before_head() - self.sizes.before_slots();
        let (slots, _) = self.part(self.sizes.before_slots(), size).as_chunks::<4>();
        slots.iter().map(|bytes| Slot::from_bytes(*bytes))
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The field lines of the head.
    pub fn head(&self) -> &[u8] {
        self.part(self.sizes.before_head(), self.sizes.head as usize)
    }

    /// The value of ETag.
    pub fn etag(&self) -> Option<&[u8]> {
        self.etag.some_of(self.head())
    }

    /// The value of Last-Modified.
    pub fn last_modified(&self) -> Option<&[u8]> {
        self.last_modified.some_of(self.head())
    }

    /// The body as the application sent it.
    pub fn body(&self) -> &[u8] {
        if self.apart.is_empty() { self.data.get(self.sizes.before_body()..).unwrap_or_default() } else { &self.apart }
    }

    /// The body as a handle of its own, for who sends it without a copy. Worth it for large ones only.
    pub fn shared_body(&self) -> Bytes {
        if self.apart.is_empty() {
            Bytes::from_owner(Arc::clone(&self.data)).slice(self.sizes.before_body()..)
        } else {
            self.apart.clone()
        }
    }

    /// The body in a coding, where it is kept in it.
    pub fn form(&self, coding: usize) -> Option<&Bytes> {
        self.forms.as_deref()?.get(coding)?.as_ref()
    }

    /// When its fetch began.
    pub fn filed_at(&self) -> Moment {
        self.filed_at
    }

    /// How long it lives.
    pub fn life(&self) -> L {
        self.life
    }

    /// The marks of its owner.
    pub fn flags(&self) -> u16 {
        self.flags
    }

    /// Counts a hit; tells how many there were, 255 for all beyond.
    pub fn hit(&self) -> u32 {
        let hits = self.hits();
        if hits >= MOST_HITS {
            return hits;
        }
        self.hits.fetch_add(1, Ordering::Relaxed).saturating_add(1).min(MOST_HITS)
    }

    /// How many hits were counted.
    pub fn hits(&self) -> u32 {
        self.hits.load(Ordering::Relaxed).min(MOST_HITS)
    }

    /// What it takes in memory: key, head, bodies and what stands around them, as the allocator rounds them.
    pub fn weight(&self) -> u64 {
        let forms = self.forms.as_deref().map_or(0, |forms| {
            allocated(size_of_val(forms)) + forms.iter().flatten().map(|form| allocated(form.len())).sum::<u64>()
        });
        FIXED + shared(self.data.len()) + allocated(self.apart.len()) + forms
    }

    /// How many raises were told when it was last found valid; or what a sweep said of it.
    pub(super) fn seen(&self) -> &AtomicU64 {
        &self.seen
    }

    /// A sweep reaches it: who holds it learns of that too.
    pub(super) fn sweep(&self, how: How) {
        let mark = match how {
            How::Soft => SOFTENED,
            How::Hard => SWEPT,
        };
        self.seen.fetch_max(mark, Ordering::SeqCst);
    }

    /// It takes the place of an object of the same fetch: what a sweep said of that one holds for it.
    pub(super) fn follow(&self, old: &Self) {
        let seen = old.seen.load(Ordering::SeqCst);
        if seen >= SOFTENED && self.filed_at == old.filed_at {
            self.seen.fetch_max(seen, Ordering::SeqCst);
        }
    }

    /// The buffer that begins with the key.
    pub(super) fn data(&self) -> &Arc<[u8]> {
        &self.data
    }

    /// How long the key is.
    pub(super) fn key_len(&self) -> usize {
        usize::from(self.sizes.key)
    }

    fn part(&self, start: usize, size: usize) -> &[u8] {
        self.data.get(start..start + size).unwrap_or_default()
    }
}

impl Sizes {
    fn before_slots(self) -> usize {
        usize::from(self.key) + usize::from(self.names) + usize::from(self.values)
    }

    fn before_head(self) -> usize {
        self.before_slots() + usize::from(self.slots) * size_of::<Slot>()
    }

    fn before_body(self) -> usize {
        self.before_head() + self.head as usize
    }
}

impl Span {
    fn new(range: Range<usize>, of: &[u8]) -> Option<Span> {
        of.get(range.clone())?;
        Some(Span { start: u16::try_from(range.start).ok()?, end: u16::try_from(range.end).ok()? })
    }

    fn of(self, text: &[u8]) -> &[u8] {
        text.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    fn some_of(self, text: &[u8]) -> Option<&[u8]> {
        (self != Span::default()).then(|| self.of(text))
    }
}

/// What bytes take: allocators keep sizes in classes, of which four lie between a power of two and the next.
fn allocated(size: usize) -> u64 {
    let size = size as u64;
    if size <= 64 {
        return size.next_multiple_of(16);
    }
    let step = (size.next_power_of_two() / 8).max(16);
    size.next_multiple_of(step)
}

/// What bytes take that are shared. They are aligned, for which mimalloc asks for room beside all but powers of two.
fn shared(size: usize) -> u64 {
    let size = COUNTS + size;
    allocated(if size.is_power_of_two() { size } else { size + align_of::<usize>() - 1 })
}

/// Whether a body takes less memory behind the rest than in a buffer of its own.
fn is_better_joined(rest: usize, body: usize) -> bool {
    body <= COPIED && shared(rest + body) <= shared(rest) + allocated(body)
}

#[cfg(test)]
pub(super) mod tests;
