use super::api_server::ApiServer;
use super::*;

const NAMESPACE: &str = "/api/v1/namespaces/shop";
const SERVICES: &str = "/api/v1/namespaces/shop/services";
const CONFIG_MAPS: &str = "/api/v1/namespaces/shop/configmaps?labelSelector=outboard.dev%2Fconfig";

fn namespace(api: &ApiServer, annotations: Value, target: Value, configuration: &str) {
    api.set(NAMESPACE, json!({ "metadata": { "name": "shop", "annotations": annotations } }));
    let service = json!({ "metadata": { "name": "payments" }, "spec": { "selector": { "app": "payments" }, "ports": [{ "port": 80, "targetPort": target }] } });
    api.set(SERVICES, json!({ "items": [service] }));
    let map = json!({ "metadata": { "name": "payments-outboard" }, "data": { "outboard.yaml": configuration } });
    api.set(CONFIG_MAPS, json!({ "items": [map] }));
}

fn files(tls: &Tls) -> Vec<String> {
    let file = |path: std::path::PathBuf| path.display().to_string();
    ["--cert-file".into(), file(tls.cert_file()), "--key-file".into(), file(tls.key_file())].into()
}

fn webhook(tls: &Tls, api: &ApiServer) -> Webhook {
    let files = files(tls);
    let webhook = Webhook::start(&files.iter().map(String::as_str).collect::<Vec<_>>(), &api.env());
    webhook.await_ready();
    webhook
}

#[test]
fn a_service_that_reaches_the_port_by_its_number_refuses_the_pod() {
    let (tls, api) = (Tls::new(), ApiServer::start("1.34"));
    namespace(&api, json!({}), json!(8080), "");
    let webhook = webhook(&tls, &api);
    let mut client = Client::tls(webhook.listen, &tls, "localhost", &[]);
    let response = ask(&mut client, &review(&pod()));
    assert_eq!(response["allowed"], false);
    let message = response["status"]["message"].as_str().unwrap();
    assert!(
        message.contains(
            "Service payments reaches port 8080 by its number and would pass by the sidecar; write targetPort: http"
        ),
        "{message}"
    );
    assert_eq!(webhook.metric("outboard_webhook_reviews_total{reason=\"numeric_target\",result=\"refused\"}"), 1.0);
}

#[test]
fn a_namespace_may_say_that_such_pods_are_created_all_the_same() {
    let (tls, api) = (Tls::new(), ApiServer::start("1.34"));
    namespace(&api, json!({ "outboard.dev/on-failure": "ignore" }), json!(8080), "");
    let webhook = webhook(&tls, &api);
    let mut client = Client::tls(webhook.listen, &tls, "localhost", &[]);
    let response = ask(&mut client, &review(&pod()));
    assert_eq!((&response["allowed"], response.get("patch")), (&json!(true), None));
    assert!(response["warnings"][0].as_str().unwrap().starts_with("without outboard: Service payments"));
}

#[test]
fn a_config_map_with_the_label_is_read_and_its_drain_is_allowed_for() {
    let (tls, api) = (Tls::new(), ApiServer::start("1.34"));
    let configuration = "admin: { probes: \"0.0.0.0:9902\" }\ndefaults: { timeouts: { first_byte: 20s, total: 50s } }\n\
        listeners: [{ name: in, address: \"0.0.0.0:${OUTBOARD_PORT}\", direction: inbound }]\n\
        upstreams: { app: { endpoints: [\"127.0.0.1:${APP_PORT}\"] } }\n";
    namespace(&api, json!({}), json!("http"), configuration);
    let webhook = webhook(&tls, &api);
    let mut client = Client::tls(webhook.listen, &tls, "localhost", &[]);
    let mut asked = pod();
    asked["metadata"]["annotations"]["outboard.dev/config"] = json!("payments-outboard");
    let response = ask(&mut client, &review(&asked));
    let made = patched(&asked, &response);
    assert_eq!(made["spec"]["terminationGracePeriodSeconds"], 61);
    assert_eq!(response["warnings"], json!(["terminationGracePeriodSeconds was 30 and is 61: a drain may take 56 s"]));
    // Pods of a Deployment come together: the namespace is asked for once.
    for _ in 0..20 {
        ask(&mut client, &review(&asked));
    }
    assert_eq!(api.asked("GET", SERVICES), 1);
}

#[test]
fn an_old_cluster_gets_classic_sidecars_without_being_told() {
    let (tls, api) = (Tls::new(), ApiServer::start("1.30+"));
    namespace(&api, json!({}), json!("http"), "");
    let webhook = webhook(&tls, &api);
    let mut client = Client::tls(webhook.listen, &tls, "localhost", &[]);
    let made = patched(&pod(), &ask(&mut client, &review(&pod())));
    assert_eq!(
        (&made["spec"]["containers"][0]["name"], made["spec"].get("initContainers")),
        (&json!("outboard"), None)
    );
    assert_eq!(webhook.events("webhook_started")[0]["kubernetes"], "1.30");
}

