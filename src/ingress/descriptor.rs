//! The receiver of a stream from a descriptor: standard input or a FIFO.
//!
//! The path of a FIFO may change while it is read: someone removes it, or creates another one
//! there. So the path is checked about once a second. A new FIFO is read alongside the old one
//! until all writers of the old one have closed it; a missing one is recreated, unless its writer
//! does so first; anything else at the path is reported and waited out.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use bytes::Bytes;

use super::inbox::Inlet;
use super::pace::Pace;
use super::wait::{Waited, wait_any};
use super::{Hearing, Source};
use crate::fifo;
use crate::input::lines::LineBuffer;
use crate::input::{InputCounts, Piece};
use crate::limits::{self, LOOK_EVERY};
use crate::parse::sequence::GapTracker;

/// The maximum number of FIFOs of one path read at a time; beyond it, the oldest is closed.
const STREAMS_MAX: usize = 4;

/// Receives lines from a descriptor.
pub struct Descriptor {
    /// The newest is last. Earlier ones were at the path before and still have writers.
    streams: Vec<Stream>,
    /// The path at which the newest is reopened when it ends.
    path: Option<FifoPath>,
    max_line: usize,
    gaps: Option<GapTracker>,
    chunk: Vec<u8>,
}

/// An open stream, with the incomplete line read from it.
struct Stream {
    file: File,
    buffer: LineBuffer,
    pace: Pace,
}

/// The path of a FIFO.
struct FifoPath {
    path: PathBuf,
    looked: Instant,
    /// True if nothing was there at the last check.
    missing: bool,
    hearing: Hearing,
}

impl Descriptor {
    /// Creates a receiver of lines of up to `max_line` bytes, whose sequence numbers `gaps` tracks;
    /// with `path`, the FIFO there is reopened when all writers have closed it.
    pub fn new(
        file: File,
        path: Option<PathBuf>,
        max_line: usize,
        gaps: Option<GapTracker>,
    ) -> Self {
        let path = path.map(|path| FifoPath {
            path,
            looked: Instant::now(),
            missing: false,
            hearing: Hearing::default(),
        });
        let streams = vec![Stream::new(file, max_line)];
        Self { streams, path, max_line, gaps, chunk: vec![0; limits::READ_CHUNK] }
    }

    /// Waits for input; returns the readable streams, or that the end has come.
    fn wait(&self, inlet: &Inlet) -> (Waited, Vec<usize>) {
        let files: Vec<_> = self.streams.iter().map(|stream| stream.file.as_fd()).collect();
        wait_any(&files, inlet.bell(), self.path.as_ref().map(|_| LOOK_EVERY))
    }

    /// Reads from a stream once; returns whether it is still open.
    fn read(&mut self, at: usize, inlet: &Inlet) -> bool {
        match self.streams[at].file.read(&mut self.chunk) {
            Ok(0) => return false,
            Ok(count) => {
                let Self { streams, gaps, chunk, .. } = self;
                streams[at].send(inlet, gaps, |buffer| buffer.push(&chunk[..count]));
                // More is on its way, and a pipe can hold as much as the chunk.
                std::thread::sleep(streams[at].pace.rest(count, chunk.len()));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                log::error!("input.{}: {error}", inlet.name());
                return false;
            }
        }
        true
    }

    /// Handles the end of a stream. The FIFO now at the path is opened before the old one is
    /// closed, so that a writer never meets a pipe without a reader.
    fn ended(&mut self, at: usize, inlet: &Inlet) {
        let mut ended = self.streams.remove(at);
        ended.send(inlet, &mut self.gaps, LineBuffer::end);
        if at == self.streams.len() {
            self.look(inlet, false);
        }
    }

    /// Checks the path; `asked` if a person requested it.
    fn look(&mut self, inlet: &Inlet, asked: bool) {
        let Some(path) = &mut self.path else { return };
        path.looked = Instant::now();
        let state = match path.find(self.streams.last(), asked) {
            Ok(None) => Ok(()),
            Ok(Some(file)) => {
                self.streams.push(Stream::new(file, self.max_line));
                Ok(())
            }
            Err(error) => Err(format!("{}: {error}", path.path.display())),
        };
        path.hearing.hears(state, inlet);
        if self.streams.len() > STREAMS_MAX {
            self.streams.remove(0).send(inlet, &mut self.gaps, LineBuffer::end);
        }
    }

    fn is_time_to_look(&self) -> bool {
        self.path.as_ref().is_some_and(|path| path.looked.elapsed() >= LOOK_EVERY)
    }
}

impl FifoPath {
    /// Opens the FIFO at the path, if it is not the one being read.
    fn find(&mut self, read: Option<&Stream>, asked: bool) -> std::io::Result<Option<File>> {
        if read.is_some_and(|stream| is_at(&stream.file, &self.path)) {
            self.missing = false;
            return Ok(None);
        }
        let found = fifo::open(&self.path);
        let is_missing = found.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound);
        // Its writer may be about to create it, and gets time to do so.
        if is_missing && (asked || self.missing) {
            fifo::make(&self.path)?;
            self.missing = false;
            return fifo::open(&self.path).map(Some);
        }
        self.missing = is_missing;
        if is_missing { Ok(None) } else { found.map(Some) }
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(there)) = (file.metadata(), path.metadata()) else { return false };
    (open.dev(), open.ino()) == (there.dev(), there.ino())
}

impl Source for Descriptor {
    fn run(mut self: Box<Self>, inlet: Inlet) {
        loop {
            let (waited, ready) = self.wait(&inlet);
            let rang = waited == Waited::Stopped;
            if rang && inlet.rang_for_end() {
                // The rest waits in the pipe for its next reader.
                break;
            }
            for at in ready.into_iter().rev() {
                if !self.read(at, &inlet) {
                    self.ended(at, &inlet);
                }
            }
            if self.streams.is_empty() && self.path.is_none() {
                return;
            }
            if rang || self.is_time_to_look() {
                self.look(&inlet, rang);
            }
        }
        for mut stream in std::mem::take(&mut self.streams) {
            stream.send(&inlet, &mut self.gaps, LineBuffer::end);
        }
    }
}

impl Stream {
    fn new(file: File, max_line: usize) -> Self {
        Self { file, buffer: LineBuffer::new(max_line), pace: Pace::default() }
    }

    /// Sends what `take` returns.
    fn send(
        &mut self,
        inlet: &Inlet,
        gaps: &mut Option<GapTracker>,
        take: impl FnOnce(&mut LineBuffer) -> Option<(Bytes, u32)>,
    ) {
        let piece = take(&mut self.buffer);
        let mut counts = std::mem::take(&mut self.buffer.counts);
        if let (Some(gaps), Some((bytes, _))) = (gaps, &piece) {
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
