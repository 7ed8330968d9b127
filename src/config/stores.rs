//! The section `stores`: where things are kept that outlive a request.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{Duration, Size, some_or_off};

/// Where things are kept that outlive a request.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Stores {
    /// Bytes of memory for stored answers of all routes: their keys, heads, bodies and encoded forms. What has been of the
    /// least use goes when it is full.
    pub memory: Size,
    /// The folder of the idempotency records that survive a restart. Left out: they are kept in memory alone.
    pub data_dir: Option<PathBuf>,
    /// How many idempotency records there may be. When it is full, new keys are refused; none that is live is ever dropped.
    #[schemars(range(min = 1))]
    pub max_records: u64,
    /// What encrypts the answers in those records: the first one encrypts, all decrypt. Empty: they are kept in clear.
    pub encryption_keys: Vec<EncryptionKey>,
    /// A Redis server that several processes share.
    #[serde(serialize_with = "some_or_off")]
    pub redis: Option<Redis>,
}

impl Default for Stores {
    fn default() -> Self {
        Stores {
            memory: Size::from_bytes(64 << 20),
            data_dir: None,
            max_records: 10_000_000,
            encryption_keys: Vec::new(),
            redis: None,
        }
    }
}

/// A key that encrypts what is kept.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct EncryptionKey {
    /// Its name, which stands in each record: 1 to 32 letters, digits, - _ and .
    pub id: String,
    /// The key: 32 bytes, or 64 hexadecimal digits, or their base64.
    pub file: PathBuf,
}

/// A Redis server.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    /// `redis://[user:password@]host:port/database`, or `rediss://` for TLS.
    #[serde(default)]
    pub url: Option<String>,
    /// The file in which the URL stands, for those with a password in it.
    #[serde(default)]
    pub url_file: Option<PathBuf>,
    /// Who signed its certificate. Left out: the authorities of the system.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// How long a rate limit may wait for it.
    #[serde(default = "limits_timeout")]
    pub limits_timeout: Duration,
    /// How long a step of an idempotency record may wait for it.
    #[serde(default = "records_timeout")]
    pub records_timeout: Duration,
}

fn limits_timeout() -> Duration {
    Duration::from_millis(20)
}

fn records_timeout() -> Duration {
    Duration::from_millis(250)
}
