//! kafkatee's own configuration file, so that it continues to work unchanged.
//!
//! A line is `name = value`, `include FILE`, `input [KEY=VALUE,…] kafka topic T partition N[-M]
//! from WHERE`, or `output pipe|file FACTOR REST`; `#` begins a comment line. Inputs become a
//! configuration of ours, which the usual checks read; outputs are udp2log's. Properties that have
//! no meaning here are warned of by name; those that would change what comes out are refused.

mod properties;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::plan::{NodePlan, Plan, SampleMode, SamplePlan, SelectPlan};
use super::{include, read_bytes, udp2log};
use crate::limits;
use crate::settings::{Refusal, Report, Span};

use properties::Properties;

/// What a configuration file says.
#[derive(Debug)]
pub struct Tee {
    /// The inputs and outputs.
    pub plan: Plan,
    /// What is left out, a sentence each.
    pub warnings: Vec<String>,
    /// Whether to run in the background.
    pub in_background: bool,
    /// Where the process id is written, if it is said.
    pub pid_file: Option<PathBuf>,
    /// Commands to run before and after everything else.
    pub commands: [Option<String>; 2],
    /// Files of positions that do not outlive the process: their inputs begin anew each time.
    pub passing: Vec<PathBuf>,
}

/// The name of an output that stands for all of them while the inputs are checked.
const PLACE: &str = "outputs";
/// How deep files may include others.
const DEPTH_MAX: usize = 10;

#[derive(Debug, Default)]
struct Reading {
    properties: Properties,
    inputs: Vec<Input>,
    outputs: Vec<NodePlan>,
    warnings: Vec<String>,
    files: usize,
}

/// A line with an input.
#[derive(Debug)]
struct Input {
    topic: String,
    partitions: (u32, u32),
    from: String,
    is_json: bool,
}

/// Reads kafkatee's configuration.
///
/// # Errors
/// For every invalid line.
pub fn read(path: &Path) -> Result<Tee, Refusal> {
    let mut reading = Reading::default();
    reading.file(path, 0)?;
    let name = path.display().to_string();
    reading.finish(&name)
}

impl Reading {
    fn file(&mut self, path: &Path, depth: usize) -> Result<(), Refusal> {
        let name = path.display().to_string();
        self.files += 1;
        if depth > DEPTH_MAX || self.files > limits::INCLUDED_MAX {
            let message = "too many files include each other".into();
            return Err(Refusal::whole(&name, message, None));
        }
        let bytes = read_bytes(path, &name)?;
        let text = String::from_utf8_lossy(&bytes);
        let mut report = Report::new(&name, &text);
        let mut start = 0;
        for (index, line) in text.split('\n').enumerate() {
            let span = start..start + line.len();
            start = span.end + 1;
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(pattern) = line.strip_prefix("include ") {
                let folder = path.parent().unwrap_or_else(|| Path::new(""));
                match include::matching(&folder.join(pattern.trim())) {
                    Ok(paths) => {
                        for path in paths {
                            self.file(&path, depth + 1)?;
                        }
                    }
                    Err(message) => {
                        report.error(&span, "", message);
                    }
                }
                continue;
            }
            self.line(index + 1, line, &span, &mut report);
        }
        report.finish(Some(())).map(drop)
    }

    fn line(&mut self, number: usize, line: &str, span: &Span, report: &mut Report<'_>) {
        // As kafkatee tells the two apart: nothing but blanks stands before the `=`.
        let property = line.split_once('=').filter(|(name, _)| !name.trim_end().contains(' '));
        if let Some((name, value)) = property {
            let said = self.properties.set(name.trim(), value.trim());
            match said {
                Ok(None) => {}
                Ok(Some(warning)) => self.warnings.push(warning),
                Err(message) => {
                    report.error(span, name.trim(), message);
                }
            }
            return;
        }
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        let done = match kind {
            "input" => self.input(rest.trim_start()),
            "output" => self.output(number, rest.trim_start(), span, report),
            _ => Err(format!("unknown directive `{kind}`")),
        };
        if let Err(message) = done {
            let help = "a line is: NAME = VALUE, include FILE, input …, or output pipe|file FACTOR \
                        REST";
            report.error_help(span, "", message, help);
        }
    }

