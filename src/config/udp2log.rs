//! udp2log's own configuration file, so that it continues to work unchanged.
//!
//! One output per line: `[flush] [nonblocking] file|pipe FACTOR REST-OF-LINE`, the words separated
//! by blanks and tabs; `#` in column 0 is a comment, blank lines are skipped. REST begins right
//! after the single blank that ends FACTOR. Unlike udp2log we accept a last line without a newline,
//! and report every bad line instead of the first. `flush`, `nonblocking` and the older `blocking`
//! are accepted without effect: lines are always written within moments, and no pipe ever waits for
//! another.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;

use super::plan::{
    BodyPlan, DaemonPlan, InputPlan, NodePlan, Plan, SampleMode, SamplePlan, SelectPlan, SourcePlan,
};
use crate::fs::Access;
use crate::limits;
use crate::logger::Verbosity;
use crate::output::name::NameTemplate;
use crate::proto::file::config::FilePlan;
use crate::proto::shared::datagrams::UdpInPlan;
use crate::proto::shared::process;
use crate::settings::diagnostic::shown;
use crate::settings::{Refusal, Report, Span};

/// The name of the one input.
pub const INPUT: &str = "udp2log";

/// The mode of a new file, as for udp2log's before its umask.
const FILE_MODE: u32 = 0o644;

/// The settings of udp2log's command line for its input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The address to bind.
    pub address: SocketAddr,
    /// The multicast group to join.
    pub multicast: Option<IpAddr>,
    /// The receive buffer in KB.
    pub receive_kb: Option<u64>,
}

/// Reads udp2log's configuration.
///
/// Each output is named by its line and kind, as in `12:file`.
///
/// # Errors
/// For every invalid line.
pub fn parse(text: &[u8], file_name: &str, options: &Options) -> Result<Plan, Refusal> {
    // Invalid UTF-8 matters only in a name or a command, not in a comment.
    let text = String::from_utf8_lossy(text);
    let mut report = Report::new(file_name, &text);
    let mut nodes = vec![input(options)];
    let mut start = 0;
    for (index, line) in text.split('\n').enumerate() {
        let span = start..start + line.len();
        start = span.end + 1;
        if let Some(node) = read_line(index + 1, line, span, &mut report) {
            nodes.push(node);
        }
    }
    if nodes.len() > limits::NODES_MAX {
        let max = limits::NODES_MAX - 1;
        report.error_whole("there are too many outputs", format!("the maximum is {max}"));
    }
    let needed = nodes.len() as u64 * limits::QUEUE_MIN * 2;
    let daemon = DaemonPlan {
        metrics: None,
        state: None,
        stuck_after: limits::STUCK_DEFAULT,
        control: None,
        memory: limits::MEMORY_DEFAULT.max(needed),
        grace: limits::GRACE_DEFAULT,
        log: Verbosity::default(),
    };
    Ok(report.finish(Some(Plan { daemon, nodes }))?.1)
}

fn input(options: &Options) -> NodePlan {
    let asked = options.receive_kb.map(|kb| kb.saturating_mul(1024));
    let bounds = (limits::RECEIVE_BUFFER_MIN, limits::RECEIVE_BUFFER_MAX);
    let udp = UdpInPlan {
        address: options.address,
        receive_buffer: asked
            .map_or(limits::RECEIVE_BUFFER_DEFAULT, |bytes| bytes.clamp(bounds.0, bounds.1)),
        sockets: 1,
        multicast: options.multicast,
        interface: None,
    };
    NodePlan {
        name: INPUT.into(),
        from: Vec::new(),
        select: SelectPlan::default(),
        squeeze: None,
        body: BodyPlan::Input(InputPlan {
            source: SourcePlan::Udp(udp),
            max_line: limits::LINE_LENGTH_DEFAULT,
            sequence: false,
        }),
    }
}

/// The words of a line, and the offset of the next one.
struct Words<'l> {
    line: &'l str,
    at: usize,
    start: usize,
}

