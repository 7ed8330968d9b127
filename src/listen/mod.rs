//! The shell around a client's connection: what is checked on the bytes before anything parses them.

pub mod chunked;
pub mod head;
pub mod proxy_header;