    fn input(&mut self, rest: &str) -> Result<(), String> {
        let (options, rest) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']').ok_or("the `]` is missing")?,
            None => ("", rest),
        };
        let mut is_json = false;
        for option in options.split(',').map(str::trim).filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            match (name.trim(), value.trim()) {
                ("encoding", value) => is_json = properties::is_json(value)?,
                (name @ ("stop.eof" | "exit.on.exit"), value) if properties::is_true(value) => {
                    return Err(format!("`{name}` is not taken: an input is read without an end"));
                }
                ("stop.eof" | "exit.on.exit" | "stop.error", _) => {}
                (name, _) => return Err(format!("unknown option of an input `{name}`")),
            }
        }
        let words: Vec<_> = rest.split_whitespace().collect();
        let [kind, "topic", topic, "partition", partitions, "from", from] = words[..] else {
            return Err(match words.first() {
                Some(&"pipe") => "a program as an input is not taken: start it as \
                                  `PROGRAM | logweir run`, with `stdin = true`"
                    .into(),
                _ => "an input is: kafka topic T partition N[-M] from beginning|end|stored".into(),
            });
        };
        if kind != "kafka" {
            return Err(format!("unknown kind of input `{kind}`"));
        }
        let (low, high) = partitions.split_once('-').unwrap_or((partitions, partitions));
        let number = |text: &str| text.parse::<u32>().ok().filter(|n| *n < 20_000);
        let (Some(low), Some(high)) = (number(low), number(high)) else {
            return Err(format!("`{partitions}` is neither a partition nor a range of them"));
        };
        if low > high {
            return Err(format!("the range of partitions `{partitions}` is empty"));
        }
        if !["beginning", "end", "stored"].contains(&from) {
            return Err(format!("`from {from}` is not taken: say beginning, end or stored"));
        }
        let (topic, from) = (topic.to_string(), from.to_string());
        self.inputs.push(Input { topic, partitions: (low, high), from, is_json });
        Ok(())
    }

    fn output(
        &mut self,
        number: usize,
        rest: &str,
        span: &Span,
        report: &mut Report<'_>,
    ) -> Result<(), String> {
        let mut parts = rest.splitn(2, ' ');
        let (kind, rest) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if !["pipe", "file"].contains(&kind) {
            return Err(format!("unknown kind of output `{kind}`"));
        }
        let (factor, rest) = rest.trim_start().split_once(' ').unwrap_or_default();
        let Some(n) = factor.parse().ok() else {
            return Err("the sampling factor must be a number of at least 1".into());
        };
        let rest = rest.trim_start();
        let shell = self.properties.environment();
        let Some(body) = udp2log::body(kind, rest, (&shell, span), report) else { return Ok(()) };
        let sample = (factor != "1").then_some(SamplePlan { n, mode: SampleMode::EveryFromStart });
        self.outputs.push(NodePlan {
            name: format!("{}.{number}:{kind}", self.files),
            from: Vec::new(),
            select: SelectPlan { sample, ..SelectPlan::default() },
            squeeze: None,
            body,
        });
        Ok(())
    }

    fn finish(self, name: &str) -> Result<Tee, Refusal> {
        let refuse = |message: &str, help| Refusal::whole(name, message.into(), help);
        let Self { properties, inputs, outputs, mut warnings, .. } = self;
        if inputs.is_empty() || outputs.is_empty() {
            let help = "as in: input kafka topic T partition 0-10 from stored";
            return Err(refuse("there must be an input and an output", Some(help)));
        }
        if inputs.iter().any(|input| input.is_json) && !properties.is_json {
            let help = "read them as they are, with output.encoding = json, and cut fields out in \
                        a filter";
            return Err(refuse("JSON records are not turned into text", Some(help)));
        }
        let (mut text, mut passing) = (String::new(), Vec::new());
        for (at, input) in inputs.iter().enumerate() {
            let path = properties.positions(input);
            let start = match input.from.as_str() {
                "stored" => properties.reset(),
                from => {
                    passing.push(path.clone());
                    from
                }
            };
            let partitions: Vec<_> = (input.partitions.0..=input.partitions.1).collect();
            // Writing to memory cannot fail.
            let _ = write!(
                text,
                "[input.in{at}]\nkafka = {{ topic = {}, partitions = {partitions:?}, start = \
                 \"{start}\"{}, {} }}\npositions = {}\n",
                quoted(&input.topic),
                properties.offset_files(input),
                properties.access().map_err(|message| refuse(&message, None))?,
                quoted(&path.display().to_string()),
            );
        }
        // The outputs are not written in TOML, which takes none of their names as they are.
        let _ = writeln!(text, "[output.{PLACE}]\nstdout = true");
        let mut plan = super::parse(&text, name)?.plan;
        plan.nodes.retain(|node| node.name != PLACE);
        let names: Vec<_> = plan.nodes.iter().map(|node| node.name.clone()).collect();
        let with_inputs = |output| NodePlan { from: names.clone(), ..output };
        plan.nodes.extend(outputs.into_iter().map(with_inputs));
        plan.daemon.control = None;
        plan.daemon.metrics = None;
        plan.daemon.log = properties.log;
        warnings.dedup();
        Ok(Tee {
            plan,
            warnings,
            in_background: properties.in_background,
            pid_file: properties.pid_file,
            commands: [properties.init, properties.term],
            passing,
        })
    }
}

