//! Keys that a provider publishes.

use super::*;
use tertulia_proof::issuer::Provider;

impl House {
    /// One that believes what `provider` publishes of the issuer "us".
    fn trusting(provider: &Provider) -> House {
        House::new(&format!("issuer = \"us\"\njwks_url = \"{}\"", provider.url()))
    }

    async fn resolves(&self, token: &str, now_s: u64) -> Verdict {
        self.login().resolve(token, now_s).await
    }
}

fn is_known(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Known(_))
}

const INVALID: Verdict = Verdict::Refused(Close::TokenInvalid);

#[tokio::test]
async fn a_published_key_is_fetched_once_and_then_known() {
    for issuer in [Issuer::rsa(), Issuer::ec(), Issuer::ed()] {
        let issuer = issuer.kid("k1");
        let provider = Provider::publishing(&[&issuer]);
        let house = House::trusting(&provider);
        let token = issuer.token(&claims_of("us", "ada"));
        assert_eq!(house.verify(&token), Verdict::MustAsk);
        assert!(is_known(&house.resolves(&token, NOW_S).await), "{}", issuer.alg());
        house.knows(&token, "ada");
        assert!(is_known(&house.resolves(&token, NOW_S).await));
        assert_eq!(provider.asked(), 1);
    }
}

#[tokio::test]
async fn keys_rotate_without_anyone_being_locked_out() {
    let (old, new) = (Issuer::ed().kid("old"), Issuer::ed().kid("new"));
    let provider = Provider::publishing(&[&old]);
    let house = House::trusting(&provider);
    let (before, after) = (old.token(&claims_of("us", "ada")), new.token(&claims_of("us", "ada")));
    assert!(is_known(&house.resolves(&before, NOW_S).await));

    provider.publish(&[&old, &new]);
    assert!(is_known(&house.resolves(&after, NOW_S + 10).await));
    house.knows(&before, "ada");

    provider.publish(&[&new]);
    house.opened.login.0.jwks.as_ref().unwrap().refresh(NOW_S + 20).await;
    house.knows(&after, "ada");
    assert_eq!(house.resolves(&before, NOW_S + 21).await, INVALID, "the old key is withdrawn");
    assert_eq!(provider.asked(), 3);
}

#[tokio::test]
async fn known_keys_go_on_while_the_provider_is_down() {
    let issuer = Issuer::ec().kid("k1");
    let provider = Provider::publishing(&[&issuer]);
    let house = House::trusting(&provider);
    let jwks = house.opened.login.0.jwks.clone().unwrap();
    let token = issuer.token(&claims_of("us", "ada"));
    assert_eq!(jwks.refresh(NOW_S).await.as_secs(), 600);
    house.knows(&token, "ada");

    let mut now_s = NOW_S;
    let long = vec![b' '; 300 * 1024];
    for (status, body) in [
        ("500 No", vec![]),
        ("404 No", vec![]),
        ("200 OK", b"<html>".to_vec()),
        ("200 OK", b"{\"keys\": 1}".to_vec()),
        ("200 OK", long),
    ] {
        provider.answer(status, body);
        now_s += 600;
        assert_eq!(jwks.refresh(now_s).await.as_secs(), 10, "it comes again soon");
        assert!(is_known(&house.verify(&token)));
    }
    provider.publish(&[&issuer]);
    assert_eq!(jwks.refresh(now_s + 10).await.as_secs(), 600);
    assert_eq!(provider.asked(), 7);
}

#[tokio::test]
async fn ten_thousand_unknown_kids_make_one_fetch_in_ten_seconds() {
    let issuer = Issuer::ed().kid("k1");
    let provider = Provider::publishing(&[&issuer]);
    let house = House::trusting(&provider);
    let attacker = Issuer::ed();
    for n in 0..10_000 {
        let header = with(attacker.header(), "kid", json!(format!("k{n}")));
        let token = attacker.raw(&header.to_string(), &claims_of("us", "eve").to_string());
        let now_s = NOW_S + n / 1_000;
        assert_eq!(house.resolves(&token, now_s).await, INVALID);
    }
    assert_eq!(provider.asked(), 1, "in the first ten seconds");
    let token = attacker.kid("new").token(&claims_of("us", "eve"));
    assert_eq!(house.resolves(&token, NOW_S + 10).await, INVALID);
    assert_eq!(provider.asked(), 2, "and one in the next");
    house.knows(&issuer.token(&claims_of("us", "ada")), "ada");
}

#[tokio::test]
async fn many_who_ask_at_once_wait_for_one_fetch() {
    let issuer = Issuer::ed().kid("k1");
    let provider = Provider::publishing(&[&issuer]);
    let house = House::trusting(&provider);
    let token = issuer.token(&claims_of("us", "ada"));
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (login, token) = (house.login().clone(), token.clone());
        waiting.spawn(async move { login.resolve(&token, NOW_S).await });
    }
    for verdict in waiting.join_all().await {
        assert!(is_known(&verdict), "{verdict:?}");
    }
    assert_eq!(provider.asked(), 1);
}

#[tokio::test]
async fn a_clock_that_was_set_back_stops_no_fetch() {
    let issuer = Issuer::ed().kid("k1");
    let provider = Provider::publishing(&[]);
    let house = House::trusting(&provider);
    let claims = json!({"sub": "ada", "iss": "us", "exp": NOW_S + 3600});
    let token = issuer.token(&claims);
    assert_eq!(house.resolves(&token, NOW_S).await, INVALID);
    provider.publish(&[&issuer]);
    assert!(is_known(&house.resolves(&token, NOW_S - 1_000).await));
}

