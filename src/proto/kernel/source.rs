//! Reading /dev/kmsg: each read gives a record, from the oldest that the kernel still has.
//!
//! The kernel numbers its records, in each boot from 0. So a boot is an origin, and its records go
//! exactly once into a spool; without one, the position is kept in a file. The kernel overwrites
//! its oldest records: what was overwritten before it was read is counted as lost.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};
use xxhash_rust::xxh3::xxh3_64;

use super::config::KernelPlan;
use super::message::Writer;
use super::record::{Record, parse};
use crate::batch::Span;
use crate::host;
use crate::ids::Identity;
use crate::ingress::Source;
use crate::ingress::files::source::Start;
use crate::ingress::inbox::{Change, Inlet};
use crate::ingress::numbered::{Numbered, Stored};
use crate::ingress::wait::wait_any;
use crate::input::Piece;
use crate::limits::FOLLOW_READ;
use crate::proto::shared::record::{Lines, Time};

/// The longest record: CONSOLE_EXT_LOG_MAX of the kernel is 8 KiB.
const RECORD_MAX: usize = 16 * 1024;
/// What all boots have in the upper half of their identity: "kmsg".
const KIND: u64 = u64::from_be_bytes(*b"\0\0\0\0kmsg");
/// Where the kernel tells one boot from others.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// How long to wait before the device is opened again.
const AGAIN: Duration = Duration::from_secs(10);

/// The source, not started yet.
pub(super) struct Kernel {
    /// What is read.
    pub(super) plan: KernelPlan,
    /// The device.
    pub(super) device: PathBuf,
    /// Longer messages are cut.
    pub(super) max_message: usize,
    /// The file of positions.
    pub(super) positions: PathBuf,
}

struct Running {
    plan: KernelPlan,
    device: PathBuf,
    numbered: Numbered,
    boot: Identity,
    /// The last record that was read; `None` before the first.
    last: Option<u64>,
    /// Places that some spools have come to: no batch goes across.
    borders: Vec<u64>,
    writer: Writer,
    lines: Lines,
    /// The numbers of the lines that are gathered.
    span: Option<Span>,
    /// When the boot was, in microseconds since 1970.
    booted: u64,
}

/// Why reading ended.
enum End {
    /// The input is to end, or there is nothing more, which a device never says.
    Stopped,
    /// The device cannot be read.
    Failed(std::io::Error),
}

/// What a read gave.
enum Got {
    Record(usize),
    Nothing,
    End,
}

impl Source for Kernel {
    fn sends_barriers(&self) -> bool {
        true
    }

    fn run(self: Box<Self>, inlet: Inlet) {
        let numbered = Numbered::new(inlet, &self.positions, self.plan.start == Start::End);
        let host = host::name().as_bytes().to_vec();
        let running = Running {
            boot: boot(&std::fs::read(BOOT_ID).unwrap_or_default()),
            last: None,
            borders: Vec::new(),
            writer: Writer::new(self.plan.form, host),
            lines: Lines::new(self.max_message),
            span: None,
            booted: 0,
            numbered,
            plan: self.plan,
            device: self.device,
        };
        running.run();
    }
}

/// The identity of a boot.
fn boot(id: &[u8]) -> Identity {
    Identity::of(u128::from(KIND) << 64 | u128::from(xxh3_64(id.trim_ascii())))
}

/// When the boot was, by the clock as it is now: a step of the clock moves it.
fn booted() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // The kernel's stamps stand still while the machine sleeps, as this clock does.
    let up = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
    u64::try_from(now.saturating_sub(up).as_micros()).unwrap_or(0)
}

impl Running {
    fn run(mut self) {
        loop {
            let error = match self.follow() {
                End::Stopped => break,
                End::Failed(error) => error,
            };
            let hint = match error.kind() {
                ErrorKind::PermissionDenied | ErrorKind::NotFound => {
                    " (the service must be allowed to read it: see `kernel` in logweir.toml(5))"
                }
                _ => "",
            };
            let why = format!("{}: {error}{hint}", self.device.display());
            self.numbered.inlet().tell(Change::State(Err(why)));
            if self.numbered.rest(AGAIN) {
                break;
            }
        }
        self.numbered.finish();
    }

