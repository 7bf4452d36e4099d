//! What a member of a group is, kept over restarts: its identity, its epoch, what it owns.
//!
//! A member that was killed and beats on as it was keeps everything, without a rebalance, as long
//! as the group's session time-out is not over.

use std::collections::BTreeSet;

use crate::ids::Identity;
use crate::proto::kafka::wire::Uuid;

/// A partition as the group names it.
pub(in crate::proto::kafka) type Owned = (Uuid, i32);

/// A member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::proto::kafka) struct Member {
    pub(in crate::proto::kafka) id: String,
    /// 0 until it has joined.
    pub(in crate::proto::kafka) epoch: i32,
    pub(in crate::proto::kafka) owned: BTreeSet<Owned>,
}

const TITLE: &str = "logweir member 1";

impl Member {
    /// One that never was.
    pub(in crate::proto::kafka) fn new() -> Self {
        let id = Identity::new().to_string();
        Self { id, epoch: 0, owned: BTreeSet::new() }
    }

    /// As a text, with a checksum. `host` and `group` say whose it is.
    pub(in crate::proto::kafka) fn encode(&self, host: &str, group: &str) -> String {
        let mut text = format!("{TITLE} {host} {group}\n{} {}\n", self.id, self.epoch);
        for (topic, index) in &self.owned {
            text.push_str(&format!("{:032x} {index}\n", topic.0));
        }
        text.push_str(&format!("{:08x}\n", crc32c::crc32c(text.as_bytes())));
        text
    }

    /// Reads it back; `None` for what is damaged, or of another host or group.
    pub(in crate::proto::kafka) fn decode(text: &str, host: &str, group: &str) -> Option<Self> {
        let (body, sum) = text.strip_suffix('\n')?.rsplit_once('\n')?;
        let covered = &text.as_bytes()[..=body.len()];
        if u32::from_str_radix(sum, 16).ok()? != crc32c::crc32c(covered) {
            return None;
        }
        let mut lines = body.lines();
        if lines.next()? != format!("{TITLE} {host} {group}") {
            return None;
        }
        let (id, epoch) = lines.next()?.split_once(' ')?;
        let owned = lines.map(|line| {
            let (topic, index) = line.split_once(' ')?;
            Some((Uuid(u128::from_str_radix(topic, 16).ok()?), index.parse().ok()?))
        });
        let owned = owned.collect::<Option<_>>()?;
        Some(Self { id: id.to_string(), epoch: epoch.parse().ok()?, owned })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_read_back_and_any_damage_or_another_owner_makes_it_new() {
        let owned = BTreeSet::from([(Uuid(7), 0), (Uuid(7), 11)]);
        let member = Member { epoch: 5, owned, ..Member::new() };
        let text = member.encode("h", "g 1");
        assert_eq!(Member::decode(&text, "h", "g 1"), Some(member));
        assert_eq!(Member::decode(&text, "other", "g 1"), None);
        assert_eq!(Member::decode(&text, "h", "g"), None);
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let damaged = String::from_utf8(bytes).unwrap();
            assert_eq!(Member::decode(&damaged, "h", "g 1"), None, "{at}");
            assert_eq!(Member::decode(&text[..at], "h", "g 1"), None, "{at}");
        }
    }
}
