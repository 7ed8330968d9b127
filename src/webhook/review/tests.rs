use std::collections::BTreeMap;

use super::*;
use crate::kube::version::Version;

fn injector() -> Injector {
    Injector { image: "outboard:test".into(), kubernetes: Version::new(1, 34), all: false }
}

fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "generateName": "payments-5d4-", "annotations": { "outboard.dev/inject": "enabled" } },
        "spec": { "containers": [{ "name": "app", "image": "a", "ports": [{ "name": "http", "containerPort": 8080 }] }] },
    })
}

fn review(object: Value, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": { "group": "", "version": "v1", "kind": "Pod" },
            "resource": { "group": "", "version": "v1", "resource": "pods" },
            "namespace": "shop", "operation": "CREATE", "dryRun": false,
            "object": object,
        },
    });
    change(&mut review);
    review.to_string().into_bytes()
}

fn answer(body: &[u8], namespace: Option<&Arc<Namespace>>) -> (Result, Value) {
    let reviewed = Review::read(body).unwrap().answer(&injector(), namespace);
    let answer: Value = serde_json::from_slice(&reviewed.body).unwrap();
    assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(answer["kind"], "AdmissionReview");
    assert_eq!(answer["response"]["uid"], "705ab4f5-6393-11e8-b7cc-42010a800002");
    (reviewed.result, answer["response"].clone())
}

/// The pod after the patch, as an API server makes it.
fn patched(mut pod: Value, response: &Value) -> Value {
    assert_eq!(response["patchType"], "JSONPatch");
    let patch = BASE64_STANDARD.decode(response["patch"].as_str().unwrap()).unwrap();
    json_patch::patch(&mut pod, &serde_json::from_slice::<json_patch::Patch>(&patch).unwrap()).unwrap();
    pod
}

#[test]
fn the_patch_makes_what_the_command_makes() {
    let (result, response) = answer(&review(pod(), |_| ()), None);
    assert_eq!((result, &response["allowed"]), (Result::Injected, &json!(true)));
    let around = Surroundings {
        ends: false,
        maker: Maker::default(),
        services: None,
        services_change: false,
        config_map: &|_| None,
    };
    let Ok(Outcome::Injected(injected)) = inject(&injector(), &around, &pod()) else { panic!("injected") };
    assert_eq!(patched(pod(), &response), injected.pod);
}

#[test]
fn what_is_no_new_pod_is_let_through() {
    for change in [
        |review: &mut Value| review["request"]["operation"] = json!("UPDATE"),
        |review: &mut Value| review["request"]["operation"] = json!("DELETE"),
        |review: &mut Value| {
            review["request"]["kind"] = json!({ "group": "apps", "version": "v1", "kind": "Deployment" })
        },
        |review: &mut Value| {
            review["request"]["kind"] = json!({ "group": "example.com", "version": "v1", "kind": "Pod" })
        },
        |review: &mut Value| {
            review["request"]["object"]["metadata"]["annotations"]["kubernetes.io/config.mirror"] = json!("x")
        },
        |review: &mut Value| {
            review["request"].as_object_mut().unwrap().remove("object");
            review["request"].as_object_mut().unwrap().remove("kind");
        },
    ] {
        let (result, response) = answer(&review(pod(), change), None);
        assert_eq!((result, &response["allowed"]), (Result::Skipped, &json!(true)));
        assert!(response.get("patch").is_none() && response.get("warnings").is_none(), "{response}");
    }
}

