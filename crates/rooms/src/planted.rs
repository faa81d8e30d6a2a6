//! Planted faults: ways to be wrong on purpose, so that whoever checks us can show that they would notice.
//!
//! Only in a build with the feature `planted-faults`, and only the one that `PLANTED_FAULT` names or that was
//! planted in the running thread. Everywhere else `planted` is the constant `false`.

/// A way to be wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Says that something is durable before it is.
    AckBeforeCommit,
    /// Stores all of a batch but an event now and then.
    DropRow,
    /// Hands every live event over twice.
    DoubleDelivery,
    /// Hands two live events that come together over in the wrong order.
    SwapTwo,
    /// Lets who was removed go on listening.
    SkipKick,
}

impl Fault {
    /// Each, by the name that `PLANTED_FAULT` has for it.
    pub const ALL: [(&str, Fault); 5] = [
        ("ack-before-commit", Fault::AckBeforeCommit),
        ("drop-row", Fault::DropRow),
        ("double-delivery", Fault::DoubleDelivery),
        ("swap-two", Fault::SwapTwo),
        ("skip-kick", Fault::SkipKick),
    ];
}

/// Whether to be wrong in this way.
#[cfg(not(feature = "planted-faults"))]
pub(crate) const fn planted(_: Fault) -> bool {
    false
}

#[cfg(feature = "planted-faults")]
thread_local! {
    static HERE: std::cell::Cell<Option<Fault>> = const { std::cell::Cell::new(None) };
}

/// From now on this thread is wrong in this way, whatever the environment says.
#[cfg(feature = "planted-faults")]
pub fn plant(fault: Fault) {
    HERE.set(Some(fault));
}

/// Whether to be wrong in this way.
#[cfg(feature = "planted-faults")]
pub(crate) fn planted(fault: Fault) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<Fault>> = std::sync::OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| {
        let name = std::env::var("PLANTED_FAULT").ok()?;
        let found = Fault::ALL.iter().find(|(known, _)| *known == name);
        let Some((_, chosen)) = found else {
            panic!("PLANTED_FAULT is {name:?}, which is no fault that can be planted");
        };
        Some(*chosen)
    });
    HERE.get().or(*chosen) == Some(fault)
}
