//! Questions for SRV records, and the answers (RFC 1035, RFC 2782). No system calls.

use std::time::Duration;

use super::{Answer, Name, Target};

/// Bytes of the head of a message.
const HEAD: usize = 12;
/// The types of records that matter.
const CNAME: u16 = 5;
const SRV: u16 = 33;
/// The class of the Internet.
const INTERNET: u16 = 1;
/// In the flags: an answer, its operation, that it is cut short, and a request for recursion.
const IS_ANSWER: u16 = 0x8000;
const OPERATION: u16 = 0x7800;
const IS_CUT: u16 = 0x0200;
const RECURSE: u16 = 0x0100;
/// Maximum number of aliases in a row.
const ALIASES_MAX: usize = 8;

/// A reply to our question.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// The answer.
    Found(Answer),
    /// It did not fit into a datagram: ask by TCP.
    Cut,
    /// There is no such service, whichever server is asked.
    Missing(&'static str),
    /// This server cannot say.
    Failed(String),
}

/// A question for the SRV records of a name.
pub fn question(id: u16, name: &Name) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEAD + name.wire().len() + 4);
    for field in [id, RECURSE, 1, 0, 0, 0] {
        message.extend_from_slice(&field.to_be_bytes());
    }
    message.extend_from_slice(name.wire());
    message.extend_from_slice(&SRV.to_be_bytes());
    message.extend_from_slice(&INTERNET.to_be_bytes());
    message
}

/// The reply in a message; `None` if it does not answer this question.
pub fn reply(message: &[u8], id: u16, name: &Name) -> Option<Reply> {
    let flags = number(message, 2)?;
    let is_ours = number(message, 0)? == id && flags & (IS_ANSWER | OPERATION) == IS_ANSWER;
    let (asked, end) = Name::read(message, HEAD).filter(|_| is_ours)?;
    let kind = (number(message, 4)?, number(message, end)?, number(message, end + 2)?);
    if kind != (1, SRV, INTERNET) || asked != *name {
        return None;
    }
    let reply = match flags & 0xf {
        0 if flags & IS_CUT != 0 => Reply::Cut,
        0 => match records(message, end + 4) {
            Some(records) => found(&records, name),
            None => Reply::Failed("its answer is damaged".into()),
        },
        3 => Reply::Missing("there is no such name"),
        2 => Reply::Failed("it failed (SERVFAIL)".into()),
        5 => Reply::Failed("it refused to answer (REFUSED)".into()),
        code => Reply::Failed(format!("it answered with error {code}")),
    };
    Some(reply)
}

fn number(message: &[u8], at: usize) -> Option<u16> {
    let bytes = message.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

#[derive(Debug)]
struct Record {
    owner: Name,
    ttl: u32,
    data: Data,
}

#[derive(Debug)]
enum Data {
    Alias(Name),
    /// Priority, weight, port, target.
    Service(u16, u16, u16, Name),
}

/// The records of the answer that matter; `None` if one cannot be read.
fn records(message: &[u8], start: usize) -> Option<Vec<Record>> {
    let mut records = Vec::new();
    let mut at = start;
    for _ in 0..number(message, 6)? {
        let (owner, head) = Name::read(message, at)?;
        let (kind, class) = (number(message, head)?, number(message, head + 2)?);
        let ttl = u32::from(number(message, head + 4)?) << 16;
        let ttl = ttl | u32::from(number(message, head + 6)?);
        // One that would be negative is none (RFC 2181, section 8).
        let ttl = if ttl >> 31 == 1 { 0 } else { ttl };
        let data = head + 10;
        let next = data + usize::from(number(message, head + 8)?);
        let inside = message.get(..next)?;
        let data = match (kind, class) {
            (CNAME, INTERNET) => Some(Data::Alias(whole_name(inside, data)?)),
            (SRV, INTERNET) => Some(Data::Service(
                number(inside, data)?,
                number(inside, data + 2)?,
                number(inside, data + 4)?,
                whole_name(inside, data + 6)?,
            )),
            _ => None,
        };
        records.extend(data.map(|data| Record { owner, ttl, data }));
        at = next;
    }
    Some(records)
}

/// A name that must end where the bytes end.
fn whole_name(inside: &[u8], at: usize) -> Option<Name> {
    Name::read(inside, at).filter(|(_, end)| *end == inside.len()).map(|(name, _)| name)
}

/// What the records say of a name, or of the name that it is an alias of.
fn found(records: &[Record], name: &Name) -> Reply {
    let mut owner = name;
    let mut ttl = u32::MAX;
    for _ in 0..ALIASES_MAX {
        let alias = records.iter().find_map(|record| match &record.data {
            Data::Alias(to) if record.owner == *owner => Some((to, record.ttl)),
            _ => None,
        });
        let Some((to, holds)) = alias else { break };
        (owner, ttl) = (to, ttl.min(holds));
    }
    let mut any = false;
    let mut targets: Vec<Target> = Vec::new();
    for record in records.iter().filter(|record| record.owner == *owner) {
        let Data::Service(priority, weight, port, host) = &record.data else { continue };
        any |= host.is_root() || host.host().is_some();
        ttl = ttl.min(record.ttl);
        let host = host.host().filter(|_| *port != 0);
        targets.extend(host.map(|host| target(*priority, *weight, host, *port)));
    }
    targets.sort_by(|a, b| (a.priority, &a.host, a.port).cmp(&(b.priority, &b.host, b.port)));
    let mut seen = std::collections::HashSet::new();
    targets.retain(|target| seen.insert((target.host.clone(), target.port)));
    match any {
        true => Reply::Found(Answer { targets, ttl: Duration::from_secs(ttl.into()) }),
        false => Reply::Missing("the name has no SRV record"),
    }
}

fn target(priority: u16, weight: u16, host: String, port: u16) -> Target {
    Target { priority, weight, host: host.to_ascii_lowercase(), port }
}
