//! Real redis-servers that a test starts, kills, pauses and lets follow one another, and a cable to one that a test can
//! slow down and cut.
//!
//! Stands alone, so that the unit tests of the store can use it too.

#![allow(dead_code, unreachable_pub, missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a server may take to start, and a condition to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A redis-server in a folder of its own. Dropped, it is killed.
pub struct RedisServer {
    child: Mutex<Option<Child>>,
    dir: tempfile::TempDir,
    port: u16,
    args: Vec<String>,
}

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Nil,
    Int(i64),
    Text(String),
    Error(String),
    List(Vec<Answer>),
}

impl Answer {
    #[track_caller]
    pub fn int(&self) -> i64 {
        let Answer::Int(n) = self else { panic!("expected a number, got {self:?}") };
        *n
    }

    #[track_caller]
    pub fn text(&self) -> &str {
        let Answer::Text(text) = self else { panic!("expected text, got {self:?}") };
        text
    }
}

impl RedisServer {
    /// One that writes nothing to disk: what it has is lost with it.
    #[track_caller]
    pub fn start() -> RedisServer {
        RedisServer::with(&[])
    }

    /// One that has every write on disk before it answers.
    #[track_caller]
    pub fn durable() -> RedisServer {
        RedisServer::with(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    /// One with further arguments. It listens on a free port of 127.0.0.1 and on a Unix socket.
    #[track_caller]
    pub fn with(args: &[&str]) -> RedisServer {
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        for _ in 0..10 {
            let port = free_port();
            let dir = tempfile::tempdir().unwrap();
            let server = RedisServer { child: Mutex::new(None), dir, port, args: args.clone() };
            if server.launch() {
                return server;
            }
        }
        panic!("redis-server did not start");
    }

    /// One that follows this one, and has caught up with it.
    #[track_caller]
    pub fn replica(&self, args: &[&str]) -> RedisServer {
        let port = self.port.to_string();
        let follow = ["--replicaof", "127.0.0.1", &port, "--repl-diskless-sync-delay", "0"];
        let replica = RedisServer::with(&[&follow[..], args].concat());
        // Online is not enough, and neither is the first confirmation, which tells of the copy: for a second after it the
        // replica may confirm nothing.
        let write_and_wait: [&[&str]; 2] = [&["INCR", "replica:ready"], &["WAIT", "1", "50"]];
        eventually("the replica is in sync", || {
            let answers = self.commands(&[write_and_wait, write_and_wait, write_and_wait].concat());
            answers.iter().skip(1).step_by(2).all(|confirmed| *confirmed == Answer::Int(1))
        });
        self.command(&["DEL", "replica:ready"]);
        replica
    }

    /// Whether it runs: false where somebody was faster with the port.
    fn launch(&self) -> bool {
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--daemonize", "no"]);
        command.arg("--dir").arg(self.dir.path()).arg("--unixsocket").arg(self.socket());
        command.args(["--save", "", "--appendonly", "no", "--enable-debug-command", "yes", "--loglevel", "warning"]);
        command.args(["--repl-diskless-sync-delay", "0"]).args(&self.args);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("redis-server is needed: apt-get install redis-server");
        let started = Instant::now();
        loop {
            if child.try_wait().unwrap().is_some() {
                return false;
            }
            // An answer of any kind: it may ask for a password.
            if let Ok(answer) = self.ask(&["PING"])
                && !matches!(&answer, Answer::Error(text) if text.starts_with("LOADING"))
            {
                break;
            }
            assert!(started.elapsed() < PATIENCE, "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(5));
        }
        *self.child.lock().unwrap() = Some(child);
        true
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("redis.sock")
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// SIGKILL: nothing is written any more.
    pub fn kill(&self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            let _ = kill_process(Pid::from_child(&child), Signal::KILL);
            let _ = child.wait();
        }
    }

    /// The same folder, port and arguments once more.
    #[track_caller]
    pub fn restart(&self) {
        self.kill();
        assert!(self.launch(), "redis-server did not start again");
    }

    /// SIGSTOP: connections are accepted by the kernel, and nobody answers.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.lock().unwrap();
        kill_process(Pid::from_child(child.as_ref().expect("a server that runs")), signal).unwrap();
    }

    /// A command on a connection of its own.
    #[track_caller]
    pub fn command(&self, words: &[&str]) -> Answer {
        self.ask(words).unwrap()
    }

    /// Commands one after the other on a connection of their own.
    #[track_caller]
    pub fn commands(&self, commands: &[&[&str]]) -> Vec<Answer> {
        let stream = std::os::unix::net::UnixStream::connect(self.socket()).unwrap();
        let mut answers = BufReader::new(&stream);
        commands.iter().map(|words| ask(&stream, &mut answers, words).unwrap()).collect()
    }

    fn ask(&self, words: &[&str]) -> std::io::Result<Answer> {
        let stream = std::os::unix::net::UnixStream::connect(self.socket())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        ask(&stream, &mut BufReader::new(&stream), words)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn ask(mut to: &std::os::unix::net::UnixStream, from: &mut impl BufRead, words: &[&str]) -> std::io::Result<Answer> {
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    to.write_all(request.as_bytes())?;
    read_answer(from)
}

fn read_answer(from: &mut impl BufRead) -> std::io::Result<Answer> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let line = line.trim_end();
    let ended = || std::io::Error::other(format!("no answer: {line:?}"));
    let (kind, rest) = line.split_at_checked(1).ok_or_else(ended)?;
    let number = || rest.parse::<i64>().map_err(|_| ended());
    Ok(match kind {
        "+" => Answer::Text(rest.to_owned()),
        "-" => Answer::Error(rest.to_owned()),
        ":" => Answer::Int(number()?),
        "$" | "*" if number()? < 0 => Answer::Nil,
        "$" => {
            let mut bytes = vec![0; number()? as usize + 2];
            from.read_exact(&mut bytes)?;
            bytes.truncate(bytes.len() - 2);
            Answer::Text(String::from_utf8_lossy(&bytes).into_owned())
        }
        "*" => Answer::List((0..number()?).map(|_| read_answer(from)).collect::<Result<_, _>>()?),
        _ => return Err(ended()),
    })
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[track_caller]
fn eventually(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A way to a server that a test can slow down and cut. Dropped, it accepts nothing more.
pub struct Cable {
    addr: SocketAddr,
    state: Arc<CableState>,
}

struct CableState {
    to: Mutex<SocketAddr>,
    delay: AtomicU64,
    cut_after: Mutex<Option<Vec<u8>>>,
    cuts: AtomicU64,
    ended: AtomicBool,
}

impl Cable {
    pub fn to(server: &RedisServer) -> Cable {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let state = Arc::new(CableState {
            to: Mutex::new(server.addr()),
            delay: AtomicU64::new(0),
            cut_after: Mutex::new(None),
            cuts: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        });
        let cable = Cable { addr: listener.local_addr().unwrap(), state: state.clone() };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if state.ended.load(SeqCst) {
                    break;
                }
                let to = *state.to.lock().unwrap();
                if let (Ok(client), Ok(server)) = (stream, TcpStream::connect(to)) {
                    carry(&state, client, server);
                }
            }
        });
        cable
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.addr)
    }

    /// New connections go to another server, as after a name was pointed elsewhere.
    pub fn plug_into(&self, server: &RedisServer) {
        *self.state.to.lock().unwrap() = server.addr();
    }

    /// Every answer takes so much longer.
    pub fn delay(&self, by: Duration) {
        self.state.delay.store(by.as_millis() as u64, SeqCst);
    }

    /// The next request that has this in it is handed on and answered, but the answer does not arrive: the connection is
    /// closed.
    pub fn lose_answer_to(&self, needle: &str) {
        *self.state.cut_after.lock().unwrap() = Some(needle.as_bytes().to_vec());
    }

    /// How many answers were lost.
    pub fn lost(&self) -> u64 {
        self.state.cuts.load(SeqCst)
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.state.ended.store(true, SeqCst);
        let _ = TcpStream::connect(self.addr);
    }
}

fn carry(state: &Arc<CableState>, client: TcpStream, server: TcpStream) {
    let cut = Arc::new(AtomicBool::new(false));
    let pairs = [(client.try_clone(), server.try_clone(), true), (server.try_clone(), client.try_clone(), false)];
    for (from, to, forth) in pairs {
        let (mut from, mut to) = (from.unwrap(), to.unwrap());
        let (state, cut) = (state.clone(), cut.clone());
        std::thread::spawn(move || {
            let mut bytes = vec![0; 64 * 1024];
            while let Ok(read @ 1..) = from.read(&mut bytes) {
                if forth {
                    let mut needle = state.cut_after.lock().unwrap();
                    if needle.as_ref().is_some_and(|n| bytes[..read].windows(n.len()).any(|part| part == n)) {
                        *needle = None;
                        cut.store(true, SeqCst);
                    }
                } else {
                    std::thread::sleep(Duration::from_millis(state.delay.load(SeqCst)));
                    if cut.load(SeqCst) {
                        state.cuts.fetch_add(1, SeqCst);
                        break;
                    }
                }
                if to.write_all(&bytes[..read]).is_err() {
                    break;
                }
            }
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
}
