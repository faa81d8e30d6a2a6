use std::ffi::OsString;
use std::path::PathBuf;

use tertulia_store::Durability;

use super::list::Origin;
use super::*;

/// A file, an environment and flags; what they make together.
struct Sources {
    dir: tempfile::TempDir,
    env: Vec<(OsString, OsString)>,
    flags: Flags,
}

impl Sources {
    fn new(file: &str) -> Sources {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("tertulia.toml");
        std::fs::write(&path, file).expect("a file in it");
        let flags = Flags { config: Some(path), set: Vec::new() };
        Sources { dir, env: Vec::new(), flags }
    }

    fn env(mut self, variable: &str, value: &str) -> Sources {
        self.env.push((variable.into(), value.into()));
        self
    }

    fn flag(mut self, flag: &'static str, setting: &'static str, value: &str) -> Sources {
        self.flags.set.push((flag, setting, value.to_owned()));
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn load(&self) -> Config {
        self.try_load().expect("settings without a mistake")
    }

    fn try_load(&self) -> Result<Config, Vec<Mistake>> {
        Config::load(&self.flags, self.env.clone())
    }

    /// The mistakes, with the folder left out of file names.
    fn mistakes(&self) -> Vec<String> {
        let folder = format!("{}/", self.dir.path().display());
        let mistakes = self.try_load().expect_err("mistakes");
        mistakes.iter().map(|mistake| mistake.to_string().replace(&folder, "")).collect()
    }
}

#[track_caller]
fn check(file: &str, expected: &[&str]) {
    assert_eq!(Sources::new(file).mistakes(), expected, "{file}");
}

const LONG_SECRET: &str = "a-secret-of-more-than-32-bytes-0123";

#[test]
fn without_settings_everything_has_its_default() {
    let config = Config::load(&Flags::default(), []).expect("defaults without a mistake");
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.server.admin_listen.to_string(), "127.0.0.1:9090");
    assert_eq!(config.store.durability, Durability::Fsync);
    assert_eq!(config.server.log_format, LogFormat::Auto);
    assert_eq!(config.auth.user_claim, "sub");
    assert!(config.auth.hs256_secret.is_none());
    let expected = tertulia_rooms::limits::Limits {
        frame_bytes: 64 << 10,
        body_bytes: 16 << 10,
        rooms_per_connection: 1_000,
        inflight: 64,
        dedup_s: 7 * 24 * 3_600,
        page: 256,
        page_max: 1_000,
        jump: 2_000,
        jump_max: 100_000,
        log_limit: 256,
        log_limit_max: 1_000,
        send_per_second: 20,
        send_burst: 100,
        command_per_second: 200,
        command_burst: 1_000,
        outbound_bytes: 256 << 10,
        outbound_objects: 4_096,
        cork_listeners: 16,
        deflate_from_bytes: 512,
        replay_bytes: 64 << 10,
        slab_bytes: 128 << 20,
        tail_events: 512,
        tail_room_bytes: 256 << 10,
        tail_bytes: 64 << 20,
        slow_close_s: 10,
        hello_s: 10,
        ping_s: 25,
        connections_per_user: 64,
        connections_per_shard: 10_000,
        commit_queue: 8_192,
        commit_batch: 1_024,
        shard_queue: 4_096,
        lookup_queue: 32_768,
        active_rooms: 10_000,
        membership_ttl_s: 300,
        membership_entries: 200_000,
        rooms_per_user: 100,
        typing_every_ms: 3_000,
        typing_ttl_ms: 8_000,
        head_check_ms: 5_000,
        drain_s: 20,
    };
    assert_eq!(config.limits(), expected);
}

#[test]
fn flags_win_over_the_environment_over_the_file_over_the_defaults() {
    let file = "[limits]\npage = 10\njump = 20\nlog_limit = 30\n[server]\nlisten = \"127.0.0.1:1\"";
    let config = Sources::new(file)
        .env("TERTULIA_LIMITS__JUMP", "21")
        .env("TERTULIA_SERVER__LISTEN", "127.0.0.1:2")
        .flag("--listen", "server.listen", "127.0.0.1:3")
        .load();
    let limits = config.limits();
    assert_eq!((limits.page, limits.jump, limits.log_limit), (10, 21, 30));
    assert_eq!(config.server.listen.port(), 3);
    assert_eq!(limits.inflight, 64, "nobody said anything about it");
}

