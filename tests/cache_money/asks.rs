//! What clients ask.

use std::collections::HashMap;

use super::answers::Identity;

/// The tags that a client was last given, by who it was then.
pub(crate) type Tags = HashMap<String, String>;

/// A request, and who its answer has to name.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) method: String,
    pub(crate) identity: Identity,
    /// As it is sent, though the answer does not depend on it.
    channel: &'static str,
    fields: Vec<(&'static str, String)>,
}

const ROUTES: [&str; 7] = ["parted", "plain", "over", "turned", "never", "shared", "chan"];

/// Little is asked for often, and more of it seldom.
fn few(random: &mut fastrand::Rng, most: usize) -> usize {
    let one = random.usize(0..most);
    one.min(random.usize(0..most))
}

impl Ask {
    pub(crate) fn draw(random: &mut fastrand::Rng, tags: &Tags) -> Ask {
        let route = ROUTES[random.usize(0..ROUTES.len())];
        let mut path = format!("/{route}/{}", few(random, 3));
        if random.u8(0..6) == 0 {
            path += "?x=1";
        }
        let channel =
            if route == "chan" || random.u8(0..4) == 0 { *random.choice(&["one", "two"]).unwrap() } else { "-" };
        let method = match random.u8(0..60) {
            0 => "POST",
            1 => "DELETE",
            2..=6 => "HEAD",
            _ => "GET",
        };
        let identity = Identity { path, ..Identity::default() };
        let mut ask = Ask { method: method.to_owned(), identity, channel, fields: Vec::new() };
        ask.identity.channel = if route == "chan" { channel.to_owned() } else { "-".to_owned() };
        ask.name(random);
        ask.wants(random, tags);
        ask
    }

    /// The same by another, or in another way.
    pub(crate) fn beside(&self, random: &mut fastrand::Rng) -> Ask {
        let mut ask = self.clone();
        match random.u8(0..5) {
            0 | 1 => {}
            2 => ask.name(random),
            3 => {
                ask.name(random);
                ask.wants(random, &Tags::new());
            }
            _ => ask.wants(random, &Tags::new()),
        }
        ask
    }

    /// Who asks.
    fn name(&mut self, random: &mut fastrand::Rng) {
        let Identity { auth, cookie, key, merchant, language, path, .. } = &mut self.identity;
        let none = || "-".to_owned();
        (*auth, *cookie, *key) = (none(), none(), none());
        match random.u8(0..10) {
            0..=1 => {}
            2..=4 => *auth = format!("a{}", few(random, 3)),
            5..=6 => *cookie = format!("c{}", few(random, 3)),
            7..=8 => *key = format!("k{}", few(random, 3)),
            _ => (*auth, *cookie) = (format!("a{}", few(random, 2)), format!("c{}", few(random, 2))),
        }
        *merchant = if random.u8(0..8) == 0 { none() } else { format!("m{}", few(random, 3)) };
        let languages = path.starts_with("/plain") && random.bool();
        *language = if languages { (*random.choice(&["en", "fr"]).unwrap()).to_owned() } else { none() };
    }

    /// How it wants the answer.
    fn wants(&mut self, random: &mut fastrand::Rng, tags: &Tags) {
        self.fields.clear();
        let mut add = |name, value: &str| self.fields.push((name, value.to_owned()));
        match random.u8(0..5) {
            0 => add("accept-encoding", "gzip"),
            1 => add("accept-encoding", "br, zstd;q=0.5"),
            2 => add("accept-encoding", "gzip;q=0, identity"),
            _ => {}
        }
        match random.u8(0..40) {
            0 => add("cache-control", "no-cache"),
            1 => add("cache-control", "max-age=0"),
            2 => add("cache-control", "max-stale=5"),
            3 => add("cache-control", "no-store"),
            4 => add("cache-control", "only-if-cached"),
            5..=8 => add("range", "bytes=100-900"),
            9 => add("range", "bytes=-400"),
            10 => add("range", "bytes=0-200, 300-500"),
            11 => add("user-agent", "another"),
            _ => {}
        }
        let own = tags.get(&self.identity.to_string()).filter(|_| random.u8(0..3) > 0);
        if let Some(tag) = own.or(tags.values().next()).filter(|_| random.u8(0..3) == 0) {
            let name =
                *random.choice(&["if-none-match", "if-none-match", "if-none-match", "if-range", "if-match"]).unwrap();
            add(name, tag);
        }
    }

    fn lines(&self) -> Vec<(&'static str, String)> {
        let Identity { auth, cookie, key, merchant, language, .. } = &self.identity;
        let mut lines = self.fields.clone();
        let mut add = |name, value: String, given: &str| {
            if given != "-" {
                lines.push((name, value))
            }
        };
        add("authorization", format!("Bearer {auth}"), auth);
        add("cookie", format!("s={cookie}"), cookie);
        add("x-api-key", key.clone(), key);
        add("x-merchant-id", merchant.clone(), merchant);
        add("accept-language", language.clone(), language);
        add("x-channel", self.channel.to_owned(), self.channel);
        lines
    }

    /// As text.
    pub(crate) fn text(&self) -> String {
        let lines: String = self.lines().iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("{} {} HTTP/1.1\r\nHost: test.example\r\n{lines}\r\n", self.method, self.identity.path)
    }

    /// For HTTP/2.
    pub(crate) fn head(&self) -> http::Request<()> {
        let mut head = super::super::http2::Client::build(&self.method, &self.identity.path);
        for (name, value) in self.lines() {
            head.headers_mut().append(name, value.parse().unwrap());
        }
        head
    }
}
