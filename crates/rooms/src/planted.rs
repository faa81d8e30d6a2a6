//! Planted faults: ways to be wrong on purpose, so that whoever checks us can show that they would notice.
//!
//! Only in a build with the feature `planted-faults`, and only the one that `PLANTED_FAULT` names.
//! Everywhere else [`planted`] is the constant `false`.

/// A way to be wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// Says that something is durable before it is.
    AckBeforeCommit,
    /// Stores all of a batch but an event now and then.
    DropRow,
    /// Hands every live event over twice.
    DoubleDelivery,
    /// Lets who was removed go on listening.
    SkipKick,
}

/// Whether to be wrong in this way.
#[cfg(not(feature = "planted-faults"))]
pub(crate) const fn planted(_: Fault) -> bool {
    false
}

/// Whether to be wrong in this way.
#[cfg(feature = "planted-faults")]
pub(crate) fn planted(fault: Fault) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<Fault>> = std::sync::OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| match std::env::var("PLANTED_FAULT").ok()?.as_str() {
        "ack-before-commit" => Some(Fault::AckBeforeCommit),
        "drop-row" => Some(Fault::DropRow),
        "double-delivery" => Some(Fault::DoubleDelivery),
        "skip-kick" => Some(Fault::SkipKick),
        unknown => panic!("PLANTED_FAULT is {unknown:?}, which is no fault that can be planted"),
    });
    *chosen == Some(fault)
}
