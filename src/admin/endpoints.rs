//! What can be asked, by whom, and who answers it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::answer::{self, Answer};
use super::guard::{self, Foreign};
use super::orders::{DrainOrder, LevelOrder, Refused as Order, SwitchOrder, words};
use super::{Control, PurgeOrder, ResolveOrder, Surface, result_word};

/// An answer that ends a request early; boxed, since the way on is taken far more often.
type Refused = Box<Answer>;

const MAX_BODY: usize = 16 << 10;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    Livez,
    Readyz,
    Metrics,
    Dashboard,
    Config,
    Routes,
    Requests,
    Upstreams,
    Breakers,
    Policies,
    Cache,
    Idempotency,
    Drain,
    Reload,
    LogLevel,
    Purge,
    /// A breaker is told something.
    Breaker,
    /// A policy of a route is switched.
    Policy,
    /// It is said how a request of unknown outcome was.
    Resolve,
}

impl Endpoint {
    fn find(path: &str) -> Option<Self> {
        Some(match path {
            "/livez" => Endpoint::Livez,
            "/readyz" => Endpoint::Readyz,
            "/metrics" => Endpoint::Metrics,
            "/dashboard" => Endpoint::Dashboard,
            "/config" => Endpoint::Config,
            "/routes" => Endpoint::Routes,
            "/requests" => Endpoint::Requests,
            "/upstreams" => Endpoint::Upstreams,
            "/breakers" => Endpoint::Breakers,
            "/policies" => Endpoint::Policies,
            "/cache" => Endpoint::Cache,
            "/idempotency" => Endpoint::Idempotency,
            "/drain" => Endpoint::Drain,
            "/reload" => Endpoint::Reload,
            "/log-level" => Endpoint::LogLevel,
            "/cache/purge" => Endpoint::Purge,
            _ if path.starts_with("/breakers/") => Endpoint::Breaker,
            _ if path.starts_with("/policies/") => Endpoint::Policy,
            _ if path.starts_with("/idempotency/") => Endpoint::Resolve,
            _ => return None,
        })
    }

    /// What a kubelet and a scraper need.
    fn is_probe(self) -> bool {
        matches!(self, Endpoint::Livez | Endpoint::Readyz | Endpoint::Metrics)
    }

    fn is_write(self) -> bool {
        use Endpoint::{Breaker, Drain, LogLevel, Policy, Purge, Reload, Resolve};
        matches!(self, Drain | Reload | LogLevel | Purge | Breaker | Policy | Resolve)
    }

    /// The dashboard's page is the same for everybody; what it shows it has to ask for.
    fn needs_token(self) -> bool {
        !self.is_probe() && self != Endpoint::Dashboard
    }
}

/// One connection, and whom it asks.
pub(super) struct Caller<'a> {
    pub(super) surface: &'a Surface,
    pub(super) control: &'a dyn Control,
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
}

