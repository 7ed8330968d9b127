//! How the names of fields are spelled. A map of fields knows them by what they mean; as they were spelled they still stand in
//! the head that came, where most values are parts of it.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The longest name that is written in title case where nobody spelled it.
const LONGEST: usize = 64;

/// The bytes of a head that came. Without any, names are written in lower case, as HTTP/2 has them.
#[derive(Debug, Clone, Default)]
pub struct Spelling(Bytes);

impl Spelling {
    /// That of a head; its fields' values may be parts of it.
    pub fn of(head: Bytes) -> Self {
        Spelling(head)
    }

    /// Visits the fields: the name, as it is spelled, and the value. What was not in the head gets its name in title case.
    pub fn each(&self, fields: &HeaderMap, mut visit: impl FnMut(&HeaderName, &[u8], &HeaderValue)) {
        for (name, value) in fields {
            let plain = name.as_str().as_bytes();
            if self.0.is_empty() {
                visit(name, plain, value);
            } else if let Some(spelled) = self.before(plain, value) {
                visit(name, spelled, value);
            } else {
                visit(name, titled(plain, &mut [0; LONGEST]), value);
            }
        }
    }

    /// The name that stands before a value, where that is a part of the head.
    fn before(&self, plain: &[u8], value: &HeaderValue) -> Option<&[u8]> {
        if value.is_empty() {
            return self.of_empty(plain);
        }
        let at = value.as_bytes().as_ptr().addr().checked_sub(self.0.as_ptr().addr())?;
        let line = self.0.get(..at)?.trim_ascii_end().strip_suffix(b":")?.trim_ascii_end();
        let (before, name) = line.split_at_checked(line.len().checked_sub(plain.len())?)?;
        // A value that was moved to another field does not bring its name.
        ((before.is_empty() || before.ends_with(b"\n")) && name.eq_ignore_ascii_case(plain)).then_some(name)
    }

    /// An empty value is no part of anything: its line is looked for.
    fn of_empty(&self, plain: &[u8]) -> Option<&[u8]> {
        self.0.split(|b| *b == b'\n').find_map(|line| {
            let (name, rest) = line.split_at_checked(plain.len())?;
            let is_it = name.eq_ignore_ascii_case(plain) && rest.trim_ascii_start().starts_with(b":");
            is_it.then_some(name)
        })
    }
}

/// `content-type` as `Content-Type`.
fn titled<'b>(plain: &'b [u8], buffer: &'b mut [u8; LONGEST]) -> &'b [u8] {
    let Some(out) = buffer.get_mut(..plain.len()) else { return plain };
    if plain == b"etag" {
        return b"ETag";
    }
    let mut begins = true;
    for (out, byte) in out.iter_mut().zip(plain) {
        *out = if begins { byte.to_ascii_uppercase() } else { *byte };
        begins = *byte == b'-';
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spelled(spelling: &Spelling, fields: &HeaderMap) -> Vec<(String, String)> {
        let (mut all, text) = (Vec::new(), |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned());
        spelling.each(fields, |_, name, value| all.push((text(name), text(value.as_bytes()))));
        all
    }

    fn part(head: &Bytes, value: &str) -> HeaderValue {
        let at = head.windows(value.len()).position(|part| part == value.as_bytes()).unwrap();
        HeaderValue::from_maybe_shared(head.slice(at..at + value.len())).unwrap()
    }

    #[test]
    fn names_are_those_of_the_head_and_others_get_title_case() {
        let head = Bytes::from_static(
            b"HTTP/1.1 200 OK\r\nX-ODD: one\r\nx-odd :two\r\neTAG:\t\"a\"\r\nFolded:\r\n in\r\neMPTY:\r\n\r\n",
        );
        let mut fields = HeaderMap::new();
        for (name, value) in [("x-odd", "one"), ("x-odd", "two"), ("etag", "\"a\""), ("folded", "in")] {
            fields.append(name, part(&head, value));
        }
        fields.insert("empty", HeaderValue::from_static(""));
        let spelling = Spelling::of(head.clone());
        let names: Vec<_> = spelled(&spelling, &fields).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["X-ODD", "x-odd", "eTAG", "Folded", "eMPTY"]);

        let mut ours = HeaderMap::new();
        ours.insert("etag", HeaderValue::from_static("\"b\""));
        ours.insert("content-encoding", HeaderValue::from_static("gzip"));
        ours.insert("x--y-", HeaderValue::from_static(""));
        let long = "long".repeat(20);
        ours.insert(HeaderName::try_from(&*long).unwrap(), HeaderValue::from_static("1"));
        // A value of one field in another.
        ours.insert("x-even", part(&head, "one"));
        let names: Vec<_> = spelled(&spelling, &ours).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["ETag", "Content-Encoding", "X--Y-", &*long, "X-Even"]);
        assert_eq!(spelled(&Spelling::default(), &ours)[1].0, "content-encoding");
    }

    proptest! {
        #[test]
        fn a_name_is_never_another_one(head in "[aA:\r\n ]{0,40}", names in proptest::collection::vec("[a]{1,4}", 1..4), cuts in any::<[(usize, usize); 4]>()) {
            let head = Bytes::from(head);
            let mut fields = HeaderMap::new();
            for (name, (from, to)) in names.iter().zip(cuts) {
                let from = from % (head.len() + 1);
                let value = head.slice(from..from + to % (head.len() - from + 1));
                if let Ok(value) = HeaderValue::from_maybe_shared(value) {
                    fields.append(HeaderName::try_from(&**name).unwrap(), value);
                }
            }
            Spelling::of(head).each(&fields, |name, spelled, _| assert!(spelled.eq_ignore_ascii_case(name.as_str().as_bytes())));
        }
    }
}
