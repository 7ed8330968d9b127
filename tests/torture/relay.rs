//! A network that is cut: relays of TCP that reset what goes through them, hold it back, and remember whose it was.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::history::{At, Book, What};

/// Where a relay stands, which says what its cuts may cause.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Between clients and sidecars: a cut there causes nothing that lasts.
    Clients,
    /// Between sidecars and the application.
    Application,
    /// Between sidecars and the store that they share.
    Store,
}

/// A stable address before targets that come and go; each connection goes to one of them by chance.
pub(super) struct Relay {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    place: Place,
    book: Arc<Book>,
    seed: u64,
    targets: Mutex<Vec<Option<SocketAddr>>>,
    connections: AtomicU64,
    cut: watch::Sender<u64>,
    stalled: watch::Sender<bool>,
}

impl Relay {
    pub(super) fn start(runtime: &Runtime, place: Place, targets: usize, book: Arc<Book>, seed: u64) -> Relay {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let targets = Mutex::new(vec![None; targets]);
        let (cut, stalled) = (watch::Sender::new(0), watch::Sender::new(false));
        let shared = Arc::new(Shared { place, book, seed, targets, connections: AtomicU64::new(0), cut, stalled });
        let told = shared.clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(connection(stream, told.clone()));
            }
        });
        Relay { address, shared }
    }

    /// Where this target is, or that it is gone.
    pub(super) fn point(&self, which: usize, target: Option<SocketAddr>) {
        self.shared.targets.lock().unwrap()[which] = target;
    }

    /// Resets every connection.
    pub(super) fn cut(&self) {
        let from = self.shared.book.now();
        self.shared.cut.send_modify(|times| *times += 1);
        if self.shared.place == Place::Store {
            self.shared.book.happened(from, What::Store);
        }
    }

    /// Passes nothing on for so long.
    pub(super) fn stall(&self, time: Duration) {
        let from = self.shared.book.now();
        self.shared.stalled.send_replace(true);
        std::thread::sleep(time);
        self.shared.stalled.send_replace(false);
        if self.shared.place == Place::Store {
            self.shared.book.happened(from, What::Store);
        }
    }
}

/// One connection through a relay.
struct Through {
    shared: Arc<Shared>,
    /// The key that was seen on it last.
    key: Mutex<Option<String>>,
    /// What was read of the head in which the next key stands.
    head: Mutex<Vec<u8>>,
}

/// A direction: up is away from who connected.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

async fn connection(mut client: TcpStream, shared: Arc<Shared>) {
    let number = shared.connections.fetch_add(1, SeqCst);
    let mut random = fastrand::Rng::with_seed(shared.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let alive: Vec<SocketAddr> = shared.targets.lock().unwrap().iter().flatten().copied().collect();
    let target = if alive.is_empty() { None } else { Some(alive[random.usize(0..alive.len())]) };
    let connected = match target {
        Some(target) => TcpStream::connect(target).await.ok(),
        None => None,
    };
    let Some(mut server) = connected else { return reset(&client) };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    // Some are cut at a byte, which finds other places than a cut at a time.
    let fated = shared.place != Place::Store && random.u8(0..25) == 0;
    let way = if random.bool() { Way::Up } else { Way::Down };
    let longest = if random.bool() { 600 } else { 6000 };
    let fate = fated.then(|| (way, random.usize(1..longest)));
    let mut cut = shared.cut.subscribe();
    cut.mark_unchanged();
    let through = Through { shared: shared.clone(), key: Mutex::default(), head: Mutex::default() };
    let (ended, was_cut) = {
        let (client_read, client_write) = client.split();
        let (server_read, server_write) = server.split();
        let up = through.pump(client_read, server_write, Way::Up, fate);
        let down = through.pump(server_read, client_write, Way::Down, fate);
        tokio::select! {
            biased;
            _ = cut.changed() => (false, true),
            ended = async { tokio::try_join!(up, down) } => (ended.is_ok(), false),
        }
    };
    if was_cut {
        let at = shared.book.now();
        // What came and was not read yet.
        let mut part = [0; 16 << 10];
        while let Ok(n @ 1..) = client.try_read(&mut part) {
            through.sniff(&part[..n]);
        }
        through.was_cut(at);
    }
    if !ended {
        reset(&client);
        reset(&server);
    }
}

fn reset(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Bytes that wait until the stall is over, or until they are lost in a cut.
struct Stalled<'a> {
    through: &'a Through,
    from: At,
}

impl Drop for Stalled<'_> {
    fn drop(&mut self) {
        self.through.happened(self.from);
    }
}

impl Through {
    /// Passes on what comes until it ends, here or there.
    async fn pump(
        &self,
        mut from: impl tokio::io::AsyncRead + Unpin,
        mut to: impl tokio::io::AsyncWrite + Unpin,
        way: Way,
        fate: Option<(Way, usize)>,
    ) -> std::io::Result<()> {
        let mut left = fate.filter(|(fated, _)| *fated == way).map(|(_, bytes)| bytes);
        let mut stalled = self.shared.stalled.subscribe();
        let mut part = [0; 16 << 10];
        loop {
            let n = from.read(&mut part).await?;
            if way == Way::Up {
                self.sniff(&part[..n]);
            }
            if *stalled.borrow_and_update() {
                let _told = Stalled { through: self, from: self.shared.book.now() };
                let _ = stalled.wait_for(|stalled| !stalled).await;
            }
            if n == 0 {
                return to.shutdown().await;
            }
            if let Some(left) = &mut left {
                if n >= *left {
                    let began = self.shared.book.now();
                    let _ = to.write_all(&part[..*left]).await;
                    self.was_cut(began);
                    return Err(std::io::ErrorKind::ConnectionReset.into());
                }
                *left -= n;
            }
            to.write_all(&part[..n]).await?;
        }
    }

    /// Looks for the keys of requests that go by.
    fn sniff(&self, bytes: &[u8]) {
        if self.shared.place != Place::Application {
            return;
        }
        let mut head = self.head.lock().unwrap();
        head.extend_from_slice(bytes);
        const NAME: &[u8] = b"idempotency-key:";
        while let Some(at) = head.windows(NAME.len()).position(|w| w.eq_ignore_ascii_case(NAME)) {
            let value = &head[at + NAME.len()..];
            let Some(end) = value.windows(2).position(|w| w == b"\r\n") else { return };
            let value = String::from_utf8_lossy(&value[..end]).trim().trim_matches('"').to_owned();
            *self.key.lock().unwrap() = Some(value);
            head.drain(..at + NAME.len() + end);
        }
        let keep = head.len().min(NAME.len());
        let gone = head.len() - keep;
        head.drain(..gone);
    }

    /// A request may have been written to it in this very moment, of which nothing was read.
    fn was_cut(&self, from: At) {
        self.happened(from);
        if self.shared.place == Place::Application {
            self.shared.book.happened(from, What::Network(None));
        }
    }

    fn happened(&self, from: At) {
        if self.shared.place == Place::Application {
            self.shared.book.happened(from, What::Network(self.key.lock().unwrap().clone()));
        }
    }
}
