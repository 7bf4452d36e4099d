//! The parts of the hot path, each by itself. Throughput is in lines: compare the figures of
//! one run with each other, not with those of another machine.

#![expect(clippy::unwrap_used, reason = "a bench may panic")]

use std::hint::black_box;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use logweir::batch::{Batch, count_lines};
use logweir::clock::Mono;
use logweir::config;
use logweir::config::plan::{FormatPlan, SelectPlan, Shape};
use logweir::engine::{Action, Engine, Event, Pipes};
use logweir::filter::key::Key;
use logweir::filter::patterns::{Hits, Patterns};
use logweir::filter::{Selector, gather};
use logweir::format::Formatter;
use logweir::ids::LaneId;
use logweir::input::datagrams::RawLines;
use logweir::input::lines::LineBuffer;
use logweir::input::{Gather, Intake};
use logweir::ledger::{Count, Ledger};
use logweir::metrics::{self, Format, Pulse, Reloads, Snapshot, Usage};
use logweir::minute::Minute;

const LINES: u32 = 1300;

/// Log lines of 200 bytes, every hundredth of them with another word.
fn batch() -> Batch {
    let mut text = Vec::new();
    for number in 0..LINES {
        let line = format!(
            "cp10{:02} {number:010} 1795417309.948 12 192.0.2.{} TCP_HIT/200 1444 GET \
             http://en.wikipedia.org/wiki/word{}?x=",
            number % 7,
            number % 250,
            number % 100,
        );
        text.extend_from_slice(line.as_bytes());
        text.resize(text.len() + 199 - line.len(), b'x');
        text.push(b'\n');
    }
    let bytes = Bytes::from(text);
    let lines = count_lines(&bytes);
    Batch::new(bytes, lines, "in".into(), SystemTime::UNIX_EPOCH)
}

fn framing(c: &mut Criterion) {
    let batch = batch();
    let mut group = c.benchmark_group("framing");
    group.throughput(Throughput::Elements(64));
    let datagrams: Vec<&[u8]> = batch.bytes.chunks(200).take(64).collect();
    group.bench_function("64 datagrams of a line", |b| {
        let mut intake = RawLines::new(65_536);
        b.iter(|| {
            for datagram in &datagrams {
                intake.take(datagram, datagram.len(), None);
            }
            intake.seal();
            intake.full().count()
        });
    });
    let coalesced = &batch.bytes[..64 * 200];
    group.bench_function("64 datagrams coalesced", |b| {
        let mut intake = RawLines::new(65_536);
        b.iter(|| {
            let buffer = intake.buffer();
            let start = buffer.len();
            buffer.extend_from_slice(coalesced);
            intake.take_in_place(start, 200, None);
            intake.seal();
            intake.full().count()
        });
    });
    group.throughput(Throughput::Elements(u64::from(LINES)));
    group.bench_function("a stream", |b| {
        let mut lines = LineBuffer::new(65_536);
        b.iter(|| lines.push(black_box(&batch.bytes)));
    });
    group.finish();
}

fn selection(c: &mut Criterion) {
    let batch = batch();
    let mut group = c.benchmark_group("selection");
    group.throughput(Throughput::Elements(u64::from(LINES)));
    for count in [1, 10, 100] {
        let texts: Vec<String> = (0..count).map(|n| format!(r"/word{n}\?")).collect();
        let select =
            |text: &String| SelectPlan { matches: Some(text.clone()), ..SelectPlan::default() };
        let mut patterns = Patterns::default();
        let mut selectors: Vec<_> =
            texts.iter().map(|text| Selector::new(&select(text), "node").unwrap()).collect();
        let ids: Vec<_> =
            selectors.iter().map(|selector| selector.enter_patterns(&mut patterns)).collect();
        patterns.compile().unwrap();
        let mut hits = Hits::default();
        group.bench_function(BenchmarkId::new("one pass", count), |b| {
            b.iter(|| {
                patterns.search(&batch, &mut hits);
                let mut held = Count::default();
                let mut taken = 0;
                for (selector, ids) in selectors.iter_mut().zip(&ids) {
                    let picked = selector.pick(&batch, *ids, &mut hits, Mono::default(), &mut held);
                    taken += gather(&batch, &picked).map_or(0, |batch| batch.lines);
                }
                taken
            });
        });
        let regexes: Vec<_> =
            texts.iter().map(|text| config::pattern::compile(text).unwrap()).collect();
        group.bench_function(BenchmarkId::new("a regex a node a line", count), |b| {
            b.iter(|| {
                let hit = |line: &[u8]| regexes.iter().filter(|regex| regex.is_match(line)).count();
                batch.iter().map(hit).sum::<usize>()
            });
        });
    }
    group.finish();
}

