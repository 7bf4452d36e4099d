//! What the daemon tells its own inputs: what it counts, by the window.
//!
//! The loop tells it about once a minute and rings the receivers' bells. One listener at a time;
//! the last that began counts.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ledger::told::Told;
use crate::limits::TOLD_WAITING;

/// The telling end. Clones share what is told.
#[derive(Debug, Clone, Default)]
pub struct Teller {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// The listener's number, and the length of its windows in minutes.
    listener: Option<(u64, u32)>,
    last: u64,
    waiting: VecDeque<Told>,
}

/// The listening end. It is told nothing after it is dropped.
#[derive(Debug)]
pub struct Listener {
    teller: Teller,
    number: u64,
}

impl Teller {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The length of windows that somebody listens to, in minutes, if what was told is not waiting
    /// to be heard.
    pub fn window(&self) -> Option<u32> {
        let shared = self.lock();
        shared.listener.filter(|_| shared.waiting.len() < TOLD_WAITING).map(|(_, length)| length)
    }

    /// Tells the listener.
    pub fn tell(&self, told: Told) {
        self.lock().waiting.push_back(told);
    }

    /// Listens to windows of this many minutes.
    pub fn listen(&self, length: u32) -> Listener {
        let mut shared = self.lock();
        shared.last += 1;
        let number = shared.last;
        shared.listener = Some((number, length));
        Listener { teller: self.clone(), number }
    }
}

impl Listener {
    /// What was told and not heard yet, oldest first.
    pub fn next(&self) -> Option<Told> {
        let mut shared = self.teller.lock();
        let is_current = shared.listener.is_some_and(|(number, _)| number == self.number);
        if is_current { shared.waiting.pop_front() } else { None }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut shared = self.teller.lock();
        shared.listener.take_if(|(number, _)| *number == self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::minute::Minute;

    fn told(since: u64) -> Told {
        let (minute, windows, waiting) = (Minute::UNKNOWN, Vec::new(), BTreeMap::new());
        Told { since, minute, length: 1, nodes: 0, waiting, windows }
    }

    #[test]
    fn the_last_listener_is_told_and_its_predecessor_is_not() {
        let teller = Teller::default();
        assert_eq!(teller.window(), None);
        let first = teller.listen(1);
        let second = teller.listen(5);
        assert_eq!(teller.window(), Some(5));
        teller.tell(told(1));
        assert_eq!(first.next(), None);
        drop(first);
        assert_eq!((second.next(), second.next()), (Some(told(1)), None));
        (0..TOLD_WAITING as u64).for_each(|since| teller.tell(told(since)));
        assert_eq!(teller.window(), None, "it does not hear");
        drop(second);
        let third = teller.listen(1);
        assert_eq!(third.next(), Some(told(0)), "nothing is lost between two");
    }
}
