//! Where answers are kept: objects in memory, and what makes them invalid.
//!
//! [`Memory`] holds [`Object`]s within a number of bytes. [`Generations`] knows what was invalidated and when; nothing gets
//! into the store, or out of it as a hit, without being held against them. [`Uncacheable`] remembers of which keys it is
//! not worth waiting for a stored answer. Nothing here reads a clock, and nothing does I/O.

pub mod generations;
pub mod memory;
pub mod object;
pub mod records;
pub mod uncacheable;

pub use generations::{Generations, How, Kind, Moment, Slot, State, Sweep};
pub use memory::{Insert, Key, Memory, Pending, Variants};
pub use object::{CODINGS, Object, Parts, Selector};
pub use uncacheable::Uncacheable;
