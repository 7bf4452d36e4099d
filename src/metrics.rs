//! The daemon's state for monitoring: metrics of the ledgers, with the same figures as `top`, and
//! health complaints.

pub mod public;

use std::borrow::Borrow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::engine::status::{GoneStatus, InputStatus, NodeStatus, ReaderStatus, Status};
use crate::engine::trouble::{self, Level};
use crate::ledger::REASONS;

/// The daemon's state at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Every node.
    pub status: Status,
    /// The memory budget of all queues, in bytes.
    pub memory: u64,
    /// An output that has released no lines for this long is stuck.
    pub stuck_after: Duration,
    /// When the daemon started.
    pub started: SystemTime,
    /// The loop's own counts.
    pub pulse: Pulse,
    /// Counts of reloads.
    pub reloads: Reloads,
}

/// Counts of the loop.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pulse {
    /// Number of passes.
    pub passes: u64,
    /// Total time spent working.
    pub busy: Duration,
    /// Passes that took too long.
    pub late: u64,
}

/// Counts of reloads.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reloads {
    /// Successful reloads.
    pub done: u64,
    /// Refused reloads.
    pub refused: u64,
    /// True if the last reload was refused.
    pub last_refused: bool,
}

/// The resource usage of the process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Processor time of all threads.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub resident: u64,
    /// Mapped memory in bytes.
    pub mapped: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Limit of open descriptors.
    pub descriptors_most: u64,
}

/// The exposition formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0, which Prometheus asks for.
    OpenMetrics,
    /// Prometheus' older text format, for all other clients.
    Text,
}

/// Why the daemon is unhealthy; empty if it is healthy.
pub fn complaints(snapshot: &Snapshot) -> Vec<String> {
    let limit = snapshot.stuck_after.as_secs_f64();
    let mut complaints = Vec::new();
    for node in &snapshot.status.nodes {
        let troubles = trouble::of(node, limit).into_iter();
        let bad = troubles.filter(|trouble| trouble.level == Level::Unhealthy);
        complaints.extend(bad.map(|trouble| format!("{}: {}", node.name, trouble.sentence())));
    }
    complaints
}

/// Encodes the metrics; `waited` is how long the scrape waited for the loop.
pub fn text(snapshot: &Arc<Snapshot>, usage: Usage, waited: Duration, format: Format) -> String {
    let snapshot = Arc::clone(snapshot);
    let mut registry = Registry::default();
    let retired = retired(&snapshot.status);
    registry.register_collector(Box::new(Metrics { snapshot, retired, usage, waited }));
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = encode(&mut text, &registry);
    match format {
        Format::OpenMetrics => text,
        Format::Text => older(&text),
    }
}

/// Ordinals of nodes removed by reloads, from 1 on for each name.
fn retired(status: &Status) -> Vec<Option<String>> {
    let mut seen: HashMap<&str, u32> = HashMap::new();
    let mut retired = Vec::with_capacity(status.nodes.len());
    for node in &status.nodes {
        retired.push(node.retired.then(|| {
            let count = seen.entry(&node.name).or_default();
            *count += 1;
            count.to_string()
        }));
    }
    retired
}

/// Converts to the older text format: full counter names in the headers, and no end marker.
fn older(text: &str) -> String {
    let mut older = String::with_capacity(text.len() + text.len() / 16);
    let mut help = "";
    for line in text.lines().filter(|line| *line != "# EOF") {
        if line.starts_with("# HELP ") {
            help = line;
            continue;
        }
        let counter = line.strip_prefix("# TYPE ").and_then(|rest| rest.strip_suffix(" counter"));
        if let Some(name) = counter {
            older.push_str(&help.replacen(name, &format!("{name}_total"), 1));
            older.push_str(&format!("\n# TYPE {name}_total counter\n"));
            continue;
        }
        if line.starts_with("# TYPE ") {
            older.push_str(help);
            older.push('\n');
        }
        older.push_str(line);
        older.push('\n');
    }
    older
}

