//! What the server is, as far as the promise depends on it.

use redis::Value;

use super::error::Error;

/// What the server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its version.
    pub version: String,
    /// What it does when memory is full. All but `noeviction` may drop a record that is in force.
    pub maxmemory_policy: String,
    /// The memory it may take; 0 is all there is.
    pub maxmemory: u64,
    /// How many replicas are attached.
    pub replicas: u64,
    /// Whether every write is logged to disk.
    pub aof: bool,
    /// When that log is synced: `always`, `everysec` or `no`. None where the server does not tell.
    pub aof_fsync: Option<String>,
    /// When snapshots are taken, as `save` has it; empty for never. None where the server does not tell.
    pub snapshots: Option<String>,
}

impl Facts {
    /// Whether records in force may be dropped for want of memory: also where no limit is set yet, as one can be set at
    /// any time.
    pub fn evicts(&self) -> bool {
        self.maxmemory_policy != "noeviction"
    }

    /// Whether a restart of the server keeps every record that it acknowledged, its machine lost power included.
    pub fn durable(&self) -> bool {
        self.aof && self.aof_fsync.as_deref() == Some("always")
    }
}

/// Facts from the text of INFO.
pub(super) fn facts(info: &str) -> Result<Facts, Error> {
    let field = |name: &str| {
        let mut lines = info.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim())
    };
    let text = |name| field(name).map(str::to_owned).ok_or(Error::Unexpected("INFO lacks a field"));
    let number = |name| field(name).and_then(|n| n.parse().ok()).ok_or(Error::Unexpected("INFO lacks a number"));
    if field("role") != Some("master") {
        return Err(Error::Replica);
    }
    if field("cluster_enabled") == Some("1") {
        return Err(Error::Cluster);
    }
    Ok(Facts {
        version: text("redis_version")?,
        maxmemory_policy: text("maxmemory_policy")?,
        maxmemory: number("maxmemory")?,
        replicas: number("connected_slaves")?,
        aof: field("aof_enabled") == Some("1"),
        aof_fsync: None,
        snapshots: None,
    })
}

/// How many replicas are attached, from the text of INFO.
pub(super) fn replicas(info: &str) -> Result<u64, Error> {
    let found = info.lines().find_map(|line| line.strip_prefix("connected_slaves:"));
    found.and_then(|n| n.trim().parse().ok()).ok_or(Error::Unexpected("INFO lacks a number"))
}

/// The value of one setting from the answer of CONFIG GET.
pub(super) fn setting(value: Value) -> Option<String> {
    let value = match value {
        Value::Array(pair) => pair.into_iter().nth(1)?,
        Value::Map(pairs) => pairs.into_iter().next()?.1,
        _ => return None,
    };
    redis::from_redis_value(value).ok()
}
