//! No answer ever crosses. Every answer of the application names who asked: in its fields, in its tag, and in every line
//! of its body.

mod answers;
mod asks;

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use outboard::codec;
use outboard::policy::compression::Coding;

use super::application::Application;
use super::{Client, Clients, Proxy, Response, at_least, purge, results, runs, seed};
use answers::Identity;
use asks::{Ask, Tags};

fn file(application: &Application, turned: bool) -> String {
    // What is reloaded: a longer key, another partition, other lives.
    let (vary, partition, ttl) = match turned {
        false => ("[header:x-merchant-id]", "per_credential", "1s"),
        true => ("[header:x-merchant-id, header:x-channel]", "never_store", "2s"),
    };
    format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\" }}]\n\
         logging: {{ access: {{ enabled: false }} }}\n\
         upstreams: {{ app: {{ endpoints: [\"{}\"] }} }}\n\
         defaults: {{ timeouts: {{ first_byte: 500ms, total: 2s }} }}\n\
         routes:\n\
         - {{ name: parted, match: {{ path: \"/parted/{{*rest}}\" }}, compression: off, headers: {{ response: {{ set: {{ x-edge: here }} }} }}, \
           cache: {{ vary_by: {vary}, stale_if_error: 5s, tags: {{ header: surrogate-key, add: [all] }}, negative_ttl: {{ 404: 2s }} }} }}\n\
         - {{ name: plain, match: {{ path: \"/plain/{{*rest}}\" }}, compression: {{ min_size: 256 }}, cache: {{ stale_while_revalidate: 2s }} }}\n\
         - {{ name: over, match: {{ path: \"/over/{{*rest}}\" }}, \
           cache: {{ freshness: override, ttl: {ttl}, vary_by: {vary}, stale_while_revalidate: 2s, stale_if_error: 10s }} }}\n\
         - {{ name: turned, match: {{ path: \"/turned/{{*rest}}\" }}, \
           cache: {{ freshness: override, ttl: {ttl}, partition: {partition}, vary_by: {vary}, stale_while_revalidate: 1s }} }}\n\
         - {{ name: never, match: {{ path: \"/never/{{*rest}}\" }}, cache: {{ partition: never_store, vary_by: {vary} }} }}\n\
         - {{ name: shared, match: {{ path: \"/shared/{{*rest}}\" }}, compression: off, \
           cache: {{ partition: standard, vary_by: {vary}, stale_while_revalidate: 2s, stale_if_error: 5s }} }}\n\
         - {{ name: one, match: {{ path: \"/chan/{{*rest}}\", headers: {{ x-channel: one }} }}, cache: {{ vary_by: {vary}, max_object: 32KiB }} }}\n\
         - {{ name: two, match: {{ path: \"/chan/{{*rest}}\", headers: {{ x-channel: two }} }}, cache: {{ vary_by: {vary} }} }}\n\
         - {{ name: rest }}\n",
        application.address
    )
}

/// What all clients know.
struct World {
    clients: Clients,
    /// How often an answer was seen that is for one request alone.
    once: Mutex<HashMap<u64, u32>>,
    /// Checked, and of those not modified, parts, bodiless, encoded; of another credential by the standard; refused; broken.
    checked: [AtomicU64; 8],
}

const CHECKED: [&str; 8] = ["checked", "304", "206", "HEAD", "encoded", "shared", "refused", "broken"];