#[test]
fn a_pod_that_cannot_be_injected_is_refused_with_what_to_write_or_created_as_its_namespace_says() {
    let mut bad = pod();
    bad["spec"]["hostNetwork"] = json!(true);
    let (result, response) = answer(&review(bad.clone(), |_| ()), None);
    assert_eq!((result, &response["allowed"]), (Result::Refused(Reason::HostNetwork), &json!(false)));
    let message = response["status"]["message"].as_str().unwrap();
    assert!(message.starts_with("outboard cannot be injected: it uses hostNetwork"), "{message}");
    assert!(response["warnings"][0].as_str().unwrap().starts_with("it uses hostNetwork"));

    let lenient = Arc::new(Namespace::with(Some(OnFailure::Ignore), None, BTreeMap::new()));
    let (result, response) = answer(&review(bad.clone(), |_| ()), Some(&lenient));
    assert_eq!((result, &response["allowed"]), (Result::Ignored(Reason::HostNetwork), &json!(true)));
    assert!(response["warnings"][0].as_str().unwrap().starts_with("without outboard: it uses hostNetwork"));
    assert!(response.get("patch").is_none());

    // The pod's own word goes before its namespace's.
    bad["metadata"]["annotations"]["outboard.dev/on-failure"] = json!("refuse");
    assert_eq!(answer(&review(bad, |_| ()), Some(&lenient)).0, Result::Refused(Reason::HostNetwork));
}

#[test]
fn a_jobs_pod_gets_a_sidecar_that_lets_it_end() {
    let mut pod = pod();
    pod["metadata"]["ownerReferences"] =
        json!([{ "apiVersion": "batch/v1", "kind": "Job", "name": "settle", "uid": "u" }]);
    let old = Injector { kubernetes: Version::new(1, 30), ..injector() };
    let reviewed = Review::read(&review(pod.clone(), |_| ())).unwrap().answer(&old, None);
    let response: Value = serde_json::from_slice(&reviewed.body).unwrap();
    let pod = patched(pod, &response["response"]);
    assert_eq!(pod["spec"]["initContainers"][0]["restartPolicy"], "Always");
}

#[test]
fn a_service_that_would_pass_by_the_sidecar_is_found() {
    let service = |target: Value| {
        json!({ "metadata": { "name": "payments" }, "spec": {
            "selector": { "app": "payments" }, "ports": [{ "port": 80, "targetPort": target }] } })
    };
    let mut pod = pod();
    pod["metadata"]["labels"] = json!({ "app": "payments" });
    for (target, result) in [
        (json!(8080), Result::Refused(Reason::NumericTarget)),
        (json!("http"), Result::Injected),
        (json!(9), Result::Injected),
    ] {
        let namespace = Arc::new(Namespace::with(None, Some(vec![service(target)]), BTreeMap::new()));
        assert_eq!(answer(&review(pod.clone(), |_| ()), Some(&namespace)).0, result);
    }
}

/// A template that was made of a running pod: without a sidecar it would start in silence.
#[test]
fn a_status_without_a_sidecar_is_refused() {
    let mut copied = pod();
    copied["metadata"]["annotations"]["outboard.dev/status"] = json!("{}");
    assert_eq!(answer(&review(copied.clone(), |_| ()), None).0, Result::Refused(Reason::Annotation));
    copied["metadata"]["annotations"]["outboard.dev/inject"] = json!("");
    assert_eq!(answer(&review(copied, |_| ()), None).0, Result::Left(Left::NotAsked));
}

#[test]
fn what_is_no_review_is_told_so() {
    let told = |body: &[u8]| Review::read(body).err().unwrap().to_string();
    assert!(told(b"").starts_with("expected an AdmissionReview"));
    assert!(told(b"[1,").starts_with("expected an AdmissionReview"));
    assert_eq!(
        told(br#"{"apiVersion":"admission.k8s.io/v1beta1","request":{"uid":"1"}}"#),
        "expected apiVersion admission.k8s.io/v1, got \"admission.k8s.io/v1beta1\""
    );
    assert!(told(br#"{"apiVersion":"admission.k8s.io/v1"}"#).starts_with("expected a request"));
}

#[test]
fn warnings_fit_into_their_header() {
    assert_eq!(warning("a\nb\u{7}c"), "a b c");
    let long = warning(&"é".repeat(400));
    let long = long.as_str().unwrap();
    assert!(long.len() <= LONGEST && long.ends_with("é…"), "{}", long.len());
}
