//! Issuers: those who sign tokens, with real keys of every kind, and a provider who publishes them.
//!
//! Signatures are made with the crypto library itself, so that a fault in what the server reads tokens with is
//! not made twice.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Shared(Vec<u8>),
}

/// Someone who signs tokens.
pub struct Issuer {
    pair: Pair,
    kid: Option<String>,
}

/// Seconds since 1970 UTC.
pub fn now_s() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs()
}

/// Bytes as a token writes them.
pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Issuer {
    /// With RS256.
    pub fn rsa() -> Issuer {
        Issuer::with(Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("an RSA key")))
    }

    /// With ES256.
    pub fn ec() -> Issuer {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        Issuer::with(Pair::Ec(pair.expect("a P-256 key")))
    }

    /// With EdDSA.
    pub fn ed() -> Issuer {
        Issuer::with(Pair::Ed(Ed25519KeyPair::generate().expect("an Ed25519 key")))
    }

    /// With HS256 and that secret.
    pub fn shared(secret: impl AsRef<[u8]>) -> Issuer {
        Issuer::with(Pair::Shared(secret.as_ref().to_vec()))
    }

    fn with(pair: Pair) -> Issuer {
        Issuer { pair, kid: None }
    }

    /// The same, whose key has that name.
    pub fn kid(mut self, kid: &str) -> Issuer {
        self.kid = Some(kid.to_owned());
        self
    }

    /// The algorithm of its key, as a token names it.
    pub fn alg(&self) -> &'static str {
        match self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::Ec(_) => "ES256",
            Pair::Ed(_) => "EdDSA",
            Pair::Shared(_) => "HS256",
        }
    }

    /// The header of its tokens.
    pub fn header(&self) -> Value {
        let mut header = json!({"alg": self.alg(), "typ": "JWT"});
        if let Some(kid) = &self.kid {
            header["kid"] = json!(kid);
        }
        header
    }

    /// A token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        self.raw(&self.header().to_string(), &claims.to_string())
    }

    /// A token of exactly these texts.
    pub fn raw(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", b64(header), b64(claims));
        let signature = self.sign(message.as_bytes());
        format!("{message}.{}", b64(signature))
    }

    /// The signature of a message.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let signed =
                    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature);
                signed.expect("an RSA signature");
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

    /// The public key in DER.
    pub fn der(&self) -> Vec<u8> {
        let der = match &self.pair {
            Pair::Rsa(pair) => pair.public_key().as_der(),
            Pair::Ec(pair) => pair.public_key().as_der(),
            Pair::Ed(pair) => pair.public_key().as_der(),
            Pair::Shared(_) => panic!("a shared secret has no public half"),
        };
        der.expect("a public key").as_ref().to_vec()
    }

    /// The public key in PEM.
    pub fn pem(&self) -> String {
        let text = STANDARD.encode(self.der());
        let lines = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line));
        let lines: Vec<_> = lines.collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }

    /// The public key as an identity provider publishes it.
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Rsa(_) => {
                // For 2048 bits and the exponent 65537 everything has its place (RFC 8017, A.1.1).
                let der = self.der();
                json!({"kty": "RSA", "n": b64(&der[33..289]), "e": b64(&der[291..294])})
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

    /// An entry of the setting `auth.keys`: its tokens count if they are of `issuer`.
    pub fn setting(&self, issuer: &str) -> String {
        let (alg, pem) = (json!(self.alg()), json!(self.pem()));
        let kid =
            self.kid.as_ref().map(|kid| format!(", kid = {}", json!(kid))).unwrap_or_default();
        format!("{{alg = {alg}, pem = {pem}, issuer = {}{kid}}}", json!(issuer))
    }
}

/// What is answered: status and further headers, body.
type Answer = (String, Vec<u8>);

/// Someone who publishes keys over HTTP, and counts who asks. It runs until the process ends.
pub struct Provider {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    answer: Arc<Mutex<Answer>>,
}

impl Provider {
    /// Publishes the keys of these issuers.
    pub fn publishing(issuers: &[&Issuer]) -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let provider = Provider { address, asked: Arc::default(), answer: Arc::default() };
        provider.publish(issuers);
        let (asked, answer) = (Arc::clone(&provider.asked), Arc::clone(&provider.answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                asked.fetch_add(1, Ordering::SeqCst);
                let answer = answer.lock().expect("no one panics while answering").clone();
                // Who asks may hang up.
                _ = respond(stream, &answer);
            }
        });
        provider
    }

    /// From now on these.
    pub fn publish(&self, issuers: &[&Issuer]) {
        let keys: Vec<Value> = issuers.iter().map(|issuer| issuer.jwk()).collect();
        self.answer("200 OK", json!({"keys": keys}).to_string().into_bytes());
    }

    /// From now on that. `status` may carry headers, each on a line of its own.
    pub fn answer(&self, status: &str, body: Vec<u8>) {
        *self.answer.lock().expect("no one panics while answering") = (status.to_owned(), body);
    }

    /// Where.
    pub fn url(&self) -> String {
        format!("http://{}/keys", self.address)
    }

    /// How many connections there were.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn respond(mut stream: TcpStream, (status, body): &Answer) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut part = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut part)? {
            0 => return Ok(()),
            bytes => request.extend_from_slice(&part[..bytes]),
        }
    }
    let length = body.len();
    write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n")?;
    stream.write_all(body)
}
