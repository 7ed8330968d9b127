//! The node: a bridge, and for each pod a network and a PID namespace with an address on it.

use std::net::Ipv4Addr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::common::eventually;

fn ip(args: &str) {
    let ran = Command::new("ip").args(args.split(' ')).output().expect("ip, of the package iproute2");
    assert!(ran.status.success(), "ip {args}: {}", String::from_utf8_lossy(&ran.stderr));
}

/// The node's address, where a gateway may listen.
pub(crate) const NODE: Ipv4Addr = Ipv4Addr::new(10, 42, 0, 1);

/// Makes the bridge.
pub(crate) fn begin() {
    ip("link set lo up");
    ip("link add br0 type bridge");
    ip(&format!("addr add {NODE}/24 dev br0"));
    ip("link set br0 up");
}

/// The namespaces of a pod. What runs in them ends with it.
pub(crate) struct Sandbox {
    pub(crate) address: Ipv4Addr,
    holder: Mutex<Child>,
    /// The first process in them.
    pid: String,
}

impl Sandbox {
    pub(crate) fn new() -> Sandbox {
        static NEXT: AtomicU8 = AtomicU8::new(2);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let address = Ipv4Addr::new(10, 42, 0, number);
        let mut command = Command::new("unshare");
        command.args(["--net", "--pid", "--fork", "--kill-child", "sleep", "infinity"]);
        let holder = command.spawn().unwrap();
        let pid = child_of(holder.id());
        ip(&format!("link add p{number} type veth peer name eth0 netns {pid}"));
        ip(&format!("link set p{number} master br0 up"));
        let inside = |args: &str| {
            let mut command = Command::new("nsenter");
            command.args(["-t", &pid, "-n", "ip"]).args(args.split(' '));
            assert!(command.status().unwrap().success(), "{args}");
        };
        inside("link set lo up");
        inside(&format!("addr add {address}/24 dev eth0"));
        inside("link set eth0 up");
        Sandbox { address, holder: Mutex::new(holder), pid }
    }

    /// Starts a program in the namespaces.
    pub(crate) fn start(&self, program: &str, args: &[String], env: &[(String, String)]) -> Process {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.pid, "-n", "-p", "--", program]).args(args);
        command.envs(env.iter().map(|(name, value)| (name, value))).stdout(Stdio::null());
        let child = command.spawn().unwrap();
        let pid = child_of(child.id());
        Process { child: Mutex::new(child), pid: pid.parse().unwrap() }
    }

    /// Runs a program to its end, as a probe or a hook.
    pub(crate) fn run(&self, program: &str, args: &[String], env: &[(String, String)]) -> bool {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.pid, "-n", "-p", "--", program]).args(args);
        command.envs(env.iter().map(|(name, value)| (name, value))).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().unwrap().success()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let mut holder = self.holder.lock().unwrap();
        let _ = holder.kill();
        let _ = holder.wait();
    }
}

/// The process that `unshare` or `nsenter` started.
fn child_of(parent: u32) -> String {
    let mut child = String::new();
    eventually("it has started", || {
        let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
        child = children.split_whitespace().next().unwrap_or_default().to_owned();
        !child.is_empty()
    });
    child
}

/// The process of a container.
pub(crate) struct Process {
    child: Mutex<Child>,
    pid: i32,
}

impl Process {
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        if self.ended().is_none() {
            let _ = rustix::process::kill_process(rustix::process::Pid::from_raw(self.pid).unwrap(), signal);
        }
    }

    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        self.child.lock().unwrap().try_wait().unwrap()
    }
}
