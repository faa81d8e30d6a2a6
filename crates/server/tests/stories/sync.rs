//! Sync: nobody hears of a message before it is on the disk.
//!
//! A killed process proves nothing here, since the kernel keeps what was written. So the order of the
//! system calls is looked at: the row into the log, then a sync that began after it, then the first word
//! to anyone.

use std::collections::HashMap;
use std::path::Path;

use crate::client::{Client, message};
use crate::server::{PATIENCE, Place, wait_for};

/// Found only if one is missing: the program that sees system calls.
const STRACE: &str = "/usr/bin/strace";

/// Sends are numbered from here on, for hello has a number, too.
const FIRST: u64 = 1001;

/// One system call, by the lines of the trace on which it begins and ends.
struct Call {
    kind: Kind,
    begins: usize,
    ends: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Into the write-ahead log.
    Row,
    /// Of the write-ahead log.
    Sync,
    /// Into anything else.
    Word,
}

/// What a trace shows.
pub(crate) struct Seen {
    /// Rows that were written, and words that were said of them.
    pub(crate) rows: usize,
    pub(crate) words: usize,
    /// Words of which no sync came before.
    pub(crate) too_early: Vec<String>,
}

/// Sends `rounds` times one message of each of `clients` at once, and looks at what the server does.
pub(crate) fn trace(place: Place, clients: usize, rounds: usize) -> Seen {
    assert!(Path::new(STRACE).exists(), "this story needs strace (apt-get install strace)");
    let path = place.beside("trace");
    let traced = path.to_str().expect("a path in UTF-8").to_owned();
    let calls = "trace=pwrite64,fdatasync,fsync,write,writev,sendto,sendmsg";
    let strace =
        [STRACE, "-f", "-y", "-s", "262144", "--seccomp-bpf", "-e", calls, "-o", &traced, "--"];
    let place = place.set("limits.send_per_second", 0).below(&strace);
    let mut server = place.open();
    let users: Vec<String> = (0..clients).map(|n| format!("u{n:02}")).collect();
    let mut names: Vec<&str> = users.iter().map(String::as_str).collect();
    names.push("eve");
    server.room("garden", "group", &names);
    let mut eve = Client::join(&server, "eve", &["garden"]);
    let mut senders: Vec<Client> =
        users.iter().map(|user| Client::join(&server, user, &[])).collect();
    let mut id = FIRST - 1;
    for _ in 0..rounds {
        let first = id + 1;
        for sender in &mut senders {
            id += 1;
            let mut send = message("garden", &format!("c{id}"));
            send["id"] = id.into();
            sender.say(&send.to_string());
        }
        for (sender, id) in senders.iter_mut().zip(first..) {
            let said = sender.find(|said| said["id"] == id);
            assert_eq!(said["t"], "ok", "{said}");
        }
        // She hears every one, so that events are among the words.
        for _ in 0..clients {
            eve.find(|said| said["t"] == "ev" && said["k"] == "msg");
        }
    }
    server.kill();
    let text = std::fs::read_to_string(&path).expect("a trace");
    wait_for("the end of the trace", PATIENCE, || text.contains("killed by SIGKILL"));
    read(&text)
}

