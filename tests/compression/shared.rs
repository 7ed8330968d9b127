//! Bodies, answers and what a client makes of them.

use outboard::codec;
use outboard::policy::compression::Coding;

use crate::common::*;

/// No test has a longer body.
const MOST: usize = 64 << 20;

/// So many bytes of JSON, as an API answers it.
pub(crate) fn json(length: usize) -> String {
    let mut text = String::from("[");
    let mut n = 0u64;
    while text.len() < length {
        n += 1;
        let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        text.push_str(&format!(
            "{{\"id\":\"pay_{mixed:08x}\",\"amount\":{},\"status\":\"succeeded\"}},",
            mixed % 100_000
        ));
    }
    text.truncate(length);
    text
}

/// 200 of JSON with these field lines, each with its line end.
pub(crate) fn answer(fields: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// An application that answers every request so.
pub(crate) fn answers(fields: &str, body: impl AsRef<[u8]>) -> Origin {
    Origin::answer(answer(fields, body))
}

/// An application and a proxy before it; `more` is the rest of the configuration.
pub(crate) fn proxy(origin: &Origin, more: &str) -> Proxy {
    Proxy::start(&yaml(origin, more))
}

/// GET with these fields, over a connection of its own.
#[track_caller]
pub(crate) fn get(proxy: &Proxy, target: &str, fields: &[(&str, &str)]) -> Response {
    ask(proxy, "GET", target, fields, b"")
}

/// A request and its answer, over a connection of its own.
#[track_caller]
pub(crate) fn ask(proxy: &Proxy, method: &str, target: &str, fields: &[(&str, &str)], body: &[u8]) -> Response {
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request(method, target, fields, body);
    client.try_read_response(method).unwrap()
}

/// GET by a client that takes this.
#[track_caller]
pub(crate) fn get_as(proxy: &Proxy, target: &str, accepts: &str) -> Response {
    get(proxy, target, &[("Accept-Encoding", accepts)])
}

pub(crate) fn coding(name: &str) -> Coding {
    Coding::from_name(name.as_bytes()).unwrap_or_else(|| panic!("the coding {name}"))
}

/// The body as its reader sees it.
#[track_caller]
pub(crate) fn plain(answer: &Response) -> String {
    let encodings = answer.header_all("content-encoding");
    assert!(encodings.len() < 2, "{encodings:?}");
    match encodings.first() {
        None => answer.text(),
        Some(name) => decoded(name, &answer.body),
    }
}

#[track_caller]
pub(crate) fn decoded(name: &str, body: &[u8]) -> String {
    String::from_utf8(codec::decode(coding(name), body, MOST).unwrap()).unwrap()
}

pub(crate) fn encoded(name: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    codec::encode(coding(name), 3, body.as_ref()).unwrap()
}

/// What was decoded of a body while it comes.
pub(crate) struct Reader(codec::Decoder);

impl Reader {
    pub(crate) fn new(name: &str) -> Reader {
        Reader(codec::Decoder::new(coding(name)).unwrap())
    }

    pub(crate) fn read(&mut self, mut chunk: &[u8]) -> String {
        let mut out = Vec::new();
        while self.0.write(&mut chunk, &mut out).unwrap() {}
        String::from_utf8(out).unwrap()
    }

    /// Whether the body ended where it should.
    pub(crate) fn ends(self) -> bool {
        self.0.finish().is_ok()
    }
}

/// One length or chunks, never both; the answer of a connection that goes on.
#[track_caller]
pub(crate) fn is_framed_once(answer: &Response) {
    let (lengths, chunked) = (answer.header_all("content-length"), answer.header_all("transfer-encoding"));
    assert_eq!(lengths.len() + chunked.len(), 1, "{lengths:?} {chunked:?}");
}

/// A counter of a coding.
pub(crate) fn bytes(proxy: &Proxy, encoding: &str, side: &str) -> f64 {
    proxy.metric(&format!("outboard_compression_bytes_total{{encoding=\"{encoding}\",side=\"{side}\"}}"))
}

/// How often something was encoded into a coding.
pub(crate) fn encodings(proxy: &Proxy, encoding: &str) -> f64 {
    proxy.metric(&format!("outboard_compression_seconds_count{{encoding=\"{encoding}\"}}"))
}

/// A route with a cache for everything, whose answers live for a minute; `more` stands beside it in the route.
pub(crate) fn cached(more: &str) -> String {
    format!("routes: [{{ name: all, cache: {{ freshness: override, ttl: 1m }}{more} }}]")
}
