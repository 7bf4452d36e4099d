//! Whose offers of an origin are trusted.
//!
//! A client that offers the identity of its spool is told the last of its lines stored here, and
//! lines already here are dropped and acknowledged. A client that offers another's identity could
//! therefore have that one's lines dropped. If the configuration does not list who may offer
//! identities, each identity belongs to the client that offered it first, for as long as that
//! client is connected and for some time after. A client that is not trusted is treated as a client
//! without an identity: its lines are stored and acknowledged, and may be duplicated after a
//! reconnect.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::pki_types::{CertificateDer, ServerName};

use super::certificate::holder;
use crate::filter::network::Network;
use crate::ids::Identity;

/// How long an identity is reserved for its owner after its last lines.
pub const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// The maximum number of identities tracked; beyond it, the least recently heard from is forgotten.
const IDENTITIES_MAX: usize = 4096;
/// The maximum number of identities per owner: a spool has one for each lane of an output.
pub const OWNED_MAX: usize = 256;
/// How long an identity must be silent before its owner can replace it with another, so that nobody
/// can fill the spools' tables of origins.
pub const REPLACED_AFTER: Duration = Duration::from_secs(60 * 60);
/// The maximum number of clients remembered as already reported.
const MENTIONED_MAX: usize = 1024;

/// Who may offer an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// The client that offered it first.
    First,
    /// Any client.
    Any,
    /// No client.
    None,
    /// Clients with these addresses, or certificates for these names.
    Listed(Vec<Permitted>),
}

/// Clients that may offer identities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permitted {
    /// Clients in a network, which may be a single address.
    Network(Network),
    /// Clients with a certificate for this name.
    Name(String),
}

impl Permitted {
    /// Parses an address, a network or a name; `None` if the text is none of these.
    pub fn read(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(Self::Network(Network::host(address)));
        }
        if text.contains('/') {
            return text.parse::<Network>().ok().map(Self::Network);
        }
        ServerName::try_from(text).ok()?;
        Some(Self::Name(text.to_string()))
    }

    fn fits(&self, client: &Client) -> bool {
        match self {
            Self::Network(network) => network.has(client.address),
            Self::Name(name) => client.has_name(name),
        }
    }
}

/// The identification of a client.
#[derive(Debug, Clone)]
pub struct Client {
    address: IpAddr,
    certificate: Option<CertificateDer<'static>>,
}

/// How owners are told apart: by the certificate's holder, which survives a renewal, or by address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Owner {
    Holder(Vec<u8>),
    Address(IpAddr),
}

impl Client {
    /// Creates a client that connects from this address.
    pub fn new(address: IpAddr) -> Self {
        Self { address: address.to_canonical(), certificate: None }
    }

    /// Sets the verified certificate that the client presented.
    pub fn set_certificate(&mut self, der: &[u8]) {
        self.certificate = Some(CertificateDer::from(der.to_vec()));
    }

    fn owner(&self) -> Owner {
        let holder = self.certificate.as_ref().and_then(|certificate| holder(certificate));
        holder.map_or(Owner::Address(self.address), Owner::Holder)
    }