    fn follow(&mut self) -> End {
        let mut options = OpenOptions::new();
        let opened = options.read(true).custom_flags(libc::O_NONBLOCK).open(&self.device);
        let mut device = match opened {
            Ok(device) => device,
            Err(error) => return End::Failed(error),
        };
        let Some(stored) = self.numbered.ask(&[self.boot]) else { return End::Stopped };
        if let Err(error) = self.resume(&mut device, stored) {
            return End::Failed(error);
        }
        self.numbered.inlet().tell(Change::State(Ok(())));
        let mut buffer = vec![0; RECORD_MAX];
        loop {
            if self.numbered.inlet().stopped() {
                return End::Stopped;
            }
            self.numbered.take_answers();
            self.booted = booted();
            match self.read_all(&mut device, &mut buffer) {
                Ok(Got::End) => return End::Stopped,
                Ok(_) => {}
                Err(error) => return End::Failed(error),
            }
            let longest = self.numbered.longest_wait();
            wait_any(&[device.as_fd()], self.numbered.inlet().bell(), longest);
        }
    }

    /// Finds where to go on. Of a boot that is not known, all is read; at the very first start,
    /// what is there is not known to be all that there was.
    fn resume(&mut self, device: &mut File, stored: Vec<Stored>) -> std::io::Result<()> {
        let stored = stored.into_iter().next().unwrap_or_default();
        let is_first = self.numbered.is_first() && self.last.is_none() && stored.last.is_none();
        if is_first && self.plan.start == Start::End {
            device.seek(SeekFrom::End(0))?;
        }
        self.last = self.last.max(stored.last);
        self.borders = stored.borders;
        Ok(())
    }

    /// Reads what is there now, up to as much as is handed over at once.
    fn read_all(&mut self, device: &mut File, buffer: &mut [u8]) -> std::io::Result<Got> {
        let mut got = Got::Nothing;
        while self.lines.held() < FOLLOW_READ {
            got = read(device, buffer)?;
            let Got::Record(count) = got else { break };
            match parse(&buffer[..count]) {
                Some(record) => self.take(&record),
                None => self.lines.counts.malformed += 1,
            }
        }
        self.flush();
        self.numbered.set_barrier_where_due();
        Ok(got)
    }

    fn take(&mut self, record: &Record) {
        let number = record.sequence;
        if self.last.is_some_and(|last| number <= last) {
            return;
        }
        let lost = match self.last {
            Some(last) => number - last - 1,
            // A boot after one that is known: all of it was to be read.
            None if self.numbered.has_positions() => number,
            None => 0,
        };
        if lost > 0 {
            self.lines.counts.sequence_lost += lost;
            log::warn!(
                "input.{}: the kernel overwrote {lost} messages before they were read; a larger \
                 buffer (log_buf_len= on the kernel's command line) keeps more",
                self.numbered.inlet().name()
            );
        }
        self.writer.write(record, self.time(record), &mut self.lines);
        self.last = Some(number);
        let first = self.span.map_or(number, |span| span.first);
        self.span = Some(Span { origin: self.boot, first, last: number });
        // Each batch is one piece, so that each has its numbers.
        if self.borders.contains(&number) || self.lines.held() >= FOLLOW_READ {
            self.flush();
        }
    }

    fn time(&self, record: &Record) -> Time {
        let micros = self.booted.saturating_add(record.micros);
        let nanos = u32::try_from(micros % 1_000_000 * 1000).unwrap_or(0);
        (i64::try_from(micros / 1_000_000).unwrap_or(0), nanos)
    }

    /// Hands over what is gathered.
    fn flush(&mut self) {
        let counts = std::mem::take(&mut self.lines.counts);
        let span = self.span.take();
        let pieces: Vec<_> = self.lines.take().collect();
        debug_assert!(pieces.len() <= 1);
        for piece in pieces {
            self.numbered.send(Piece { origin: span, ..piece });
        }
        self.numbered.count(counts);
    }
}

/// Reads once. What was overwritten shows in the number of the record that follows.
fn read(device: &mut File, buffer: &mut [u8]) -> std::io::Result<Got> {
    loop {
        match device.read(buffer) {
            Ok(0) => return Ok(Got::End),
            Ok(count) => return Ok(Got::Record(count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Got::Nothing),
            // EPIPE: the record that was next is overwritten. EINTR: again.
            Err(error)
                if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
