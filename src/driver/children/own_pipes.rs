//! The daemon's own pipes. Each holds a piece of lines, whose pages several children get (tee(2)).

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};

use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice, tee};
use nix::unistd::pipe2;

use crate::limits::{PIECE, PIECES_HELD};

/// One pipe for each slot, made when it is first needed.
#[derive(Debug, Default)]
pub(super) struct OwnPipes {
    pipes: [Option<OwnPipe>; PIECES_HELD],
    /// Takes what is no longer needed, without a copy.
    null: Option<File>,
}

#[derive(Debug)]
struct OwnPipe {
    reader: File,
    writer: File,
    /// Bytes that it holds.
    holds: usize,
}

impl OwnPipe {
    fn new() -> io::Result<Self> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        // Where the system refuses, pieces are smaller.
        let _ = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(i32::try_from(PIECE).unwrap_or(i32::MAX)));
        Ok(Self { reader: reader.into(), writer: writer.into(), holds: 0 })
    }
}

impl OwnPipes {
    /// Holds bytes in place of what the slot held. Returns how many of them fit.
    pub(super) fn hold(&mut self, slot: usize, bytes: &[u8]) -> io::Result<usize> {
        self.release(slot);
        let own = match &mut self.pipes[slot] {
            Some(own) => own,
            none => none.insert(OwnPipe::new()?),
        };
        own.holds = own.writer.write(bytes)?;
        Ok(own.holds)
    }

    /// Gives the first bytes of a slot, at most `most`, to another pipe. Returns how many. With
    /// `last` they do not stay in the slot, which saves taking them out.
    pub(super) fn share(
        &mut self,
        slot: usize,
        most: usize,
        last: bool,
        to: BorrowedFd<'_>,
    ) -> io::Result<usize> {
        let own = self.pipes[slot].as_mut().ok_or(ErrorKind::NotFound)?;
        let flags = SpliceFFlags::SPLICE_F_NONBLOCK;
        if !last {
            return Ok(tee(&own.reader, to, most, flags)?);
        }
        let moved = splice(own.reader.as_fd(), None, to, None, most, flags)?;
        own.holds -= moved;
        Ok(moved)
    }

    /// Empties a slot.
    pub(super) fn release(&mut self, slot: usize) {
        let holds = self.pipes[slot].as_ref().map_or(0, |own| own.holds);
        if holds > 0 && self.discard(slot, holds).is_err() {
            // A pipe that cannot be emptied is not used again.
            self.pipes[slot] = None;
        }
    }

    fn discard(&mut self, slot: usize, mut bytes: usize) -> io::Result<()> {
        let null = match &self.null {
            Some(null) => null,
            None => self.null.insert(File::options().write(true).open("/dev/null")?),
        };
        let Some(own) = &mut self.pipes[slot] else { return Ok(()) };
        while bytes > 0 {
            let flags = SpliceFFlags::SPLICE_F_NONBLOCK;
            match splice(own.reader.as_fd(), None, null.as_fd(), None, bytes, flags)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                done => bytes -= done,
            }
        }
        own.holds = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::sys::pipe::unread;

    #[test]
    fn what_is_held_goes_to_many_and_what_does_not_fit_is_told() {
        let mut own = OwnPipes::default();
        let bytes: Vec<u8> = (0..PIECE).map(|n| n.to_le_bytes()[0]).collect();
        assert_eq!(own.hold(3, &bytes).unwrap(), PIECE);
        for _ in 0..2 {
            let (mut reader, writer) = io::pipe().unwrap();
            // A pipe has room for sixteen pages unless it is told otherwise.
            assert_eq!(own.share(3, PIECE, false, writer.as_fd()).unwrap(), 16 * 4096);
            assert_eq!(unread(&writer).unwrap(), 16 * 4096);
            let mut got = vec![0; 16 * 4096];
            reader.read_exact(&mut got).unwrap();
            assert_eq!(got, bytes[..16 * 4096]);
            assert_eq!(own.share(3, 5, false, writer.as_fd()).unwrap(), 5);
        }
        own.release(3);
        assert_eq!(own.hold(3, b"other\n").unwrap(), 6);
        let (mut reader, writer) = io::pipe().unwrap();
        assert_eq!(own.share(3, 6, true, writer.as_fd()).unwrap(), 6);
        drop(writer);
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"other\n");
        assert_eq!(own.hold(3, b"next\n").unwrap(), 5, "it is empty again");
    }

    #[test]
    fn a_pipe_without_a_reader_or_without_room_is_told_apart() {
        let mut own = OwnPipes::default();
        own.hold(0, &[b'x'; 4096]).unwrap();
        let (reader, writer) = io::pipe().unwrap();
        for _ in 0..16 {
            own.share(0, 4096, false, writer.as_fd()).unwrap();
        }
        let full = own.share(0, 4096, false, writer.as_fd()).unwrap_err();
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
        drop(reader);
        let gone = own.share(0, 4096, false, writer.as_fd()).unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::BrokenPipe);
    }
}
