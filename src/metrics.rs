//! The ledger as metrics (OpenMetrics 1.0): the same figures as `top` shows.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::engine::status::{NodeStatus, Status};

/// Why the daemon is not well: nothing where it is.
pub fn complaints(status: &Status) -> Vec<String> {
    let mut complaints = Vec::new();
    for node in &status.nodes {
        let name = &node.name;
        if let Some(seconds) = node.stuck_seconds.filter(|seconds| *seconds > STUCK_SECONDS) {
            complaints.push(format!("{name}: nothing has left its queue for {seconds:.0} s"));
        }
        if let Some(error) = &node.error {
            complaints.push(format!("{name}: {error}"));
        }
        if node.children.iter().any(|child| child.state == "crash-loop") {
            complaints.push(format!("{name}: its process is in a crash loop"));
        }
        if !node.balanced {
            complaints.push(format!("{name}: its ledger does not balance"));
        }
    }
    complaints
}

/// An output whose queue has let nothing go for so long is stuck.
const STUCK_SECONDS: f64 = 60.0;

/// Writes the metrics of a status.
pub fn text(status: Status) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Metrics(status)));
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = encode(&mut text, &registry);
    text
}

#[derive(Debug)]
struct Metrics(Status);

/// A figure of nodes: its name behind `logweir_<kind>_`, its help, whether it only grows, and its
/// value where a node has one.
type Figure = (&'static str, &'static str, bool, fn(&NodeStatus) -> Option<f64>);

/// The figures with no label but the node.
const FIGURES: &[Figure] = &[
    ("lines_in", "Lines that entered", true, |n| Some(n.lines_in as f64)),
    ("lines_out", "Lines that left", true, |n| Some(n.lines_out as f64)),
    ("bytes_in", "Bytes that entered", true, |n| Some(n.bytes_in as f64)),
    ("bytes_out", "Bytes that left", true, |n| Some(n.bytes_out as f64)),
    ("not_selected", "Lines not selected", true, |n| Some(n.not_selected as f64)),
    ("queued_lines", "Lines in the queue", false, |n| Some(n.queued as f64)),
    ("queue_bytes", "Bytes in the queue", false, |n| Some(n.queue?.used as f64)),
    ("queue_limit_bytes", "Bytes it may hold", false, |n| Some(n.queue?.limit as f64)),
    ("stuck_seconds", "Time since the queue let go", false, |n| n.stuck_seconds),
    ("kernel_drops", "Datagrams that the kernel dropped", true, |n| {
        Some(n.input?.kernel_drops as f64)
    }),
    ("datagrams", "Datagrams received", true, |n| Some(n.input?.datagrams as f64)),
    ("sequence_lost", "Lines missing by their numbers", true, |n| {
        Some(n.input?.sequence_lost as f64)
    }),
    ("oversize", "Lines that were cut", true, |n| Some(n.input?.oversize as f64)),
    ("malformed", "Messages that made no sense", true, |n| Some(n.input?.malformed as f64)),
    ("connections", "Connections taken", true, |n| Some(n.input?.connections as f64)),
    ("refused", "Connections refused", true, |n| Some(n.input?.refused as f64)),
    ("not_understood", "Messages not understood", true, |n| Some(n.faults?.sum() as f64)),
    ("child_restarts", "Restarts of its processes", true, |n| {
        let restarts = n.children.iter().map(|child| child.restarts).sum::<u64>();
        (!n.children.is_empty()).then_some(restarts as f64)
    }),
    ("children_up", "Processes that run", false, |n| {
        let up = n.children.iter().filter(|child| child.pid.is_some()).count();
        (!n.children.is_empty()).then_some(up as f64)
    }),
    ("crash_loop", "Whether a process is in a crash loop", false, |n| {
        let loops = n.children.iter().any(|child| child.state == "crash-loop");
        (!n.children.is_empty()).then(|| f64::from(u8::from(loops)))
    }),
    ("peers_connected", "Lanes with a connection", false, |n| {
        let up = n.lanes.iter().filter(|lane| lane.peer.is_some()).count();
        (!n.lanes.is_empty()).then_some(up as f64)
    }),
    ("disk_refuses", "Whether the disk refuses", false, |n| {
        Some(f64::from(u8::from(n.error.is_some())))
    }),
    ("paused", "Whether a full queue makes it wait", false, |n| {
        Some(f64::from(u8::from(n.paused)))
    }),
    ("balanced", "Whether its ledger balances", false, |n| Some(f64::from(u8::from(n.balanced)))),
    ("held_lines", "Lines in the spool", false, |n| {
        n.spool.as_ref().map(|spool| (spool.next - spool.oldest) as f64)
    }),
    ("held_bytes", "Bytes of the spool", false, |n| {
        n.spool.as_ref().map(|spool| spool.bytes as f64)
    }),
    ("segments", "Segments of the spool", false, |n| {
        n.spool.as_ref().map(|spool| spool.segments as f64)
    }),
];

