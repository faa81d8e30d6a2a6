//! Stage: what a trial is given: a server to try, how much time, and chance that can be had again.

use std::path::PathBuf;

use crate::server::Place;

/// How long a trial may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scale {
    /// Seconds: with every test.
    Short,
    /// Minutes: `make soak`, an hour in all.
    Soak,
    /// As long as it takes.
    Long,
}

impl Scale {
    /// As it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Scale::Short => "short",
            Scale::Soak => "soak",
            Scale::Long => "long",
        }
    }
}

/// The fault that needs no other program: acks that do not wait for the disk.
pub const OS_DURABILITY: &str = "os-durability";

/// What a trial is given.
pub struct Stage {
    /// The server's program.
    pub server: PathBuf,
    /// How long the trial may take.
    pub scale: Scale,
    /// Where all chance comes from.
    pub seed: u64,
    /// A fault to plant into the server: the trial has to notice it.
    pub fault: Option<String>,
    /// The program built with the feature `planted-faults`, for the trial of the trials.
    pub planted: Option<PathBuf>,
    /// Shows how far the trial is.
    pub shown: Box<dyn Fn(&str) + Sync>,
}

impl Stage {
    /// The value for the scale in force.
    pub(crate) fn scale<T>(&self, short: T, soak: T, long: T) -> T {
        match self.scale {
            Scale::Short => short,
            Scale::Soak => soak,
            Scale::Long => long,
        }
    }

    /// A fresh place for a server.
    pub(crate) fn place(&self) -> Place {
        let place = Place::of(&self.server);
        match self.fault.as_deref() {
            // SQLite's `synchronous=NORMAL`, which anyone may choose, and which no ack may pass for durable.
            Some(OS_DURABILITY) => place.set("store.durability", "os"),
            Some(fault) => place.plant(fault),
            None => place,
        }
    }

    /// How far the trial is.
    pub(crate) fn progress(&self, what: &str) {
        (self.shown)(what);
    }
}
