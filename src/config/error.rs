//! What is wrong with a file, told so that it can be put right: place, path, expected, found, the nearest known word.

use std::fmt;

use super::path::{Mark, Path};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The file as it was named by the user.
    pub file: String,
    /// From 1; 0 where the error is about the whole file.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The way to the value: `routes[2].timeouts.total`; empty at the root.
    pub path: String,
    /// What would have been right.
    pub expected: Option<String>,
    /// What stands there, cut.
    pub found: Option<String>,
    /// The known word that is most like the one found.
    pub nearest: Option<String>,
    /// The whole sentence.
    pub message: String,
}

impl Error {
    /// An error about a place in a file.
    pub(crate) fn new(file: &str, mark: Mark, path: &Path, message: String) -> Error {
        Error {
            file: file.to_owned(),
            line: mark.line,
            column: mark.column,
            path: path.to_string(),
            expected: None,
            found: None,
            nearest: None,
            message,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for Error {}

/// Everything that is wrong with a file, in its order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Errors(pub Vec<Error>);

/// How many errors are shown: who has more will not read them.
const SHOWN: usize = 100;

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().take(SHOWN).enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl std::error::Error for Errors {}

/// The known word most like `word`, where one is like it at all.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // maxIdle, max-idle and MAX_IDLE are max_idle to whoever writes them.
    let plain = |s: &str| s.chars().take(64).filter(|c| !matches!(c, '_' | '-')).collect::<String>().to_lowercase();
    let word = plain(word);
    let limit = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(&word, &plain(k)), k))
        .filter(|(distance, k)| *distance <= limit && *distance < k.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, k)| k)
}

/// `a`, `a or b`, `a, b or c`.
pub(crate) fn one_of(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word() {
        let known = ["total", "connect", "max_idle", "first_byte", "tls"];
        for (word, expected) in [
            ("totl", Some("total")),
            ("toatl", Some("total")),
            ("maxIdle", Some("max_idle")),
            ("first-byte", Some("first_byte")),
            ("tsl", Some("tls")),
            ("retry", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
    }

    #[test]
    fn at_most_a_hundred_are_shown() {
        let error = Error::new("f", Mark { line: 1, column: 2 }, &Path::of("a"), "bad".into());
        let text = Errors(vec![error; 103]).to_string();
        assert_eq!(text.lines().count(), 101);
        assert!(text.starts_with("f:1:2: a: bad\n") && text.ends_with("\nand 3 more"));
    }
}
