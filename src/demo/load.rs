//! The load: clients on kept connections who take their next request from one plan and check every answer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::Full;
use parking_lot::Mutex;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use super::api::schema::merchant_id;
use super::check::{Known, decoded, is_fresh, is_of};
use super::client::{Answered, Broken, Client};
use super::plan::{Kind, Step};

/// The longest wait for one answer; longer is an error.
const PATIENCE: Duration = Duration::from_secs(10);
const PROGRESS_EVERY: Duration = Duration::from_millis(200);
/// What the clients can decode; the same to both sides.
const ACCEPTED: &str = "gzip, zstd";

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
    /// Requests without a whole answer that can be read: no connection, a broken one, or out of patience.
    pub broken: u64,
    /// Every byte that the clients received: heads, and bodies as they came.
    pub received: u64,
    /// Microseconds of each whole answer, by the number of its kind, in no order.
    pub latencies: [Vec<u32>; 6],
    /// Good answers to reads that were looked at for whose they are.
    pub owned: u64,
    /// Of them another merchant's.
    pub foreign: u64,
    /// Good answers to reads of what is written meanwhile.
    pub current: u64,
    /// Of them without a write that was answered before they began.
    pub stale: u64,
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
        for (mine, others) in self.latencies.iter_mut().zip(other.latencies) {
            mine.extend(others);
        }
        self.broken += other.broken;
        self.owned += other.owned;
        self.foreign += other.foreign;
        self.current += other.current;
        self.stale += other.stale;
    }
}

#[derive(Default)]
struct Count {
    requests: AtomicU64,
    errors: AtomicU64,
}

/// What the clients of a load share.
struct Shared<I> {
    target: SocketAddr,
    began: Instant,
    /// No request is begun after this; what is in flight then is waited for.
    deadline: Instant,
    steps: Mutex<I>,
    known: Arc<Known>,
    received: Arc<AtomicU64>,
    count: Count,
}

/// Sends steps to a target until they end or the time does, and tells how far it is now and then.
pub(super) async fn run(
    target: SocketAddr,
    clients: usize,
    steps: impl Iterator<Item = Step> + Send + 'static,
    duration: Duration,
    known: &Arc<Known>,
    mut progress: impl FnMut(Progress),
) -> Report {
    let began = Instant::now();
    let shared = Arc::new(Shared {
        target,
        began,
        deadline: began + duration,
        steps: Mutex::new(steps),
        known: known.clone(),
        received: Arc::default(),
        count: Count::default(),
    });
    let mut working = JoinSet::new();
    for _ in 0..clients {
        working.spawn(drive(shared.clone()));
    }
    let mut report = Report::default();
    let mut tick = tokio::time::interval(PROGRESS_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            ended = working.join_next() => match ended {
                Some(Ok(part)) => report.add(part),
                // A client of ours that broke down measured nothing: its requests are missed, and seen.
                Some(Err(_)) => report.broken += 1,
                None => break,
            },
            _ = tick.tick() => progress(Progress {
                elapsed: began.elapsed(),
                duration,
                requests: shared.count.requests.load(Ordering::Relaxed),
                errors: shared.count.errors.load(Ordering::Relaxed),
            }),
        }
    }
    report.elapsed = began.elapsed();
    report.received = shared.received.load(Ordering::Relaxed);
    report
}

/// One client, until the deadline. A request with a time of its own whose client was still busy then counts from that
/// time: what a slow answer makes others wait is not left out.
async fn drive<I: Iterator<Item = Step>>(shared: Arc<Shared<I>>) -> Report {
    let mut client = Client::new(shared.target, shared.received.clone());
    let mut report = Report::default();
    loop {
        let next = shared.steps.lock().next();
        let Some(step) = next else { break };
        let due = step.at.map_or_else(Instant::now, |at| shared.began + at);
        if due >= shared.deadline {
            break;
        }
        let late = due.elapsed();
        if step.at.is_some() {
            tokio::time::sleep_until(due).await;
        }
        let good = one(&mut client, &shared, step, late, &mut report).await;
        shared.count.requests.fetch_add(1, Ordering::Relaxed);
        shared.count.errors.fetch_add(u64::from(!good), Ordering::Relaxed);
    }
    report
}

/// Sends one request and takes its answer into the report. False if it was no good one.
async fn one<I>(client: &mut Client, shared: &Shared<I>, step: Step, late: Duration, report: &mut Report) -> bool {
    let known = &shared.known;
    // Of a merchant without a payment that can be given back, one is made.
    let refunded = if step.kind == Kind::Refund { known.take_refundable(step.merchant) } else { None };
    let kind = if step.kind == Kind::Refund && refunded.is_none() { Kind::Create } else { step.kind };
    let recent = if kind == Kind::Get && step.recent { known.recent(step.merchant) } else { None };
    let payment = refunded.or(recent).unwrap_or_else(|| step.seeded_payment());
    let Ok(request) = request(shared.target, kind, &step, &payment) else { return false };
    let expected = known.expected(&step, &payment);
    let sent = tokio::time::timeout(PATIENCE, client.send(&request)).await.unwrap_or(Err(Broken));
    let Ok(Answered { status, headers, body, took }) = sent else {
        report.broken += 1;
        return false;
    };
    // A write whose answer does not say what was written cannot be looked for later.
    let understood = |body: &Bytes| kind.is_read() || !status.is_success() || known.wrote(step.merchant, body);
    let Some(body) = decoded(&headers, body).filter(understood) else {
        report.broken += 1;
        return false;
    };
    *report.statuses.entry(status.as_u16()).or_default() += 1;
    report.latencies[kind as usize].push(u32::try_from((late + took).as_micros()).unwrap_or(u32::MAX));
    if !status.is_success() || !kind.is_read() {
        return status.is_success();
    }
    report.owned += 1;
    report.foreign += u64::from(!is_of(&body, &merchant_id(step.merchant)));
    if matches!(kind, Kind::Get | Kind::List) {
        report.current += 1;
        report.stale += u64::from(!is_fresh(&body, expected));
    }
    true
}

fn request(target: SocketAddr, kind: Kind, step: &Step, payment: &str) -> Result<Request<Full<Bytes>>, http::Error> {
    let merchant = merchant_id(step.merchant);
    let path = match kind {
        Kind::Create => "/v1/payments".into(),
        Kind::Refund => format!("/v1/payments/{payment}/refund"),
        Kind::Get => format!("/v1/payments/{payment}"),
        // The same for every merchant: who asks makes the difference.
        Kind::List => "/v1/payments?limit=20".into(),
        Kind::Config => format!("/v1/merchants/{merchant}/config"),
        Kind::Methods => format!("/v1/merchants/{merchant}/payment-methods"),
    };
    let head = Request::builder()
        .uri(path)
        .header(header::HOST, target.to_string())
        .header(header::ACCEPT_ENCODING, ACCEPTED)
        .header(header::AUTHORIZATION, format!("Bearer key-of-{merchant}"))
        .header("x-merchant-id", &merchant);
    if kind.is_read() {
        return head.method(Method::GET).body(Full::default());
    }
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
    head.method(Method::POST).header(header::CONTENT_TYPE, "application/json").body(Full::new(body.into()))
}