/// An engine of this configuration, all of its children started.
fn started(text: &str) -> Engine {
    let plan = config::parse(text, "bench").unwrap().plan;
    let mut engine = Engine::new(&plan, Mono::default()).unwrap();
    let mut pid = 0;
    while let Some(action) = engine.poll_action() {
        if let Action::Start(lane) = action {
            pid += 1;
            engine.handle(Event::Started { lane, pid, pipe: None }, Mono::default());
        }
    }
    engine
}

/// An engine with so many pipe outputs, each read empty at once.
fn fan_out(c: &mut Criterion) {
    let batch = batch();
    let mut group = c.benchmark_group("fan-out");
    group.throughput(Throughput::Elements(u64::from(LINES)));
    for outputs in [1, 10, 50] {
        let mut text = String::from("[input.in]\nudp = \"127.0.0.1:8420\"\n");
        for n in 0..outputs {
            text.push_str(&format!("[output.o{n}]\nfrom = \"in\"\npipe = \"x\"\n"));
        }
        let mut engine = started(&text);
        let node = engine.find("in").unwrap();
        let mut now = Mono::default();
        group.bench_function(BenchmarkId::new("unsampled pipes", outputs), |b| {
            b.iter(|| {
                now = now + Duration::from_millis(1);
                engine.handle(Event::Lines { node, batch: batch.clone() }, now);
                take_all(&mut engine);
            });
        });
    }
    group.finish();
}

/// An event among many nodes that it does not reach: its cost must not grow with their number.
fn many_nodes(c: &mut Criterion) {
    let batch = batch();
    let mut group = c.benchmark_group("an event among many nodes");
    for nodes in [10, 1_000, 10_000] {
        let mut text = String::new();
        for n in 0..nodes / 2 {
            text.push_str(&format!("[input.i{n}]\nfifo = \"/nowhere/{n}\"\n"));
            text.push_str(&format!("[output.o{n}]\nfrom = \"i{n}\"\npipe = \"x\"\n"));
        }
        let mut engine = started(&text);
        while engine.poll_ready().is_some() {}
        let node = engine.find("i0").unwrap();
        let mut now = Mono::default();
        group.bench_function(BenchmarkId::new("lines to one output", nodes), |b| {
            b.iter(|| {
                now = now + Duration::from_millis(1);
                engine.handle(Event::Lines { node, batch: batch.clone() }, now);
                take_all(&mut engine);
                engine.handle(Event::Tick, now);
            });
        });
    }
    group.finish();
}

/// Reloads that change one of many nodes: time a node must not grow with their number.
fn reloads(c: &mut Criterion) {
    let mut group = c.benchmark_group("a reload of many nodes");
    group.sample_size(10);
    for nodes in [100_u32, 1_000, 9_000] {
        let filters = (0..nodes).map(|n| {
            // Chains of a hundred.
            let from = if n % 100 == 0 { "in".to_string() } else { format!("f{}", n - 1) };
            format!("[filter.f{n}]\nfrom = \"{from}\"\nmatch = \"{n}x\"\n")
        });
        let rest: String = filters.collect();
        let plan = |word: &str| {
            let text = format!(
                "[input.in]\nudp = \"127.0.0.1:8420\"\n{rest}\
                 [output.o]\nfrom = \"f0\"\nmatch = \"{word}\"\npipe = \"x\"\n"
            );
            config::parse(&text, "bench").unwrap().plan
        };
        let plans = [plan("a"), plan("b")];
        let mut engine = Engine::new(&plans[0], Mono::default()).unwrap();
        take_all(&mut engine);
        let mut turn = 0;
        group.throughput(Throughput::Elements(nodes.into()));
        group.bench_function(BenchmarkId::new("one changes", nodes), |b| {
            b.iter(|| {
                turn += 1;
                engine.reload(&plans[turn % 2], Mono::default()).unwrap();
                take_all(&mut engine);
            });
        });
    }
    group.finish();
}

