//! What documents list is what the code has.

// The lints know tests by #[test]; what the tests share is a test as well.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use http::StatusCode;
use outboard::observe::metrics::{
    AttemptOutcome, CacheResult, ConnectionRefused, KeyedEnd, KeyedResult, MethodLabel, Metrics, RefreshResult,
    RetryOutcome,
};
use outboard::refusal::Reason;

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every family with its type and its labels, as the page has it when everything has happened once.
fn families() -> BTreeMap<String, (String, String)> {
    let metrics = Metrics::new().unwrap();
    let route = metrics.route("r");
    route.finish(MethodLabel::Get, StatusCode::OK, 0.1);
    route.refused(Reason::NoRoute);
    route.retried(RetryOutcome::Ok);
    route.fault("abort");
    route.set_policy_state("retry", 2);
    route.observed(Reason::RateLimited);
    route.decision("a", "allowed").inc();
    metrics.upstream("u").attempt(AttemptOutcome::Ok);
    let breaker = metrics.breaker("route:r");
    breaker.set_state(0);
    breaker.changed("open");
    metrics.queue("u", &["normal"]).waited(0, 0.1);
    metrics.route_cache("r").count(CacheResult::Hit);
    let keys = metrics.route_keys("r");
    keys.count(KeyedResult::First);
    keys.ended(KeyedEnd::Kept);
    metrics.keys.records.with_label_values(&["local", "done"]).set(1);
    metrics.keys.store_up.with_label_values(&["local"]).set(1);
    metrics.cache.kept("r");
    metrics.cache.compared("r", true);
    metrics.cache.refreshed(RefreshResult::Stored);
    metrics.cache.invalidated("purge");
    metrics.coding("gzip").encoded(1000, 200, std::time::Duration::from_micros(20));
    let listener = metrics.listener("l");
    listener.refused(ConnectionRefused::Limit);
    let _open = listener.accepted();
    let page = metrics.render();
    let mut families = BTreeMap::new();
    for line in page.lines().filter_map(|l| l.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        let series = page.lines().find(|l| l.starts_with(name)).unwrap();
        let labels = series.split_once('{').map_or("", |(_, rest)| rest.split('}').next().unwrap());
        let labels: BTreeSet<&str> =
            labels.split(',').filter_map(|l| Some(l.split_once('=')?.0)).filter(|l| *l != "le").collect();
        families.insert(name.to_owned(), (kind.to_owned(), Vec::from_iter(labels).join(", ")));
    }
    families
}

/// The rows of a table whose first cell is a name in backticks.
fn rows(document: &str) -> Vec<Vec<String>> {
    let rows = document.lines().filter(|l| l.starts_with("| `"));
    rows.map(|l| l.trim_matches(['|', ' ']).split(" | ").map(|c| c.trim().replace('`', "")).collect()).collect()
}

#[test]
fn every_metric_is_documented_with_its_type_and_labels() {
    let documented: BTreeMap<String, (String, String)> = rows(&document("docs/metrics.md"))
        .into_iter()
        .filter(|row| row[0].starts_with("outboard_") || row[0].starts_with("process_"))
        .map(|row| (row[0].clone(), (row[1].clone(), row[2].clone())))
        .collect();
    assert_eq!(documented, families());
}

#[test]
fn every_reason_is_documented_with_its_status() {
    let documented: BTreeMap<String, String> = rows(&document("docs/metrics.md"))
        .into_iter()
        .filter(|row| row.len() == 3 && row[1].len() == 3 && row[1].parse::<u16>().is_ok())
        .map(|row| (row[0].clone(), row[1].clone()))
        .collect();
    let known = Reason::ALL.iter().map(|r| {
        // The one that is never sent; the log says 499 of it.
        let status = if *r == Reason::ClientLeft { 499 } else { r.status().as_u16() };
        (r.as_str().to_owned(), status.to_string())
    });
    assert_eq!(documented, known.collect());
}

/// The access line's fields, from a rendered one.
#[test]
fn every_field_of_the_access_line_is_documented() {
    use outboard::config::LogFormat;
    use outboard::observe::log::AccessRecord;
    use outboard::observe::trace::TraceContext;

    let record = AccessRecord {
        trace: Some(TraceContext::new([1; 16], false)),
        client: Some([127, 0, 0, 1].into()),
        query: Some(b"a=b"),
        route: Some("r"),
        upstream: Some("u"),
        endpoint: Some("e"),
        reason: Some(Reason::NoRoute),
        queued: std::time::Duration::from_millis(1),
        upstream_first_byte: Some(std::time::Duration::ZERO),
        reused: Some(true),
        replayed: true,
        request_headers: &[("x-a", b"b")],
        ..AccessRecord::default()
    };
    let mut line = Vec::new();
    record.render(&mut line, LogFormat::Json);
    let line: serde_json::Value = serde_json::from_slice(&line).unwrap();
    let fields: BTreeSet<String> = line.as_object().unwrap().keys().cloned().collect();
    let documented: BTreeSet<String> =
        rows(&document("docs/logging.md")).into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(documented, fields);
}

/// Links between documents lead somewhere.
#[test]
fn links_between_documents_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![root.join("README.md"), root.join("CONTRIBUTING.md"), root.join("CHANGELOG.md")];
    for dir in ["docs", "docs/decisions"] {
        let entries = std::fs::read_dir(root.join(dir)).unwrap().map(|e| e.unwrap().path());
        files.extend(entries.filter(|p| p.extension().is_some_and(|e| e == "md")));
    }
    let mut broken = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap();
            if !link.starts_with("http") && !target.is_empty() && !file.parent().unwrap().join(target).exists() {
                broken.push(format!("{}: {link}", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// The table of annotations is made from the code: what it should be is in the message.
#[test]
fn the_annotations_are_documented() {
    use std::fmt::Write;
    let mut table = String::new();
    for row in outboard::kube::annotations::ALL {
        writeln!(table, "| `{}` | {} | {} | {} |", row.name, row.value, row.default, row.about).unwrap();
    }
    assert!(document("docs/kubernetes.md").contains(&table), "docs/kubernetes.md should hold\n{table}");
}
