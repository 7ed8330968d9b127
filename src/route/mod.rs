//! Which request goes where, and under which policies: the one place that compiles settings.

pub mod key;
pub mod matcher;
pub mod path;
pub mod table;
pub mod urgency;
