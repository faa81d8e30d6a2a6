//! Tokens, good and bad.

use super::*;
use crate::login::token::TOKEN_BYTES_MAX;

#[test]
fn every_algorithm_lets_its_own_tokens_in_and_no_others() {
    let issuers = [Issuer::rsa(), Issuer::ec(), Issuer::ed()];
    let strangers = [Issuer::rsa(), Issuer::ec(), Issuer::ed()];
    let keys: String = issuers.iter().map(|issuer| key(issuer, None)).collect();
    let house = House::new(&keys);
    for issuer in &issuers {
        house.knows(&issuer.token(&claims("ada")), "ada");
    }
    for stranger in &strangers {
        house.refuses(&stranger.token(&claims("ada")), Close::TokenInvalid);
    }
    house.knows(&house.own().token(&claims("ada")), "ada");
}

#[test]
fn a_token_says_who_until_when_and_where() {
    let house = House::new("");
    let rooms = json!({"r1": "member", "r2": "reader"});
    let mut full = with(claims("ada"), "rooms", rooms);
    full["name"] = json!("Ada L.");
    full["avatar"] = json!("https://a.example/ada.png");
    let mut identity = house.knows(&house.own().token(&full), "ada");
    identity.grants.sort();
    let grant = |room: &str, role| (RoomId::parse(room).unwrap(), role);
    assert_eq!(identity.grants, [grant("r1", Role::Member), grant("r2", Role::Reader)]);
    assert_eq!((identity.exp_s, identity.iat_s), (NOW_S + 3600, Some(NOW_S)));
    assert_eq!(identity.name.as_deref(), Some("Ada L."));
    assert_eq!(identity.avatar.as_deref(), Some("https://a.example/ada.png"));

    let odd = with(with(claims("ada"), "name", json!("a\u{1b}[2J")), "avatar", json!(7));
    let identity = house.knows(&house.own().token(&odd), "ada");
    assert_eq!((identity.name, identity.avatar), (None, None), "left out, nothing depends on them");
}

#[test]
fn another_claim_may_name_the_user() {
    let house = House::new("user_claim = \"uid\"");
    let token = house.own().token(&with(claims("not me"), "uid", json!("ada")));
    house.knows(&token, "ada");
    house.refuses(&house.own().token(&claims("ada")), Close::TokenInvalid);
    let (minted, _) = house.login().mint(&user("bob"), 60, &[], NOW_S).unwrap();
    house.knows(&minted, "bob");
}

#[test]
fn bad_input_04_no_token_an_expired_one_and_any_other_bad_one_are_told_apart() {
    let house = House::new("");
    let own = house.own();
    house.refuses("", Close::NoToken);
    house.refuses(&own.token(&with(claims("ada"), "exp", json!(NOW_S - 60))), Close::TokenExpired);
    let good = own.token(&claims("ada"));
    for bad in [
        "x",
        "a.b.c",
        "..",
        "tk_0123456789012345678901234567890123456789012",
        &good[..good.len() - 1],
        &format!("{good}="),
        &format!("{good} "),
        &format!("{good}.{good}"),
        &format!(" {good}"),
        &good.replace('.', "=."),
        &format!("{good}{}", "A".repeat(1 << 20)),
    ] {
        house.refuses(bad, Close::TokenInvalid);
    }
    let forged = Issuer::shared(random_bytes());
    let old = with(claims("ada"), "exp", json!(NOW_S - 60));
    house.refuses(&forged.token(&old), Close::TokenInvalid);
}

