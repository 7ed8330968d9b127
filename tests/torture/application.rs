//! An application that knows nothing of keys: it charges for every request that it gets, appends the charge to its ledger,
//! and then answers, or does not. What it does is drawn from the key and from how often it saw it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use super::history::{Book, Said, Verdict};

/// Longer than `timeouts.total` of the sidecars, and shorter than what the end of a run waits for.
const HANG: Duration = Duration::from_millis(2200);

/// Longer than `max_response` of the sidecars.
const TOO_LONG: usize = 70_000;

pub(super) struct Application {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    book: Arc<Book>,
    seed: u64,
    /// Ends every connection: the application dies, and another is there at once.
    dies: Box<dyn Fn() + Send + Sync>,
    charges: AtomicU64,
    busy: AtomicUsize,
}

impl Application {
    /// What connects it to the world is given once the world can: it listens first.
    pub(super) fn start(
        listener: TcpListener,
        book: Arc<Book>,
        seed: u64,
        dies: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let (charges, busy) = (AtomicU64::new(1), AtomicUsize::new(0));
        let shared = Arc::new(Shared { book, seed, dies: Box::new(dies), charges, busy });
        let told = shared.clone();
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let told = told.clone();
                std::thread::spawn(move || {
                    let _ = connection(stream, &told);
                });
            }
        });
        Application { address, shared }
    }

    /// Whether it is at work on something: a late charge may still come.
    pub(super) fn is_busy(&self) -> bool {
        self.shared.busy.load(SeqCst) > 0
    }
}

/// A request, and all that is known of it.
struct Work<'a> {
    shared: &'a Shared,
    stream: &'a mut TcpStream,
    key: &'a str,
    /// How often this key came before.
    which: usize,
    amount: u64,
    random: fastrand::Rng,
}

/// How an answer is told to end, and where it ends after all.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Length,
    Chunked,
    /// By the end of the connection.
    Close,
    /// Cut after the head, or in the body.
    CutHead,
    CutBody,
}

fn connection(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buf = Vec::new();
    while let Some((key, body)) = request(&mut stream, &mut buf)? {
        shared.busy.fetch_add(1, SeqCst);
        let which = shared.book.receives(&key);
        let number = key.bytes().fold(0u64, |n, b| n.wrapping_mul(31).wrapping_add(u64::from(b)));
        let random = fastrand::Rng::with_seed(shared.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ which as u64);
        let amount = body.as_ref().and_then(|body| serde_json::from_slice::<serde_json::Value>(body).ok());
        let amount = amount.and_then(|body| body["amount"].as_u64());
        let again = match amount {
            Some(amount) => Work { shared, stream: &mut stream, key: &key, which, amount, random }.run(),
            // Half a request is charged by nobody.
            None => Ok(false),
        };
        shared.busy.fetch_sub(1, SeqCst);
        if !again? {
            return Ok(());
        }
    }
    Ok(())
}

