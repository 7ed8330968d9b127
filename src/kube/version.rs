//! Which version of Kubernetes runs the pod, and what it can do.

use std::fmt;
use std::str::FromStr;

/// A version: 1 and 32 of `1.32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The major part.
    pub major: u32,
    /// The minor part.
    pub minor: u32,
}

/// What was given is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a version of Kubernetes such as 1.32, got {0:?}")]
pub struct NoVersion(String);

impl Version {
    /// The oldest in which init containers may be sidecars without a switch (KEP-753, beta).
    pub const NATIVE: Version = Version::new(1, 29);
    /// The oldest in which a Service's named targetPort finds the port of such a sidecar (kubernetes #127958).
    pub const NATIVE_PORTS: Version = Version::new(1, 32);
    /// The oldest in which a container can be told to sleep before it is stopped (KEP-3960, beta).
    pub const SLEEP: Version = Version::new(1, 30);

    /// A version.
    pub const fn new(major: u32, minor: u32) -> Version {
        Version { major, minor }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Version {
    type Err = NoVersion;

    /// Takes what people and API servers write: `1.32`, `v1.32.4`, `1.29+`, `v1.31.2-gke.100`.
    fn from_str(s: &str) -> Result<Version, NoVersion> {
        let refused = || NoVersion(s.to_owned());
        let mut parts = s.strip_prefix('v').unwrap_or(s).splitn(3, '.');
        let number = |part: &str| {
            let digits = part.trim_end_matches(|c: char| !c.is_ascii_digit());
            digits.parse().map_err(|_| refused())
        };
        let (major, minor) = (parts.next().ok_or_else(refused)?, parts.next().ok_or_else(refused)?);
        let minor = minor.split(['-', '+']).next().unwrap_or(minor);
        Ok(Version::new(number(major)?, number(minor)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_they_are_written() {
        for (text, minor) in [("1.32", 32), ("v1.29.3", 29), ("1.30+", 30), ("v1.31.2-gke.100", 31), ("1.28-alpha", 28)]
        {
            assert_eq!(text.parse(), Ok(Version::new(1, minor)), "{text}");
        }
        for text in ["", "1", "one.two", "1.", "v.3"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
        assert!(Version::new(1, 9) < Version::SLEEP && Version::new(2, 0) > Version::NATIVE_PORTS);
        assert_eq!(Version::NATIVE.to_string(), "1.29");
    }
}
