//! Rendezvous hashing: each endpoint draws a number for the key, the highest takes it.
//!
//! A ring of points would have to be built and searched; for the few endpoints of a sidecar it is as fast to ask each one,
//! and exactly the keys of an endpoint that is out move, evenly to all others, and come back with it.

/// The hash of a key: FNV-1a, mixed. The same in every process and version, so that sidecars agree.
pub fn hash_key(bytes: &[u8]) -> u64 {
    let fnv =
        bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    mix(fnv)
}

/// The usable endpoint with the highest number for this key.
pub(super) fn highest(names: &[u64], key: u64, usable: impl Fn(usize) -> bool) -> Option<usize> {
    let candidates = names.iter().enumerate().filter(|(endpoint, _)| usable(*endpoint));
    candidates.max_by_key(|(_, name)| (mix(*name ^ mix(key)), **name)).map(|(endpoint, _)| endpoint)
}

/// The finalizer of SplitMix64: every bit of the input changes about half of the output.
pub(super) fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
