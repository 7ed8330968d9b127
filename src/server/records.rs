//! Opens the stores of idempotency records.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokio::sync::Notify;
use tokio::time::sleep;
use zeroize::{Zeroize, Zeroizing};

use super::cgroup;
use crate::config::{Config, EncryptionKey};
use crate::proxy::keyed::records::Records;
use crate::store::records::durable;
use crate::store::records::redis::{Facts, Options, Redis};
use crate::store::records::seal::KEY;
use crate::store::records::{Clock, Local, Sealer, Shared};
use crate::timer;

/// Memory that the database may take, for what was written last and for what is read again and again.
const DATABASE: usize = 16 << 20;

/// A quarter of this is what records in memory may take where no cgroup limits it.
const UNLIMITED_MEMORY: u64 = 8 << 30;

/// What the records of a folder may take, in bytes: what the database caches, the steps of two journals that it does not have
/// yet, and the filter, whose newest layer may have half as much room as there are records.
pub fn memory(max_records: u64) -> u64 {
    (DATABASE + 2 * durable::JOURNAL) as u64 + max_records.saturating_mul(Local::FILTER_BITS) / 8 * 3 / 2
}

/// Why the records cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// A key that is none.
    #[error("stores.encryption_keys: {id}: {cause}")]
    Key {
        /// Its name.
        id: String,
        /// Why.
        cause: String,
    },
    /// The folder cannot be used.
    #[error("stores.data_dir: {0}")]
    Folder(String),
    /// The server cannot be used as it is named.
    #[error("stores.redis: {0}")]
    Redis(String),
    /// A record cannot be read.
    #[error("stores.data_dir: {folder}: {cause}")]
    Record {
        /// Where.
        folder: String,
        /// Why.
        cause: String,
    },
}

/// Opens what the configuration names.
///
/// # Errors
/// Where records that are there cannot be read: a process that began without them would charge again what they know of.
pub(super) fn open(config: &Config) -> Result<Records, RecordsError> {
    let stores = &config.stores;
    let Some(folder) = &stores.data_dir else {
        let clock = clock(0);
        let memory = cgroup::memory().unwrap_or(UNLIMITED_MEMORY) / 4;
        let local = Local::in_memory(stores.max_records, memory, clock.clone());
        return Ok(Records::new(Arc::new(local), shared(config, &clock)?, clock));
    };
    let sealer = sealer(config)?;
    let opened = durable::open(folder, DATABASE).map_err(|cause| RecordsError::Folder(cause.to_string()))?;
    let clock = clock(opened.last_seen());
    let local = Local::on_disk(opened, stores.max_records, sealer, clock.clone());
    let failed = |cause: crate::store::records::StoreError| RecordsError::Record {
        folder: folder.display().to_string(),
        cause: cause.to_string(),
    };
    Ok(Records::new(Arc::new(local.map_err(failed)?), shared(config, &clock)?, clock))
}

/// The records that are shared, where the configuration names a server. Nothing is connected.
fn shared(config: &Config, clock: &Clock) -> Result<Option<Arc<Shared>>, RecordsError> {
    let Some(settings) = &config.stores.redis else { return Ok(None) };
    let failed = |cause: String| RecordsError::Redis(cause);
    let url = match (&settings.url, &settings.url_file) {
        (Some(url), _) => url.clone(),
        (None, Some(file)) => {
            std::fs::read_to_string(file).map_err(|e| failed(format!("url_file: {}: {e}", file.display())))?
        }
        (None, None) => return Ok(None),
    };
    let options = Options {
        url: url.trim().to_owned(),
        ca_file: settings.ca_file.clone(),
        timeout: settings.records_timeout.get(),
    };
    // Random: a fence is this process' own.
    let mut owner = [0; 16];
    getrandom::fill(&mut owner).map_err(|e| failed(e.to_string()))?;
    let redis = Redis::new(options, owner).map_err(|cause| failed(cause.to_string()))?;
    Ok(Some(Arc::new(Shared::new(redis, sealer(config)?, clock.clone()))))
}

fn sealer(config: &Config) -> Result<Sealer, RecordsError> {
    let mut sealer = Sealer::default();
    for key in &config.stores.encryption_keys {
        sealer.add(key.id.clone(), &read_key(key)?);
    }
    Ok(sealer)
}

/// How often a server that could not be used is asked again, and how often records are counted.
const AGAIN: Duration = Duration::from_secs(1);
const COUNTED: Duration = Duration::from_secs(5);

