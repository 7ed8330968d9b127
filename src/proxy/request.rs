//! The request as the application gets it: target, hop-by-hop rules, Host, who asked, tracing, framing.
//!
//! One set of rules, written into one of two forms: straight to the wire for HTTP/1, where copying the fields into a map
//! and back would cost more than everything else here, and into a header map for HTTP/2.

use std::fmt::Write as _;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version, header};
use pingora::http::RequestHeader;

use super::context::Context;
use super::{forwarded, hop};
use crate::config::{Direction, HostHeader};
use crate::policy::compression::etag;
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

/// What the application is asked, and by which rules.
pub(super) struct Outgoing<'r> {
    pub(super) received: &'r RequestHeader,
    pub(super) cx: &'r Context,
    pub(super) route: &'r Route,
    pub(super) endpoint: &'r Endpoint,
    pub(super) framing: Framing,
    pub(super) websocket: bool,
    /// Its conditions are a client's: they speak of the tags that it was sent, which are not all the application's.
    pub(super) marked: bool,
}

/// A form that a head is written in.
trait Form {
    fn field(&mut self, name: &[u8], value: &[u8]);
}

/// Writes the head for HTTP/1.
pub(super) fn http1(outgoing: &Outgoing<'_>, out: &mut Vec<u8>) {
    struct Wire<'o>(&'o mut Vec<u8>);
    impl Form for Wire<'_> {
        fn field(&mut self, name: &[u8], value: &[u8]) {
            self.0.extend_from_slice(name);
            self.0.extend_from_slice(b": ");
            self.0.extend_from_slice(value);
            self.0.extend_from_slice(b"\r\n");
        }
    }
    out.reserve(1024);
    out.extend_from_slice(outgoing.cx.method.as_str().as_bytes());
    out.push(b' ');
    let target = outgoing.rewritten();
    out.extend_from_slice(target.as_deref().unwrap_or_else(|| outgoing.target()).as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    fields(outgoing, false, &mut Wire(out));
    out.extend_from_slice(b"\r\n");
}

/// Builds the head for HTTP/2.
pub(super) fn http2(outgoing: &Outgoing<'_>) -> Result<Box<RequestHeader>, Refusal> {
    struct Map(RequestHeader);
    impl Form for Map {
        fn field(&mut self, name: &[u8], value: &[u8]) {
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
                let _ = self.0.append_header(name, value);
            }
        }
    }
    let cannot = || Refusal::new(Reason::BadRequest, "the request cannot be forwarded");
    let target = outgoing.rewritten();
    let target: PathAndQuery = target.as_deref().unwrap_or_else(|| outgoing.target()).parse().map_err(|_| cannot())?;
    let mut head = RequestHeader::build_no_case(outgoing.cx.method.clone(), b"/", Some(16)).map_err(|_| cannot())?;
    head.set_version(Version::HTTP_2);
    let mut map = Map(head);
    fields(outgoing, true, &mut map);
    let mut head = map.0;
    // HTTP/2 has Host in its target, and nowhere else.
    let host = head.remove_header(&header::HOST);
    let scheme = if outgoing.route.upstream.is_over_tls() { "https" } else { "http" };
    let uri = Uri::builder().scheme(scheme).authority(host.as_ref().map_or(&b""[..], |h| h.as_bytes()));
    head.set_uri(uri.path_and_query(target).build().map_err(|_| cannot())?);
    Ok(Box::new(head))
}

impl Outgoing<'_> {
    fn rewritten(&self) -> Option<String> {
        self.route.rewritten(self.received.uri.path(), self.received.uri.query())
    }

    /// Origin form, whatever form it came in. `OPTIONS *` stays as it is.
    fn target(&self) -> &str {
        if self.received.raw_path() == b"*" {
            return "*";
        }
        self.received.uri.path_and_query().map_or("/", |p| if p.as_str().is_empty() { "/" } else { p.as_str() })
    }

    fn inbound(&self) -> bool {
        self.cx.listener.direction == Direction::Inbound
    }
}

/// What happens to a field that came.
enum Fate {
    /// It goes on.
    Kept,
    /// It ends here, or is written anew.
    Dropped,
    /// A list that is gone on with.
    ForwardedFor,
    Forwarded,
    Cookie,
    /// A list of tags; the application's own are asked for.
    Tags,
    /// A tag or a date.
    IfRange,
}

