//! A service among the peers: the hosts that DNS names for it, in the order in which to try them,
//! and when to ask again. It makes no system call and reads no clock.
//!
//! Hosts of the lowest priority come first. Within one, each host draws a place by its weight (RFC
//! 2782) when DNS first names it, and keeps it: an answer that repeats what was known moves nobody,
//! and a new host takes its share of the links. A failed look-up keeps the last answer.

use std::time::Duration;

use crate::clock::Mono;
use crate::limits::{RECONNECT, SERVICE_EVERY, SERVICE_HOSTS_MAX, SERVICE_TTL};
pub use crate::net::dns::Answer;
use crate::net::dns::Target;
use crate::net::dns::order::place;
use crate::url::Url;

/// A service.
#[derive(Debug)]
pub struct Service {
    /// As configured.
    url: Url,
    /// The hosts, in order.
    hosts: Vec<Host>,
    /// When to ask next; `None` while a look-up is under way.
    ask_at: Option<Mono>,
    asked_at: Mono,
    /// The wait after the next look-up that fails.
    wait: Duration,
    /// When the answer was given that is used.
    found_at: Option<Mono>,
    /// Why the last look-up failed.
    error: Option<String>,
}

#[derive(Debug)]
struct Host {
    target: Target,
    place: f64,
}

/// What is known of a service, for people.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// The name of the service.
    pub name: String,
    /// Its hosts and their ports, in the order in which they are tried.
    pub hosts: Vec<String>,
    /// The age of that answer.
    pub age: Option<Duration>,
    /// Why the last look-up failed.
    pub error: Option<String>,
}

