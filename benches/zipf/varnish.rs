//! Varnish with its default storage and LRU, asked over HTTP in the order of the trace.

// Another process is waited for, which gives no sign of its own.
#![allow(clippy::disallowed_methods)]

use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

/// So many requests are sent before their answers are read.
const AHEAD: usize = 64;

/// The hits of a trace in a Varnish that has room for so many objects, and how many it held at the end.
pub(crate) fn run(trace: &[u32], room: usize) -> Result<(Vec<bool>, usize)> {
    let origin = origin()?;
    // More distinct keys than fit; what is held then tells how much memory one of them takes.
    let distinct: Vec<u32> = (0..2 * room as u32 + room as u32 / 2).collect();
    let mut memory = room * 2048;
    for _ in 0..4 {
        let varnish = Varnish::start(origin, memory)?;
        varnish.ask(&distinct)?;
        let held = varnish.held()?;
        println!("calibration: Varnish with {memory} bytes holds {held} objects");
        if held.abs_diff(room) <= room / 200 {
            break;
        }
        memory = memory * room / held;
    }
    let varnish = Varnish::start(origin, memory)?;
    let hits = varnish.ask(trace)?;
    Ok((hits, varnish.held()?))
}

struct Varnish {
    child: Child,
    address: SocketAddr,
    dir: std::path::PathBuf,
}

impl Varnish {
    fn start(origin: SocketAddr, memory: usize) -> Result<Varnish> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("zipf-varnish-{}-{}", std::process::id(), COUNT.fetch_add(1, SeqCst));
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir)?;
        // Free now, and for the moment until varnishd takes it.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let child = Command::new("varnishd")
            .args(["-F", "-n", &dir.display().to_string(), "-a", &address.to_string(), "-b", &origin.to_string()])
            .args(["-s", &format!("malloc,{memory}b"), "-T", "none", "-p", "default_grace=0", "-p", "default_keep=0"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let varnish = Varnish { child, address, dir };
        for _ in 0..100 {
            if TcpStream::connect(address).is_ok() {
                return Ok(varnish);
            }
            pause();
        }
        Err(Error::new(ErrorKind::TimedOut, "varnishd does not answer"))
    }

    /// Which of these keys were there when they were asked for, one after the other.
    fn ask(&self, keys: &[u32]) -> Result<Vec<bool>> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        let mut answers = BufReader::with_capacity(1 << 16, stream.try_clone()?);
        let mut hits = Vec::with_capacity(keys.len());
        for keys in keys.chunks(AHEAD) {
            let requests: String =
                keys.iter().map(|key| format!("GET /{key:06} HTTP/1.1\r\nHost: h\r\n\r\n")).collect();
            stream.write_all(requests.as_bytes())?;
            for _ in keys {
                hits.push(answer(&mut answers)?);
            }
        }
        Ok(hits)
    }

    fn held(&self) -> Result<usize> {
        // Its counters are written now and then.
        thread::sleep(Duration::from_secs(2));
        let dir = self.dir.display().to_string();
        let output = Command::new("varnishstat").args(["-1", "-n", &dir, "-f", "MAIN.n_object"]).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let count = text.split_whitespace().nth(1).and_then(|count| count.parse().ok());
        count.ok_or_else(|| Error::new(ErrorKind::InvalidData, "varnishstat told no n_object"))
    }
}

impl Drop for Varnish {
    fn drop(&mut self) {
        // The manager ends its worker when it is told to end.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Reads an answer; tells whether it was a hit: Varnish then names two transactions, its own and the one that filled it.
fn answer(from: &mut impl BufRead) -> Result<bool> {
    let (mut hit, mut length, mut line) = (false, 0, String::new());
    loop {
        line.clear();
        if from.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let Some((name, value)) = line.trim_end().split_once(':') else {
            if line == "\r\n" {
                break;
            }
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "x-varnish" => hit = value.split_whitespace().count() == 2,
            "content-length" => length = value.trim().parse().unwrap_or(0),
            _ => {}
        }
    }
    std::io::copy(&mut from.take(length), &mut std::io::sink())?;
    Ok(hit)
}

/// Answers every request with the same kilobyte.
fn origin() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: max-age=86400\r\nContent-Length: 1024\r\n\r\n";
    let answer: Arc<[u8]> = [head.as_bytes(), &[b'x'; 1024]].concat().into();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            thread::spawn(move || serve(stream, &answer));
        }
    });
    Ok(address)
}

fn serve(mut stream: TcpStream, answer: &[u8]) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut requests = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    loop {
        line.clear();
        if requests.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if line == "\r\n" {
            stream.write_all(answer)?;
        }
    }
}

fn pause() {
    thread::sleep(Duration::from_millis(50));
}
