//! Paths that mean another path to the application than they do to us are refused before any route is looked for.
//!
//! A route, a cache key and a limit are chosen by the path as it was received. An application that undoes `..`, `%2f` or
//! a backslash would then see a path that was never checked.

/// Checks a path (without its query). `allow_encoded_slash` lets %2f and %5c through, for ids that hold a slash.
pub fn check_path(path: &str, allow_encoded_slash: bool) -> Result<(), &'static str> {
    // Nearly every path holds none of the three bytes that matter; the dot is the one that is common.
    let bytes = path.as_bytes();
    if memchr::memchr3(b'%', b'\\', b'.', bytes).is_none() {
        return Ok(());
    }
    for segment in bytes.split(|b| *b == b'/') {
        check_segment(segment, allow_encoded_slash)?;
    }
    Ok(())
}

fn check_segment(segment: &[u8], allow_encoded_slash: bool) -> Result<(), &'static str> {
    // Dots seen while the segment is nothing but dots, written out or as %2e; a `;parameter` ends it for some readers.
    let mut dots = Some(0);
    let mut rest = segment;
    while let [byte, after @ ..] = rest {
        rest = after;
        let decoded = match byte {
            b'\\' => return Err("the path holds a backslash"),
            b'%' => {
                let (escape, after) = rest.split_first_chunk::<2>().ok_or("the path holds a broken escape")?;
                rest = after;
                match decode(*escape).ok_or("the path holds a broken escape")? {
                    0 => return Err("the path holds %00"),
                    b'/' | b'\\' if !allow_encoded_slash => return Err("the path holds an encoded slash"),
                    byte => byte,
                }
            }
            byte => *byte,
        };
        match (dots, decoded) {
            (Some(seen), b'.') => dots = Some(seen + 1),
            // Behind an encoded slash another segment begins for whoever decodes it.
            (Some(1 | 2), b'/' | b'\\' | b';') => return Err("the path holds a dot segment"),
            (_, b'/' | b'\\') => dots = Some(0),
            _ => dots = None,
        }
    }
    if matches!(dots, Some(1 | 2)) { Err("the path holds a dot segment") } else { Ok(()) }
}

fn decode(escape: [u8; 2]) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    Some(digit(escape[0])? << 4 | digit(escape[1])?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_paths_pass() {
        for path in
            ["/", "/a", "/a.b/c.", "/.a", "/a..b", "/...", "/..a", "/%20%7e", "//", "", "/a;b=c", "/.well-known/x", "*"]
        {
            assert_eq!(check_path(path, false), Ok(()), "{path}");
        }
    }

    #[test]
    fn what_another_would_read_as_another_path_is_refused() {
        for path in [
            "/.",
            "/..",
            "/a/./b",
            "/a/../b",
            "/a/%2e/b",
            "/a/%2E%2e",
            "/a/.%2e/",
            "/%2e.",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/a%00",
            "/%",
            "/%2",
            "/%zz",
            "/%+1",
            "/a/..;x/b",
            "/.;",
            "/%2",
        ] {
            assert!(check_path(path, false).is_err(), "{path}");
        }
    }

    #[test]
    fn an_encoded_slash_may_be_allowed_but_hides_no_dots() {
        for path in ["/a%2fb", "/a%5Cb", "/%2f"] {
            assert_eq!(check_path(path, true), Ok(()), "{path}");
        }
        for path in ["/a%2f..%2fb", "/a%2f..", "/..%2fb", "/a%5c%2e%2e/b", "/a%00", "/a\\b"] {
            assert!(check_path(path, true).is_err(), "{path}");
        }
    }

    proptest! {
        #[test]
        fn a_path_that_passes_has_no_dot_segment_once_decoded(path in "(/|%2[eEfF]|\\.|%5c|[a-c]|%|;){0,12}", allow: bool) {
            if check_path(&path, allow).is_ok() {
                let decoded = path.replace("%2e", ".").replace("%2E", ".").replace("%2f", "/").replace("%2F", "/").replace("%5c", "/");
                prop_assert!(!decoded.split('/').any(|s| matches!(s.split(';').next(), Some("." | ".."))));
                prop_assert!(allow || decoded.matches('/').count() == path.matches('/').count());
            }
        }
    }
}