#[test]
fn algorithms_that_are_none_let_nobody_in() {
    let issuer = Issuer::rsa();
    let house = House::new(&key(&issuer, None));
    let body = b64(claims("ada").to_string());
    for alg in ["none", "None", "nOnE", "NONE", "", "rs256", "HS384", "RS512", "PS256"] {
        let header = b64(json!({"alg": alg}).to_string());
        house.refuses(&format!("{header}.{body}."), Close::TokenInvalid);
        house.refuses(&format!("{header}.{body}"), Close::TokenInvalid);
        let signed = issuer.raw(&json!({"alg": alg}).to_string(), &claims("ada").to_string());
        house.refuses(&signed, Close::TokenInvalid);
    }
    for header in [json!({}), json!({"alg": null}), json!({"alg": 1}), json!(["RS256"])] {
        let token = issuer.raw(&header.to_string(), &claims("ada").to_string());
        house.refuses(&token, Close::TokenInvalid);
    }
    for alg in ["RS256", "HS256"] {
        let header = b64(json!({"alg": alg}).to_string());
        house.refuses(&format!("{header}.{body}."), Close::TokenInvalid);
    }
    let twice = issuer.raw(r#"{"alg":"none","alg":"RS256"}"#, &claims("ada").to_string());
    house.refuses(&twice, Close::TokenInvalid);
}

#[test]
fn a_public_key_is_no_shared_secret() {
    let issuer = Issuer::rsa();
    let house = House::new(&key(&issuer, None));
    let pem = issuer.pem();
    for secret in [pem.as_bytes(), pem.trim_end().as_bytes(), &issuer.der(), b""] {
        house.refuses(&Issuer::shared(secret).token(&claims("ada")), Close::TokenInvalid);
    }
    let body = b64(issuer.der());
    house.refuses(&Issuer::shared(body).token(&claims("ada")), Close::TokenInvalid);
}

#[test]
fn headers_that_ask_for_more_are_refused_and_pointers_are_not_followed() {
    let attacker = Issuer::rsa();
    let house = House::new(&key(&Issuer::rsa(), None));
    for (name, value) in [
        ("jwk", attacker.jwk()),
        ("jku", json!("https://evil.example/keys")),
        ("x5u", json!("https://evil.example/cert")),
        ("kid", json!("../../dev/null")),
        ("kid", json!("' OR 1=1")),
        ("kid", json!("x".repeat(300))),
    ] {
        let header = with(attacker.header(), name, value);
        let token = attacker.raw(&header.to_string(), &claims("ada").to_string());
        house.refuses(&token, Close::TokenInvalid);
    }
    let own = house.own();
    for (name, value) in [
        ("crit", json!(["exp"])),
        ("enc", json!("A256GCM")),
        ("zip", json!("DEF")),
        ("kid", json!(7)),
    ] {
        let header = with(own.header(), name, value);
        let token = own.raw(&header.to_string(), &claims("ada").to_string());
        house.refuses(&token, Close::TokenInvalid);
    }
    let kid = with(own.header(), "kid", json!("any"));
    house.knows(&own.raw(&kid.to_string(), &claims("ada").to_string()), "ada");
}

#[test]
fn two_issuers_with_the_same_kid_do_not_speak_for_each_other() {
    let (a, b) = (Issuer::rsa().kid("1"), Issuer::rsa().kid("1"));
    let house = House::new(&(key(&a, Some("A")) + &key(&b, Some("B"))));
    house.knows(&a.token(&claims_of("A", "ada")), "ada");
    house.knows(&b.token(&claims_of("B", "bob")), "bob");
    house.refuses(&a.token(&claims_of("B", "bob")), Close::TokenInvalid);
    house.refuses(&b.token(&claims_of("A", "ada")), Close::TokenInvalid);
    house.refuses(&a.token(&claims("ada")), Close::TokenInvalid);
}

#[test]
fn every_claim_is_checked() {
    let house = House::new("issuer = \"us\"\naudience = \"chat\"");
    let own = house.own();
    let good = with(claims_of("us", "ada"), "aud", json!("chat"));
    let check = |name: &str, value: Value, expected: Option<Close>| {
        let token = own.token(&with(good.clone(), name, value.clone()));
        match expected {
            None => drop(house.knows(&token, "ada")),
            Some(close) => {
                assert_eq!(house.verify(&token), Verdict::Refused(close), "{name} = {value}");
            }
        }
    };
    let (expired, invalid) = (Some(Close::TokenExpired), Some(Close::TokenInvalid));
    check("exp", json!(NOW_S - 5), expired);
    check("exp", json!(NOW_S - 4), None);
    check("exp", json!(NOW_S as f64 + 0.5), None);
    check("exp", json!(0), expired);
    check("exp", json!((NOW_S + 60).to_string()), invalid);
    check("exp", json!(1e300), invalid);
    check("exp", json!(-1), invalid);
    check("exp", json!(null), invalid);
    check("exp", json!([NOW_S + 60]), invalid);
    check("nbf", json!(NOW_S + 5), None);
    check("nbf", json!(NOW_S + 6), invalid);
    check("nbf", json!("now"), invalid);
    check("iat", json!("now"), invalid);
    check("aud", json!(["mail", "chat"]), None);
    check("aud", json!("mail"), invalid);
    check("aud", json!(["mail"]), invalid);
    check("aud", json!([]), invalid);
    check("aud", json!(null), invalid);
    check("iss", json!("them"), invalid);
    check("iss", json!(["us"]), invalid);
    check("iss", json!(null), invalid);
    check("sub", json!(""), invalid);
    check("sub", json!("a b"), invalid);
    check("sub", json!("x".repeat(129)), invalid);
    check("sub", json!(7), invalid);
    check("sub", json!(null), invalid);
    check("rooms", json!({"r1": "king"}), invalid);
    check("rooms", json!({"": "member"}), invalid);
    check("rooms", json!(["r1"]), invalid);
    check("rooms", json!(null), invalid);
    check("other", json!({"deep": [[[]]]}), None);

    let expired_and_wrong = with(with(good, "exp", json!(0)), "aud", json!("mail"));
    house.refuses(&own.token(&expired_and_wrong), Close::TokenInvalid);
}

#[test]
fn claims_that_are_missing_twice_or_no_object_are_refused() {
    let house = House::new("");
    let own = house.own();
    let exp = NOW_S + 60;
    for claims in [
        format!(r#"{{"exp":{exp}}}"#),
        r#"{"sub":"ada"}"#.to_owned(),
        format!(r#"{{"sub":"ada","sub":"bob","exp":{exp}}}"#),
        format!(r#"{{"sub":"ada","s\u0075b":"bob","exp":{exp}}}"#),
        format!(r#"{{"sub":"ada","exp":{exp},"exp":{exp}}}"#),
        format!(r#"{{"sub":"ada","exp":{exp},"rooms":{{"r1":"member","r1":"owner"}}}}"#),
        format!(r#"{{"sub":"ada","exp":{exp}}} x"#),
        format!(r#"{{"sub":"ada","exp":{exp}"#),
        format!(r#"["ada",{exp}]"#),
        String::new(),
        house.own().token(&claims("ada")),
    ] {
        house.refuses(&own.raw(&own.header().to_string(), &claims), Close::TokenInvalid);
    }
    let bytes = format!("{}.{}", b64(own.header().to_string()), b64(b"\xff\xfe"));
    let token = format!("{bytes}.{}", b64(own.sign(bytes.as_bytes())));
    house.refuses(&token, Close::TokenInvalid);

    // What nobody reads is stepped over, not into: no depth of it costs a stack.
    let (open, close) = ("[".repeat(2000), "]".repeat(2000));
    let deep = format!(r#"{{"sub":"ada","exp":{exp},"x":{open}1{close}}}"#);
    house.knows(&own.raw(&own.header().to_string(), &deep), "ada");
    let deep = format!(r#"{{"sub":"ada","exp":{open}{exp}{close}}}"#);
    house.refuses(&own.raw(&own.header().to_string(), &deep), Close::TokenInvalid);
}

#[test]
fn a_token_is_as_long_as_hello_can_carry_and_no_longer() {
    let house = House::new("");
    let filled =
        |bytes: usize| house.own().token(&with(claims("ada"), "x", json!("x".repeat(bytes))));
    let fits = (1..TOKEN_BYTES_MAX).rev().find(|&bytes| filled(bytes).len() <= TOKEN_BYTES_MAX);
    let fits = fits.expect("some length fits");
    house.knows(&filled(fits), "ada");
    house.refuses(&filled(fits + 1), Close::TokenInvalid);
}

#[test]
fn tokens_from_before_a_revocation_are_refused() {
    let house = House::new("");
    let token = |iat_s: u64| house.own().token(&with(claims("ada"), "iat", json!(iat_s)));
    let timeless = house.own().token(&json!({"sub": "ada", "exp": NOW_S + 60}));
    house.knows(&timeless, "ada");

    house.login().revoke(user("ada"), NOW_S);
    house.refuses(&token(NOW_S - 1), Close::Revoked);
    house.refuses(&timeless, Close::Revoked);
    house.knows(&token(NOW_S), "ada");
    house.knows(&house.own().token(&claims("bob")), "bob");

    house.login().revoke(user("ada"), NOW_S - 100);
    house.refuses(&token(NOW_S - 1), Close::Revoked);
}

#[test]
fn revocations_are_still_known_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&dir, "");
    let opened = Login::open(&config, [(user("ada"), NOW_S + 1)], NOW_S * 1000).unwrap();
    let house = House { dir, opened };
    house.refuses(&house.own().token(&claims("ada")), Close::Revoked);
}

#[test]
fn a_minted_token_is_a_good_one() {
    let house = House::new("issuer = \"us\"\naudience = \"chat\"");
    let grants = [(RoomId::parse("r1").unwrap(), Role::Admin)];
    let (token, exp_s) = house.login().mint(&user("ada"), 60, &grants, NOW_S).unwrap();
    assert_eq!(exp_s, NOW_S + 60);
    let identity = house.knows(&token, "ada");
    assert_eq!((identity.exp_s, identity.iat_s), (exp_s, Some(NOW_S)));
    assert_eq!(identity.grants, grants);
}

#[test]
fn a_token_that_would_live_too_long_or_be_too_large_is_not_minted() {
    let house = House::new("");
    let mint = |ttl_s, rooms: usize| {
        let grant = |n| (RoomId::parse(&format!("room-{n:050}")).unwrap(), Role::Member);
        let grants: Vec<_> = (0..rooms).map(grant).collect();
        house.login().mint(&user("ada"), ttl_s, &grants, NOW_S).unwrap_err().to_string()
    };
    let life = "is not given out, choose 1 to 86400 (limits.token_ttl_max_s)";
    assert_eq!(mint(0, 0), format!("a token of 0 s {life}"));
    assert_eq!(mint(86_401, 0), format!("a token of 86401 s {life}"));
    assert!(
        mint(60, 1001).starts_with("a token for 1001 rooms is not given out, the limit is 1000")
    );
    assert!(mint(60, 1000).contains("bytes, the limit is 8192; name fewer rooms"));
}

#[test]
fn a_private_key_is_not_taken_for_a_public_one() {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let text = STANDARD.encode(der.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n");
    assert!(PublicKey::from_pem(Alg::Rs256, &pem).is_none());
    assert!(PublicKey::from_pem(Alg::Rs256, &Issuer::ec().pem()).is_none());
    assert!(PublicKey::from_pem(Alg::Es256, &Issuer::ed().pem()).is_none());
    assert!(PublicKey::from_pem(Alg::Hs256, &Issuer::rsa().pem()).is_none());
    assert!(PublicKey::from_pem(Alg::Rs256, &Issuer::rsa().pem()).is_some());
}

fn user(id: &str) -> UserId {
    UserId::parse(id).expect("a user id")
}