/// Pipes that take everything, and whose readers have read it at once.
struct Bottomless;

impl Pipes for Bottomless {
    fn hold(&mut self, _slot: usize, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn release(&mut self, _slot: usize) {}

    fn share(
        &mut self,
        _slot: usize,
        most: usize,
        _last: bool,
        _lane: LaneId,
    ) -> io::Result<usize> {
        Ok(most)
    }

    fn write(&mut self, _lane: LaneId, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }

    fn retry(&mut self, _lane: LaneId) {}

    fn unread(&self, _lane: LaneId) -> Option<usize> {
        Some(0)
    }
}

/// Writes what waits for every ready lane, and has it read at once.
fn take_all(engine: &mut Engine) {
    let mut lanes: Vec<_> = std::iter::from_fn(|| engine.poll_ready()).collect();
    engine.write_children(&mut lanes, &mut Bottomless, Mono::default());
}

/// A scrape of 200 nodes: what the loop does for it, and what the metrics' thread does then.
fn scrape(c: &mut Criterion) {
    let mut text = String::from("[input.in]\nudp = \"127.0.0.1:8420\"\n");
    for n in 0..99 {
        text.push_str(&format!("[filter.f{n}]\nfrom = \"in\"\nmatch = \"{n}$\"\n"));
        text.push_str(&format!("[output.o{n}]\nfrom = \"f{n}\"\npipe = \"x\"\n"));
    }
    text.push_str("[output.file]\nfrom = \"in\"\nfile = \"/nowhere/x\"\n");
    let plan = config::parse(&text, "bench").unwrap().plan;
    assert_eq!(plan.nodes.len(), 200);
    let engine = Engine::new(&plan, Mono::default()).unwrap();
    let mut group = c.benchmark_group("scrape of 200 nodes");
    group.bench_function("the loop's part", |b| b.iter(|| engine.status(Mono::default())));
    let snapshot = Arc::new(Snapshot {
        status: engine.status(Mono::default()),
        memory: 1 << 26,
        stuck_after: Duration::from_secs(60),
        started: SystemTime::UNIX_EPOCH,
        pulse: Pulse::default(),
        reloads: Reloads::default(),
    });
    for (name, format) in [("OpenMetrics", Format::OpenMetrics), ("text", Format::Text)] {
        group.bench_function(BenchmarkId::new("written as", name), |b| {
            b.iter(|| metrics::text(&snapshot, Usage::default(), Duration::ZERO, format));
        });
    }
    group.finish();
}

/// Syslog messages, each written in all shapes.
fn shapes(c: &mut Criterion) {
    let line =
        "<38>Nov 23 10:00:00 host1 sshd[4242]: Accepted publickey for alice from 192.0.2.7\n";
    let bytes = Bytes::from(line.repeat(LINES as usize));
    let received = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_780_800);
    let batch = Batch::new(bytes, LINES, "in".into(), received);
    let template = |text: &str| Shape::Template(Arc::new(text.parse().unwrap()));
    let mut group = c.benchmark_group("shapes");
    group.throughput(Throughput::Elements(u64::from(LINES)));
    for (name, shape) in [
        ("text", Shape::Text),
        ("rfc3164", Shape::Rfc3164),
        ("rfc5424", Shape::Rfc5424),
        ("json", Shape::Json),
        ("traditional", Shape::Traditional),
        ("template as traditional", template("{time:%b %e %H:%M:%S} {host} {tag} {message}")),
        ("template as text", template("{time} {host} {tag} {message}")),
    ] {
        let formatter = Formatter::new(&FormatPlan { shape, tag: None });
        group.bench_function(name, |b| b.iter(|| formatter.batch(black_box(&batch))));
    }
    group.finish();
    // What a message with so many parameters costs, a parameter: the same for any number of them.
    let mut group = c.benchmark_group("structured data");
    for params in [1000_u32, 2000, 4000] {
        let data: String = (0..params).map(|n| format!(" p{n}=\"{n}\"")).collect();
        let line = format!("<38>1 - h a - - [x{data}] t\n");
        let batch = Batch::new(line.into(), 1, "in".into(), received);
        group.throughput(Throughput::Elements(u64::from(params)));
        for (name, shape) in [
            ("json", Shape::Json),
            ("text", Shape::Text),
            ("template", template("{sd:x:p999} {message}")),
        ] {
            let formatter = Formatter::new(&FormatPlan { shape, tag: None });
            let id = BenchmarkId::new(name, params);
            group.bench_function(id, |b| b.iter(|| formatter.batch(black_box(&batch))));
        }
        let mut key = Key::new("{sd.x.p999}").unwrap();
        let line = &batch.bytes[..batch.bytes.len() - 1];
        group.bench_function(BenchmarkId::new("key", params), |b| b.iter(|| key.hash(line, None)));
    }
    group.finish();
}