impl<'l> Words<'l> {
    /// The next word and its place; skips the one blank after it.
    fn next(&mut self) -> Option<(&'l str, Span)> {
        let blank = |c| c == ' ' || c == '\t';
        let rest = &self.line[self.at..];
        let from = self.at + (rest.len() - rest.trim_start_matches(blank).len());
        let word = self.line[from..].split(blank).next().filter(|word| !word.is_empty())?;
        let end = from + word.len();
        self.at = (end + 1).min(self.line.len());
        Some((word, self.start + from..self.start + end))
    }

    /// The rest of the line, unchanged.
    fn rest(&self) -> (&'l str, Span) {
        (&self.line[self.at..], self.start + self.at..self.start + self.line.len())
    }
}

fn read_line(number: usize, line: &str, span: Span, report: &mut Report<'_>) -> Option<NodePlan> {
    if line.starts_with('#') {
        return None;
    }
    let mut words = Words { line, at: 0, start: span.start };
    let mut word = words.next()?;
    let end = span.end..span.end;
    for modifier in ["flush", "nonblocking", "blocking"] {
        if word.0 == modifier {
            let Some(next) = words.next() else {
                report.error(&end, "", format!("`file` or `pipe` is missing after `{modifier}`"));
                return None;
            };
            word = next;
        }
    }
    let (kind, span) = word;
    if !["file", "pipe"].contains(&kind) {
        let help = "a line is: [flush] [nonblocking] file|pipe FACTOR REST";
        report.error_help(&span, "", format!("unknown kind of output `{}`", shown(kind)), help);
        return None;
    }
    let Some((factor, span)) = words.next() else {
        report.error(&end, "", format!("the sampling factor is missing after `{kind}`"));
        return None;
    };
    let Some(n) = number_as_c(factor) else {
        let message = "the sampling factor must be a number of at least 1";
        report.error(&span, "", message);
        return None;
    };
    let (rest, span) = words.rest();
    let body = body(kind, rest, ("exec ", &span), report)?;
    let sample = (n.get() > 1).then_some(SamplePlan { n, mode: SampleMode::EveryFromStart });
    Some(NodePlan {
        name: format!("{number}:{kind}"),
        from: vec![INPUT.into()],
        select: SelectPlan { sample, ..SelectPlan::default() },
        squeeze: None,
        body,
    })
}

/// Parses a number like C's `atoi`: what follows the digits is ignored.
fn number_as_c(word: &str) -> Option<NonZeroU64> {
    let digits = word.strip_prefix('+').unwrap_or(word);
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let number: u32 = digits[..end].parse().ok()?;
    // The range of C's int.
    i32::try_from(number).ok()?;
    NonZeroU64::new(number.into())
}

