//! What words cost, in instructions: a command read, an event written, frames found. (2 decode, 5 commit)
//!
//! `cargo xtask instructions` runs them and compares; what goes in is made outside of what is measured, and what
//! comes out is handed back, so that it ends outside, too.

#![allow(missing_docs, reason = "the macros write items of their own")]

use std::hint::black_box;

use gungraun::{library_benchmark, library_benchmark_group, main};
use serde_json::value::RawValue;
use tertulia_protocol::command::{self, Rejected, Said};
use tertulia_protocol::event::{Content, Event};
use tertulia_protocol::frame::{Decoder, Input, Message, Opcode, Side, put_masked};
use tertulia_protocol::{Body, Cid, RoomId, UserId};

const SEND: &str = r#"{"t":"send","id":7,"room":"garden","cid":"01JD8Z4QK7W0RM5T","d":{"text":"The roses by the wall are out, come and see them before it rains."}}"#;

const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Once before it counts, here and below: what finds out about the processor does so at the first call.
fn send() -> &'static str {
    assert!(command::read(SEND).is_ok());
    SEND
}

#[library_benchmark]
#[bench::send(setup = send)]
fn read_command(line: &str) -> Result<Said, Rejected> {
    command::read(black_box(line))
}

/// Who said what where, and the line that it becomes.
struct Entry {
    room: RoomId,
    by: UserId,
    cid: Cid,
    content: Content,
    line: Vec<u8>,
}

impl Entry {
    fn put(&mut self) {
        let Entry { room, by, cid, content, line } = self;
        let (seq, ts, n) = (1_234_567, 1_800_000_000_000, 654_321);
        let event = Event { room, seq, ts, by: Some(by), cid: Some(*cid), content, n };
        event.put(black_box(line));
    }
}

fn entry() -> Entry {
    let d = r#"{"text":"The roses by the wall are out, come and see them before it rains."}"#;
    let raw: &RawValue = serde_json::from_str(d).expect("it is JSON");
    let d = Body::parse(raw).expect("it is sound");
    let mut entry = Entry {
        room: RoomId::parse("garden").expect("the name is sound"),
        by: UserId::parse("ada").expect("the name is sound"),
        cid: Cid::parse("01JD8Z4QK7W0RM5T").expect("the name is sound"),
        content: Content::Said { kind: None, re: None, thread: None, d },
        line: Vec::with_capacity(1024),
    };
    entry.put();
    entry.line.clear();
    entry
}

#[library_benchmark]
#[bench::message(setup = entry)]
fn put_event(mut entry: Entry) -> Entry {
    black_box(&mut entry).put();
    entry
}

/// As many frames of a client, each with one send.
fn frames(count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..count {
        put_masked(&mut bytes, Opcode::Text, [0x37, 0xFA, 0x21, 0x3D], SEND.as_bytes());
    }
    assert_eq!(texts(&mut bytes.clone()), count);
    bytes
}

/// How many messages of text are found.
fn texts(bytes: &mut [u8]) -> usize {
    let mut decoder = Decoder::new(Side::Server);
    let mut input = Input::new(bytes);
    let mut texts = 0;
    while let Ok(Some(Message::Text(text))) = decoder.next(&mut input, MESSAGE_BYTES_MAX) {
        black_box(text);
        texts += 1;
    }
    texts
}

#[library_benchmark]
#[bench::one(args = (1), setup = frames)]
#[bench::of_64(args = (64), setup = frames)]
fn next_frames(mut bytes: Vec<u8>) -> (usize, Vec<u8>) {
    (texts(black_box(&mut bytes)), bytes)
}

library_benchmark_group!(name = words, benchmarks = [read_command, put_event, next_frames]);

main!(library_benchmark_groups = words);
