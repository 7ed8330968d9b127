//! From start to end: the phases of the process, what is in flight, reload, signals and hand-over.

pub mod phase;

pub use phase::{InFlight, Lifecycle, Phase};