#[test]
fn no_answer_reaches_another_than_it_is_for() {
    let seed = seed();
    println!("seed {seed}");
    let application = Application::start(move |request| answers::story(request, seed));
    let proxy = Proxy::start(&file(&application, false));
    let world = World { clients: Clients::new(), once: Mutex::default(), checked: Default::default() };
    let (world, proxy, mut purges) = (&world, &proxy, 0);
    std::thread::scope(|scope| {
        for number in 0..16 {
            scope.spawn(move || client(world, proxy, seed ^ number << 32));
        }
        scope.spawn(move || http2(world, proxy, seed ^ 77 << 32));
        let mut random = fastrand::Rng::with_seed(seed);
        let mut turned = false;
        while world.clients.go_on() {
            std::thread::sleep(Duration::from_millis(random.u64(20..150)));
            match random.u8(0..24) {
                0 => {
                    turned = !turned;
                    proxy.write_config(&file(&application, turned));
                    assert_eq!(proxy.admin_post("/reload", "{}").status, 200);
                }
                1 => purges += u32::from(purge(proxy, r#"{"all":true}"#)),
                2 => purges += u32::from(purge(proxy, r#"{"prefix":"/par"}"#)),
                3 => purges += u32::from(purge(proxy, r#"{"route":"over","soft":true}"#)),
                4 => purges += u32::from(purge(proxy, r#"{"tag":"all","soft":true}"#)),
                _ => {}
            }
        }
    });
    let results = results(proxy);
    let checked: Vec<_> = CHECKED.iter().zip(&world.checked).map(|(name, n)| (*name, n.load(SeqCst))).collect();
    println!("{results:?}\n{checked:?}\n{purges} purges");
    world.clients.wrongs.check(seed);
    let seconds = runs().as_secs();
    for (result, least) in
        [("hit", 40), ("coalesced", 3), ("stale", 3), ("revalidated", 3), ("miss", 20), ("bypass", 5)]
    {
        // A slow machine gets round less often.
        at_least(&results, result, (least * seconds / 4).max(1));
    }
    for (name, n) in checked {
        assert!(n > 0, "only {n} {name}");
    }
}

/// A client with several connections, which asks alone or with all of them at once.
fn client(world: &World, proxy: &Proxy, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut connections: Vec<Option<Client>> = (0..8).map(|_| None).collect();
    let mut tags = Tags::new();
    while world.clients.go_on() {
        let first = Ask::draw(&mut random, &tags);
        let count = if random.u8(0..4) == 0 { connections.len() } else { 1 };
        // All for one thing, by few who differ.
        let asks: Vec<Ask> =
            (0..count).map(|n| if n == 0 { first.clone() } else { first.beside(&mut random) }).collect();
        for (ask, connection) in asks.iter().zip(&mut connections) {
            let text = ask.text();
            let sends = |connection: &mut Client| connection.try_send(&text).is_ok();
            if !connection.as_mut().is_some_and(sends) {
                let mut fresh = Client::connect(proxy.addr("inbound"));
                fresh.send(&text);
                *connection = Some(fresh);
            }
        }
        for (ask, connection) in asks.iter().zip(&mut connections) {
            // One that leaves.
            if random.u8(0..100) == 0 {
                *connection = None;
            }
            let Some(open) = connection.as_mut() else { continue };
            match open.try_read_response(&ask.method) {
                Ok(answer) => {
                    if answer.header("connection") == Some("close") {
                        *connection = None;
                    }
                    check(world, ask, &answer);
                    if let Some(tag) = answer.header("etag") {
                        tags.insert(ask.identity.to_string(), tag.to_owned());
                    }
                }
                Err(_) => {
                    world.checked[7].fetch_add(1, SeqCst);
                    *connection = None;
                }
            }
        }
    }
}

/// A client of HTTP/2, whose streams all ask at once.
fn http2(world: &World, proxy: &Proxy, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    // Answers are read one after the other: those that wait must not take up all room.
    let mut settings = h2::client::Builder::new();
    settings.initial_connection_window_size(16 << 20).initial_window_size(1 << 20);
    let connect = || super::http2::Client::with_settings(proxy.addr("inbound"), &settings);
    let mut client = connect();
    while world.clients.go_on() {
        let first = Ask::draw(&mut random, &Tags::new());
        let asks: Vec<Ask> = (0..6).map(|n| if n == 0 { first.clone() } else { first.beside(&mut random) }).collect();
        let streams: Result<Vec<_>, _> = asks.iter().map(|ask| client.stream(ask.head(), true)).collect();
        // After `keepalive_requests` the connection is told to go.
        let Ok(streams) = streams else {
            client = connect();
            continue;
        };
        for (ask, stream) in asks.iter().zip(streams) {
            let Ok(answer) = stream.answer() else {
                world.checked[7].fetch_add(1, SeqCst);
                continue;
            };
            let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
            let headers = answer.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
            let answer = Response { status: answer.status, headers, body: answer.body, ..Response::default() };
            check(world, ask, &answer);
        }
    }
}

fn check(world: &World, ask: &Ask, answer: &Response) {
    if let Err(why) = judge(world, ask, answer) {
        let body: String = answer.text().chars().take(300).collect();
        world.clients.wrongs.add(format!("{why}\nasked {ask:?}\ngot {} {:?}\n{body}", answer.status, answer.headers));
    }
}

fn judge(world: &World, ask: &Ask, answer: &Response) -> Result<(), String> {
    let count = |what: usize| world.checked[what].fetch_add(1, SeqCst);
    let Some(who) = answer.header("x-who") else {
        return match answer.reason() {
            "" => Err("it names nobody".to_owned()),
            _ => {
                count(6);
                Ok(())
            }
        };
    };
    count(0);
    if answer.header_all("x-who").len() > 1 {
        return Err("it names two".to_owned());
    }
    let (who, own) = (Identity::read(who), &ask.identity);
    let shared = ask.identity.path.starts_with("/shared");
    may_have(&who, own, shared, answer)?;
    if who != *own {
        count(5);
    }
    let control = answer.header_all("cache-control").join(", ");
    let cookie = answer.header("set-cookie");
    if let Some(cookie) = cookie
        && cookie != format!("s={}", own.asker())
        && !(shared && cookie == format!("s={}", Identity::default().asker()))
    {
        return Err("another's cookie is set".to_owned());
    }
    if answer.header("x-private").is_some_and(|private| private != own.asker()) {
        return Err("another's private field".to_owned());
    }
    let bare = |directive: &str| control.split(',').any(|d| d.trim() == directive);
    let alone = bare("no-store") || bare("private") || (cookie.is_some() && !shared);
    if alone && let Some(number) = answer.header("x-n").and_then(|n| n.parse().ok()) {
        let mut once = world.once.lock().unwrap();
        let times = once.entry(number).or_default();
        *times += 1;
        if *times > 1 {
            return Err("what is not to be stored came twice".to_owned());
        }
    }
    // By the standard a HEAD without a tag speaks for the body of whoever it was stored for.
    let lent = shared && who.asker() == Identity::default().asker();
    let named = |text: &str| match text.split('|').nth(1).map(Identity::read) {
        Some(other) if lent => may_have(&other, own, shared, answer).is_ok(),
        Some(other) => other == who,
        None => false,
    };
    if let Some(tag) = answer.header("etag")
        && !named(tag)
    {
        return Err("its tag names another".to_owned());
    }
    match (answer.status, ask.method.as_str()) {
        (304, _) => count(1),
        (_, "HEAD") => count(3),
        (416, _) => 0,
        (206, _) => {
            count(2);
            return part(&named, answer);
        }
        _ => return body(world, &named, answer),
    };
    Ok(())
}

/// Whether a client may have an answer that names this one.
fn may_have(who: &Identity, own: &Identity, shared: bool, answer: &Response) -> Result<(), String> {
    if who == own {
        return Ok(());
    }
    if !shared || who.without_credentials() != own.without_credentials() {
        return Err(format!("it is for {who}"));
    }
    let control = answer.header_all("cache-control").join(", ");
    let says = |name: &str| control.split(',').any(|d| d.trim().split('=').next() == Some(name));
    if says("no-store") || control.split(',').any(|d| d.trim() == "private") {
        return Err(format!("it is for {who} alone"));
    }
    if who.auth != "-" && !["public", "s-maxage", "must-revalidate"].into_iter().any(says) {
        return Err(format!("it is for {who}, who is authorized"));
    }
    Ok(())
}

fn body(world: &World, named: &dyn Fn(&str) -> bool, answer: &Response) -> Result<(), String> {
    let mut text = answer.body.clone();
    if let Some(coding) = answer.header("content-encoding") {
        world.checked[4].fetch_add(1, SeqCst);
        let coding = Coding::ALL.into_iter().find(|c| c.as_str() == coding).ok_or("an unknown coding")?;
        text = codec::decode(coding, &text, 4 << 20).map_err(|e| format!("it cannot be decoded: {e:?}"))?;
    }
    let text = String::from_utf8(text).map_err(|_| "its body is no text")?;
    let first = text.lines().next().unwrap_or_default();
    if !named(first) || text.lines().any(|line| line != first) || !text.ends_with('\n') {
        return Err("its body is another's".to_owned());
    }
    let lines = first.rsplit('/').next().and_then(|n| n.parse::<usize>().ok());
    if lines != Some(text.lines().count()) {
        return Err(format!("{} lines of {lines:?}", text.lines().count()));
    }
    Ok(())
}

/// A part begins and ends anywhere; the lines in it that are whole are all the same.
fn part(named: &dyn Fn(&str) -> bool, answer: &Response) -> Result<(), String> {
    let kind = answer.header("content-type").unwrap_or_default();
    if answer.header("content-encoding").is_some() || kind.starts_with("multipart") {
        return Ok(());
    }
    let text = answer.text();
    let mut lines = text.split('\n').skip(1).collect::<Vec<_>>();
    lines.pop();
    let Some(first) = lines.first() else { return Ok(()) };
    if !named(first) || lines.iter().any(|line| line != first) {
        return Err("its part is another's".to_owned());
    }
    Ok(())
}
