//! What of an API server the webhook asks for: objects with versions, over HTTPS, for who has the token.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::common::{Conn, Head, Origin, Tls};

pub(crate) const TOKEN: &str = "a-token-of-the-service-account";
pub(crate) const SECRET: &str = "/api/v1/namespaces/outboard/secrets/outboard-injector-tls";
pub(crate) const CONFIGURATION: &str =
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/outboard-injector";

/// An API server.
pub(crate) struct ApiServer {
    origin: Origin,
    objects: Arc<Mutex<BTreeMap<String, Value>>>,
    account: tempfile::TempDir,
}

impl ApiServer {
    pub(crate) fn start(version: &str) -> ApiServer {
        let tls = Tls::new();
        let account = tempfile::tempdir().unwrap();
        std::fs::copy(tls.ca_file(), account.path().join("ca.crt")).unwrap();
        std::fs::write(account.path().join("token"), format!("{TOKEN}\n")).unwrap();
        let (major, minor) = version.split_once('.').unwrap();
        let objects = Arc::new(Mutex::new(BTreeMap::from([
            ("/version".to_owned(), json!({ "major": major, "minor": minor })),
            (
                CONFIGURATION.to_owned(),
                json!({
                    "metadata": { "name": "outboard-injector", "resourceVersion": "1" },
                    "webhooks": [{ "name": "inject.outboard.dev", "clientConfig": { "service": { "name": "outboard-injector" } } }],
                }),
            ),
        ])));
        let served = objects.clone();
        let origin = Origin::tls(&tls, &["http/1.1"], move |conn| {
            while let Some(head) = conn.read_head() {
                let body = conn.read_body(&head);
                answer(conn, &head, &body, &served);
            }
        });
        ApiServer { origin, objects, account }
    }

    /// The environment of a pod of its cluster.
    pub(crate) fn env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("KUBERNETES_SERVICE_HOST", "127.0.0.1".into()),
            ("KUBERNETES_SERVICE_PORT", self.origin.address().port().to_string()),
            ("OUTBOARD_SERVICE_ACCOUNT", self.account.path().display().to_string()),
        ]
    }

    pub(crate) fn set(&self, path: &str, object: Value) {
        self.objects.lock().unwrap().insert(path.to_owned(), object);
    }

    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.objects.lock().unwrap().get(path).cloned()
    }

    pub(crate) fn asked(&self, method: &str, path: &str) -> usize {
        self.origin.requests().iter().filter(|request| request.method == method && request.target == path).count()
    }
}

fn answer(conn: &mut Conn, head: &Head, body: &[u8], objects: &Mutex<BTreeMap<String, Value>>) {
    let mut objects = objects.lock().unwrap();
    let (status, value) = if head.header("authorization") != Some(&format!("Bearer {TOKEN}")) {
        (401, json!({ "message": "Unauthorized" }))
    } else {
        serve(&head.method, &head.target, body, &mut objects)
    };
    let body = value.to_string();
    let text = format!(
        "HTTP/1.1 {status} Status\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    conn.write(text);
}

fn serve(method: &str, path: &str, body: &[u8], objects: &mut BTreeMap<String, Value>) -> (u16, Value) {
    let conflict = || (409, json!({ "message": "the object has been modified" }));
    let next = |object: &Value| {
        let version = object.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or("0");
        json!((version.parse::<u32>().unwrap() + 1).to_string())
    };
    match method {
        "GET" => match objects.get(path) {
            Some(object) => (200, object.clone()),
            None => (404, json!({ "message": format!("{path} not found") })),
        },
        "POST" => {
            let mut object: Value = serde_json::from_slice(body).unwrap();
            let place = format!("{path}/{}", object["metadata"]["name"].as_str().unwrap());
            if objects.contains_key(&place) {
                return conflict();
            }
            object["metadata"]["resourceVersion"] = json!("1");
            objects.insert(place, object.clone());
            (201, object)
        }
        "PUT" => {
            let mut object: Value = serde_json::from_slice(body).unwrap();
            let Some(kept) = objects.get(path) else { return (404, json!({})) };
            if kept["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"] {
                return conflict();
            }
            object["metadata"]["resourceVersion"] = next(kept);
            objects.insert(path.to_owned(), object.clone());
            (200, object)
        }
        "PATCH" => {
            let Some(kept) = objects.get_mut(path) else { return (404, json!({})) };
            let patch: json_patch::Patch = serde_json::from_slice(body).unwrap();
            if json_patch::patch(kept, &patch).is_err() {
                return (422, json!({ "message": "the server rejected our request due to an error in our request" }));
            }
            kept["metadata"]["resourceVersion"] = next(kept);
            (200, kept.clone())
        }
        _ => (405, json!({})),
    }
}
