//! The request as the application gets it: routing, hop-by-hop rules, Host, who asked, tracing, framing.

use std::str::FromStr;

use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Uri, Version, header};
use pingora::http::RequestHeader;

use super::context::Context;
use super::{forwarded, hop};
use crate::config::{Direction, HostHeader};
use crate::refusal::{Reason, Refusal};
use crate::route::table::Route;
use crate::upstream::endpoint::Endpoint;

/// How the body that follows is framed towards the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    None,
    /// So many bytes, all at hand or still to come.
    Length(u64),
    /// Unknown.
    Chunked,
}

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The head for one attempt at `endpoint`.
pub(super) fn head(
    received: &RequestHeader,
    cx: &Context,
    route: &Route,
    endpoint: &Endpoint,
    framing: Framing,
    websocket: bool,
    to_http2: bool,
) -> Result<Box<RequestHeader>, Refusal> {
    build(received, cx, route, endpoint, framing, websocket, to_http2)
        .map_err(|_| Refusal::new(Reason::BadRequest, "the request cannot be forwarded"))
}

fn build(
    received: &RequestHeader,
    cx: &Context,
    route: &Route,
    endpoint: &Endpoint,
    framing: Framing,
    websocket: bool,
    to_http2: bool,
) -> pingora::Result<Box<RequestHeader>> {
    let mut head = Box::new(received.clone());
    head.set_version(Version::HTTP_11);
    set_target(&mut head, route)?;
    strip(&mut head, websocket, to_http2);
    set_framing(&mut head, framing, to_http2)?;
    let host = match &route.upstream.host {
        HostHeader::Preserve => cx.host.clone(),
        HostHeader::Endpoint => HeaderValue::from_str(&endpoint.authority).ok(),
        HostHeader::Name(name) => HeaderValue::from_str(name).ok(),
    };
    let host =
        host.unwrap_or_else(|| HeaderValue::from_str(&endpoint.authority).unwrap_or(HeaderValue::from_static("")));
    if to_http2 {
        set_authority(&mut head, &host, route.upstream.is_over_tls())?;
    } else {
        // Inserted even where it is the same: an HTTP/2 request has it in `:authority` alone.
        head.insert_header(header::HOST, host)?;
    }
    if cx.listener.direction == Direction::Inbound {
        forwarded::tell(&mut head, &cx.listener, cx.peer, cx.host.as_ref())?;
    }
    trace(&mut head, cx)?;
    join_cookies(&mut head)?;
    for name in &route.request_headers.remove {
        remove(&mut head, name);
    }
    for (name, value) in &route.request_headers.set {
        head.insert_header(name.clone(), value.clone())?;
    }
    for (name, value) in &route.request_headers.add {
        head.append_header(name.clone(), value.clone())?;
    }
    Ok(head)
}

/// Origin form, rewritten where the route says so. What is matched and logged stays what was received.
fn set_target(head: &mut RequestHeader, route: &Route) -> pingora::Result<()> {
    let invalid = |_| pingora::Error::new(pingora::ErrorType::InvalidHTTPHeader);
    let rewritten = route.rewritten(head.uri.path(), head.uri.query());
    if let Some(target) = rewritten {
        head.set_uri(Uri::from(PathAndQuery::from_str(&target).map_err(invalid)?));
    } else if head.uri.authority().is_some() || head.raw_path().first() != Some(&b'/') {
        let path = head.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        // `OPTIONS *` stays as it is.
        if head.raw_path() != b"*" {
            head.set_uri(Uri::from(path));
        }
    }
    Ok(())
}

/// HTTP/2 has Host in its target, and one of it.
fn set_authority(head: &mut RequestHeader, host: &HeaderValue, tls: bool) -> pingora::Result<()> {
    let invalid = |_| pingora::Error::new(pingora::ErrorType::InvalidHTTPHeader);
    let path = head.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    let uri = Uri::builder().scheme(if tls { "https" } else { "http" }).authority(host.as_bytes()).path_and_query(path);
    head.set_uri(uri.build().map_err(invalid)?);
    remove(head, &header::HOST);
    Ok(())
}

fn strip(head: &mut RequestHeader, websocket: bool, to_http2: bool) {
    let trailers =
        to_http2 && head.headers.get(header::TE).is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"trailers"));
    for name in hop::nominated(&head.headers) {
        remove(head, &name);
    }
    let names: [HeaderName; 9] = [
        header::CONNECTION,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        HeaderName::from_static("http2-settings"),
        header::PROXY_AUTHORIZATION,
        header::TRANSFER_ENCODING,
        header::TRAILER,
        header::EXPECT,
        header::TE,
    ];
    for name in &names {
        if !(trailers && *name == header::TE) {
            remove(head, name);
        }
    }
    remove(head, &header::UPGRADE);
    if websocket {
        let _ = head.insert_header(header::UPGRADE, HeaderValue::from_static("websocket"));
        let _ = head.insert_header(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    }
}

fn set_framing(head: &mut RequestHeader, framing: Framing, to_http2: bool) -> pingora::Result<()> {
    match framing {
        // A zero that came stays: some applications want it.
        Framing::None => {}
        Framing::Length(n) => {
            if !head.headers.contains_key(header::CONTENT_LENGTH) {
                head.insert_header(header::CONTENT_LENGTH, HeaderValue::from(n))?;
            }
        }
        Framing::Chunked if !to_http2 => {
            head.insert_header(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"))?;
        }
        Framing::Chunked => {}
    }
    Ok(())
}

fn trace(head: &mut RequestHeader, cx: &Context) -> pingora::Result<()> {
    if let Ok(id) = HeaderValue::from_str(&cx.id) {
        head.insert_header(REQUEST_ID.clone(), id)?;
    }
    if !cx.traced {
        // What is malformed is not passed on, and its state says nothing any more.
        remove(head, &TRACESTATE);
        if let Some(trace) = &cx.trace
            && let Ok(value) = HeaderValue::from_str(&trace.child(fastrand::u64(1..)))
        {
            head.insert_header(TRACEPARENT.clone(), value)?;
        }
    }
    Ok(())
}

/// HTTP/2 clients split Cookie for compression; HTTP/1 has one line of it (RFC 9113 8.2.3).
fn join_cookies(head: &mut RequestHeader) -> pingora::Result<()> {
    if head.headers.get_all(header::COOKIE).iter().nth(1).is_none() {
        return Ok(());
    }
    let crumbs: Vec<&[u8]> = head.headers.get_all(header::COOKIE).iter().map(|v| v.as_bytes()).collect();
    let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) else { return Ok(()) };
    head.insert_header(header::COOKIE, cookie)
}

fn remove(head: &mut RequestHeader, name: &HeaderName) {
    head.remove_header(name);
}
