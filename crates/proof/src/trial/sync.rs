//! T03, the sync before the ack: nobody hears of a message before it is on the disk. (I1)
//!
//! A killed process proves nothing here, since the kernel keeps what was written. So the order of the
//! system calls is looked at: the row into the log, then a sync that began after it, then the first word
//! to anyone.

use std::collections::HashMap;

use crate::client::{Client, message};
use crate::report::{Report, Trial};
use crate::server::Place;
use crate::stage::Stage;
use crate::trace::{self, Call, What, numbers};

/// Sends are numbered from here on, for hello has a number, too.
const FIRST: u64 = 1001;

/// The trial.
pub const TRIAL: Trial = Trial { id: "T03", title: "the sync comes before the ack", run };

fn run(stage: &Stage, report: &mut Report) {
    let rounds = stage.scale([(1, 200), (64, 4)], [(1, 1000), (64, 16)], [(1, 10_000), (64, 160)]);
    for (clients, rounds) in rounds {
        stage.progress(&format!("{clients} at once"));
        let seen = watch(stage.place(), clients, rounds);
        let sends = clients * rounds;
        report.count("sends", sends as u64);
        report.count("words looked at", seen.words as u64);
        seen.too_early.into_iter().for_each(|wrong| report.wrong(wrong));
        report.expect((seen.rows, seen.words) == (sends, 2 * sends), || {
            format!("{sends} sends made {} rows and {} words", seen.rows, seen.words)
        });
    }
}

/// What a trace shows.
pub struct Seen {
    /// Messages whose row was written.
    pub rows: usize,
    /// Acks and events that were said of them.
    pub words: usize,
    /// Words of which no sync came before.
    pub too_early: Vec<String>,
}

/// Sends `rounds` times one message of each of `clients` at once, and looks at what the server does.
pub fn watch(place: Place, clients: usize, rounds: usize) -> Seen {
    let path = place.beside("trace");
    let place = place.set("limits.send_per_second", 0).below(&trace::wrapper(&path));
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
    judge(&trace::read(&trace::whole(&path)))
}

/// Looks for words without a sync between them and their row.
pub fn judge(calls: &[Call]) -> Seen {
    let mut rows: HashMap<u64, &Call> = HashMap::new();
    let mut words: HashMap<(u64, &str), &Call> = HashMap::new();
    let of_log = |call: &&Call| call.file.ends_with(".db-wal");
    for call in calls {
        let (What::Write { bytes, .. } | What::Say { bytes }) = &call.what else { continue };
        let text = String::from_utf8_lossy(bytes);
        let events = numbers(&text, r#""cid":"c"#);
        if matches!(call.what, What::Say { .. }) {
            events.for_each(|id| _ = words.entry((id, "event")).or_insert(call));
            let acks = numbers(&text, r#"{"t":"ok","id":"#);
            acks.for_each(|id| _ = words.entry((id, "ack")).or_insert(call));
        } else if of_log(&call) {
            events.for_each(|id| _ = rows.entry(id).or_insert(call));
        }
    }
    let syncs: Vec<&Call> =
        calls.iter().filter(of_log).filter(|call| call.what == What::Sync).collect();
    let is_synced = |row: &Call, word: &Call| {
        syncs.iter().any(|sync| row.ends < sync.begins && sync.ends < word.begins)
    };
    words.retain(|(id, _), _| *id >= FIRST);
    // What is left of an older row at the end of a page may be cut.
    rows.retain(|id, _| *id >= FIRST);
    let mut too_early = Vec::new();
    for ((id, what), word) in &words {
        match rows.get(id) {
            Some(row) if is_synced(row, word) => {}
            Some(_) => too_early.push(format!("{what} of c{id}: no sync before it")),
            None => too_early.push(format!("{what} of c{id}: no row at all")),
        }
    }
    Seen { rows: rows.len(), words: words.len(), too_early }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_with_a_word_too_early_is_found_out() {
        let row = r#"1 pwrite64(9</d/t.db-wal>, "{\"cid\":\"c1001\"}", 4096, 0) = 4096"#;
        let sync = "1 fdatasync(9</d/t.db-wal>) = 0";
        let word = r#"2 writev(7<TCP:[1]>, [{iov_base="{\"t\":\"ok\",\"id\":1001,"}], 1) = 20"#;
        let begins = "1 fdatasync(9</d/t.db-wal> <unfinished ...>";
        let resumed = "1 <... fdatasync resumed>) = 0";
        let early = |lines: &[&str]| judge(&trace::read(&lines.join("\n"))).too_early.len();
        assert_eq!(early(&[row, sync, word]), 0);
        assert_eq!(early(&[row, begins, resumed, word]), 0);
        assert_eq!(early(&[row, word, sync]), 1);
        assert_eq!(early(&[sync, row, word]), 1);
        assert_eq!(early(&[row, begins, word, resumed]), 1, "it began, but had not ended");
        assert_eq!(early(&[begins, row, resumed, word]), 1, "it began too early to count");
        assert_eq!(early(&[word]), 1);
    }
}
