use super::*;

fn quick() -> Options {
    let (for_, db_latency) = (Some(Duration::from_secs(3)), Duration::from_millis(1));
    Options { for_, db_latency, clients: 8, ..Options::default() }
}

/// With the application in the proxy's place both sides are direct: everything but the proxy is tried.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn measures_both_sides_without_an_error() {
    let options = quick();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = serve_api(listener, &options).await.unwrap();
    let metrics = || "outboard_cache_requests_total{route=\"get-payment\",result=\"hit\"} 1\n".to_owned();
    let proxy = Proxy { address: api.address(), admin: None, metrics: &metrics };
    let mut out = Vec::new();
    let found = measure(&api, &proxy, &options, &mut out).await.unwrap();
    let text = String::from_utf8(out).unwrap();
    for side in [&found.direct, &found.proxied] {
        for part in [&side.warm_up, &side.saturated, &side.half] {
            assert_eq!(part.load.errors(), 0, "{:?}", part.load.statuses);
            assert!(part.load.requests() > 20 && part.load.received > 1_000, "{text}");
            assert!(part.queries >= part.load.requests());
            assert!(part.load.elapsed < Duration::from_secs(2));
        }
        assert!(side.saturated.load.current > 0 && side.saturated.load.owned > side.saturated.load.current);
    }
    assert!(found.is_correct(), "{text}");
    assert!(found.half_rate > 0.0 && !found.overhead.direct.is_empty());
    for line in ["direct, warm-up", "outboard, half load", "stale reads", "targets met"] {
        assert!(text.contains(line), "{line:?} in {text}");
    }
}

/// What stands between keeps the first list it sees, for everybody and for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_answer_and_a_foreign_one_are_found() {
    let list = serde_json::json!({ "merchant_id": "mer_0001", "merchant_changes": 0, "version": 0 }).to_string();
    let made = serde_json::json!({ "id": "pay_a", "version": 1, "merchant_changes": 1 }).to_string();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    let serve = async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (list, made) = (list.clone(), made.clone());
            let answer = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let body = if request.method() == http::Method::GET { list.clone() } else { made.clone() };
                async { Ok::<_, std::convert::Infallible>(http::Response::new(body)) }
            });
            let io = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, answer));
        }
    };
    let plan = Plan { seed: 1, clients: 4 };
    let steps = plan.saturating().take(2_000);
    let known = Arc::new(Known::new());
    let load = load::run(target, plan.clients, steps, Duration::from_secs(20), &known, |_| {});
    let report = tokio::select! { report = load => report, () = serve => unreachable!() };
    assert_eq!((report.requests(), report.errors()), (2_000, 0));
    assert!(report.stale > 0 && report.stale <= report.current, "{} of {}", report.stale, report.current);
    assert!(report.foreign > report.owned / 2 && report.foreign < report.owned);
}

#[tokio::test]
async fn a_target_that_hangs_up_is_told_as_errors() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    let plan = Plan { seed: 1, clients: 2 };
    let known = Arc::new(Known::new());
    let report = tokio::select! {
        report = load::run(target, 2, plan.saturating(), Duration::from_millis(200), &known, |_| {}) => report,
        never = async { loop { drop(listener.accept().await) } } => never,
    };
    assert!(report.broken > 0);
    assert_eq!(report.errors(), report.requests());
}

#[test]
fn the_file_of_the_demonstration_is_a_configuration() {
    let text = include_str!("../../config/demo.yaml");
    let config = crate::config::load(text, "demo.yaml", &|_| None).unwrap();
    for kind in Kind::ALL {
        assert!(config.routes.iter().any(|route| route.name == kind.name()), "{}", kind.name());
    }
}
