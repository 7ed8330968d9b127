//! Kubernetes: outboard put beside an application that knows nothing of it.
//!
//! `inject` is one pure function, a pod in and a pod out; the command runs it over manifests (`manifest`, `workload`), the
//! webhook over what the API server is about to create. `uninject` takes everything back.

pub mod annotations;
pub mod inject;
pub mod manifest;
mod pod;
mod status;
pub mod uninject;
pub mod version;
pub mod workload;

#[cfg(test)]
mod tests;
