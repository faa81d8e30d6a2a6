//! A settings file and an environment.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tertulia_server::properties::settings(bytes));
