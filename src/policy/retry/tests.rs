use proptest::prelude::*;

use super::*;
use crate::units::{Duration as Span, Size};

/// A GET whose connection ended in the middle of its first attempt; all that could stand against another one does not.
fn failed(method: &Method, kind: Kind) -> Failed<'_> {
    Failed {
        kind,
        seen: match kind {
            Kind::Connect | Kind::Unsent => Seen::Nothing,
            _ => Seen::MaybeSeen,
        },
        method,
        has_idempotency_key: false,
        upstream_honours_keys: false,
        attempt: 1,
        body_at_hand: true,
        body_len: 0,
        other_endpoint: false,
        retry_after: None,
        time_left: Duration::from_secs(10),
        expected_least: Duration::from_millis(5),
        draining: false,
        seed: 0,
    }
}

fn with(change: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = Settings::default();
    change(&mut settings);
    settings
}

fn causes(list: &[Failure]) -> Vec<Cause> {
    list.iter().map(|failure| Cause::new(*failure).unwrap()).collect()
}

/// Everything that can be named is named, so many attempts.
fn eager(attempts: u32) -> Settings {
    with(|s| {
        s.attempts = attempts;
        let statuses = std::iter::once(429).chain(500..=599).map(Failure::Status);
        let all: Vec<_> = [Failure::Connect, Failure::Timeout, Failure::Reset].into_iter().chain(statuses).collect();
        s.retry_on = causes(&all);
    })
}

fn repeats(settings: &Settings, failed: &Failed<'_>) -> bool {
    decide(settings, failed).is_some()
}

const KINDS: [Kind; 8] = [
    Kind::Connect,
    Kind::Unsent,
    Kind::Stale,
    Kind::Reset,
    Kind::Timeout,
    Kind::PerAttempt,
    Kind::Status(503),
    Kind::Status(429),
];

#[test]
fn the_contracts_sections_are_the_defaults() {
    let contract = "
        attempts: 2
        retry_on: [connect, reset]
        methods: safe
        non_idempotent: unsent
        backoff: { base: 25ms, max: 1s }
        per_attempt: null
        max_body: 64KiB";
    assert_eq!(serde_yaml::from_str::<Settings>(contract).unwrap(), Settings::default());
    assert_eq!(serde_yaml::from_str::<Settings>("{}").unwrap(), Settings::default());
    let budget: BudgetSettings = serde_yaml::from_str("{ ratio: 20%, min_per_second: 3 }").unwrap();
    assert_eq!(budget, BudgetSettings::default());
}

#[test]
fn every_form_is_written_as_it_is_read_and_the_rest_is_refused() {
    for yaml in [
        "{ attempts: 3, retry_on: [connect, reset, timeout, 429, 503], non_idempotent: upstream_deduplicates }",
        "{ methods: idempotent, non_idempotent: never, per_attempt: 2s, max_body: 1MiB, retry_on: [] }",
        "{ backoff: { base: 1ms } }",
    ] {
        let read: Settings = serde_yaml::from_str(yaml).unwrap();
        let written = serde_yaml::to_string(&read).unwrap();
        assert_eq!(serde_yaml::from_str::<Settings>(&written).unwrap(), read, "{yaml}");
    }
    for yaml in [
        "{ retry_on: [404] }",
        "{ retry_on: [430] }",
        "{ retry_on: [status] }",
        "{ methods: all }",
        "{ non_idempotent: with_idempotency_key }",
        "{ retries: 2 }",
        "{ backoff: { factor: 2 } }",
    ] {
        assert!(serde_yaml::from_str::<Settings>(yaml).is_err(), "{yaml}");
    }
    assert_eq!(Cause::new(Failure::Status(404)), None);
    assert_eq!(Cause::new(Failure::Status(429)).map(Cause::get), Some(Failure::Status(429)));
    let schema = schemars::schema_for!(Settings).to_value();
    for (yaml, expected) in [("{ retry_on: [429, '503', reset] }", true), ("{ retry_on: [404] }", false)] {
        let value: serde_json::Value = serde_yaml::from_str(yaml).unwrap();
        assert_eq!(jsonschema::is_valid(&schema, &value), expected, "{yaml}");
    }
}

