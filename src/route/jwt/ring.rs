//! Signatures of tokens, checked by ring: the library that TLS here stands on as well.

use std::sync::Once;

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::signature::{Error, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::signature as known;
use ring::{hmac, signature};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_: &Algorithm, _: &EncodingKey| Err(ErrorKind::UnsupportedAlgorithm.into()),
    verifier_factory: verifier,
    // Only what makes sets of keys asks these; here they are only read.
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes ring the library that checks. To be called before a token is verified.
pub(super) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error says that there is one already.
        let _ = PROVIDER.install_default();
    });
}

/// One key, for one algorithm.
struct Ring {
    algorithm: Algorithm,
    key: DecodingKey,
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    // The one rule that everything stands on: an RSA or EC key, which anyone may know, is never the secret of an HMAC.
    if algorithm.family() != key.family() {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    Ok(Box::new(Ring { algorithm: *algorithm, key: key.clone() }))
}

impl JwtVerifier for Ring {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for Ring {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        match (self.algorithm, self.key.kind()) {
            (Algorithm::HS256, DecodingKeyKind::SecretOrDer(secret)) => {
                mac(hmac::HMAC_SHA256, secret, message, signature)
            }
            (Algorithm::HS384, DecodingKeyKind::SecretOrDer(secret)) => {
                mac(hmac::HMAC_SHA384, secret, message, signature)
            }
            (Algorithm::HS512, DecodingKeyKind::SecretOrDer(secret)) => {
                mac(hmac::HMAC_SHA512, secret, message, signature)
            }
            (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => {
                public(&known::ECDSA_P256_SHA256_FIXED, point, message, signature)
            }
            (Algorithm::ES384, DecodingKeyKind::SecretOrDer(point)) => {
                public(&known::ECDSA_P384_SHA384_FIXED, point, message, signature)
            }
            (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(point)) => {
                public(&known::ED25519, point, message, signature)
            }
            (algorithm, DecodingKeyKind::RsaModulusExponent { n, e }) => {
                let parameters = match algorithm {
                    Algorithm::RS256 => &known::RSA_PKCS1_2048_8192_SHA256,
                    Algorithm::RS384 => &known::RSA_PKCS1_2048_8192_SHA384,
                    Algorithm::RS512 => &known::RSA_PKCS1_2048_8192_SHA512,
                    Algorithm::PS256 => &known::RSA_PSS_2048_8192_SHA256,
                    Algorithm::PS384 => &known::RSA_PSS_2048_8192_SHA384,
                    Algorithm::PS512 => &known::RSA_PSS_2048_8192_SHA512,
                    _ => return Err(Error::new()),
                };
                // Some write the sign's zero byte before the number, which is none of its digits.
                let digits = |n: &[u8]| n.iter().position(|b| *b != 0).unwrap_or(n.len());
                let key = signature::RsaPublicKeyComponents { n: &n[digits(n)..], e: &e[digits(e)..] };
                key.verify(parameters, message, signature).map_err(|_| Error::new())
            }
            _ => Err(Error::new()),
        }
    }
}

fn mac(algorithm: hmac::Algorithm, secret: &[u8], message: &[u8], tag: &[u8]) -> std::result::Result<(), Error> {
    hmac::verify(&hmac::Key::new(algorithm, secret), message, tag).map_err(|_| Error::new())
}

fn public(
    algorithm: &'static dyn signature::VerificationAlgorithm,
    key: &[u8],
    message: &[u8],
    tag: &[u8],
) -> std::result::Result<(), Error> {
    signature::UnparsedPublicKey::new(algorithm, key).verify(message, tag).map_err(|_| Error::new())
}