#[test]
fn bad_input_11_wrong_settings_of_every_source_are_named_together() {
    let file = r#"
        [server]
        listen = "nowhere"
        allowed_origins = ["https://a.example", "*"]
        dev = "yes"
        [limits]
        pge = 3
        page = 0
        page_max = "many"
        commit_batch = 2048
        commit_queue = 1024
        [auth]
        hs256_secret = "short"
        keys = [{alg = "HS256", pem = "x"}, {alg = "RS256"}, {alg = "ES256", pem = "-", kind = "x"}]
    "#;
    let sources = Sources::new(file)
        .env("TERTULIA_LIMITS__PING_S", "5")
        .env("TERTULIA_STORE__DURABILTY", "os")
        .flag("--durability", "store.durability", "disk");
    let expected = [
        "tertulia.toml: limits.pge: unknown, did you mean limits.page?",
        "TERTULIA_STORE__DURABILTY: unknown, did you mean TERTULIA_STORE__DURABILITY?",
        r#"tertulia.toml: server.listen = "nowhere": must be an IP address and a port, like 127.0.0.1:8080"#,
        r#"tertulia.toml: server.allowed_origins[1] = "*": must be exact origins, like https://app.example"#,
        r#"tertulia.toml: server.dev = "yes": is text; it takes true or false, without quotes"#,
        r#"--durability = "disk": must be fsync, os or memory"#,
        "tertulia.toml: auth.hs256_secret: has 5 bytes, must be 32 bytes or more, not to be guessed",
        r#"tertulia.toml: auth.keys[0].alg = "HS256": must be RS256, ES256 or EdDSA"#,
        "tertulia.toml: auth.keys[1]: has neither pem nor pem_file, must have one of the two",
        "tertulia.toml: auth.keys[2].kind: unknown, expected one of alg, pem, pem_file, kid, issuer",
        "tertulia.toml: auth.keys[2].pem: must be a public key for ES256 in PEM",
        "tertulia.toml: limits.page = 0: must be 1 to 1000",
        r#"tertulia.toml: limits.page_max = "many": is text; it takes a whole number, 1 to 1000, without quotes"#,
        "TERTULIA_LIMITS__PING_S = 5: must be 10 to 60",
        "tertulia.toml: limits.commit_batch = 2048: must not be above 1024 (tertulia.toml: limits.commit_queue)",
    ];
    assert_eq!(sources.mistakes(), expected);
}

