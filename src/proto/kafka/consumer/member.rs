//! What a member of a group is, kept over restarts: its identity, its epoch, what it owns.
//!
//! A member that was killed and beats on as it was keeps everything, without a rebalance, as long
//! as the group's session time-out is not over. Its file says whose it is, so that a copy of it
//! does not make a second one of the same identity.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::group::assignor::Assignor;
use crate::ids::Identity;
use crate::proto::kafka::wire::Uuid;

/// A partition as the group names it.
pub(in crate::proto::kafka) type Owned = (Uuid, i32);

/// A member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::proto::kafka) struct Member {
    pub(in crate::proto::kafka) id: String,
    /// Its epoch, or the generation of its group; 0 until it has joined.
    pub(in crate::proto::kafka) epoch: i32,
    pub(in crate::proto::kafka) owned: BTreeSet<Owned>,
    /// What else there is to know where members share partitions out among themselves.
    pub(in crate::proto::kafka) classic: Option<Kept>,
}

/// What is kept of a classic group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::proto::kafka) struct Kept {
    /// How this generation shares partitions out.
    pub(in crate::proto::kafka) assignor: Option<Assignor>,
    /// What is given back is nobody's before the member joins again.
    pub(in crate::proto::kafka) again: bool,
    /// How many partitions topics had when the member shared out as the leader.
    pub(in crate::proto::kafka) counts: BTreeMap<String, i32>,
}

/// Whose a file of a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::proto::kafka) struct Owner {
    pub(in crate::proto::kafka) host: String,
    pub(in crate::proto::kafka) path: String,
    pub(in crate::proto::kafka) group: String,
}

const TITLE: &str = "logweir member 2";
/// The way of a classic group that has not said one.
const CLASSIC: &str = "classic";
/// A line of one that is to join again.
const AGAIN: &str = "again";
/// Begins a line with the number of partitions of a topic.
const COUNT: &str = "topic ";

impl Member {
    /// One that never was.
    pub(in crate::proto::kafka) fn new() -> Self {
        let id = Identity::new().to_string();
        Self { id, epoch: 0, owned: BTreeSet::new(), classic: None }
    }

    /// As a text, with a checksum.
    pub(in crate::proto::kafka) fn encode(&self, owner: &Owner) -> String {
        let mut text = head(owner);
        let way = self.classic.as_ref().map(|kept| kept.assignor.map_or(CLASSIC, Assignor::name));
        let way = way.map(|way| format!(" {way}")).unwrap_or_default();
        text += &format!("{}{way} {}\n", self.epoch, self.id);
        if self.classic.as_ref().is_some_and(|kept| kept.again) {
            let _ = writeln!(text, "{AGAIN}");
        }
        for (topic, count) in self.classic.iter().flat_map(|kept| &kept.counts) {
            let _ = writeln!(text, "{COUNT}{count} {topic}");
        }
        for (topic, index) in &self.owned {
            let _ = writeln!(text, "{:032x} {index}", topic.0);
        }
        let _ = writeln!(text, "{:08x}", crc32c::crc32c(text.as_bytes()));
        text
    }

    /// Reads it back.
    ///
    /// # Errors
    /// Why it is not taken up.
    pub(in crate::proto::kafka) fn decode(text: &str, owner: &Owner) -> Result<Self, String> {
        let body = checked(text).ok_or("is damaged")?;
        if let Some(member) = body.strip_prefix(&head(owner)) {
            return member_of(member).ok_or_else(|| "is damaged".into());
        }
        if body.lines().next() != Some(TITLE) {
            return Err("is of another version of logweir".into());
        }
        let mut lines = body.lines().skip(1);
        let mut line = || lines.next().unwrap_or_default();
        Err(format!("is of host {}, file {}, group {}", line(), line(), line()))
    }
}

fn head(Owner { host, path, group }: &Owner) -> String {
    format!("{TITLE}\n{host}\n{path}\n{group}\n")
}

/// What stands before the checksum, if that is right.
fn checked(text: &str) -> Option<&str> {
    let (body, sum) = text.strip_suffix('\n')?.rsplit_once('\n')?;
    let body = &text[..=body.len()];
    (u32::from_str_radix(sum, 16).ok()? == crc32c::crc32c(body.as_bytes())).then_some(body)
}

fn member_of(text: &str) -> Option<Member> {
    let mut lines = text.lines();
    let (epoch, rest) = lines.next()?.split_once(' ')?;
    // What a broker gives out is one word, or the member is not known again.
    let (way, id) = rest.split_once(' ').map_or((None, rest), |(way, id)| (Some(way), id));
    let mut classic = match way {
        Some(CLASSIC) => Some(Kept::default()),
        Some(way) => Some(Kept { assignor: Some(Assignor::of(way)?), ..Kept::default() }),
        None => None,
    };
    let mut owned = BTreeSet::new();
    for line in lines {
        if line == AGAIN {
            classic.as_mut()?.again = true;
            continue;
        }
        match line.strip_prefix(COUNT) {
            Some(line) => {
                let (count, topic) = line.split_once(' ')?;
                classic.as_mut()?.counts.insert(topic.to_string(), count.parse().ok()?);
            }
            None => {
                let (topic, index) = line.split_once(' ')?;
                let topic = Uuid(u128::from_str_radix(topic, 16).ok()?);
                owned.insert((topic, index.parse().ok()?));
            }
        }
    }
    Some(Member { id: id.to_string(), epoch: epoch.parse().ok()?, owned, classic })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(host: &str, path: &str, group: &str) -> Owner {
        Owner { host: host.into(), path: path.into(), group: group.into() }
    }

    #[test]
    fn a_member_is_read_back_and_any_damage_or_another_owner_makes_it_new() {
        let owned = BTreeSet::from([(Uuid(7), 0), (Uuid(7), 11)]);
        let counts = BTreeMap::from([("t".to_string(), 12), ("u.v".to_string(), 1)]);
        let range = Kept { assignor: Some(Assignor::Range), again: false, counts };
        let cooperative =
            Kept { assignor: Some(Assignor::Cooperative), again: true, ..Kept::default() };
        let mine = owner("h", "/p/k.member", "g 1");
        for classic in [None, Some(Kept::default()), Some(range), Some(cooperative)] {
            let member = Member { epoch: 5, owned: owned.clone(), classic, ..Member::new() };
            let text = member.encode(&mine);
            assert_eq!(Member::decode(&text, &mine), Ok(member));
            let copied = Member::decode(&text, &owner("other", "/p/k.member", "g 1"));
            assert_eq!(copied, Err("is of host h, file /p/k.member, group g 1".into()));
            assert!(Member::decode(&text, &owner("h", "/q/k.member", "g 1")).is_err());
            assert!(Member::decode(&text, &owner("h", "/p/k.member", "g")).is_err());
            for at in 0..text.len() {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= 1;
                let damaged = String::from_utf8(bytes).unwrap();
                assert_eq!(Member::decode(&damaged, &mine), Err("is damaged".into()), "{at}");
                assert!(Member::decode(&text[..at], &mine).is_err(), "{at}");
            }
        }
    }

    #[test]
    fn one_that_has_no_identity_yet_is_read_back_as_such() {
        let mine = owner("h", "/p", "g");
        let member = Member { id: String::new(), classic: Some(Kept::default()), ..Member::new() };
        assert_eq!(Member::decode(&member.encode(&mine), &mine), Ok(member));
    }
}
