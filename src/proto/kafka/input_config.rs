//! `kafka = {…}` on an input.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::config::{self, BROKERS, SASL};
use super::consumer::{Begin, Setup};
use super::input::Records;
use super::offset_files::OffsetFiles;
use super::sockets::Access;
use crate::host;
use crate::ingress::{OpenError, Source};
use crate::limits::{PARTITIONS_MAX, TOPIC_NAME_MAX, TOPICS_MAX};
use crate::proto::shared::record::As;
use crate::proto::shared::{follow, lines, tls};
use crate::proto::traits::{Claim, Input, Nature, Need, Opening};
use crate::settings::key::words;
use crate::settings::{Choice, Entry, Form, Key, Report, Section, Value};

/// An input from topics of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaInPlan {
    /// Brokers by which the cluster is entered.
    pub brokers: Vec<(String, u16)>,
    /// The topics.
    pub topics: Vec<String>,
    /// These partitions of each; all of them, where there is none.
    pub partitions: Option<Vec<i32>>,
    /// The group that shares partitions out.
    pub group: Option<String>,
    /// How brokers are reached.
    pub access: Access,
    /// Where reading begins where nothing is stored.
    pub begin: Begin,
    /// Where another program kept offsets that are taken over.
    pub offset_files: Option<OffsetFiles>,
    /// The file of positions.
    pub positions: Option<PathBuf>,
    /// What a record becomes.
    pub form: As,
}

const TOPICS: Key = Key::required(
    "topic",
    Value::Texts("Topic", r"^[A-Za-z0-9._-]+$"),
    "The topic that is read, or several.",
);
const PARTITIONS: Key = Key::or_else(
    "partitions",
    Value::Integers(0..=PARTITIONS_MAX as u64 - 1),
    "all of them",
    "Only these partitions of each topic are read.",
);
const GROUP: Key = Key::new(
    "group",
    Value::Text("Group", r"\S"),
    "The group of inputs that share the partitions; without one this input reads all of its own.",
);
const START: Key = Key::or(
    "start",
    Value::Text("stored, beginning, end, or a time", r"\S"),
    "\"stored\"",
    "Where reading begins in a partition of which nothing is stored.",
);
const OFFSET_FILES: Key = Key::new(
    "offset_files",
    Value::Text("Path with {topic} and {partition}", r"\{partition\}"),
    "Files of offsets that a program with librdkafka kept, one for each partition: where reading \
     begins in a partition of which nothing is stored.",
);
const IN_KEYS: &[Key] =
    &[BROKERS, TOPICS, GROUP, PARTITIONS, START, OFFSET_FILES, tls::CLIENT_TLS, SASL];

const FORMS: [(&str, As); 3] = [("line", As::Line), ("message", As::Message), ("json", As::Json)];
const FORM_WORDS: [&str; 3] = words(&FORMS);
const AS: Key = Key::or(
    "as",
    Value::Words(&FORM_WORDS),
    "\"line\"",
    "What a record becomes: its text alone, a message of RFC 5424 with its key and headers as \
     structured data, or a JSON object.",
);

impl Input for KafkaInPlan {
    const CHOICE: Choice = Choice {
        key: Some(Key::new(
            "kafka",
            Value::Table(IN_KEYS),
            "Records of topics are read, from the last one that was stored.",
        )),
        name: "Kafka input",
        forms: &[Form {
            name: "Kafka input",
            scheme: None,
            keys: &[lines::MESSAGES, &[AS], follow::PLACES],
        }],
    };

