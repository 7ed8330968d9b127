//! outboard: a sidecar performance proxy for payment applications that nobody wants to change.
//!
//! A reverse proxy that stands beside an application, in its pod or on its host. One YAML file says what it does; without one
//! it forwards with safe defaults. This page is the map of the code. What a user needs stands in `README.md` and `docs/`.
//!
//! # The way of a request
//!
//! ```text
//!  client ── listen ─────────────── proxy ───────────────────── upstream ── application
//!            accept                 handle                       choose an endpoint
//!            PROXY protocol, TLS      1 begin    route           take or open a connection
//!            HTTP/1 head guard        2 admit    body            (io: one stream type on both sides)
//!            HTTP/2 streams           4 look up  cache ── store
//!                                     6 attempt  exchange ───────┘
//!                                     8 serve    codings ── codec
//!                                     9 end      observe
//!            refusals: Err(Refusal) ──▶ proxy::refuse, one place
//! ```
//! Each step with its file: `docs/request-path.md`.
//!
//! # The modules, in reading order
//!
//! | Module | What it is |
//! |---|---|
//! | [`cli`] | The commands, one file each. [`cli::run`] is all that `main` calls. |
//! | [`config`] | The file as a user types it: data, its errors, its schema. Nothing runs here. |
//! | [`server`] | Assembly: from a configuration to a running process, reload, hand-over, the end. |
//! | [`lifecycle`] | The phases of the process, and the count of what is in flight. |
//! | [`http1`] | HTTP/1 on the wire: the guard of heads and chunks, a request and its body. |
//! | [`listen`] | The shell around a client connection, up to a checked request. |
//! | [`proxy`] | A request's whole way as one async function, each step a call. Read [`proxy::Proxy::handle`] first. |
//! | [`route`] | From a request to its route; compiles settings into what the hot path uses. |
//! | [`upstream`] | Endpoints, names, balancing, and the pool that hands out connections. |
//! | [`store`] | Where answers are kept: objects in memory, and what makes them invalid. |
//! | [`policy`] | Rules without a clock and without I/O: `now` and seeds come in, decisions go out. |
//! | [`codec`] | gzip, brotli and zstd: bodies encoded whole or as they come, and decoded. |
//! | [`refusal`] | What outboard answers itself: a reason, its status, its problem. |
//! | [`observe`] | Metrics, the log, trace context. |
//! | [`admin`] | The administration's listeners, and the client with which commands ask it. |
//! | [`kube`] | A pod in, a pod with the sidecar out; manifests around it. Pure. |
//! | [`webhook`] | The same for what an API server is about to create: HTTPS, certificates, what is known of the cluster. |
//! | [`io`], [`timer`], [`units`] | A stream that never blocks a writer; a deadline that moves; values that cannot be wrong. |
//! | `demo` | The sample payment API and its load (a feature, on by default). |
//!
//! Who may import whom is kept true by `tests/layering.rs`. Why things are as they are: `docs/decisions/`.

pub mod admin;
pub mod cli;
pub mod codec;
pub mod config;
#[cfg(feature = "demo")]
pub mod demo;
pub mod http1;
pub mod io;
pub mod kube;
pub mod lifecycle;
pub mod listen;
pub mod observe;
pub mod policy;
pub mod proxy;
pub mod refusal;
pub mod route;
pub mod server;
pub mod store;
pub mod timer;
pub mod units;
pub mod upstream;
pub mod webhook;
