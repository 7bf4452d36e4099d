//! Reading the journal: a `journalctl` that follows it, from the last entry that is stored.
//!
//! Whoever writes a journal numbers its entries, under an identity of its own (`i` and `s` of a
//! cursor). So a journal is an origin, and its entries go exactly once into a spool; without one,
//! the position is kept in a file.

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::config::JournalPlan;
use super::export::{Cursor, Entry, Malformed, Reader};
use super::message::{FIELDS, Writer};
use crate::batch::Span;
use crate::ids::Identity;
use crate::ingress::Source;
use crate::ingress::files::source::Start;
use crate::ingress::inbox::{Change, Inlet};
use crate::ingress::numbered::{Numbered, Stored};
use crate::ingress::program::{Output, Program};
use crate::input::Piece;
use crate::limits::FOLLOW_READ;
use crate::proto::shared::record::Lines;

/// The program.
pub(super) const JOURNALCTL: &str = "journalctl";
/// First and longest wait before it is started again.
const RESTART: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// The most of the journal's headers that is read.
const HEADERS_MAX: u64 = 16 * 1024 * 1024;

/// The source, not started yet.
pub(super) struct Journal {
    /// What is read.
    pub(super) plan: JournalPlan,
    /// Longer messages are cut.
    pub(super) max_message: usize,
    /// The file of positions.
    pub(super) positions: PathBuf,
}

struct Running {
    plan: JournalPlan,
    max_message: usize,
    numbered: Numbered,
    is_first: bool,
    /// Journals of which is known how far they are stored.
    known: HashSet<Identity>,
    /// How far each journal is read.
    read: HashMap<Identity, u64>,
    /// Places that some spools have come to: no batch goes across.
    borders: HashSet<(Identity, u64)>,
    writer: Writer,
    lines: Lines,
    /// The numbers of the lines that are gathered.
    span: Option<Span>,
}

impl Source for Journal {
    fn sends_barriers(&self) -> bool {
        true
    }

    fn run(self: Box<Self>, inlet: Inlet) {
        let numbered = Numbered::new(inlet, &self.positions, self.plan.start == Start::End);
        let running = Running {
            writer: Writer::new(self.plan.form),
            lines: Lines::new(self.max_message),
            plan: self.plan,
            max_message: self.max_message,
            is_first: numbered.is_first(),
            numbered,
            known: HashSet::new(),
            read: HashMap::new(),
            borders: HashSet::new(),
            span: None,
        };
        running.run();
    }
}

/// Why reading ended.
enum End {
    /// The input is to end.
    Stopped,
    /// The program ended, or cannot be started.
    Failed(String),
}

impl Running {
    fn run(mut self) {
        let mut wait = RESTART.0;
        loop {
            let begun = Instant::now();
            let why = match self.follow() {
                End::Stopped => break,
                End::Failed(why) => why,
            };
            if begun.elapsed() > RESTART.1 {
                wait = RESTART.0;
            }
            let why = format!("{JOURNALCTL}: {why}; started again");
            self.numbered.inlet().tell(Change::State(Err(why)));
            if self.numbered.rest(wait) {
                break;
            }
            wait = (2 * wait).min(RESTART.1);
        }
        self.numbered.finish();
    }

    fn command(&self) -> Command {
        let mut command = Command::new(JOURNALCTL);
        command.args(["--no-pager", "--quiet"]);
        if let Some(directory) = &self.plan.directory {
            command.arg("--directory").arg(directory);
        }
        command
    }

    /// Has it follow all boots: by itself it leaves out those before the present one. What it
    /// merges are also the journals of other hosts, where no folder is named; they are left out.
    fn follow_all(&self, command: &mut Command) {
        command.args(["--follow", "--merge", "--output=export"]);
        let host = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
        if self.plan.directory.is_none() && !host.trim().is_empty() {
            command.arg(format!("_MACHINE_ID={}", host.trim()));
        }
    }

    /// Follows the journal until the program or the input ends.
    fn follow(&mut self) -> End {
        let mut journals = match self.journals() {
            Ok(journals) => journals,
            Err(why) => return End::Failed(why),
        };
        if journals.is_empty() {
            // The answer also says whether there are spools.
            journals.push(Identity::of(0));
        }
        let Some(stored) = self.numbered.ask(&journals) else { return End::Stopped };
        let from = self.resume(&journals, &stored);
        let mut command = self.command();
        self.follow_all(&mut command);
        command.arg(format!("--output-fields={}", FIELDS.join(",")));
        match from {
            None if self.plan.start == Start::End && self.is_first => command.arg("--lines=0"),
            // Otherwise it shows ten entries, and the rest only once there is another.
            _ => command.arg("--no-tail"),
        };
        if let Some(cursor) = from {
            // Not behind it: where its entry was removed, some versions leave out the next one.
            command.arg(format!("--cursor={}", cursor.text()));
        }
        self.is_first = false;
        for unit in &self.plan.units {
            command.arg("--unit").arg(unit);
        }
        if let Some(priority) = &self.plan.priority {
            command.arg("--priority").arg(priority);
        }
        match Program::start(command) {
            Ok(program) => self.read(program, from),
            Err(error) => End::Failed(error.to_string()),
        }
    }

    /// The identities of the journals that are there, the oldest first.
    fn journals(&self) -> Result<Vec<Identity>, String> {
        let mut command = self.command();
        command.arg("--header").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        let mut text = Vec::new();
        if let Some(output) = child.stdout.take() {
            let read = output.take(HEADERS_MAX).read_to_end(&mut text);
            read.map_err(|error| error.to_string())?;
        }
        // How it ended shows in what it wrote.
        let _ = child.wait();
        Ok(journals_of(&String::from_utf8_lossy(&text)))
    }

