//! Idempotency keys: the first try of a request is carried out, and every later one gets its answer.
//!
//! ```text
//!            ┌── refused by us, lease over ──▶ (no record)
//! reserved ──┤
//!            └── the first byte is about to leave ──▶ sent ──┬─ a whole answer ─────────▶ done
//!                                                            ├─ it says: not carried out ▶ (no record)
//!                                                            └─ anything else ──────────▶ unknown ── resolved ─▶ done, or no record
//! ```
//! Nothing was written to the application while a record is *reserved*, so only then may it expire or be released. What was
//! *sent* is never free again by itself before `ttl`: whatever became of it, another try may be a second charge.
//! After the IETF's draft-ietf-httpapi-idempotency-key-header and what payment providers promise (docs/idempotency.md).

mod digest;
mod judge;
mod key;
mod outcome;
mod settings;

pub use digest::{Digest, Hash, fingerprint, hex, unhex};
pub use judge::{Asked, Claim, State, Verdict, judge};
pub use key::{KeyError, MAX_KEY, key};
pub use outcome::{End, Ended, end};
pub use settings::{Ask, InFlight, MissingOwner, Outcomes, ReplayTo, Settings, Store, Terms, UnknownOutcome};
