//! The application: it knows nothing of outboard. It answers, takes its time for a charge, and on SIGTERM accepts nothing any
//! more and finishes what it has.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Run as a container: `GET /` at once, `POST /charge` after 4.5 s with what its gateway says.
#[test]
#[ignore = "a container of the rehearsal"]
fn application() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("0.0.0.0:8080").await.unwrap();
        let mut terminate = signal(SignalKind::terminate()).unwrap();
        let (tell, told) = watch::channel(false);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let (stream, _) = accepted.unwrap();
                    connections.spawn(serve(stream, told.clone()));
                }
                _ = terminate.recv() => break,
            }
        }
        drop(listener);
        tell.send(true).unwrap();
        while connections.join_next().await.is_some() {}
    });
}

async fn serve(mut stream: TcpStream, mut told: watch::Receiver<bool>) {
    let mut received = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            let mut part = [0; 4096];
            let read = tokio::select! {
                read = stream.read(&mut part) => read,
                // Idle: it goes.
                _ = told.wait_for(|told| *told), if received.is_empty() => return,
            };
            match read {
                Ok(n) if n > 0 => received.extend_from_slice(&part[..n]),
                _ => return,
            }
        };
        let head = String::from_utf8_lossy(&received[..end]).into_owned();
        received.drain(..end);
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
        let mut body = vec![0; usize::saturating_sub(length.unwrap_or(0), received.len())];
        received.drain(..received.len().min(length.unwrap_or(0)));
        if stream.read_exact(&mut body).await.is_err() {
            return;
        }
        let body = if head.starts_with("POST /charge") {
            tokio::time::sleep(Duration::from_millis(4500)).await;
            gateway().await
        } else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            "ok".to_owned()
        };
        let last = if *told.borrow() { "Connection: close\r\n" } else { "" };
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{last}\r\n{body}", body.len());
        if stream.write_all(answer.as_bytes()).await.is_err() || !last.is_empty() {
            return;
        }
    }
}

/// What the gateway says, by the sidecar's egress listener.
async fn gateway() -> String {
    let said = async {
        let mut stream = TcpStream::connect("127.0.0.1:15001").await?;
        stream
            .write_all(b"POST /authorize HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            .await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer.lines().last().unwrap_or_default().to_owned())
    };
    said.await.unwrap_or_else(|e| format!("no gateway: {e}"))
}

/// Its command line.
pub(crate) fn command() -> (String, Vec<String>) {
    let exe = std::env::current_exe().unwrap().display().to_string();
    let args = ["--exact", "application::application", "--ignored", "--nocapture"].map(str::to_owned).to_vec();
    (exe, args)
}

/// A gateway on the node: it says yes.
pub(crate) fn gateway_on(address: std::net::SocketAddr) -> Arc<crate::common::Origin> {
    Arc::new(crate::common::Origin::serve_at(address, |conn| {
        while let Some(head) = conn.read_head() {
            conn.read_body(&head);
            conn.ok("authorized");
        }
    }))
}
