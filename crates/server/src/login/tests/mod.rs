//! Issuers with real keys, a provider that publishes them, and tokens of every kind.
//!
//! Signatures are made here with the crypto library itself, so that a fault in what the server uses to
//! read tokens is not made twice.

mod keys;
mod provider;
mod published;
mod tokens;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use aws_lc_rs::{hmac, rand};
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::*;
use crate::config::Flags;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The second in which every test starts.
const NOW_S: u64 = 1_800_000_000;

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Shared(Vec<u8>),
}

/// Someone who signs tokens.
struct Issuer {
    pair: Pair,
    kid: Option<String>,
}

impl Issuer {
    fn rsa() -> Issuer {
        Issuer::with(Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("an RSA key")))
    }

    fn ec() -> Issuer {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        Issuer::with(Pair::Ec(pair.expect("a P-256 key")))
    }

    fn ed() -> Issuer {
        Issuer::with(Pair::Ed(Ed25519KeyPair::generate().expect("an Ed25519 key")))
    }

    fn shared(secret: impl AsRef<[u8]>) -> Issuer {
        Issuer::with(Pair::Shared(secret.as_ref().to_vec()))
    }

    fn with(pair: Pair) -> Issuer {
        Issuer { pair, kid: None }
    }

    fn kid(mut self, kid: &str) -> Issuer {
        self.kid = Some(kid.to_owned());
        self
    }

    fn alg(&self) -> &'static str {
        match self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::Ec(_) => "ES256",
            Pair::Ed(_) => "EdDSA",
            Pair::Shared(_) => "HS256",
        }
    }

    fn header(&self) -> Value {
        let mut header = json!({"alg": self.alg(), "typ": "JWT"});
        if let Some(kid) = &self.kid {
            header["kid"] = json!(kid);
        }
        header
    }

    fn token(&self, claims: &Value) -> String {
        self.raw(&self.header().to_string(), &claims.to_string())
    }

    /// A token of exactly these texts.
    fn raw(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", b64(header), b64(claims));
        let signature = self.sign(message.as_bytes());
        format!("{message}.{}", b64(signature))
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
                    .expect("an RSA signature");
                signature
            }
            Pair::Ec(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message);
                signature.expect("an ECDSA signature").as_ref().to_vec()
            }
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Shared(secret) => {
                hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec()
            }
        }
    }

    fn der(&self) -> Vec<u8> {
        let der = match &self.pair {
            Pair::Rsa(pair) => pair.public_key().as_der(),
            Pair::Ec(pair) => pair.public_key().as_der(),
            Pair::Ed(pair) => pair.public_key().as_der(),
            Pair::Shared(_) => panic!("a shared secret has no public half"),
        };
        der.expect("a public key").as_ref().to_vec()
    }

    fn pem(&self) -> String {
        let text = STANDARD.encode(self.der());
        let lines: Vec<&str> =
            text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }

    fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Rsa(pair) => {
                let key = pair.public_key();
                let (n, e) = (key.modulus(), key.exponent());
                json!({
                    "kty": "RSA",
                    "n": b64(n.big_endian_without_leading_zero()),
                    "e": b64(e.big_endian_without_leading_zero()),
                })
            }
            Pair::Ec(pair) => {
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "x": b64(&point[1..33]), "y": b64(&point[33..])})
            }
            Pair::Ed(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": b64(pair.public_key().as_ref())})
            }
            Pair::Shared(secret) => json!({"kty": "oct", "k": b64(secret)}),
        };
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(self.alg());
        if let Some(kid) = &self.kid {
            jwk["kid"] = json!(kid);
        }
        jwk
    }
}

/// A user's claims that are good for an hour.
fn claims(user: &str) -> Value {
    json!({"sub": user, "iat": NOW_S, "exp": NOW_S + 3600})
}

fn claims_of(issuer: &str, user: &str) -> Value {
    with(claims(user), "iss", json!(issuer))
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

/// An opened login in a folder of its own.
struct House {
    dir: tempfile::TempDir,
    opened: Opened,
}

impl House {
    /// With `auth` as the `[auth]` section.
    fn new(auth: &str) -> House {
        House::in_folder(tempfile::tempdir().expect("a temporary folder"), auth)
    }

    fn in_folder(dir: tempfile::TempDir, auth: &str) -> House {
        let opened = Login::open(&config(&dir, auth), [], NOW_S * 1000).expect("a login");
        House { dir, opened }
    }

    fn login(&self) -> &Login {
        &self.opened.login
    }

    /// The one who signs for the house itself.
    fn own(&self) -> Issuer {
        let secret = std::fs::read_to_string(self.dir.path().join("secret")).expect("a secret");
        Issuer::shared(secret.trim_end())
    }

    fn verify(&self, token: &str) -> Verdict {
        self.login().verify(token, NOW_S)
    }

    #[track_caller]
    fn refuses(&self, token: &str, close: Close) {
        assert_eq!(self.verify(token), Verdict::Refused(close), "{token:.80}");
    }

    #[track_caller]
    fn knows(&self, token: &str, user: &str) -> Identity {
        match self.verify(token) {
            Verdict::Known(identity) => {
                assert_eq!(identity.user.as_str(), user);
                identity
            }
            verdict => panic!("{verdict:?} for {token:.80}"),
        }
    }
}

fn config(dir: &tempfile::TempDir, auth: &str) -> Config {
    let file = dir.path().join("tertulia.toml");
    std::fs::write(&file, format!("[auth]\n{auth}")).expect("a file");
    let data = dir.path().to_str().expect("a plain path").to_owned();
    let flags = Flags { config: Some(file), set: vec![("--data", "server.data", data)] };
    Config::load(&flags, []).expect("settings without a mistake")
}

/// A row of `auth.keys`.
fn key(issuer: &Issuer, name: Option<&str>) -> String {
    let kid = issuer.kid.as_ref().map(|kid| format!("kid = {kid:?}\n")).unwrap_or_default();
    let name = name.map(|name| format!("issuer = {name:?}\n")).unwrap_or_default();
    format!("[[auth.keys]]\nalg = {:?}\npem = '''{}'''\n{kid}{name}", issuer.alg(), issuer.pem())
}

fn random_bytes() -> Vec<u8> {
    let mut bytes = vec![0; 32];
    rand::fill(&mut bytes).expect("random bytes");
    bytes
}
