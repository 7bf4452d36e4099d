//! Whether another process takes itself for this member: one that runs on a copy of its file, or of
//! its whole disk.
//!
//! To the broker the two are one, and both read the same partitions. But each writes a note of its
//! own beside the offsets that it commits. Where a note on a partition that is ours is another
//! one's, and the group says thereafter that we still are its member, there are two.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::note;
use crate::clock::Mono;
use crate::limits::GROUP_WATCH;
use crate::proto::kafka::consumer::member::Member;
use crate::proto::kafka::consumer::part::Phase;
use crate::proto::kafka::consumer::{Consumer, Place};
use crate::proto::kafka::messages::group::Committed;

impl Consumer {
    /// Topics whose notes are to be looked at now.
    pub(super) fn take_due(&mut self, now: Mono) -> BTreeSet<Arc<str>> {
        let Some(group) = &mut self.group else { return BTreeSet::new() };
        if now < group.watch_at || group.noted.is_empty() {
            return BTreeSet::new();
        }
        group.watch_at = now + GROUP_WATCH;
        group.noted.iter().map(|(topic, _)| Arc::clone(topic)).collect()
    }

    /// This offset is committed, with our note.
    pub(super) fn noted(&mut self, place: &Place) {
        let is_read = |part: &super::Part| part.phase == Phase::Reading && !part.stopped;
        let Some(group) = &mut self.group else { return };
        if self.parts.get(place).is_some_and(is_read) {
            group.noted.insert(place.clone());
        }
    }

    /// Looks at the notes.
    pub(super) fn watch(&mut self, parts: &[Committed], now: Mono) {
        let Some(group) = &mut self.group else { return };
        let is_others = |one: &&Committed| {
            let place = (Arc::from(one.topic.as_str()), one.index);
            let is_others = |note: &str| !note.is_empty() && note::who(note) != group.note;
            one.note.as_deref().is_some_and(is_others) && group.noted.contains(&place)
        };
        if let Some(note) = parts.iter().find(is_others).and_then(|one| one.note.as_deref()) {
            group.stranger = Some(note::who(note).to_string());
            group.beat_at = now;
        }
    }

    /// The group has said that this is a member.
    pub(super) fn still_member(&mut self, now: Mono) {
        let Some(group) = &mut self.group else { return };
        let Some(note) = group.stranger.take() else { return };
        log::warn!(
            "{}: group {}: another process ({note}) commits under the identity of this member: it \
             may run on a copy of its file; this one goes on as a new member, and what both have \
             read is there twice (give each daemon its own file, with `positions`)",
            self.setup.name,
            group.name
        );
        group.member = Member::new();
        self.begin_anew(now);
    }
}
