//! Numbered lines that flow into a container's daemon all the time, and which of them are lost.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use super::machine::Machine;
use crate::util::wait_for;

/// Lines a second.
pub const RATE: u64 = 20_000;

/// The flow's own configuration: one input into a file, and through a spool into another.
pub const CONFIG: &str = r#"
[daemon]
control = "/run/logweir/control.sock"

[input.udp]
udp = "127.0.0.1:8420"
receive_buffer = "64MiB"

[spool.hold]
from = "udp"
dir = "/var/spool/logweir/hold"

[output.spooled]
from = "hold"
file = "/var/log/logweir/spooled"

[output.direct]
from = "udp"
file = "/var/log/logweir/direct"
"#;

/// The unit may not go beyond net.core.rmem_max by itself, and a second of this flow takes 25 MiB
/// of a receive buffer.
pub const MAY_BUFFER: &str =
    "[Service]\nAmbientCapabilities=CAP_NET_ADMIN\nCapabilityBoundingSet=CAP_NET_ADMIN\n";

/// A running flow; it ends with its container.
pub struct Flow<'a> {
    machine: &'a Machine,
    files: [Numbers; 2],
}

/// Lines that never came, and lines that came again.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    pub lost: u64,
    pub twice: u64,
}

/// What happened to the lines of one file.
pub struct Numbers {
    name: &'static str,
    file: Option<File>,
    path: std::path::PathBuf,
    read: u64,
    last: u64,
    loss: Loss,
}

impl<'a> Flow<'a> {
    /// Starts it into a daemon that has [`CONFIG`].
    pub fn start(machine: &'a Machine) -> Self {
        machine.run(&format!(
            "systemd-run --quiet --unit=flow --property=StandardOutput=file:/var/tmp/flow \
             logweir gen --to udp://127.0.0.1:8420 --lines 0 --rate {RATE} --size 100 \
             --format raw --sender flow --no-gso"
        ));
        let files = ["spooled", "direct"].map(|name| Numbers::new(machine, name));
        Self { machine, files }
    }

    /// What was lost since the last time on the way through the spool, and on the direct one, once
    /// the flow has gone on for `lines` more.
    pub fn loss_after(&mut self, lines: u64) -> [Loss; 2] {
        let to = self.files.each_mut().map(Numbers::look).into_iter().max().unwrap() + lines;
        self.loss_up_to(to)
    }

    fn loss_up_to(&mut self, to: u64) -> [Loss; 2] {
        let machine = self.machine;
        self.files.each_mut().map(|numbers| {
            wait_for(&format!("line {to} in {}", numbers.name), || {
                let seen = numbers.look() >= to;
                let failed = !seen
                    && machine.sh("systemctl is-failed --quiet logweir flow").status.success();
                assert!(!failed, "{}", machine.journal());
                seen.then_some(())
            });
            std::mem::take(&mut numbers.loss)
        })
    }

    /// Ends the flow; what was lost since the last time, and how many lines there were.
    pub fn stop(mut self) -> ([Loss; 2], u64) {
        self.machine.run("systemctl stop flow");
        let said = self.machine.read("/var/tmp/flow");
        let words: Vec<_> = said.split_whitespace().collect();
        let sent = words[0].parse().unwrap();
        assert!(said.ends_with(", 0 errors\n"), "{said}");
        (self.loss_up_to(sent), sent)
    }
}

impl Numbers {
    fn new(machine: &Machine, name: &'static str) -> Self {
        let path = machine.path(&format!("/var/log/logweir/{name}"));
        Self { name, file: None, path, read: 0, last: 0, loss: Loss::default() }
    }

    /// Takes in what was written meanwhile; the last number.
    fn look(&mut self) -> u64 {
        if self.file.is_none() {
            self.file = File::open(&self.path).ok();
        }
        let Some(file) = &mut self.file else { return self.last };
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(self.read)).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        // Half a line is read again next time.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.read += whole as u64;
        for line in std::str::from_utf8(&bytes[..whole]).unwrap().lines() {
            let number = line.split(' ').nth(1).and_then(|number| number.parse().ok());
            let number: u64 = number.unwrap_or_else(|| panic!("{}: {line:?}", self.name));
            if number > self.last {
                self.loss.lost += number - self.last - 1;
                self.last = number;
            } else {
                self.loss.twice += 1;
            }
        }
        self.last
    }
}
