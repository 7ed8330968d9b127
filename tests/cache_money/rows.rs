//! Who has changed something never sees the state before. The application has rows, each with a version: GET reads it at
//! some moment of its work, and may answer with it much later; POST raises it, and ends as well or as badly as it likes.
//! A GET that begins after a POST was over shows its version or a later one.

mod database;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use outboard::codec;
use outboard::policy::compression::Coding;

use super::application::Application;
use super::{Client, Clients, Proxy, Response, at_least, eventually, purge, results, runs, seed};
use database::{Database, End, MERCHANTS};

/// How what a POST changes is named: by a tag of the request, with a tag whose header it lacks, by a tag of the answer, by
/// one path, by a pattern of paths, by a route, by its own URL, by the Location of its answer.
const KINDS: [&str; 8] = ["tag", "bare", "named", "path", "pattern", "route", "own", "location"];

fn file(application: &Application) -> String {
    let mut routes = String::new();
    for kind in KINDS {
        let (cached, invalidates) = match kind {
            // A POST that lacks the header ends all that is filed under tags: its own rows as well.
            "tag" | "bare" => (
                "vary_by: [header:x-merchant-id], tags: { add: [\"KIND:{header:x-merchant-id}\"] },",
                "tags: [\"KIND:{header:x-merchant-id}\"]",
            ),
            "named" => ("tags: { header: surrogate-key },", "tags: [\"row:{path:m}\"]"),
            "path" => ("", "paths: [\"/path/rows/{path:m}\"]"),
            "pattern" => ("", "paths: [\"/pattern/rows/{*rest}\"]"),
            "route" => ("", "routes: [route-rows]"),
            _ => ("", ""),
        };
        let invalidates =
            if invalidates.is_empty() { String::new() } else { format!(", invalidates: {{ {invalidates} }}") };
        // Of some rows the application says itself for how long they are fresh.
        let freshness =
            if matches!(kind, "named" | "own") { "freshness: standard" } else { "freshness: override, ttl: 1s" };
        routes += &format!(
            "- {{ name: KIND-rows, match: {{ path: \"/KIND/rows/{{m}}\", methods: [GET] }}, \
               cache: {{ {freshness}, {cached} stale_while_revalidate: 3s, stale_if_error: 20s, coalesce: {{ wait: 1s }} }} }}\n\
             - {{ name: KIND-change, match: {{ path: \"/KIND/{{what}}/{{m}}\", methods: [POST, PUT] }}{invalidates} }}\n"
        )
        .replace("KIND", kind);
    }
    format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\" }}]\n\
         logging: {{ access: {{ enabled: false }} }}\n\
         upstreams: {{ app: {{ endpoints: [\"{}\"] }} }}\n\
         defaults: {{ timeouts: {{ first_byte: 400ms, total: 2s }}, retry: {{ methods: idempotent, retry_on: [connect, reset, 503] }} }}\n\
         routes:\n{routes}- {{ name: left, match: {{ path: \"/pattern/left/{{m}}\", methods: [POST] }}, \
         invalidates: {{ paths: [\"/pattern/rows/{{*rest}}\"] }} }}\n",
        application.address
    )
}

/// What all clients know.
struct World {
    clients: Clients,
    database: Arc<Database>,
    /// Checked GETs, and of those not modified, parts, bodiless, encoded, refused, broken; then POSTs: well, refused by the
    /// application, with no good answer.
    counts: [AtomicU64; 10],
}

const COUNTS: [&str; 10] =
    ["checked", "304", "206", "HEAD", "encoded", "refused", "broken", "POST well", "POST refused", "POST failed"];

