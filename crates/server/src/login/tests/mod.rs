//! Issuers with real keys, a provider that publishes them, and tokens of every kind.

mod keys;
mod published;
mod tokens;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tertulia_proof::issuer::{Issuer, b64};

use super::*;
use crate::config::Flags;

/// The second in which every test starts.
const NOW_S: u64 = 1_800_000_000;

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
    let kid =
        issuer.header()["kid"].as_str().map(|kid| format!("kid = {kid:?}\n")).unwrap_or_default();
    let name = name.map(|name| format!("issuer = {name:?}\n")).unwrap_or_default();
    format!("[[auth.keys]]\nalg = {:?}\npem = '''{}'''\n{kid}{name}", issuer.alg(), issuer.pem())
}

fn random_bytes() -> Vec<u8> {
    let mut bytes = vec![0; 32];
    rand::fill(&mut bytes).expect("random bytes");
    bytes
}