#[test]
fn retry_on_decides_what_is_repeated() {
    for (named, expected) in [
        (&[][..], &[Kind::PerAttempt][..]),
        (&[Failure::Connect], &[Kind::PerAttempt, Kind::Connect, Kind::Unsent]),
        (&[Failure::Reset], &[Kind::PerAttempt, Kind::Unsent, Kind::Stale, Kind::Reset]),
        (&[Failure::Timeout], &[Kind::PerAttempt, Kind::Timeout]),
        (&[Failure::Status(503)], &[Kind::PerAttempt, Kind::Status(503)]),
        (&[Failure::Status(429)], &[Kind::PerAttempt, Kind::Status(429)]),
    ] {
        let settings = with(|s| s.retry_on = causes(named));
        for kind in KINDS {
            assert_eq!(
                repeats(&settings, &failed(&Method::GET, kind)),
                expected.contains(&kind),
                "{named:?}: {kind:?}"
            );
        }
    }
}

#[test]
fn what_may_have_been_seen_is_repeated_only_where_that_does_nothing_twice() {
    let methods = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "POST", "PATCH", "CONNECT", "PURGE"];
    for methods_setting in [Methods::Safe, Methods::Idempotent] {
        for non_idempotent in [NonIdempotent::Never, NonIdempotent::Unsent, NonIdempotent::UpstreamDeduplicates] {
            for (key, honoured) in [(false, false), (true, false), (false, true), (true, true)] {
                for name in methods {
                    let settings = with(|s| (s.methods, s.non_idempotent) = (methods_setting, non_idempotent));
                    let method: Method = name.parse().unwrap();
                    let safe = matches!(name, "GET" | "HEAD" | "OPTIONS" | "TRACE");
                    let repeatable = safe || methods_setting == Methods::Idempotent && matches!(name, "PUT" | "DELETE");
                    let deduplicated = non_idempotent == NonIdempotent::UpstreamDeduplicates && key && honoured;
                    let seen = may_repeat(&settings, &method, key, honoured, Seen::MaybeSeen);
                    assert_eq!(seen, repeatable || deduplicated, "{name} {settings:?} {key} {honoured}");
                    let unsent = may_repeat(&settings, &method, key, honoured, Seen::Nothing);
                    assert_eq!(unsent, repeatable || non_idempotent != NonIdempotent::Never, "{name} {settings:?}");
                }
            }
        }
    }
}

#[test]
fn a_status_was_seen_whatever_the_caller_says() {
    for status in [429, 500, 502, 503, 504] {
        let failed = Failed { seen: Seen::Nothing, ..failed(&Method::POST, Kind::Status(status)) };
        assert!(!repeats(&eager(3), &failed), "{status}");
    }
}

#[test]
fn a_stale_post_is_repeated_only_if_it_was_not_written() {
    let post = failed(&Method::POST, Kind::Stale);
    assert!(!repeats(&eager(2), &post));
    assert!(repeats(&eager(2), &Failed { seen: Seen::Nothing, ..post }));
}

#[test]
fn so_many_attempts_and_no_more() {
    for attempts in [0, 1, 2, 5] {
        for attempt in 1..8 {
            let failed = Failed { attempt, ..failed(&Method::GET, Kind::Reset) };
            assert_eq!(repeats(&eager(attempts), &failed), attempt < attempts);
        }
    }
}

#[test]
fn what_stands_against_it() {
    for kind in KINDS {
        let get = failed(&Method::GET, kind);
        assert!(repeats(&eager(2), &get), "{kind:?}");
        assert!(!repeats(&eager(2), &Failed { draining: true, ..get }), "{kind:?}");
        assert!(!repeats(&eager(2), &Failed { body_at_hand: false, ..get }), "{kind:?}");
        let late = Failed { time_left: Duration::from_micros(4999), ..get };
        assert!(!repeats(&eager(2), &late), "{kind:?}");
        assert!(repeats(&eager(2), &Failed { time_left: Duration::from_millis(5), ..get }), "{kind:?}");
    }
}

