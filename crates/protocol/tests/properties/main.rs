//! What holds for any bytes at all. Each file has one property, a `check` that takes bytes; `make fuzz` looks
//! for bytes that break it, and what it kept on the way is looked at here.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod commands;
mod cursors;
mod heard;
#[path = "../../../../fuzz/kept.rs"]
mod kept;
mod meaning;
mod strict;

#[test]
fn any_bytes_as_commands() {
    kept::check("commands", commands::check);
}

#[test]
fn any_bytes_as_objects_of_a_server() {
    kept::check("heard", heard::check);
}

#[test]
fn any_bytes_as_the_life_of_a_cursor() {
    kept::check("cursors", cursors::check);
}