    fn read(section: &Section<'_>, entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Self> {
        let positions = follow::positions(section, report);
        let form = section.word(&AS, &FORMS, report);
        let expected = ", as in kafka = { brokers = [\"k1:9092\"], topic = \"web\" }";
        let table = entry.section(IN_KEYS, expected, report)?;
        let brokers = config::brokers(&table, report);
        let topics = topics(&table, report);
        let access = config::access(&table, report);
        let begin = match table.entry(&START) {
            Some(entry) => begin(entry, report),
            None => Some(Begin::Beginning),
        };
        let partitions = match table.entry(&PARTITIONS) {
            Some(entry) => Some(partitions(entry, report)?),
            None => None,
        };
        let offset_files = match table.entry(&OFFSET_FILES) {
            Some(entry) => Some(offset_files(entry, report)?),
            None => None,
        };
        let group = table.system_text(&GROUP, report).map(str::to_string);
        if group.is_some()
            && let Some(entry) = table.entry(&PARTITIONS)
        {
            entry
                .misplaced(report, "a `group` shares partitions out by itself: remove one of both");
        }
        Some(Self {
            brokers: brokers?,
            topics: topics?,
            partitions,
            group,
            access: access?,
            begin: begin?,
            offset_files,
            positions,
            form: form.unwrap_or(As::Line),
        })
    }

    fn claims(&self) -> Vec<Claim> {
        Vec::new()
    }

    fn nature(&self) -> Nature {
        Nature { numbered: true, ..Nature::new("Kafka") }
    }

    fn describe(&self) -> String {
        let group = self.group.as_ref().map(|group| format!(" in group {group}"));
        let partitions = self.partitions.as_deref().map(runs);
        let (topics, group) = (self.topics.join(" "), group.unwrap_or_default());
        let (brokers, partitions) = (config::listed(&self.brokers), partitions.unwrap_or_default());
        format!("kafka {topics} on {brokers}{partitions}{group}")
    }

    fn needs(&self) -> Vec<Need> {
        config::needs(&self.brokers, &self.access)
    }

    fn open(&self, opening: &mut Opening<'_>) -> Result<Vec<Box<dyn Source>>, OpenError> {
        let setup = Setup {
            name: format!("input.{}", opening.name),
            topics: self.topics.iter().map(|topic| Arc::from(topic.as_str())).collect(),
            partitions: self.partitions.clone(),
            begin: self.begin,
            group: self.group.clone(),
            note: host::name().to_string(),
            max_line: opening.max_line,
            form: self.form,
        };
        let positions = follow::positions_of(self.positions.as_deref(), opening);
        let (brokers, access) = (self.brokers.clone(), self.access.clone());
        let offset_files = self.offset_files.clone();
        Ok(vec![Box::new(Records { setup, brokers, access, positions, offset_files })])
    }
}

fn topics(table: &Section<'_>, report: &mut Report<'_>) -> Option<Vec<String>> {
    let Some(entry) = table.entry(&TOPICS) else {
        config::missing(table, &TOPICS, "topic = \"web\"", report);
        return None;
    };
    let names = entry.names(report)?;
    let mut topics: Vec<String> = names.iter().map(|name| name.get_ref().to_string()).collect();
    let given = topics.len();
    topics.sort_unstable();
    topics.dedup();
    if topics.is_empty() || given > TOPICS_MAX {
        entry.wrong(report, format!("must name from 1 to {TOPICS_MAX} topics"));
        return None;
    }
    let is_good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let bad = topics.iter().find(|topic| {
        !topic.chars().all(is_good)
            || topic.is_empty()
            || topic.len() > TOPIC_NAME_MAX
            || *topic == "."
            || *topic == ".."
    });
    if let Some(bad) = bad {
        let message = format!("`{bad}` is not the name of a topic");
        entry.wrong_help(report, message, "letters, digits, `.`, `_` and `-`, at most 249 of them");
        return None;
    }
    Some(topics)
}

