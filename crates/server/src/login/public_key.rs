//! Keys that verify: each does one algorithm, whatever a token says.

use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};

/// The algorithms that can sign a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Alg {
    /// HMAC with SHA-256: who verifies can also sign.
    Hs256,
    /// RSA PKCS#1 v1.5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Alg {
    /// As a token's header spells it; no other spelling is that algorithm.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Alg::Hs256 => "HS256",
            Alg::Rs256 => "RS256",
            Alg::Es256 => "ES256",
            Alg::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of that name.
    pub(crate) fn parse(text: &str) -> Option<Alg> {
        [Alg::Hs256, Alg::Rs256, Alg::Es256, Alg::EdDsa]
            .into_iter()
            .find(|alg| alg.as_str() == text)
    }

    /// The algorithm of that name, if those who verify cannot sign.
    pub(crate) fn parse_public(text: &str) -> Option<Alg> {
        Alg::parse(text).filter(|alg| *alg != Alg::Hs256)
    }

    const fn algorithm(self) -> Algorithm {
        match self {
            Alg::Hs256 => Algorithm::HS256,
            Alg::Rs256 => Algorithm::RS256,
            Alg::Es256 => Algorithm::ES256,
            Alg::EdDsa => Algorithm::EdDSA,
        }
    }
}

/// A key that verifies signatures of one algorithm. A sound one: it was parsed when it was made.
#[derive(Clone, Debug)]
pub(crate) struct PublicKey {
    alg: Alg,
    key: DecodingKey,
}

impl PublicKey {
    /// The shared secret of HS256, which is no public key but verifies like one.
    pub(super) fn shared(secret: &[u8]) -> PublicKey {
        PublicKey { alg: Alg::Hs256, key: DecodingKey::from_secret(secret) }
    }

    /// The public key in `pem`; `None` if there is none for `alg`.
    pub(crate) fn from_pem(alg: Alg, pem: &str) -> Option<PublicKey> {
        let pem = pem.as_bytes();
        let key = match alg {
            Alg::Hs256 => return None,
            Alg::Rs256 => DecodingKey::from_rsa_pem(pem),
            Alg::Es256 => DecodingKey::from_ec_pem(pem),
            Alg::EdDsa => DecodingKey::from_ed_pem(pem),
        };
        PublicKey { alg, key: key.ok()? }.sound()
    }

    /// The public key that an issuer published; `None` if it is none for signatures, or not one we know.
    ///
    /// A symmetric key is never one: published, it is everybody's.
    pub(super) fn from_jwk(jwk: &Jwk) -> Option<PublicKey> {
        if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
            return None;
        }
        let (alg, named) = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => (Alg::Rs256, KeyAlgorithm::RS256),
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
                (Alg::Es256, KeyAlgorithm::ES256)
            }
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                (Alg::EdDsa, KeyAlgorithm::EdDSA)
            }
            _ => return None,
        };
        if jwk.common.key_algorithm.is_some_and(|other| other != named) {
            return None;
        }
        PublicKey { alg, key: DecodingKey::from_jwk(jwk).ok()? }.sound()
    }

    /// What it verifies.
    pub(crate) fn alg(&self) -> Alg {
        self.alg
    }

    /// Whether `signature`, in base64, is this key's under `message`.
    pub(super) fn verifies(&self, message: &str, signature: &str) -> bool {
        let algorithm = self.alg.algorithm();
        jsonwebtoken::crypto::verify(signature, message.as_bytes(), &self.key, algorithm)
            .unwrap_or(false)
    }

    /// Parses it once with what will verify later, so that a wrong curve, a short modulus or a private
    /// key is noticed now.
    fn sound(self) -> Option<PublicKey> {
        let algorithm: &'static dyn VerificationAlgorithm = match self.alg {
            Alg::Hs256 => return Some(self),
            Alg::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Alg::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
            Alg::EdDsa => &signature::ED25519,
        };
        let sound = match self.key.kind() {
            DecodingKeyKind::SecretOrDer(bytes) => ParsedPublicKey::new(algorithm, bytes).is_ok(),
            DecodingKeyKind::RsaModulusExponent { n, e } => {
                (256..=1024).contains(&n.len()) && !e.is_empty()
            }
        };
        sound.then_some(self)
    }
}