impl Caller<'_> {
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Answer {
        let endpoint = Endpoint::find(request.uri().path());
        match self.admit(&request, endpoint) {
            Err(refused) => {
                if let Some(endpoint) = endpoint.filter(|e| e.is_write() && request.method() == Method::POST) {
                    self.log(endpoint, "", refused.status());
                }
                *refused
            }
            Ok(endpoint) if endpoint.is_write() => self.write(endpoint, request).await,
            Ok(endpoint) => self.read(endpoint, request.uri().query()).await,
        }
    }

    /// Which endpoint is asked, if this caller may ask it.
    fn admit(&self, request: &Request<Incoming>, endpoint: Option<Endpoint>) -> Result<Endpoint, Refused> {
        let token = match self.surface {
            Surface::Probes => None,
            Surface::Full { address, token } => {
                let detail = match guard::foreign(request.headers(), request.uri(), address, self.local) {
                    None => Ok(()),
                    Some(Foreign::Origin) => Err("requests of a web page are refused"),
                    Some(Foreign::Host) => Err("expected the admin address, or localhost with its port, as Host"),
                };
                detail.map_err(|detail| refuse(StatusCode::FORBIDDEN, "forbidden", detail))?;
                Some(token)
            }
        };
        let known = endpoint.filter(|e| token.is_some() || e.is_probe());
        let Some(endpoint) = known else {
            return Err(refuse(StatusCode::NOT_FOUND, "not-found", "no such path"));
        };
        let allowed = match *request.method() {
            Method::POST => endpoint.is_write(),
            Method::GET | Method::HEAD => !endpoint.is_write(),
            _ => false,
        };
        if !allowed {
            return Err(answer::wrong_method(if endpoint.is_write() { "POST" } else { "GET, HEAD" }).into());
        }
        match token {
            Some(token) if endpoint.needs_token() && !guard::has_token(request.headers(), token.as_str()) => {
                let detail = "expected the header authorization: Bearer with the admin token";
                Err(refuse(StatusCode::UNAUTHORIZED, "unauthorized", detail))
            }
            _ => Ok(endpoint),
        }
    }

    async fn read(&self, endpoint: Endpoint, query: Option<&str>) -> Answer {
        match endpoint {
            Endpoint::Livez if self.control.live() => answer::json(StatusCode::OK, &json!({ "status": "live" })),
            Endpoint::Livez => answer::json(StatusCode::SERVICE_UNAVAILABLE, &json!({ "status": "not live" })),
            Endpoint::Readyz => self.readyz(query),
            Endpoint::Metrics => {
                answer::text(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", self.control.metrics())
            }
            Endpoint::Config => answer::text(StatusCode::OK, "application/yaml", self.control.config()),
            Endpoint::Routes => answer::json(StatusCode::OK, &self.control.routes()),
            Endpoint::Requests => answer::json(StatusCode::OK, &self.control.requests()),
            Endpoint::Upstreams => answer::json(StatusCode::OK, &self.control.upstreams()),
            Endpoint::Breakers => answer::json(StatusCode::OK, &self.control.breakers()),
            Endpoint::Policies => answer::json(StatusCode::OK, &self.control.policies()),
            Endpoint::Cache => answer::json(StatusCode::OK, &self.control.cache()),
            Endpoint::Idempotency => ordered(self.control.idempotency(query).await),
            Endpoint::Dashboard => answer::dashboard(),
            Endpoint::Drain
            | Endpoint::Reload
            | Endpoint::LogLevel
            | Endpoint::Purge
            | Endpoint::Breaker
            | Endpoint::Policy
            | Endpoint::Resolve => answer::wrong_method("POST"),
        }
    }

    /// The reason only where it is asked for: on the probes' address anybody may ask.
    fn readyz(&self, query: Option<&str>) -> Answer {
        let verbose = query.is_some_and(|q| q.split('&').any(|p| p == "verbose" || p.starts_with("verbose=")));
        match self.control.ready() {
            Ok(()) => answer::json(StatusCode::OK, &json!({ "status": "ready" })),
            Err(reason) => {
                let mut body = json!({ "status": "not ready" });
                if verbose {
                    body["reason"] = reason.into();
                }
                answer::json(StatusCode::SERVICE_UNAVAILABLE, &body)
            }
        }
    }

    async fn write(&self, endpoint: Endpoint, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().to_owned();
        let order = match body(request).await {
            Ok(order) => order,
            Err(refused) => {
                self.log(endpoint, "", refused.status());
                return *refused;
            }
        };
        match endpoint {
            Endpoint::Drain => match parse::<DrainOrder>(&order, true) {
                Ok(order) => self.drain(order).await,
                Err(refused) => self.logged(endpoint, "", *refused),
            },
            Endpoint::LogLevel => match parse::<LevelOrder>(&order, false) {
                Ok(LevelOrder { level }) => {
                    // Before the level moves: the line that says so must not be lost to it.
                    let done = answer::json(StatusCode::OK, &json!({ "level": level }));
                    let done = self.logged(endpoint, &format!("{level:?}").to_ascii_lowercase(), done);
                    self.control.set_level(level);
                    done
                }
                Err(refused) => self.logged(endpoint, "", *refused),
            },
            // An empty body is an order that names nothing, and is told what there is to name.
            Endpoint::Purge => match parse::<PurgeOrder>(&order, true) {
                Ok(order) => self.logged(endpoint, &order.to_string(), ordered(self.control.purge(&order))),
                Err(refused) => self.logged(endpoint, "", *refused),
            },
            Endpoint::Breaker => {
                let done = match (words::<2>(&path), parse::<Empty>(&order, true)) {
                    (_, Err(refused)) => *refused,
                    (None, _) => answer::problem(StatusCode::NOT_FOUND, "not-found", "expected /breakers/SCOPE/WORD"),
                    (Some([scope, word]), _) => ordered(self.control.tell_breaker(scope, word)),
                };
                self.logged(endpoint, &path, done)
            }
            Endpoint::Policy => {
                let done = match (words::<3>(&path), parse::<SwitchOrder>(&order, true)) {
                    (_, Err(refused)) => *refused,
                    (None, _) => {
                        answer::problem(StatusCode::NOT_FOUND, "not-found", "expected /policies/ROUTE/POLICY/WORD")
                    }
                    (Some([route, policy, word]), Ok(order)) => {
                        ordered(self.control.switch(route, policy, word, order.time()))
                    }
                };
                self.logged(endpoint, &path, done)
            }
            Endpoint::Resolve => self.resolve(&path, &order).await,
            _ => {
                let done = match self.control.reload().await {
                    Ok(changes) => answer::json(StatusCode::OK, &changes),
                    Err(errors) => {
                        let detail = "the former configuration stays in place";
                        let status = StatusCode::UNPROCESSABLE_ENTITY;
                        answer::problem_with(status, "configuration-refused", detail, Some(errors))
                    }
                };
                self.logged(endpoint, "", done)
            }
        }
    }

    /// Two steps: the first tells what would be done, and what confirms it; the second does it, and is logged.
    async fn resolve(&self, path: &str, body: &[u8]) -> Answer {
        let Some([hash, "resolve"]) = words::<2>(path) else {
            let problem = answer::problem(StatusCode::NOT_FOUND, "not-found", "expected /idempotency/HASH/resolve");
            return self.logged(Endpoint::Resolve, path, problem);
        };
        let order = match parse::<ResolveOrder>(body, false) {
            Ok(order) => order,
            Err(refused) => return self.logged(Endpoint::Resolve, path, *refused),
        };
        let said = format!("{hash} as {} by {}", order.outcome.as_str(), order.operator);
        if let Err(detail) = order.check() {
            return self.logged(
                Endpoint::Resolve,
                &said,
                answer::problem(StatusCode::BAD_REQUEST, "bad-request", detail),
            );
        }
        let done = ordered(self.control.resolve(hash, &order).await);
        if order.confirm.is_none() && done.status().is_success() {
            return done;
        }
        self.logged(Endpoint::Resolve, &said, done)
    }

    async fn drain(&self, order: DrainOrder) -> Answer {
        let mut drained = self.control.drained();
        self.control.drain(order.exit);
        self.log(Endpoint::Drain, if order.exit { "exit" } else { "stay" }, StatusCode::OK);
        // An error means that the process is past all that: drained.
        let done = if order.wait { drained.wait_for(|done| *done).await.is_ok() } else { *drained.borrow() };
        let state = if done || order.wait { "drained" } else { "draining" };
        answer::json(StatusCode::OK, &json!({ "state": state, "exit": order.exit }))
    }

    fn logged(&self, endpoint: Endpoint, order: &str, answer: Answer) -> Answer {
        self.log(endpoint, order, answer.status());
        answer
    }

    /// Each write is one line: who, what, and what became of it.
    fn log(&self, endpoint: Endpoint, order: &str, status: StatusCode) {
        let action = match endpoint {
            Endpoint::Drain => "drain",
            Endpoint::Reload => "reload",
            Endpoint::Purge => "purge",
            Endpoint::Breaker => "breaker",
            Endpoint::Policy => "policy",
            Endpoint::Resolve => "idempotency",
            _ => "log-level",
        };
        let result = result_word(status);
        tracing::info!(event = "admin", peer = %self.peer, action, order, result, status = status.as_u16());
    }
}