/// Many patterns on one stream, a line of which holds one of them.
fn patterns(c: &mut Criterion) {
    let mut text = String::new();
    for n in 0..LINES {
        text += &format!(
            "<13>1 - h{n} a - - - k{n} x and some more text that each line of a log has\n"
        );
    }
    let lines = count_lines(text.as_bytes());
    let batch = Batch::new(Bytes::from(text), lines, "in".into(), SystemTime::UNIX_EPOCH);
    let mut group = c.benchmark_group("patterns");
    group.throughput(Throughput::Elements(u64::from(lines)));
    let literal = |n: usize| format!("k{n} ");
    let wide = |n: usize| format!(r"\w+ k{n} \w+");
    for (name, count, text) in [
        ("literals", 100, &literal as &dyn Fn(usize) -> String),
        ("literals", 1500, &literal),
        ("literals", 5000, &literal),
        ("wide", 10, &wide),
        ("wide", 100, &wide),
    ] {
        let mut patterns = Patterns::default();
        for n in 0..count {
            patterns.enter(&text(n));
        }
        patterns.compile().unwrap();
        let mut hits = Hits::default();
        group.bench_function(BenchmarkId::new(name, count), |b| {
            b.iter(|| patterns.search(black_box(&batch), &mut hits));
        });
    }
    group.finish();
}

/// What counting by the minute and by the second costs: a batch, however many lines it has, and a
/// second of a daemon with many nodes.
fn counting(c: &mut Criterion) {
    let mut group = c.benchmark_group("counting");
    let count = batch().count();
    let minute = Minute::from_number(29_930_187);
    group.bench_function("a batch in and out, without minutes", |b| {
        let (mut entered, mut left) = (Count::default(), Count::default());
        b.iter(|| {
            let count = black_box(count);
            entered.add(count.lines, count.bytes);
            left.add(count.lines, count.bytes);
            (black_box(&mut entered).lines, black_box(&mut left).lines)
        });
    });
    group.bench_function("a batch in and out, by the minute", |b| {
        let mut ledger = Ledger::default();
        b.iter(|| {
            let (count, minute) = black_box((count, minute));
            ledger.enter(minute, count);
            ledger.leave(minute, count);
            black_box(&mut ledger).entered.lines
        });
    });
    let nodes: String =
        (0..300).map(|nth| format!("[output.o{nth}]\nfrom = \"in\"\npipe = \"cat\"\n")).collect();
    let text =
        format!("[daemon]\nmemory = \"1GiB\"\n[input.in]\nudp = \"127.0.0.1:8420\"\n{nodes}");
    let plan = config::parse(&text, "bench").unwrap().plan;
    let engine = Engine::new(&plan, Mono::default()).unwrap();
    group.bench_function("a second of 300 nodes", |b| {
        b.iter(|| {
            let mut sum = 0;
            engine.each_total(|_, _, totals| sum += black_box(totals).lines_in);
            sum
        });
    });
    group.finish();
}

criterion_group! {
    name = parts;
    config = Criterion::default()
        .measurement_time(Duration::from_secs(2))
        .warm_up_time(Duration::from_millis(500));
    targets = framing, selection, patterns, shapes, fan_out, many_nodes, reloads, scrape, counting
}
criterion_main!(parts);
