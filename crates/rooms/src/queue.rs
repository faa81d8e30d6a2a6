//! Hand-over between threads: push one, take all that is there.
//!
//! Load makes batches by itself: whoever takes gets everything that came meanwhile, and is woken once.
//!
//! Never: waits for room. A full queue gives the thing back, and the giver decides.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

/// A bounded queue of many givers and one taker.
pub struct Queue<T> {
    held: Mutex<Held<T>>,
    limit: usize,
    /// The taker has seen the queue empty and may be asleep.
    idle: AtomicBool,
    wake: Box<dyn Fn() + Send + Sync>,
}

struct Held<T> {
    things: Vec<T>,
    /// Places of things that are yet to be given.
    promised: usize,
}

impl<T> Queue<T> {
    /// A queue for at most `limit` things; `wake` gets the taker out of its sleep and may be called at
    /// any time.
    pub fn new(limit: usize, wake: impl Fn() + Send + Sync + 'static) -> Queue<T> {
        Queue {
            held: Mutex::new(Held { things: Vec::new(), promised: 0 }),
            limit,
            idle: AtomicBool::new(true),
            wake: Box::new(wake),
        }
    }

    /// Gives one thing.
    ///
    /// Errors: the thing, if the queue is full.
    pub fn push(&self, thing: T) -> Result<(), T> {
        let mut held = self.lock();
        if held.things.len() + held.promised >= self.limit {
            return Err(thing);
        }
        held.things.push(thing);
        drop(held);
        self.wake_taker();
        Ok(())
    }

    /// Keeps a place for a thing that is given later, with [`Queue::keep_promise`]. False if there is none.
    pub fn promise(&self) -> bool {
        let mut held = self.lock();
        let has_room = held.things.len() + held.promised < self.limit;
        held.promised += usize::from(has_room);
        has_room
    }

    /// Gives things for which places are kept, and wakes the taker once for all of them.
    pub fn keep_promise(&self, promised: &mut Vec<T>) {
        let mut held = self.lock();
        held.promised -= promised.len();
        held.things.append(promised);
        drop(held);
        self.wake_taker();
    }

    /// Gives many things at once, however many: for what has its bound elsewhere.
    pub fn push_all(&self, more: impl IntoIterator<Item = T>) {
        self.lock().things.extend(more);
        self.wake_taker();
    }

    /// Takes all that is there, in the order in which it came. `into` must be empty; its room is used
    /// for the things to come.
    pub fn take(&self, into: &mut Vec<T>) {
        debug_assert!(into.is_empty(), "what was taken before has been dealt with");
        std::mem::swap(&mut self.lock().things, into);
    }

    /// Takes at most `most`, oldest first.
    pub fn take_some(&self, most: usize, into: &mut Vec<T>) {
        let things = &mut self.lock().things;
        if things.len() <= most {
            std::mem::swap(things, into);
        } else {
            into.extend(things.drain(..most));
        }
    }

    /// Says that the taker will sleep unless something came meanwhile. True if it may.
    pub fn may_sleep(&self) -> bool {
        self.idle.store(true, Ordering::SeqCst);
        let empty = self.lock().things.is_empty();
        if !empty {
            self.idle.store(false, Ordering::SeqCst);
        }
        empty
    }

    /// How many things wait.
    pub fn len(&self) -> usize {
        self.lock().things.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn wake_taker(&self) {
        if self.idle.swap(false, Ordering::SeqCst) {
            (self.wake)();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held<T>> {
        self.held.lock().expect("no one panics while holding the queue")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[test]
    fn the_taker_is_woken_once_and_gets_all_in_order() {
        let woken = Arc::new(AtomicU32::new(0));
        let count = woken.clone();
        let queue = Queue::new(3, move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!([1, 2, 3, 4].map(|i| queue.push(i)), [Ok(()), Ok(()), Ok(()), Err(4)]);
        assert_eq!(woken.load(Ordering::Relaxed), 1);
        assert!(!queue.may_sleep(), "there is work");
        let mut taken = Vec::new();
        queue.take_some(2, &mut taken);
        assert_eq!(taken, [1, 2]);
        taken.clear();
        queue.take(&mut taken);
        assert_eq!(taken, [3]);
        assert!(queue.may_sleep());
        queue.push_all([5, 6, 7, 8]);
        assert_eq!((queue.len(), woken.load(Ordering::Relaxed)), (4, 2));
    }

    #[test]
    fn a_place_that_was_promised_is_nobody_elses() {
        let queue = Queue::new(2, || ());
        assert!(queue.promise());
        assert_eq!([1, 2].map(|i| queue.push(i)), [Ok(()), Err(2)]);
        assert!(!queue.promise());
        queue.keep_promise(&mut vec![3]);
        assert_eq!((queue.len(), queue.push(4)), (2, Err(4)));
        let mut taken = Vec::new();
        queue.take(&mut taken);
        assert_eq!((taken, queue.promise()), (vec![1, 3], true));
    }
}