    fn has_name(&self, name: &str) -> bool {
        let Some(certificate) = &self.certificate else { return false };
        let parsed = rustls::server::ParsedCertificate::try_from(certificate);
        let (Ok(parsed), Ok(name)) = (parsed, ServerName::try_from(name)) else { return false };
        rustls::client::verify_server_name(&parsed, &name).is_ok()
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Holder(_) => f.write_str("a client with another certificate"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// The owners of identities. Clones share one table.
#[derive(Debug, Clone)]
pub struct Owners(Arc<Mutex<Table>>);

#[derive(Debug)]
struct Table {
    rule: Origins,
    owned: HashMap<Identity, Owned>,
    mentioned: HashSet<IpAddr>,
}

#[derive(Debug)]
struct Owned {
    owner: Owner,
    heard: Instant,
    connections: usize,
}

/// A trusted offer: the identity belongs to the client until this is dropped, and for some time
/// after.
#[derive(Debug)]
pub struct Held {
    owners: Owners,
    identity: Identity,
}

impl Owners {
    /// Creates an empty table.
    pub fn new(rule: Origins) -> Self {
        let (owned, mentioned) = (HashMap::new(), HashSet::new());
        Self(Arc::new(Mutex::new(Table { rule, owned, mentioned })))
    }

    /// Registers a client's offer of an identity, if it is trusted.
    ///
    /// # Errors
    /// Why it is not trusted, to be logged once per client: `None` if it was logged before.
    pub fn offer(
        &self,
        identity: Identity,
        client: &Client,
        now: Instant,
    ) -> Result<Held, Option<String>> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match table.check(identity, client, now) {
            Ok(()) => Ok(Held { owners: self.clone(), identity }),
            Err(why) => Err(table.mention(client.address).then(|| {
                format!(
                    "its offer of the identity {identity} is not trusted: {why}; its lines are \
                     accepted, but may be duplicated after a reconnect (see `origins`)"
                )
            })),
        }
    }
}

impl Held {
    /// Records that lines with this identity arrived.
    pub fn note(&self, now: Instant) {
        let mut table = self.owners.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(owned) = table.owned.get_mut(&self.identity) {
            owned.heard = now;
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut table = self.owners.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(owned) = table.owned.get_mut(&self.identity) {
            owned.connections = owned.connections.saturating_sub(1);
        }
    }
}

impl Table {
    fn check(&mut self, identity: Identity, client: &Client, now: Instant) -> Result<(), String> {
        match &self.rule {
            Origins::Any => return Ok(()),
            Origins::None => return Err("`origins` is \"none\"".into()),
            Origins::Listed(permitted) => {
                let is_listed = permitted.iter().any(|one| one.fits(client));
                return if is_listed { Ok(()) } else { Err("it is not listed".into()) };
            }
            Origins::First => {}
        }
        let owner = client.owner();
        if let Some(owned) = self.owned.get_mut(&identity) {
            let is_kept = owned.connections > 0 || now.duration_since(owned.heard) < KEPT;
            if owned.owner != owner && is_kept {
                return Err(format!("it belongs to {}", owned.owner));
            }
            if owned.owner == owner {
                (owned.heard, owned.connections) = (now, owned.connections + 1);
                return Ok(());
            }
        }
        let has = self.owned.values().filter(|owned| owned.owner == owner).count();
        let is_replaceable = |owned: &Owned| {
            owned.owner == owner && now.duration_since(owned.heard) >= REPLACED_AFTER
        };
        if has >= OWNED_MAX && !self.forget(is_replaceable) {
            return Err(format!("it has {OWNED_MAX} already"));
        }
        if self.owned.len() >= IDENTITIES_MAX && !self.forget(|_| true) {
            return Err(format!("there are {IDENTITIES_MAX} already"));
        }
        self.owned.insert(identity, Owned { owner, heard: now, connections: 1 });
        Ok(())
    }

    /// Forgets the identity least recently heard from among those that `may` be forgotten; returns
    /// whether there was one.
    fn forget(&mut self, may: impl Fn(&Owned) -> bool) -> bool {
        let idle = self.owned.iter().filter(|(_, owned)| owned.connections == 0 && may(owned));
        let oldest = idle.min_by_key(|(_, owned)| owned.heard).map(|(identity, _)| *identity);
        oldest.is_some_and(|identity| self.owned.remove(&identity).is_some())
    }

    fn mention(&mut self, address: IpAddr) -> bool {
        self.mentioned.len() < MENTIONED_MAX && self.mentioned.insert(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(address: &str) -> Client {
        Client::new(address.parse().unwrap())
    }

    #[test]
    fn an_identity_is_its_first_owners_while_it_is_connected_and_for_a_day() {
        let owners = Owners::new(Origins::First);
        let (id, start) = (Identity::of(7), Instant::now());
        let held = owners.offer(id, &client("192.0.2.1"), start).unwrap();
        let thief = client("192.0.2.2");
        let why = owners.offer(id, &thief, start + 2 * KEPT).unwrap_err().unwrap();
        assert!(why.contains("it belongs to 192.0.2.1"), "{why}");
        // Reported once.
        assert_eq!(owners.offer(id, &thief, start).unwrap_err(), None);
        // The same host through an IPv6 socket.
        let again = owners.offer(id, &client("::ffff:192.0.2.1"), start).unwrap();
        held.note(start + KEPT);
        drop((held, again));
        assert!(owners.offer(id, &thief, start + KEPT + KEPT / 2).is_err());
        drop(owners.offer(id, &thief, start + 2 * KEPT).unwrap());
        assert!(owners.offer(id, &client("192.0.2.1"), start + 2 * KEPT).is_err());
    }

    #[test]
    fn nobody_makes_others_be_forgotten_by_offering_many() {
        let owners = Owners::new(Origins::First);
        let now = Instant::now();
        drop(owners.offer(Identity::of(1), &client("192.0.2.1"), now).unwrap());
        let many = client("192.0.2.2");
        let offer =
            |number: u128, now| owners.offer(Identity::of(1000 + number), &many, now).is_ok();
        let believed = (0..10_000).filter(|number| offer(*number, now)).count();
        assert_eq!(believed, OWNED_MAX);
        assert!(owners.offer(Identity::of(1), &many, now).is_err());
        assert!(offer(20_000, now + REPLACED_AFTER));
    }

    #[test]
    fn the_configuration_may_say_who_is_believed() {
        let now = Instant::now();
        let offers = |rule: &Origins, address: &str| {
            Owners::new(rule.clone()).offer(Identity::of(1), &client(address), now).is_ok()
        };
        let listed = ["192.0.2.0/25", "2001:db8::/32", "0.0.0.0/0"].map(Permitted::read);
        let [v4, v6, all] = listed.map(|permitted| permitted.unwrap());
        let some = Origins::Listed(vec![v4, v6]);
        assert!(offers(&some, "192.0.2.127") && offers(&some, "2001:db8::1"));
        assert!(!offers(&some, "192.0.2.128") && !offers(&some, "2001:db9::1"));
        assert!(offers(&Origins::Listed(vec![all]), "203.0.113.9"));
        assert!(offers(&Origins::Any, "192.0.2.1") && !offers(&Origins::None, "192.0.2.1"));
        // A name matches certificates.
        let name = Permitted::read("web1.example.org").unwrap();
        assert!(!offers(&Origins::Listed(vec![name]), "192.0.2.1"));
        for wrong in ["192.0.2.0/33", "::/129", "a b", "192.0.2.1/", ""] {
            assert_eq!(Permitted::read(wrong), None, "{wrong}");
        }
    }
}
