//! Unsafe settings: a server that anyone could walk into does not start. (A56)

use super::{Attack, Field, PLAIN};
use crate::issuer::Issuer;

/// The rows.
pub const ROWS: &[Attack] =
    &[Attack { id: "A56", title: "settings that let anyone in", ground: &PLAIN, run: refused }];

/// A name, and what it is set to.
type Setting = (&'static str, String);

fn settings() -> Vec<Setting> {
    let secret = |text: &str| ("auth.hs256_secret", text.to_owned());
    let origin = |text: &str| ("server.allowed_origins", text.to_owned());
    let pem = Issuer::ed().setting("a");
    let mut all: Vec<Setting> = [
        "",
        "short",
        "secret",
        "changeme",
        &"a".repeat(31),
        &"a".repeat(64),
        "12345678901234567890123456789012",
    ]
    .map(secret)
    .to_vec();
    all.extend(
        ["secretsecretsecretsecretsecretsecret", "changemechangemechangemechangeme"].map(secret),
    );
    all.extend(
        ["*", "https://*", "https://*.example", "null", "[\"*\"]", "https://good.example,*"]
            .map(origin),
    );
    all.push(("auth.keys", pem.replace("EdDSA", "none")));
    all.push(("auth.keys", format!("[{}]", pem.replace("EdDSA", "none"))));
    all.push(("auth.keys", format!("[{}]", pem.replace("EdDSA", "HS256"))));
    all.push(("auth.keys", format!("[{}]", pem.replace("EdDSA", "RS256"))));
    all.push(("auth.jwks_url", "http://keys.example/jwks".to_owned()));
    all.push(("auth.jwks_url", "file:///etc/passwd".to_owned()));
    // There is no way to switch it off, under whatever name.
    for name in ["auth.insecure", "auth.verify", "auth.disabled", "auth.insecure_skip_token_check"]
    {
        all.push((name, "true".to_owned()));
    }
    all
}

fn refused(field: &Field) {
    for (name, value) in settings() {
        let named = format!("TERTULIA_{}", name.replace('.', "__").to_uppercase());
        for dev in ["false", "true"] {
            let place = field.stage.place().set(name, &value).set("server.dev", dev);
            let started = place.try_open().is_ok();
            let said = place.said();
            field.expect(!started, || format!("{name} = {value:?}: it starts"));
            field.expect(said.contains(&named), || format!("{name} = {value:?}: it says {said:?}"));
            // What is refused may be a secret all the same.
            let is_shown = name == "auth.hs256_secret" && value.len() > 8 && said.contains(&value);
            field.expect(!is_shown, || format!("{name}: its value is shown"));
            field.expect(!place.data.join("tertulia.db").exists(), || format!("{name}: it began"));
        }
    }
}
