//! Frames, at either end, cut anywhere.

#![no_main]

#[path = "../../crates/protocol/tests/frame/property.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| property::check(bytes));
