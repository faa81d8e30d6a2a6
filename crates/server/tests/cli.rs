//! The command line, as a shell sees it: what is printed where, and with which code it ends.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tempfile::TempDir;

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

    /// Whether that file or folder is there.
    fn has(&self, name: &str) -> bool {
        self.path().join(name).exists()
    }

    /// Runs `tertulia` with these words.
    fn run(&self, words: &str) -> Ran {
        Ran::from(self.command(words).output().expect("the program runs"))
    }

    /// Serves `./data` on any port, until the value goes.
    fn serve(&self) -> Served {
        let mut command = self.command("serve --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0");
        let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut served = Served(child.expect("the program runs"));
        let mut line = String::new();
        let out = served.0.stdout.take().expect("it was asked for");
        BufReader::new(out).read_line(&mut line).expect("a line");
        assert!(line.starts_with("tertulia ready http://127.0.0.1:"), "{line}");
        served
    }

    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tertulia"));
        command.args(words.split_whitespace()).current_dir(self.path()).env_clear();
        command.envs(self.env.iter().map(|(variable, value)| (variable, value)));
        command
    }
}

/// A server that runs.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.0.kill();
        _ = self.0.wait();
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
        self.line_and_remark("")
    }

    /// The one line that it printed for scripts, beside what it said to people.
    #[track_caller]
    fn line_and_remark(self, err: &str) -> String {
        assert_eq!((self.code, self.err.trim_end()), (0, err));
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
    assert!(!shell.has("data"), "nothing was begun");
    assert_eq!(shell.run("token create --user ada").code, 78);
    assert_eq!(shell.run("key list").code, 78);
}

#[test]
fn values_of_another_kind_are_told_how_to_be_written() {
    let shell = Shell::new().env("TERTULIA_SERVER__DEV", "1");
    let file = "[limits]\nsend_per_second = \"20\"\nping_s = \"25s\"\n[server]\nlisten = 8080\n";
    shell.write("tertulia.toml", file);
    let mistakes = "\
        tertulia.toml: server.listen = 8080: is a whole number; it takes an IP address and a port, like 127.0.0.1:8080, in quotes\n\
        TERTULIA_SERVER__DEV = \"1\": must be true or false\n\
        tertulia.toml: limits.send_per_second = \"20\": is text; it takes a whole number, 0 to 1000000, without quotes\n\
        tertulia.toml: limits.ping_s = \"25s\": is text; it takes a whole number of seconds, 10 to 60, without quotes";
    shell.run("config check").fails(78, mistakes);
    shell.write("tertulia.toml", "[limits]\nping_s = 25s\n");
    let no_toml = "\
        tertulia.toml:2: ping_s: string values must be quoted, expected literal string; it takes a whole number of seconds, 10 to 60, without quotes\n\
        TERTULIA_SERVER__DEV = \"1\": must be true or false";
    shell.run("config check").fails(78, no_toml);
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
    assert!(!shell.has("data"), "nothing was begun");
}

#[test]
fn settings_that_are_in_order_are_shown() {
    let shell = Shell::new().env("TERTULIA_AUTH__HS256_SECRET", "0123456789abcdefghijklmnopqrstuv");
    shell.write("tertulia.toml", "[limits]\npage = 7\n");
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
fn config_check_says_which_file_and_variables_it_has_read() {
    let shell = Shell::new();
    let nothing = "\
        file: none, since tertulia.toml is not here\n\
        environment: none\n\
        the settings are in order\n";
    assert_eq!(shell.run("config check").out, nothing);

    let shell = Shell::new()
        .env("TERTULIA_AUTH__HS256_SECRET", "0123456789abcdefghijklmnopqrstuv")
        .env("TERTULIA_LIMITS__PAGE", "9")
        .env("TERTULIA_LISTEN", "0.0.0.0:80")
        .env("TERTULIA_SERVER__LISTEN", "127.0.0.1:1");
    shell.write("tertulia.toml", "[limits]\npage = 7\n");
    shell.write("other.toml", "");
    let ran = shell.run("config check --listen 127.0.0.1:2");
    let all = "\
        file: tertulia.toml\n\
        environment: TERTULIA_AUTH__HS256_SECRET, TERTULIA_LIMITS__PAGE, \
        TERTULIA_SERVER__LISTEN (but --listen is stronger)\n\
        not for settings: TERTULIA_LISTEN; a setting's variable names its section, like TERTULIA_SERVER__LISTEN\n\
        the settings are in order\n";
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, all, ""));
    let ran = shell.run("config check --config other.toml");
    assert!(ran.out.starts_with("file: other.toml\n"), "{}", ran.out);
}

#[test]
fn help_names_the_defaults_that_are_in_force() {
    let shell = Shell::new();
    let printed = shell.run("config print").out;
    let default = |key: &str| {
        let line = printed.lines().find_map(|line| line.strip_prefix(key));
        line.expect("a setting").trim_matches([' ', '=', '"']).to_owned()
    };
    let help = shell.run("serve --help").out.split_whitespace().collect::<Vec<_>>().join(" ");
    for key in ["listen", "admin_listen", "data", "durability"] {
        let option = help.split(" --").find(|part| part.starts_with(&key.replace('_', "-")));
        let option = option.expect("an option for it");
        assert!(option.contains(&format!("[default: {}]", default(key))), "{option}");
    }
    assert!(help.contains("internal listener"), "as the ready line calls it: {help}");
}

