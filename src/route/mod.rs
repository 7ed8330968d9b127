//! Which request goes where.

pub mod matcher;
pub mod path;
