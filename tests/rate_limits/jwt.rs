//! Tokens: whose claims are believed.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::*;
use crate::common::jwt::{Signer, b64, set};

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn claims(subject: &str) -> Value {
    json!({ "iss": "https://issuer", "aud": ["payments"], "sub": subject, "exp": now() + 600 })
}

/// Two requests for each subject; who has no good token is refused at once.
fn by_subject(app: &Origin, keys: &Path) -> String {
    let jwt = format!("    jwt: {{ jwks_file: {}, issuer: \"https://issuer\", audience: payments }}\n", keys.display());
    route(app, &jwt, &["name: sub, key: [\"jwt:sub\"], limit: 2/1h, missing_key: refuse"])
}

fn through(client: &mut Client, requests: usize, token: &str) -> usize {
    let_through(client, requests, "/", &[("authorization", &format!("Bearer {token}"))])
}

#[test]
fn a_count_for_each_subject_of_a_good_token() {
    let app = Origin::echo();
    let (ec, ed, other) = (Signer::es256(), Signer::eddsa(), Signer::es256());
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), set(&[ec.jwk("ec"), ed.jwk("ed")])).unwrap();
    let (proxy, mut client) = before(&by_subject(&app, file.path()));
    assert_eq!(through(&mut client, 4, &ec.token("ec", &claims("mer_1"))), 2);
    assert_eq!(through(&mut client, 4, &ed.token("ed", &claims("mer_2"))), 2);
    // Another token of the same subject is the same key.
    let mut renewed = claims("mer_1");
    renewed["exp"] = json!(now() + 900);
    assert_eq!(through(&mut client, 2, &ed.token("ed", &renewed)), 0);

    let with = |key: &str, value: Value| {
        let mut claims = claims("mer_3");
        claims[key] = value;
        claims
    };
    let good = ec.token("ec", &claims("mer_3"));
    let parts: Vec<&str> = good.split('.').collect();
    let bad = [
        ("expired", ec.token("ec", &with("exp", json!(now() - 61)))),
        ("not yet", ec.token("ec", &with("nbf", json!(now() + 90)))),
        ("wrong issuer", ec.token("ec", &with("iss", json!("https://other")))),
        ("wrong audience", ec.token("ec", &with("aud", json!("other")))),
        ("wrong signature", other.token("ec", &claims("mer_3"))),
        ("of another key", ec.token("ed", &claims("mer_3"))),
        ("alg none", format!("{}.{}.", b64(r#"{"alg":"none"}"#), parts[1])),
        ("alg none with a signature", format!("{}.{}.{}", b64(r#"{"alg":"none"}"#), parts[1], parts[2])),
        ("no subject", ec.token("ec", &with("sub", json!(null)))),
        ("no token", "x".to_owned()),
    ];
    for (what, token) in &bad {
        assert_eq!(through(&mut client, 1, token), 0, "{what}");
    }
    let before = app.count();
    assert_eq!(through(&mut client, 3, &good), 2, "and none of them was counted for the subject");
    assert_eq!(app.count(), before + 2);
    // No line of the log holds a token.
    let output = proxy.raw_output();
    for part in bad.iter().map(|(_, token)| token).chain([&good]).flat_map(|token| token.split('.')) {
        assert!(part.len() < 20 || !output.contains(part), "{part}");
    }
}

#[test]
fn a_request_without_a_good_token_is_counted_by_its_address() {
    let app = Origin::echo();
    let signer = Signer::es384();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), set(&[signer.jwk("a")])).unwrap();
    let text = by_subject(&app, file.path()).replace("missing_key: refuse", "missing_key: client_ip");
    let (_proxy, mut client) = before(&text);
    assert_eq!(let_through(&mut client, 1, "/", &[]), 1);
    let forged = Signer::es384();
    let through_forged: usize =
        (0..4).map(|n| through(&mut client, 1, &forged.token("a", &claims(&format!("m{n}"))))).sum();
    assert_eq!(through_forged, 1, "who invents subjects has one count");
    assert_eq!(through(&mut client, 3, &signer.token("a", &claims("mer_1"))), 2);
}

#[test]
fn the_file_of_keys_is_watched() {
    let app = Origin::echo();
    let (old, new) = (Signer::es256(), Signer::es256());
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), set(&[old.jwk("old")])).unwrap();
    let (proxy, mut client) = before(&by_subject(&app, file.path()));
    let good = |client: &mut Client, signer: &Signer, id: &str, subject: &str| {
        through(client, 1, &signer.token(id, &claims(subject))) == 1
    };
    assert!(good(&mut client, &old, "old", "a") && !good(&mut client, &new, "new", "b"));
    // A bad file keeps the old keys and is told once.
    std::fs::write(file.path(), "{\"keys\": []}").unwrap();
    proxy.eventually("the bad file is told", || proxy.events("jwt_keys_refused").len() == 1);
    assert!(good(&mut client, &old, "old", "c"));
    std::fs::write(file.path(), set(&[new.jwk("new")])).unwrap();
    proxy.eventually("the new keys hold", || proxy.events("jwt_keys_loaded").len() == 1);
    assert_eq!(proxy.events("jwt_keys_refused").len(), 1, "told once");
    assert!(!good(&mut client, &old, "old", "d") && good(&mut client, &new, "new", "e"));
}

#[test]
fn a_file_that_is_no_set_of_keys_does_not_start() {
    let app = Origin::echo();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "{\"keys\": [{\"kty\": \"oct\", \"k\": \"c2VjcmV0\"}]}").unwrap();
    let config = tempfile::NamedTempFile::new().unwrap();
    let text = by_subject(&app, file.path()) + "admin: { address: \"127.0.0.1:0\" }\n";
    std::fs::write(config.path(), text).unwrap();
    let outboard = std::process::Command::new(env!("CARGO_BIN_EXE_outboard"))
        .args(["run", "--config"])
        .arg(config.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&outboard.stderr).into_owned();
    assert!(!outboard.status.success() && said.contains("expected a key for signatures"), "{said}");
    assert!(!said.contains("c2VjcmV0"), "what may be a secret is not repeated");
}