#[test]
fn a_long_body_is_repeated_only_if_nothing_of_it_was_sent() {
    let settings = Settings { max_body: Size::from_bytes(100), ..eager(2) };
    for kind in KINDS {
        for (body_len, expected) in [(100, true), (101, matches!(kind, Kind::Connect | Kind::Unsent))] {
            let put = Failed { body_len, ..failed(&Method::GET, kind) };
            assert_eq!(repeats(&settings, &put), expected, "{kind:?} {body_len}");
        }
    }
}

#[test]
fn jitter_is_drawn_from_a_span_that_doubles_up_to_its_most() {
    let settings = eager(100);
    for (attempt, most) in [(1, 25), (2, 50), (3, 100), (6, 800), (7, 1000), (40, 1000), (99, 1000)] {
        let after =
            |seed| decide(&settings, &Failed { attempt, seed, ..failed(&Method::GET, Kind::Reset) }).unwrap().after;
        let most = Duration::from_millis(most);
        assert_eq!(after(0), Duration::ZERO);
        assert_eq!(after(1 << 63), most / 2);
        assert!(after(u64::MAX) <= most && after(u64::MAX) + Duration::from_nanos(2) > most, "{attempt}");
    }
    // A base above the most, and durations at the end of their range.
    let odd = with(|s| s.backoff = Backoff { base: Span::from_secs(10), max: Span::from_secs(1) });
    let again = decide(&odd, &Failed { seed: u64::MAX, ..failed(&Method::GET, Kind::Reset) }).unwrap();
    assert!(again.after <= Duration::from_secs(1));
}

#[test]
fn elsewhere_there_is_nothing_to_wait_for_and_only_what_was_seen_is_charged() {
    let (settings, seed) = (eager(2), u64::MAX);
    let of = |kind, seen, other_endpoint| {
        decide(&settings, &Failed { seed, seen, other_endpoint, ..failed(&Method::GET, kind) }).unwrap()
    };
    for other in [false, true] {
        for (kind, seen, charged) in [
            (Kind::Unsent, Seen::Nothing, false),
            (Kind::Stale, Seen::Nothing, false),
            (Kind::Stale, Seen::MaybeSeen, true),
        ] {
            assert_eq!(of(kind, seen, other), Again { after: Duration::ZERO, charged }, "{kind:?}");
        }
        for kind in [Kind::Reset, Kind::Timeout, Kind::PerAttempt, Kind::Status(503)] {
            let again = of(kind, Seen::MaybeSeen, other);
            assert!(again.charged && again.after > Duration::from_millis(24), "{kind:?}: {again:?}");
        }
    }
    assert_eq!(of(Kind::Connect, Seen::Nothing, true), Again { after: Duration::ZERO, charged: false });
    let same = of(Kind::Connect, Seen::Nothing, false);
    assert!(same.charged && same.after > Duration::from_millis(24), "{same:?}");
}

#[test]
fn retry_after_is_waited_for_at_least() {
    let settings = eager(2);
    let told = |kind, seconds, seed| {
        let retry_after = Some(Duration::from_secs(seconds));
        decide(&settings, &Failed { retry_after, seed, ..failed(&Method::GET, kind) }).map(|again| again.after)
    };
    for kind in [Kind::Status(503), Kind::Status(429)] {
        assert_eq!(told(kind, 3, 0), Some(Duration::from_secs(3)));
        let late = told(kind, 3, u64::MAX).unwrap();
        assert!(late > Duration::from_millis(3024) && late <= Duration::from_millis(3025), "{late:?}");
        assert_eq!(told(kind, 10, 0), None, "past the deadline");
        assert_eq!(told(kind, u64::MAX, u64::MAX), None);
    }
    assert_eq!(told(Kind::Reset, 3, 0), Some(Duration::ZERO), "nobody told it anything");
}

