//! Which request goes where, and under which policies: the one place that compiles settings.

pub mod caching;
pub mod changed;
pub mod compression;
pub mod jwt;
pub mod key;
pub mod keyed;
pub mod limits;
pub mod matcher;
pub mod path;
pub mod table;
pub mod template;
pub mod urgency;
