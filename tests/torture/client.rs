//! Clients that want a payment made once, and try until they know: they leave early, come back with the same bytes, and
//! sometimes ask with two at a time.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::check::{Next, next};
use super::common::{Client, Response, Wire};
use super::history::{At, Book, Got, Said};

/// The longest a patient client waits for a byte.
const PATIENCE: Duration = Duration::from_secs(5);

/// A payment, and the bytes that every try of it sends.
pub(super) struct Payment {
    pub(super) key: String,
    bytes: Vec<u8>,
    pub(super) amount: u64,
}

/// Who pays.
pub(super) struct Payer<'a> {
    pub(super) book: &'a Book,
    pub(super) relay: SocketAddr,
    pub(super) random: fastrand::Rng,
    /// One that stays open for the next try.
    connection: Option<Client>,
    /// Where every try has to be a connection of its own, for a balancer to choose.
    pub(super) fresh: bool,
}

/// How a client deals with one try.
struct Manner {
    /// Leaves when nothing came for so long.
    patience: Duration,
    /// Leaves in the middle of its own request.
    half: bool,
    /// By a reset.
    rudely: bool,
}

impl Payment {
    /// The payment of this client with this number.
    pub(super) fn draw(random: &mut fastrand::Rng, seed: u64, client: usize, number: usize) -> Payment {
        let key = format!("{seed:016x}-{client}-{number}");
        let amount = random.u64(1..1_000_000);
        let pad = match random.u8(0..50) {
            // Longer than what is at hand before a connection is taken.
            0 => random.usize(65_000..120_000),
            1..=9 => random.usize(1000..9000),
            _ => random.usize(0..100),
        };
        let note: String = std::iter::repeat_with(|| random.alphanumeric()).take(pad).collect();
        let body = format!("{{\"amount\":{amount},\"currency\":\"EUR\",\"note\":\"{note}\"}}");
        let sent = if random.bool() { format!("\"{key}\"") } else { key.clone() };
        let head = format!(
            "POST /v1/payments HTTP/1.1\r\nHost: pay.example\r\nIdempotency-Key: {sent}\r\nX-Merchant-Id: mer_{client}\r\n\
             Authorization: Bearer of-{client}\r\nContent-Type: application/json\r\n"
        );
        let bytes = if random.u8(0..10) == 0 {
            format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
        } else {
            format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())
        };
        Payment { key, bytes: bytes.into_bytes(), amount }
    }
}

impl<'a> Payer<'a> {
    pub(super) fn new(book: &'a Book, relay: SocketAddr, random: fastrand::Rng, fresh: bool) -> Payer<'a> {
        Payer { book, relay, random, connection: None, fresh }
    }

    /// Pays, until there is an answer, or the time is over.
    pub(super) fn pay(&mut self, payment: &Payment, go_on: &dyn Fn() -> bool) {
        let mut pause = 5;
        while go_on() {
            let next = if self.random.u8(0..12) == 0 { self.twice(payment) } else { self.one(payment) };
            match next {
                Next::Again => {
                    std::thread::sleep(Duration::from_millis(self.random.u64(0..pause)));
                    pause = (pause * 2).min(200);
                }
                // Who is told so asks again, and again in vain.
                Next::Unknown | Next::NotKept => {
                    for _ in 0..self.random.u8(0..3) {
                        self.one(payment);
                    }
                    return;
                }
                Next::Answered => {
                    if self.random.u8(0..3) == 0 {
                        self.one(payment);
                    }
                    return;
                }
                Next::Wrong => return,
            }
        }
    }

    /// Asks again, patiently, for what should be known: once at least.
    pub(super) fn asks_again(&mut self, payment: &Payment, until: Instant) {
        loop {
            let manner = Manner { patience: PATIENCE, half: false, rudely: false };
            let (from, got) = self.attempt(payment, &manner);
            let known = next(&got) != Next::Again;
            self.book.tried(&payment.key, from, got);
            if known || Instant::now() > until {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn manner(&mut self) -> Manner {
        let patience = match self.random.u8(0..100) {
            0..=9 => Duration::from_millis(self.random.u64(1..10)),
            10..=24 => Duration::from_millis(self.random.u64(10..400)),
            _ => PATIENCE,
        };
        Manner { patience, half: self.random.u8(0..40) == 0, rudely: self.random.bool() }
    }

    fn one(&mut self, payment: &Payment) -> Next {
        let manner = self.manner();
        let (from, got) = self.attempt(payment, &manner);
        let next = next(&got);
        self.book.tried(&payment.key, from, got);
        next
    }

    /// Two tries at the same time; what the second came to.
    fn twice(&mut self, payment: &Payment) -> Next {
        let manner = self.manner();
        let from = self.book.now();
        let other = self.connect();
        let sent = other.and_then(|mut other| other.try_send(&payment.bytes).is_ok().then_some(other));
        let first = self.one(payment);
        let Some(mut other) = sent else { return first };
        let got = read(&mut other, manner.patience).0;
        let second = next(&got);
        self.book.tried(&payment.key, from, got);
        if second == Next::Again { first } else { second }
    }

    fn connect(&self) -> Option<Client> {
        let stream = TcpStream::connect(self.relay).ok()?;
        stream.set_nodelay(true).ok()?;
        Some(Client::over(Wire::Tcp(stream)))
    }

    fn attempt(&mut self, payment: &Payment, manner: &Manner) -> (At, Got) {
        let from = self.book.now();
        let kept = self.connection.take().filter(|_| !self.fresh);
        let Some(mut client) = kept.or_else(|| self.connect()) else { return (from, Got::Nothing("no connection")) };
        if manner.half {
            let _ = client.try_send(&payment.bytes[..self.random.usize(1..payment.bytes.len())]);
            leave(client, manner.rudely);
            return (from, Got::Nothing("left in its request"));
        }
        if client.try_send(&payment.bytes).is_err() {
            return (from, Got::Nothing("could not send"));
        }
        let (got, stays) = read(&mut client, manner.patience);
        match got {
            Got::Nothing(_) => leave(client, manner.rudely),
            _ if stays && self.random.bool() => self.connection = Some(client),
            _ => {}
        }
        (from, got)
    }
}

fn leave(client: Client, rudely: bool) {
    if rudely {
        client.reset();
    }
}

/// Reads an answer; whether the connection is good for another.
fn read(client: &mut Client, patience: Duration) -> (Got, bool) {
    // A socket that is broken by now says so when it is read.
    let _ = client.wire.tcp().set_read_timeout(Some(patience));
    match client.try_read_response("POST") {
        Ok(answer) => (judge(&answer), answer.header("connection") != Some("close")),
        Err(e) if super::common::wire::is_timeout(&e) => (Got::Nothing("left"), false),
        Err(_) => (Got::Nothing("cut"), false),
    }
}

fn judge(answer: &Response) -> Got {
    let reason = answer.header("x-outboard-reason");
    // The application marks each of its answers by its type.
    let content_type = answer.header("content-type").unwrap_or_default();
    if reason.is_some() || content_type == "application/problem+json" {
        let reason = reason.unwrap_or_default().to_owned();
        return Got::Refusal { status: answer.status, reason, retry_after: answer.header("retry-after").is_some() };
    }
    let whole = answer.header("content-length").is_some() || answer.header("transfer-encoding").is_some();
    let replayed = answer.header("idempotent-replayed").is_some_and(|value| value == "true");
    Got::Answer { said: Said::new(answer.status, content_type, &answer.body), replayed, whole }
}
