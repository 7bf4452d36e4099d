//! An input that cannot be opened yet: its address or interface does not exist, or another program
//! has its port. Opening is retried until it succeeds; the rest of the daemon runs meanwhile.

use super::inbox::{Change, Inlet};
use super::wait::{Waited, rest};
use super::{Hearing, OpenError, Source};
use crate::limits::LOOK_EVERY;

/// Opens an input.
pub type Open = Box<dyn FnMut() -> Result<Vec<Box<dyn Source>>, OpenError> + Send>;

/// An input that is opened as soon as possible.
pub struct Pending {
    open: Open,
    error: OpenError,
}

impl Pending {
    /// An input that `open` opens, and that failed with `error` so far.
    pub fn new(open: Open, error: OpenError) -> Self {
        Self { open, error }
    }
}

impl Source for Pending {
    fn run(mut self: Box<Self>, inlet: Inlet) {
        let mut hearing = Hearing::default();
        loop {
            hearing.hears(Err(self.error.what().to_string()), &inlet);
            if rest(inlet.bell(), LOOK_EVERY) == Waited::Stopped && inlet.rang_for_end() {
                return;
            }
            match (self.open)() {
                Ok(sources) => return inlet.tell(Change::Opened(sources)),
                Err(error) => self.error = error,
            }
        }
    }
}