impl Service {
    /// A service that has not been looked up.
    pub fn new(url: Url, now: Mono) -> Self {
        Self {
            url,
            hosts: Vec::new(),
            ask_at: Some(now),
            asked_at: now,
            wait: RECONNECT.0,
            found_at: None,
            error: None,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.url.host
    }

    /// When to call [`Self::tick`] again.
    pub fn deadline(&self) -> Option<Mono> {
        self.ask_at
    }

    /// Returns whether to look it up now; answered by [`Self::found`].
    pub fn tick(&mut self, now: Mono) -> bool {
        let is_due = self.ask_at.is_some_and(|at| at <= now);
        if is_due {
            self.ask_at = None;
            self.asked_at = now;
        }
        is_due
    }

    /// Asks again soon: no host of it can be used, or something may have been mended.
    pub fn hasten(&mut self, now: Mono) {
        if let Some(at) = &mut self.ask_at {
            *at = (*at).min((self.asked_at + SERVICE_EVERY).max(now));
        }
    }

    /// Records what was found. Returns whether the hosts, or their order, changed.
    pub fn found(&mut self, found: Result<Answer, String>, now: Mono) -> bool {
        match found {
            Ok(answer) => self.take(answer, now),
            Err(error) => {
                self.ask_at = Some(now + self.wait);
                self.wait = (self.wait * 2).min(RECONNECT.1);
                self.say(error);
                false
            }
        }
    }

    fn say(&mut self, error: String) {
        if self.error.as_ref() != Some(&error) {
            match self.hosts.len() {
                0 => log::warn!("{}: {error}; looking it up again", self.url),
                count => log::warn!("{}: {error}; its last {count} hosts are kept", self.url),
            }
        }
        self.error = Some(error);
    }

    fn take(&mut self, answer: Answer, now: Mono) -> bool {
        let before = self.order();
        let old = std::mem::take(&mut self.hosts);
        let place_of = |target: &Target| {
            let known = old.iter().find(|host| host.target == *target);
            known.map_or_else(|| place(target.weight), |host| host.place)
        };
        let host = |target| Host { place: place_of(&target), target };
        self.hosts = answer.targets.into_iter().map(host).collect();
        self.hosts.sort_by(|a, b| {
            let place = a.place.total_cmp(&b.place);
            a.target.priority.cmp(&b.target.priority).then(place)
        });
        self.hosts.truncate(SERVICE_HOSTS_MAX);
        self.ask_at = Some(now + answer.ttl.clamp(SERVICE_TTL.0, SERVICE_TTL.1));
        self.found_at = Some(now);
        self.wait = RECONNECT.0;
        if self.error.take().is_some() {
            log::info!("{}: it is found again", self.url);
        }
        let after = self.order();
        if self.hosts.is_empty() {
            self.say("DNS says that no host offers it".into());
        }
        let changed = before != after;
        if changed && !after.is_empty() {
            let hosts: Vec<_> = self.hosts.iter().map(Host::shown).collect();
            log::info!("{}: its hosts are {}", self.url, hosts.join(", "));
        }
        changed
    }

    fn order(&self) -> Vec<(String, u16)> {
        self.hosts.iter().map(|host| (host.target.host.clone(), host.target.port)).collect()
    }

    /// Its hosts as peers, in the order in which to try them.
    pub fn urls(&self) -> impl Iterator<Item = Url> {
        self.hosts.iter().map(|host| Url {
            protocol: self.url.protocol,
            host: host.target.host.clone(),
            port: host.target.port,
        })
    }

    /// Why there is no host to try, if so.
    pub fn trouble(&self) -> Option<String> {
        let error = self.error.as_ref().filter(|_| self.hosts.is_empty())?;
        Some(format!("{}: {error}", self.url))
    }

    /// What is known of it.
    pub fn known(&self, now: Mono) -> Known {
        Known {
            name: self.url.host.clone(),
            hosts: self.hosts.iter().map(Host::shown).collect(),
            age: self.found_at.map(|at| now.since(at)),
            error: self.error.clone(),
        }
    }
}

impl Host {
    fn shown(&self) -> String {
        format!("{}:{}", self.target.host, self.target.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::url::Protocol;

    fn target(priority: u16, weight: u16, host: &str) -> Target {
        Target { priority, weight, host: host.into(), port: 2514 }
    }

    fn answer(seconds: u64, targets: &[Target]) -> Result<Answer, String> {
        Ok(Answer { targets: targets.to_vec(), ttl: Duration::from_secs(seconds) })
    }

    fn service() -> Service {
        let url = Url::parse_peer("relp://_relp._tcp.test", &[Protocol::Relp]).unwrap();
        Service::new(url, Mono::default())
    }

    fn at(seconds: u64) -> Mono {
        Mono(Duration::from_secs(seconds))
    }

    fn hosts(service: &Service) -> Vec<String> {
        service.urls().map(|url| url.host).collect()
    }

    #[test]
    fn a_lower_priority_comes_first_and_weights_are_shares() {
        let targets =
            [target(20, 0, "last"), target(10, 60, "a"), target(10, 30, "b"), target(10, 10, "c")];
        let mut first = std::collections::BTreeMap::<_, u32>::new();
        let mut second = 0;
        for _ in 0..10_000 {
            let mut service = service();
            assert!(service.found(answer(60, &targets), at(0)));
            let hosts = hosts(&service);
            assert_eq!(hosts[3], "last");
            *first.entry(hosts[0].clone()).or_default() += 1;
            second += u32::from(hosts[..2] == ["a", "b"]);
        }
        assert!((5_700..6_300).contains(&first["a"]), "{first:?}");
        assert!((2_720..3_280).contains(&first["b"]), "{first:?}");
        assert!((820..1_180).contains(&first["c"]), "{first:?}");
        // Of those that are left after `a`, `b` has three quarters.
        assert!((4_200..4_800).contains(&second), "{second}");
    }

    #[test]
    fn without_weights_the_chances_are_equal_and_beside_weights_there_are_hardly_any() {
        let (mut equal, mut rare) = (0, 0);
        for _ in 0..10_000 {
            let mut service = service();
            service.found(answer(60, &[target(1, 0, "a"), target(1, 0, "b")]), at(0));
            equal += u32::from(hosts(&service)[0] == "a");
            service.found(answer(60, &[target(1, 10, "c"), target(1, 0, "d")]), at(0));
            rare += u32::from(hosts(&service)[0] == "d");
        }
        assert!((4_700..5_300).contains(&equal), "{equal}");
        assert!(rare < 30, "{rare}");
    }

    #[test]
    fn an_answer_that_repeats_what_was_known_moves_nobody() {
        let all: Vec<_> = (0..20).map(|n| target(1, 10, &format!("h{n}"))).collect();
        let mut service = service();
        assert!(service.found(answer(60, &all), at(0)));
        let order = hosts(&service);
        for _ in 0..20 {
            assert!(!service.found(answer(60, &all), at(60)));
            assert_eq!(hosts(&service), order);
        }
        // One goes, and the others keep their places.
        assert!(service.found(answer(60, &all[1..]), at(120)));
        let rest: Vec<_> = order.into_iter().filter(|host| host != "h0").collect();
        assert_eq!(hosts(&service), rest);
    }

    #[test]
    fn it_is_asked_again_when_its_time_is_over_within_bounds() {
        for (ttl, expected) in [(0, 5), (60, 60), (86_400, 300)] {
            let mut service = service();
            assert!(service.tick(at(100)));
            assert!(!service.tick(at(100)) && service.deadline().is_none(), "one look-up at once");
            service.found(answer(ttl, &[target(1, 1, "a")]), at(101));
            assert_eq!(service.deadline(), Some(at(101 + expected)));
            assert!(!service.tick(at(100 + expected)));
            assert!(service.tick(at(101 + expected)));
        }
    }

    #[test]
    fn a_failed_look_up_keeps_the_last_answer_and_is_repeated_more_and_more_slowly() {
        let mut service = service();
        service.tick(at(0));
        service.found(answer(60, &[target(1, 1, "a")]), at(0));
        let mut now = at(60);
        let mut waits = Vec::new();
        for _ in 0..10 {
            assert!(service.tick(now));
            assert!(!service.found(Err("there is no such name".into()), now));
            assert_eq!(hosts(&service), ["a"]);
            let next = service.deadline().unwrap();
            waits.push(next.since(now).as_millis());
            now = next;
        }
        assert_eq!(waits[..4], [250, 500, 1_000, 2_000]);
        assert_eq!(waits[9], 30_000);
        let known = service.known(now);
        assert_eq!(known.error.as_deref(), Some("there is no such name"));
        assert_eq!((known.hosts.len(), known.age), (1, Some(now.0)));
        assert!(service.trouble().is_none(), "there is a host to try");
        service.found(answer(60, &[target(1, 1, "a")]), now);
        assert_eq!(service.known(now).error, None);
    }

    #[test]
    fn nobody_offers_it_where_dns_says_so() {
        let mut service = service();
        service.found(answer(60, &[target(1, 1, "a")]), at(0));
        assert!(service.found(answer(60, &[]), at(60)));
        assert_eq!(hosts(&service), [""; 0]);
        let trouble = service.trouble().unwrap();
        assert_eq!(trouble, "relp://_relp._tcp.test: DNS says that no host offers it");
        assert_eq!(service.deadline(), Some(at(120)));
    }

    #[test]
    fn hosts_that_all_fail_have_it_asked_again_but_not_all_the_time() {
        let mut service = service();
        service.tick(at(10));
        service.found(answer(300, &[target(1, 1, "a")]), at(10));
        service.hasten(at(10));
        assert_eq!(service.deadline(), Some(at(11)));
        service.tick(at(20));
        service.found(answer(300, &[target(1, 1, "a")]), at(20));
        service.hasten(at(40));
        assert_eq!(service.deadline(), Some(at(40)));
    }

    #[test]
    fn no_more_hosts_are_used_than_the_bound() {
        let many: Vec<_> = (0..200u16).map(|n| target(n, 1, &format!("h{n}"))).collect();
        let mut service = service();
        service.found(answer(60, &many), at(0));
        assert_eq!(service.urls().count(), SERVICE_HOSTS_MAX);
        assert_eq!(hosts(&service)[63], "h63");
    }
}