#[test]
fn where_no_data_is_one_is_told_and_nothing_is_made() {
    let shell = Shell::new();
    let way_out = "name the one that is served (server.data, --data), or make one with `tertulia serve --data";
    for words in ["key list", "key revoke ci", "backup copy.db"] {
        let why = format!("tertulia: ./data is not there; {way_out} ./data`");
        shell.run(words).fails(78, &why);
        assert!(!shell.has("data") && !shell.has("copy.db"), "{words} made something");
    }
    std::fs::create_dir(shell.path().join("empty")).expect("a folder");
    for words in ["key list", "key revoke ci", "backup copy.db"] {
        let why = format!("tertulia: empty holds no database; {way_out} empty`");
        shell.run(&format!("{words} --data empty")).fails(78, &why);
        let left = std::fs::read_dir(shell.path().join("empty")).expect("a folder").count();
        assert!(left == 0 && !shell.has("copy.db"), "{words} made something");
    }
}

#[test]
fn a_token_is_all_that_token_create_prints_even_where_nothing_is_yet() {
    let shell = Shell::new();
    let token =
        shell.run("token create --data d --user ada --room r1=member --room r2=reader --ttl 15m");
    let secret = std::fs::read_to_string(shell.path().join("d/secret")).expect("a secret was made");
    let made =
        "tertulia: d held no secret, so one was made; only a server with --data d takes this token";
    let said = claims(&token.line_and_remark(made), &secret);
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
    let made =
        "tertulia: d held no database, so one was made; only a server with --data d knows this key";
    let key = shell.run("key create --data d --name ci --scope send").line_and_remark(made);
    assert!(key.starts_with("tk_") && key.len() == 46, "{key}");
    let listed = shell.run("key list --data d").line();
    assert!(listed.starts_with("ci\tsend\t20") && !listed.contains(&key), "{listed}");
    let taken =
        "tertulia: there is a key named \"ci\" already; revoke it first, or choose another name";
    shell.run("key create --data d --name ci --scope read").fails(1, taken);

    let revoked = "revoked ci of scope send; a running server refuses it within a second";
    assert_eq!(shell.run("key revoke ci --data d").line(), revoked);
    shell.run("key list --data d").fails(0, "");
    let unknown = "tertulia: there is no key named \"ci\"; `tertulia key list` shows them";
    shell.run("key revoke ci --data d").fails(1, unknown);
}

#[test]
fn keys_and_tokens_are_made_while_a_server_runs() {
    let shell = Shell::new();
    let _served = shell.serve();
    shell.run("token create --user ada").line();
    shell.run("key create --name ci --scope admin").line();
}

#[test]
fn a_backup_is_a_new_file_and_never_overwrites_one() {
    let shell = Shell::new();
    drop(shell.serve());
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
    let nowhere = "tertulia: no/copy.db: No such file or directory (os error 2); choose a place for the copy that can be written";
    shell.run("backup no/copy.db").fails(1, nowhere);
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let shell = Shell::new();
    shell.write("data", "a file where the directory should be");
    let way_out =
        "choose a directory that this process can make, read and write (server.data, --data)";
    let in_the_way =
        format!("tertulia: ./data: a file stands where a directory must be; {way_out}");
    for words in ["key list", "key create --name ci --scope read", "serve"] {
        shell.run(words).fails(1, &in_the_way);
    }
    let below = |path: &str| format!("tertulia: {path}: Not a directory (os error 20); {way_out}");
    shell.run("token create --user ada").fails(1, &below("./data/secret"));
    shell.run("serve --data data/deeper").fails(1, &below("data/deeper"));

    std::fs::create_dir(shell.path().join("other")).expect("a folder");
    shell.write("other/tertulia.db", &"someone else's ".repeat(100));
    let foreign = "tertulia: other/tertulia.db is not a Tertulia database; choose another directory (server.data, --data)";
    shell.run("key list --data other").fails(1, foreign);
}

#[test]
fn a_port_that_is_taken_is_told_with_the_setting_that_chose_it() {
    let shell = Shell::new();
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = other.local_addr().expect("its address");
    let why = |setting: &str, flag: &str| {
        format!(
            "tertulia: {taken} cannot be listened on: Address already in use (os error 98); choose \
             another address or port, or port 0 for one that is free (server.{setting}, {flag})"
        )
    };
    let words = format!("serve --listen {taken} --admin-listen 127.0.0.1:0");
    shell.run(&words).fails(1, &why("listen", "--listen"));
    let words = format!("serve --listen 127.0.0.1:0 --admin-listen {taken}");
    shell.run(&words).fails(1, &why("admin_listen", "--admin-listen"));
    assert!(!shell.has("data/tertulia.db"), "nothing was begun");
}
