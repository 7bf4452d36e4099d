//! What an output writes to and an input reads from, as audit lines describe it.

/// What a description names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Destinations or addresses: host and port.
    Ports(Vec<(String, String)>),
    /// Topics of a cluster, which any number of hosts write and read.
    Topics(Topics),
}

/// Topics, as in `KIND TOPIC… on HOST… [partitions N…] [in group GROUP]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Topics {
    pub(super) kind: String,
    /// Their names; of an output perhaps a template, as in `web-{app}`.
    pub(super) names: Vec<String>,
    /// The hosts by which the cluster is entered.
    pub(super) hosts: Vec<String>,
    /// The first and the last of each run of partitions; `None` if all are meant.
    pub(super) partitions: Option<Vec<(u32, u32)>>,
    /// The group whose members share the partitions out.
    pub(super) group: Option<String>,
}

impl Place {
    /// Reads a description; `None` if it names nothing that others could reach.
    pub(super) fn of(at: &str) -> Option<Self> {
        if let Some(topics) = Topics::of(at) {
            return Some(Self::Topics(topics));
        }
        let ports: Vec<_> = at.split_whitespace().filter_map(port).collect();
        (!ports.is_empty()).then_some(Self::Ports(ports))
    }
}

/// The host and the port in a word.
fn port(word: &str) -> Option<(String, String)> {
    let word = word.split_once("://").map_or(word, |(_, rest)| rest);
    let (host, port) = word.rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    Some((host.trim_matches(['[', ']']).to_string(), port.to_string()))
}

impl Topics {
    fn of(at: &str) -> Option<Self> {
        let (named, rest) = at.split_once(" on ")?;
        let (kind, names) = named.split_once(' ')?;
        // A group's name may have spaces, so it comes last.
        let (rest, group) = match rest.split_once(" in group ") {
            Some((rest, group)) => (rest, Some(group.to_string())),
            None => (rest, None),
        };
        let (hosts, partitions) = match rest.split_once(" partitions ") {
            Some((hosts, runs)) => (hosts, Some(runs.split(' ').filter_map(run).collect())),
            None => (rest, None),
        };
        let words = |text: &str| text.split_whitespace().map(str::to_string).collect();
        let (names, hosts) = (words(names), words(hosts));
        Some(Self { kind: kind.to_string(), names, hosts, partitions, group })
    }

    /// Returns whether what is written to these topics can be in those.
    pub(super) fn reach(&self, read: &Self) -> bool {
        let is_read = |name: &String| read.names.iter().any(|topic| makes(name, topic));
        self.kind == read.kind && self.names.iter().any(is_read)
    }

    /// Returns whether no partition is in both.
    pub(super) fn is_apart_from(&self, other: &Self) -> bool {
        let (Some(one), Some(other)) = (&self.partitions, &other.partitions) else { return false };
        one.iter().all(|(first, last)| other.iter().all(|(low, high)| last < low || high < first))
    }
}

/// A run of partitions: `3`, or `3-7`.
fn run(word: &str) -> Option<(u32, u32)> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    Some((first.parse().ok()?, last.parse().ok()?))
}

/// Returns whether a template can make the name of a topic. Each of its fields has one character or
/// more.
fn makes(template: &str, topic: &str) -> bool {
    let fixed = |part: &str| part.split_once('}').map_or(part, |(_, fixed)| fixed).to_string();
    let mut parts = template.split('{').map(fixed).peekable();
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = topic.strip_prefix(first.as_str()) else { return false };
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        let mut chars = rest.chars();
        if chars.next().is_none() {
            return false;
        }
        rest = chars.as_str();
        if parts.peek().is_none() {
            return rest.ends_with(part.as_str());
        }
        let Some(at) = rest.find(part.as_str()) else { return false };
        rest = &rest[at + part.len()..];
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_names_ports_or_topics() {
        let ports = |at: &str| match Place::of(at) {
            Some(Place::Ports(ports)) => ports,
            other => panic!("{at}: {other:?}"),
        };
        let two = ports("forward failover relp://hub:2514 relp://[::1]:2515");
        assert_eq!(two, [("hub".into(), "2514".into()), ("::1".into(), "2515".into())]);
        assert_eq!(Place::of("file /var/log/x"), None);
        let Some(Place::Topics(topics)) =
            Place::of("kafka a b on k1:9092 k2 partitions 0-3 7 in group of mine")
        else {
            panic!("no topics");
        };
        let expected = Topics {
            kind: "kafka".into(),
            names: vec!["a".into(), "b".into()],
            hosts: vec!["k1:9092".into(), "k2".into()],
            partitions: Some(vec![(0, 3), (7, 7)]),
            group: Some("of mine".into()),
        };
        assert_eq!(topics, expected);
    }

    #[test]
    fn a_template_makes_names_whose_fields_are_not_empty() {
        for (template, topic, expected) in [
            ("web", "web", true),
            ("web", "webs", false),
            ("web-{app}", "web-nginx", true),
            ("web-{app}", "web-", false),
            ("web-{app}", "mail-x", false),
            ("{host}.{app}.log", "a.b.c.log", true),
            ("{host}.{app}.log", "a.log", false),
            ("{app}", "x", true),
            ("{a}{b}", "x", false),
        ] {
            assert_eq!(makes(template, topic), expected, "{template} {topic}");
        }
    }

    #[test]
    fn partitions_are_apart_if_no_run_meets_another() {
        let of = |text: &str| Topics::of(&format!("k t on h{text}")).unwrap();
        assert!(of(" partitions 0-3").is_apart_from(&of(" partitions 4 7-9")));
        assert!(!of(" partitions 0-3 8").is_apart_from(&of(" partitions 4 7-9")));
        assert!(!of("").is_apart_from(&of(" partitions 4")));
    }
}
