//! Snapshot: a value that many read and now and then one replaces as a whole.

use std::sync::{Arc, PoisonError, RwLock};

/// A value that is replaced, never changed.
#[derive(Default)]
pub(super) struct Snapshot<T>(RwLock<Arc<T>>);

impl<T> Snapshot<T> {
    pub(super) fn new(value: T) -> Snapshot<T> {
        Snapshot(RwLock::new(Arc::new(value)))
    }

    /// The value as it is now. The lock is gone when this returns.
    pub(super) fn get(&self) -> Arc<T> {
        // A thread that panicked in here had a whole value before or after.
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn put(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
    }
}
