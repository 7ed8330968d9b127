//! HTTP/1 as it is read from the wire.
//!
//! - Of a client: [`head`] and [`chunked`] check every byte, so that nobody behind us reads the same bytes in another way;
//!   [`ServerSession`] is a request that passed.
//! - Of an application: [`ClientSession`] reads its answer, and bears what applications get away with.
//!
//! Nothing is written here: that is done where it is known what is to be said, in `proxy`.

mod answer;
mod body;
pub mod chunked;
mod client;
pub mod head;
mod request;
mod response;
mod server;
mod spelling;

pub use answer::AnswerHead;
pub use body::Broken;
pub use client::{ClientSession, is_chunked};
pub use server::ServerSession;
pub use spelling::Spelling;