fn fields(outgoing: &Outgoing<'_>, to_http2: bool, form: &mut impl Form) {
    let Outgoing { received, cx, route, .. } = outgoing;
    let nominated = hop::nominated(&received.headers);
    let mut sums = Sums::default();
    cx.spelling.each(&received.headers, |name, spelled, value| {
        let value = value.as_bytes();
        match fate(name, outgoing) {
            _ if nominated.contains(name) => {}
            Fate::Dropped => {}
            Fate::ForwardedFor => join(&mut sums.forwarded_for, b", ", value),
            Fate::Forwarded => join(&mut sums.forwarded, b", ", value),
            Fate::Cookie => join(&mut sums.cookie, b"; ", value),
            Fate::Tags => form.field(spelled, &etag::received(value)),
            Fate::IfRange => etag::if_range(value).into_iter().for_each(|value| form.field(spelled, &value)),
            Fate::Kept => {
                let plain = name.as_str();
                sums.proto |= plain == "x-forwarded-proto";
                sums.host |= plain == "x-forwarded-host";
                sums.length |= *name == header::CONTENT_LENGTH;
                form.field(spelled, value);
            }
        }
    });
    let mut own = |name: &str, value: &[u8]| {
        if !set_by_route(route, name.as_bytes()) {
            form.field(name.as_bytes(), value);
        }
    };
    host(outgoing, &mut own);
    if !sums.cookie.is_empty() {
        own("Cookie", &sums.cookie);
    }
    if outgoing.inbound() {
        forwarded::tell(cx, &mut sums, &mut own);
    }
    own("X-Request-Id", cx.id.as_bytes());
    if let (false, Some(trace)) = (cx.traced, &cx.trace) {
        own("traceparent", trace.child(fastrand::u64(1..)).as_bytes());
    }
    frame(outgoing, to_http2, sums.length, &mut own);
    for (name, value) in route.request_headers.set.iter().chain(&route.request_headers.add) {
        form.field(name.as_str().as_bytes(), value.as_bytes());
    }
}

/// What is gathered from the fields that came.
#[derive(Default)]
pub(super) struct Sums {
    pub(super) forwarded_for: Vec<u8>,
    pub(super) forwarded: Vec<u8>,
    /// HTTP/2 clients split Cookie for compression; HTTP/1 has one line of it (RFC 9113 8.2.3).
    cookie: Vec<u8>,
    pub(super) proto: bool,
    pub(super) host: bool,
    length: bool,
}

fn join(list: &mut Vec<u8>, separator: &[u8], value: &[u8]) {
    if !list.is_empty() {
        list.extend_from_slice(separator);
    }
    list.extend_from_slice(value);
}

fn fate(name: &HeaderName, outgoing: &Outgoing<'_>) -> Fate {
    let plain = name.as_str();
    if hop::is_hop_by_hop(plain.as_bytes()) || outgoing.route.request_headers.drops(name) {
        return Fate::Dropped;
    }
    match plain {
        "host" | "expect" | "x-request-id" | "http2-settings" => Fate::Dropped,
        "cookie" => Fate::Cookie,
        // What is malformed is not passed on, and its state says nothing any more.
        "tracestate" | "traceparent" if !outgoing.cx.traced => Fate::Dropped,
        "range" if outgoing.marked && continues_another(&outgoing.received.headers) => Fate::Dropped,
        "if-match" | "if-none-match" if outgoing.marked => Fate::Tags,
        "if-range" if outgoing.marked => Fate::IfRange,
        // Only what a trusted proxy said is still there.
        "forwarded" if outgoing.inbound() => Fate::Forwarded,
        "x-forwarded-for" if outgoing.inbound() => Fate::ForwardedFor,
        _ => Fate::Kept,
    }
}

/// Whether the client has a part of a body that the application does not know: it gets the whole of one.
fn continues_another(headers: &HeaderMap) -> bool {
    headers.get_all(header::IF_RANGE).iter().any(|value| etag::if_range(value.as_bytes()).is_none())
}

fn set_by_route(route: &Route, name: &[u8]) -> bool {
    route.request_headers.set.iter().any(|(n, _)| name.eq_ignore_ascii_case(n.as_str().as_bytes()))
}

/// Whether the application gets this field as it came: once, with a value, and neither ended nor written here. A key that
/// it does not get cannot tell it the second request from the first.
pub(super) fn is_passed_on(route: &Route, headers: &HeaderMap, name: &HeaderName) -> bool {
    let mut values = headers.get_all(name).iter();
    let single =
        values.next().is_some_and(|value| !value.as_bytes().trim_ascii().is_empty()) && values.next().is_none();
    let changes = &route.request_headers;
    let written = changes.drops(name) || changes.add.iter().any(|(n, _)| n == name);
    single && !written && !hop::nominated(headers).contains(name)
}

fn host(outgoing: &Outgoing<'_>, own: &mut impl FnMut(&str, &[u8])) {
    let received = outgoing.cx.host.as_ref().map(|h| h.as_bytes());
    let endpoint = outgoing.endpoint.authority.as_bytes();
    match &outgoing.route.upstream.host {
        // HTTP/1.0 may come without one.
        HostHeader::Preserve => own("Host", received.unwrap_or(endpoint)),
        HostHeader::Endpoint => own("Host", endpoint),
        HostHeader::Name(name) => own("Host", name.as_bytes()),
    }
}

fn frame(outgoing: &Outgoing<'_>, to_http2: bool, has_length: bool, own: &mut impl FnMut(&str, &[u8])) {
    match outgoing.framing {
        Framing::Length(n) if !has_length => {
            let mut length = String::new();
            let _ = write!(length, "{n}");
            own("Content-Length", length.as_bytes());
        }
        Framing::Chunked if !to_http2 => own("Transfer-Encoding", b"chunked"),
        Framing::None | Framing::Length(_) | Framing::Chunked => {}
    }
    if outgoing.websocket && !to_http2 {
        own("Upgrade", b"websocket");
        own("Connection", b"Upgrade");
    }
    let trailers = outgoing.received.headers.get(header::TE);
    if to_http2 && trailers.is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"trailers")) {
        own("te", b"trailers");
    }
}
