//! Frames out of a stream of bytes: a length of four bytes, then so many bytes.
//!
//! Memory for a frame is taken once, when its length is known and within its bound. That of large
//! ones is used again once nobody holds the frame any more: fresh memory of that size costs more
//! than to fill it.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::limits::{CLUSTER_FRAME_MAX, FRAME_KEPT_MAX, FRAME_LARGE, FRAMES_KEPT};

/// The memory of large frames is a multiple of this.
const STEP: usize = 512 * 1024;

/// Memory of large frames, to be used again; shared by the connections to a cluster.
#[derive(Debug, Clone, Default)]
pub(super) struct Spare(Arc<Mutex<Vec<Vec<u8>>>>);

impl Spare {
    fn list<T>(&self, then: impl FnOnce(&mut Vec<Vec<u8>>) -> T) -> T {
        then(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn take(&self) -> Vec<u8> {
        self.list(Vec::pop).unwrap_or_default()
    }

    fn give(&self, memory: Vec<u8>) {
        if memory.capacity() <= FRAME_KEPT_MAX {
            self.list(|kept| {
                if kept.len() < FRAMES_KEPT {
                    kept.push(memory);
                }
            });
        }
    }

    /// Gives the memory back to the system.
    pub(super) fn clear(&self) {
        self.list(std::mem::take);
    }
}

/// A large frame; its memory goes back where it came from.
struct Large {
    memory: Vec<u8>,
    len: usize,
    spare: Spare,
}

impl AsRef<[u8]> for Large {
    fn as_ref(&self) -> &[u8] {
        &self.memory[..self.len]
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        self.spare.give(std::mem::take(&mut self.memory));
    }
}

/// A frame that comes.
#[derive(Debug)]
struct Coming {
    memory: Vec<u8>,
    len: usize,
    /// So many bytes of it are there.
    has: usize,
}

/// The frames of a connection.
#[derive(Debug)]
pub(super) struct Frames {
    /// What is there of the next length.
    length: Vec<u8>,
    coming: Option<Coming>,
    spare: Spare,
}

/// A frame has fewer bytes than it must have, or more than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OutOfBounds;

impl Frames {
    /// No frame yet.
    pub(super) fn new(spare: Spare) -> Self {
        Self { length: Vec::with_capacity(4), coming: None, spare }
    }

    /// Takes bytes off the front, up to the end of a frame; the frame, where it is whole.
    ///
    /// # Errors
    /// The stream is of no more use.
    pub(super) fn take(&mut self, bytes: &mut &[u8]) -> Result<Option<Bytes>, OutOfBounds> {
        if self.coming.is_none() {
            let (head, rest) = bytes.split_at(bytes.len().min(4 - self.length.len()));
            self.length.extend_from_slice(head);
            *bytes = rest;
            let Ok(length) = self.length.as_slice().try_into() else { return Ok(None) };
            self.length.clear();
            self.begin(i32::from_be_bytes(length))?;
        }
        let Some(room) = self.room() else { return Ok(None) };
        let count = room.len().min(bytes.len());
        let (head, rest) = bytes.split_at(count);
        room[..count].copy_from_slice(head);
        *bytes = rest;
        Ok(self.filled(count))
    }

    fn begin(&mut self, length: i32) -> Result<(), OutOfBounds> {
        let len = usize::try_from(length).map_err(|_| OutOfBounds)?;
        if !(4..=CLUSTER_FRAME_MAX).contains(&len) {
            return Err(OutOfBounds);
        }
        let mut memory = if len < FRAME_LARGE { Vec::new() } else { self.spare.take() };
        if memory.len() < len {
            let size = if len < FRAME_LARGE { len } else { len.next_multiple_of(STEP) };
            memory = vec![0; size];
        }
        self.coming = Some(Coming { memory, len, has: 0 });
        Ok(())
    }

    /// Where the rest of a frame is to be written, whose length is known; then call
    /// [`Self::filled`].
    pub(super) fn room(&mut self) -> Option<&mut [u8]> {
        let coming = self.coming.as_mut()?;
        Some(&mut coming.memory[coming.has..coming.len])
    }

    /// So many bytes were written there; the frame, where it is whole.
    pub(super) fn filled(&mut self, count: usize) -> Option<Bytes> {
        self.coming.as_mut()?.has += count;
        let Coming { mut memory, len, .. } =
            self.coming.take_if(|coming| coming.has >= coming.len)?;
        if len < FRAME_LARGE {
            memory.truncate(len);
            return Some(memory.into());
        }
        Some(Bytes::from_owner(Large { memory, len, spare: self.spare.clone() }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stream(frames: &[Vec<u8>]) -> Vec<u8> {
        let each = frames.iter().map(|frame| {
            let length = u32::try_from(frame.len()).unwrap().to_be_bytes();
            [&length[..], frame].concat()
        });
        each.collect::<Vec<_>>().concat()
    }

    proptest! {
        #[test]
        fn frames_are_the_same_at_every_cut_and_by_either_way(
            lens in proptest::collection::vec(4..200_000_usize, 1..6),
            cuts in proptest::collection::vec(1..150_000_usize, 1..20),
            holds in any::<bool>(),
        ) {
            let frames: Vec<_> = lens.iter().zip(0_u8..).map(|(len, at)| vec![at; *len]).collect();
            let bytes = stream(&frames);
            let (mut left, mut seen, mut held) = (&bytes[..], Vec::new(), Vec::new());
            let mut reader = Frames::new(Spare::default());
            let mut cuts = cuts.iter().cycle();
            while !left.is_empty() {
                let (mut piece, behind) = left.split_at(left.len().min(*cuts.next().unwrap()));
                left = behind;
                while !piece.is_empty() {
                    let frame = match reader.room().map(|room| room.len().min(piece.len())) {
                        Some(count) if holds => {
                            reader.room().unwrap()[..count].copy_from_slice(&piece[..count]);
                            piece = &piece[count..];
                            reader.filled(count)
                        }
                        _ => reader.take(&mut piece).unwrap(),
                    };
                    seen.extend(frame.iter().map(|frame| frame.to_vec()));
                    // Memory that somebody holds is not used again.
                    held.extend(frame.filter(|_| holds));
                }
            }
            prop_assert_eq!(&seen, &frames);
            prop_assert!(held.iter().zip(&frames).all(|(held, frame)| held == frame));
        }
    }

    #[test]
    fn memory_of_large_frames_is_used_again_and_little_of_it_is_kept() {
        let spare = Spare::default();
        let mut reader = Frames::new(spare.clone());
        let mut read = |len: usize| {
            let bytes = stream(&[vec![7; len]]);
            let mut left = &bytes[..];
            reader.take(&mut left).unwrap().unwrap()
        };
        let first = read(FRAME_LARGE * 2);
        let place = first.as_ptr();
        drop(first);
        assert_eq!(read(FRAME_LARGE).as_ptr(), place);
        let many: Vec<_> = (0..FRAMES_KEPT + 3).map(|_| read(FRAME_LARGE)).collect();
        drop(many);
        assert_eq!(spare.list(|kept| kept.len()), FRAMES_KEPT);
        drop(read(FRAME_KEPT_MAX + 1));
        assert!(spare.list(|kept| kept.iter().all(|one| one.capacity() <= FRAME_KEPT_MAX)));
        spare.clear();
        assert_eq!(spare.list(|kept| kept.len()), 0);
    }

    #[test]
    fn lengths_out_of_bounds_take_no_memory() {
        for length in [i32::MAX, -1, 3, i32::try_from(CLUSTER_FRAME_MAX).unwrap() + 1] {
            let mut reader = Frames::new(Spare::default());
            let bytes = length.to_be_bytes();
            assert_eq!(reader.take(&mut &bytes[..]), Err(OutOfBounds), "{length}");
        }
    }
}
