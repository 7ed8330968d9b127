//! Under load: 100 requests in flight and 200 a second that keep arriving when SIGTERM comes.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::common::{Client, Proxy, Signal, Wire, eventually, http2};
use super::{LONG, gated, has_entered, proxy};

const DELAY: Duration = Duration::from_secs(2);
/// A connection that is made later than this after SIGTERM may not be accepted before the listener is closed.
const CERTAIN: Duration = Duration::from_millis(1800);
const IN_FLIGHT: usize = 100;
const CLIENTS: usize = 20;
/// 20 clients, each every 100 ms: 200 a second.
const PACE: Duration = Duration::from_millis(100);

/// What clients saw that kept asking.
#[derive(Default)]
struct Seen {
    good: AtomicUsize,
    after_term: AtomicUsize,
    told_to_close: AtomicUsize,
    bad: Mutex<Vec<String>>,
    term: Mutex<Option<Instant>>,
}

impl Seen {
    /// Whether to ask once more; waits for its turn.
    fn again(&self, next: &mut Instant) -> bool {
        *next += PACE;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        !self.late()
    }

    fn late(&self) -> bool {
        self.term.lock().unwrap().is_some_and(|term| term.elapsed() > CERTAIN)
    }

    /// A new connection; none once it is late. The clock is looked at when it stands: on a machine that has much to do, a thread that
    /// begins in time may come too late for the listener.
    fn connect(&self, addr: SocketAddr) -> Option<TcpStream> {
        let made = TcpStream::connect(addr);
        if self.late() {
            return None;
        }
        made.map_err(|e| self.answered(Err(format!("connect: {e}")))).ok()
    }

    fn answered(&self, result: Result<u16, String>) {
        match result {
            Ok(200) => {
                self.good.fetch_add(1, Ordering::SeqCst);
                if self.term.lock().unwrap().is_some() {
                    self.after_term.fetch_add(1, Ordering::SeqCst);
                }
            }
            Ok(status) => self.bad.lock().unwrap().push(format!("status {status}")),
            Err(e) => self.bad.lock().unwrap().push(e),
        }
    }
}

/// Clients that keep a connection as long as they may, each with its own turn.
fn keep_asking(
    proxy: &Proxy,
    seen: &Arc<Seen>,
    client: fn(SocketAddr, &Seen, &mut Instant),
) -> Vec<std::thread::JoinHandle<()>> {
    let addr = proxy.addr("inbound");
    let spread = PACE / CLIENTS as u32;
    (0..CLIENTS as u32)
        .map(|i| {
            let (seen, mut next) = (seen.clone(), Instant::now() + spread * i);
            std::thread::spawn(move || client(addr, &seen, &mut next))
        })
        .collect()
}

