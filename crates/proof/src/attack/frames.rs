//! Frames: what breaks the rules of WebSocket, and what only looks as if it did. (A01 to A13)

use super::{Attack, Field, PLAIN};

/// The rows.
pub const ROWS: &[Attack] =
    &[Attack { id: "A01", title: "an unmasked frame", ground: &PLAIN, run: unmasked }];

/// RFC 6455, 5.1: a server closes on a frame that is not masked.
fn unmasked(field: &Field) {
    let mut client = field.mallory();
    client.put(b"\x81\x05Hello");
    field.expect_close("an unmasked frame", &mut client, 1002);
}
