//! Step 9: what a request counts into, and its line in the access log.

use std::sync::Arc;

use http::StatusCode;

use super::Proxy;
use super::context::Context;
use crate::observe::log::{AccessRecord, wanted};
use crate::observe::metrics::{MethodLabel, RouteMetrics};

/// Counts and logs a request that has ended.
pub(super) fn end(proxy: &Proxy, cx: &Context) {
    let duration = cx.started.elapsed();
    let metrics: &Arc<RouteMetrics> = cx.route.as_ref().map_or(&proxy.unrouted, |r| &r.metrics);
    // What the client was told; an application that says 999 is counted as a failure.
    let status = StatusCode::from_u16(cx.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    metrics.finish(MethodLabel::from(&cx.method), status, duration.as_secs_f64());
    if let Some(reason) = cx.reason {
        metrics.refused(reason);
    } else if cx.client_left {
        metrics.refused(crate::refusal::Reason::ClientLeft);
    }
    let access = &cx.state.access;
    if !wanted(access, cx.status, cx.reason.is_some() || cx.client_left, duration, fastrand::f64()) {
        return;
    }
    let names = &cx.state.logged_headers;
    let headers: Vec<(&str, &[u8])> =
        names.iter().zip(&cx.logged).filter_map(|(n, v)| Some((n.as_str(), v.as_ref()?.as_bytes()))).collect();
    proxy.access_log.record(&AccessRecord {
        request_id: &cx.id,
        trace: cx.trace,
        listener: &cx.listener.name,
        client: cx.client_ip,
        method: cx.method.as_str(),
        host: cx.host.as_ref().map_or(b"", |h| h.as_bytes()),
        path: cx.uri.path().as_bytes(),
        query: cx.uri.query().map(str::as_bytes),
        protocol: cx.protocol,
        route: cx.route.as_ref().map(|r| r.name.as_str()),
        upstream: cx.route.as_ref().map(|r| r.upstream.name.as_str()),
        endpoint: cx.endpoint.as_ref().map(|e| &*e.label),
        status: cx.status,
        reason: cx.reason,
        duration,
        queued: cx.queued,
        upstream_first_byte: cx.first_byte,
        attempts: cx.attempts,
        reused: cx.reused,
        replayed: cx.replayed,
        request_bytes: cx.request_bytes,
        response_bytes: cx.response_bytes,
        upstream_sent: cx.sent,
        upstream_bytes_sent: cx.upstream_sent,
        upstream_bytes_received: cx.upstream_received,
        client_left: cx.client_left,
        tls: cx.listener.tls,
        config_hash: &cx.state.hash,
        request_headers: &headers,
    });
}
