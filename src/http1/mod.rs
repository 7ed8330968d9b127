//! HTTP/1 on the wire, from a client: a head that is checked byte by byte and then read as it stands, and the body behind it.
//!
//! Who writes decides what is sent: answers are written where they are known, in `proxy`.

mod body;
pub mod chunked;
pub mod head;
mod request;
mod session;

pub use body::{Body, Broken};
pub use session::Session;
