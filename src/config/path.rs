//! Where a node stands in the file: a line and a column, and the way to it from the root.

use std::fmt;

/// A place in the text, both from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Mark {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// One step down the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

/// The way from the root to a node, written `routes[2].timeouts.total`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Path(pub(crate) Vec<Step>);

impl Path {
    /// The way to a section of the root.
    pub(crate) fn of(section: &str) -> Path {
        Path(vec![Step::Key(section.to_owned())])
    }

    /// One key further down.
    pub(crate) fn key(&self, key: &str) -> Path {
        self.with(Step::Key(key.to_owned()))
    }

    /// One list item further down.
    pub(crate) fn index(&self, index: usize) -> Path {
        self.with(Step::Index(index))
    }

    fn with(&self, step: Step) -> Path {
        let mut steps = self.0.clone();
        steps.push(step);
        Path(steps)
    }

    /// Whether this is `other`, or stands above it.
    pub(crate) fn holds(&self, other: &Path) -> bool {
        other.0.starts_with(&self.0)
    }

    /// The same place in `defaults`, for a path inside a route.
    pub(crate) fn in_defaults(&self) -> Option<Path> {
        match self.0.as_slice() {
            [Step::Key(routes), Step::Index(_), rest @ ..] if routes == "routes" => {
                let mut steps = vec![Step::Key("defaults".to_owned())];
                steps.extend_from_slice(rest);
                Some(Path(steps))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if at == 0 => f.write_str(&printable(key))?,
                Step::Key(key) => write!(f, ".{}", printable(key))?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// The longest piece of a file that an error repeats: a secret in the wrong place is not shown whole.
const SHOWN: usize = 60;

/// A piece of the file as an error shows it: on one line, cut.
pub(crate) fn printable(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push_str("...");
    }
    shown
}
