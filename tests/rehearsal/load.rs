//! Clients behind a balancer: each keeps a connection to the endpoint that it was given, and asks for another when that says so.

use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::cluster::Endpoints;
use crate::common::{Client, Wire};

/// What clients saw.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) answered: AtomicUsize,
    pub(crate) failed: Mutex<Vec<String>>,
    pub(crate) served: Mutex<std::collections::BTreeMap<SocketAddr, usize>>,
    ends: AtomicBool,
}

impl Seen {
    pub(crate) fn end(&self) {
        self.ends.store(true, Ordering::SeqCst);
    }
}

/// One client, which asks so often, whatever becomes of its requests.
pub(crate) fn client(endpoints: &Endpoints, seen: &Seen, every: Duration, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut connection: Option<(SocketAddr, Client)> = None;
    let mut next = Instant::now();
    while !seen.ends.load(Ordering::SeqCst) {
        next += every;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        // Some connections are short: a balancer is asked again and again.
        if random.u8(0..20) == 0 {
            connection = None;
        }
        let (address, mut client) = match connection.take() {
            Some(open) => open,
            None => {
                let known = endpoints.known();
                let Some(address) = random.choice(&known).copied() else {
                    seen.failed.lock().unwrap().push("no endpoint".into());
                    continue;
                };
                match TcpStream::connect_timeout(&address, Duration::from_secs(2)) {
                    Ok(stream) => (address, Client::over(Wire::Tcp(stream))),
                    Err(e) => {
                        seen.failed.lock().unwrap().push(format!("connecting to {address}: {e}"));
                        continue;
                    }
                }
            }
        };
        let asked =
            client.try_send("GET / HTTP/1.1\r\nHost: payments\r\n\r\n").and_then(|()| client.try_read_response("GET"));
        match asked {
            Ok(answer) if answer.status == 200 && answer.body == b"ok" => {
                seen.answered.fetch_add(1, Ordering::Relaxed);
                *seen.served.lock().unwrap().entry(address).or_default() += 1;
                if answer.header("connection") != Some("close") {
                    connection = Some((address, client));
                }
            }
            Ok(answer) => seen.failed.lock().unwrap().push(format!("{address}: {} {}", answer.status, answer.text())),
            Err(e) => seen.failed.lock().unwrap().push(format!("{address}: {e}")),
        }
    }
}
