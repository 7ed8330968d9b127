use super::*;
use crate::kube::version::Version;

fn injector() -> Work {
    Work::Inject(Injector { image: "outboard:test".into(), kubernetes: Version::new(1, 34), all: false })
}

fn work(text: &str, work: &Work) -> Done {
    run(text, "payments.yaml", work).unwrap()
}

const POD: &str = "apiVersion: v1
kind: Pod
metadata: { name: pay, annotations: { outboard.dev/inject: enabled } }
spec: { containers: [{ name: app, image: a, ports: [{ name: http, containerPort: 80 }] }] }
";

#[test]
fn documents_are_cut_at_their_separators_and_nowhere_else() {
    assert_eq!(parts("a: 1\n---\nb: 2\n--- # c\nd: |\n  ---\n"), ["a: 1\n", "---\nb: 2\n", "--- # c\nd: |\n  ---\n"]);
    assert_eq!(parts("---\na: 1\n"), ["---\na: 1\n"]);
    assert_eq!(parts(""), [""]);
    assert_eq!(parts("a: ---b\n---b: 1\n"), ["a: ---b\n---b: 1\n"]);
}

#[test]
fn an_error_is_told_with_its_place_in_the_whole_text() {
    let text = "a: 1\n---\nkind: Pod\nb: 2\nb: 3\n";
    let error = run(text, "payments.yaml", &injector()).unwrap_err();
    assert_eq!(error.to_string(), "payments.yaml:5:4: the key b stands here twice");
    // What cannot be a workload or a Service is somebody else's to read.
    let text = text.replace("kind: Pod", "kind: Values");
    let done = work(&text, &injector());
    assert_eq!(done.text, text);
    assert_eq!(done.notes[0].what, What::Unread("the key b stands here twice".into()));
}

#[test]
fn comments_before_a_changed_document_and_those_of_others_stay() {
    let text = format!("# the licence\n\n---\n# ours\n{POD}---\na:   1 # theirs\n");
    let done = work(&text, &injector());
    assert!(done.text.starts_with("# the licence\n\n---\n# ours\napiVersion: v1\nkind: Pod\n"), "{}", done.text);
    assert!(done.text.ends_with("---\na:   1 # theirs\n"), "{}", done.text);
}

#[test]
fn json_stays_json() {
    let json = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"annotations":{"outboard.dev/inject":"enabled"}},"spec":{"containers":[{"name":"app","ports":[{"name":"http","containerPort":80}]}]}}"#;
    let done = work(json, &injector());
    let value: Value = serde_json::from_str(&done.text).unwrap();
    assert_eq!(value["spec"]["initContainers"][0]["name"], "outboard");
}

#[test]
fn a_service_of_another_namespace_is_another_one() {
    let service = "---\napiVersion: v1\nkind: Service\nmetadata: { name: s, namespace: other }\nspec: { selector: { app: a }, ports: [{ port: 80 }] }\n";
    let pod = POD.replace("name: pay,", "name: pay, labels: { app: a },");
    let done = work(&format!("{pod}{service}"), &injector());
    assert!(done.text.ends_with(service), "{}", done.text);
}

/// A Service that was changed with the pod reaches it after both ways.
#[test]
fn a_port_without_a_name_is_reached_by_its_number_again_when_the_sidecar_is_taken_out() {
    let pod = POD.replace("name: pay,", "name: pay, labels: { app: a },").replace("name: http, ", "");
    let service = "---\napiVersion: v1\nkind: Service\nmetadata: { name: s }\nspec: { selector: { app: a }, ports: [{ port: 80 }] }\n";
    let injected = work(&format!("{pod}{service}"), &injector());
    assert!(injected.text.contains("targetPort: outboard\n"), "{}", injected.text);
    let back = work(&injected.text, &Work::Uninject);
    assert!(back.text.contains("targetPort: 80\n") && !back.text.contains("targetPort: outboard"), "{}", back.text);
    assert!(back.notes.contains(&Note { object: "Service/s".into(), what: What::Renamed("80".into()) }));
}

#[test]
fn who_is_injected_and_declines_later_is_freed() {
    let injected = work(POD, &injector());
    let declines = injected.text.replace("outboard.dev/inject: enabled", "outboard.dev/inject: disabled");
    let done = work(&declines, &injector());
    assert!(!done.text.contains("initContainers") && !done.text.contains("status"), "{}", done.text);
}

#[test]
fn all_takes_what_says_nothing_but_not_what_says_no() {
    let all = Work::Inject(Injector { image: "i".into(), kubernetes: Version::new(1, 34), all: true });
    assert!(work(&POD.replace("outboard.dev/inject: enabled", "a: b"), &all).text.contains("/outboard"));
    assert!(!work(&POD.replace("enabled", "disabled"), &all).text.contains("/outboard"));
}

/// What was changed since the injection is not taken back with it.
#[test]
fn later_edits_stay_when_the_sidecar_is_taken_out() {
    let injected = work(&POD.replace("spec: {", "spec: { terminationGracePeriodSeconds: 10,"), &injector()).text;
    assert!(injected.contains("terminationGracePeriodSeconds: 26") && injected.contains("seconds: 6"), "{injected}");
    let edited = injected.replace("terminationGracePeriodSeconds: 26", "terminationGracePeriodSeconds: 120");
    let edited = edited.replace("seconds: 6", "seconds: 30");
    let back = work(&edited, &Work::Uninject).text;
    assert!(back.contains("terminationGracePeriodSeconds: 120") && back.contains("seconds: 30"), "{back}");
    // Nor lowered by an injection anew.
    assert!(work(&edited, &injector()).text.contains("terminationGracePeriodSeconds: 120"));
}
