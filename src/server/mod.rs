//! Assembly: from a configuration to a running process, and to its end.
//!
//! Two runtimes. One carries traffic: a single thread, or a pool of them. The other does everything else (administration,
//! names, reload, signals, the drain), so that a busy proxy can still be asked and told.

mod cgroup;
mod control;
mod cpu;
mod records;
mod reload;
mod run;
mod start;
mod switches;
mod unknowns;
mod upgrade;

pub use records::memory as records_memory;
pub use run::{Ender, Running, run};
pub use start::{Source, StartError, start};
