//! Frames: what is no text, or no object, ends its connection. What breaks the rules of WebSocket is tried by T21.

use tertulia_proof::client::Client;
use tertulia_protocol::frame::Opcode;

use crate::place;

#[test]
fn bad_input_05_bytes_are_not_spoken_here() {
    let server = place().open();
    server.room("garden", "group", &["ada"]);
    for opcode in [0x80 | Opcode::Binary as u8, Opcode::Binary as u8] {
        let mut client = Client::join(&server, "ada", &["garden"]);
        // Whole, or its first fragment and then the last.
        client.put(&[opcode, 0x82, 0, 0, 0, 0, b'{', b'}', 0x80, 0x80, 0, 0, 0, 0]);
        assert_eq!(client.end().close, Some(1003), "{opcode:#x}");
    }
}

#[test]
fn bad_input_01_three_messages_without_an_object_end_it() {
    let server = place().open();
    server.room("garden", "group", &["ada"]);
    let mut client = Client::join(&server, "ada", &["garden"]);
    for message in ["nonsense", "[1]", r#"{"t":"ping","id":1}"#, "nonsense", "\"\"", "{"] {
        client.say(message);
    }
    let ended = client.end();
    assert_eq!((ended.bye, ended.close), (Some((4000, None)), Some(4000)));
}
