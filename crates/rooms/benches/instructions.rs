//! What rooms cost, in instructions: a slab built, a send taken in, a message delivered. (1 receive to 8 send)
//!
//! `cargo xtask instructions` runs them and compares; what goes in is made outside of what is measured, and what
//! comes out is handed back, so that it ends outside, too.

#![allow(missing_docs, reason = "the macros write items of their own")]

#[path = "../tests/allocations/audience.rs"]
mod audience;

use std::hint::black_box;
use std::sync::Arc;

use audience::{Audience, said};
use gungraun::{library_benchmark, library_benchmark_group, main};
use tertulia_rooms::shard::Input;
use tertulia_rooms::slab::{Gauge, Slab, SlabBuilder};

const LISTENERS: usize = 100;

/// What the server is started with unless asked otherwise.
const CORK_LISTENERS: usize = 16;

/// A line as long as that of a short message.
fn line() -> (Vec<u8>, Gauge) {
    (vec![b'x'; 200], Gauge::default())
}

#[library_benchmark]
#[bench::of_64(setup = line)]
fn build_slab((line, gauge): (Vec<u8>, Gauge)) -> Arc<Slab> {
    let mut slab = SlabBuilder::after(40);
    for _ in 0..64 {
        slab.push(black_box(&line));
    }
    slab.finish(&gauge)
}

const SEND: &str = r#"{"t":"send","id":7,"room":"garden","cid":"01JD8Z4QK7W0RM5T","d":{"text":"The roses by the wall are out, come and see them before it rains."}}"#;

/// Someone who is about to speak.
fn speaker() -> (Audience, Vec<u8>) {
    (Audience::of(1, CORK_LISTENERS, false), said(SEND))
}

fn has_spoken((audience, _): (Audience, Vec<u8>)) {
    assert_eq!(audience.sockets.drafts.len(), 1);
}

#[library_benchmark]
#[bench::send(setup = speaker, teardown = has_spoken)]
fn receive((mut audience, mut frame): (Audience, Vec<u8>)) -> (Audience, Vec<u8>) {
    let speaker = audience.seats[0];
    audience.shard.received(speaker, black_box(&mut frame), &mut audience.sockets);
    (audience, frame)
}

/// Everyone has heard something before, and one more message is here.
fn listeners() -> (Audience, Vec<Input>) {
    let mut audience = Audience::of(LISTENERS, CORK_LISTENERS, false);
    let mut inputs = vec![audience.news(1, false)];
    audience.turn(&mut inputs);
    audience.sockets.writes = 0;
    inputs.push(audience.news(1, false));
    (audience, inputs)
}

fn all_have_heard((audience, _): (Audience, Vec<Input>)) {
    assert_eq!(audience.sockets.writes, LISTENERS);
}

#[library_benchmark]
#[bench::to_100(setup = listeners, teardown = all_have_heard)]
fn deliver((mut audience, mut inputs): (Audience, Vec<Input>)) -> (Audience, Vec<Input>) {
    audience.turn(black_box(&mut inputs));
    (audience, inputs)
}

library_benchmark_group!(name = rooms, benchmarks = [build_slab, receive, deliver]);

main!(library_benchmark_groups = rooms);
