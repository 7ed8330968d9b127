//! How many requests a key may make in a time.

mod settings;

pub use settings::{Algorithm, MissingKey, Settings, Store};
