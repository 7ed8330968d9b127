//! What the administration can ask of the process, and tell it.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

use super::{PurgeOrder, Refused, ResolveOrder};
use crate::config::Level;

/// The process, as the administration sees it.
#[async_trait::async_trait]
pub trait Control: Send + Sync + 'static {
    /// Whether the process works at all; `false` has it restarted.
    fn live(&self) -> bool;
    /// Whether it should be sent traffic, and why not.
    fn ready(&self) -> Result<(), String>;
    /// Every metric, in the text format of Prometheus.
    fn metrics(&self) -> String;
    /// The effective configuration as YAML, secrets masked.
    fn config(&self) -> String;
    /// The compiled routes.
    fn routes(&self) -> Value;
    /// The requests in flight, oldest first.
    fn requests(&self) -> Value;
    /// The upstreams: endpoints and connections.
    fn upstreams(&self) -> Value;
    /// The breakers and their states.
    fn breakers(&self) -> Value;
    /// Tells a breaker to open, close or reset.
    fn tell_breaker(&self, scope: &str, word: &str) -> Result<Value, Refused>;
    /// The policies that are switched otherwise than configured.
    fn policies(&self) -> Value;
    /// Switches a policy of a route: on, observe, off, or back to what is configured; for a time, or until told again.
    fn switch(&self, route: &str, policy: &str, word: &str, time: Option<Duration>) -> Result<Value, Refused>;
    /// The response cache: `bytes` of `capacity`, `objects`, `evictions`.
    fn cache(&self) -> Value;
    /// Ends stored answers. Holds when it returns: who asks after that is given nothing older.
    fn purge(&self, order: &PurgeOrder) -> Result<Value, Refused>;
    /// The idempotency records: how many; or, with `state=unknown` in the query, which.
    async fn idempotency(&self, query: Option<&str>) -> Result<Value, Refused>;
    /// Says how a request of unknown outcome was. Asked without its confirmation it tells what it would do, and that.
    async fn resolve(&self, hash: &str, order: &ResolveOrder) -> Result<Value, Refused>;
    /// Begins the drain, or lets the one that runs end the process as well. Returns at once.
    fn drain(&self, exit: bool);
    /// Turns true when the drain is done.
    fn drained(&self) -> watch::Receiver<bool>;
    /// Loads the configuration anew: what changed, or every error that keeps the former one in place.
    async fn reload(&self) -> Result<Value, Vec<String>>;
    /// Moves the least severe level that is logged.
    fn set_level(&self, level: Level);
}
