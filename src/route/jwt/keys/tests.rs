//! Which tokens are good: each algorithm, and what must never be.

use serde_json::json;

use super::super::sign::{Signer, b64, set};
use super::*;

/// The modulus of an RSA key whose other half nobody has kept.
const MODULUS: &str = "s-anhgDFFgKZpbM9DySqtED9cgqV_cpYn7zrb5UpUjH7_fH6JXgtj6YJo78DyEwuitbpdTJW1Tc_sYlrXSvAn4uRFMV18BftWw4nvHiUHv89Xu8ecB_WQ4LziqSJOpMgcdZi5i56kZnQaDGoEN8AOzbyy5s_yp1dPOSMCqVUGeIXwgHTgTOfN8S7bn4fG9JGGVDjFmGxmfc1Qcz9LiSBYUwkONpXKMfIP3bSozIPnxssBZ-QHcYXgnLlRxtL6hw63lebAplg8m8MsqMjXprJqcjxSPtOi_korZ7ysc3xE6fYIZDQpo_w4_mY863bBCai2B9D6cZK4eNLVbXLKg6wzQ";

/// What it signed, `{"alg":"RS256","kid":"r"}` with each algorithm and `{"sub":"mer_1","exp":2000}`; made by OpenSSL.
const SIGNED: [(&str, &str); 6] = [
    (
        "RS256",
        "ahucQvOImKiC3t8v-_Jz_8ZFAVgBugkC7VabPlPWB_Kbf620blPNPEl9XbH0BoPfHF127rPMLdSDmqnL90bXdRg-B1OoC9YWihjKYHhbTJ-i-cfmZkE4FscspfR4DEFkJYbwM8fFkZDQe6PxR8gJeBqxqOXJhHFEezElZhsSjzKFJXLR24fObFolA4yuZjbHprS_r-TYZuf2lQQm2Y5Enx74QjSu8imuEMKV42FeRA_sttBI3CEBxhgZVwWcnqrPvKdhF_vKnnr2kfAfZFpzZsK3fR6A-t3S7wZ-IaSFneBCxnG7MtcvGUUimOoHwWinSmxAwg06P2Nlx2z4Ks_Ozg",
    ),
    (
        "RS384",
        "Q5EKu_ZYC_MhfND1DKUmbC1EJ2KbLN8BfNXB6bpmlNNIJjHE41NKMDhQY9iWXgL9SFcgKcBiE93oe4vwNeL1TpdC_4t0pSZTUbvrKC3mzZElZq7tWp9qOz3glEsWw2CSRRHNli5t6VjJQn4OB2ovRiDpt2JHgsGss2RhndnNwzFo_0EH5qlgR0ab711Anmhm464Q5hASUqe5nHtRLwMXwzNOwm17VH2t6l-L9sYuxXOQYtGaM8aalldMWUIuow1JLE07K2KsjpRW_iti8tJI6c_9lib8DkmsgG_ZeCLTuwzKQWvk1Gq5nIRDDVADmB4M4urJuHxZeJqkl1s0AtmGbA",
    ),
    (
        "RS512",
        "DaHlYbMHo2beoyNvHG7Y_RjMimPGinktzKgZxQUV85gKNlfbcPrH7te7hzR-spHlK6hzj-ChsT5nPogHlbF-t06bX7fzIna1QOtVhdRmUpXIfwowCwY8haiIv6MKox6OhbIhPgtlEheApM9ndd-od8sX2HCG5q1-iM3CjLNmIWbxRBFV8WVW4QhWf6tpACdUnbfEpil_FFLEMH5XyBQeJ3hqIKNIoCAKIboE9bHeqaDeGDdWL6D_nemg_hu__a61_6YuqLIv0dpM03EocAdkxLOXyWK-XsNRZRK38zlFp_a1oFH0NStuHysD7B-UnF67EMFdPORvMvlkeomtArPcIQ",
    ),
    (
        "PS256",
        "C3ck4paeDUN-u-jGfZIncO6VXSGbs4FuoV3LLsbQdEZVzwWub4T9PezIfHwojX2iO1LWstnc4xpUwSPE1S0CGdcYstVdBMWHH9l6f7iHciy00X-KaNePQLmNFG0vvzErQv_34wVB-R3wz2ekXALH2_6iOqPUMSY_NjMIS03eQUTsT2uU7zuDsWIYGcHPv1oRFgiyKjTuy7iKqNcY0VYQX6XKIpJX2cOOix1lucruYK6sfn3d_f150rEBGyiu7SK94YyTc-maa4hgw0vp1_ssYzWWGE5rtdqcr6kyAZEtSnqEJUl7rAYPyEZmn0_ypij6AF_77dI9XuJXdiPaqXw3Hg",
    ),
    (
        "PS384",
        "hvGsEbyxNuP-jRDttz5po0M9sdB27tuGtgJKnlt8nMCJGPNar6Q8deBVlYhDsOPFyxmJ4kQrQOVoQLz2Lr1ZvpyhtQ8whkvtyvvUBmBDphTxNbAv-JBKsuc51bx_qk-XZRB9SslbycuFfuaQUcEK_aq2mr9gnO4r0icWLk2xPOuTpNFZWcnqufkGc_WQIe260SpD4pvhR1Qn657lxnqsnBUcwbKH8GgbzP2OoLXA2a3ATnpQEemKIVhT3wM1sCIrA9c0t_8O-zlWfqmf0AvXE72XY5jHZqk459prgXo2d7Ptp1owsWtYJqVYK5-WrtHZvrlVBnNkBZ748NhMfs_C0w",
    ),
    (
        "PS512",
        "dx4STzZuR8CymnUgDeyrpcK9u6AdROW0m_ylXTmq6dScwKegqB8MjUIoqJDa2m-qCr_JCdmMiefaZ0gv0ViD2eqF2TK1YtvboL5roMnm6wdTIEZ-7HLHA8SZsl0GBdvh4zu3nynmKOuGXn60rU1Yonx8vsdqEEHym4EVLpfF-I98Z-m7C4c2GMR11DcJ4iDxGJjr9QOmcnAUGdCYMXf2yF1L1YEbBy3mtn7ibg_pUSqQnn9aQXG7u_JtOTKX6ghGmrz49B9Z-VV7G7nZOBxbYnjyvKlbC-o9N37n-L_zeMkw2Dh0tjf8xlmk3P_VG3SUj7G2OOxDBcaDXiRsXa5DLg",
    ),
];

