//! I20, planted faults: a server that is wrong on purpose is found out by the trial that should.
//!
//! A check that cannot fail proves nothing. So each kind of verdict is tried on a server that breaks the very
//! promise that it is about.

use crate::report::{Report, Trial};
use crate::stage::{OS_DURABILITY, Scale, Stage};
use crate::trial::{hot_room, kicks, kills, power, sync};

/// A way to be wrong, and who notices.
pub struct Planted {
    /// As `PLANTED_FAULT` names it, or [`OS_DURABILITY`].
    pub fault: &'static str,
    /// What the server does then.
    pub what: &'static str,
    /// The trial that has to go wrong.
    pub noticed_by: &'static Trial,
    /// What it has to say among the rest: it may not fall over something else.
    pub words: &'static str,
}

/// All that is planted.
pub const FAULTS: &[Planted] = &[
    Planted {
        fault: "ack-before-commit",
        what: "says that something is durable before it is",
        noticed_by: &sync::TRIAL,
        words: "no sync before it",
    },
    Planted {
        fault: OS_DURABILITY,
        what: "acks without waiting for the disk (SQLite's synchronous=NORMAL)",
        noticed_by: &sync::TRIAL,
        words: "no sync before it",
    },
    Planted {
        fault: OS_DURABILITY,
        what: "the same, and the power goes",
        noticed_by: &power::TRIAL,
        words: "was acked as",
    },
    Planted {
        fault: "drop-row",
        what: "stores all of a batch but an event now and then",
        noticed_by: &kills::TRIAL,
        words: "lost: ",
    },
    Planted {
        fault: "double-delivery",
        what: "hands every live event over twice",
        noticed_by: &kills::TRIAL,
        words: "twice: ",
    },
    Planted {
        fault: "skip-kick",
        what: "lets who was removed go on listening",
        noticed_by: &kicks::TRIAL,
        words: "out at",
    },
    Planted {
        fault: "swap-two",
        what: "hands two live events over in the wrong order",
        noticed_by: &hot_room::TRIAL,
        words: "a listener heard",
    },
];

/// The trial.
pub const TRIAL: Trial = Trial { id: "I20", title: "servers that are wrong on purpose", run };

fn run(stage: &Stage, report: &mut Report) {
    for planted in FAULTS {
        let Planted { fault, what, noticed_by, .. } = planted;
        stage.progress(&format!("{fault}: {what}"));
        match notice(stage, planted) {
            Ok(breaches) => {
                report.count("faults noticed", 1);
                let case = format!("{fault}, by {}", noticed_by.id);
                report.case(&case, what, "breaches found", breaches as f64);
            }
            Err(why) => report.wrong(why),
        }
    }
}

/// How many breaches the trial finds in its short form. Errors: none, or there is no program to plant in.
pub fn notice(stage: &Stage, planted: &Planted) -> Result<u64, String> {
    let Planted { fault, what, noticed_by, words } = planted;
    let Some(server) = stage.planted.clone() else {
        return Err("there is no program built with the feature `planted-faults`".to_owned());
    };
    let wrong_on_purpose = Stage {
        server,
        scale: Scale::Short,
        seed: stage.seed,
        fault: Some((*fault).to_owned()),
        planted: None,
        shown: Box::new(|_| ()),
    };
    let report = noticed_by.report(&wrong_on_purpose);
    if report.wrongs().iter().any(|wrong| wrong.contains(words)) {
        return Ok(report.wrongs_in_all());
    }
    let (id, said) = (noticed_by.id, report.wrongs());
    Err(format!("{id} does not notice {fault}: a server that {what}; it says {said:?}"))
}
