//! The receiver of a stream from a descriptor: standard input or a FIFO.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::path::PathBuf;

use bytes::Bytes;

use super::Source;
use super::inbox::Inlet;
use super::wait::{Waited, wait};
use crate::fifo;
use crate::input::lines::LineBuffer;
use crate::input::{InputCounts, Piece};
use crate::limits;
use crate::parse::sequence::GapTracker;

/// Receives lines from a descriptor.
pub struct Descriptor {
    file: File,
    /// Where it is opened again at its end.
    path: Option<PathBuf>,
    lines: Lines,
}

impl Descriptor {
    /// A receiver of lines of up to `max_line` bytes, of which `gaps` tracks the sequence
    /// numbers; with `path` the FIFO there is opened again when all writers have closed it.
    pub fn new(
        file: File,
        path: Option<PathBuf>,
        max_line: usize,
        gaps: Option<GapTracker>,
    ) -> Self {
        Self { file, path, lines: Lines { buffer: LineBuffer::new(max_line), gaps } }
    }

    /// The stream has ended; whether there is another one.
    fn ended(&mut self, inlet: &Inlet) -> bool {
        self.lines.send(inlet, LineBuffer::end);
        let Some(path) = &self.path else { return false };
        // Opened before the old one is closed, so that a writer never meets a pipe without a
        // reader.
        match fifo::open(path) {
            Ok(next) => self.file = next,
            Err(error) => {
                log::error!("input.{}: {}: {error}", inlet.name(), path.display());
                return false;
            }
        }
        true
    }
}

impl Source for Descriptor {
    fn run(mut self: Box<Self>, inlet: Inlet) {
        let mut chunk = vec![0; limits::READ_CHUNK];
        loop {
            if wait(self.file.as_fd(), inlet.bell(), None) == Waited::Stopped {
                // The rest waits in the pipe for whoever reads next.
                break;
            }
            match self.file.read(&mut chunk) {
                Ok(0) if !self.ended(&inlet) => return,
                Ok(0) => {}
                Ok(count) => {
                    self.lines.send(&inlet, |buffer| buffer.push(&chunk[..count]));
                    // More is on its way, and a pipe can hold as much as the chunk: one wake-up
                    // for it is enough.
                    if count < chunk.len() / 8 {
                        std::thread::sleep(4 * limits::RECV_PAUSE);
                    } else if count < chunk.len() / 2 {
                        std::thread::sleep(limits::RECV_PAUSE);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    log::error!("input.{}: {error}", inlet.name());
                    break;
                }
            }
        }
        self.lines.send(&inlet, LineBuffer::end);
    }
}

/// The lines of a stream.
struct Lines {
    buffer: LineBuffer,
    gaps: Option<GapTracker>,
}

impl Lines {
    /// Sends what `take` gives.
    fn send(&mut self, inlet: &Inlet, take: impl FnOnce(&mut LineBuffer) -> Option<(Bytes, u32)>) {
        let piece = take(&mut self.buffer);
        let mut counts = std::mem::take(&mut self.buffer.counts);
        if let (Some(gaps), Some((bytes, _))) = (&mut self.gaps, &piece) {
            gaps.lines(bytes);
            counts.sequence_lost += gaps.newly_lost();
            counts.senders_forgotten += gaps.newly_forgotten();
        }
        if piece.is_some() || counts != InputCounts::default() {
            let batch = piece.map(|(bytes, lines)| inlet.batch(Piece::new(bytes, lines)));
            inlet.send(batch, counts);
        }
    }
}
