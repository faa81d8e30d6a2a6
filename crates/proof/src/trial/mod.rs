//! Trials: what is done to a server, and what has to hold all the same.

pub mod acks;
pub mod attacks;
pub mod calls;
pub mod clocks;
pub mod drains;
pub mod flips;
pub mod full_disk;
pub mod hot_room;
pub mod idle;
pub mod kicks;
pub mod kills;
pub mod lane;
pub mod locked;
pub mod overload;
pub mod planted;
pub mod power;
mod replays;
pub mod resumes;
pub mod returns;
pub mod rude;
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
    full_disk::TRIAL,
    locked::TRIAL,
    acks::TRIAL,
    hot_room::TRIAL,
    resumes::TRIAL,
    slow::TRIAL,
    returns::TRIAL,
    clocks::TRIAL,
    drains::TRIAL,
    kicks::TRIAL,
    attacks::TRIAL,
    flips::TRIAL,
    idle::TRIAL,
    overload::TRIAL,
    scarce::TRIAL,
    lane::TRIAL,
    rude::TRIAL,
    planted::TRIAL,
];
