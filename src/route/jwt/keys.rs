//! A set of keys, and what a token that one of them signed says. Bytes in, claims out: no file, no clock.

use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::ring;
use crate::config::Jwt;

/// How far the clocks of who issues tokens and of this machine may be apart.
const LEEWAY: f64 = 60.0;

/// The least bytes of an HMAC's secret: those of the shortest hash (RFC 7518, 3.2).
const SECRET: usize = 32;

/// The keys of a JSON Web Key Set that can verify a signature.
pub(super) struct Keys(Vec<Known>);

struct Known {
    id: Option<String>,
    key: DecodingKey,
    /// The algorithms that it may be used with: the one that the set names, or all of its kind.
    algorithms: Vec<Algorithm>,
}

/// Why a file is no set of keys. It may hold secrets: nothing of it is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// No JSON, or without the list `keys`.
    #[error("expected a JSON Web Key Set: an object with a list `keys`")]
    NotASet,
    /// Nothing in it can be used.
    #[error("expected a key for signatures: RSA, EC (P-256, P-384), OKP (Ed25519), or oct of at least 32 bytes")]
    Empty,
}

/// What a good token says.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) claims: Map<String, Value>,
    /// The claim `exp`, in time since 1970.
    pub(super) expires: Duration,
}

impl Keys {
    /// Reads a set. Keys of kinds that are not known here, or for something else than signatures, are passed over.
    pub(super) fn parse(bytes: &[u8]) -> Result<Keys, KeysError> {
        let mut set: Value = serde_json::from_slice(bytes).map_err(|_| KeysError::NotASet)?;
        let Some(Value::Array(keys)) = set.get_mut("keys").map(Value::take) else { return Err(KeysError::NotASet) };
        let keys: Vec<Known> = keys.into_iter().filter_map(known).collect();
        if keys.is_empty() { Err(KeysError::Empty) } else { Ok(Keys(keys)) }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The claims of a token, if one of these keys signed it, it is for us, and `now` (since 1970) is its time.
    pub(super) fn verify(&self, token: &[u8], settings: &Jwt, now: Duration) -> Option<Verified> {
        ring::install();
        // A token without a signature (`none`) has no algorithm that this can be.
        let header = decode_header(token).ok()?;
        if header.crit.is_some() {
            // It asks for something that has to be understood, and nothing is.
            return None;
        }
        let validation = validation(header.alg, settings);
        let candidates = self.0.iter().filter(|known| {
            let named = known.id.is_none() || header.kid.is_none() || known.id == header.kid;
            named && known.algorithms.contains(&header.alg)
        });
        let mut good = candidates.filter_map(|known| decode::<Map<String, Value>>(token, &known.key, &validation).ok());
        let claims = good.next()?.claims;
        let expires = claims.get("exp").and_then(Value::as_f64)?;
        let begins = match claims.get("nbf") {
            Some(begins) => begins.as_f64()?,
            None => f64::NEG_INFINITY,
        };
        let seconds = now.as_secs_f64();
        if seconds >= expires + LEEWAY || seconds + LEEWAY < begins {
            return None;
        }
        Some(Verified { expires: Duration::try_from_secs_f64(expires).ok()?, claims })
    }
}

fn known(value: Value) -> Option<Known> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let common = &jwk.common;
    let signs = common.public_key_use.as_ref().is_none_or(|u| *u == PublicKeyUse::Signature);
    let verifies = common.key_operations.as_ref().is_none_or(|o| o.contains(&KeyOperations::Verify));
    if !signs || !verifies {
        return None;
    }
    let possible: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => AlgorithmFamily::Rsa.algorithms(),
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => &[Algorithm::ES256],
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P384 => &[Algorithm::ES384],
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
        AlgorithmParameters::OctetKey(_) => AlgorithmFamily::Hmac.algorithms(),
        _ => return None,
    };
    let mut algorithms = possible.to_vec();
    if let Some(named) = common.key_algorithm {
        let named = Algorithm::try_from(named).ok()?;
        algorithms.retain(|a| *a == named);
    }
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    let short = key.family() == AlgorithmFamily::Hmac && key.try_get_as_bytes().is_ok_and(|s| s.len() < SECRET);
    (!algorithms.is_empty() && !short).then(|| Known { id: jwk.common.key_id.clone(), key, algorithms })
}

/// What is checked of a token beside its times. What is expected has to be there: a token without `iss` is not from
/// the one who is expected.
fn validation(algorithm: Algorithm, settings: &Jwt) -> Validation {
    let mut validation = Validation::new(algorithm);
    let mut required = vec!["exp"];
    if let Some(issuer) = &settings.issuer {
        validation.set_issuer(&[issuer]);
        required.push("iss");
    }
    match &settings.audience {
        Some(audience) => {
            validation.set_audience(&[audience]);
            required.push("aud");
        }
        None => validation.validate_aud = false,
    }
    validation.set_required_spec_claims(&required);
    // The times are checked by the `now` that is given.
    (validation.validate_exp, validation.validate_nbf) = (false, false);
    validation
}

#[cfg(test)]
mod tests;
