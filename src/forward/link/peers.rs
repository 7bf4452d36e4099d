//! The peers of a link, in order: those of the configuration, and the hosts of each service among
//! them in its place.

use std::ops::{Index, IndexMut, RangeBounds};
use std::time::Duration;

use crate::clock::Mono;
use crate::forward::service::{Known, Service};
use crate::limits::{RECONNECT, TRIAL};
use crate::net::dns::{self, Answer};
use crate::url::Url;

/// The peers.
#[derive(Debug)]
pub(super) struct Peers {
    /// As configured.
    entries: Vec<Entry>,
    peers: Vec<Peer>,
}

#[derive(Debug)]
enum Entry {
    Host(Url),
    Service(Box<Service>),
}

/// A peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) url: Url,
    pub(super) retry_at: Mono,
    pub(super) wait: Duration,
    /// True if its last connection was short-lived.
    pub(super) hung_up: bool,
    /// True if its service does not name it any more.
    pub(super) gone: bool,
    /// The entry that it is from.
    entry: usize,
}

/// Where peers are now.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) current: Option<usize>,
    /// Beyond the last one if the peer that is being probed is gone.
    pub(super) probed: Option<usize>,
}

/// The earlier of two times.
pub(super) fn earliest(one: Option<Mono>, other: Option<Mono>) -> Option<Mono> {
    one.into_iter().chain(other).min()
}

impl Peer {
    fn new(url: Url, entry: usize, now: Mono) -> Self {
        Self { url, retry_at: now, wait: RECONNECT.0, hung_up: false, gone: false, entry }
    }

    /// How long a new connection must have lasted before its TCP acknowledgements count.
    pub(super) fn trial(&self) -> Duration {
        if self.hung_up { TRIAL.1 } else { TRIAL.0 }
    }
}

impl Peers {
    pub(super) fn new(urls: Vec<Url>, now: Mono) -> Self {
        let entry = |url: Url| match url.is_service() {
            true => Entry::Service(Box::new(Service::new(url, now))),
            false => Entry::Host(url),
        };
        let mut peers = Self { entries: urls.into_iter().map(entry).collect(), peers: Vec::new() };
        peers.rebuild(now);
        peers
    }

    pub(super) fn len(&self) -> usize {
        self.peers.len()
    }

    /// The first of some peers that may be tried.
    pub(super) fn ready(&self, among: impl RangeBounds<usize>, now: Mono) -> Option<usize> {
        let ready = |(at, peer): (usize, &Peer)| {
            (among.contains(&at) && peer.retry_at <= now && !peer.gone).then_some(at)
        };
        self.peers.iter().enumerate().find_map(ready)
    }

    /// When the first of some peers may be tried.
    pub(super) fn retry_at(&self, among: impl RangeBounds<usize>) -> Option<Mono> {
        let some = self.peers.iter().enumerate().filter(|(at, _)| among.contains(at));
        some.map(|(_, peer)| peer.retry_at).min()
    }

    /// Records that a peer failed: it is tried again after a wait. If all hosts of its service have
    /// failed, the service is looked up again.
    pub(super) fn failed(&mut self, peer: usize, now: Mono) {
        let jitter = 0.75 + fastrand::f64() / 2.0;
        let peer = &mut self.peers[peer];
        peer.retry_at = now + peer.wait.mul_f64(jitter);
        peer.wait = (peer.wait * 2).min(RECONNECT.1);
        let entry = peer.entry;
        let waits = |peer: &Peer| peer.entry != entry || peer.gone || peer.retry_at > now;
        if self.peers.iter().all(waits)
            && let Some(Entry::Service(service)) = self.entries.get_mut(entry)
        {
            service.hasten(now);
        }
    }

    /// Has every peer tried, and every service looked up, as soon as may be.
    pub(super) fn hasten(&mut self, now: Mono) {
        for peer in &mut self.peers {
            peer.retry_at = peer.retry_at.min(now);
            peer.wait = RECONNECT.0;
        }
        for service in self.services_mut() {
            service.hasten(now);
        }
    }

