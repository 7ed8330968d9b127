//! What the application answers, and who it names.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use outboard::codec;
use outboard::policy::compression::Coding;

use super::super::application::{Answer, Does, Framing, Request};

/// Who asks for what, as far as an answer may depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) auth: String,
    pub(crate) cookie: String,
    pub(crate) key: String,
    pub(crate) merchant: String,
    pub(crate) channel: String,
    pub(crate) language: String,
    pub(crate) path: String,
}

impl Default for Identity {
    fn default() -> Self {
        let none = || "-".to_owned();
        let (auth, cookie, key, merchant) = (none(), none(), none(), none());
        Identity { auth, cookie, key, merchant, channel: none(), language: none(), path: none() }
    }
}

impl Identity {
    /// From how it is written.
    pub(crate) fn read(text: &str) -> Identity {
        let mut parts = text.split(';').map(|part| part.split_once('=').map_or("", |(_, value)| value).to_owned());
        let mut next = || parts.next().unwrap_or_default();
        let (auth, cookie, key, merchant) = (next(), next(), next(), next());
        Identity { auth, cookie, key, merchant, channel: next(), language: next(), path: next() }
    }

    /// The credentials.
    pub(crate) fn asker(&self) -> String {
        format!("{}.{}.{}", self.auth, self.cookie, self.key)
    }

    /// The rest.
    pub(crate) fn without_credentials(&self) -> Identity {
        let Identity { auth, cookie, key, .. } = Identity::default();
        Identity { auth, cookie, key, ..self.clone() }
    }

    fn of(request: &Request) -> Identity {
        let field = |name: &str| request.field(name).unwrap_or("-").to_owned();
        let path = request.target.clone();
        // What an answer does not depend on it does not name.
        let depends = |on: &str, value: String| if path.starts_with(on) { value } else { "-".to_owned() };
        Identity {
            auth: field("authorization").replace("Bearer ", ""),
            cookie: field("cookie").replace("s=", ""),
            key: field("x-api-key"),
            merchant: field("x-merchant-id"),
            channel: depends("/chan", field("x-channel")),
            language: depends("/plain", field("accept-language")),
            path,
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Identity { auth, cookie, key, merchant, channel, language, path } = self;
        write!(f, "a={auth};c={cookie};k={key};m={merchant};ch={channel};l={language};p={path}")
    }
}

/// What may be stored.
const CONTROLS: [&str; 14] = [
    "public, max-age=1",
    "max-age=1",
    "max-age=2",
    "public, max-age=4",
    "max-age=0, s-maxage=1",
    "s-maxage=2, must-revalidate",
    "max-age=1, stale-while-revalidate=2",
    "max-age=1, stale-if-error=5",
    "public, max-age=0, must-revalidate",
    "max-age=1, private=\"x-private\"",
    "max-age=1, no-cache=\"x-private\"",
    "must-revalidate, max-age=1",
    "max-age=1, proxy-revalidate",
    "max-age=3, public, stale-while-revalidate=3, stale-if-error=3",
];

/// What is for nobody else, or for nobody knows whom.
const OTHERS: [&str; 6] =
    ["private, max-age=5", "no-store", "no-cache", "public", "max-age=1, private", "no-store, max-age=9"];

static NUMBER: AtomicU64 = AtomicU64::new(1);

/// What the application does with a request.
pub(crate) fn story(request: &Request, seed: u64) -> Does {
    let number = NUMBER.fetch_add(1, SeqCst);
    let mut random = fastrand::Rng::with_seed(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    match random.u16(0..1000) {
        0..=15 => return Does::Reset,
        16..=25 => return Does::Close,
        26 => std::thread::sleep(Duration::from_millis(700)),
        27..=200 => std::thread::sleep(Duration::from_millis(random.u64(0..25))),
        _ => {}
    }
    let who = Identity::of(request);
    // What was not to be stored goes its own way for a while. So most of that is asked for in few places.
    let wild = who.path.contains("/2") || random.u16(0..400) == 0;
    let status = match random.u8(0..100) {
        0 => 404,
        1..=4 => 500,
        5 => 503,
        6 if wild => 403,
        7 if wild => 429,
        _ => 200,
    };
    let controls = if wild && random.bool() { &OTHERS[..] } else { &CONTROLS[..] };
    let control = *random.choice(controls).unwrap();
    let mut fields = format!("X-Who: {who}\r\nX-N: {number}\r\nContent-Type: text/plain\r\n");
    if !wild || random.u8(0..8) > 0 {
        fields += &format!("Cache-Control: {control}\r\n");
    }
    if control.contains("x-private") {
        fields += &format!("X-Private: {}\r\n", who.asker());
    }
    if wild && random.u8(0..4) == 0 {
        fields += &format!("Set-Cookie: s={}\r\n", who.asker());
    }
    if random.bool() {
        fields += &format!("Surrogate-Key: who-{number} all\r\n");
    }
    let plain = who.path.starts_with("/plain");
    fields += match (plain, random.u8(0..30)) {
        (_, 0) if wild => "Vary: *\r\n",
        (true, 0..=9) => "Vary: X-Merchant-Id, Accept-Language, Accept-Encoding\r\n",
        (true, 10..=20) => "Vary: accept-language\r\nVary: accept-encoding , x-merchant-id,User-Agent\r\n",
        (true, _) => "Vary: x-merchant-id,accept-encoding,accept-language,x-other\r\n",
        (false, 0..=5) => "Vary: Accept-Encoding, Cookie\r\n",
        (false, _) => "Vary: Accept-Encoding\r\n",
    };
    // What was given out once still holds, sometimes.
    let tag = request.field("if-none-match").filter(|tag| tag.contains(&format!("|{who}|")));
    if let Some(tag) = tag.filter(|tag| !tag.contains(',') && random.bool() && status == 200) {
        return Does::Answer(Answer::new(304, fields + &format!("ETag: {tag}\r\n"), Vec::new()));
    }
    let lines = match random.u8(0..50) {
        0 => 2000,
        1..=3 => 500,
        _ => random.usize(1..30),
    };
    let mut body = format!("|{who}|{number}/{lines}\n").repeat(lines).into_bytes();
    let takes = request.field("accept-encoding").is_some_and(|a| a.contains("gzip"));
    let coded = takes && random.bool();
    if coded {
        body = codec::encode(Coding::Gzip, 1, &body).unwrap();
        fields += "Content-Encoding: gzip\r\n";
    }
    if random.u8(0..4) > 0 {
        let weak = if random.u8(0..4) == 0 { "W/" } else { "" };
        fields += &format!("ETag: {weak}\"|{who}|{number}{}\"\r\n", if coded { ".gz" } else { "" });
    }
    let mut answer = Answer::new(status, fields, body);
    answer.framing = match random.u8(0..8) {
        0..=4 => Framing::Length,
        5 if wild => Framing::Close,
        _ => Framing::Chunked,
    };
    answer.broken = answer.framing != Framing::Close && random.u8(0..40) == 0;
    if random.u8(0..10) == 0 {
        answer.pause = Duration::from_millis(random.u64(0..40));
    }
    Does::Answer(answer)
}
