//! Active health checks: a GET to each endpoint, again and again, beside the traffic.
//!
//! Each check opens a connection of its own, as a client of the application would: a kept one says nothing of whether the
//! next can be opened. It is closed when the head of the answer has come.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::Upstream;
use super::connect::{self, Opened};
use super::endpoint::Endpoint;
use crate::config::{HostHeader, UpstreamProtocol};
use crate::observe::metrics::ResultLabel;
use crate::policy::health::Statuses;

/// What each check of an upstream is made with.
struct Check {
    path: String,
    within: Duration,
    expected: Statuses,
    protocol: UpstreamProtocol,
    host: HostHeader,
    tls: Option<connect::Tls>,
}

/// Checks every endpoint of an upstream that asks for it, for as long as it is used.
pub async fn keep_checking(upstream: Arc<Upstream>) {
    let (Some(settings), Some(mut news)) = (&upstream.settings.health_check, upstream.news()) else { return };
    let check = Arc::new(Check {
        path: settings.path.clone(),
        within: settings.timeout.get(),
        expected: settings.expect_status.clone(),
        protocol: upstream.protocol,
        host: upstream.host.clone(),
        tls: upstream.tls.clone(),
    });
    let every = settings.interval.get();
    let weak = Arc::downgrade(&upstream);
    drop(upstream);
    let round = async {
        // Many sidecars that start together, or are told to reload together, do not ask together.
        let mut ticks = interval_at(Instant::now() + every.mul_f64(fastrand::f64()), every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut checks = JoinSet::new();
        loop {
            ticks.tick().await;
            let Some(endpoints) = weak.upgrade().map(|u| u.endpoints()) else { return };
            for endpoint in endpoints {
                let (check, weak) = (check.clone(), weak.clone());
                checks.spawn(async move {
                    let result = check.ask(&endpoint).await;
                    if let Some(upstream) = weak.upgrade() {
                        upstream.note(&endpoint, result);
                    }
                });
            }
            // A check takes no longer than the time until the next round.
            while checks.join_next().await.is_some() {}
        }
    };
    // An error: the upstream was dropped. Either way what is being asked is given up.
    tokio::select! {
        () = round => {}
        _ = news.wait_for(|news| news.retired) => {}
    }
}

impl Upstream {
    fn note(&self, endpoint: &Endpoint, result: Result<(), String>) {
        match result {
            Ok(()) => {
                self.metrics.checked(ResultLabel::Ok);
                self.checked(endpoint.standing.id, true, "");
            }
            Err(cause) => {
                self.metrics.checked(ResultLabel::Failed);
                tracing::debug!(event = "health_check", upstream = %self.name, endpoint = %endpoint.label, cause);
                self.checked(endpoint.standing.id, false, &cause);
            }
        }
    }
}

impl Check {
    /// One check; an error says why it failed.
    async fn ask(&self, endpoint: &Endpoint) -> Result<(), String> {
        match timeout(self.within, self.status(endpoint)).await {
            Ok(Ok(status)) if self.expected.contains(status.as_u16()) => Ok(()),
            Ok(Ok(status)) => Err(format!("status {}", status.as_u16())),
            Ok(Err(e)) => Err(e.to_string()),
            Err(_) => Err(format!("no answer within {:?}", self.within)),
        }
    }

    /// The status of the answer. The connection ends with this function, however it ends.
    async fn status(&self, endpoint: &Endpoint) -> io::Result<StatusCode> {
        let opened = connect::open(endpoint, self.tls.as_ref()).await?;
        if opened.is_http2(self.protocol)? {
            self.http2(opened, endpoint).await
        } else {
            self.http1(opened, endpoint).await
        }
    }

    async fn http1(&self, opened: Opened, endpoint: &Endpoint) -> io::Result<StatusCode> {
        let stream = TokioIo::new(opened.conn);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.map_err(io::Error::other)?;
        let mut request = self.request(self.path.parse().map_err(io::Error::other)?, Empty::<Bytes>::new());
        let host = HeaderValue::from_str(self.host(endpoint)).map_err(io::Error::other)?;
        request.headers_mut().insert(header::HOST, host);
        request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        beside(connection, async { sender.send_request(request).await.map(|answer| answer.status()) }).await
    }

    async fn http2(&self, opened: Opened, endpoint: &Endpoint) -> io::Result<StatusCode> {
        let stream = opened.conn;
        let builder = h2::client::Builder::new().enable_push(false).clone();
        let (mut sender, connection) = builder.handshake::<_, Bytes>(stream).await.map_err(io::Error::other)?;
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let uri = Uri::builder().scheme(scheme).authority(self.host(endpoint)).path_and_query(self.path.as_str());
        let request = self.request(uri.build().map_err(io::Error::other)?, ());
        let (answer, _) = sender.send_request(request, true).map_err(io::Error::other)?;
        beside(connection, async { answer.await.map(|answer| answer.status()) }).await
    }

    fn request<B>(&self, uri: Uri, body: B) -> Request<B> {
        let mut request = Request::new(body);
        *request.method_mut() = Method::GET;
        *request.uri_mut() = uri;
        request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static("outboard-health"));
        request
    }

    /// The Host, as for traffic; where that is the client's there is none to preserve, and it is the endpoint's.
    fn host<'a>(&'a self, endpoint: &'a Endpoint) -> &'a str {
        match &self.host {
            HostHeader::Name(name) => name,
            // A Unix socket has none.
            HostHeader::Preserve | HostHeader::Endpoint if endpoint.host.is_empty() => "localhost",
            HostHeader::Preserve | HostHeader::Endpoint => &endpoint.authority,
        }
    }
}

/// Waits for the answer while the connection does its work. Its own end is told by the answer, which fails then.
async fn beside<E>(
    connection: impl Future<Output = Result<(), E>>,
    answer: impl Future<Output = Result<StatusCode, E>>,
) -> io::Result<StatusCode>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let works = async {
        let _ = connection.await;
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        biased;
        answer = answer => answer.map_err(io::Error::other),
        never = works => match never {},
    }
}
