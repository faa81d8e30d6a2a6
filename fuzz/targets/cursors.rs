//! A client that follows a room.

#![no_main]

#[path = "../../crates/protocol/tests/properties/cursors.rs"]
mod cursors;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cursors::check(bytes));
