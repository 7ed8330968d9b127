//! An application with a known capacity, and clients that ask at a known rate whether they are answered or not.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, watch};

/// An application that works on `places` requests at once and takes a time for each; more wait inside it.
pub struct App {
    shared: Arc<Shared>,
    addr: SocketAddr,
    _runtime: Runtime,
}

/// How long an application works on a request.
#[derive(Debug, Clone, Copy)]
enum Takes {
    /// So long, a fifth more or less.
    Always(Duration),
    /// `base` while at most so many are inside, and `more` for each one above.
    Knee { base: Duration, more: Duration },
}

struct Shared {
    places: Semaphore,
    takes: Takes,
    /// From how many inside on it slows down.
    knee: AtomicUsize,
    worked: AtomicUsize,
    hangs: watch::Sender<bool>,
    answered: AtomicUsize,
    received: AtomicUsize,
    inside: AtomicUsize,
    most: AtomicUsize,
}

impl App {
    /// Answers 200 with a small body after `takes`, a fifth more or less.
    pub fn start(places: usize, takes: Duration) -> App {
        App::with(places, Takes::Always(takes), 0)
    }

    /// Works on any number at once, each for `base` and for `more` of each one inside above `knee`.
    pub fn with_knee(base: Duration, more: Duration, knee: usize) -> App {
        App::with(Semaphore::MAX_PERMITS, Takes::Knee { base, more }, knee)
    }

    /// Moves the knee.
    pub fn set_knee(&self, knee: usize) {
        self.shared.knee.store(knee, Ordering::SeqCst);
    }

    fn with(places: usize, takes: Takes, knee: usize) -> App {
        let shared = Arc::new(Shared {
            places: Semaphore::new(places),
            takes,
            knee: AtomicUsize::new(knee),
            worked: AtomicUsize::new(0),
            hangs: watch::Sender::new(false),
            answered: AtomicUsize::new(0),
            received: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let addr = listener.local_addr().unwrap();
        let app = shared.clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, app.clone()));
            }
        });
        App { shared, addr, _runtime: runtime }
    }

    pub fn address(&self) -> SocketAddr {
        self.addr
    }

    /// What it answers in a second when all its places are asked directly, again and again.
    pub fn capacity(&self, time: Duration) -> f64 {
        let (addr, places) = (self.addr, self.shared.places.available_permits());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let answered = runtime.block_on(async {
            let (kept, started) = (Kept::default(), Instant::now());
            let mut callers = tokio::task::JoinSet::new();
            for _ in 0..places {
                let kept = kept.clone();
                callers.spawn(async move {
                    let mut answered = 0;
                    while started.elapsed() < time {
                        let bytes = "GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned();
                        answered += usize::from(ask(addr, 0, bytes, &kept, started).await.status == 200);
                    }
                    answered
                });
            }
            callers.join_all().await.into_iter().sum::<usize>()
        });
        answered as f64 / time.as_secs_f64()
    }

    /// From now on nothing is answered, until it is told otherwise.
    pub fn hang(&self, hangs: bool) {
        self.shared.hangs.send_replace(hangs);
    }

    /// Requests answered.
    pub fn answered(&self) -> usize {
        self.shared.answered.load(Ordering::SeqCst)
    }

    /// Requests that came.
    pub fn received(&self) -> usize {
        self.shared.received.load(Ordering::SeqCst)
    }

    /// The most that were inside at once.
    pub fn most(&self) -> usize {
        self.shared.most.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: TcpStream, app: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let mut buf = Vec::new();
    loop {
        let head = loop {
            if let Some(at) = buf.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            if !matches!(stream.read_buf(&mut buf).await, Ok(n) if n > 0) {
                return;
            }
        };
        buf.drain(..head);
        app.received.fetch_add(1, Ordering::SeqCst);
        let inside = app.inside.fetch_add(1, Ordering::SeqCst) + 1;
        app.most.fetch_max(inside, Ordering::SeqCst);
        let work = async {
            let mut hangs = app.hangs.subscribe();
            let _ = hangs.wait_for(|hangs| !hangs).await;
            let _place = app.places.acquire().await;
            let takes = match app.takes {
                // Work that always takes the same runs in step, which no application's does.
                Takes::Always(takes) => {
                    let number = app.worked.fetch_add(1, Ordering::SeqCst) as u64;
                    let share = (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as f64 / f64::from(u32::MAX);
                    takes.mul_f64(0.8 + 0.4 * share)
                }
                Takes::Knee { base, more } => {
                    let above = inside.saturating_sub(app.knee.load(Ordering::SeqCst));
                    base + more * above as u32
                }
            };
            tokio::time::sleep(takes).await;
            // Who hangs answers nobody, not those that it had begun with either.
            let _ = hangs.wait_for(|hangs| !hangs).await;
        };
        // A caller that gives up frees its place.
        let mut more = [0u8; 1];
        let left = tokio::select! {
            () = work => false,
            _ = stream.peek(&mut more) => true,
        };
        app.inside.fetch_sub(1, Ordering::SeqCst);
        if left {
            return;
        }
        app.answered.fetch_add(1, Ordering::SeqCst);
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        if stream.write_all(answer).await.is_err() {
            return;
        }
    }
}

/// What one request was, and what became of it.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Its number, in the order of sending.
    pub number: usize,
    /// When it was sent, since the load began.
    pub at: Duration,
    /// How long its answer took.
    pub took: Duration,
    /// 0 where no answer came.
    pub status: u16,
    /// Why the proxy answered itself.
    pub reason: String,
    /// The connection was new.
    pub connected: bool,
}

