//! What a client says.

#![no_main]

#[path = "../../crates/protocol/tests/properties/commands.rs"]
mod commands;
#[path = "../../crates/protocol/tests/properties/meaning.rs"]
mod meaning;
#[path = "../../crates/protocol/tests/properties/strict.rs"]
mod strict;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| commands::check(bytes));
