//! The codings that we encode into.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A content coding (RFC 9110, 8.4.1), by its name in `Content-Encoding`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema, PartialEq, Eq, Hash)]
#[serde(rename_all = "lowercase")]
pub enum Coding {
    /// Zstandard, RFC 8878.
    Zstd,
    /// Brotli, RFC 7932.
    Br,
    /// RFC 1952.
    Gzip,
}

impl Coding {
    /// All of them, in the order of [`Coding::index`].
    pub const ALL: [Coding; 3] = [Coding::Zstd, Coding::Br, Coding::Gzip];

    /// Its place in [`Coding::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Its name in `Content-Encoding` and in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Coding::Zstd => "zstd",
            Coding::Br => "br",
            Coding::Gzip => "gzip",
        }
    }

    /// The coding of this name in a header field. Case does not count, and `x-gzip` is gzip (RFC 9110, 8.4.1.3).
    pub const fn from_name(name: &[u8]) -> Option<Coding> {
        match name.len() {
            2 if name.eq_ignore_ascii_case(b"br") => Some(Coding::Br),
            4 if name.eq_ignore_ascii_case(b"gzip") => Some(Coding::Gzip),
            4 if name.eq_ignore_ascii_case(b"zstd") => Some(Coding::Zstd),
            6 if name.eq_ignore_ascii_case(b"x-gzip") => Some(Coding::Gzip),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for (place, coding) in Coding::ALL.into_iter().enumerate() {
            assert_eq!(coding.index(), place);
            assert_eq!(Coding::from_name(coding.as_str().as_bytes()), Some(coding));
            assert_eq!(Coding::from_name(coding.as_str().to_uppercase().as_bytes()), Some(coding));
            assert_eq!(serde_json::to_value(coding).unwrap(), coding.as_str());
        }
        assert_eq!(Coding::from_name(b"X-GZip"), Some(Coding::Gzip));
        for other in ["", "b", "deflate", "compress", "identity", "gzip "] {
            assert_eq!(Coding::from_name(other.as_bytes()), None, "{other}");
        }
    }
}
