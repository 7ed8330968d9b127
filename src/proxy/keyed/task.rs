//! A keyed request at work, in a task of its own: whoever leaves, it is carried out to its end.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Duration;

use super::reservation::Reservation;
use super::taking::{Taking, Told};
use crate::proxy::attempt::ask;
use crate::proxy::context::Context;
use crate::proxy::downstream::Downstream;
use crate::proxy::exchange::Ended;
use crate::proxy::pipe::Pipe;
use crate::proxy::request::Framing;
use crate::proxy::upload::Held;
use crate::proxy::wait::Supervised;
use crate::proxy::{Proxy, Received, caught, serve};
use crate::refusal::{Reason, Refusal};
use crate::route::table::Route;
use crate::timer::Timer;

/// The client, for as long as it is there.
struct Client(Arc<Pipe<Told>>);

impl Drop for Client {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Proxy {
    /// Steps 5 to 7 of a request that has its key to itself, and step 8 for its client.
    #[allow(clippy::too_many_arguments)]
    pub(super) async fn carry_out(
        self: &Arc<Self>,
        cx: &mut Context,
        route: &Arc<Route>,
        down: &mut Downstream<'_>,
        timer: &mut Timer,
        request: &Received,
        (body, held): (Bytes, Option<Held>),
        reservation: Reservation,
    ) -> Result<Ended, Refusal> {
        let head = Box::new(down.request().clone());
        let mut task_cx = cx.detached();
        // Its end is waited for by the drain, whoever has left.
        task_cx.in_flight = Some(self.lifecycle.request(cx.listener.direction));
        task_cx.request_bytes = cx.request_bytes;
        task_cx.change = self.change(cx, route, &head.headers);
        let framing = match request.framing {
            Framing::Chunked => Framing::Length(body.len() as u64),
            framing => framing,
        };
        let request = Received { framing, expects: false, websocket: false, whole: u64::MAX };
        let taking = Taking::new(self, route, head, Some(reservation));
        let client = Client(taking.pipe());
        tokio::spawn(run(self.clone(), task_cx, route.clone(), taking, request, (body, held)));
        // The task has the same deadline, and says which part of it was too slow.
        let deadline = cx.deadline + Duration::from_secs(1);
        let told = match client.0.told(down, timer, deadline).await {
            Supervised::Done(told) => told,
            Supervised::Left => {
                cx.client_left = true;
                return Err(Reason::ClientLeft.into());
            }
            Supervised::Late => Err(Reason::UpstreamTimeout.into()),
        };
        let sent = match told {
            Ok(Told::Whole(head, body, _memory)) => {
                self.follow(cx, &client);
                super::replay::whole(self, cx, route, down, timer, head, body).await
            }
            Ok(Told::Head(head)) => {
                let sent = match serve::head(self, cx, route, down, head) {
                    Ok(()) => serve::body(cx, down, timer, |poller| client.0.poll_chunk(poller)).await,
                    Err(refusal) => Err(refusal),
                };
                self.follow(cx, &client);
                sent
            }
            Err(refusal) => {
                self.follow(cx, &client);
                Err(refusal)
            }
        };
        sent.map(|()| Ended::Answered)
    }

    /// Takes over what the exchange was like.
    fn follow(&self, cx: &mut Context, client: &Client) {
        if let Some(trail) = client.0.trail() {
            cx.follow(trail);
        }
    }
}

async fn run(
    proxy: Arc<Proxy>,
    mut cx: Context,
    route: Arc<Route>,
    taking: Box<Taking>,
    request: Received,
    (body, held): (Bytes, Option<Held>),
) {
    let mut timer = Timer::default();
    let mut down = Downstream::taking(taking);
    let result = caught(pin!(ask(&proxy, &mut cx, &route, &mut down, &mut timer, &request, body))).await;
    drop(held);
    cx.leave_place();
    if let Some(change) = &mut cx.change {
        change.ended();
    }
    if let Some(taking) = down.into_taking() {
        taking.finish(result, &cx).await;
    }
}
