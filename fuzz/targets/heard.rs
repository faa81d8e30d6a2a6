//! What a server says.

#![no_main]

#[path = "../../crates/protocol/tests/properties/heard.rs"]
mod heard;
#[path = "../../crates/protocol/tests/properties/strict.rs"]
mod strict;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| heard::check(bytes));