fn settings() -> Jwt {
    Jwt { jwks_file: "keys.json".into(), issuer: Some("https://issuer".into()), audience: Some("payments".into()) }
}

fn anyone() -> Jwt {
    Jwt { issuer: None, audience: None, ..settings() }
}

fn keys(jwks: &[Value]) -> Keys {
    Keys::parse(set(jwks).as_bytes()).unwrap()
}

fn good() -> Value {
    json!({ "iss": "https://issuer", "aud": "payments", "sub": "mer_1", "exp": 2000, "nbf": 1000 })
}

fn with(key: &str, value: Value) -> Value {
    let mut claims = good();
    claims[key] = value;
    claims
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn every_algorithm_of_public_keys_and_the_secret() {
    for signer in [Signer::es256(), Signer::es384(), Signer::eddsa(), Signer::Secret(vec![7; 32])] {
        let keys = keys(&[signer.jwk("a")]);
        let verified = keys.verify(signer.token("a", &good()).as_bytes(), &settings(), at(1500)).unwrap();
        assert_eq!((verified.claims["sub"].as_str(), verified.expires), (Some("mer_1"), at(2000)));
    }
    let zero = b64([&[0][..], &[1, 0, 1]].concat());
    for exponent in ["AQAB", &zero] {
        let keys = keys(&[json!({ "kty": "RSA", "kid": "r", "n": MODULUS, "e": exponent })]);
        for (algorithm, signature) in SIGNED {
            let head = format!(r#"{{"alg":"{algorithm}","kid":"r"}}"#);
            let token = format!("{}.{}.{signature}", b64(head), b64(r#"{"sub":"mer_1","exp":2000}"#));
            let verified = keys.verify(token.as_bytes(), &anyone(), at(1500));
            assert_eq!(verified.unwrap().claims["sub"], "mer_1", "{algorithm}");
            let other = token.replace(&b64(r#"{"sub":"mer_1","exp":2000}"#), &b64(r#"{"sub":"mer_2","exp":2000}"#));
            assert!(keys.verify(other.as_bytes(), &anyone(), at(1500)).is_none(), "{algorithm}");
        }
    }
}

#[test]
fn what_a_token_says_must_be_for_us_and_of_its_time() {
    let signer = Signer::es256();
    let keys = keys(&[signer.jwk("a")]);
    let is_good =
        |claims: &Value, now| keys.verify(signer.token("a", claims).as_bytes(), &settings(), at(now)).is_some();
    // 60 seconds of leeway at both ends.
    for (now, expected) in
        [(939, false), (940, true), (1000, true), (2059, true), (2060, false), (u64::MAX >> 12, false)]
    {
        assert_eq!(is_good(&good(), now), expected, "{now}");
    }
    for (key, value, expected) in [
        ("iss", json!("https://other"), false),
        ("iss", json!(null), false),
        ("iss", json!(5), false),
        ("aud", json!("other"), false),
        ("aud", json!(null), false),
        ("aud", json!([]), false),
        ("aud", json!(["other", "payments"]), true),
        ("exp", json!(null), false),
        ("exp", json!("2000"), false),
        ("exp", json!(1e300), false),
        ("exp", json!(-5), false),
        ("exp", json!(2000.5), true),
        ("nbf", json!("1000"), false),
        ("nbf", json!(1499.5), true),
        ("nbf", json!(9999), false),
    ] {
        assert_eq!(is_good(&with(key, value.clone()), 1500), expected, "{key}: {value}");
    }
    let mut plain = good();
    plain.as_object_mut().unwrap().retain(|key, _| key == "sub" || key == "exp");
    assert!(!is_good(&plain, 1500));
    assert!(keys.verify(signer.token("a", &plain).as_bytes(), &anyone(), at(1500)).is_some(), "where none is expected");
}

#[test]
fn what_no_key_signed_is_not_good() {
    let (signer, other) = (Signer::es256(), Signer::es256());
    let keys = keys(&[signer.jwk("a")]);
    let is_good = |token: &str| keys.verify(token.as_bytes(), &settings(), at(1500)).is_some();
    let token = signer.token("a", &good());
    assert!(is_good(&token));
    assert!(!is_good(&other.token("a", &good())), "another key with the same id");
    let parts: Vec<&str> = token.split('.').collect();
    let forged = [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        token[..token.len() - 1].to_owned(),
        format!("{token}."),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}", parts[0], parts[1]),
        format!("{}.{}.{}", parts[0], b64(with("sub", json!("mer_2")).to_string()), parts[2]),
        format!("{}.{}.", b64(r#"{"alg":"none"}"#), parts[1]),
        format!("{}.{}.{}", b64(r#"{"alg":"none"}"#), parts[1], parts[2]),
        format!("{}.{}.{}", b64(r#"{"alg":"None","kid":"a"}"#), parts[1], parts[2]),
        format!("{}.{}.{}", b64(r#"{"alg":"ES384","kid":"a"}"#), parts[1], parts[2]),
        format!("{}.{}.{}", b64(r#"{"alg":"EdDSA","kid":"a"}"#), parts[1], parts[2]),
    ];
    for forged in forged {
        assert!(!is_good(&forged), "{forged}");
    }
    let critical = json!({ "alg": "ES256", "kid": "a", "crit": ["b64"], "b64": false });
    assert!(!is_good(&signer.token_with(&critical, &good())), "it asks for what is not understood");
    let embedded = json!({ "alg": "ES256", "jwk": other.jwk("b") });
    assert!(!is_good(&other.token_with(&embedded, &good())), "a token does not bring its key");
}

#[test]
fn a_public_key_is_no_secret() {
    // Who knows the public key, as everybody does, signs with it as if it were the secret of an HMAC.
    let signer = Signer::es256();
    let jwk = signer.jwk("a");
    let keys = keys(&[jwk.clone(), Signer::Secret(vec![1; 32]).jwk("s")]);
    let point = |part: &str| jwk[part].as_str().unwrap().to_owned().into_bytes();
    for secret in [point("x"), point("y"), jwk.to_string().into_bytes()] {
        for id in ["a", "s"] {
            let head = json!({ "alg": "HS256", "kid": id });
            let token = Signer::Secret(secret.clone()).token_with(&head, &good());
            assert!(keys.verify(token.as_bytes(), &settings(), at(1500)).is_none());
        }
    }
}

#[test]
fn the_key_is_chosen_by_its_id_and_its_algorithm() {
    let (a, b) = (Signer::es256(), Signer::es256());
    let two = keys(&[a.jwk("a"), b.jwk("b")]);
    let is_good = |keys: &Keys, token: &str| keys.verify(token.as_bytes(), &settings(), at(1500)).is_some();
    assert!(is_good(&two, &b.token("b", &good())));
    assert!(!is_good(&two, &b.token("a", &good())), "the key that it names did not sign it");
    assert!(!is_good(&two, &b.token("c", &good())), "it names a key that is not there");
    assert!(is_good(&two, &b.token_with(&json!({ "alg": "ES256" }), &good())), "it names none");
    let mut unnamed = b.jwk("");
    unnamed.as_object_mut().unwrap().remove("kid");
    assert!(is_good(&keys(&[a.jwk("a"), unnamed]), &b.token("b", &good())), "the key has no name");
    let with = |key: &str, value: Value| {
        let mut jwk = Signer::Secret(vec![3; 64]).jwk("s");
        jwk[key] = value;
        Keys::parse(set(&[a.jwk("a"), jwk]).as_bytes()).unwrap()
    };
    let token = Signer::Secret(vec![3; 64]).token("s", &good());
    assert!(is_good(&with("alg", json!("HS256")), &token));
    assert!(!is_good(&with("alg", json!("HS512")), &token), "the set says which algorithm");
    assert!(!is_good(&with("use", json!("enc")), &token));
    assert!(!is_good(&with("key_ops", json!(["encrypt"])), &token));
    assert!(is_good(&with("key_ops", json!(["sign", "verify"])), &token));
}

#[test]
fn a_set_is_read_past_what_is_not_known() {
    let signer = Signer::eddsa();
    let strange = [
        json!({}),
        json!(5),
        json!({ "kty": "EC", "crv": "P-521", "x": "AA", "y": "AA" }),
        json!({ "kty": "OKP", "crv": "X25519", "x": "AA" }),
        json!({ "kty": "RSA", "alg": "RSA-OAEP", "n": MODULUS, "e": "AQAB" }),
        json!({ "kty": "EC", "crv": "P-256", "alg": "RS256", "x": "AA", "y": "AA" }),
        json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "AA" }),
        Signer::Secret(vec![1; 31]).jwk("short"),
    ];
    for strange in &strange {
        assert_eq!(
            Keys::parse(set(std::slice::from_ref(strange)).as_bytes()).err(),
            Some(KeysError::Empty),
            "{strange}"
        );
    }
    let all: Vec<Value> = strange.into_iter().chain([signer.jwk("a")]).collect();
    let keys = keys(&all);
    assert_eq!(keys.len(), 1);
    assert!(keys.verify(signer.token("a", &good()).as_bytes(), &settings(), at(1500)).is_some());
    for text in ["", "{", "[]", "{}", "{\"keys\": {}}", "null"] {
        assert_eq!(Keys::parse(text.as_bytes()).err(), Some(KeysError::NotASet), "{text}");
    }
}
