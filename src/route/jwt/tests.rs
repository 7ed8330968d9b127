use std::path::Path;

use serde_json::{Value, json};

use super::sign::{Signer, set};
use super::*;

fn verifier(file: &Path, names: &[&str]) -> Verifier {
    let settings = Jwt { jwks_file: file.to_owned(), issuer: None, audience: None };
    Verifier::new(&settings, names.iter().map(|n| (*n).to_owned()).collect(), [1, 2]).unwrap()
}

fn authorization(fields: &[&str]) -> HeaderMap {
    fields.iter().fold(HeaderMap::new(), |mut map, field| {
        map.append("authorization", field.parse().unwrap());
        map
    })
}

/// What a request with this token counts by.
fn claim(verifier: &Verifier, token: &str, name: &str, now: u64) -> Option<String> {
    let headers = authorization(&[&format!("Bearer {token}")]);
    let claims = verifier.claims(&headers, Duration::from_secs(now))?;
    verifier.value(&claims, name).map(str::to_owned)
}

fn known(verifier: &Verifier) -> usize {
    verifier.current.load().known.len()
}

/// A file of keys that one key's set stands in.
fn published(signer: &Signer) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), set(&[signer.jwk("a")])).unwrap();
    file
}

#[test]
fn claims_are_text() {
    let signer = Signer::eddsa();
    let file = published(&signer);
    let names = ["text", "number", "fraction", "truth", "list", "object", "null"];
    let verifier = verifier(file.path(), &names);
    let token = signer.token(
        "a",
        &json!({ "exp": 2000, "text": "mer_1", "number": 17, "fraction": 0.5, "truth": true, "list": ["a"],
            "object": {}, "null": null, "unused": "x" }),
    );
    let expected = [Some("mer_1"), Some("17"), Some("0.5"), Some("true"), None, None, None];
    for (name, expected) in names.into_iter().zip(expected) {
        assert_eq!(claim(&verifier, &token, name, 1500).as_deref(), expected, "{name}");
    }
    assert_eq!(claim(&verifier, &token, "unused", 1500), None, "no key uses it");
}

#[test]
fn a_token_is_verified_once_and_known_until_it_expires() {
    let signer = Signer::es256();
    let file = published(&signer);
    let verifier = verifier(file.path(), &["sub"]);
    let token = signer.token("a", &json!({ "exp": 2000, "sub": "mer_1" }));
    let first = verifier.claims(&authorization(&[&format!("Bearer {token}")]), Duration::from_secs(1500)).unwrap();
    let second = verifier.claims(&authorization(&[&format!("bearer  {token} ")]), Duration::from_secs(1999)).unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    let third = verifier.claims(&authorization(&[&format!("Bearer {token}")]), Duration::from_secs(2000)).unwrap();
    assert!(
        !Arc::ptr_eq(&first, &third),
        "from then on only the leeway makes it good, and that is looked at each time"
    );
    assert_eq!(claim(&verifier, &token, "sub", 2060), None);
    assert_eq!(known(&verifier), 1);
    // What is not good is not remembered: who invents tokens drives none out.
    for n in 0..100 {
        let forged = Signer::Secret(vec![n; 32]).token("a", &json!({ "exp": 2000, "sub": "mer_1" }));
        assert_eq!(claim(&verifier, &forged, "sub", 1500), None);
    }
    assert_eq!(known(&verifier), 1);
}

#[test]
fn what_is_known_is_bounded() {
    let signer = Signer::Secret(vec![9; 32]);
    let file = published(&signer);
    let verifier = verifier(file.path(), &["sub"]);
    let long = "x".repeat(20 * LENGTH as usize);
    for n in 0..1000 {
        let token = signer.token("a", &json!({ "exp": 2000, "sub": format!("{n}{long}") }));
        assert!(claim(&verifier, &token, "sub", 1500).is_some());
    }
    let now = verifier.current.load();
    assert!(now.known.weight() <= KNOWN && known(&verifier) < 500, "{} of {}", now.known.weight(), known(&verifier));
}

#[test]
fn other_credentials_are_no_token() {
    let signer = Signer::es256();
    let file = published(&signer);
    let verifier = verifier(file.path(), &["sub"]);
    let token = signer.token("a", &json!({ "exp": 2000, "sub": "mer_1" }));
    let bearer = format!("Bearer {token}");
    let is_good = |fields: &[&str]| verifier.claims(&authorization(fields), Duration::from_secs(1500)).is_some();
    assert!(is_good(&[&bearer]));
    for fields in [&[][..], &["Bearer"], &["Bearer "], &[&token], &[&format!("Basic {token}")], &[&bearer, &bearer]] {
        assert!(!is_good(fields), "{fields:?}");
    }
}