/// The output of a line; `before` stands before a command for the shell.
pub(super) fn body(
    kind: &str,
    rest: &str,
    (before, span): (&str, &Span),
    report: &mut Report<'_>,
) -> Option<BodyPlan> {
    let what = if kind == "file" { "file name" } else { "command" };
    if rest.trim().is_empty() {
        report.error(span, "", format!("the {what} is missing"));
        return None;
    }
    if rest.contains('\0') {
        report.error(span, "", format!("the {what} contains a NUL byte"));
        return None;
    }
    if rest.contains('\u{FFFD}') {
        report.error(span, "", format!("the {what} is not UTF-8"));
        return None;
    }
    if kind == "pipe" {
        let mut pipe = process::defaults(format!("{before}{rest}"));
        // Old pipes may well run sudo.
        pipe.confine.may_gain_privileges = true;
        return Some(BodyPlan::Pipe(pipe));
    }
    if rest.trim_start().starts_with('/') && !rest.starts_with('/') {
        let help = "write the factor, one blank, and the name";
        report.error_help(span, "", "the file name begins with a blank", help);
        return None;
    }
    if rest.ends_with('/') {
        report.error(span, "", "the name ends with '/': name a file, not a folder");
        return None;
    }
    let access = Box::new(Access { mode: FILE_MODE, ..Access::default() });
    Some(BodyPlan::File(FilePlan { access, ..FilePlan::new(NameTemplate::literal(rest)) }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn options() -> Options {
        let address = "0.0.0.0:8420".parse().unwrap();
        Options { address, multicast: None, receive_kb: Some(1024) }
    }

    fn plan(text: &[u8]) -> Plan {
        parse(text, "u", &options()).unwrap_or_else(|refusal| panic!("{refusal}"))
    }

    #[test]
    fn an_existing_file_keeps_working() {
        let plan = plan(
            b"# sampled\n\nfile 1000 /a/b-100%.log\n\t \n\
            flush nonblocking  pipe\t1 awk  '{x}' >> /y\n\
              flush file 2x {z}\n",
        );
        let names: Vec<_> = plan.nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["udp2log", "3:file", "5:pipe", "6:file"]);
        assert_eq!(plan.daemon.control, None);
        let sample = plan.nodes[1].select.sample.as_ref().unwrap();
        assert_eq!((sample.n.get(), &sample.mode), (1000, &SampleMode::EveryFromStart));
        let BodyPlan::File(file) = &plan.nodes[1].body else { panic!() };
        assert_eq!(file.path.as_str(), "/a/b-100%.log");
        assert!(!file.path.has_time());
        let BodyPlan::Pipe(pipe) = &plan.nodes[2].body else { panic!() };
        assert_eq!(pipe.command, "exec awk  '{x}' >> /y");
        assert_eq!(plan.nodes[2].select.sample, None);
        let BodyPlan::File(file) = &plan.nodes[3].body else { panic!() };
        assert_eq!(file.path.as_str(), "{z}");
        let BodyPlan::Input(input) = &plan.nodes[0].body else { panic!() };
        let SourcePlan::Udp(udp) = &input.source else { panic!() };
        assert_eq!(udp.receive_buffer, 1 << 20);
    }

    #[test]
    fn an_empty_file_and_a_last_line_without_newline_are_fine() {
        assert_eq!(plan(b"").nodes.len(), 1);
        assert_eq!(plan(b"file 1 /x").nodes.len(), 2);
        assert_eq!(plan(b"# \xff\nfile 1 /x").nodes[1].name, "2:file");
    }

    #[test]
    fn every_bad_line_is_named() {
        let text = b"file 0 /x\n # c\nflush\nblocky pipe 1 cat\nfile\npipe 10\nfile 1 \xff\n\
            file 1 /fine\nfile ten /x\nnonblocking flush file 1 /x\nfile 1  /x\n\
            file 4294967297 /x\n\
            file 1 /x\0\nfile 1 /log/\nfile -1 /x\n";
        let refusal = parse(text, "u", &options()).unwrap_err();
        let lines: Vec<_> = refusal
            .diagnostics
            .iter()
            .map(|d| d.to_string().lines().next().unwrap_or_default().to_owned())
            .collect();
        let factor = "the sampling factor must be a number of at least 1";
        assert_eq!(
            lines,
            [
                format!("u:1:6: error: {factor}"),
                "u:2:2: error: unknown kind of output `#`".into(),
                "u:3:6: error: `file` or `pipe` is missing after `flush`".into(),
                "u:4:1: error: unknown kind of output `blocky`".into(),
                "u:5:5: error: the sampling factor is missing after `file`".into(),
                "u:6:8: error: the command is missing".into(),
                "u:7:8: error: the file name is not UTF-8".into(),
                format!("u:9:6: error: {factor}"),
                "u:10:13: error: unknown kind of output `flush`".into(),
                "u:11:8: error: the file name begins with a blank".into(),
                format!("u:12:6: error: {factor}"),
                "u:13:8: error: the file name contains a NUL byte".into(),
                "u:14:8: error: the name ends with '/': name a file, not a folder".into(),
                format!("u:15:6: error: {factor}"),
            ]
        );
        assert!(refusal.to_string().ends_with("14 errors in u"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes, "u", &options());
        }

        #[test]
        fn no_words_make_it_panic(text in "((flush|nonblocking|file|pipe|1|0|#|é| |\t|\n)){0,40}") {
            let _ = parse(text.as_bytes(), "u", &options());
        }
    }
}
