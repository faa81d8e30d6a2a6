//! The command line, as a shell sees it: what is printed where, and with which code it ends.

use std::path::Path;
use std::process::{Command, Output};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tempfile::TempDir;
use tertulia_store::Directory;

/// A folder to run in, and nothing else in the environment.
struct Shell {
    folder: TempDir,
    env: Vec<(&'static str, String)>,
}

impl Shell {
    fn new() -> Shell {
        Shell { folder: tempfile::tempdir().expect("a temporary folder"), env: Vec::new() }
    }

    fn env(mut self, variable: &'static str, value: &str) -> Shell {
        self.env.push((variable, value.to_owned()));
        self
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).expect("a file");
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Runs `tertulia` with these words.
    fn run(&self, words: &str) -> Ran {
        let output = Command::new(env!("CARGO_BIN_EXE_tertulia"))
            .args(words.split_whitespace())
            .current_dir(self.path())
            .env_clear()
            .envs(self.env.iter().map(|(variable, value)| (variable, value)))
            .output()
            .expect("the program runs");
        Ran::from(output)
    }
}

struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        let text = |bytes| String::from_utf8(bytes).expect("text");
        let code = output.status.code().expect("it ended by itself");
        Ran { code, out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Ran {
    /// The one line that it printed, and nothing else.
    #[track_caller]
    fn line(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (0, ""));
        let line = self.out.strip_suffix('\n').expect("a whole line");
        assert!(!line.is_empty() && !line.contains('\n'), "{line}");
        line.to_owned()
    }

    #[track_caller]
    fn fails(self, code: i32, err: &str) {
        assert_eq!((self.code, self.out.as_str(), self.err.trim_end()), (code, "", err));
    }
}

/// The claims of a token signed with `secret`.
#[track_caller]
fn claims(token: &str, secret: &str) -> serde_json::Value {
    let (message, signature) = token.rsplit_once('.').expect("three parts");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64");
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.trim_end().as_bytes());
    hmac::verify(&key, message.as_bytes(), &signature).expect("signed with the secret");
    let (_, claims) = message.split_once('.').expect("a header and claims");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).expect("base64")).expect("JSON")
}

#[test]
fn bad_input_11_wrong_settings_end_with_78_and_every_mistake_is_named() {
    let shell = Shell::new().env("TERTULIA_LIMITS__PING_S", "5");
    shell
        .write("tertulia.toml", "[limits]\npage = 0\npgae = 1\n[auth]\nhs256_secret = \"short\"\n");
    let mistakes = "\
        tertulia.toml: limits.pgae: unknown, did you mean limits.page?\n\
        --listen = \"here\": must be an IP address and a port, like 127.0.0.1:8080\n\
        tertulia.toml: auth.hs256_secret: has 5 bytes, must be 32 bytes or more, not to be guessed\n\
        tertulia.toml: limits.page = 0: must be 1 to 1000\n\
        TERTULIA_LIMITS__PING_S = 5: must be 10 to 60";
    for command in ["", "serve", "config check", "config print"] {
        shell.run(&format!("{command} --listen here")).fails(78, mistakes);
    }
    assert!(!shell.path().join("data").exists(), "nothing was begun");
    assert_eq!(shell.run("token create --user ada").code, 78);
    assert_eq!(shell.run("key list").code, 78);
}

#[test]
fn a_settings_file_that_is_named_must_be_there() {
    let ran = Shell::new().run("config check --config nowhere.toml");
    ran.fails(78, "nowhere.toml: cannot be read: No such file or directory (os error 2)");
}

#[test]
fn wrong_usage_ends_with_2() {
    let shell = Shell::new();
    for words in [
        "--elephants",
        "dance",
        "token create",
        "token create --user a/b",
        "token create --user a --room r1=king",
        "token create --user a --ttl soon",
        "key create --name a/b --scope read",
        "key create --name a --scope all",
        "backup",
    ] {
        let ran = shell.run(words);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{words}: {}", ran.err);
    }
    assert!(!shell.path().join("data").exists(), "nothing was begun");
}

