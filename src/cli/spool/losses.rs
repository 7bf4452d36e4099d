//! What is damaged or missing while lines are read, said on standard error.

use std::process::ExitCode;

use crate::spool::reader::{Damage, Missing};

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// The last piece, to which the next one may belong: a long one comes in several.
    open: Option<Damage>,
    /// How many there were.
    count: u64,
}

impl Losses {
    /// Takes notice of what a read came across, and says what is complete.
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

    /// Says the rest; 1 where there was anything.
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