#[test]
fn no_get_after_a_change_shows_the_state_before_it() {
    let seed = seed();
    println!("seed {seed}");
    let database = Arc::new(Database::new(seed));
    let told = database.clone();
    let application = Application::start(move |request| told.story(request));
    let proxy = Proxy::start(&file(&application));
    let world = World { clients: Clients::new(), database, counts: Default::default() };
    let (world, proxy, mut purges) = (&world, &proxy, 0);
    std::thread::scope(|scope| {
        for number in 0..20 {
            scope.spawn(move || reader(world, proxy, seed ^ number << 32));
        }
        for number in 0..4 {
            scope.spawn(move || writer(world, proxy, seed ^ (100 + number) << 32));
        }
        scope.spawn(move || leaver(world, proxy, seed ^ 200 << 32));
        let mut random = fastrand::Rng::with_seed(seed);
        while world.clients.go_on() {
            std::thread::sleep(Duration::from_millis(random.u64(50..250)));
            purges += u32::from(match random.u8(0..12) {
                0 => purge(proxy, r#"{"all":true}"#),
                1 => purge(proxy, r#"{"prefix":"/pa"}"#),
                2 => purge(proxy, r#"{"prefix":"/t","soft":true}"#),
                3 => purge(proxy, r#"{"route":"named-rows","soft":true}"#),
                4 => purge(proxy, r#"{"tag":"tag:m0","soft":true}"#),
                5 => purge(proxy, r#"{"url":"/own/rows/0"}"#),
                _ => false,
            });
        }
    });
    let results = results(proxy);
    let counts: Vec<_> = COUNTS.iter().zip(&world.counts).map(|(name, n)| (*name, n.load(SeqCst))).collect();
    println!("{results:?}\n{counts:?}\n{purges} purges");
    world.clients.wrongs.check(seed);
    let seconds = runs().as_secs();
    for (result, least) in [("hit", 100), ("coalesced", 10), ("stale", 5), ("miss", 30), ("revalidated", 2)] {
        // A slow machine gets round less often.
        at_least(&results, result, (least * seconds / 4).max(1));
    }
    for (name, n) in counts {
        assert!(n > 0, "only {n} {name}");
    }
}

/// One who reads, and knows what was over before each reading began.
fn reader(world: &World, proxy: &Proxy, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut connection: Option<Client> = None;
    let count = |what: usize| world.counts[what].fetch_add(1, SeqCst);
    while world.clients.go_on() {
        let (kind, merchant) = (random.usize(0..KINDS.len()), random.usize(0..MERCHANTS));
        let method = if random.u8(0..16) == 0 { "HEAD" } else { "GET" };
        let mut fields = format!("X-Merchant-Id: m{merchant}\r\n");
        fields += ["", "", "Authorization: Bearer a\r\n", "X-Api-Key: k\r\n"][random.usize(0..4)];
        fields += ["", "Accept-Encoding: gzip\r\n"][random.usize(0..2)];
        fields += match random.u8(0..40) {
            0 => "Cache-Control: no-cache\r\n",
            1 => "Cache-Control: max-age=0\r\n",
            2 => "Cache-Control: max-stale=9\r\n",
            3 => "Cache-Control: only-if-cached\r\n",
            4 => "Range: bytes=0-20\r\n",
            5 => "Range: bytes=30-\r\n",
            _ => "",
        };
        let known = world.database.over(kind, merchant);
        if random.u8(0..10) == 0 {
            fields += &format!("If-None-Match: \"v{}\"\r\n", known.saturating_sub(random.u64(0..2)));
        }
        // A Location names one URL, with its query.
        let page = if KINDS[kind] != "location" && random.u8(0..4) == 0 { "?page=2" } else { "" };
        let target = format!("/{}/rows/{merchant}{page}", KINDS[kind]);
        let text = format!("{method} {target} HTTP/1.1\r\nHost: test.example\r\n{fields}\r\n");
        let mut open = connection.take().unwrap_or_else(|| Client::connect(proxy.addr("inbound")));
        // What is over by now.
        let over = world.database.over(kind, merchant);
        let answer = open.try_send(&text).and_then(|()| open.try_read_response(method));
        let Ok(answer) = answer else {
            count(6);
            continue;
        };
        if answer.header("connection") != Some("close") {
            connection = Some(open);
        }
        if let Err(why) = judge(world, method, over, &answer) {
            let head = format!("{} {:?}\n{}", answer.status, answer.headers, String::from_utf8_lossy(&answer.body));
            world.clients.wrongs.add(format!("{why}, version {over} was over\nasked {text}got {head}"));
        }
    }
}

fn judge(world: &World, method: &str, over: u64, answer: &Response) -> Result<(), String> {
    let count = |what: usize| world.counts[what].fetch_add(1, SeqCst);
    let of =
        |text: &str| text.split('v').nth(1)?.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok();
    let holds = |version: Option<u64>, what: &str| match version {
        Some(version) if version < over => Err(format!("{what} shows version {version}")),
        _ => Ok(()),
    };
    if !answer.reason().is_empty() || answer.status >= 400 {
        count(5);
        return Ok(());
    }
    count(0);
    holds(answer.header("etag").and_then(of), "its tag")?;
    holds(answer.header("x-version").and_then(of), "its field")?;
    match (answer.status, method) {
        (304, _) => {
            count(1);
            return Ok(());
        }
        (_, "HEAD") => {
            count(3);
            return Ok(());
        }
        (206, _) => _ = count(2),
        _ => {}
    }
    let mut body = answer.body.clone();
    if let Some(coding) = answer.header("content-encoding") {
        count(4);
        let coding = Coding::ALL.into_iter().find(|c| c.as_str() == coding).ok_or("an unknown coding")?;
        body = codec::decode(coding, &body, 1 << 20).map_err(|e| format!("it cannot be decoded: {e:?}"))?;
    }
    let text = String::from_utf8_lossy(&body);
    let shown = text.split('\n').find(|line| line.ends_with(';')).map(of);
    match shown {
        None if answer.status == 206 => Ok(()),
        None | Some(None) => Err("it shows no version".to_owned()),
        Some(version) => holds(version, "its body"),
    }
}

/// One who changes rows: some often, some seldom.
fn writer(world: &World, proxy: &Proxy, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut connection: Option<Client> = None;
    while world.clients.go_on() {
        std::thread::sleep(Duration::from_millis(random.u64(0..30)));
        let kind = random.usize(0..KINDS.len());
        let merchant = random.usize(0..MERCHANTS).min(random.usize(0..MERCHANTS)).min(random.usize(0..MERCHANTS));
        let id = world.database.id();
        let name = KINDS[kind];
        let what = if name == "own" { "rows" } else { "change" };
        let header = if name == "bare" { String::new() } else { format!("X-Merchant-Id: m{merchant}\r\n") };
        let method = if random.u8(0..4) == 0 { "PUT" } else { "POST" };
        let text = format!(
            "{method} /{name}/{what}/{merchant} HTTP/1.1\r\nHost: test.example\r\nX-Id: {id}\r\n{header}Content-Length: 4\r\n\r\nfour"
        );
        let mut open = connection.take().unwrap_or_else(|| Client::connect(proxy.addr("inbound")));
        let answer = open.try_send(&text).and_then(|()| open.try_read_response(method));
        let end = match &answer {
            Ok(answer) if answer.status < 400 && answer.reason().is_empty() => End::Well,
            Ok(answer) if answer.status == 409 => End::Refused,
            _ => End::Badly,
        };
        world.counts[match end {
            End::Well => 7,
            End::Refused => 8,
            End::Badly => 9,
        }]
        .fetch_add(1, SeqCst);
        world.database.is_over(id, name, end);
        if answer.is_ok_and(|answer| answer.header("connection") != Some("close")) {
            connection = Some(open);
        }
    }
}

/// One who does not wait for the end of its change. It goes on, and is over when the proxy has nothing more in flight.
fn leaver(world: &World, proxy: &Proxy, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    while world.clients.go_on() {
        let merchant = random.usize(0..MERCHANTS);
        let id = world.database.id();
        let mut client = Client::connect(proxy.addr("inbound"));
        client.send(format!(
            "POST /pattern/left/{merchant} HTTP/1.1\r\nHost: test.example\r\nX-Id: {id}\r\nContent-Length: 4\r\n\r\nfour"
        ));
        eventually("the application has it", || world.database.came(id));
        std::thread::sleep(Duration::from_millis(random.u64(0..5)));
        if random.bool() {
            client.reset()
        } else {
            drop(client)
        }
        proxy.await_metric("outboard_requests_in_flight{route=\"left\"}", 0.0);
        world.database.is_over(id, "pattern", End::Badly);
        std::thread::sleep(Duration::from_millis(random.u64(50..300)));
    }
}
