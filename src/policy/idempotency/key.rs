//! The key as clients send it.

use std::borrow::Cow;

/// The longest key, in bytes: Stripe's limit, which clients know.
pub const MAX_KEY: usize = 255;

/// Why a field's value is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing stands there.
    #[error("expected a key, the field is empty")]
    Empty,
    /// It is longer than [`MAX_KEY`].
    #[error("expected a key of at most {MAX_KEY} characters")]
    TooLong,
    /// A string that does not end, or with something behind it.
    #[error("expected a string between quotes, or a bare key")]
    Malformed,
    /// A character that neither form allows.
    #[error("expected visible ASCII characters")]
    Character,
    /// The field came more than once: the application may read another one than we do.
    #[error("expected one key, found several")]
    Several,
}

/// Reads the key: a Structured Field String (RFC 9651, `"8e03978e"`), as the IETF's draft has it, or the bare text that
/// nearly everybody sends. Both forms of one text are the same key. `values` are the lines of the field.
///
/// # Errors
/// Where it is neither, or there are several: such a request must not be sent as if it had none.
pub fn key<'v>(values: impl Iterator<Item = &'v [u8]>) -> Result<Option<Cow<'v, [u8]>>, KeyError> {
    let mut values = values.map(<[u8]>::trim_ascii);
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(KeyError::Several);
    }
    let key = match value {
        [b'"', rest @ ..] => string(rest)?,
        bare => Cow::Borrowed(bare),
    };
    if key.is_empty() {
        return Err(KeyError::Empty);
    }
    if key.len() > MAX_KEY {
        return Err(KeyError::TooLong);
    }
    // A list of keys, in a line or in several, is none: a comma joins what came as two lines.
    if value[0] != b'"' && key.iter().any(|b| matches!(b, b',' | b'"' | b' ' | b'\t')) {
        return Err(KeyError::Malformed);
    }
    if !key.iter().all(|b| (0x20..0x7f).contains(b)) {
        return Err(KeyError::Character);
    }
    Ok(Some(key))
}

/// The text of a string whose first quote was read.
fn string(rest: &[u8]) -> Result<Cow<'_, [u8]>, KeyError> {
    let Some(inner) = rest.strip_suffix(b"\"") else { return Err(KeyError::Malformed) };
    if !inner.iter().any(|b| matches!(b, b'\\' | b'"')) {
        return Ok(Cow::Borrowed(inner));
    }
    let mut text = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return Err(KeyError::Malformed),
            b'\\' => match bytes.next() {
                Some(escaped @ (b'"' | b'\\')) => text.push(*escaped),
                _ => return Err(KeyError::Malformed),
            },
            byte => text.push(*byte),
        }
    }
    Ok(Cow::Owned(text))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(values: &[&str]) -> Result<Option<String>, KeyError> {
        let found = key(values.iter().map(|v| v.as_bytes()))?;
        Ok(found.map(|key| String::from_utf8(key.into_owned()).unwrap()))
    }

    #[test]
    fn the_quoted_and_the_bare_form_are_one_key() {
        for value in ["8e03978e-40d5", "\"8e03978e-40d5\"", " 8e03978e-40d5\t", " \"8e03978e-40d5\" "] {
            assert_eq!(read(&[value]), Ok(Some("8e03978e-40d5".into())), "{value}");
        }
        assert_eq!(read(&[r#""a \"b\" \\c""#]), Ok(Some(r#"a "b" \c"#.into())));
        assert_eq!(read(&[]), Ok(None));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for (value, error) in [
            ("", KeyError::Empty),
            ("  ", KeyError::Empty),
            ("\"\"", KeyError::Empty),
            ("\"abc", KeyError::Malformed),
            ("abc\"", KeyError::Malformed),
            ("\"", KeyError::Malformed),
            ("\"a\";b=1", KeyError::Malformed),
            ("\"a\" \"b\"", KeyError::Malformed),
            (r#""a\n""#, KeyError::Malformed),
            (r#""a\""#, KeyError::Malformed),
            ("a, b", KeyError::Malformed),
            ("a b", KeyError::Malformed),
            ("a\u{7f}", KeyError::Character),
            ("zahlung-ü", KeyError::Character),
        ] {
            assert_eq!(read(&[value]), Err(error), "{value}");
        }
        assert_eq!(read(&[&"k".repeat(256)]), Err(KeyError::TooLong));
        assert_eq!(read(&[&"k".repeat(255)]), Ok(Some("k".repeat(255))));
        assert_eq!(read(&["a", "b"]), Err(KeyError::Several));
        assert_eq!(read(&["a", "a"]), Err(KeyError::Several));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic_and_a_written_string_is_read_back(
            bytes in proptest::collection::vec(any::<u8>(), 0..300), text in "[ -~]{1,255}",
        ) {
            let _ = key([bytes.as_slice()].into_iter());
            let quoted = format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
            prop_assert_eq!(read(&[&quoted]), Ok(Some(text)));
        }
    }
}
