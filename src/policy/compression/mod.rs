//! Which answers are encoded, into what and how hard.

mod coding;
mod settings;

pub use coding::Coding;
pub use settings::{Levels, Settings};