#[test]
fn new_keys_replace_the_old_ones_and_bad_ones_do_not() {
    let (old, new) = (Signer::es256(), Signer::es256());
    let file = published(&old);
    let verifier = verifier(file.path(), &["sub"]);
    let claims = json!({ "exp": 2000, "sub": "mer_1" });
    let (of_old, of_new) = (old.token("a", &claims), new.token("a", &claims));
    let good = || [&of_old, &of_new].map(|token| claim(&verifier, token, "sub", 1500).is_some());
    assert_eq!(good(), [true, false]);
    for bad in ["", "{}", "{\"keys\":[]}", "{\"keys\":[{\"kty\":\"oct\",\"k\":\"aGVsbG8\"}]}"] {
        std::fs::write(file.path(), bad).unwrap();
        verifier.refresh();
        assert_eq!(good(), [true, false], "{bad}");
        assert_eq!(verifier.seen.lock().as_deref(), Some(bad.as_bytes()), "told once");
    }
    std::fs::write(file.path(), set(&[new.jwk("a")])).unwrap();
    verifier.refresh();
    assert_eq!(good(), [false, true], "what a key was good for goes with it");
    std::fs::remove_file(file.path()).unwrap();
    verifier.refresh();
    assert_eq!(good(), [false, true]);
}

#[test]
fn routes_share_what_they_know_of_the_same_section() {
    let signer = Signer::es256();
    let (file, other) = (published(&signer), published(&signer));
    let route = |name: &str, file: &Path, key: &[&str]| -> config::Route {
        let limit = json!([{ "name": "a", "key": key, "limit": "1/1s" }]);
        let route: Value = json!({ "name": name, "jwt": { "jwks_file": file }, "rate_limits": limit });
        serde_json::from_value(route).unwrap()
    };
    let routes = vec![
        route("a", file.path(), &["jwt:sub", "client_ip"]),
        route("b", file.path(), &["jwt:tenant", "jwt:sub"]),
        route("c", other.path(), &["jwt:sub"]),
        route("d", Path::new("/nowhere"), &["client_ip"]),
    ];
    let text =
        "listeners: [{ name: in, address: '127.0.0.1:0' }]\nupstreams: { app: { endpoints: ['127.0.0.1:1'] } }\n";
    let mut config = config::load(text, "t", &|_| None).unwrap();
    config.routes = routes;
    let first = compile(&config, [1, 2], &[]).unwrap();
    assert_eq!(first.iter().map(|v| v.names.join(",")).collect::<Vec<_>>(), ["sub,tenant", "sub"]);
    assert!(Arc::ptr_eq(
        &of(&config.routes[0], &config, &first).unwrap(),
        &of(&config.routes[1], &config, &first).unwrap()
    ));
    assert!(of(&config.routes[3], &config, &first).is_none(), "no key of it uses a claim");
    let mut tenants = config.clone();
    tenants.routes.truncate(1);
    tenants.routes[0].rate_limits.clear();
    tenants.upstreams.values_mut().next().unwrap().queue =
        Some(serde_json::from_value(json!({ "max_concurrent": 1, "fair_by": ["jwt:merchant"] })).unwrap());
    let tenants = compile(&tenants, [1, 2], &first).unwrap();
    assert_eq!(tenants[0].names, ["merchant"], "tenants take turns by a claim");
    // So are answers told apart that are kept, and the owners of idempotency keys.
    let mut kept = config.clone();
    kept.routes.truncate(1);
    kept.routes[0].rate_limits.clear();
    kept.routes[0].cache =
        serde_json::from_value(json!({ "vary_by": ["jwt:who"], "tags": { "add": ["p:{jwt:shop}"] } })).unwrap();
    kept.routes[0].idempotency = serde_json::from_value(json!({ "owner": ["jwt:merchant"] })).unwrap();
    kept.routes[0].invalidates = serde_json::from_value(json!({ "tags": ["q:{jwt:till}"] })).unwrap();
    let kept = compile(&kept, [1, 2], &first).unwrap();
    assert_eq!(kept[0].names, ["merchant", "shop", "till", "who"]);
    // A file that is gone, or bad, does not hinder the reload of something else.
    std::fs::write(other.path(), "bad").unwrap();
    config.routes.remove(1);
    let second = compile(&config, [1, 2], &first).unwrap();
    assert!(Arc::ptr_eq(&first[1], &second[1]) && !Arc::ptr_eq(&first[0], &second[0]));
    let error = compile(&config, [1, 2], &[]).err().unwrap().to_string();
    assert!(error.contains("expected a JSON Web Key Set"), "{error}");
}