#[test]
fn an_attempt_is_bounded_while_another_may_follow() {
    let settings = with(|s| (s.attempts, s.per_attempt) = (3, Some(Span::from_secs(2))));
    let bound = Some(Duration::from_secs(2));
    assert_eq!([1, 2, 3, 4].map(|attempt| settings.per_attempt(attempt, true)), [bound, bound, None, None]);
    assert_eq!(settings.per_attempt(1, false), None);
    assert_eq!(Settings::default().per_attempt(1, true), None);
}

fn settings() -> impl Strategy<Value = Settings> {
    let methods = prop_oneof![Just(Methods::Safe), Just(Methods::Idempotent)];
    let non_idempotent =
        prop_oneof![Just(NonIdempotent::Never), Just(NonIdempotent::Unsent), Just(NonIdempotent::UpstreamDeduplicates)];
    (0u32..6, prop::sample::subsequence(eager(1).retry_on, 0..=104), methods, non_idempotent, 0u64..5000, 0u64..5000)
        .prop_map(|(attempts, retry_on, methods, non_idempotent, base, max)| Settings {
            attempts,
            retry_on,
            methods,
            non_idempotent,
            backoff: Backoff { base: Span::from_millis(base), max: Span::from_millis(max) },
            ..Settings::default()
        })
}

fn method() -> impl Strategy<Value = Method> {
    const NAMES: &[&str] =
        &["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "POST", "PATCH", "CONNECT", "LOCK", "get"];
    prop::sample::select(NAMES).prop_map(|name| name.parse().unwrap())
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![prop::sample::select(&KINDS[..]), (400u16..600).prop_map(Kind::Status)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]

    #[test]
    fn no_unsafe_request_that_may_have_been_seen_is_ever_sent_twice(
        settings in settings(),
        (method, kind, maybe_seen, key, honours) in (method(), kind(), any::<bool>(), any::<bool>(), any::<bool>()),
        (attempt, at_hand, body_len) in (1u32..6, any::<bool>(), 0u64..100_000),
        (other_endpoint, draining, seed) in (any::<bool>(), prop::bool::weighted(0.1), any::<u64>()),
        (retry_after, left, least) in (prop::option::of(0u64..20_000), 0u64..20_000, 0u64..1000),
    ) {
        let failed = Failed {
            kind,
            seen: if maybe_seen { Seen::MaybeSeen } else { Seen::Nothing },
            method: &method,
            has_idempotency_key: key,
            upstream_honours_keys: honours,
            attempt,
            body_at_hand: at_hand,
            body_len,
            other_endpoint,
            retry_after: retry_after.map(Duration::from_millis),
            time_left: Duration::from_millis(left),
            expected_least: Duration::from_millis(least),
            draining,
            seed,
        };
        let Some(again) = decide(&settings, &failed) else { return Ok(()) };
        let safe = matches!(method.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE");
        let by_method = settings.methods == Methods::Idempotent && matches!(method.as_str(), "PUT" | "DELETE");
        let by_key = settings.non_idempotent == NonIdempotent::UpstreamDeduplicates && key && honours;
        let answered = matches!(kind, Kind::Status(_));
        prop_assert!(safe || by_method || by_key || !(maybe_seen || answered), "{failed:?}");
        prop_assert!(safe || by_method || settings.non_idempotent != NonIdempotent::Never);
        // And never what cannot be sent, or would be in vain.
        prop_assert!(attempt < settings.attempts && !draining && at_hand);
        prop_assert!(body_len <= 64 * 1024 || !(maybe_seen || answered));
        prop_assert!(again.after + failed.expected_least <= failed.time_left);
        prop_assert!(!answered || failed.retry_after.is_none_or(|told| again.after >= told));
        prop_assert!(again.charged || !(maybe_seen || answered), "what may have been seen is charged");
    }
}
