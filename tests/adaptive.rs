//! The limit that follows the application, with the running proxy. The cases are held in virtual time by the tests of
//! policy::adaptive; these take minutes.

#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

mod common;

use std::time::Duration;

use common::Proxy;
use common::load::{App, Sample, open_loop};

const BASE: Duration = Duration::from_millis(50);
const MORE: Duration = Duration::from_millis(10);
const FINDS: Duration = Duration::from_secs(60);

/// Answers a second in the last ten of a load.
fn throughput(samples: &[Sample], time: Duration) -> f64 {
    let late = samples.iter().filter(|s| s.status == 200 && s.at + s.took > time - Duration::from_secs(10));
    late.filter(|s| s.at + s.took <= time).count() as f64 / 10.0
}

/// With `MORE · c` above `BASE` an application answers most with exactly c inside: c / BASE.
fn best(knee: usize) -> f64 {
    knee as f64 / BASE.as_secs_f64()
}

#[test]
#[ignore = "two minutes of load: cargo test --release --test adaptive -- --ignored --nocapture"]
fn it_finds_the_best_limit_in_a_minute_and_again_when_the_application_halves() {
    let app = App::with_knee(BASE, MORE, 16);
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\" }}]\n\
         logging: {{ access: {{ enabled: false }} }}\n\
         upstreams: {{ app: {{ endpoints: [\"{}\"], queue: {{ max_concurrent: {{ adaptive: {{ min: 2 }} }} }} }} }}\n",
        app.address()
    ));
    let time = FINDS + Duration::from_secs(10);
    for knee in [16, 8] {
        app.set_knee(knee);
        let samples = open_loop(proxy.addr("inbound"), 500, time, |_| "GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned());
        let (found, best) = (throughput(&samples, time), best(knee));
        let limit = proxy.metric("outboard_concurrency_limit{upstream=\"app\"}");
        println!("knee {knee}: {found:.1}/s of {best:.1}/s = {:.0}%, limit {limit}", found / best * 100.0);
        assert!(found >= 0.85 * best, "{found:.1} of {best:.1}");
    }
}