impl Work<'_> {
    /// Whether the connection can be used again.
    fn run(mut self) -> std::io::Result<bool> {
        let pause = match self.random.u8(..) {
            0..=127 => 0,
            128..=229 => self.random.u64(0..30),
            _ => self.random.u64(0..500),
        };
        std::thread::sleep(Duration::from_millis(pause));
        let framing = if self.random.u8(0..4) == 0 { Ending::Chunked } else { Ending::Length };
        let one_of = |random: &mut fastrand::Rng, of: &[u16]| of[random.usize(0..of.len())];
        match self.random.u16(0..1000) {
            0..=579 => {
                let charge = self.charge();
                let status = one_of(&mut self.random, &[200, 201, 201, 201]);
                self.answer("charged and answered", Verdict::Kept, status, Some(charge), framing)
            }
            580..=649 => {
                let charge = self.charge();
                self.answer("charged and answered 500", Verdict::Kept, 500, Some(charge), framing)
            }
            650..=739 => {
                let status = one_of(&mut self.random, &[400, 402, 404, 422]);
                self.answer("declined", Verdict::Kept, status, None, framing)
            }
            740..=819 => {
                let status = one_of(&mut self.random, &[401, 403, 409, 425, 429]);
                self.answer("sent it back", Verdict::Released, status, None, framing)
            }
            820..=839 => {
                let charge = self.charge();
                let status = one_of(&mut self.random, &[408, 502, 503, 504]);
                self.answer("charged and did not know", Verdict::Unknown, status, Some(charge), framing)
            }
            840..=859 => {
                let status = one_of(&mut self.random, &[408, 502, 503, 504]);
                self.answer("did not know", Verdict::Unknown, status, None, framing)
            }
            860..=874 => self.breaks("broke off", false),
            875..=899 => self.breaks("charged and broke off", true),
            900..=914 => self.cut("charged and broke off after the head", Ending::CutHead),
            915..=934 => self.cut("charged and broke off in the body", Ending::CutBody),
            935..=944 => self.hangs("hung, charged, and answered too late", true),
            945..=952 => self.hangs("hung", false),
            953..=971 => self.cut("charged and answered without an end", Ending::Close),
            972..=989 => self.too_long(framing),
            990..=995 => self.dies(),
            _ => {
                self.does("charged and answered nonsense", Verdict::Unknown, None);
                self.charge();
                self.stream.write_all(b"HTTP/1.1 2\r\n\0\xff\r\n\r\n")?;
                Ok(false)
            }
        }
    }

    fn does(&self, did: &'static str, verdict: Verdict, said: Option<Said>) {
        self.shared.book.does(self.key, self.which, did, verdict, said);
    }

    fn charge(&self) -> u64 {
        let id = self.shared.charges.fetch_add(1, SeqCst);
        self.shared.book.charges(self.key, id, self.amount);
        id
    }

    fn body(&mut self, charge: Option<u64>) -> Vec<u8> {
        let mut body = serde_json::json!({ "charge": charge, "key": self.key }).to_string().into_bytes();
        body.push(b'\n');
        let more = if self.random.u8(0..10) == 0 { 20_000 } else { 1500 };
        body.extend((0..self.random.usize(1..more)).map(|_| self.random.u8(..)));
        body
    }

    fn answer(
        &mut self,
        did: &'static str,
        verdict: Verdict,
        status: u16,
        charge: Option<u64>,
        ending: Ending,
    ) -> std::io::Result<bool> {
        let body = self.body(charge);
        self.write(did, verdict, status, &body, ending)
    }

    fn write(
        &mut self,
        did: &'static str,
        verdict: Verdict,
        status: u16,
        body: &[u8],
        ending: Ending,
    ) -> std::io::Result<bool> {
        let types = ["application/octet-stream", "application/vnd.payment+bin; version=\"1\"", "text/x-receipt"];
        let content_type = types[self.random.usize(0..types.len())];
        let cut = matches!(ending, Ending::CutHead | Ending::CutBody);
        let said = (!cut).then(|| Said::new(status, content_type, body));
        self.does(did, verdict, said);
        let framed = match ending {
            Ending::Chunked => "Transfer-Encoding: chunked\r\n".to_owned(),
            Ending::Close => "Connection: close\r\n".to_owned(),
            _ => format!("Content-Length: {}\r\n", body.len()),
        };
        let mut out = format!("HTTP/1.1 {status} Status\r\nContent-Type: {content_type}\r\n{framed}\r\n").into_bytes();
        let half = self.random.usize(1..body.len());
        for part in [&body[..half], &body[half..]] {
            if ending == Ending::Chunked {
                out.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
            }
            if ending != Ending::CutHead {
                out.extend_from_slice(part);
            }
            if ending == Ending::Chunked {
                out.extend_from_slice(b"\r\n");
            }
            if cut || self.random.u8(0..4) == 0 {
                self.stream.write_all(&out)?;
                out.clear();
                std::thread::sleep(Duration::from_millis(self.random.u64(0..20)));
            }
            if cut {
                self.reset();
                return Ok(false);
            }
        }
        if ending == Ending::Chunked {
            out.extend_from_slice(b"0\r\n\r\n");
        }
        self.stream.write_all(&out)?;
        self.shared.book.wrote(self.key, self.which);
        Ok(ending != Ending::Close)
    }

    fn cut(&mut self, did: &'static str, ending: Ending) -> std::io::Result<bool> {
        let charge = self.charge();
        self.answer(did, Verdict::Unknown, 201, Some(charge), ending)
    }

    fn breaks(&mut self, did: &'static str, charged: bool) -> std::io::Result<bool> {
        self.does(did, Verdict::Unknown, None);
        if charged {
            self.charge();
        }
        self.reset();
        Ok(false)
    }

    fn hangs(&mut self, did: &'static str, charged: bool) -> std::io::Result<bool> {
        self.does(did, Verdict::Unknown, None);
        std::thread::sleep(HANG);
        if charged {
            let charge = self.charge();
            // The sidecar has gone: that it cannot be written is no news.
            let _ = self.answer(did, Verdict::Unknown, 201, Some(charge), Ending::Length);
        }
        Ok(false)
    }

    fn too_long(&mut self, framing: Ending) -> std::io::Result<bool> {
        let charge = self.charge();
        let mut body = self.body(Some(charge));
        let length = TOO_LONG + self.random.usize(0..30_000);
        let fill = self.random.u8(..);
        body.resize(length, fill);
        self.write("charged and answered more than is kept", Verdict::NotKept, 201, &body, framing)
    }

    fn dies(&mut self) -> std::io::Result<bool> {
        self.does("charged and died", Verdict::Unknown, None);
        self.charge();
        (self.shared.dies)();
        Ok(false)
    }

    /// The end of the connection is a reset, or looks as if all were well.
    fn reset(&mut self) {
        if self.random.bool() {
            let _ = socket2::SockRef::from(&*self.stream).set_linger(Some(Duration::ZERO));
        }
    }
}