const KINDS: [&str; 4] = ["input", "filter", "spool", "output"];

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for kind in KINDS {
            let nodes = || self.0.nodes.iter().filter(move |node| node.kind == kind);
            for (what, help, grows, value) in FIGURES {
                let of =
                    |node: &NodeStatus| Some((vec![("node", node.name.clone())], value(node)?));
                let values: Vec<_> = nodes().filter_map(of).collect();
                put(&mut encoder, (kind, what), help, *grows, &values)?;
            }
            let dropped = nodes().flat_map(|node| {
                let reasons = node.dropped.iter();
                reasons.map(|(reason, lines)| {
                    let labels = vec![("node", node.name.clone()), ("reason", reason.clone())];
                    (labels, *lines as f64)
                })
            });
            let help = "Lines that were dropped, by reason";
            put(&mut encoder, (kind, "dropped"), help, true, &dropped.collect::<Vec<_>>())?;
        }
        self.readers(&mut encoder)?;
        let version = vec![("version", self.0.version.clone())];
        put(&mut encoder, ("daemon", "version"), "The version", false, &[(version, 1.0)])?;
        let uptime = [(Vec::new(), self.0.uptime)];
        put(&mut encoder, ("daemon", "uptime_seconds"), "Time since the start", false, &uptime)
    }
}

impl Metrics {
    /// How far the readers of spools are behind.
    fn readers(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let spools = || self.0.nodes.iter().filter_map(|node| Some((node, node.spool.as_ref()?)));
        for at in 0..3 {
            let values = spools().flat_map(|(node, spool)| {
                spool.readers.iter().map(move |reader| {
                    let labels = vec![("node", node.name.clone()), ("reader", reader.name.clone())];
                    let lags =
                        [reader.lag_lines as f64, reader.lag_bytes as f64, reader.lag_seconds];
                    (labels, lags[at])
                })
            });
            let what = ["reader_lag_lines", "reader_lag_bytes", "reader_lag_seconds"][at];
            let help = "How far a reader is behind the newest line";
            put(encoder, ("spool", what), help, false, &values.collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

/// Writes one metric with all its values, where it has any.
fn put(
    encoder: &mut DescriptorEncoder<'_>,
    (kind, what): (&str, &str),
    help: &str,
    grows: bool,
    values: &[(Vec<(&'static str, String)>, f64)],
) -> Result<(), std::fmt::Error> {
    if values.is_empty() {
        return Ok(());
    }
    let name = format!("logweir_{kind}_{what}");
    let metric = if grows { MetricType::Counter } else { MetricType::Gauge };
    let mut family = encoder.encode_descriptor(&name, help, None, metric)?;
    for (labels, value) in values {
        let mut one = family.encode_family(labels)?;
        if grows {
            one.encode_counter::<NoLabelSet, f64, f64>(value, None)?;
        } else {
            one.encode_gauge(value)?;
        }
    }
    Ok(())
}
