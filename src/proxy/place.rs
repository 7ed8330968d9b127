//! Step 5: a place at the application. There is no queue yet: everybody has one.
use super::Received;
use super::context::Context;
use super::downstream::Downstream;
use crate::observe::metrics::AttemptOutcome;
use crate::refusal::Refusal;
use crate::route::table::Route;
use crate::timer::Timer;
use tokio::time::Duration;
pub(super) struct Place {}
impl Place {
    pub(super) fn is_lent(&self) -> bool {
        false
    }
    pub(super) fn lend(&mut self) {}
    pub(super) fn take_back(&mut self) {}
    pub(super) fn sample(&mut self, _: Option<Duration>, _: AttemptOutcome) {}
}
pub(super) async fn enter(
    _: &mut Context,
    _: &Route,
    _: &mut Downstream<'_>,
    _: &mut Timer,
    _: &Received,
) -> Result<(), Refusal> {
    Ok(())
}