/// A text as TOML has it.
fn quoted(text: &str) -> String {
    toml::Value::String(text.into()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::plan::{BodyPlan, SourcePlan};

    /// Reads a configuration of this text.
    fn said(text: &str) -> Result<Tee, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.conf");
        std::fs::write(folder.path().join("more.conf"), "setenv.MORE = it's\n").unwrap();
        std::fs::write(&path, text).unwrap();
        let place = folder.path().display().to_string();
        read(&path).map_err(|refusal| refusal.to_string().replace(&place, ""))
    }

    const WHOLE: &str = "# Kafka\n\
        kafka.metadata.broker.list = k1,k2:9093\n\
        kafka.offset.store.path = /var/cache/tee\n\
        kafka.topic.auto.offset.reset = smallest\n\
        kafka.message.max.bytes=4000000\n\
        daemonize = false\n\
        include more.*\n\
        input [encoding=string] kafka topic web partition 0-3 from stored\n\
        input kafka topic text partition 7 from end\n\
        output pipe 100 grep -v ' a b' | wc -l >>/out\n\
        output file 1 /var/log/100%.log\n";

    #[test]
    fn an_existing_file_keeps_working() {
        let tee = said(WHOLE).unwrap();
        let nodes = &tee.plan.nodes;
        assert_eq!(nodes.len(), 4);
        let described: Vec<_> = nodes[..2]
            .iter()
            .map(|node| match &node.body {
                BodyPlan::Input(input) => input.source.describe(),
                _ => panic!("{node:?}"),
            })
            .collect();
        assert_eq!(described[0], "kafka web on k1:9092 k2:9093 partitions 0-3");
        let BodyPlan::Input(input) = &nodes[0].body else { panic!() };
        let SourcePlan::Kafka(web) = &input.source else { panic!() };
        assert_eq!(web.partitions.as_deref(), Some(&[0, 1, 2, 3][..]));
        let positions = web.positions.as_deref().unwrap();
        assert_eq!(positions, Path::new("/var/cache/tee/web-0-3.stored.positions"));
        assert_eq!(tee.passing, [Path::new("/var/cache/tee/text-7-7.end.positions")]);
        let BodyPlan::Pipe(pipe) = &nodes[2].body else { panic!() };
        let command = "export MORE='it'\\''s'; grep -v ' a b' | wc -l >>/out";
        assert_eq!(pipe.command, command);
        assert_eq!(nodes[2].select.sample.as_ref().unwrap().n.get(), 100);
        assert_eq!(nodes[2].from, ["in0", "in1"]);
        let BodyPlan::File(file) = &nodes[3].body else { panic!() };
        assert_eq!((file.path.as_str(), file.path.has_time()), ("/var/log/100%.log", false));
        assert!(!tee.in_background && tee.plan.daemon.control.is_none());
        let left_out = "kafka.message.max.bytes has no meaning here and is left out";
        assert_eq!(tee.warnings, [left_out]);
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        for (line, wanted) in [
            ("output.delimiter = ;", "must be \\n"),
            ("nonsense = 1", "unknown property"),
            ("kafka.sasl.password = x", "for SASL write a file of logweir's own"),
            ("kafka.security.protocol = sasl_ssl", "must be plaintext or ssl here"),
            ("input pipe tail -f x", "a program as an input is not taken"),
            (
                "input kafka topic t partition 3-1 from end",
                "the range of partitions `3-1` is empty",
            ),
            ("input kafka topic t partition x from end", "`x` is neither a partition"),
            ("input kafka topic t partition 0 from 1234", "`from 1234` is not taken"),
            ("input [stop.eof=true] kafka topic t partition 0 from end", "`stop.eof` is not taken"),
            (
                "input [encoding=json] kafka topic t partition 0 from end",
                "are not turned into text",
            ),
            ("output pipe 0 cat", "the sampling factor must be a number of at least 1"),
            ("output tcp 1 x", "unknown kind of output `tcp`"),
            ("outputs", "unknown directive `outputs`"),
            ("include none.conf", "there is no such file"),
        ] {
            let refusal = said(&format!("{WHOLE}{line}\n")).unwrap_err();
            assert!(refusal.contains(wanted), "{line}: {refusal}");
        }
        let json = format!("output.encoding = json\n{}", WHOLE.replace("=string", "=json"));
        assert!(said(&json).is_ok());
        assert!(said("output file 1 /x\n").unwrap_err().contains("there must be an input"));
    }
}
