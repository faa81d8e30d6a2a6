//! A query and headers of a request.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tertulia_server::properties::queries(bytes));
