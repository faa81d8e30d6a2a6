//! Tokens: forged, confused, or pointing elsewhere. (A47 to A51, A55)
//!
//! The server believes its own secret and three kinds of keys, two of them of issuers that call their keys the
//! same; a provider publishes one more.

use std::net::{TcpListener, TcpStream};
use std::sync::LazyLock;

use serde_json::{Value, json};

use super::calls::{percent, shown};
use super::{Attack, Field, Ground};
use crate::client::{Client, upgrade_request};
use crate::http;
use crate::issuer::{Issuer, Provider, b64, now_s};

/// The rows.
pub const ROWS: &[Attack] = &[
    Attack { id: "A47", title: "no algorithm", ground: &KEYS, run: no_algorithm },
    Attack { id: "A48", title: "a public key as a secret", ground: &KEYS, run: confused },
    Attack { id: "A49", title: "headers that point elsewhere", ground: &KEYS, run: pointers },
    Attack { id: "A50", title: "two issuers, one kid", ground: &KEYS, run: same_kid },
    Attack { id: "A51", title: "claims that are none", ground: &KEYS, run: claims },
    Attack { id: "A55", title: "a token in the query", ground: &KEYS, run: in_query },
];

/// Whom the server believes, besides itself.
pub(super) struct Believed {
    /// Of the issuer "a".
    rsa: Issuer,
    /// Of the issuer "b", which calls its key the same.
    same_kid: Issuer,
    /// Of the issuer "c".
    ec: Issuer,
    /// Of the issuer "d".
    ed: Issuer,
    /// Publishes keys of the issuer "us".
    pub(super) provider: Provider,
    /// Its first.
    pub(super) published: Issuer,
}

pub(super) static BELIEVED: LazyLock<Believed> = LazyLock::new(|| {
    let published = Issuer::ed().kid("p1");
    Believed {
        rsa: Issuer::rsa().kid("1"),
        same_kid: Issuer::rsa().kid("1"),
        ec: Issuer::ec().kid("2"),
        ed: Issuer::ed(),
        provider: Provider::publishing(&[&published]),
        published,
    }
});

/// Keys of every kind, an issuer and an audience.
pub static KEYS: Ground = Ground {
    name: "keys",
    set: |place| {
        let Believed { rsa, same_kid, ec, ed, provider, published } = &*BELIEVED;
        provider.publish(&[published]);
        let keys = [(rsa, "a"), (same_kid, "b"), (ec, "c"), (ed, "d")];
        let keys: Vec<String> = keys.iter().map(|(key, issuer)| key.setting(issuer)).collect();
        place
            .set("auth.keys", format!("[{}]", keys.join(", ")))
            .set("auth.issuer", "us")
            .set("auth.audience", "chat")
            .set("auth.jwks_url", provider.url())
            .claim("iss", "us")
            .claim("aud", "chat")
    },
};

/// Mallory's claims, good for an hour, if someone vouches for them.
pub(super) fn good(field: &Field, issuer: &str) -> Value {
    let now = now_s();
    json!({"sub": field.mallory, "iss": issuer, "aud": "chat", "iat": now - 10, "exp": now + 3600})
}

fn with(claims: &Value, name: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    claims[name] = value;
    claims
}

fn no_algorithm(field: &Field) {
    let Believed { rsa, ec, ed, published, .. } = &*BELIEVED;
    for (what, signer, issuer) in [
        ("RS256", rsa, "a"),
        ("ES256", ec, "c"),
        ("EdDSA", ed, "d"),
        ("published", published, "us"),
    ] {
        field.expect_welcome(what, &signer.token(&good(field, issuer)));
    }
    let claims = good(field, "a").to_string();
    let body = b64(&claims);
    for alg in ["none", "None", "nOnE", "NONE", "", "rs256", "HS384", "RS512", "PS256", "ES256"] {
        let header = json!({"alg": alg, "kid": "1"}).to_string();
        let unsigned = format!("{}.{body}", b64(&header));
        field.expect_refused(&format!("{alg:?}, empty signature"), &format!("{unsigned}."), 4102);
        field.expect_refused(&format!("{alg:?}, no signature"), &unsigned, 4102);
        field.expect_refused(&format!("{alg:?}, signed"), &rsa.raw(&header, &claims), 4102);
    }
    for header in [
        "{}",
        "{\"kid\":\"1\"}",
        "{\"alg\":null}",
        "{\"alg\":1}",
        "[\"RS256\"]",
        "",
        "{\"alg\":\"none\",\"alg\":\"RS256\"}",
        "{\"alg\":\"RS256\",\"alg\":\"none\"}",
    ] {
        field.expect_refused(&format!("header {header}"), &rsa.raw(header, &claims), 4102);
    }
    for (alg, issuer) in [("RS256", "a"), ("ES256", "c"), ("EdDSA", "d"), ("HS256", "us")] {
        let header = b64(json!({"alg": alg}).to_string());
        let body = b64(good(field, issuer).to_string());
        field.expect_refused(&format!("{alg}, empty"), &format!("{header}.{body}."), 4102);
        field.expect_refused(&format!("{alg}, short"), &format!("{header}.{body}.AAAA"), 4102);
    }
    // A key does one algorithm, whatever a token says.
    let header = json!({"alg": "RS256", "kid": "2"}).to_string();
    field.expect_refused("another's algorithm", &ec.raw(&header, &claims), 4102);
}

