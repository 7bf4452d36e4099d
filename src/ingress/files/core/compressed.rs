//! Whether compressed files were read before they were compressed.

use std::collections::BTreeMap;

use super::super::disk::Disk;
use super::super::packed::Packed;
use super::Core;
use super::meeting::Known;
use crate::ids::Identity;

impl<D: Disk> Core<D> {
    /// Compressed files are there at a start: whether they were read is asked with the next
    /// question.
    pub fn found_packed(&mut self, packed: Vec<Packed>) {
        self.packed.extend(packed);
    }

    /// Finds the compressed files that are what is left of an origin that was not read to its end.
    /// The origin stays: where such a file is decompressed again its rest is read.
    pub(super) fn judge_packed(&mut self, known: &Known) {
        let mut kinds: BTreeMap<u64, Vec<Packed>> = BTreeMap::new();
        for packed in std::mem::take(&mut self.packed_asked) {
            kinds.entry(packed.kind).or_default().push(packed);
        }
        for (kind, mut packed) in kinds {
            let gone = known.range(Identity::all_of(kind));
            let gone = gone.filter(|(identity, _)| !self.identities.contains_key(identity));
            let ends = gone.filter_map(|(_, lasts)| lasts.iter().flatten().min());
            let mut ends: Vec<u64> = ends.map(|last| last + 1).collect();
            // A last line without a newline has a number of its own.
            let is_read =
                |one: &Packed, end: u64| one.behind(end).or_else(|| one.behind(end - 1)) == Some(0);
            ends.retain(|end| {
                let read = packed.iter().position(|one| is_read(one, *end));
                read.map(|at| packed.remove(at)).is_none()
            });
            for end in ends {
                let mut unread = packed.iter().filter_map(|one| Some((one, one.behind(end)?)));
                // Of several files that begin alike it cannot be told which it was.
                if let (Some((one, bytes)), None) = (unread.next(), unread.next()) {
                    log::warn!(
                        "{:?} was compressed before its last {bytes} bytes were read: decompress \
                         it beside its log, and restart, to have them",
                        one.path
                    );
                    self.counts.unread += 1;
                }
            }
        }
    }
}
