use super::*;

fn quick() -> Options {
    let (for_, db_latency) = (Some(Duration::from_millis(2_800)), Duration::from_millis(1));
    Options { for_, db_latency, clients: 8, ..Options::default() }
}

/// With the application in the proxy's place both halves are direct: everything but the proxy is tried.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn measures_both_halves_without_an_error() {
    let options = quick();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = serve_api(listener, &options).await.unwrap();
    let metrics = || vec![("outboard_requests_total".to_string(), "1".to_string())];
    let proxy = Proxy { address: api.address(), admin: None, metrics: &metrics };
    let mut out = Vec::new();
    let found = measure(&api, &proxy, &options, &mut out).await.unwrap();
    let text = String::from_utf8(out).unwrap();
    for side in [&found.direct, &found.proxied] {
        assert_eq!(side.load.errors(), 0, "{:?}", side.load.statuses);
        assert!(side.load.requests() > 50 && side.load.body_bytes > 1_000, "{text}");
        assert!(side.queries >= side.load.requests());
        assert!(side.load.elapsed < Duration::from_secs(3));
    }
    assert!(!found.overhead.direct.is_empty());
    assert!(text.contains("reads, p99") && text.contains("outboard_requests_total"), "{text}");
}

#[tokio::test]
async fn a_target_that_hangs_up_is_told_as_errors() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    let plan = Plan { seed: 1, clients: 2, duration: Duration::from_millis(200) };
    let report = tokio::select! {
        report = load::run(target, &plan, |_| {}) => report,
        never = async { loop { drop(listener.accept().await) } } => never,
    };
    assert!(report.broken > 0);
    assert_eq!(report.errors(), report.requests());
}

/// Its environment variables aside, which `config::env` replaces.
#[test]
fn the_file_of_the_demonstration_is_a_configuration() {
    let text = include_str!("../../config/demo.yaml");
    let config: crate::config::Config = serde_yaml::from_str(text).unwrap();
    for kind in Kind::ALL {
        assert!(config.routes.iter().any(|route| route.name == kind.name()), "{}", kind.name());
    }
}
