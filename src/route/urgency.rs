//! How urgent a request is: as its route says, or as a header does, as far as it is believed.

use super::key::Source;
use crate::config::KeySource;
use crate::policy::priority::{Priority, Setting};

/// The key `priority` of a route, compiled.
#[derive(Debug, Clone)]
pub struct Urgency {
    setting: Setting,
    from: Option<KeySource>,
}

impl Urgency {
    /// Compiles the key `priority`.
    pub fn compile(setting: &Setting) -> Self {
        let from = match setting {
            Setting::Is(_) => None,
            Setting::Asked(asked) => asked.from.parse().ok(),
        };
        Urgency { setting: setting.clone(), from }
    }

    /// The priority of a request; `source` is asked only where the route goes by one, and `trusted` says whether the peer
    /// is believed.
    pub fn of(&self, source: &Source<'_>, trusted: bool) -> Priority {
        let word = self.from.as_ref().and_then(|from| source.text(from));
        self.setting.resolve(word, trusted)
    }

    /// The priority of every request of the route, where they all have the same.
    pub fn fixed(&self) -> Option<Priority> {
        match self.setting {
            Setting::Is(priority) => Some(priority),
            Setting::Asked(_) => None,
        }
    }
}
