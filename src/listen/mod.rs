//! The shell around a client connection: the only place that sees a raw socket.
//!
//! ```text
//! bind → accept → connection limit · PROXY protocol · TLS · protocol → http1: head guard, keep-alive → proxy
//!                                                                   → http2: streams, GOAWAY         → proxy
//! ```

pub mod accept;
pub mod bind;
pub mod connection;
mod frames;
pub mod http1;
pub mod http2;
pub mod linger;
pub mod proxy_header;
pub mod tls;