/// An order that takes no body.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Empty {}

fn ordered(done: Result<Value, Order>) -> Answer {
    match done {
        Ok(done) => answer::json(StatusCode::OK, &done),
        Err(Order::Unknown(detail)) => answer::problem(StatusCode::NOT_FOUND, "not-found", &detail),
        Err(Order::Impossible(detail)) => answer::problem(StatusCode::UNPROCESSABLE_ENTITY, "impossible", &detail),
    }
}

fn refuse(status: StatusCode, word: &str, detail: &str) -> Refused {
    answer::problem(status, word, detail).into()
}

async fn body(request: Request<Incoming>) -> Result<Bytes, Refused> {
    let collected = Limited::new(request.into_body(), MAX_BODY).collect();
    match tokio::time::timeout(BODY_TIMEOUT, collected).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(e)) if e.is::<LengthLimitError>() => {
            Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "expected at most 16KiB"))
        }
        Ok(Err(_)) => Err(refuse(StatusCode::BAD_REQUEST, "bad-request", "the body broke off")),
        Err(_) => Err(refuse(StatusCode::REQUEST_TIMEOUT, "timeout", "the body did not arrive in time")),
    }
}

fn parse<T: DeserializeOwned>(body: &[u8], empty_is_default: bool) -> Result<T, Refused> {
    let body = if body.is_empty() && empty_is_default { b"{}" } else { body };
    // A list would be read as the fields of an order in their order, which nobody has been told.
    if body.trim_ascii_start().starts_with(b"[") {
        return Err(refuse(StatusCode::BAD_REQUEST, "bad-request", "expected an object, got a list"));
    }
    serde_json::from_slice(body).map_err(|e| refuse(StatusCode::BAD_REQUEST, "bad-request", &e.to_string()))
}
