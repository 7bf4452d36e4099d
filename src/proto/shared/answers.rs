//! Answers of a session that wait until the lines they answer for are on disk.

use std::collections::VecDeque;

/// The answers of a client, in their order.
#[derive(Debug, Default)]
pub struct Answers {
    /// Those for lines that were not sent to the loop.
    fresh: Vec<u8>,
    /// Those for lines that were, by barrier, with the answers that must come after them.
    waiting: VecDeque<(u64, Vec<u8>)>,
    waiting_bytes: usize,
    out: Vec<u8>,
}

impl Answers {
    /// Where an answer is written whose lines were gathered just now.
    pub fn fresh(&mut self) -> &mut Vec<u8> {
        &mut self.fresh
    }

    /// Writes an answer that waits for nothing but the answers before it.
    pub fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if !self.fresh.is_empty() {
            return write(&mut self.fresh);
        }
        match self.waiting.back_mut() {
            Some((_, answers)) => {
                let before = answers.len();
                write(answers);
                self.waiting_bytes += answers.len() - before;
            }
            None => write(&mut self.out),
        }
    }

    /// What is to be written to the client now.
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Bytes of answers that wait.
    pub fn held(&self) -> usize {
        self.fresh.len() + self.waiting_bytes
    }

    /// Returns whether a barrier is wanted after what was gathered.
    pub fn wants_barrier(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// Records that all lines gathered so far were sent, followed by this barrier.
    pub fn sent(&mut self, barrier: u64) {
        let answers = std::mem::take(&mut self.fresh);
        self.waiting_bytes += answers.len();
        self.waiting.push_back((barrier, answers));
    }

    /// Everything before this barrier is on disk: its answers may go.
    pub fn completed(&mut self, barrier: u64) {
        while let Some((_, answers)) = self.waiting.front_mut().filter(|one| one.0 <= barrier) {
            self.waiting_bytes -= answers.len();
            self.out.append(answers);
            self.waiting.pop_front();
        }
    }

    /// Returns whether lines were sent that are not on disk.
    pub fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }
}
