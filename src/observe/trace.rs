//! W3C trace context and request ids: read strictly, passed on, made from random numbers that the caller brings.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// The longest request id that is believed.
const MAX_REQUEST_ID: usize = 128;

/// The length of `traceparent` in version 00: `00-<32>-<16>-<2>`.
const LENGTH: usize = 55;

/// Where a request stands in a trace that may have begun elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    /// The caller's span; 0 where the trace begins with us.
    parent: u64,
    flags: u8,
}

impl TraceContext {
    /// Reads `traceparent`; `None` where it is missing or breaks the specification, and then `tracestate` must go too.
    ///
    /// A version above 00 is read by the rules of 00 as far as these go, and may have more behind another dash.
    pub fn parse(traceparent: Option<&[u8]>) -> Option<Self> {
        let value = traceparent?;
        let (known, rest) = value.split_at_checked(LENGTH)?;
        let version = hex(&known[..2])?;
        let rest_allowed = rest.is_empty() || (version != 0 && rest[0] == b'-');
        let dashes = [2, 35, 52].iter().all(|&i| known[i] == b'-');
        if version == 0xff || !rest_allowed || !dashes {
            return None;
        }
        let trace_id = hex(&known[3..35])?;
        let parent = hex(&known[36..52])? as u64;
        let flags = hex(&known[53..55])? as u8;
        // Of a later version only the flag that we know is believed.
        let flags = if version == 0 { flags } else { flags & 1 };
        (trace_id != 0 && parent != 0).then_some(TraceContext { trace_id, parent, flags })
    }

    /// Begins a trace. `sampled` says whether it is recorded anywhere.
    pub fn new(random: [u8; 16], sampled: bool) -> Self {
        // All zero is no id. It does not come from a random source that works.
        TraceContext { trace_id: u128::from_be_bytes(random).max(1), parent: 0, flags: u8::from(sampled) }
    }

    /// The trace's id as a number.
    pub fn id(&self) -> u128 {
        self.trace_id
    }

    /// The trace's id, 32 hex digits.
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace_id)
    }

    /// The caller's span, 16 hex digits; `None` where the trace begins with us.
    pub fn parent_id(&self) -> Option<String> {
        (self.parent != 0).then(|| format!("{:016x}", self.parent))
    }

    /// Whether the caller records this trace.
    pub fn sampled(&self) -> bool {
        self.flags & 1 == 1
    }

    /// The `traceparent` for whom we call, with our span as its parent. In version 00, the one that we know.
    pub fn child(&self, span_id: u64) -> String {
        let mut value = String::with_capacity(LENGTH);
        value.push_str("00-");
        push_hex(&mut value, &self.trace_id.to_be_bytes());
        value.push('-');
        push_hex(&mut value, &span_id.max(1).to_be_bytes());
        value.push('-');
        push_hex(&mut value, &[self.flags]);
        value
    }
}

/// Appends bytes as lower-case hex digits. Twice a request: the formatting of the standard library takes ten times as long.
fn push_hex(text: &mut String, bytes: &[u8]) {
    bytes.iter().flat_map(|byte| digits_of(*byte)).for_each(|digit| text.push(char::from(digit)));
}

fn digits_of(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

/// Lower-case hex digits as a number; at most 32 of them.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0u128, |number, &digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

/// Whether a client's request id is taken over: it stands in headers and log lines, so it is short and plain.
fn valid_request_id(id: &[u8]) -> bool {
    (1..=MAX_REQUEST_ID).contains(&id.len())
        && id.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'-'))
}

/// A request's id. One of ours lies where it stands: a request that is answered from memory shows it to nobody.
#[derive(Debug, Clone)]
pub struct RequestId(Id);

#[derive(Debug, Clone)]
enum Id {
    Ours([u8; 32]),
    Theirs(Arc<str>),
}

impl Deref for RequestId {
    type Target = str;

    fn deref(&self) -> &str {
        match &self.0 {
            // Of digits alone.
            Id::Ours(digits) => str::from_utf8(digits).unwrap_or_default(),
            Id::Theirs(id) => id,
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

/// The id that a request came with, where it may be believed; else a new one, 32 hex digits, from a random number.
pub fn request_id(came: Option<&[u8]>, random: impl FnOnce() -> u128) -> RequestId {
    let came = came.filter(|id| valid_request_id(id)).and_then(|id| str::from_utf8(id).ok());
    RequestId(came.map_or_else(|| Id::Ours(digits_of_all(random())), |id| Id::Theirs(id.into())))
}

fn digits_of_all(random: u128) -> [u8; 32] {
    let mut digits = [0; 32];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(random.to_be_bytes()) {
        pair.copy_from_slice(&digits_of(byte));
    }
    digits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn parse(value: &str) -> Option<TraceContext> {
        TraceContext::parse(Some(value.as_bytes()))
    }

    #[test]
    fn the_example_of_the_specification() {
        let context = parse(GOOD).unwrap();
        assert_eq!(context.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(context.parent_id().as_deref(), Some("b7ad6b7169203331"));
        assert!(context.sampled());
        assert_eq!(context.child(0xabc), "00-0af7651916cd43dd8448eb211c80319c-0000000000000abc-01");
    }

    #[test]
    fn what_the_specification_forbids() {
        assert_eq!(TraceContext::parse(None), None);
        for bad in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "FF-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g",
            " 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01more",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        for value in [
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff-what-the-future-holds",
        ] {
            let context = parse(value).unwrap();
            assert!(context.child(7).ends_with("-0000000000000007-01"), "{value}");
            assert!(context.child(7).starts_with("00-"), "{value}");
        }
    }

    #[test]
    fn request_ids() {
        for good in ["a", "req_1.2:3-4", &"x".repeat(128)] {
            assert!(valid_request_id(good.as_bytes()), "{good}");
        }
        for bad in ["", "a b", "a\n", "ä", "a/b", "<a>", "a\"", &"x".repeat(129)] {
            assert!(!valid_request_id(bad.as_bytes()), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_parser(value in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = TraceContext::parse(Some(&value));
        }

        #[test]
        fn one_wrong_byte_is_either_refused_or_another_valid_value(at in 0usize..55, byte in any::<u8>()) {
            let mut value = GOOD.as_bytes().to_vec();
            value[at] = byte;
            if let Some(context) = TraceContext::parse(Some(&value)) {
                let child = context.child(1);
                prop_assert_eq!(&child.as_bytes()[3..35], &value[3..35]);
                prop_assert!(value.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f' | b'-')));
            }
        }

        #[test]
        fn a_child_is_valid_and_stays_in_its_trace(random in any::<[u8; 16]>(), span in any::<u64>(), sampled: bool) {
            let context = TraceContext::new(random, sampled);
            let child = TraceContext::parse(Some(context.child(span).as_bytes())).unwrap();
            prop_assert_eq!(child.trace_id(), context.trace_id());
            prop_assert_eq!(child.sampled(), sampled);
            prop_assert_eq!(context.parent_id(), None);
        }

        #[test]
        fn a_new_request_id_is_valid(random: u128) {
            let id = request_id(None, || random);
            prop_assert_eq!(&*id, format!("{random:032x}"));
            prop_assert!(valid_request_id(id.as_bytes()));
        }
    }
}
