//! Trials: what is done to a server, and what has to hold all the same.

pub mod acks;
pub mod attacks;
pub mod calls;
pub mod flips;
pub mod hot_room;
pub mod idle;
pub mod kicks;
pub mod kills;
pub mod overload;
pub mod power;
pub mod returns;
pub mod scarce;
pub mod slow;
pub mod sync;

use crate::report::Trial;

/// All of them, in the order of their names.
pub const ALL: &[Trial] = &[
    kills::TRIAL,
    power::TRIAL,
    sync::TRIAL,
    calls::TRIAL,
    acks::TRIAL,
    hot_room::TRIAL,
    slow::TRIAL,
    returns::TRIAL,
    attacks::TRIAL,
    flips::TRIAL,
    idle::TRIAL,
    overload::TRIAL,
    scarce::TRIAL,
];
