//! What is said of writes.

use super::*;

/// Notes the fields of events, as `name=value`.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Notes {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target().starts_with("outboard::admin")
    }
    fn event(&self, event: &tracing::Event<'_>) {
        struct Fields(String);
        impl tracing::field::Visit for Fields {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0.push_str(&format!("{}={value:?} ", field.name()));
            }
        }
        let mut fields = Fields(format!("{} ", event.metadata().level()));
        event.record(&mut fields);
        self.0.lock().push(fields.0);
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn each_write_is_one_line_and_a_read_is_none() {
    let notes = Notes::default();
    let _here = tracing::subscriber::set_default(notes.clone());
    let running = start(false).await;
    let (nobody, operator) = (running.client(None), running.client(Some(TOKEN)));
    for path in ["/livez", "/config", "/nothing"] {
        operator.get(path).await.unwrap();
        nobody.get(path).await.unwrap();
    }
    nobody.post("/drain", &json!({})).await.unwrap();
    operator.post("/drain", &json!({ "exit": true })).await.unwrap();
    operator.post("/log-level", &json!({ "level": "warn" })).await.unwrap();
    operator.post("/cache/purge", &json!({ "tag": "payments:mer_1", "soft": true })).await.unwrap();
    operator.post("/cache/purge", &json!({ "route": "none" })).await.unwrap();
    operator.post("/cache/purge", &json!({})).await.unwrap();
    *running.control.reload.lock() = Err(vec!["no".into()]);
    operator.post("/reload", &json!({})).await.unwrap();
    let lines = notes.0.lock();
    for (line, part) in lines.iter().zip([
        r#"action="drain" order="" result="refused" status=401"#,
        r#"action="drain" order="exit" result="ok" status=200"#,
        r#"action="log-level" order="warn" result="ok" status=200"#,
        r#"action="purge" order="soft tag payments:mer_1" result="ok" status=200"#,
        r#"action="purge" order="route none" result="failed" status=404"#,
        r#"action="purge" order="" result="failed" status=400"#,
        r#"action="reload" order="" result="failed" status=422"#,
    ]) {
        assert!(line.starts_with("INFO event=\"admin\" peer=127.0.0.1:") && line.contains(part), "{line}");
    }
    assert_eq!(lines.len(), 7, "{lines:?}");
}
