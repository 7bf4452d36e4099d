//! What a server of DNS says of a service: hosts that can be hosts, whatever the bytes are, and
//! nothing from an answer that is cut or is to another question. The input is also taken for
//! `/etc/resolv.conf`.

use std::time::Duration;

use logweir::net::dns::Name;
use logweir::net::dns::message::{Reply, question, reply};
use logweir::net::dns::servers::Servers;

/// The name of the seeds.
pub const SERVICE: &str = "_relp._tcp.logs.test";

pub fn check(data: &[u8]) {
    let name = Name::new(SERVICE).expect("a name");
    let servers = Servers::parse(&String::from_utf8_lossy(data));
    assert!((1..=3).contains(&servers.addresses.len()));
    assert!((1..=5).contains(&servers.attempts));
    assert!((1..=30).contains(&servers.timeout.as_secs()));
    // Behind a head that fits, so that every input is a reply.
    let mut message = question(7, &name);
    message[2..8].copy_from_slice(&[0x81, 0x80, 0, 1, 0, data.first().copied().unwrap_or(0)]);
    message.extend_from_slice(data.get(1..).unwrap_or_default());
    for message in [&message[..], data] {
        let found = reply(message, 7, &name);
        assert!(reply(message, 8, &name).is_none() || found.is_none(), "of two questions");
        if let Some(Reply::Found(answer)) = found {
            assert!(answer.targets.len() * 11 <= message.len());
            assert!(answer.ttl < Duration::from_secs(1 << 31) || answer.targets.is_empty());
            for target in &answer.targets {
                assert!(target.port > 0 && Name::new(&target.host).is_some(), "{target:?}");
            }
        }
    }
}
