//! Fragments: lengths that are only declared, messages as long as they may be, and fragments without end.
//! (A05, A10, A11)

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::wire::{answers, cut, declares, frame, next_frame, text};
use super::{Attack, Field, PLAIN};
use crate::client::Client;
use crate::process::MIB;
use crate::server::PATIENCE;

/// The rows.
pub const ROWS: &[Attack] = &[
    Attack { id: "A05", title: "lengths that never come", ground: &PLAIN, run: declared },
    Attack { id: "A10", title: "the longest message, and one more", ground: &PLAIN, run: longest },
    Attack { id: "A11", title: "fragments without end", ground: &PLAIN, run: endless },
];

/// Longest message, as `limits.frame_bytes` has it.
const MESSAGE_BYTES_MAX: usize = 65_536;

/// Most frames of a message.
const FRAGMENTS_MAX: usize = 1024;

/// No header and no fragment is worth more memory, whatever it says.
const GROWTH_MAX: u64 = MIB;

/// A connection that was closed is gone by then, whether or not the other side goes on.
const GONE_WITHIN: Duration = Duration::from_secs(4);

/// So many at once, so that what each of them costs can be seen.
const AT_ONCE: usize = 32;

/// Each is answered when its length is known: not even the mask is waited for.
fn declared(field: &Field) {
    let lengths: [(&str, &[u8], u16); 6] = [
        ("2^63 bytes", &[0x80, 0, 0, 0, 0, 0, 0, 0], 1002),
        ("2^64 - 1 bytes", &[0xff; 8], 1002),
        ("2^63 - 1 bytes", &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 1009),
        ("2^40 bytes", &[0, 0, 1, 0, 0, 0, 0, 0], 1009),
        ("2^32 bytes", &[0, 0, 0, 1, 0, 0, 0, 0], 1009),
        ("65,537 bytes", &[0, 0, 0, 0, 0, 1, 0, 1], 1009),
    ];
    for (what, length, code) in lengths {
        let mut clients: Vec<Client> = (0..AT_ONCE).map(|_| field.mallory()).collect();
        let ((), grown) = field.server.grown_while(|| {
            for client in &mut clients {
                client.put(&declares(length));
            }
            for client in &mut clients {
                field.expect_end(what, client, code);
            }
        });
        field.expect(grown < GROWTH_MAX, || format!("{what}: memory grew by {grown} bytes"));
    }
    one_by_one(field);
    // As much as may come is waited for, and costs nothing before it comes.
    let mut clients: Vec<Client> = (0..AT_ONCE).map(|_| field.mallory()).collect();
    let ((), grown) = field.server.grown_while(|| {
        for client in &mut clients {
            client.put(&[&declares(&[0, 0, 0, 0, 0, 1, 0, 0])[..], &[0; 4], b"{"].concat());
        }
        // They are read by now: each shard reads in the order in which they came.
        field.expect(answers(&mut field.alice()), || "alice is not answered".to_owned());
    });
    field.expect(grown < GROWTH_MAX, || format!("promises grew memory by {grown} bytes"));
}

/// 2^40 bytes, one after the other: who goes on sending is cut off all the same.
fn one_by_one(field: &Field) {
    let mut client = field.mallory();
    client.put(&declares(&[0, 0, 1, 0, 0, 0, 0, 0]));
    field.expect_end("2^40 bytes one by one", &mut client, 1009);
    let (short, long) = (Duration::from_millis(100), Duration::from_secs(1));
    let every = field.stage.scale(short, long, long);
    let from = Instant::now();
    // What is sent to a socket that is gone comes back as an error.
    while client.stream.write_all(b"\0").is_ok() && from.elapsed() < PATIENCE {
        std::thread::sleep(every);
    }
    let took = from.elapsed();
    field.expect(took < GONE_WITHIN, || format!("2^40 bytes: the socket was gone after {took:?}"));
}

fn longest(field: &Field) {
    let command = |id: u64| {
        let send =
            json!({"t": "send", "id": id, "room": field.room, "cid": format!("c{id}"), "d": {}});
        let mut send = send.to_string().into_bytes();
        // What stands between objects counts, too.
        send.resize(MESSAGE_BYTES_MAX, b' ');
        send
    };
    let every_kib: Vec<usize> = (1024..MESSAGE_BYTES_MAX).step_by(1024).collect();
    let mut client = field.mallory();
    for (id, bytes) in [(1, text(&command(1))), (2, cut(&command(2), &every_kib))] {
        client.put(&bytes);
        let said: Value = client.find(|said| said["id"] == id);
        field.expect(said["t"] == "ok", || format!("{MESSAGE_BYTES_MAX} bytes: {said}"));
    }
    field.stores(2);
    let mut longer = command(3);
    longer.push(b' ');
    field.ends("one byte too long", &text(&longer), 1009);
    // All but the last byte is taken, so there is no answer; the header of the last frame says too much.
    let mut client = field.mallory();
    let parts = cut(&longer, &[&every_kib[..], &[MESSAGE_BYTES_MAX]].concat());
    let header_and_byte = 2 + 4 + 1;
    client.put(&parts[..parts.len() - header_and_byte]);
    field.expect(answers(&mut client), || "64 KiB in fragments are too much".to_owned());
    client.put(&parts[parts.len() - header_and_byte..][..2]);
    field.expect_end("one byte too long in fragments", &mut client, 1009);
    // Before hello there is room for a hello.
    let mut stranger = field.stranger();
    stranger.put(&declares(&16_385_u16.to_be_bytes()));
    field.expect_close("a hello of 16,385 bytes", &mut stranger, 1009);
}

/// Empty ones count, or they could come for ever.
fn endless(field: &Field) {
    for (what, payload) in [("one-byte fragments", &b" "[..]), ("empty fragments", b"")] {
        let mut client = field.mallory();
        let first = frame(0x01, payload);
        let more = frame(0x00, payload);
        client.put(&[first.clone(), more.repeat(FRAGMENTS_MAX - 1)].concat());
        field.expect(answers(&mut client), || format!("{FRAGMENTS_MAX} {what} are too many"));
        client.put(&more[..1]);
        field.expect_end(&format!("{FRAGMENTS_MAX} {what} and one"), &mut client, 1008);

        let many = field.stage.scale(100_000, 1_000_000, 1_000_000);
        let mut client = field.mallory();
        let mut bytes = first;
        bytes.extend(more.repeat(many));
        let ((), grown) = field.server.grown_while(|| {
            let mut writer = client.stream.try_clone().expect("another descriptor");
            std::thread::scope(|threads| {
                // Cut off in the middle of it, most likely.
                threads.spawn(|| _ = writer.write_all(&bytes));
                let said = next_frame(&mut client);
                let told = said.as_ref().is_ok_and(|(first, payload)| {
                    *first == 0x88 && payload.starts_with(&1008_u16.to_be_bytes())
                });
                field.expect(told, || format!("{many} {what}: {said:?}, not 1008"));
            });
        });
        field.expect(grown < GROWTH_MAX, || format!("{what}: memory grew by {grown} bytes"));
    }
}
