//! Starts: what cannot be served is refused in words, and nothing is touched.

use std::process::Output;

use rustix::process::Signal;

use tertulia_proof::client::Client;
use tertulia_proof::server::{PATIENCE, put_file};

use crate::place;

#[track_caller]
fn refused(output: Output, code: i32) -> String {
    let err = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(code), "{err}");
    assert!(output.stdout.is_empty(), "it said that it is ready");
    err
}

const ANYWHERE: [&str; 5] = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];

#[test]
fn bad_input_10_a_second_server_on_the_same_data_names_the_first() {
    let place = place();
    let server = place.open();
    server.room("garden", "group", &["ada"]);
    let mut ada = Client::join(&server, "ada", &["garden"]);
    let err = refused(place.command(&ANYWHERE), 69);
    assert!(err.contains(&format!("process {};", server.pid())), "{err}");
    assert!(err.contains(place.data.to_str().expect("UTF-8")), "{err}");
    assert_eq!(ada.send("garden", "c1")["t"], "ok", "the first one noticed nothing");
}

#[test]
fn bad_input_11_data_of_a_newer_version_is_left_alone() {
    let place = place();
    place.open().kill();
    let file = place.data.join("tertulia.db");
    let db = rusqlite::Connection::open(&file).expect("the database");
    db.pragma_update(None, "user_version", 99).expect("written");
    drop(db);
    let before = std::fs::read(&file).expect("the database");
    let err = refused(place.command(&ANYWHERE), 78);
    assert!(err.contains("schema 99") && err.contains("newer"), "{err}");
    assert_eq!(err.lines().count(), 1, "one clear line: {err}");
    assert_eq!(std::fs::read(&file).expect("the database"), before, "nothing was written");
}

#[test]
fn bad_input_11_a_database_that_was_cut_short_is_left_alone() {
    let place = place();
    let mut server = place.open();
    server.room("garden", "group", &["ada"]);
    server.signal(Signal::TERM);
    server.ended(PATIENCE);
    let file = place.data.join("tertulia.db");
    // What its log still has would not be missed, so everything is put into one file.
    let db = rusqlite::Connection::open(&file).expect("the database");
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("moved");
    drop(db);
    let whole = std::fs::read(&file).expect("the database");
    for bytes in [whole.len() - 1, whole.len() / 2, 4096, 100, 7, 1] {
        put_file(&file, &whole[..bytes]).expect("a file");
        let err = refused(place.command(&ANYWHERE), 1);
        let words = ["was cut", &format!("has {bytes} bytes"), "restore a backup"];
        assert!(words.iter().all(|word| err.contains(word)), "{bytes} bytes: {err}");
        let now = std::fs::read(&file).expect("the database");
        assert!(now == whole[..bytes], "{bytes} bytes: it was touched");
    }
}

#[test]
fn bad_input_11_wrong_settings_are_all_named_before_anything_begins() {
    let place = place();
    let file = place.beside("tertulia.toml");
    put_file(&file, b"[limits]\npage = 0\npgae = 1\n[store]\ndurability = \"maybe\"\n")
        .expect("a file");
    let file = file.to_str().expect("UTF-8").to_owned();
    let err = refused(place.command(&["serve", "--config", &file, "--listen", "here"]), 78);
    for wrong in ["limits.page = 0", "limits.pgae", "store.durability", "--listen"] {
        assert!(err.contains(wrong), "{wrong} is not named: {err}");
    }
    assert!(!place.data.exists(), "nothing was begun");
}

#[test]
fn bad_input_11_a_taken_port_is_told_before_anything_is_changed() {
    let (place, other) = (place(), place());
    let server = other.open();
    let taken = server.public.to_string();
    let err = refused(place.command(&["serve", "--listen", &taken]), 1);
    assert!(err.contains(&taken), "{err}");
    assert!(!place.data.join("tertulia.db").exists(), "nothing was begun");
}
