//! Any sequence of messages, cut anywhere, is heard the same.

use proptest::prelude::*;
use tertulia_protocol::frame::{CONTROL_BYTES_MAX, Opcode, Side, put_close, put_masked, put_text};

use crate::deflate::{AGREED, DEFLATED, deflated};
use crate::hear::{
    BINARY_BEGINS, Heard, LAST, MORE, PING, PONG, ROOMY, TEXT_BEGINS, frame, hear_any_way,
};
use crate::kept;
use crate::property::{self, End, however_cut};

/// What one peer says at one time: a message in the fragments it is cut into, with pings between them.
#[derive(Clone, Debug)]
enum Said {
    Text(String, Vec<usize>),
    Deflated(String, Vec<usize>),
    Binary(Vec<u8>, Vec<usize>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

fn said() -> impl Strategy<Value = Said> {
    let cuts = || prop::collection::vec(0..300_usize, 0..4);
    let control = || prop::collection::vec(any::<u8>(), 0..=CONTROL_BYTES_MAX);
    prop_oneof![
        4 => (".{0,200}", cuts()).prop_map(|(text, cuts)| Said::Text(text, cuts)),
        2 => ("[ab]{0,2000}|.{0,200}", cuts()).prop_map(|(text, cuts)| Said::Deflated(text, cuts)),
        2 => (prop::collection::vec(any::<u8>(), 0..300), cuts())
            .prop_map(|(bytes, cuts)| Said::Binary(bytes, cuts)),
        1 => control().prop_map(Said::Ping),
        1 => control().prop_map(Said::Pong),
    ]
}

/// Puts a message on the wire in fragments cut at `cuts`, a ping after each but the last.
fn put_fragments(
    wire: &mut Vec<u8>,
    heard: &mut Vec<Heard>,
    opcode: u8,
    payload: &[u8],
    cuts: &[usize],
) {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (payload.len() + 1)).collect();
    cuts.sort_unstable();
    let mut start = 0;
    for (count, cut) in cuts.iter().enumerate() {
        wire.extend(frame(if count == 0 { opcode } else { MORE }, &payload[start..*cut]));
        wire.extend(frame(PING, [count as u8; 9]));
        heard.push(Heard::Ping(vec![count as u8; 9]));
        start = *cut;
    }
    let last = if cuts.is_empty() { 0x80 | opcode } else { LAST };
    wire.extend(frame(last, &payload[start..]));
}

/// The bytes of all that is said, and what is to be heard of them.
fn put_on_wire(all: &[Said]) -> (Vec<u8>, Vec<Heard>) {
    let mut wire = Vec::new();
    let mut heard = Vec::new();
    for said in all {
        match said {
            Said::Text(text, cuts) => {
                put_fragments(&mut wire, &mut heard, TEXT_BEGINS, text.as_bytes(), cuts);
                heard.push(Heard::Text(text.clone()));
            }
            Said::Deflated(text, cuts) => {
                let payload = deflated(text.as_bytes());
                put_fragments(&mut wire, &mut heard, TEXT_BEGINS | DEFLATED, &payload, cuts);
                heard.push(Heard::Text(text.clone()));
            }
            Said::Binary(bytes, cuts) => {
                put_fragments(&mut wire, &mut heard, BINARY_BEGINS, bytes, cuts);
                heard.push(Heard::Binary(bytes.clone()));
            }
            Said::Ping(payload) => {
                wire.extend(frame(PING, payload));
                heard.push(Heard::Ping(payload.clone()));
            }
            Said::Pong(payload) => {
                wire.extend(frame(PONG, payload));
                heard.push(Heard::Pong(payload.clone()));
            }
        }
    }
    (wire, heard)
}

#[test]
fn any_bytes_as_frames() {
    kept::check("frames", property::check);
}

proptest! {
    #[test]
    fn any_messages_are_heard_the_same_however_they_are_cut(
        all in prop::collection::vec(said(), 0..8),
        sizes in prop::collection::vec(1..200_usize, 1..20),
    ) {
        let (wire, expected) = put_on_wire(&all);
        prop_assert_eq!(however_cut(AGREED, &wire, ROOMY, &sizes), expected);
    }

    #[test]
    fn spoiled_bytes_are_refused_the_same_however_they_are_cut(
        all in prop::collection::vec(said(), 1..5),
        spoiled in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        limit in 0..400_usize,
        sizes in prop::collection::vec(1..40_usize, 1..20),
    ) {
        let (mut wire, _) = put_on_wire(&all);
        for (place, byte) in spoiled {
            let place = place.index(wire.len());
            wire[place] = byte;
        }
        however_cut(AGREED, &wire, limit, &sizes);
    }

    #[test]
    fn any_bytes_at_all_are_heard_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        sizes in prop::collection::vec(1..40_usize, 1..20),
    ) {
        for side in [Side::Server, Side::Client] {
            for deflates in [false, true] {
                however_cut(End { side, deflates }, &bytes, 300, &sizes);
            }
        }
    }

    #[test]
    fn what_a_client_masks_a_server_hears(
        mask in any::<[u8; 4]>(),
        payload in prop::collection::vec(any::<u8>(), 0..1000),
        text in ".{0,300}",
    ) {
        let mut wire = Vec::new();
        put_masked(&mut wire, Opcode::Binary, mask, &payload);
        put_masked(&mut wire, Opcode::Text, mask, text.as_bytes());
        let expected = [Heard::Binary(payload), Heard::Text(text)];
        prop_assert_eq!(hear_any_way(Side::Server, &wire, ROOMY), expected);
    }

    #[test]
    fn what_a_server_writes_a_client_hears(text in ".{0,300}", reason in ".{0,200}", code in 3000..5000_u16) {
        let mut wire = Vec::new();
        put_text(&mut wire, text.as_bytes());
        put_close(&mut wire, code, &reason);
        let heard = hear_any_way(Side::Client, &wire, ROOMY);
        prop_assert_eq!(&heard[0], &Heard::Text(text));
        let Heard::Close(said, cut) = &heard[1] else { panic!("no close") };
        prop_assert_eq!(*said, Some(code));
        prop_assert!(reason.starts_with(cut.as_str()));
    }
}
