//! The transitions, which Redis carries out one at a time and whole.

use std::sync::LazyLock;

use redis::{Cmd, Script};

/// The version of the format, in keys and in records.
pub(super) const FORMAT: &str = "1";

/// What the keys of records begin with.
pub(super) const PREFIX: &str = "outboard:idem:1:";

/// The index of records that are sent or unknown, by the time at which they were sent.
pub(super) const OPEN: &str = "outboard:idem:1:open";

/// The last fence that was given out.
pub(super) const FENCE: &str = "outboard:idem:1:fence";

macro_rules! script {
    ($(#[$says:meta])* $name:ident, $file:literal) => {
        $(#[$says])*
        pub(super) static $name: LazyLock<Transition> =
            LazyLock::new(|| Transition::new(concat!(include_str!("lua/common.lua"), include_str!($file))));
    };
}

script!(
    /// Absent, or reserved and over: reserved.
    RESERVE, "lua/reserve.lua"
);
script!(
    /// Reserved: sent.
    SENT, "lua/sent.lua"
);
script!(
    /// Sent or unknown: done.
    DONE, "lua/done.lua"
);
script!(
    /// Sent: unknown.
    UNKNOWN, "lua/unknown.lua"
);
script!(
    /// Reserved or sent: gone.
    RELEASE, "lua/release.lua"
);
script!(
    /// Unknown: done or gone.
    RESOLVE, "lua/resolve.lua"
);
script!(
    /// Changes nothing.
    GET, "lua/get.lua"
);
script!(
    /// A page of the index.
    LIST, "lua/list.lua"
);

/// The scripts whose writes a replica has to confirm.
pub(super) fn awaited() -> impl Iterator<Item = &'static Transition> {
    [&*SENT, &*DONE].into_iter()
}

/// A script with its name on the server.
pub(super) struct Transition {
    code: &'static str,
    hash: String,
}

impl Transition {
    fn new(code: &'static str) -> Self {
        Transition { code, hash: Script::new(code).get_hash().to_owned() }
    }

    /// The command that makes it known.
    pub(super) fn load(&self) -> Cmd {
        let mut command = redis::cmd("SCRIPT");
        command.arg("LOAD").arg(self.code);
        command
    }

    /// The command that runs it: by its hash, or in full for a server that does not have it yet.
    pub(super) fn command(&self, in_full: bool, keys: &[&str], args: &[&[u8]]) -> Cmd {
        let mut command = if in_full { redis::cmd("EVAL") } else { redis::cmd("EVALSHA") };
        command.arg(if in_full { self.code } else { &self.hash }).arg(keys.len()).arg(keys);
        for arg in args {
            command.arg(*arg);
        }
        command
    }
}
