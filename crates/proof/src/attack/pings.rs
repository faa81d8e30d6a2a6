//! Pings: control frames by the hundred thousand. (A12)

use std::io::Write;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::wire::{answers, frame, next_frame};
use super::{Attack, Field, PLAIN};
use crate::client::{Client, Heard};
use crate::process::MIB;
use crate::server::PATIENCE;

/// The rows.
pub const ROWS: &[Attack] = &[Attack {
    id: "A12",
    title: "pings that nobody reads, pongs",
    ground: &PLAIN,
    run: pings_and_pongs,
}];

/// The kernel's buffer of whoever does not read.
const RECEIVE_BYTES: usize = 4096;

/// What is said at once: some sixteen pings.
const PIECE_BYTES: usize = 2048;

/// What waits in the server for one connection that only pings: one answer, and the memory around it.
const WAITING_BYTES_MAX: u64 = 64 * 1024;

/// Pings until answers wait, and how many are said between two looks. Of 64 KiB that are read at once 2 KiB are
/// answered, and the kernel takes a few hundred of those.
const FILLING_MAX: usize = 200_000;
const FILLING_STEP: usize = 1_000;

fn pings_and_pongs(field: &Field) {
    let many = field.stage.scale(20_000, 100_000, 100_000);
    pings(field, many);
    let mut client = field.mallory();
    put_all(&mut client, &frame(0x8a, &[b'x'; 125]).repeat(many));
    field.expect(answers(&mut client), || format!("{many} pongs ended a connection"));
    pongs_are_no_hello(field);
}

/// The one who pings is owed the newest answer, however many pings there were. (RFC 6455, 5.5.3)
fn pings(field: &Field, many: usize) {
    let mut client = field.slow_stranger(RECEIVE_BYTES);
    field.hello(&mut client);
    let waiting = || field.server.metric("tertulia_outbound_bytes");
    // However many of them are read at once: until the kernel takes no more answers.
    let mut said = 0;
    while waiting() == 0 && said < FILLING_MAX {
        put_all(&mut client, &numbered(said..said + FILLING_STEP));
        said += FILLING_STEP;
    }
    let more = numbered(said..said + many);
    let many = said + many;
    let ((), grown) = field.server.grown_while(|| put_all(&mut client, &more));
    field.expect(grown < MIB, || format!("{many} pings grew memory by {grown} bytes"));
    let waiting = waiting();
    field.expect((1..=WAITING_BYTES_MAX).contains(&waiting), || {
        format!("{waiting} bytes wait for who does not read")
    });
    // Each answer is newer than the one before, and the last one is the last.
    let newest = format!("{:08}", many - 1).into_bytes();
    let (mut last, mut pongs) = (Vec::new(), 0);
    while last != newest {
        match next_frame(&mut client) {
            Ok((0x8a, payload)) if payload.len() == 125 && payload[..8] > last[..] => {
                last = payload[..8].to_vec();
                pongs += 1;
            }
            other => {
                let told = String::from_utf8_lossy(&last);
                let what = format!("{pongs} of {many} pings answered up to {told}, then {other:?}");
                return field.expect(false, || what);
            }
        }
    }
    field.expect(answers(&mut client), || "a connection is of no use after its pings".to_owned());
}

/// Pings of the longest kind that say which they are.
fn numbered(numbers: Range<usize>) -> Vec<u8> {
    let mut pings = Vec::new();
    for n in numbers {
        let mut payload = format!("{n:08}").into_bytes();
        payload.resize(125, b'x');
        pings.extend(frame(0x89, &payload));
    }
    pings
}

/// Takes as long as the server needs to read it. In pieces, since of all that is read at once only the newest
/// pings are answered, and the kernel's buffers are to be full of answers.
fn put_all(client: &mut Client, bytes: &[u8]) {
    for piece in bytes.chunks(PIECE_BYTES) {
        client.stream.write_all(piece).expect("the server goes on reading");
    }
}

/// Whoever only shows signs of life still has to say hello in time.
fn pongs_are_no_hello(field: &Field) {
    let signs = [frame(0x8a, b""), frame(0x89, b""), frame(0x8a, b"alive")].concat();
    let from = Instant::now();
    let mut stranger = field.stranger();
    loop {
        stranger.put(&signs);
        match stranger.hear_by(Instant::now() + Duration::from_millis(100)) {
            None if from.elapsed() < field.hello_within() + PATIENCE => {}
            None => return field.expect(false, || "pongs put off the hello".to_owned()),
            Some(Heard::Line(bye)) => {
                let took = from.elapsed();
                let is_so =
                    bye.contains(r#""code":4002"#) && took < field.hello_within() + field.leeway();
                field.expect(is_so, || format!("pongs instead of hello: {bye} after {took:?}"));
                return field.expect_end("pongs instead of hello", &mut stranger, 4002);
            }
            Some(other) => {
                return field.expect(false, || format!("pongs instead of hello: {other:?}"));
            }
        }
    }
}
