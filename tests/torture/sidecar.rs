//! A sidecar that is killed and started again on what it left behind.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::common::{Proxy, Signal};

pub(super) struct Sidecar {
    yaml: String,
    /// Where its records are.
    data: tempfile::TempDir,
    proxy: Option<Proxy>,
}

/// Where a sidecar keeps its records.
pub(super) enum Store {
    /// In a folder of its own.
    Local,
    /// In the Redis at this address.
    Redis(SocketAddr),
}

impl Sidecar {
    pub(super) fn new(application: SocketAddr, store: &Store) -> Sidecar {
        let data = tempfile::tempdir().unwrap();
        let (name, stores) = match store {
            Store::Local => ("local", format!("{{ data_dir: \"{}\" }}", data.path().join("records").display())),
            Store::Redis(address) => ("redis", format!("{{ redis: {{ url: \"redis://{address}/0\" }} }}")),
        };
        let yaml = format!(
            "listeners: [{{ name: inbound, address: \"127.0.0.1:0\" }}]\n\
             admin: {{ address: \"127.0.0.1:0\" }}\n\
             logging: {{ access: {{ enabled: false }} }}\n\
             drain: {{ delay: 0s }}\n\
             stores: {stores}\n\
             upstreams: {{ app: {{ endpoints: [\"{application}\"] }} }}\n\
             routes:\n\
             - name: charge\n  \
               match: {{ path: /v1/payments, methods: [POST] }}\n  \
               timeouts: {{ connect: 500ms, first_byte: 1s, total: 1500ms }}\n  \
               idempotency: {{ owner: [\"header:x-merchant-id\"], in_flight: {{ wait: 300ms }}, lease: 2s, \
               max_response: 64KiB, store: {name} }}\n"
        );
        Sidecar { yaml, data, proxy: None }
    }

    /// Starts it; where it listens.
    pub(super) fn start(&mut self) -> SocketAddr {
        let proxy = Proxy::start(&self.yaml);
        let address = proxy.addr("inbound");
        self.proxy = Some(proxy);
        address
    }

    /// SIGKILL; what it said before.
    pub(super) fn kill(&mut self) -> String {
        let Some(proxy) = self.proxy.take() else { return String::new() };
        proxy.signal(Signal::KILL);
        proxy.wait(Duration::from_secs(5));
        proxy.raw_output()
    }

    /// SIGTERM, and the time it asks for; what it said.
    pub(super) fn end(&mut self) -> String {
        let Some(proxy) = self.proxy.take() else { return String::new() };
        proxy.signal(Signal::TERM);
        proxy.wait(Duration::from_secs(10));
        proxy.raw_output()
    }

    /// Lets it stand still for so long.
    pub(super) fn pause(&self, time: Duration) {
        if let Some(proxy) = &self.proxy {
            proxy.signal(Signal::STOP);
            std::thread::sleep(time);
            proxy.signal(Signal::CONT);
        }
    }

    /// Starts it and kills it before it is there.
    pub(super) fn stillborn(&self, after: Duration) {
        let config = self.data.path().join("outboard.yaml");
        std::fs::write(&config, &self.yaml).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_outboard"));
        command.arg("run").arg("--config").arg(&config).env("XDG_RUNTIME_DIR", self.data.path());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(after);
        let _ = child.kill();
        let _ = child.wait();
    }
}
