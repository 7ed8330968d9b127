//! Step 2, first: faults on purpose, where the configuration asks for them.

use http::StatusCode;
use tokio::time::Instant;

use super::Proxy;
use super::context::Context;
use super::downstream::Downstream;
use super::wait::{Waited, wait};
use crate::policy::fault;
use crate::policy::switch::{Policy, Switch};
use crate::refusal::{Reason, Refusal};
use crate::route::table::Route;
use crate::timer::{self, Timer};

impl Proxy {
    /// Delays and refuses the share of requests that is to be delayed and refused.
    pub(super) async fn inject(
        &self,
        cx: &Context,
        route: &Route,
        down: &mut Downstream<'_>,
        timer: &mut Timer,
    ) -> Result<(), Refusal> {
        let Some(settings) = &route.fault else { return Ok(()) };
        if route.switches.get(Policy::Fault, timer::uptime) == Switch::Off {
            return Ok(());
        }
        let present = settings.when.as_ref().is_some_and(|when| down.request().headers.contains_key(&when.header));
        let fault = fault::decide(settings, fastrand::u64(..), present);
        if let Some(time) = fault.delay {
            route.metrics.fault("delay");
            let until = Instant::now() + time;
            if wait(down, timer, until.min(cx.deadline), true).await == Waited::Left {
                return Err(Reason::ClientLeft.into());
            }
            if until > cx.deadline {
                return Err(Refusal::new(Reason::UpstreamTimeout, "a delay that was asked for"));
            }
        }
        let Some(status) = fault.abort.and_then(|status| StatusCode::from_u16(status).ok()) else { return Ok(()) };
        route.metrics.fault("abort");
        Err(Refusal::fault(status))
    }
}
