//! Selectors over a whole engine: the ledger balances after every batch.

use std::time::UNIX_EPOCH;

use logweir::batch::{Batch, count_lines};
use logweir::clock::Mono;
use logweir::engine::{Engine, Event};

/// Keys of an output, a byte of 0xff, and batches of lines between bytes of 0xfe.
pub fn check(data: &[u8]) {
    let Some(at) = memchr::memchr(0xff, data) else { return };
    let Ok(keys) = std::str::from_utf8(&data[..at]) else { return };
    let text = format!("[input.in]\nudp='127.0.0.1:1'\n[output.out]\nstdout=true\n{keys}\n");
    let Ok(checked) = logweir::config::parse(&text, "fuzz.toml") else { return };
    let now = Mono::default();
    let mut engine = match Engine::new(&checked.plan, now) {
        Ok(engine) => engine,
        Err(error) => panic!("checked, and cannot be built: {error}"),
    };
    let Some(input) = engine.find("in") else { return };
    let mut sent = 0;
    for lines in data[at + 1..].split(|byte| *byte == 0xfe) {
        let bytes = [lines, b"\n"].concat();
        let count = count_lines(&bytes);
        sent += u64::from(count);
        let batch = Batch::new(bytes.into(), count, "in".into(), UNIX_EPOCH);
        engine.handle(Event::Lines { node: input, batch }, now);
        while engine.poll_action().is_some() {}
        while engine.poll_ready().is_some() {}
        balanced(&engine, now);
    }
    let status = engine.status(now);
    let input = status.nodes.iter().find(|node| node.name == "in").expect("the input");
    assert_eq!(input.lines_in, sent);
}

fn balanced(engine: &Engine, now: Mono) {
    for node in engine.status(now).nodes {
        let dropped: u64 = node.dropped.values().sum();
        let fates = node.lines_out + node.not_selected + dropped + node.queued;
        assert_eq!(node.lines_in, fates, "the ledger of {} does not balance", node.name);
    }
}