fn confused(field: &Field) {
    let Believed { rsa, ec, ed, published, .. } = &*BELIEVED;
    let mut secrets: Vec<(String, Vec<u8>)> = vec![("nothing".to_owned(), Vec::new())];
    for (what, signer) in [("RSA", rsa), ("P-256", ec), ("Ed25519", ed), ("published", published)] {
        let (pem, der) = (signer.pem(), signer.der());
        let lines: Vec<&str> = pem.lines().collect();
        let in_base64 = lines[1..lines.len() - 1].concat();
        let kinds: [(&str, Vec<u8>); 7] = [
            ("PEM", pem.clone().into_bytes()),
            ("PEM without newline", pem.trim_end().into()),
            ("PEM with CR LF", pem.replace('\n', "\r\n").into_bytes()),
            ("DER", der.clone()),
            ("DER with newline", [&der[..], b"\n"].concat()),
            ("DER in base64", in_base64.into_bytes()),
            ("JWK", signer.jwk().to_string().into_bytes()),
        ];
        secrets.extend(kinds.into_iter().map(|(kind, bytes)| (format!("{what} {kind}"), bytes)));
    }
    for (what, secret) in secrets {
        for (issuer, kid) in [("us", "p1"), ("a", "1")] {
            let header = json!({"alg": "HS256", "kid": kid}).to_string();
            let token = Issuer::shared(&secret).raw(&header, &good(field, issuer).to_string());
            field.expect_refused(&format!("{what} of {issuer}"), &token, 4102);
        }
    }
}

fn pointers(field: &Field) {
    let canary = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/keys", canary.local_addr().expect("an address"));
    let attacker = Issuer::rsa().kid("m1");
    // Signed by someone who is not believed, however the header says whom to ask about it.
    let jwk = attacker.jwk();
    for (name, value) in [
        ("jku", json!(url)),
        ("x5u", json!(url)),
        ("jwk", jwk.clone()),
        ("x5c", json!([b64(attacker.der())])),
        ("jwks", json!({"keys": [jwk]})),
        ("kid", json!("../../dev/null")),
        ("kid", json!("/dev/null")),
        ("kid", json!("' OR 1=1")),
        ("kid", json!("' UNION SELECT 'x';--")),
        ("kid", json!(url)),
        ("kid", json!("x".repeat(5 * 1024))),
        ("kid", json!("1\u{0}")),
        ("kid", json!("")),
        ("kid", json!(null)),
        ("kid", json!(["1"])),
    ] {
        let header = with(&attacker.header(), name, value.clone());
        for issuer in ["us", "a", "b"] {
            let what = shown(&format!("{name} = {value} of {issuer}"));
            let claims = good(field, issuer).to_string();
            field.expect_refused(&what, &attacker.raw(&header.to_string(), &claims), 4102);
        }
    }
    // 10 KiB are longer than a token may be, and longer than a hello with it.
    for bytes in [10 * 1024, 20 * 1024] {
        let header = with(&attacker.header(), "kid", json!("x".repeat(bytes))).to_string();
        let token = attacker.raw(&header, &good(field, "us").to_string());
        let mut client = field.stranger();
        let hello = json!({"t": "hello", "id": 1, "token": token, "rooms": []}).to_string();
        client.say(&hello);
        let code = if hello.len() > 16 * 1024 { 1009 } else { 4102 };
        field.expect_close("a long kid", &mut client, code);
    }
    // What the claims say of the issuer leads nowhere, either.
    let port = canary.local_addr().expect("an address").port();
    for issuer in [url.clone(), format!("us/../..@127.0.0.1:{port}"), format!("{url}#")] {
        let claims = with(&good(field, &issuer), "aud", json!(["chat", url])).to_string();
        field.expect_refused(&issuer, &attacker.raw(&attacker.header().to_string(), &claims), 4102);
    }
    // Whoever is signed for is, though its header points elsewhere.
    let mut header = BELIEVED.rsa.header();
    (header["jku"], header["x5u"]) = (json!(url), json!(url));
    let token = BELIEVED.rsa.raw(&header.to_string(), &good(field, "a").to_string());
    field.expect_welcome("a pointer beside a good signature", &token);
    for (name, value) in
        [("crit", json!(["exp"])), ("enc", json!("A256GCM")), ("zip", json!("DEF"))]
    {
        let header = with(&BELIEVED.rsa.header(), name, value).to_string();
        let token = BELIEVED.rsa.raw(&header, &good(field, "a").to_string());
        field.expect_refused(name, &token, 4102);
    }
    // A connection that was begun waits in the system's queue, however long ago.
    canary.set_nonblocking(true).expect("a flag");
    let came = canary.accept().is_ok();
    field.expect(!came, || "someone followed a pointer".to_owned());
}