#[test]
fn each_mistake_names_the_value_the_bound_and_the_way_out() {
    check("[limits]\npage = 1001", &["tertulia.toml: limits.page = 1001: must be 1 to 1000"]);
    check("[limits]\npage = -1", &["tertulia.toml: limits.page = -1: must be 1 to 1000"]);
    check("[limit]\npage = 5", &["tertulia.toml: limit.page: unknown, did you mean limits.page?"]);
    check(
        "[server]\nping_s = 25",
        &["tertulia.toml: server.ping_s: unknown, did you mean limits.ping_s?"],
    );
    check(
        "[server]\nelephants = 2",
        &["tertulia.toml: server.elephants: unknown; `tertulia config docs` shows every setting"],
    );
    check(
        "[server]\nlog_format = \"xml\"",
        &[r#"tertulia.toml: server.log_format = "xml": must be auto, text or json"#],
    );
    check("[limits]\npage = 1\npage = 2", &["tertulia.toml:3: duplicate key"]);
}

#[test]
fn a_value_of_another_kind_is_told_how_to_be_written() {
    let row = |line: &str, section: &str, why: &str| {
        let mistake = format!("tertulia.toml: {section}.{line}: {why}");
        check(&format!("[{section}]\n{line}"), &[&mistake]);
    };
    let number = "it takes a whole number, 1 to 1000, without quotes";
    row("page = \"20\"", "limits", &format!("is text; {number}"));
    row("page = 1.5", "limits", &format!("is a fraction; {number}"));
    row("page = { x = 1 }", "limits", &format!("is a table; {number}"));
    let seconds = "it takes a whole number of seconds, 10 to 60, without quotes";
    row("ping_s = \"25s\"", "limits", &format!("is text; {seconds}"));
    row("ping_s = 09:30:00", "limits", &format!("is a date; {seconds}"));
    row("dev = 1", "server", "is a whole number; it takes true or false, without quotes");
    let address = "it takes an IP address and a port, like 127.0.0.1:8080, in quotes";
    row("listen = 8080", "server", &format!("is a whole number; {address}"));
    row("durability = true", "store", "is a switch; it takes fsync, os or memory, in quotes");
    row("issuer = [\"i\"]", "auth", "is a list; it takes a text, in quotes");
    let origins = "it takes a list in [ ]: exact origins, like https://app.example";
    row("allowed_origins = \"https://a.example\"", "server", &format!("is text; {origins}"));
    check(
        "[auth]\nhs256_secret = 123456789",
        &[
            "tertulia.toml: auth.hs256_secret: is a whole number; it takes 32 bytes or more, not to be guessed, in quotes",
        ],
    );
}

#[test]
fn a_variable_with_a_value_of_another_kind_is_named() {
    let row = |variable: &str, value: &str, why: &str| {
        let sources = Sources::new("").env(variable, value);
        assert_eq!(sources.mistakes(), [format!("{variable} = {value:?}: must be {why}")]);
    };
    row("TERTULIA_LIMITS__PAGE", "many", "a whole number, 1 to 1000");
    row("TERTULIA_LIMITS__PING_S", "25s", "a whole number of seconds, 10 to 60");
    row("TERTULIA_LIMITS__HEAD_CHECK_MS", "", "a whole number of milliseconds, 1 to 60000");
    row("TERTULIA_SERVER__DEV", "1", "true or false");
    row(
        "TERTULIA_AUTH__KEYS",
        "k.pem",
        "a list in [ ]: tables of alg (RS256, ES256 or EdDSA), pem or pem_file, and maybe kid and issuer",
    );
}

#[test]
fn a_key_with_a_line_break_in_it_is_told_on_one_line() {
    let unknown = "tertulia.toml: limits.body bytes: unknown, did you mean limits.body_bytes?";
    check("[limits]\n\"body\\nbytes\" = 4", &[unknown]);
}

#[test]
fn a_line_that_is_no_toml_is_told_how_to_be_written_and_not_shown() {
    check(
        "[limits]\nping_s = 25s",
        &[
            "tertulia.toml:2: ping_s: string values must be quoted, expected literal string; it takes a whole number of seconds, 10 to 60, without quotes",
        ],
    );
    let sources = Sources::new("[auth]\nhs256_secret = abcdefgh=ijkl\nabcd=efgh");
    let [mistake] = &sources.mistakes()[..] else { panic!("one mistake") };
    assert!(mistake.starts_with("tertulia.toml:2: hs256_secret: "), "{mistake}");
    assert!(!mistake.contains("abcd"), "{mistake}");
}

#[test]
fn a_section_that_is_not_there_or_not_written_as_one_is_told() {
    check("[limts]", &["tertulia.toml: [limts]: unknown, did you mean [limits]?"]);
    check("[limts]\nx = 1", &["tertulia.toml: limts.x: unknown, did you mean [limits]?"]);
    check(
        "[elephants]",
        &["tertulia.toml: [elephants]: unknown; `tertulia config docs` shows every setting"],
    );
    check(
        "[[limits]]",
        &["tertulia.toml: limits: is a section; write [limits], and its settings below"],
    );
    check(
        "lsten = \"127.0.0.1:1\"",
        &["tertulia.toml: lsten: stands in no section; did you mean listen, below [server]?"],
    );
    check("elephants = 2", &["tertulia.toml: elephants: stands in no section, like [server]"]);
}

#[test]
fn what_does_not_go_together_is_a_mistake_too() {
    check(
        "[limits]\npage_max = 100",
        &["default: limits.page = 256: must not be above 100 (tertulia.toml: limits.page_max)"],
    );
    check(
        "[server]\nlisten = \"127.0.0.1:9090\"",
        &[
            "default: server.admin_listen = 127.0.0.1:9090: must not be the same as tertulia.toml: server.listen",
        ],
    );
    check(
        "[auth]\njwks_url = \"https://id.example/keys\"",
        &[
            "tertulia.toml: auth.jwks_url: needs auth.issuer, so that its keys vouch for that issuer alone",
        ],
    );
    // The default that stands in for what could not be read contradicts nobody.
    check(
        "[limits]\npage = 0\npage_max = 100",
        &["tertulia.toml: limits.page = 0: must be 1 to 1000"],
    );
    let free = "[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"";
    Sources::new(free).load();
}

#[test]
fn a_value_that_was_overridden_is_a_mistake_all_the_same() {
    let sources = Sources::new("[limits]\npage = 0").env("TERTULIA_LIMITS__PAGE", "100");
    assert_eq!(sources.mistakes(), ["tertulia.toml: limits.page = 0: must be 1 to 1000"]);
}

#[test]
fn a_secret_can_stand_in_a_file_of_its_own() {
    let sources = Sources::new("");
    let path = sources.path("secret.txt");
    std::fs::write(&path, format!("{LONG_SECRET}\n")).expect("a file");
    let file = path.display().to_string();
    let sources = sources.env("TERTULIA_AUTH__HS256_SECRET_FILE", &file);
    let secret = sources.load().auth.hs256_secret.expect("the secret of the file");
    assert_eq!(secret.reveal(), LONG_SECRET);

    let twice = sources.env("TERTULIA_AUTH__HS256_SECRET", LONG_SECRET);
    assert_eq!(
        twice.mistakes(),
        [
            "TERTULIA_AUTH__HS256_SECRET_FILE: TERTULIA_AUTH__HS256_SECRET is set, too; keep one of the two"
        ]
    );

    let gone = Sources::new("").env("TERTULIA_AUTH__HS256_SECRET_FILE", "/nowhere/secret");
    let [mistake] = &gone.mistakes()[..] else { panic!("one mistake") };
    assert!(
        mistake
            .starts_with(r#"TERTULIA_AUTH__HS256_SECRET_FILE = "/nowhere/secret": cannot be read"#),
        "{mistake}"
    );
    let odd = Sources::new("").env("TERTULIA_LIMITS__PAGE_FILE", "x");
    assert_eq!(odd.mistakes().len(), 1, "only secrets stand in files");
}

#[test]
fn a_secret_that_is_short_or_easily_guessed_is_refused() {
    let counted = "1234567890".repeat(4);
    let bad = ["", "secret", &"x".repeat(64), &"change".repeat(8), &counted, &LONG_SECRET[..31]];
    for bad in bad {
        let sources = Sources::new("").env("TERTULIA_AUTH__HS256_SECRET", bad);
        let [mistake] = &sources.mistakes()[..] else { panic!("one mistake") };
        assert!(mistake.ends_with("must be 32 bytes or more, not to be guessed"), "{mistake}");
        assert!(bad.is_empty() || !mistake.contains(bad), "{mistake}");
        let dev = sources.flag("--dev", "server.dev", "true");
        assert!(dev.try_load().is_err(), "development is no reason for a bad secret");
    }
}

#[test]
fn only_exact_origins_are_taken() {
    let good = ["https://app.example", "http://localhost:5173", "capacitor://localhost"];
    let sources = Sources::new("").env("TERTULIA_SERVER__ALLOWED_ORIGINS", &good.join(", "));
    let taken = sources.load().server.allowed_origins;
    assert_eq!(taken.iter().map(Origin::as_str).collect::<Vec<_>>(), good);
    for bad in
        ["*", "null", "app.example", "https://*.example", "https://App.example", "https://a/"]
    {
        let sources = Sources::new("").env("TERTULIA_SERVER__ALLOWED_ORIGINS", bad);
        assert_eq!(sources.mistakes().len(), 1, "{bad}");
    }
}

#[test]
fn published_keys_are_fetched_over_https_or_from_this_machine() {
    let url = |url: &str| {
        let sources = Sources::new("[auth]\nissuer = \"i\"").env("TERTULIA_AUTH__JWKS_URL", url);
        sources.try_load().is_ok()
    };
    assert!(url("https://id.example/keys") && url("http://127.0.0.1:9000/keys"));
    for bad in ["http://id.example/keys", "file:///etc/passwd", "https://u:p@id.example", "keys"] {
        assert!(!url(bad), "{bad}");
    }
}

#[test]
fn variables_that_others_set_are_left_alone() {
    Sources::new("")
        .env("TERTULIA_PORT", "tcp://10.0.0.1:8080")
        .env("TERTULIA_SERVICE_HOST", "10.0.0.1")
        .env("PATH", "/bin")
        .load();
}

#[test]
fn what_is_printed_is_a_file_with_the_same_settings_and_no_secret() {
    let file =
        "[limits]\npage = 7\n[server]\nallowed_origins = [\"https://a.example\"]\ndev = true";
    let printed = Sources::new(file).load().print();
    assert_eq!(Sources::new(&printed).load().print(), printed);
    assert!(printed.contains("\npage = 7\n") && printed.contains("dev = true"), "{printed}");

    let secret = Sources::new("").env("TERTULIA_AUTH__HS256_SECRET", LONG_SECRET).load();
    assert!(secret.print().contains("hs256_secret = \"(hidden)\""));
    assert!(!secret.print().contains(LONG_SECRET) && !format!("{secret:?}").contains(LONG_SECRET));
}

#[test]
fn the_document_has_a_row_for_every_setting() {
    let docs = docs();
    for setting in SETTINGS {
        let row = format!("| `{}` | ", setting.key);
        assert!(docs.contains(&row) && docs.contains(&setting.variable()), "{}", setting.name());
        assert!(setting.reason.ends_with('.'), "{}: a reason is a sentence", setting.name());
    }
    let page = "| `page` | `256` | events | 1 to 1000 | `TERTULIA_LIMITS__PAGE` | ";
    assert!(docs.contains(page), "{docs}");
}
