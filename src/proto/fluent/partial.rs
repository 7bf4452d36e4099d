//! Texts that Docker has split at 16 KiB, put together again.
//!
//! A text is of one container and one of its streams, and its pieces come in their order. Docker
//! also calls a text a piece that has no newline at its end, and no other piece follows: that one
//! ends with the next text of its stream, or with the connection.

use super::fields::Piece;

/// The most texts of one client that are not whole: a client is one container, with two streams,
/// unless something forwards for many.
const OPEN_MAX: usize = 16;

/// A text that is not whole.
#[derive(Debug)]
pub(super) struct Open {
    container: Vec<u8>,
    stream: Vec<u8>,
    id: Vec<u8>,
    /// What stands before the text.
    pub(super) head: Vec<u8>,
    pub(super) text: Vec<u8>,
    /// Bytes that had no room.
    pub(super) cut: usize,
}

/// The texts of one client that are not whole, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Partials {
    open: Vec<Open>,
}

impl Open {
    fn is_of_stream(&self, piece: &Piece<'_>) -> bool {
        self.container == piece.container && self.stream == piece.stream
    }

    fn is_of(&self, piece: &Piece<'_>) -> bool {
        self.is_of_stream(piece) && self.id == piece.id
    }

    /// Puts text behind what is there, as far as it fits.
    fn append(&mut self, text: &[u8], most: usize) {
        let kept = text.len().min(most.saturating_sub(self.text.len()));
        self.text.extend_from_slice(&text[..kept]);
        self.cut += text.len() - kept;
    }
}

impl Partials {
    /// Takes the texts of the same stream that the piece is not of: nothing more comes of them.
    pub(super) fn end_others(&mut self, piece: &Piece<'_>) -> Vec<Open> {
        self.open.extract_if(.., |open| open.is_of_stream(piece) && !open.is_of(piece)).collect()
    }

    /// Puts a piece behind those of its text that came before; whether any did. A text may have
    /// `most` bytes.
    pub(super) fn append(&mut self, piece: &Piece<'_>, text: &[u8], most: usize) -> bool {
        let open = self.open.iter_mut().find(|open| open.is_of(piece));
        open.map(|open| open.append(text, most)).is_some()
    }

    /// Begins a text with its first piece; the oldest text, where there are too many.
    pub(super) fn begin(
        &mut self,
        piece: &Piece<'_>,
        head: Vec<u8>,
        cut: usize,
        text: &[u8],
        most: usize,
    ) -> Option<Open> {
        let oldest = (self.open.len() >= OPEN_MAX).then(|| self.open.remove(0));
        let (container, stream) = (piece.container.to_vec(), piece.stream.to_vec());
        let id = piece.id.to_vec();
        let mut open = Open { container, stream, id, head, text: Vec::new(), cut };
        open.append(text, most);
        self.open.push(open);
        oldest
    }

    /// Takes the text whose last piece has come.
    pub(super) fn end(&mut self, piece: &Piece<'_>) -> Option<Open> {
        let at = self.open.iter().position(|open| open.is_of(piece))?;
        Some(self.open.remove(at))
    }

    /// Takes all that is not whole.
    pub(super) fn take_all(&mut self) -> Vec<Open> {
        std::mem::take(&mut self.open)
    }

    /// Bytes held.
    pub(super) fn held(&self) -> usize {
        self.open.iter().map(|open| open.head.len() + open.text.len()).sum()
    }
}
