//! Reporting damaged or missing lines on standard error while lines are read.

use std::process::ExitCode;

use crate::spool::reader::{Damage, Missing};

/// The findings so far.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// The last piece, which the next one may continue: a long piece is reported in several parts.
    open: Option<Damage>,
    /// The number of findings.
    count: u64,
}

impl Losses {
    /// Records the findings of a read, and reports those that are complete.
    pub(super) fn take(&mut self, damage: &[Damage], missing: &[Missing]) {
        for piece in damage {
            match &mut self.open {
                Some(open) if open.segment == piece.segment && end(open) == piece.at => {
                    open.bytes += piece.bytes;
                }
                _ => {
                    self.say_open();
                    self.open = Some(piece.clone());
                    self.count += 1;
                }
            }
        }
        for missing in missing {
            self.say_open();
            self.count += u64::from(!missing.damaged);
            let why = if missing.damaged { "damaged" } else { "missing" };
            eprintln!("logweir: {} {why}", lines(missing.first, missing.end));
        }
    }

    /// Reports the rest; returns 1 if there were any findings.
    pub(super) fn finish(&mut self) -> ExitCode {
        self.say_open();
        if self.count == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn say_open(&mut self) {
        if let Some(Damage { segment, at, bytes }) = self.open.take() {
            match bytes {
                0 => eprintln!("logweir: {}: damaged from byte {at} on", segment.display()),
                _ => eprintln!("logweir: {}: damaged: {bytes} bytes at {at}", segment.display()),
            }
        }
    }
}

fn end(damage: &Damage) -> u64 {
    damage.at + damage.bytes
}

/// `line 5 is` or `lines 5 to 7 are`; `end` is the one after the last.
pub(super) fn lines(first: u64, end: u64) -> String {
    match end - first {
        1 => format!("line {first} is"),
        _ => format!("lines {first} to {} are", end - 1),
    }
}
