//! Writes lines to standard output.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use crate::batch::Batch;
use crate::output::worker::{Worker, Written};

/// Standard output.
#[derive(Debug, Default)]
pub struct Stdout {
    /// Bytes of the next line that have already been written.
    line_written: usize,
}

impl Worker for Stdout {
    fn append(&mut self, batches: &[Batch]) -> Written {
        let mut written = Written::default();
        let mut out = match io::stdout().as_fd().try_clone_to_owned() {
            Ok(descriptor) => File::from(descriptor),
            Err(error) => {
                written.error = Some(format!("standard output: {error}"));
                return written;
            }
        };
        for batch in batches {
            let mut at = std::mem::take(&mut self.line_written);
            while at < batch.bytes.len() {
                match out.write(&batch.bytes[at..]) {
                    Ok(count) => at += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => {
                        // Only whole lines count as written; the rest of a line is written
                        // before anything else.
                        let whole = memchr::memrchr(b'\n', &batch.bytes[..at]);
                        let whole = whole.map_or(0, |at| at + 1);
                        self.line_written = at - whole;
                        written.bytes += whole;
                        written.error = Some(format!("standard output: {error}"));
                        return written;
                    }
                }
            }
            written.bytes += batch.bytes.len();
        }
        written
    }
}
