//! The thread that makes lines of what the daemon tells.

use std::time::Duration;

use super::lines::lines_of;
use crate::ingress::Source;
use crate::ingress::inbox::Inlet;
use crate::ingress::told::Teller;
use crate::input::{InputCounts, Piece};

/// Longer than any wait for the bell.
const LONG: Duration = Duration::from_secs(3600);

/// What the daemon counts.
pub(super) struct Audit {
    host: String,
    window: u32,
    teller: Teller,
}

impl Audit {
    pub(super) fn new(host: String, window: u32, teller: Teller) -> Self {
        Self { host, window, teller }
    }
}

impl Source for Audit {
    fn run(self: Box<Self>, inlet: Inlet) {
        let listener = self.teller.listen(self.window);
        while !inlet.rang_for_end() {
            while let Some(told) = listener.next() {
                for (bytes, lines) in lines_of(&told, &self.host) {
                    let batch = inlet.batch(Piece::new(bytes, lines));
                    inlet.send(Some(batch), InputCounts::default());
                }
            }
            inlet.rest(LONG);
        }
    }
}