#[derive(Debug)]
struct Metrics {
    snapshot: Arc<Snapshot>,
    /// Ordinal of each retired node among the retired nodes of the same name.
    retired: Vec<Option<String>>,
    usage: Usage,
    waited: Duration,
}

/// A figure of nodes: name after `logweir_<kind>_`, help, whether it is a counter, and its value if
/// a node has one.
type Figure = (&'static str, &'static str, bool, fn(&NodeStatus) -> Option<f64>);

/// The figures whose only label is the node.
const FIGURES: &[Figure] = &[
    ("lines_in", "Lines that entered", true, |n| Some(n.lines_in as f64)),
    ("lines_out", "Lines that left", true, |n| Some(n.lines_out as f64)),
    ("bytes_in", "Bytes that entered", true, |n| Some(n.bytes_in as f64)),
    ("bytes_out", "Bytes that left", true, |n| Some(n.bytes_out as f64)),
    ("bytes_dropped", "Bytes that were dropped", true, |n| Some(n.bytes_dropped as f64)),
    ("not_selected", "Lines not selected", true, |n| Some(n.not_selected as f64)),
    ("printed_lines", "Lines its processes printed", true, |n| {
        n.printed.filter(|_| n.kind == "filter").map(|lines| lines as f64)
    }),
    ("queued_lines", "Lines in the queue", false, |n| Some(n.queued as f64)),
    ("queue_bytes", "Bytes in the queue", false, |n| Some(n.queue?.used as f64)),
    ("queue_limit_bytes", "Maximum bytes in the queue", false, |n| Some(n.queue?.limit as f64)),
    ("stuck_seconds", "How long its queue has held lines without releasing any", false, |n| {
        n.queue.map(|_| n.stuck_seconds.unwrap_or(0.0))
    }),
    (
        "newest_minute_timestamp_seconds",
        "When the newest lines that left were first received by a logweir, by the minute",
        false,
        |n| n.newest_minute.map(|at| at as f64),
    ),
    ("kernel_drops", "Datagrams that the kernel dropped", true, |n| {
        Some(input(n)?.kernel_drops as f64)
    }),
    ("datagrams", "Datagrams received", true, |n| Some(input(n)?.datagrams as f64)),
    ("sequence_lost", "Lines missing according to their sequence numbers", true, |n| {
        Some(input(n)?.sequence_lost as f64)
    }),
    ("senders_forgotten", "Senders whose sequence numbers are no longer tracked", true, |n| {
        Some(input(n)?.senders_forgotten as f64)
    }),
    ("oversize", "Lines that were truncated", true, |n| {
        let cuts = n.kind == "input" || (n.kind == "filter" && n.printed.is_some());
        cuts.then(|| n.input.map_or(0.0, |input| input.oversize as f64))
    }),
    ("malformed", "Malformed messages", true, |n| Some(input(n)?.malformed as f64)),
    ("connections", "Connections accepted", true, |n| Some(input(n)?.connections as f64)),
    ("refused", "Connections refused", true, |n| Some(input(n)?.refused as f64)),
    ("deferred", "Records that clients were asked to send later", true, |n| {
        Some(input(n)?.deferred as f64)
    }),
    ("truncated", "Followed files that were truncated", true, |n| Some(input(n)?.truncated as f64)),
    ("unread", "Followed files not read, or not to their end", true, |n| {
        Some(input(n)?.unread as f64)
    }),
    ("overflows", "Times that inotify lost changes of files", true, |n| {
        Some(input(n)?.overflows as f64)
    }),
    ("not_understood", "Messages that could not be parsed", true, |n| {
        let looks = n.faults.is_some() || n.kind == "input";
        looks.then(|| n.faults.map_or(0.0, |faults| faults.sum() as f64))
    }),
    ("child_restarts", "Restarts of its processes", true, |n| {
        (!n.children.is_empty()).then_some(n.restarts as f64)
    }),
    ("children", "Configured processes", false, |n| {
        (!n.children.is_empty()).then_some(n.children.len() as f64)
    }),
    ("children_up", "Running processes", false, |n| {
        let up = n.children.iter().filter(|child| child.pid.is_some()).count();
        (!n.children.is_empty()).then_some(up as f64)
    }),
    ("pipe_bytes", "Size of the smallest pipe to its processes", false, |n| {
        n.children.iter().filter_map(|child| child.pipe).min().map(|bytes| bytes as f64)
    }),
    ("crash_loop", "Whether a process is in a crash loop", false, |n| {
        (!n.children.is_empty()).then(|| f64::from(u8::from(loops(n))))
    }),
    ("lanes", "Configured connections", false, |n| {
        (!n.lanes.is_empty()).then_some(n.lanes.len() as f64)
    }),
    ("lanes_connected", "Open connections", false, |n| {
        let up = n.lanes.iter().filter(|lane| lane.peer.is_some()).count();
        (!n.lanes.is_empty()).then_some(up as f64)
    }),
    ("disk_refuses", "Whether the disk reports errors", false, |n| {
        (n.kind != "input").then(|| f64::from(u8::from(n.error.is_some())))
    }),
    ("impaired", "Whether it cannot take everything that is sent to it", false, |n| {
        (n.kind == "input").then(|| f64::from(u8::from(n.error.is_some())))
    }),
    ("paused", "Whether a full queue pauses it", false, |n| Some(f64::from(u8::from(n.paused)))),
    ("balanced", "Whether its ledger balances", false, |n| Some(f64::from(u8::from(n.balanced)))),
    ("held_lines", "Lines in the spool", false, |n| {
        n.spool.as_ref().map(|spool| spool.lines() as f64)
    }),
    ("kept_lines", "Lines in the spool that no reader waits for", false, |n| {
        n.spool.as_ref().map(|spool| spool.kept as f64)
    }),
    ("held_bytes", "Bytes of the spool", false, |n| {
        n.spool.as_ref().map(|spool| spool.bytes as f64)
    }),
    ("size_limit_bytes", "Maximum bytes of the spool", false, |n| {
        n.spool.as_ref().map(|spool| spool.max_size as f64)
    }),
    ("segments", "Segments of the spool", false, |n| {
        n.spool.as_ref().map(|spool| spool.segments as f64)
    }),
];