#[tokio::test]
async fn nothing_that_a_token_says_makes_the_server_call_anyone() {
    let issuer = Issuer::rsa().kid("k1");
    let provider = Provider::publishing(&[&issuer]);
    let canary = Provider::publishing(&[]);
    let house = House::trusting(&provider);
    house.resolves(&issuer.token(&claims_of("us", "ada")), NOW_S).await;

    let attacker = Issuer::rsa();
    let url = canary.url();
    for (header, claims) in [
        (json!({"alg": "RS256", "kid": url}), claims_of("us", "ada")),
        (json!({"alg": "RS256", "kid": "k1", "jku": url}), claims_of("us", "ada")),
        (json!({"alg": "RS256", "kid": "k1", "x5u": url}), claims_of("us", "ada")),
        (json!({"alg": "RS256", "jku": url, "jwk": attacker.jwk()}), claims_of("us", "ada")),
        (json!({"alg": "RS256", "kid": "k1"}), claims_of(&url, "ada")),
        (json!({"alg": "RS256", "kid": "x"}), with(claims_of("us", "ada"), "aud", json!(url))),
        (json!({"alg": "RS256", "kid": "x".repeat(10 * 1024)}), claims_of("us", "ada")),
        (json!({"alg": "RS256", "kid": "../../dev/null"}), claims_of("us", "ada")),
    ] {
        let token = attacker.raw(&header.to_string(), &claims.to_string());
        assert_eq!(house.resolves(&token, NOW_S + 1).await, INVALID, "{header}");
    }
    assert_eq!((canary.asked(), provider.asked()), (0, 1));
}

#[tokio::test]
async fn a_token_that_would_be_refused_anyway_makes_no_fetch() {
    let issuer = Issuer::ed().kid("k1");
    let provider = Provider::publishing(&[&issuer]);
    let house = House::trusting(&provider);
    for claims in [
        claims("no issuer"),
        claims_of("them", "ada"),
        claims_of("us", "not a user id"),
        with(claims_of("us", "ada"), "exp", json!(NOW_S - 60)),
    ] {
        assert_eq!(house.resolves(&issuer.token(&claims), NOW_S).await, INVALID, "{claims}");
    }
    let shared = Issuer::shared(random_bytes()).kid("k2").token(&claims_of("us", "ada"));
    assert_eq!(house.resolves(&shared, NOW_S).await, INVALID);
    assert_eq!(provider.asked(), 0);
}

#[tokio::test]
async fn a_published_secret_or_foreign_key_is_never_used() {
    let secret = Issuer::shared(random_bytes()).kid("k1");
    let good = Issuer::ed().kid("k2");
    let mut encrypts = Issuer::rsa().kid("k3").jwk();
    encrypts["use"] = json!("enc");
    let rsa = Issuer::rsa().kid("k4");
    let mut other = rsa.jwk();
    other["alg"] = json!("PS256");
    let broken = json!({"kty": "RSA", "kid": "k5", "n": "AQAB", "e": "AQAB"});
    let keys = json!({"keys": [secret.jwk(), encrypts, other, broken, 7, {}, good.jwk()]});
    let provider = Provider::publishing(&[]);
    provider.answer("200 OK", keys.to_string().into_bytes());
    let house = House::trusting(&provider);
    let jwks = house.opened.login.0.jwks.clone().unwrap();
    jwks.refresh(NOW_S).await;
    assert_eq!(jwks.keys().len(), 1, "the good one");
    house.knows(&good.token(&claims_of("us", "ada")), "ada");
    house.refuses(&secret.token(&claims_of("us", "ada")), Close::TokenInvalid);
    house.refuses(&rsa.token(&claims_of("us", "ada")), Close::TokenInvalid);
}

#[tokio::test]
async fn a_published_key_speaks_for_its_own_issuer_only() {
    let (ours, theirs) = (Issuer::ed().kid("1"), Issuer::ed().kid("1"));
    let provider = Provider::publishing(&[&ours]);
    let auth = format!(
        "issuer = \"us\"\njwks_url = \"{}\"\n{}",
        provider.url(),
        key(&theirs, Some("them"))
    );
    let house = House::new(&auth);
    assert!(is_known(&house.resolves(&ours.token(&claims_of("us", "ada")), NOW_S).await));
    house.knows(&theirs.token(&claims_of("them", "bob")), "bob");
    house.refuses(&ours.token(&claims_of("them", "bob")), Close::TokenInvalid);
    house.refuses(&theirs.token(&claims_of("us", "ada")), Close::TokenInvalid);
}

#[tokio::test]
async fn a_few_redirects_are_followed_but_not_for_ever_nor_to_another_scheme() {
    let issuer = Issuer::ed().kid("k1");
    let moved = Provider::publishing(&[&issuer]);
    let provider = Provider::publishing(&[]);
    provider.answer(&format!("302 Found\r\nlocation: {}", moved.url()), vec![]);
    let house = House::trusting(&provider);
    let token = issuer.token(&claims_of("us", "ada"));
    assert!(is_known(&house.resolves(&token, NOW_S).await));

    let circle = Provider::publishing(&[]);
    circle.answer(&format!("302 Found\r\nlocation: {}", circle.url()), vec![]);
    assert_eq!(House::trusting(&circle).resolves(&token, NOW_S).await, INVALID);
    assert_eq!(circle.asked(), 4, "the first and three more");

    let canary = Provider::publishing(&[&issuer]);
    let secure = canary.url().replace("http", "https");
    provider.answer(&format!("302 Found\r\nlocation: {secure}"), vec![]);
    assert_eq!(House::trusting(&provider).resolves(&token, NOW_S).await, INVALID);
    assert_eq!(canary.asked(), 0);
}
