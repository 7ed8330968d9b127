//! The section `compression` of a route, compiled.

use http::HeaderMap;

use crate::policy::compression::{Accepts, Coding, Effort, Levels, Rules, Settings};

/// Which answers of a route are encoded, into what and how hard.
pub struct Compression {
    /// Which answers are encoded.
    pub rules: Rules,
    encodings: Vec<Coding>,
    levels: Levels,
    adaptive: bool,
}

impl Compression {
    /// Compiles a section that passed its checks.
    pub fn compile(settings: &Settings) -> Self {
        Compression {
            rules: Rules::new(settings),
            encodings: settings.encodings.clone(),
            levels: settings.levels,
            adaptive: settings.adaptive,
        }
    }

    /// The coding that a client gets; none: as it is.
    pub fn choose(&self, request: &HeaderMap) -> Option<Coding> {
        Accepts::of(request).choose(&self.encodings)
    }

    /// How hard to try now.
    pub fn level(&self, coding: Coding, effort: &Effort) -> u32 {
        let configured = self.levels.get(coding);
        if self.adaptive { effort.level(coding, configured) } else { configured }
    }
}