/// A figure of a spool's readers: name, help, and its value at a time of day.
type ReaderFigure = (&'static str, &'static str, fn(&ReaderStatus, f64) -> f64);

const READER_FIGURES: &[ReaderFigure] = &[
    ("reader_lag_lines", "Lines a reader is behind the newest one", |r, _| r.lag_lines as f64),
    ("reader_lag_bytes", "Approximate bytes a reader is behind the newest line", |r, _| {
        r.lag_bytes as f64
    }),
    ("reader_lag_seconds", "Time between a reader's position and the newest line", |r, _| {
        r.lag_seconds
    }),
    ("reader_age_seconds", "Age of the oldest line a reader has not completed", |r, now| {
        r.waits_since.map_or(0.0, |since| (now - since).max(0.0))
    }),
    (
        "reader_dropped_lines",
        "Lines dropped before a reader has read them, not yet counted",
        |r, _| r.dropped_lines as f64,
    ),
];

/// Returns whether one of its processes is in a crash loop.
fn loops(node: &NodeStatus) -> bool {
    node.children.iter().any(|child| child.state == "crash-loop")
}

/// An input's counts other than lines.
fn input(node: &NodeStatus) -> Option<InputStatus> {
    node.input.filter(|_| node.kind == "input")
}

const KINDS: [&str; 4] = ["input", "filter", "spool", "output"];

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for kind in KINDS {
            self.nodes(kind, &mut encoder)?;
        }
        self.readers(&mut encoder)?;
        self.sources(&mut encoder)?;
        self.daemon(&mut encoder)?;
        self.process(&mut encoder)
    }
}

type Labels<'a> = Vec<(&'static str, &'a str)>;