fn ask_http1(addr: SocketAddr, seen: &Seen, next: &mut Instant) {
    let mut kept: Option<Client> = None;
    while seen.again(next) {
        let mut client = match kept.take() {
            Some(client) => client,
            None => match seen.connect(addr) {
                Some(stream) => Client::over(Wire::Tcp(stream)),
                None => continue,
            },
        };
        let asked = client.try_send("POST /load HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
        let answer = asked.and_then(|()| client.try_read_response("POST"));
        match answer {
            Ok(answer) => {
                seen.answered(Ok(answer.status));
                if answer.header("connection") == Some("close") {
                    seen.told_to_close.fetch_add(1, Ordering::SeqCst);
                } else {
                    kept = Some(client);
                }
            }
            Err(e) => seen.answered(Err(e.to_string())),
        }
    }
}

fn ask_http2(addr: SocketAddr, seen: &Seen, next: &mut Instant) {
    let mut kept: Option<http2::Client> = None;
    while seen.again(next) {
        // What a GOAWAY says was not looked at is asked again, as every client does (RFC 9113 8.7).
        for _ in 0..3 {
            if kept.as_ref().is_some_and(|client| client.is_leaving()) {
                seen.told_to_close.fetch_add(1, Ordering::SeqCst);
                kept = None;
            }
            let Some(client) = kept.take().or_else(|| seen.connect(addr).map(http2::Client::over)) else { break };
            let client = kept.insert(client);
            match client.post("/load", "hi") {
                Ok(answer) => {
                    seen.answered(Ok(answer.status));
                    break;
                }
                Err(e) if e.is_go_away() && e.is_remote() => kept = None,
                Err(e) => {
                    seen.answered(Err(e.to_string()));
                    kept = None;
                    break;
                }
            }
        }
    }
}

/// SIGTERM under load; `slow` sends the requests that are in flight then and returns what reads their answers.
fn across_sigterm(
    client: fn(SocketAddr, &Seen, &mut Instant),
    slow: impl FnOnce(&Proxy) -> Box<dyn FnOnce() -> Vec<u16>>,
) {
    let (origin, gate) = gated();
    let proxy = proxy(&origin, "2s", "");
    let seen = Arc::new(Seen::default());
    let asking = keep_asking(&proxy, &seen, client);
    let answers = slow(&proxy);
    eventually("the slow requests are in flight", || {
        origin.requests().iter().filter(|r| r.target == "/slow").count() == IN_FLIGHT
    });
    eventually("load", || seen.good.load(Ordering::SeqCst) > 100);

    proxy.signal(Signal::TERM);
    let term = Instant::now();
    *seen.term.lock().unwrap() = Some(term);
    for thread in asking {
        thread.join().unwrap();
    }
    eventually("draining", || has_entered(&proxy, "draining"));
    assert!(term.elapsed() >= DELAY, "draining after {:?}", term.elapsed());
    assert!(proxy.ended().is_none(), "it ended with requests in flight");
    gate.open();
    let released = Instant::now();
    assert_eq!(answers(), [200].repeat(IN_FLIGHT));
    assert_eq!(proxy.wait(LONG).code(), Some(0));
    let after = released.elapsed();
    assert!(after < Duration::from_secs(3), "it ended {after:?} after its last answer");

    assert_eq!(*seen.bad.lock().unwrap(), Vec::<String>::new());
    let (good, after_term) = (seen.good.load(Ordering::SeqCst), seen.after_term.load(Ordering::SeqCst));
    assert!(after_term > 250, "only {after_term} answers during the delay");
    assert!(seen.told_to_close.load(Ordering::SeqCst) >= CLIENTS, "who keeps a connection is told that it ends");
    assert_eq!(origin.count_of("/load"), good, "each was sent once");
    println!("{good} answers, {after_term} of them after SIGTERM, end {after:?} after the last");
}

#[test]
fn nothing_is_lost_or_refused_over_http1() {
    across_sigterm(ask_http1, |proxy| {
        let addr = proxy.addr("inbound");
        let mut clients: Vec<Client> = (0..IN_FLIGHT).map(|_| Client::connect(addr)).collect();
        for client in &mut clients {
            client.request("POST", "/slow", &[], b"charge");
        }
        Box::new(move || clients.iter_mut().map(|client| client.read_response().status).collect())
    });
}

#[test]
fn nothing_is_lost_or_refused_over_http2() {
    across_sigterm(ask_http2, |proxy| {
        let clients: Vec<_> = (0..5).map(|_| http2::Client::connect(proxy.addr("inbound"))).collect();
        let open = |client: &http2::Client| {
            let mut stream = client.stream(http2::Client::build("POST", "/slow"), false).unwrap();
            stream.send("charge", true).unwrap();
            stream
        };
        let streams: Vec<_> = (0..IN_FLIGHT).map(|i| open(&clients[i % clients.len()])).collect();
        Box::new(move || {
            let statuses = streams.into_iter().map(|stream| stream.answer().unwrap().status).collect();
            drop(clients);
            statuses
        })
    });
}
