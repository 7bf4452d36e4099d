//! Gaps in sequence numbers: the sum is that of the senders, and what is reported only grows.

use logweir::parse::sequence::GapTracker;

use crate::parameters::Parameters;

pub fn check(data: &[u8]) {
    let mut parameters = Parameters(data);
    let step = parameters.number(0, 12) as u64;
    let mut tracker = GapTracker::with_step(step);
    let mut reported: u64 = 0;
    let mut lines = 0;
    for chunk in parameters.0.split(|byte| *byte == 0) {
        let chunk = [chunk, b"\n"].concat();
        lines += chunk.iter().filter(|byte| **byte == b'\n').count() as u64;
        tracker.lines(&chunk);
        reported = reported.saturating_add(tracker.newly_lost());
        let sum = tracker.senders().fold(0_u64, |sum, (_, sender)| sum.saturating_add(sender.lost));
        assert_eq!(sum, tracker.lost());
        assert!(reported >= tracker.lost());
    }
    let counted: u64 =
        tracker.senders().map(|(_, sender)| sender.received + sender.duplicates).sum();
    assert_eq!(tracker.forgotten(), 0, "so many senders have no room in the input");
    assert_eq!(counted + tracker.unnumbered(), lines);
}