fn read(trace: &str) -> Seen {
    let mut calls: Vec<Call> = Vec::new();
    let mut unfinished: HashMap<&str, usize> = HashMap::new();
    let mut rows: HashMap<u64, usize> = HashMap::new();
    let mut words: HashMap<(u64, &str), usize> = HashMap::new();
    for (at, line) in trace.lines().enumerate() {
        let Some((pid, what)) = line.split_once(' ') else { continue };
        let what = what.trim_start();
        if what.starts_with("<... ") {
            if let Some(call) = unfinished.remove(pid) {
                calls[call].ends = at;
            }
            continue;
        }
        let Some((name, rest)) = what.split_once('(') else { continue };
        let file = rest.split_once('>').map_or("", |(file, _)| file);
        let of_log = file.ends_with(".db-wal");
        let kind = match name {
            "pwrite64" if of_log => Kind::Row,
            "fdatasync" | "fsync" if of_log => Kind::Sync,
            "write" | "writev" | "sendto" | "sendmsg" => Kind::Word,
            _ => continue,
        };
        let call = calls.len();
        let ends = if what.ends_with("<unfinished ...>") { usize::MAX } else { at };
        if ends == usize::MAX {
            unfinished.insert(pid, call);
        }
        calls.push(Call { kind, begins: at, ends });
        let events = numbers(what, r#"\"cid\":\"c"#);
        match kind {
            Kind::Row => events.for_each(|id| _ = rows.entry(id).or_insert(call)),
            Kind::Word => {
                events.for_each(|id| _ = words.entry((id, "event")).or_insert(call));
                let acks = numbers(what, r#"{\"t\":\"ok\",\"id\":"#);
                acks.for_each(|id| _ = words.entry((id, "ack")).or_insert(call));
            }
            Kind::Sync => {}
        }
    }
    let is_synced = |row: &Call, word: &Call| {
        let mut syncs = calls.iter().filter(|call| call.kind == Kind::Sync);
        syncs.any(|sync| row.ends < sync.begins && sync.ends < word.begins)
    };
    let mut too_early = Vec::new();
    words.retain(|(id, _), _| *id >= FIRST);
    // What is left of an older row at the end of a page may be cut.
    rows.retain(|id, _| *id >= FIRST);
    for ((id, what), word) in &words {
        match rows.get(id) {
            Some(row) if is_synced(&calls[*row], &calls[*word]) => {}
            Some(_) => too_early.push(format!("{what} of c{id}: no sync before it")),
            None => too_early.push(format!("{what} of c{id}: no row at all")),
        }
    }
    Seen { rows: rows.len(), words: words.len(), too_early }
}

/// The numbers that follow `sign`.
fn numbers<'a>(text: &'a str, sign: &'a str) -> impl Iterator<Item = u64> + 'a {
    text.match_indices(sign).filter_map(move |(at, _)| {
        let digits = &text[at + sign.len()..];
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        digits[..end].parse().ok()
    })
}

#[track_caller]
fn check(clients: usize, rounds: usize) {
    let seen = trace(Place::new(), clients, rounds);
    assert_eq!(seen.too_early, Vec::<String>::new());
    // Every send has a row, an ack and an event.
    let sends = clients * rounds;
    assert_eq!((seen.rows, seen.words), (sends, 2 * sends));
}

#[test]
fn the_sync_comes_before_the_ack_one_by_one() {
    check(1, 1000);
}

#[test]
fn the_sync_comes_before_the_ack_with_64_at_once() {
    check(64, 16);
}

#[test]
fn a_server_that_does_not_sync_is_found_out() {
    let seen = trace(Place::new().set("store.durability", "os"), 1, 50);
    assert_eq!((seen.rows, seen.words, seen.too_early.len()), (50, 100, 100));
}

#[test]
fn a_trace_with_a_word_too_early_is_found_out() {
    let row = r#"1 pwrite64(9</d/t.db-wal>, "{\"cid\":\"c1001\"}", 4096, 0) = 4096"#;
    let sync = "1 fdatasync(9</d/t.db-wal>) = 0";
    let word = r#"2 writev(7<TCP:[1]>, [{iov_base="{\"t\":\"ok\",\"id\":1001,"}], 1) = 9"#;
    let begins = "1 fdatasync(9</d/t.db-wal> <unfinished ...>";
    let resumed = "1 <... fdatasync resumed>) = 0";
    let early = |lines: &[&str]| read(&lines.join("\n")).too_early.len();
    assert_eq!(early(&[row, sync, word]), 0);
    assert_eq!(early(&[row, begins, resumed, word]), 0);
    assert_eq!(early(&[row, word, sync]), 1);
    assert_eq!(early(&[sync, row, word]), 1);
    assert_eq!(early(&[row, begins, word, resumed]), 1, "it began, but had not ended");
    assert_eq!(early(&[begins, row, resumed, word]), 1, "it began too early to count");
    assert_eq!(early(&[word]), 1);
}