#[test]
fn settings_that_are_in_order_are_shown() {
    let shell = Shell::new().env("TERTULIA_AUTH__HS256_SECRET", "0123456789abcdefghijklmnopqrstuv");
    shell.write("tertulia.toml", "[limits]\npage = 7\n");
    assert_eq!(shell.run("config check").line(), "the settings are in order");
    let printed = shell.run("config print --durability os --dev --data d");
    for line in [
        "page = 7",
        "durability = \"os\"",
        "dev = true",
        "data = \"d\"",
        "hs256_secret = \"(hidden)\"",
    ] {
        assert!(printed.out.lines().any(|printed| printed == line), "{line}: {}", printed.out);
    }
    let docs = shell.run("config docs");
    assert!(docs.code == 0 && docs.out.starts_with("# Configuration\n"), "{}", docs.out);
    assert_eq!(shell.run("version").line(), concat!("tertulia ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_token_is_all_that_token_create_prints_even_where_nothing_is_yet() {
    let shell = Shell::new();
    let token =
        shell.run("token create --data d --user ada --room r1=member --room r2=reader --ttl 15m");
    let secret = std::fs::read_to_string(shell.path().join("d/secret")).expect("a secret was made");
    let said = claims(&token.line(), &secret);
    assert_eq!(said["sub"], "ada");
    assert_eq!(said["rooms"], serde_json::json!({"r1": "member", "r2": "reader"}));
    assert_eq!(said["exp"].as_u64(), said["iat"].as_u64().map(|iat| iat + 900));

    let again = shell.run("token create --data d --user bob").line();
    assert_eq!(claims(&again, &secret)["sub"], "bob");
}

#[test]
fn a_token_is_signed_with_the_secret_of_the_settings_if_there_is_one() {
    let secret = "0123456789abcdefghijklmnopqrstuv";
    let shell = Shell::new().env("TERTULIA_AUTH__HS256_SECRET_FILE", "s");
    shell.write("s", &format!("{secret}\n"));
    assert_eq!(claims(&shell.run("token create --user ada").line(), secret)["sub"], "ada");
}

#[test]
fn a_token_that_would_live_too_long_is_not_given_out() {
    let why = "tertulia: a token of 864000 s is not given out, choose 1 to 86400 (limits.token_ttl_max_s)";
    Shell::new().run("token create --user ada --ttl 10d").fails(1, why);
}

#[test]
fn a_key_is_printed_once_listed_without_itself_and_revoked_by_name() {
    let shell = Shell::new();
    let key = shell.run("key create --data d --name ci --scope send").line();
    assert!(key.starts_with("tk_") && key.len() == 46, "{key}");
    let listed = shell.run("key list --data d").line();
    assert!(listed.starts_with("ci\tsend\t20") && !listed.contains(&key), "{listed}");
    let taken =
        "tertulia: there is a key named \"ci\" already; revoke it first, or choose another name";
    shell.run("key create --data d --name ci --scope read").fails(1, taken);

    shell.run("key revoke --data d --name ci").fails(0, "");
    shell.run("key list --data d").fails(0, "");
    let unknown = "tertulia: there is no key named \"ci\"; `key list` shows them";
    shell.run("key revoke --data d --name ci").fails(1, unknown);
}

#[test]
fn keys_and_tokens_are_made_while_a_server_runs() {
    let shell = Shell::new();
    let _served = Directory::take(&shell.path().join("data")).expect("the lock of a server");
    shell.run("token create --user ada").line();
    shell.run("key create --name ci --scope admin").line();
}

#[test]
fn a_backup_is_a_new_file_and_never_overwrites_one() {
    let shell = Shell::new();
    shell.run("key create --name ci --scope admin").line();
    let ran = shell.run("backup copy.db");
    assert!(ran.code == 0 && ran.out.is_empty(), "{}", ran.err);
    assert!(
        ran.err.starts_with("copy.db: ") && ran.err.ends_with(" pages copied\n"),
        "{}",
        ran.err
    );
    assert!(shell.path().join("copy.db").metadata().expect("the copy").len() > 0);
    let there = "tertulia: copy.db is there already; choose another name, nothing is overwritten";
    shell.run("backup copy.db").fails(1, there);
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let shell = Shell::new();
    shell.write("data", "a file where the directory should be");
    for words in ["key list", "token create --user ada"] {
        let ran = shell.run(words);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""));
        assert!(ran.err.contains("data") && ran.err.lines().count() == 1, "{}", ran.err);
    }
}