fn partitions(entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Vec<i32>> {
    let numbers = entry.integers(report, &(0..=PARTITIONS_MAX as u64 - 1))?;
    let mut partitions: Vec<i32> =
        numbers.into_iter().filter_map(|n| i32::try_from(n).ok()).collect();
    partitions.sort_unstable();
    partitions.dedup();
    Some(partitions)
}

fn offset_files(entry: &Entry<'_>, report: &mut Report<'_>) -> Option<OffsetFiles> {
    let text = entry.text(report)?;
    entry.accept(report, text.parse())
}

fn begin(entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Begin> {
    let text = entry.text(report)?;
    match text {
        "stored" | "beginning" => Some(Begin::Beginning),
        "end" => Some(Begin::End),
        _ => {
            let time = time(text).ok_or_else(|| {
                "must be \"stored\", \"beginning\", \"end\", or a time as in \
                 \"2026-11-23T08:00:00Z\""
                    .to_string()
            });
            entry.accept(report, time).map(Begin::Time)
        }
    }
}

/// Partitions in ascending order, as in " partitions 0-3 7".
fn runs(partitions: &[i32]) -> String {
    let mut runs: Vec<(i32, i32)> = Vec::new();
    for &partition in partitions {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == partition => *last = partition,
            _ => runs.push((partition, partition)),
        }
    }
    let shown = runs.iter().map(|(first, last)| match first == last {
        true => format!(" {first}"),
        false => format!(" {first}-{last}"),
    });
    std::iter::once(" partitions".to_string()).chain(shown).collect()
}

/// A point in time in milliseconds since 1970: RFC 3339, or a time of day in UTC.
fn time(text: &str) -> Option<i64> {
    let civil = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok();
    let stamp = text.parse::<Timestamp>().ok().or_else(|| civil().map(|time| time.timestamp()))?;
    Some(stamp.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of an input `k` with these keys in its table.
    fn said(keys: &str) -> String {
        let text = format!(
            "[input.k]\nkafka = {{ brokers = [\"k:9092\"], {keys} }}\n\
             [output.o]\nfrom = \"k\"\nfile = \"/o\"\n"
        );
        let diagnostics = match crate::config::parse(&text, "t") {
            Ok(config) => config.warnings,
            Err(refusal) => refusal.diagnostics,
        };
        diagnostics.iter().map(|one| one.to_string() + "\n").collect()
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (keys, wanted) in [
            ("topic = \"t\"", ""),
            ("topic = [\"t\", \"u\"], group = \"g\", start = \"2026-11-23 08:00\"", ""),
            ("topic = \"t\", partitions = [0, 7], start = \"end\"", ""),
            ("group = \"g\"", "needs `topic`"),
            ("topic = []", "must name from 1 to 256 topics"),
            ("topic = \"a b\"", "`a b` is not the name of a topic"),
            ("topic = \"..\"", "`..` is not the name of a topic"),
            ("topic = \"t\", start = \"yesterday\"", "must be \"stored\", \"beginning\", \"end\""),
            ("topic = \"t\", partitions = []", "a list of integers, as in [0, 1]"),
            ("topic = \"t\", partitions = [-1]", "a list of integers from 0 to 19999"),
            ("topic = \"t\", offset_files = \"/o/{topic}-{partition}.offset\"", ""),
            ("topic = \"t\", offset_files = \"/o\"", "must have a `{partition}`"),
            ("topic = \"t\", partitions = [0], group = \"g\"", "a `group` shares partitions out"),
        ] {
            let found = said(keys);
            let is_it = if wanted.is_empty() { found.is_empty() } else { found.contains(wanted) };
            assert!(is_it, "{keys}: {found}");
        }
    }

    #[test]
    fn partitions_are_shown_in_runs() {
        assert_eq!(runs(&[0, 1, 2, 5, 7, 8]), " partitions 0-2 5 7-8");
        assert_eq!(runs(&[3]), " partitions 3");
    }

    #[test]
    fn times_are_points_in_utc() {
        assert_eq!(time("1970-01-01T00:00:02.5Z"), Some(2500));
        assert_eq!(time("1970-01-01 00:01"), Some(60_000));
        assert_eq!(time("2h"), None);
    }
}