/// Asks the server what it is until it can be used, says what of it matters, and counts its records. `examine`: told when it
/// is to be asked anew.
pub(super) async fn keep_counting(shared: Arc<Shared>, examine: Arc<Notify>) {
    let (mut told, mut alone) = (None, false);
    loop {
        let was = shared.is_replicated();
        match shared.examine(alone).await {
            Ok(facts) => {
                describe(&facts);
                if was && !shared.is_replicated() {
                    let cause = "the server has no replicas any more, and somebody said that this is as it should be";
                    tracing::warn!(event = "idempotency_redis", cause);
                }
                told = None;
            }
            Err(cause) => {
                // Once for each cause, not once a second.
                if told.as_ref() != Some(&cause) {
                    tracing::error!(event = "idempotency_redis", cause = %cause);
                }
                told = Some(cause);
                sleep(AGAIN).await;
                continue;
            }
        }
        loop {
            if let Err(cause) = shared.count().await {
                tracing::warn!(event = "idempotency_redis", cause = %cause);
            }
            tokio::select! {
                () = sleep(COUNTED) => {}
                () = examine.notified() => {
                    alone = true;
                    break;
                }
            }
        }
    }
}

/// What of a server matters for the promise that no key is charged twice.
fn describe(facts: &Facts) {
    let (version, replicas) = (&facts.version, facts.replicas);
    tracing::info!(event = "idempotency_redis", version, replicas, durable = facts.durable());
    let warn = |cause: &str| tracing::warn!(event = "idempotency_redis", cause);
    if facts.evicts() {
        warn(
            "maxmemory-policy is not noeviction: once maxmemory is set, records are dropped, and a retry is a second charge",
        );
    }
    if !facts.durable() {
        warn(
            "the server does not sync every write (appendonly yes, appendfsync always): what it forgets when it is killed or loses \
             power is charged again",
        );
    }
    if facts.replicas > 0 {
        warn(
            "a failover may promote a replica that does not have the last records: one replica has each of them before it is \
             sent, which of several is promoted is not ours to say",
        );
    }
}

/// Whether a route keeps records that this process has to itself.
pub(super) fn uses_local(config: &Config) -> bool {
    config.local_records().is_some()
}

/// The clock of the records: the time of day when the process began, or the latest that is written down where that is later,
/// and from then on a clock that nobody sets. A time of day that is set forward, or back, moves no record's end.
fn clock(last_seen: u64) -> Clock {
    let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 2);
    let (began, uptime) = (ms(timer::unix_now()).max(last_seen), timer::uptime());
    Arc::new(move || began + ms(timer::uptime().saturating_sub(uptime)))
}

fn read_key(key: &EncryptionKey) -> Result<Zeroizing<[u8; KEY]>, RecordsError> {
    let failed = |cause: String| RecordsError::Key { id: key.id.clone(), cause };
    let mut bytes = std::fs::read(&key.file).map_err(|e| failed(format!("{}: {e}", key.file.display())))?;
    let parsed = parse_key(&bytes);
    bytes.zeroize();
    parsed.ok_or_else(|| failed(expected(&key.file)))
}

fn expected(file: &Path) -> String {
    format!("{}: expected a key of 32 bytes, as they are, as 64 hexadecimal digits or as base64", file.display())
}

fn parse_key(bytes: &[u8]) -> Option<Zeroizing<[u8; KEY]>> {
    let key: Result<[u8; KEY], _> = bytes.try_into();
    if let Ok(key) = key {
        return Some(key.into());
    }
    let text = bytes.trim_ascii();
    let mut key = Zeroizing::new([0; KEY]);
    if text.len() == 2 * KEY {
        for (byte, digits) in key.iter_mut().zip(text.chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        return Some(key);
    }
    let mut decoded = BASE64_STANDARD.decode(text).ok()?;
    let parsed: Option<[u8; KEY]> = decoded.as_slice().try_into().ok();
    decoded.zeroize();
    parsed.map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_32_bytes_in_one_of_three_forms() {
        let raw: Vec<u8> = (0..32).map(|n| n * 7).collect();
        let hex: String = raw.iter().map(|b| format!("{b:02x}")).collect();
        let base64 = BASE64_STANDARD.encode(&raw) + "\n";
        for form in [raw.clone(), hex.clone().into_bytes(), (hex.clone() + "\n").into_bytes(), base64.into_bytes()] {
            assert_eq!(parse_key(&form).map(|key| key.to_vec()), Some(raw.clone()));
        }
        for wrong in [&b""[..], b"secret", &raw[..31], &hex.as_bytes()[..62], "zz".repeat(32).as_bytes()] {
            assert_eq!(parse_key(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn the_clock_of_records_goes_on_from_the_latest_time_that_is_written_down() {
        let now = timer::unix_now().as_millis() as u64;
        let ahead = clock(now + 3_600_000)();
        assert!((now + 3_600_000..now + 3_700_000).contains(&ahead));
        let behind = clock(now - 3_600_000)();
        assert!((now..now + 100_000).contains(&behind));
    }
}
