//! Kicks: who was removed hears nothing that came after.

use tertulia_proof::trial::kicks::heard_after_kicks;

use crate::place;

#[test]
fn who_was_kicked_hears_nothing_after_the_kick() {
    let place = place().set("limits.send_per_second", 0);
    assert_eq!(heard_after_kicks(&place, 50), Vec::<String>::new());
}
