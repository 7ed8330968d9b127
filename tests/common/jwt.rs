//! Who issues tokens: keys, the set in which they are published, and what they sign.

// Several kinds of tests have it, none of them all of it.
#![allow(dead_code, unreachable_pub)]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair,
};
use ring::{hmac, signature};
use serde_json::{Value, json};

/// A key that signs.
pub enum Signer {
    /// `ES256` or `ES384`, with the name of its curve.
    Ec(EcdsaKeyPair, &'static str),
    /// `EdDSA`.
    Ed(Ed25519KeyPair),
    /// `HS256`.
    Secret(Vec<u8>),
}

fn ec(algorithm: &'static EcdsaSigningAlgorithm, curve: &'static str) -> Signer {
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    Signer::Ec(EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random).unwrap(), curve)
}

impl Signer {
    /// A new key for ES256.
    pub fn es256() -> Signer {
        ec(&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256")
    }

    /// A new key for ES384.
    pub fn es384() -> Signer {
        ec(&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384")
    }

    /// A new key for EdDSA.
    pub fn eddsa() -> Signer {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Signer::Ed(Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap())
    }

    /// Its algorithm's name.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Signer::Ec(_, "P-256") => "ES256",
            Signer::Ec(..) => "ES384",
            Signer::Ed(_) => "EdDSA",
            Signer::Secret(_) => "HS256",
        }
    }

    /// The public half, or the secret, as a set of keys has it.
    pub fn jwk(&self, id: &str) -> Value {
        match self {
            Signer::Ec(key, curve) => {
                let point = &key.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({ "kty": "EC", "crv": curve, "kid": id, "x": b64(x), "y": b64(y) })
            }
            Signer::Ed(key) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "x": b64(key.public_key().as_ref()) })
            }
            Signer::Secret(secret) => json!({ "kty": "oct", "kid": id, "k": b64(secret) }),
        }
    }

    /// A token of the key with this id.
    pub fn token(&self, id: &str, claims: &Value) -> String {
        self.token_with(&json!({ "alg": self.algorithm(), "typ": "JWT", "kid": id }), claims)
    }

    /// The same with any head.
    pub fn token_with(&self, head: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", b64(head.to_string()), b64(claims.to_string()));
        let signature = match self {
            Signer::Ec(key, _) => key.sign(&SystemRandom::new(), message.as_bytes()).unwrap().as_ref().to_vec(),
            Signer::Ed(key) => signature::Signature::as_ref(&key.sign(message.as_bytes())).to_vec(),
            Signer::Secret(secret) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
                hmac::sign(&key, message.as_bytes()).as_ref().to_vec()
            }
        };
        format!("{message}.{}", b64(signature))
    }
}

/// A set of keys as a file has it.
pub fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

/// Base64 as tokens have it.
pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