    /// Where to go on: in the oldest journal of which something is stored. Entries of newer ones
    /// that are stored come again, and are known by their numbers.
    fn resume(&mut self, journals: &[Identity], stored: &[Stored]) -> Option<Cursor> {
        let mut from = None;
        self.known.clear();
        self.borders.clear();
        for (journal, stored) in journals.iter().zip(stored) {
            self.know(*journal, stored);
            let cursor = stored.last.map(|number| Cursor { origin: *journal, number });
            from = from.or(cursor);
        }
        from
    }

    /// Takes in how far a journal is stored.
    fn know(&mut self, journal: Identity, stored: &Stored) {
        self.known.insert(journal);
        self.borders.extend(stored.borders.iter().map(|border| (journal, *border)));
        if let Some(last) = stored.last {
            // More may be handed over already.
            let read = self.read.entry(journal).or_insert(last);
            *read = last.max(*read);
        }
    }

    /// A journal that was not there at the start, or whose headers could not be read then: a
    /// journal that is being rotated has none for a moment. Whether the input goes on.
    fn meet(&mut self, journal: Identity) -> bool {
        self.flush();
        let Some(stored) = self.numbered.ask(&[journal]) else { return false };
        stored.iter().for_each(|stored| self.know(journal, stored));
        true
    }

    fn read(&mut self, mut program: Program, from: Option<Cursor>) -> End {
        let mut reader = Reader::new(self.max_message);
        let mut buffer = vec![0; FOLLOW_READ];
        let mut resumed = from;
        let mut is_told = false;
        loop {
            if self.numbered.inlet().stopped() {
                return End::Stopped;
            }
            self.numbered.take_answers();
            let longest = self.numbered.longest_wait();
            match program.read(&mut buffer, self.numbered.inlet().bell(), longest) {
                Ok(Output::Bytes(count)) => reader.push(&buffer[..count]),
                Ok(Output::Rang | Output::TimedOut) => continue,
                Ok(Output::Ended) => return End::Failed(program.end()),
                Err(error) => return End::Failed(error.to_string()),
            }
            if !std::mem::replace(&mut is_told, true) {
                self.numbered.inlet().tell(Change::State(Ok(())));
            }
            loop {
                match reader.next_entry() {
                    Ok(Some(entry)) if self.take(&entry, &mut resumed) => {}
                    Ok(Some(_)) => return End::Stopped,
                    Ok(None) => break,
                    Err(Malformed) => {
                        self.lines.counts.malformed += 1;
                        self.flush();
                        return End::Failed("what it writes is not the export format".into());
                    }
                }
            }
            self.flush();
            self.numbered.set_barrier_where_due();
        }
    }

    /// Takes in an entry. `resumed` is where reading went on, until the first one has come. Whether
    /// the input goes on.
    fn take(&mut self, entry: &Entry, resumed: &mut Option<Cursor>) -> bool {
        let Some(Cursor { origin, number }) = entry.cursor() else {
            self.lines.counts.malformed += 1;
            return true;
        };
        if !self.known.contains(&origin) && !self.meet(origin) {
            return false;
        }
        let read = self.read.get(&origin).copied();
        if read.is_some_and(|read| number <= read) {
            return true;
        }
        let is_all = self.plan.units.is_empty() && self.plan.priority.is_none();
        if let Some(from) = resumed.take()
            && let Some(read) = read
            && from.origin == origin
            && is_all
        {
            // Removed before it was read.
            self.lines.counts.sequence_lost += number - read - 1;
        }
        if self.span.is_some_and(|span| span.origin != origin) {
            self.flush();
        }
        self.writer.write(entry, &mut self.lines);
        self.read.insert(origin, number);
        let first = self.span.map_or(number, |span| span.first);
        self.span = Some(Span { origin, first, last: number });
        let is_border = self.borders.contains(&(origin, number));
        // Each batch is one piece, so that each has its numbers.
        if is_border || self.lines.held() >= FOLLOW_READ {
            self.flush();
        }
        true
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

/// The identities in what `journalctl --header` writes, by the time of their first entries.
fn journals_of(text: &str) -> Vec<Identity> {
    let mut found: Vec<(Option<String>, Identity)> = Vec::new();
    let mut identity: Option<Identity> = None;
    for line in text.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        match name.trim() {
            "Sequential number ID" | "Sequential Number ID" => {
                identity = value.replace('-', "").parse().ok();
            }
            "Head realtime timestamp" | "Head Realtime Timestamp" => {
                // The number in parentheses, in hexadecimal; the text before it is local time.
                let time = value.rsplit_once('(').map(|(_, number)| format!("{number:0>20}"));
                found.extend(identity.take().map(|identity| (time, identity)));
            }
            _ => {}
        }
    }
    found.sort();
    let mut seen = HashSet::new();
    found.retain(|(_, identity)| seen.insert(*identity));
    found.into_iter().map(|(_, identity)| identity).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journals_are_named_by_their_headers_the_oldest_first() {
        let text = "File path: /x/system.journal\nFile ID: 00\n\
                    Sequential number ID: 0000000000000000000000000000000b\n\
                    Head realtime timestamp: Fri 2026-11-27 18:00:00 UTC (63f2)\n\n\
                    File path: /x/old.journal\n\
                    Sequential number ID: 0000000000000000000000000000000a\n\
                    Head realtime timestamp: Thu 2026-11-26 18:00:00 UTC (9f2)\n\n\
                    Sequential number ID: 0000000000000000000000000000000a\n\
                    Head realtime timestamp: Fri 2026-11-27 19:00:00 UTC (73f2)\n";
        assert_eq!(journals_of(text), [Identity::of(10), Identity::of(11)]);
        assert_eq!(journals_of("No journal files were found."), []);
    }
}
