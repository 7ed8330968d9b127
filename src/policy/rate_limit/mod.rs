//! How many requests a key may make in a time.
//!
//! An entry of `rate_limits` is compiled into a [`Limit`] (and one for each of its overrides). All limits of the process
//! share one [`Table`], which holds what is known of each key in 64 bytes and bounds how much that is in all. A request
//! is asked about limit by limit; what an earlier limit has counted is given back when a later one refuses.

mod bucket;
mod entry;
mod headers;
mod key;
mod limit;
mod settings;
mod store;
mod window;

use std::time::Duration;

pub use headers::Fields;
pub use key::KeyHasher;
pub use limit::Limit;
pub use settings::{Algorithm, MissingKey, Settings, Store};
pub use store::Table;

/// What a limit says of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It is allowed, and counted.
    Allowed {
        /// So many more would be allowed now.
        remaining: u32,
    },
    /// It is refused, and not counted.
    Refused {
        /// The earliest time from now at which one would be allowed, if none comes before.
        retry_after: Duration,
    },
}

/// Spreads the bits of a number over all of it: the finalizer of SplitMix64 (Steele, Lea, Flood: "Fast splittable
/// pseudorandom number generators", 2014).
const fn mix(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}
