//! A record as it is kept: its fields, and its bytes with a version in front.
//!
//! Version N is written, N and N-1 are read: sidecars are replaced one by one. Numbers are little-endian, texts have their
//! length in one byte before them.

use std::sync::Arc;

use bytes::Bytes;

use super::seal::Sealer;
use crate::policy::idempotency::{Claim, Hash, State};

/// The version that is written. There was none before it.
pub const VERSION: u8 = 1;

/// What a person is told of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The route of its request.
    pub route: Arc<str>,
    /// The id of the request that was sent, as in the access log.
    pub request: Arc<str>,
    /// Stands for its owner: the same for all of his keys.
    pub owner: [u8; 8],
    /// Where it was sent.
    pub endpoint: Arc<str>,
}

/// The answer that every later try gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its head as field lines, `Name: value\r\n` each, as the application wrote them.
    pub head: Bytes,
    /// Its body, as the application sent it.
    pub body: Bytes,
}

/// How much of a request the application can have had.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Seen {
    /// The process ended before it could say.
    #[default]
    Untold,
    /// Its head, or a part of it.
    Head,
    /// A part of its body as well.
    Body,
    /// All of it.
    All,
}

impl Seen {
    const ALL: [Seen; 4] = [Seen::Untold, Seen::Head, Seen::Body, Seen::All];

    /// The word for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Seen::Untold => "untold",
            Seen::Head => "head",
            Seen::Body => "body",
            Seen::All => "all",
        }
    }
}

/// A record. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it stands; never reserved: such a record is not kept.
    pub state: State,
    /// Under which number it is held now: who acts upon what he saw of it names it. It is not written with the rest.
    pub fence: u64,
    /// What it was made for.
    pub claim: Claim,
    /// When its key was seen first.
    pub created: u64,
    /// When it was sent.
    pub sent: u64,
    /// When its request must have ended: from then on its outcome is unknown.
    pub overdue: u64,
    /// When it is forgotten.
    pub expires: u64,
    /// For people.
    pub about: About,
    /// The status that the application answered with; 0 without an answer.
    pub status: u16,
    /// How much of the request it had when its outcome became unknown.
    pub seen: Seen,
    /// What later tries get; none where it is not kept.
    pub answer: Option<Answer>,
}

/// Why bytes are no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Another version of the program wrote it.
    #[error(
        "a record of format {found}, this version reads format {VERSION}: it was written by another version of outboard"
    )]
    Version {
        /// Its version.
        found: u8,
    },
    /// It ends too early, or says what cannot be.
    #[error("a record that is not whole")]
    Broken,
    /// Its answer cannot be decrypted.
    #[error(
        "its answer was encrypted with key {0}, which stores.encryption_keys does not have, or with another of that name"
    )]
    Key(String),
}

const KEPT: u8 = 1;
const SEALED: u8 = 2;

impl Record {
    /// Its bytes. The answer is encrypted where there is a key.
    pub fn write(&self, hash: &Hash, sealer: &Sealer) -> Vec<u8> {
        let answer = self.answer.as_ref();
        let length = answer.map_or(0, |answer| answer.head.len() + answer.body.len() + 80);
        let mut out = Vec::with_capacity(192 + length);
        let sealed = if answer.is_some() && sealer.seals() { SEALED } else { 0 };
        let state = match self.state {
            State::Reserved => 0,
            State::Sent => 1,
            State::Done => 2,
            State::Unknown => 3,
        };
        out.extend_from_slice(&[VERSION, state, sealed | if answer.is_some() { KEPT } else { 0 }]);
        out.extend_from_slice(&self.status.to_le_bytes());
        out.push(self.seen as u8);
        for time in [self.created, self.sent, self.overdue, self.expires] {
            out.extend_from_slice(&time.to_le_bytes());
        }
        out.extend_from_slice(&self.claim.fingerprint);
        out.extend_from_slice(&self.claim.credential);
        out.extend_from_slice(&self.about.owner);
        for text in [&self.about.route, &self.about.request, &self.about.endpoint] {
            short(text.as_bytes(), &mut out);
        }
        if let Some(Answer { head, body }) = answer {
            let plain = out.len();
            out.extend_from_slice(&(head.len() as u32).to_le_bytes());
            out.extend_from_slice(head);
            out.extend_from_slice(body);
            sealer.seal(hash, &mut out, plain);
        }
        out
    }

    /// The record of these bytes.
    ///
    /// # Errors
    /// Where they are none, or its answer cannot be decrypted.
    pub fn read(hash: &Hash, bytes: &[u8], sealer: &Sealer) -> Result<Record, ReadError> {
        let mut reader = Reader(bytes);
        let version = reader.byte()?;
        if version != VERSION {
            return Err(ReadError::Version { found: version });
        }
        let state = match reader.byte()? {
            0 => State::Reserved,
            1 => State::Sent,
            2 => State::Done,
            3 => State::Unknown,
            _ => return Err(ReadError::Broken),
        };
        let flags = reader.byte()?;
        let status = u16::from_le_bytes(reader.array()?);
        let seen = Seen::ALL.get(usize::from(reader.byte()?)).copied().ok_or(ReadError::Broken)?;
        let mut times = [0; 4];
        for time in &mut times {
            *time = u64::from_le_bytes(reader.array()?);
        }
        let [created, sent, overdue, expires] = times;
        let claim = Claim { fingerprint: reader.array()?, credential: reader.array()? };
        let owner = reader.array()?;
        let about = About { owner, route: reader.text()?, request: reader.text()?, endpoint: reader.text()? };
        let answer = match flags & KEPT {
            0 => None,
            _ if flags & SEALED == 0 => Some(answer(Bytes::copy_from_slice(reader.0))?),
            _ => Some(answer(sealer.open(hash, reader.0)?.into())?),
        };
        Ok(Record { state, fence: 0, claim, created, sent, overdue, expires, about, status, seen, answer })
    }
}