    fn services(&self) -> impl Iterator<Item = &Service> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Service(service) => Some(&**service),
            Entry::Host(_) => None,
        })
    }

    fn services_mut(&mut self) -> impl Iterator<Item = &mut Service> {
        self.entries.iter_mut().filter_map(|entry| match entry {
            Entry::Service(service) => Some(&mut **service),
            Entry::Host(_) => None,
        })
    }

    /// When a service is to be looked up.
    pub(super) fn ask_at(&self) -> Option<Mono> {
        self.services().filter_map(Service::deadline).min()
    }

    /// The services to look up now.
    pub(super) fn ask(&mut self, now: Mono) -> impl Iterator<Item = String> {
        let due = move |service: &mut Service| service.tick(now).then(|| service.name().into());
        self.services_mut().filter_map(due)
    }

    /// Records what was found of a service; where peers are now, if they moved.
    pub(super) fn found(
        &mut self,
        name: &str,
        found: Result<Answer, String>,
        current: Option<usize>,
        probed: Option<usize>,
        now: Mono,
    ) -> Option<Moved> {
        let service = self.services_mut().find(|service| service.name() == name)?;
        if !service.found(found, now) {
            return None;
        }
        let place = |peers: &Self, at: Option<usize>| {
            at.and_then(|at| peers.peers.get(at)).map(|peer| (peer.entry, peer.url.clone()))
        };
        let (was, looked_at) = (place(self, current), place(self, probed));
        self.rebuild_keeping(was.as_ref(), now);
        let now_at = |place: &(usize, Url)| {
            self.peers.iter().position(|peer| (peer.entry, &peer.url) == (place.0, &place.1))
        };
        let probed = probed.map(|_| looked_at.as_ref().and_then(now_at).unwrap_or(usize::MAX));
        Some(Moved { current: was.as_ref().and_then(now_at), probed })
    }

    fn rebuild(&mut self, now: Mono) {
        self.rebuild_keeping(None, now);
    }

    /// Makes the list of peers anew. Those that stay are as they were. The `current` one is the
    /// last, and gone, if it is named no more.
    fn rebuild_keeping(&mut self, current: Option<&(usize, Url)>, now: Mono) {
        let mut old = std::mem::take(&mut self.peers);
        let mut take = |entry: usize, url: Url| {
            let same = old.iter().position(|peer| peer.entry == entry && peer.url == url);
            let peer = same.map(|at| old.swap_remove(at));
            Peer { gone: false, ..peer.unwrap_or_else(|| Peer::new(url, entry, now)) }
        };
        let mut peers = Vec::new();
        for (at, entry) in self.entries.iter().enumerate() {
            match entry {
                Entry::Host(url) => peers.push(take(at, url.clone())),
                Entry::Service(service) => peers.extend(service.urls().map(|url| take(at, url))),
            }
        }
        let is_current = |peer: &Peer| current == Some(&(peer.entry, peer.url.clone()));
        peers.extend(old.into_iter().find(is_current).map(|peer| Peer { gone: true, ..peer }));
        self.peers = peers;
    }

    /// Forgets the peer that is gone, which no connection needs any more. It is the last one, so no
    /// other moves.
    pub(super) fn forget_gone(&mut self) {
        self.peers.retain(|peer| !peer.gone);
    }

    /// The name that the certificate of a peer must have: for a host of a service the domain that
    /// was configured, because DNS may name any host.
    pub(super) fn certified(&self, peer: usize) -> String {
        let peer = &self.peers[peer];
        match &self.entries[peer.entry] {
            Entry::Service(service) => dns::domain(service.name()).to_string(),
            Entry::Host(url) => url.host.clone(),
        }
    }

    /// Why there is no peer at all, if so.
    pub(super) fn trouble(&self) -> Option<String> {
        let none = self.peers.is_empty();
        none.then(|| self.services().find_map(Service::trouble)).flatten()
    }

    /// What is known of the services.
    pub(super) fn known(&self, now: Mono) -> Vec<Known> {
        self.services().map(|service| service.known(now)).collect()
    }
}

impl Index<usize> for Peers {
    type Output = Peer;

    fn index(&self, at: usize) -> &Peer {
        &self.peers[at]
    }
}

impl IndexMut<usize> for Peers {
    fn index_mut(&mut self, at: usize) -> &mut Peer {
        &mut self.peers[at]
    }
}