/// Connections that wait for their next request.
type Kept = Arc<Mutex<VecDeque<TcpStream>>>;

/// Sends `rate` requests a second for a time, each at its moment, whatever became of those before. `request` gives the
/// bytes of a request by its number.
pub fn open_loop(
    addr: SocketAddr,
    rate: usize,
    time: Duration,
    request: impl Fn(usize) -> String + Send + Sync + 'static,
) -> Vec<Sample> {
    let stop = Arc::new(AtomicBool::new(false));
    open_loop_until(addr, rate, time, &stop, request)
}

/// The same, until it is told to stop.
pub fn open_loop_until(
    addr: SocketAddr,
    rate: usize,
    time: Duration,
    stop: &AtomicBool,
    request: impl Fn(usize) -> String + Send + Sync + 'static,
) -> Vec<Sample> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let kept = Kept::default();
    runtime.block_on(async {
        let started = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        let total = (rate as f64 * time.as_secs_f64()) as usize;
        for number in 0..total {
            let due = Duration::from_secs_f64(number as f64 / rate as f64);
            tokio::time::sleep_until((started + due).into()).await;
            if stop.load(Ordering::SeqCst) {
                break;
            }
            let (bytes, kept) = (request(number), kept.clone());
            tasks.spawn(async move { ask(addr, number, bytes, &kept, started).await });
        }
        let mut samples = tasks.join_all().await;
        samples.sort_by_key(|s| s.number);
        samples
    })
}

async fn ask(addr: SocketAddr, number: usize, bytes: String, kept: &Kept, started: Instant) -> Sample {
    let sent = Instant::now();
    let waiting = kept.lock().unwrap().pop_back();
    let connected = waiting.is_none();
    let mut sample =
        Sample { number, at: sent - started, took: Duration::ZERO, status: 0, reason: String::new(), connected };
    let exchange = async {
        let mut stream = match waiting {
            Some(stream) => stream,
            None => TcpStream::connect(addr).await.ok()?,
        };
        stream.set_nodelay(true).ok()?;
        stream.write_all(bytes.as_bytes()).await.ok()?;
        let mut buf = Vec::with_capacity(512);
        loop {
            if let Some((status, reason, keep)) = whole(&buf) {
                if keep {
                    kept.lock().unwrap().push_back(stream);
                }
                return Some((status, reason));
            }
            if stream.read_buf(&mut buf).await.ok()? == 0 {
                return None;
            }
        }
    };
    let answer = tokio::time::timeout(Duration::from_secs(30), exchange).await.ok().flatten();
    sample.took = sent.elapsed();
    if let Some((status, reason)) = answer {
        (sample.status, sample.reason) = (status, reason);
    }
    sample
}

/// Status, reason and whether the connection stays, once the answer is whole.
fn whole(buf: &[u8]) -> Option<(u16, String, bool)> {
    let head = buf.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&buf[..head]).ok()?;
    let field = |name: &str| {
        text.lines().find_map(|l| {
            let (n, v) = l.split_once(':')?;
            n.eq_ignore_ascii_case(name).then(|| v.trim().to_owned())
        })
    };
    let length: usize = field("content-length").and_then(|v| v.parse().ok()).unwrap_or(0);
    if buf.len() < head + length {
        return None;
    }
    let status = text.get(9..12)?.parse().ok()?;
    let keep = field("connection").is_none_or(|v| !v.eq_ignore_ascii_case("close"));
    Some((status, field("x-outboard-reason").unwrap_or_default(), keep))
}

/// The value below which a share of them lies.
pub fn percentile(times: &mut [Duration], share: f64) -> Duration {
    times.sort();
    let at = ((times.len() as f64 * share).ceil() as usize).clamp(1, times.len().max(1));
    times.get(at - 1).copied().unwrap_or_default()
}