fn same_kid(field: &Field) {
    let Believed { rsa, same_kid, published, .. } = &*BELIEVED;
    for _ in 0..2 {
        field.expect_welcome("a of its own", &rsa.token(&good(field, "a")));
        field.expect_refused("a says it is b", &rsa.token(&good(field, "b")), 4102);
        field.expect_welcome("b of its own", &same_kid.token(&good(field, "b")));
        field.expect_refused("b says it is a", &same_kid.token(&good(field, "a")), 4102);
    }
    field.expect_refused("a says it is us", &rsa.token(&good(field, "us")), 4102);
    field.expect_refused(
        "a says nothing",
        &rsa.token(&with(&good(field, "a"), "iss", json!(null))),
        4102,
    );
    field.expect_refused("published for a", &published.token(&good(field, "a")), 4102);
    // The same with a header that names the other's key.
    let header = with(&rsa.header(), "kid", json!("p1")).to_string();
    field.expect_refused(
        "a's with our kid",
        &rsa.raw(&header, &good(field, "us").to_string()),
        4102,
    );
}

fn claims(field: &Field) {
    let own = field.server.issuer();
    let now = now_s();
    let claims = good(field, "us");
    let past = json!(now - 60);
    let check = |what: &str, claims: &Value, close: u16| {
        field.expect_refused(what, &own.token(claims), close);
    };
    check("exp past", &with(&claims, "exp", past.clone()), 4101);
    check("exp 0", &with(&claims, "exp", json!(0)), 4101);
    let bad: [(&str, Value); 26] = [
        ("exp", json!(null)),
        ("exp", json!((now + 60).to_string())),
        ("exp", json!(1e300)),
        ("exp", json!(-1)),
        ("exp", json!([now + 60])),
        ("nbf", json!(now + 60)),
        ("nbf", json!("now")),
        ("iat", json!("now")),
        ("aud", json!("mail")),
        ("aud", json!(["mail"])),
        ("aud", json!([])),
        ("aud", json!(null)),
        ("aud", json!("CHAT")),
        ("iss", json!("them")),
        ("iss", json!(["us"])),
        ("iss", json!(null)),
        ("sub", json!("")),
        ("sub", json!("a b")),
        ("sub", json!("m\u{e1}llory")),
        ("sub", json!("ma\u{301}llory")),
        ("sub", json!("\u{202e}ecila")),
        ("sub", json!("x".repeat(129))),
        ("sub", json!(7)),
        ("sub", json!(null)),
        ("rooms", json!({"r1": "king"})),
        ("rooms", json!(null)),
    ];
    for (name, value) in &bad {
        check(&shown(&format!("{name} = {value}")), &with(&claims, name, value.clone()), 4102);
        // Only one whose age alone is wrong is told so.
        if *name != "exp" {
            let old = with(&with(&claims, "exp", past.clone()), name, value.clone());
            check(&shown(&format!("expired, {name} = {value}")), &old, 4102);
        }
    }
    for name in ["exp", "aud", "iss", "sub"] {
        let mut without = claims.clone();
        without.as_object_mut().expect("an object").remove(name);
        check(&format!("without {name}"), &without, 4102);
    }
    let header = own.header().to_string();
    let text = claims.to_string();
    for twice in ["\"sub\":\"root\"", "\"s\\u0075b\":\"root\"", "\"exp\":9999999999"] {
        let claims = format!("{{{twice},{}", &text[1..]);
        field.expect_refused(twice, &own.raw(&header, &claims), 4102);
    }
    for text in [format!("{text} x"), text[..text.len() - 1].to_owned(), "[1]".to_owned()] {
        field.expect_refused(&text, &own.raw(&header, &text), 4102);
    }
    let token = own.token(&claims);
    // An encrypted one has five parts; one in another is signed twice.
    let nested = own.raw(&json!({"alg": "HS256", "cty": "JWT"}).to_string(), &token);
    let jwe =
        [b64(r#"{"alg":"dir","enc":"A256GCM"}"#), b64(""), b64("iv"), b64(&token), b64("tag")];
    let bits = token.strip_suffix(|_: char| true).expect("a letter").to_owned();
    for (what, token) in [
        ("nested", nested),
        ("encrypted", jwe.join(".")),
        ("a part more", format!("{token}.{token}")),
        ("bytes behind", format!("{token}A")),
        ("padding", format!("{token}=")),
        ("padding within", token.replace('.', "=.")),
        ("the other alphabet", format!("{}+/", &token[..token.len() - 2])),
        ("a letter less", bits),
        ("dots", "..".to_owned()),
        ("a key", field.server.key.replace("tk_", "tk-")),
        ("nonsense", "nonsense".to_owned()),
    ] {
        field.expect_refused(what, &token, 4102);
    }
    for blank in ["\n", " ", "\t", "\0"] {
        let hello = json!({"t": "hello", "id": 1, "token": format!("{token}{blank}"), "rooms": []});
        let (_, ended) = field.first_words(&hello.to_string());
        field.expect(ended.close == Some(4102), || format!("{blank:?} behind: {ended:?}"));
    }
    // Neither is one: not the application's key, nor nothing at all.
    for (token, close) in [(json!(field.server.key), 4102), (json!(""), 4100), (json!(null), 4100)]
    {
        let hello = json!({"t": "hello", "id": 1, "token": token, "rooms": []});
        let (told, ended) = field.first_words(&hello.to_string());
        let is_so = ended.close == Some(close) && told["code"] == "unauthorized";
        field.expect(is_so, || format!("{close}: {told} {ended:?}"));
    }
    leeway_and_length(field, &own, &claims);
}

/// Five seconds either way, since no two clocks agree; and 1 MiB is longer than anything may be.
fn leeway_and_length(field: &Field, own: &Issuer, claims: &Value) {
    let now = now_s();
    field.expect_welcome("just expired", &own.token(&with(claims, "exp", json!(now - 3))));
    field.expect_welcome("not quite begun", &own.token(&with(claims, "nbf", json!(now + 4))));
    let old = own.token(&with(claims, "exp", json!(now - 6)));
    field.expect_refused("older than the leeway", &old, 4101);
    let filled = |bytes: usize| own.token(&with(claims, "x", json!("x".repeat(bytes))));
    field.expect_welcome("a long one", &filled(5_000));
    field.expect_refused("one of 9,000 bytes", &filled(6_500), 4102);
    let long = filled(1 << 20);
    let mut client = field.stranger();
    client.say(&json!({"t": "hello", "id": 1, "token": long, "rooms": []}).to_string());
    field.expect_close("a token of 1 MiB", &mut client, 1009);
    let answer = field.call(&long, "GET", "/v1/rooms", "", "");
    let is_so = matches!(answer.status, 400 | 401 | 413 | 431);
    field.expect(is_so, || format!("a token of 1 MiB: {}", answer.status));
}

/// Tickets are not served yet, so that any token in a query is refused.
fn in_query(field: &Field) {
    let token = field.mallorys_token();
    for name in ["token", "access_token", "ticket", "jwt", "authorization"] {
        // Written twice, it is not found by whoever looks for one spelling alone.
        for value in [token.clone(), percent(&token)] {
            let request = upgrade_request(field.server.public, "");
            let request = request.replace("/v1/ws", &format!("/v1/ws?{name}={value}"));
            let stream = TcpStream::connect(field.server.public).expect("a connection");
            let (answer, client) = Client::knock(stream, request.as_bytes()).expect("an answer");
            let Some(mut client) = client else {
                field.expect(answer.status == 400, || format!("?{name}=: {}", answer.status));
                continue;
            };
            // It is let in, but as nobody: the query is not read.
            client.say(r#"{"t":"hello","id":1,"rooms":[]}"#);
            field.expect_close(&format!("?{name}="), &mut client, 4100);
        }
        let path = format!("/v1/rooms?{name}={token}");
        let answer = http::call(field.server.public, "GET", &path, "", "").expect("an answer");
        field.expect_answer(&format!("?{name}="), &answer, 401, "unauthorized");
        field.expect(!answer.body.contains(&token), || format!("?{name}= is told again"));
    }
    let said = field.server.place.said();
    field.expect(!said.contains(&token), || "the token stands in the log".to_owned());
}
