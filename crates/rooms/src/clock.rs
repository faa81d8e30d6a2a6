//! Time: asked of whoever drives the rooms, so that a simulation can pass it.

/// The two clocks there are.
pub trait Clock: Send + Sync {
    /// Nanoseconds since the start; never goes back.
    fn now_ns(&self) -> u64;

    /// Milliseconds since 1970 UTC; may jump, so nothing but stamps and token ends depends on it.
    fn wall_ms(&self) -> u64;
}