/// The key of the next request, and its body, where it came whole; nothing at the end of the connection.
fn request(stream: &mut TcpStream, buf: &mut Vec<u8>) -> std::io::Result<Option<(String, Option<Vec<u8>>)>> {
    let mut more = |buf: &mut Vec<u8>| -> std::io::Result<bool> {
        let mut part = [0; 16 << 10];
        let n = stream.read(&mut part)?;
        buf.extend_from_slice(&part[..n]);
        Ok(n > 0)
    };
    let end = loop {
        match buf.windows(4).position(|w| w == b"\r\n\r\n") {
            Some(at) => break at + 4,
            None if more(buf)? => {}
            None => return Ok(None),
        }
    };
    let head: Vec<u8> = buf.drain(..end).collect();
    let head = String::from_utf8_lossy(&head).into_owned();
    let field = |name: &str| {
        let fields = head.split("\r\n").filter_map(|line| line.split_once(':'));
        let mut found = fields.filter(|(n, _)| n.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.trim().to_owned())
    };
    // The key is passed on in whatever form it came.
    let key = field("idempotency-key").unwrap_or_else(|| "no key".to_owned()).trim_matches('"').to_owned();
    if field("transfer-encoding").is_some() {
        let mut body = Vec::new();
        loop {
            let line = loop {
                match buf.windows(2).position(|w| w == b"\r\n") {
                    Some(at) => break at,
                    None if more(buf).unwrap_or(false) => {}
                    None => return Ok(Some((key, None))),
                }
            };
            let size = usize::from_str_radix(&String::from_utf8_lossy(&buf[..line]), 16).unwrap();
            while buf.len() < line + 2 + size + 2 {
                if !more(buf).unwrap_or(false) {
                    return Ok(Some((key, None)));
                }
            }
            body.extend_from_slice(&buf[line + 2..line + 2 + size]);
            buf.drain(..line + 2 + size + 2);
            if size == 0 {
                return Ok(Some((key, Some(body))));
            }
        }
    }
    let length = field("content-length").map_or(0, |length| length.parse().unwrap());
    while buf.len() < length {
        if !more(buf).unwrap_or(false) {
            return Ok(Some((key, None)));
        }
    }
    Ok(Some((key, Some(buf.drain(..length).collect()))))
}
