//! What serde says went wrong, kept as facts instead of as a sentence.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use crate::config::error::{Error, nearest, one_of};
use crate::config::path::{Mark, Path, Step, printable};

/// Why a node cannot be read.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    /// Set by the innermost node that knows it.
    pub(crate) mark: Option<Mark>,
    /// From the node up to the root: the other way round than a [`Path`].
    upwards: Vec<Step>,
}

/// The kinds of faults.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    UnknownKey { key: String, known: &'static [&'static str] },
    MissingKey(&'static str),
    Invalid { expected: String, found: String, hint: &'static str },
    NoSuchWord { known: &'static [&'static str], found: String },
    Other { message: String, found: Option<String> },
}

impl Fault {
    pub(crate) fn new(kind: Kind) -> Fault {
        Fault { kind, mark: None, upwards: Vec::new() }
    }

    pub(crate) fn invalid(expected: &str, found: String) -> Fault {
        Fault::new(Kind::Invalid { expected: expected.to_owned(), found, hint: "" })
    }

    /// Gives the place, if nobody further inside has.
    pub(crate) fn at(mut self, mark: Mark) -> Fault {
        self.mark.get_or_insert(mark);
        self
    }

    /// Says under which step of its parent the fault lies.
    pub(crate) fn under(mut self, step: Step) -> Fault {
        self.upwards.push(step);
        self
    }

    /// Shows what stands in the file instead of what serde was handed.
    pub(crate) fn showing(mut self, text: impl FnOnce() -> String) -> Fault {
        match &mut self.kind {
            Kind::Invalid { found, .. } | Kind::NoSuchWord { found, .. } => *found = text(),
            Kind::Other { found, .. } => *found = Some(text()),
            Kind::UnknownKey { .. } | Kind::MissingKey(_) => {}
        }
        self
    }

    /// `auto` would have been right as well.
    pub(crate) fn or_auto(mut self) -> Fault {
        if let Kind::Invalid { expected, .. } = &mut self.kind {
            expected.insert_str(0, "auto or ");
        }
        self
    }

    /// The way to the node.
    pub(crate) fn path(&self) -> Path {
        Path(self.upwards.iter().rev().cloned().collect())
    }

    /// The sentence for the user.
    pub(crate) fn error(&self, file: &str) -> Error {
        let mut path = self.path();
        if let Kind::MissingKey(key) = self.kind {
            path = path.key(key);
        }
        let mut error = Error::new(file, self.mark.unwrap_or_default(), &path, String::new());
        match &self.kind {
            Kind::UnknownKey { key, known } => {
                error.nearest = nearest(key, known.iter().copied()).map(str::to_owned);
                error.expected = Some(one_of(known));
                error.message = match &error.nearest {
                    Some(nearest) => format!("unknown key; did you mean {nearest}?"),
                    None => format!("unknown key; known here: {}", known.join(", ")),
                };
            }
            Kind::MissingKey(_) => "required, but missing".clone_into(&mut error.message),
            Kind::Invalid { expected, found, hint } => {
                error.message = format!("expected {expected}, found {found}{hint}");
                error.expected = Some(expected.clone());
                error.found = Some(found.clone());
            }
            Kind::NoSuchWord { known, found } => {
                error.nearest = nearest(found.trim_matches('"'), known.iter().copied()).map(str::to_owned);
                error.message = format!("expected {}, found {found}", one_of(known));
                if let Some(nearest) = &error.nearest {
                    error.message.push_str(&format!("; did you mean {nearest}?"));
                }
                error.expected = Some(one_of(known));
                error.found = Some(found.clone());
            }
            Kind::Other { message, found } => {
                error.message = match found {
                    Some(found) => format!("{}, found {found}", printable(message)),
                    None => printable(message),
                };
                error.found.clone_from(found);
            }
        }
        error
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error("").message)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Fault {
        Fault::new(Kind::Other { message: message.to_string(), found: None })
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Fault {
        Fault::invalid(&plainly(&expected.to_string()), found.to_string())
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Fault {
        Fault::invalid_type(found, expected)
    }

    fn unknown_variant(found: &str, known: &'static [&'static str]) -> Fault {
        Fault::new(Kind::NoSuchWord { known, found: printable(found) })
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Fault {
        Fault::new(Kind::UnknownKey { key: key.to_owned(), known })
    }

    fn missing_field(key: &'static str) -> Fault {
        Fault::new(Kind::MissingKey(key))
    }
}

/// Rust's names of types in words that an operator knows.
fn plainly(expected: &str) -> String {
    match expected {
        "u8" => "a whole number up to 255",
        "u16" => "a whole number up to 65535",
        "u32" => "a whole number up to 4294967295",
        "u64" | "usize" => "a whole number",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a string" | "path string" => "text",
        "a sequence" => "a list",
        "a map" => "a section",
        other if other.starts_with("struct ") => "a section",
        other => other,
    }
    .to_owned()
}
