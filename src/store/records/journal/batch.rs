//! How a batch is written, and read again.
//!
//! All numbers are little-endian. A head of 56 bytes: `obat`, the length of what follows it (u32), the generation, how many
//! batches of it came before, how many the generation before had, the time in milliseconds since 1970, how many steps
//! there are, and the sum of all of it but itself (u64 each). Then the steps: a byte that says which, the hash, of a finished
//! record when it expires (u64), of any record its length (u32) and its bytes. Zeros up to the end of the block.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::policy::idempotency::Hash;
use crate::store::records::disk::Op;
use crate::store::records::durable::Order;

/// Where a batch may begin: what the system writes at once, and no disk less of.
pub(super) const BLOCK: usize = 4096;

const MAGIC: [u8; 4] = *b"obat";
/// Where the sum is, and where the steps are.
const SUM: usize = 48;
const HEAD: usize = 56;

const OPEN: u8 = 1;
const DONE: u8 = 2;
const REMOVE: u8 = 3;

/// What keys the sums of a generation.
pub(super) type Salt = [u8; 16];

/// What a batch says beside its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label {
    pub(super) generation: u64,
    /// How many batches of its generation came before it.
    pub(super) number: u64,
    /// How many the generation before had.
    pub(super) before: u64,
    pub(super) time: u64,
}

/// How many bytes a step takes.
pub(in crate::store::records) fn size(op: &Op<'_>) -> usize {
    match op {
        Op::Open(hash, record) => 1 + hash.len() + 4 + record.len(),
        Op::Done(hash, _, record) => 1 + hash.len() + 8 + 4 + record.len(),
        Op::Remove(hash) => 1 + hash.len(),
    }
}

/// How many bytes of a file a batch takes whose steps take so many.
pub(super) fn blocks(steps: usize) -> usize {
    (HEAD + steps).next_multiple_of(BLOCK)
}

/// Appends a batch, to its last block's end: as many bytes as [`blocks`] says.
pub(super) fn write(into: &mut Vec<u8>, label: &Label, salt: &Salt, ops: &[Op<'_>]) {
    let from = into.len();
    into.extend_from_slice(&MAGIC);
    into.extend_from_slice(&[0; 4]);
    let Label { generation, number, before, time } = *label;
    for number in [generation, number, before, time, ops.len() as u64, 0] {
        into.extend_from_slice(&number.to_le_bytes());
    }
    // A batch is a part of a file of a few MiB.
    let put = |into: &mut Vec<u8>, record: &[u8]| {
        into.extend_from_slice(&(record.len() as u32).to_le_bytes());
        into.extend_from_slice(record);
    };
    for op in ops {
        let (kind, hash) = match op {
            Op::Open(hash, _) => (OPEN, hash),
            Op::Done(hash, ..) => (DONE, hash),
            Op::Remove(hash) => (REMOVE, hash),
        };
        into.push(kind);
        into.extend_from_slice(hash);
        match op {
            Op::Open(_, record) => put(into, record),
            Op::Done(_, expires, record) => {
                into.extend_from_slice(&expires.to_le_bytes());
                put(into, record);
            }
            Op::Remove(_) => {}
        }
    }
    let batch = &mut into[from..];
    let length = (batch.len() - HEAD) as u32;
    batch[4..8].copy_from_slice(&length.to_le_bytes());
    let sum = sum(salt, &batch[..SUM], &batch[HEAD..]);
    batch[SUM..HEAD].copy_from_slice(&sum.to_le_bytes());
    let whole = batch.len().next_multiple_of(BLOCK);
    into.resize(from + whole, 0);
}

/// What stands where a batch may begin.
pub(super) enum Found {
    /// A batch of the generation that was asked for, how many bytes it takes, and its steps; none where these are not what
    /// this version writes.
    Batch(Label, usize, Option<Vec<Order>>),
    /// No such batch, whole.
    Nothing,
}

/// Looks for a batch of this generation at the beginning of these bytes.
pub(super) fn read(bytes: &[u8], generation: u64, salt: &Salt) -> Found {
    if claims(bytes) != Some(generation) {
        return Found::Nothing;
    }
    let mut rest = Bytes(&bytes[4..]);
    let mut numbers =
        || Some((rest.u32()?, [rest.u64()?, rest.u64()?, rest.u64()?, rest.u64()?, rest.u64()?, rest.u64()?]));
    let Some((length, [generation, number, before, time, count, expected])) = numbers() else { return Found::Nothing };
    let Some(steps) = rest.take(length as usize) else { return Found::Nothing };
    if sum(salt, &bytes[..SUM], steps) != expected {
        return Found::Nothing;
    }
    let orders = orders(Bytes(steps)).filter(|orders| orders.len() as u64 == count);
    Found::Batch(Label { generation, number, before, time }, blocks(steps.len()), orders)
}

/// Of which generation a batch would be that begins here, if it is one at all.
pub(super) fn claims(bytes: &[u8]) -> Option<u64> {
    let mut rest = Bytes(bytes);
    (rest.take(4)? == MAGIC).then_some(())?;
    rest.u32()?;
    rest.u64()
}

fn orders(mut bytes: Bytes<'_>) -> Option<Vec<Order>> {
    let mut orders = Vec::new();
    while let Some(&[kind]) = bytes.take(1) {
        let hash = Hash::try_from(bytes.take(16)?).ok()?;
        let record = |bytes: &mut Bytes<'_>| {
            let length = bytes.u32()?;
            bytes.take(length as usize).map(<[u8]>::to_vec)
        };
        orders.push(match kind {
            OPEN => Order::Open(hash, record(&mut bytes)?),
            DONE => {
                let expires = bytes.u64()?;
                Order::Done(hash, expires, record(&mut bytes)?)
            }
            REMOVE => Order::Remove(hash),
            _ => return None,
        });
    }
    Some(orders)
}

/// Of what stands before the sum and of what follows it.
fn sum(salt: &Salt, head: &[u8], steps: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_key(salt);
    hasher.write(head);
    hasher.write(steps);
    hasher.finish()
}

/// Bytes that are still to be read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }
}