fn short(text: &[u8], out: &mut Vec<u8>) {
    let text = text.get(..255).unwrap_or(text);
    out.push(text.len() as u8);
    out.extend_from_slice(text);
}

fn answer(mut plain: Bytes) -> Result<Answer, ReadError> {
    let length = Reader(&plain).array().map(u32::from_le_bytes)? as usize;
    let _ = plain.split_to(4);
    if plain.len() < length {
        return Err(ReadError::Broken);
    }
    let head = plain.split_to(length);
    Ok(Answer { head, body: plain })
}

/// Takes bytes from the front.
pub(super) struct Reader<'b>(pub(super) &'b [u8]);

impl<'b> Reader<'b> {
    pub(super) fn take(&mut self, length: usize) -> Result<&'b [u8], ReadError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(ReadError::Broken)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, ReadError> {
        self.take(1).map(|taken| taken[0])
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn text(&mut self) -> Result<Arc<str>, ReadError> {
        let length = self.byte()?.into();
        let text = self.take(length)?;
        Ok(String::from_utf8_lossy(text).into())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A record that is done.
    pub(in crate::store::records) fn done() -> Record {
        Record {
            state: State::Done,
            fence: 0,
            claim: Claim { fingerprint: [3; 16], credential: [4; 16] },
            created: 1_000,
            sent: 1_001,
            overdue: 21_001,
            expires: 86_401_000,
            about: About {
                route: "create-payment".into(),
                request: "4f1d".into(),
                owner: [5; 8],
                endpoint: "127.0.0.1:3000".into(),
            },
            status: 201,
            seen: Seen::All,
            answer: Some(Answer {
                head: Bytes::from_static(b"Content-Type: application/json\r\n"),
                body: Bytes::from_static(b"{\"id\":\"pay_1\"}"),
            }),
        }
    }

    fn sealers() -> [Sealer; 2] {
        [Sealer::default(), Sealer::new([("k1".to_owned(), [7; 32].into())])]
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        for sealer in sealers() {
            for state in [State::Sent, State::Done, State::Unknown] {
                for answer in [None, done().answer] {
                    let record = Record { state, answer, ..done() };
                    let bytes = record.write(&[9; 16], &sealer);
                    assert_eq!(Record::read(&[9; 16], &bytes, &sealer), Ok(record));
                }
            }
        }
    }

    #[test]
    fn it_takes_less_than_400_bytes_beside_its_answer() {
        let mut record = done();
        let answer = record.answer.take().unwrap();
        record.about.request = "0af7651916cd43dd8448eb211c80319c".into();
        let bare = record.write(&[9; 16], &Sealer::default()).len();
        record.answer = Some(answer.clone());
        let sealed = record.write(&[9; 16], &sealers()[1]).len();
        assert!(bare < 200 && sealed - answer.head.len() - answer.body.len() < 240, "{bare} {sealed}");
    }

    #[test]
    fn another_version_is_told() {
        let mut bytes = done().write(&[9; 16], &Sealer::default());
        bytes[0] = VERSION + 1;
        let error = Record::read(&[9; 16], &bytes, &Sealer::default()).unwrap_err();
        assert_eq!(error, ReadError::Version { found: VERSION + 1 });
        assert!(error.to_string().contains("format 2, this version reads format 1"), "{error}");
    }

    #[test]
    fn what_is_cut_or_changed_is_no_record() {
        for sealer in sealers() {
            let bytes = done().write(&[9; 16], &sealer);
            let head = bytes.len() - done().answer.unwrap().body.len();
            for length in 0..head.min(120) {
                assert!(Record::read(&[9; 16], &bytes[..length], &sealer).is_err(), "{length}");
            }
        }
        // What is encrypted is proven as well: for this record alone.
        let [_, sealer] = sealers();
        let bytes = done().write(&[9; 16], &sealer);
        let error = ReadError::Key("k1".into());
        assert_eq!(Record::read(&[8; 16], &bytes, &sealer).unwrap_err(), error);
        let mut changed = bytes.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(Record::read(&[9; 16], &changed, &sealer).unwrap_err(), error);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..200) {
            let [plain, sealer] = sealers();
            let _ = Record::read(&[1; 16], &bytes, &plain);
            let mut record = done().write(&[1; 16], &sealer);
            record.truncate(cut.min(record.len()));
            record.extend_from_slice(&bytes);
            let _ = Record::read(&[1; 16], &record, &sealer);
        }
    }
}
