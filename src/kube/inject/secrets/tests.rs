use serde_json::json;

use super::*;

fn told(volume: &Value) -> Option<String> {
    let spec = json!({ "volumes": [volume] });
    usable(&spec, &Maker::default(), "keys").err().map(|refused| refused.message)
}

#[test]
fn a_mode_that_the_sidecars_user_cannot_read_is_found_wherever_it_stands() {
    let secret = |more: Value| {
        let mut secret = json!({ "secretName": "keys" });
        secret.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "name": "keys", "secret": secret })
    };
    let projected = |more: Value, mode: Option<u64>| json!({ "name": "keys", "projected": { "sources": [more], "defaultMode": mode } });
    let items = |mode: Option<u64>| json!([{ "key": "a", "path": "a", "mode": 0o444 }, { "key": "b", "path": "b", "mode": mode }]);
    for good in [
        secret(json!({})),
        secret(json!({ "defaultMode": 0o444 })),
        secret(json!({ "items": items(None) })),
        // Each item has its own: the volume's is nobody's.
        secret(json!({ "defaultMode": 0o400, "items": items(Some(0o444)) })),
        projected(json!({ "secret": { "name": "keys" } }), None),
        projected(json!({ "configMap": { "name": "ca", "items": items(Some(0o644)) } }), Some(0o400)),
        projected(json!({ "serviceAccountToken": { "path": "token" } }), Some(0o400)),
        json!({ "name": "keys", "csi": { "driver": "secrets-store.csi.k8s.io" } }),
    ] {
        assert_eq!(told(&good), None, "{good}");
    }
    for (bad, place) in [
        (secret(json!({ "defaultMode": 0o400 })), "secret.defaultMode 0400"),
        (secret(json!({ "defaultMode": 0 })), "secret.defaultMode 0000"),
        (secret(json!({ "defaultMode": 0o440, "items": items(None) })), "secret.defaultMode 0440"),
        (secret(json!({ "items": items(Some(0o600)) })), "secret.items[1].mode 0600"),
        (projected(json!({ "secret": { "name": "keys" } }), Some(0o400)), "projected.defaultMode 0400"),
        (
            projected(json!({ "secret": { "items": items(Some(0o440)) } }), None),
            "projected.sources[0].secret.items[1].mode 0440",
        ),
    ] {
        let told = told(&bad).unwrap();
        assert!(told.contains(&format!("with {place} user 65532 cannot read them; leave it out")), "{bad}: {told}");
    }
}

#[test]
fn only_what_is_whole_before_a_container_starts_can_be_it() {
    for kind in ["emptyDir", "persistentVolumeClaim", "hostPath", "configMap", "downwardAPI", "ephemeral", "nfs"] {
        let told = told(&json!({ "name": "keys", kind: {} })).unwrap();
        assert_eq!(
            told,
            "outboard.dev/secret-volume: volume keys is no secret, projected or csi volume; name one that is"
        );
    }
    let maker = Maker { claims: vec!["keys".into()], ..Maker::default() };
    let told = usable(&json!({}), &maker, "keys").unwrap_err().message;
    assert!(told.contains("volume keys is no secret"), "a claim's template: {told}");
    let told = usable(&json!({ "volumes": [{ "name": "a" }] }), &maker, "other").unwrap_err().message;
    assert_eq!(told, "outboard.dev/secret-volume: there is no volume other; there is a, keys");
}

#[test]
fn a_file_is_below_a_folder_by_its_own_path_alone() {
    for good in ["/secrets/k1", "/secrets/tls/tls.key", "/secrets//k1", "/secrets/..data"] {
        assert!(is_below(Path::new(good), SECRETS), "{good}");
    }
    for bad in ["/secrets", "/secrets/", "/secretsk1", "secrets/k1", "/secrets/../k1", "/keys/secrets/k1", "", "/"] {
        assert!(!is_below(Path::new(bad), SECRETS), "{bad}");
    }
}