impl Metrics {
    /// The nodes with their labels. A retired node is distinguished from the one that has its name
    /// now.
    fn labelled(&self) -> impl Iterator<Item = (&NodeStatus, Labels<'_>)> {
        let nodes = self.snapshot.status.nodes.iter().zip(&self.retired);
        nodes.map(|(node, retired)| {
            let retired = retired.as_ref().map(|number| ("retired", number.as_str()));
            (node, [("node", node.name.as_str())].into_iter().chain(retired).collect())
        })
    }

    fn nodes(
        &self,
        kind: &str,
        encoder: &mut DescriptorEncoder<'_>,
    ) -> Result<(), std::fmt::Error> {
        let nodes: Vec<_> = self.labelled().filter(|(node, _)| node.kind == kind).collect();
        let counted = counted(&nodes);
        for (what, help, grows, value) in FIGURES {
            if *grows {
                let sum = |nodes: &[&NodeStatus]| {
                    nodes.iter().filter_map(|node| value(node)).reduce(|sum, one| sum + one)
                };
                let values = counted.iter().filter_map(|(labels, all)| Some((*labels, sum(all)?)));
                put(encoder, (kind, what), help, true, values)?;
            } else {
                let values = nodes.iter().filter_map(|(node, labels)| Some((labels, value(node)?)));
                put(encoder, (kind, what), help, false, values)?;
            }
        }
        let dropped = counted.iter().flat_map(|(labels, all)| {
            REASONS.iter().map(move |reason| {
                let lines = all.iter().filter_map(|node| node.dropped.get(reason.word()));
                (with(labels, ("reason", reason.word())), lines.sum::<u64>() as f64)
            })
        });
        put(encoder, (kind, "dropped"), "Lines that were dropped, by reason", true, dropped)
    }

    /// The lag of the spools' readers.
    fn readers(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let spools =
            self.labelled().filter_map(|(node, labels)| Some((node.spool.as_ref()?, labels)));
        let mut readers = Vec::new();
        for (spool, labels) in spools {
            let with_name = |name| with(&labels, ("reader", name));
            readers.extend(spool.readers.iter().map(|reader| (reader, with_name(&reader.name))));
        }
        for (what, help, value) in READER_FIGURES {
            let values = readers.iter().map(|(reader, labels)| (labels, value(reader, now)));
            put(encoder, ("spool", what), help, false, values)?;
        }
        Ok(())
    }

    /// What waits at the sources of inputs.
    fn sources(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let parts: Vec<_> = self
            .labelled()
            .flat_map(|(node, labels)| {
                let with_name = move |name| with(&labels, ("part", name));
                node.waiting.iter().map(move |part| (with_name(part.name.as_str()), part.lines))
            })
            .collect();
        let values = parts.into_iter().map(|(labels, lines)| (labels, lines as f64));
        let help = "Lines that wait at an input's source, in each of its parts";
        put(encoder, ("input", "lag_lines"), help, false, values)
    }

    fn daemon(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Snapshot { status, memory, pulse, reloads, stuck_after, .. } = &*self.snapshot;
        let version = vec![("version", status.version.as_str())];
        put(encoder, ("build", "info"), "The version", false, [(version, 1.0)].into_iter())?;
        for (what, help, grows, value) in [
            ("uptime_seconds", "Time since the start", false, status.uptime),
            (
                "queues_bytes",
                "Bytes in all queues; what several hold counts once",
                false,
                status.queues_bytes as f64,
            ),
            ("memory_bytes", "The budget of all queues", false, *memory as f64),
            ("gone_dropped", "Lines and datagrams lost by nodes that reloads removed", true, {
                status.gone.as_ref().map_or(0, GoneStatus::lost) as f64
            }),
            (
                "stuck_after_seconds",
                "Time after which a blocked output counts as stuck",
                false,
                stuck_after.as_secs_f64(),
            ),
            ("loop_passes", "Passes of the loop", true, pulse.passes as f64),
            ("loop_busy_seconds", "Time the loop spent working", true, pulse.busy.as_secs_f64()),
            ("loop_late", "Passes of the loop that took too long", true, pulse.late as f64),
            ("loop_wait_seconds", "How long this answer waited for the loop", false, {
                self.waited.as_secs_f64()
            }),
            ("reloads", "Configurations applied by a reload", true, reloads.done as f64),
            ("reloads_refused", "Configurations refused", true, reloads.refused as f64),
            ("reload_failed", "Whether the last reload was refused", false, {
                f64::from(u8::from(reloads.last_refused))
            }),
        ] {
            put(encoder, ("daemon", what), help, grows, [(Vec::new(), value)].into_iter())?;
        }
        Ok(())
    }

