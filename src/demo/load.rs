//! Closed loop load: N clients on kept connections, each with its own part of a seeded plan.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::Full;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use super::api::schema::{merchant_id, payment_id};
use super::client::{Broken, Client};
use super::plan::{Kind, Plan, Popularity, Step};

/// The longest wait for one answer; longer is an error.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is in flight at the deadline may take this much longer.
const GRACE: Duration = Duration::from_secs(1);
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// How far a load is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Since its start.
    pub elapsed: Duration,
    /// Of this.
    pub duration: Duration,
    /// Requests that ended, well or not.
    pub requests: u64,
    /// Of them without a good answer.
    pub errors: u64,
}

/// What was measured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// From the first request to the end of the last.
    pub elapsed: Duration,
    /// Whole answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests without a whole answer: no connection, a broken one, or out of patience.
    pub broken: u64,
    /// Bytes of the answers' bodies as they came, not decoded.
    pub body_bytes: u64,
    /// Microseconds of each whole answer, by the number of its kind, in no order.
    pub latencies: [Vec<u32>; 6],
}

impl Report {
    /// Every request that ended.
    pub fn requests(&self) -> u64 {
        self.statuses.values().sum::<u64>() + self.broken
    }

    /// Requests without a good answer.
    pub fn errors(&self) -> u64 {
        self.broken + self.statuses.iter().filter(|(status, _)| **status >= 400).map(|(_, n)| n).sum::<u64>()
    }

    fn add(&mut self, other: Report) {
        for (status, n) in other.statuses {
            *self.statuses.entry(status).or_default() += n;
        }
        self.broken += other.broken;
        self.body_bytes += other.body_bytes;
        for (mine, others) in self.latencies.iter_mut().zip(other.latencies) {
            mine.extend(others);
        }
    }
}

#[derive(Default)]
struct Count {
    requests: AtomicU64,
    errors: AtomicU64,
}

/// Sends a plan to a target and tells how far it is now and then.
pub(super) async fn run(target: SocketAddr, plan: &Plan, mut progress: impl FnMut(Progress)) -> Report {
    let (began, count) = (Instant::now(), Arc::new(Count::default()));
    let popularity = Popularity::of_the_sample();
    let mut clients = JoinSet::new();
    for client in 0..plan.clients {
        let steps = plan.steps(client, &popularity);
        clients.spawn(drive(target, steps, began + plan.duration, count.clone()));
    }
    let mut report = Report::default();
    let mut tick = tokio::time::interval(PROGRESS_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            ended = clients.join_next() => match ended {
                Some(Ok(part)) => report.add(part),
                // A client of ours that broke down measured nothing: its requests are missed, and seen.
                Some(Err(_)) => report.broken += 1,
                None => break,
            },
            _ = tick.tick() => progress(Progress {
                elapsed: began.elapsed(),
                duration: plan.duration,
                requests: count.requests.load(Ordering::Relaxed),
                errors: count.errors.load(Ordering::Relaxed),
            }),
        }
    }
    report.elapsed = began.elapsed();
    report
}

/// One client, until the deadline.
async fn drive(target: SocketAddr, steps: impl Iterator<Item = Step>, deadline: Instant, count: Arc<Count>) -> Report {
    let mut client = Client::new(target);
    let mut report = Report::default();
    let mut created: Option<String> = None;
    for step in steps {
        let began = Instant::now();
        if began >= deadline {
            break;
        }
        // A refund is of the payment this client made last; where there is none, one is made.
        let refunded = if step.kind == Kind::Refund { created.take() } else { None };
        let kind = if step.kind == Kind::Refund && refunded.is_none() { Kind::Create } else { step.kind };
        let Ok(request) = request(target, kind, &step, refunded.as_deref()) else { break };
        let until = (began + PATIENCE).min(deadline + GRACE);
        let result = tokio::time::timeout_at(until, client.send(&request)).await.unwrap_or(Err(Broken));
        let good = match &result {
            Ok(answered) => {
                report.body_bytes += answered.body.len() as u64;
                *report.statuses.entry(answered.status.as_u16()).or_default() += 1;
                let micros = u32::try_from(answered.took.as_micros()).unwrap_or(u32::MAX);
                report.latencies[kind as usize].push(micros);
                answered.status.is_success()
            }
            Err(Broken) => {
                report.broken += 1;
                false
            }
        };
        if let (Kind::Create, Ok(answered)) = (kind, &result)
            && answered.status == StatusCode::CREATED
        {
            created = id_of(&answered.body);
        }
        count.requests.fetch_add(1, Ordering::Relaxed);
        count.errors.fetch_add(u64::from(!good), Ordering::Relaxed);
    }
    report
}

fn id_of(body: &[u8]) -> Option<String> {
    let payment: serde_json::Value = serde_json::from_slice(body).ok()?;
    payment.get("id")?.as_str().map(String::from)
}

fn request(
    target: SocketAddr,
    kind: Kind,
    step: &Step,
    refunded: Option<&str>,
) -> Result<Request<Full<Bytes>>, http::Error> {
    let merchant = merchant_id(step.merchant);
    let path = match kind {
        Kind::Create => "/v1/payments".into(),
        Kind::Refund => format!("/v1/payments/{}/refund", refunded.unwrap_or_default()),
        Kind::Get => format!("/v1/payments/{}", payment_id(step.payment)),
        Kind::List => format!("/v1/payments?merchant_id={merchant}&limit=20"),
        Kind::Config => format!("/v1/merchants/{merchant}/config"),
        Kind::Methods => format!("/v1/merchants/{merchant}/payment-methods"),
    };
    let head = Request::builder().uri(path).header(header::HOST, target.to_string());
    if kind.is_read() {
        return head
            .method(Method::GET)
            .header(header::ACCEPT_ENCODING, "gzip")
            .header("x-merchant-id", merchant)
            .body(Full::default());
    }
    // Answers to writes are read here for their id, so they are asked for without a coding.
    let body = match kind {
        Kind::Create => json!({
            "amount": step.amount,
            "currency": "EUR",
            "merchant_id": merchant,
            "payment_method": { "type": "card", "brand": "visa", "last4": format!("{:04}", step.last4) },
        })
        .to_string(),
        _ => "{}".into(),
    };
    head.method(Method::POST)
        .header(header::CONTENT_TYPE, "application/json")
        .header("x-merchant-id", merchant)
        .body(Full::new(body.into()))
}
