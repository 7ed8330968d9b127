//! A real redis-server that is killed and started again, and forgets nothing that it confirmed.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::common::within;

pub(super) struct Redis {
    dir: tempfile::TempDir,
    child: Option<Child>,
}

impl Redis {
    pub(super) fn new() -> Redis {
        Redis { dir: tempfile::tempdir().unwrap(), child: None }
    }

    /// Starts it on a port that is free; where it listens once it answers.
    pub(super) fn start(&mut self) -> SocketAddr {
        for _ in 0..10 {
            // Another may take the port in between: then this one ends, and the next is tried.
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let port = address.port().to_string();
            let mut command = Command::new("redis-server");
            command.args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "yes"]);
            command.args(["--appendfsync", "always", "--maxmemory-policy", "noeviction"]);
            command.arg("--dir").arg(self.dir.path());
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = command.spawn().unwrap_or_else(|e| panic!("redis-server, which `make deps` installs: {e}"));
            let mut ended = false;
            let answers = within(Duration::from_secs(20), || {
                ended = child.try_wait().unwrap().is_some();
                ended || ping(address)
            });
            if answers && !ended {
                self.child = Some(child);
                return address;
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("redis-server does not start");
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether it has loaded what it knows.
fn ping(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
    let mut answer = [0; 5];
    stream.write_all(b"PING\r\n").is_ok() && stream.read_exact(&mut answer).is_ok() && &answer == b"+PONG"
}
