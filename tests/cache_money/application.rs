//! An application of HTTP/1 whose answers are slow, broken off, chunked or never come, as its story says.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// A request as the application got it.
pub(super) struct Request {
    pub(super) method: String,
    pub(super) target: String,
    fields: Vec<(String, String)>,
}

impl Request {
    /// The first field of this name, in lower case.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// How a body is told to end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Length,
    Chunked,
    Close,
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    /// Its fields but those that frame it.
    pub(super) fields: String,
    pub(super) body: Vec<u8>,
    pub(super) framing: Framing,
    /// It breaks off in the middle.
    pub(super) broken: bool,
    /// How long it takes from the middle of the body to its end.
    pub(super) pause: Duration,
    /// What is done in that pause.
    pub(super) meanwhile: Option<Box<dyn FnOnce() + Send>>,
}

impl Answer {
    pub(super) fn new(status: u16, fields: String, body: Vec<u8>) -> Answer {
        let (framing, broken, pause) = (Framing::Length, false, Duration::ZERO);
        Answer { status, fields, body, framing, broken, pause, meanwhile: None }
    }
}

/// What the application does with a request.
pub(super) enum Does {
    Answer(Answer),
    /// Ends the connection with a reset.
    Reset,
    /// Ends it as if all were well.
    Close,
}

/// An application; it runs until the tests end.
pub(super) struct Application {
    pub(super) address: SocketAddr,
}

impl Application {
    /// Each request is told to the story, on a thread of its connection.
    pub(super) fn start(story: impl Fn(&Request) -> Does + Send + Sync + 'static) -> Application {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let story = Arc::new(story);
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let story = story.clone();
                std::thread::spawn(move || {
                    let _ = connection(stream, &*story);
                });
            }
        });
        Application { address }
    }
}

fn connection(mut stream: TcpStream, story: &dyn Fn(&Request) -> Does) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buf = Vec::new();
    loop {
        let Some(request) = request(&mut stream, &mut buf)? else { return Ok(()) };
        match story(&request) {
            Does::Answer(answer) => {
                if !write(&mut stream, &request, answer)? {
                    return Ok(());
                }
            }
            Does::Reset => return socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)),
            Does::Close => return Ok(()),
        }
    }
}

fn request(stream: &mut TcpStream, buf: &mut Vec<u8>) -> std::io::Result<Option<Request>> {
    let mut part = [0; 4096];
    let mut more = |buf: &mut Vec<u8>| -> std::io::Result<bool> {
        let n = stream.read(&mut part)?;
        buf.extend_from_slice(&part[..n]);
        Ok(n > 0)
    };
    let end = loop {
        if let Some(at) = buf.windows(4).position(|w| w == b"\r\n\r\n") {
            break at;
        }
        if !more(buf)? {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buf[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let fields = lines.filter_map(|line| line.split_once(':'));
    let fields = fields.map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned())).collect();
    let request = Request { method, target, fields };
    let length = request.field("content-length").map_or(0, |length| length.parse().unwrap());
    while buf.len() < end + 4 + length {
        if !more(buf)? {
            return Ok(None);
        }
    }
    buf.drain(..end + 4 + length);
    Ok(Some(request))
}

/// Whether the connection can be used again.
fn write(stream: &mut TcpStream, request: &Request, answer: Answer) -> std::io::Result<bool> {
    let Answer { status, fields, body, framing, broken, pause, meanwhile } = answer;
    let bodiless = request.method == "HEAD" || status == 304;
    let framed = match framing {
        Framing::Length if status == 304 => String::new(),
        Framing::Length => format!("Content-Length: {}\r\n", body.len()),
        Framing::Chunked => "Transfer-Encoding: chunked\r\n".to_owned(),
        Framing::Close => "Connection: close\r\n".to_owned(),
    };
    let mut out = format!("HTTP/1.1 {status} Status\r\n{fields}{framed}\r\n").into_bytes();
    if bodiless {
        stream.write_all(&out)?;
        return Ok(framing != Framing::Close);
    }
    let half = body.len() / 2;
    let (one, other) = body.split_at(half);
    put(&mut out, one, framing);
    if broken || pause > Duration::ZERO || meanwhile.is_some() {
        stream.write_all(&out)?;
        out.clear();
        std::thread::sleep(pause);
        if broken {
            return Ok(false);
        }
        if let Some(meanwhile) = meanwhile {
            meanwhile();
        }
    }
    put(&mut out, other, framing);
    if framing == Framing::Chunked {
        out.extend_from_slice(b"0\r\n\r\n");
    }
    stream.write_all(&out)?;
    Ok(framing != Framing::Close)
}

fn put(out: &mut Vec<u8>, part: &[u8], framing: Framing) {
    if part.is_empty() {
        return;
    }
    match framing {
        Framing::Chunked => {
            out.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
            out.extend_from_slice(part);
            out.extend_from_slice(b"\r\n");
        }
        Framing::Length | Framing::Close => out.extend_from_slice(part),
    }
}
