//! Which answers are encoded, into what and how hard.
//!
//! [`Accepts`] is what the client takes, [`Rules`] say whether an answer is one to encode, [`Effort`] how hard, and [`head`],
//! [`etag`] and [`vary`] what becomes of its header fields. The coders themselves stand in `codec`.

pub mod etag;
pub mod head;
pub mod vary;

mod accept;
mod coding;
mod level;
mod rules;
mod settings;

pub use accept::Accepts;
pub use coding::Coding;
pub use level::{Effort, Governor};
pub use rules::{Exchange, Rules, Skip};
pub use settings::{Levels, Settings};