#[test]
fn without_the_api_server_pods_are_judged_by_themselves() {
    let (tls, api) = (Tls::new(), ApiServer::start("1.34"));
    let webhook = webhook(&tls, &api);
    drop(api);
    let mut client = Client::tls(webhook.listen, &tls, "localhost", &[]);
    let response = ask(&mut client, &review(&pod()));
    assert_eq!((&response["allowed"], &response["patchType"]), (&json!(true), &json!("JSONPatch")));
    eventually("it said so", || !webhook.events("cluster_not_read").is_empty());
}

/// A pod of a controller, with a configuration whose records one process has to itself.
fn keyed(name: &str, kind: &str, owner: &str) -> Value {
    let mut keyed = pod();
    keyed["metadata"]["name"] = json!(name);
    keyed["metadata"]["annotations"]["outboard.dev/config"] = json!("payments-outboard");
    keyed["metadata"]["ownerReferences"] =
        json!([{ "apiVersion": "apps/v1", "kind": kind, "name": owner, "uid": "u", "controller": true }]);
    keyed
}

#[test]
fn records_that_a_retry_would_miss_refuse_the_pod() {
    let (tls, api) = (Tls::new(), ApiServer::start("1.34"));
    let configuration = "admin: { probes: \"0.0.0.0:9902\" }\nstores: { data_dir: /var/lib/outboard }\n\
        listeners: [{ name: in, address: \"0.0.0.0:${OUTBOARD_PORT}\", direction: inbound }]\n\
        upstreams: { app: { endpoints: [\"127.0.0.1:${APP_PORT}\"] } }\n\
        routes: [{ name: charge, idempotency: { owner: [header:x-merchant-id] } }]\n";
    namespace(&api, json!({}), json!("http"), configuration);
    let webhook = webhook(&tls, &api);
    let mut client = Client::tls(webhook.listen, &tls, "localhost", &[]);
    let refused = "outboard_webhook_reviews_total{reason=\"local_records\",result=\"refused\"}";

    let mut replica = keyed("payments-5d4-x", "ReplicaSet", "payments-5d4");
    let response = ask(&mut client, &review(&replica));
    assert_eq!(response["allowed"], false);
    let message = response["status"]["message"].as_str().unwrap();
    for part in [
        "ConfigMap payments-outboard: route charge: store: local holds only while every try of a key reaches this one process",
        "a ReplicaSet makes pods beside each other",
        "outboard.dev/idempotency-local: i-run-one-replica",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert!(response["warnings"][0].as_str().unwrap().starts_with("ConfigMap payments-outboard: route charge"));
    assert_eq!(webhook.metric(refused), 1.0);

    // Who says so has a folder that outlives the container.
    replica["metadata"]["annotations"]["outboard.dev/idempotency-local"] = json!("i-run-one-replica");
    let made = patched(&replica, &ask(&mut client, &review(&replica)));
    let mounts = made["spec"]["initContainers"][0]["volumeMounts"].as_array().unwrap();
    assert!(mounts.contains(&json!({ "name": "outboard-data-dir", "mountPath": "/var/lib" })), "{mounts:?}");

    // The controller has made a volume of the claim's template by then.
    let claims = json!([{ "name": "records", "persistentVolumeClaim": { "claimName": "records-payments-0" } }]);
    for (name, allowed) in [("payments-0", true), ("payments-1", false)] {
        let mut numbered = keyed(name, "StatefulSet", "payments");
        numbered["spec"]["volumes"] = claims.clone();
        assert_eq!(ask(&mut client, &review(&numbered))["allowed"], false, "{name}: its claim is not named");
        numbered["metadata"]["annotations"]["outboard.dev/data-volume"] = json!("records");
        let response = ask(&mut client, &review(&numbered));
        assert_eq!(response["allowed"], allowed, "{name}: {response}");
        if allowed {
            let made = patched(&numbered, &response);
            let mounts = made["spec"]["initContainers"][0]["volumeMounts"].as_array().unwrap();
            assert!(mounts.contains(&json!({ "name": "records", "mountPath": "/var/lib" })), "{mounts:?}");
        }
    }
    assert_eq!(webhook.metric(refused), 4.0);

    // Its namespace may have it without: the way of every refusal.
    replica["metadata"]["annotations"].as_object_mut().unwrap().remove("outboard.dev/idempotency-local");
    replica["metadata"]["annotations"]["outboard.dev/on-failure"] = json!("ignore");
    let response = ask(&mut client, &review(&replica));
    assert_eq!((&response["allowed"], response.get("patch")), (&json!(true), None));
    assert!(response["warnings"][0].as_str().unwrap().starts_with("without outboard: ConfigMap payments-outboard"));
}

/// A pod whose configuration names files.
fn with_files(volumes: Value) -> Value {
    let mut with = pod();
    with["metadata"]["annotations"]["outboard.dev/config"] = json!("payments-outboard");
    with["spec"]["volumes"] = volumes;
    with
}

#[test]
fn a_secret_that_the_sidecar_would_not_have_refuses_the_pod_and_a_volume_of_it_lets_it_in() {
    let (tls, api) = (Tls::new(), ApiServer::start("1.34"));
    let configuration = "admin: { probes: \"0.0.0.0:9902\" }\n\
        stores: { redis: { url_file: /secrets/redis-url }, encryption_keys: [{ id: k1, file: /secrets/k1 }] }\n\
        listeners: [{ name: in, address: \"0.0.0.0:${OUTBOARD_PORT}\", direction: inbound }]\n\
        upstreams: { app: { endpoints: [\"127.0.0.1:${APP_PORT}\"] } }\n\
        routes: [{ name: charge, idempotency: { owner: [header:x-merchant-id], store: redis } }]\n";
    namespace(&api, json!({}), json!("http"), configuration);
    let webhook = webhook(&tls, &api);
    let mut client = Client::tls(webhook.listen, &tls, "localhost", &[]);
    let count = |reason: &str, result: &str| {
        webhook.metric(&format!("outboard_webhook_reviews_total{{reason=\"{reason}\",result=\"{result}\"}}"))
    };

    let mut asked = with_files(json!([{ "name": "keys", "secret": { "secretName": "payments-outboard" } }]));
    let response = ask(&mut client, &review(&asked));
    assert_eq!(response["allowed"], false, "its volume is not named");
    let message = response["status"]["message"].as_str().unwrap();
    for part in [
        "ConfigMap payments-outboard: no volume of the sidecar's has stores.encryption_keys[0].file /secrets/k1, \
         stores.redis.url_file /secrets/redis-url;",
        "the name of a secret, projected or csi volume of the pod into outboard.dev/secret-volume",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(count("configuration", "refused"), 1.0);

    asked["metadata"]["annotations"]["outboard.dev/secret-volume"] = json!("keys");
    let response = ask(&mut client, &review(&asked));
    assert_eq!((&response["allowed"], response.get("warnings")), (&json!(true), None), "{response}");
    let made = patched(&asked, &response);
    let mounts = made["spec"]["initContainers"][0]["volumeMounts"].as_array().unwrap();
    assert!(mounts.contains(&json!({ "name": "keys", "mountPath": "/secrets", "readOnly": true })), "{mounts:?}");
    assert_eq!(made["spec"]["containers"][0].get("volumeMounts"), None);
    assert_eq!(count("", "injected"), 1.0);

    // The sidecar's user is not root, and the pod has no group.
    let keys = json!([{ "name": "keys", "secret": { "secretName": "payments-outboard", "defaultMode": 0o400 } }]);
    asked["spec"]["volumes"] = keys;
    let response = ask(&mut client, &review(&asked));
    assert_eq!(response["allowed"], false);
    let message = response["status"]["message"].as_str().unwrap();
    assert!(message.contains("with secret.defaultMode 0400 user 65532 cannot read them"), "{message}");
    assert_eq!(count("annotation", "refused"), 1.0);
    asked["spec"]["securityContext"] = json!({ "fsGroup": 2000 });
    assert_eq!(ask(&mut client, &review(&asked))["allowed"], true);
}

/// What answers are kept in is said with what to write, and arrives whole.
#[test]
fn answers_kept_in_clear_are_told_with_the_annotation() {
    let (tls, api) = (Tls::new(), ApiServer::start("1.34"));
    let configuration = "admin: { probes: \"0.0.0.0:9902\" }\nstores: { redis: { url: \"redis://redis:6379/0\" } }\n\
        listeners: [{ name: in, address: \"0.0.0.0:${OUTBOARD_PORT}\", direction: inbound }]\n\
        upstreams: { app: { endpoints: [\"127.0.0.1:${APP_PORT}\"] } }\n\
        routes: [{ name: charge, idempotency: { owner: [header:x-merchant-id], store: redis } }]\n";
    namespace(&api, json!({}), json!("http"), configuration);
    let webhook = webhook(&tls, &api);
    let mut client = Client::tls(webhook.listen, &tls, "localhost", &[]);
    let response = ask(&mut client, &review(&with_files(json!([]))));
    assert_eq!(response["allowed"], true);
    let told = response["warnings"][0].as_str().unwrap();
    assert!(told.contains("the application's answers are kept in clear"), "{told}");
    assert!(told.ends_with("; write file: /secrets/k1, and its volume into outboard.dev/secret-volume"), "{told}");
}
