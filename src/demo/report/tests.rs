use super::*;

fn part(requests: u64, read_us: u32, write_us: u32, queries: u64) -> Part {
    let mut load = Report { elapsed: Duration::from_secs(10), received: 5_000 * requests, ..Report::default() };
    load.statuses.insert(200, requests);
    load.latencies[Kind::Get as usize] = vec![read_us; requests as usize];
    load.latencies[Kind::Create as usize] = vec![write_us; 9];
    (load.owned, load.current) = (requests, requests / 2);
    Part { load, queries, cache: CacheCount::default() }
}

fn comparison() -> Comparison {
    let mut proxied = Side {
        warm_up: part(400, 170_000, 150_000, 1_200),
        saturated: part(8_000, 10_000, 200_000, 5_000),
        half: part(400, 3_000, 150_000, 200),
    };
    proxied.half.cache = CacheCount::of(
        "outboard_cache_requests_total{route=\"get-payment\",result=\"hit\"} 9\n\
             outboard_cache_requests_total{route=\"get-payment\",result=\"miss\"} 1\n",
    );
    proxied.half.load.received = 400_000;
    Comparison {
        plan: Plan { seed: 42, clients: 64 },
        db_latency: Duration::from_millis(10),
        half_rate: 40.0,
        direct: Side {
            warm_up: part(400, 170_000, 150_000, 1_200),
            saturated: part(800, 800_000, 1_000_000, 2_400),
            half: part(400, 150_000, 150_000, 1_200),
        },
        proxied,
        overhead: Overhead { direct: vec![100, 100], proxied: vec![160, 90] },
    }
}

fn text(of: &Comparison) -> String {
    let mut out = Vec::new();
    of.print(&mut out).unwrap();
    // Figures, not columns: how wide those are is not tested.
    String::from_utf8(out).unwrap().lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ") + "\n").collect()
}

#[test]
fn every_line_holds_both_sides_their_ratio_and_the_target() {
    let text = text(&comparison());
    for expected in [
        "At half load: 40 requests a second on both sides",
        "reads, average 150.0 ms 3.0 ms 0.02 x shown only",
        "writes, 99th percentile 150.0 ms 150.0 ms 1.00 x at most 1.05 x met",
        "reads from memory (hit ratio) - 90.0 % - shown only",
        "database queries 1 200 200 0.17 x at most 0.30 x met",
        "bytes received 2 000 000 400 000 0.20 x at most 0.45 x met",
        "throughput 80.0 /s 800.0 /s 10.00 x at least 4.00 x met",
        "reads, 99th percentile 800.0 ms 10.0 ms 0.01 x at most 0.20 x met",
        "database queries, 1000 requests 3 000 625 0.21 x at most 0.30 x met",
        "bytes received, 1000 requests 5 000 000 5 000 000 1.00 x at most 0.45 x NOT MET",
        "errors 0 of 1 600 0 of 8 800 - none met",
        "stale reads 0 of 800 0 of 4 400 - none met",
        "answers of another merchant 0 of 1 600 0 of 8 800 - none met",
        "2 pairs in turn): median 100 us direct",
        "A read at half load took 150.0 ms on average directly, 3.0 ms with outboard.",
        "For the same 400 requests the database got 1 200 queries directly, 200 with outboard.",
        "9 of 10 targets met; not met: bytes received, 1000 requests at saturation.",
    ] {
        assert!(text.contains(expected), "{expected:?} in:\n{text}");
    }
}

#[test]
fn one_stale_read_is_seen() {
    let mut wrong = comparison();
    assert!(wrong.is_correct());
    wrong.proxied.saturated.load.stale = 1;
    assert!(!wrong.is_correct());
    assert!(text(&wrong).contains("stale reads 0 of 800 1 of 4 400 - none NOT MET"));
}

#[test]
fn the_json_holds_the_lines_and_what_they_are_computed_from() {
    let json = comparison().to_json();
    let lines = json["lines"].as_array().unwrap();
    assert_eq!(lines.len(), 18);
    assert!(lines.iter().any(|l| l["part"] == "saturated" && l["name"] == "throughput" && l["ratio"] == 10.0));
    assert_eq!(json["proxied"]["half"]["reads"]["p50_us"], 3_000);
    assert_eq!(json["proxied"]["half"]["cache"]["hit"], 9);
    assert_eq!(json["direct"]["saturated"]["errors"], 0);
}