    /// The usage of the process, under the names that dashboards expect.
    fn process(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Usage { cpu, resident, mapped, descriptors, descriptors_most } = self.usage;
        let started = self.snapshot.started.duration_since(UNIX_EPOCH).unwrap_or_default();
        for (name, help, grows, value) in [
            ("process_start_time_seconds", "When it started", false, started.as_secs_f64()),
            ("process_cpu_seconds", "Processor time", true, cpu.as_secs_f64()),
            ("process_resident_memory_bytes", "Resident memory", false, resident as f64),
            ("process_virtual_memory_bytes", "Mapped memory", false, mapped as f64),
            ("process_open_fds", "Open descriptors", false, descriptors as f64),
            ("process_max_fds", "Limit of open descriptors", false, descriptors_most as f64),
        ] {
            put_as(encoder, name, help, grows, [(Vec::new(), value)].into_iter())?;
        }
        Ok(())
    }
}

/// The nodes that count together: one of the plan, and those that a reload has rebuilt and that
/// still drain. So a counter never goes back.
fn counted<'a>(
    nodes: &'a [(&'a NodeStatus, Labels<'a>)],
) -> Vec<(&'a Labels<'a>, Vec<&'a NodeStatus>)> {
    let mut counted: Vec<(&Labels<'_>, Vec<&NodeStatus>)> = Vec::new();
    let live = nodes.iter().filter(|(node, _)| !node.retired);
    counted.extend(live.map(|(node, labels)| (labels, vec![*node])));
    let places: HashMap<&str, usize> =
        counted.iter().enumerate().map(|(at, (_, all))| (all[0].name.as_str(), at)).collect();
    for (node, labels) in nodes.iter().filter(|(node, _)| node.retired) {
        match places.get(node.name.as_str()) {
            Some(&at) => counted[at].1.push(node),
            None => counted.push((labels, vec![*node])),
        }
    }
    counted
}

/// Adds a label.
fn with<'a>(labels: &Labels<'a>, one: (&'static str, &'a str)) -> Labels<'a> {
    labels.iter().copied().chain([one]).collect()
}

/// Encodes one metric with all its values, if it has any.
fn put<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    (kind, what): (&str, &str),
    help: &str,
    grows: bool,
    values: impl Iterator<Item = (impl Borrow<Labels<'a>>, f64)>,
) -> Result<(), std::fmt::Error> {
    put_as(encoder, &format!("logweir_{kind}_{what}"), help, grows, values)
}

fn put_as<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    grows: bool,
    values: impl Iterator<Item = (impl Borrow<Labels<'a>>, f64)>,
) -> Result<(), std::fmt::Error> {
    let mut values = values.peekable();
    if values.peek().is_none() {
        return Ok(());
    }
    let metric = if grows { MetricType::Counter } else { MetricType::Gauge };
    let mut family = encoder.encode_descriptor(name, help, None, metric)?;
    for (labels, value) in values {
        // A metric without labels has no braces either.
        match labels.borrow() {
            none if none.is_empty() => encode_value(&mut family, grows, value)?,
            labels => encode_value(&mut family.encode_family(labels)?, grows, value)?,
        }
    }
    Ok(())
}

fn encode_value(
    encoder: &mut MetricEncoder<'_>,
    grows: bool,
    value: f64,
) -> Result<(), std::fmt::Error> {
    match grows {
        true => encoder.encode_counter::<NoLabelSet, f64, f64>(&value, None),
        false => encoder.encode_gauge(&value),
    }
}
