//! The properties of a kafkatee configuration, `name = value`.

use std::path::{Path, PathBuf};

use super::{Input, quoted};
use crate::logger::Verbosity;

/// What was said, or the default.
#[derive(Debug)]
pub(super) struct Properties {
    brokers: String,
    folder: PathBuf,
    group: Option<String>,
    /// Whether reading begins at the oldest record where nothing is stored.
    from_oldest: bool,
    pub(super) is_json: bool,
    pub(super) in_background: bool,
    pub(super) pid_file: Option<PathBuf>,
    pub(super) init: Option<String>,
    pub(super) term: Option<String>,
    pub(super) log: Verbosity,
    variables: Vec<(String, String)>,
    protocol: String,
    /// The keys of `tls`, as TOML.
    tls: Vec<String>,
}

impl Default for Properties {
    fn default() -> Self {
        Self {
            brokers: String::new(),
            folder: PathBuf::new(),
            group: None,
            from_oldest: false,
            is_json: false,
            in_background: true,
            pid_file: None,
            init: None,
            term: None,
            log: Verbosity::default(),
            variables: Vec::new(),
            protocol: "plaintext".into(),
            tls: Vec::new(),
        }
    }
}

/// Properties of the client library and of its statistics that need nothing in their place.
const WITHOUT_MEANING: [&str; 6] = [
    "output.queue.size",
    "log.statistics.file",
    "log.statistics.interval",
    "log.rate.max",
    "log.rate.period",
    "output.format",
];

impl Properties {
    /// Sets a property; returns a warning where it has no meaning here.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<Option<String>, String> {
        match name {
            "kafka.metadata.broker.list" | "kafka.bootstrap.servers" => self.brokers = value.into(),
            "kafka.offset.store.path" | "kafka.topic.offset.store.path" => {
                self.folder = value.into();
            }
            "kafka.group.id" => self.group = Some(value.into()),
            "kafka.topic.auto.offset.reset" | "kafka.auto.offset.reset" => {
                self.from_oldest = match value {
                    "smallest" | "earliest" | "beginning" => true,
                    "largest" | "latest" | "end" => false,
                    _ => return Err("must be smallest or largest".into()),
                };
            }
            "kafka.security.protocol" => match value.to_lowercase().as_str() {
                protocol @ ("plaintext" | "ssl") => self.protocol = protocol.into(),
                _ => {
                    return Err("must be plaintext or ssl here: for SASL write a file of \
                                 logweir's own, which reads the password from a file"
                        .into());
                }
            },
            "kafka.ssl.ca.location" => self.tls("ca", value),
            "kafka.ssl.certificate.location" => self.tls("cert", value),
            "kafka.ssl.key.location" => self.tls("key", value),
            "output.encoding" => self.is_json = is_json(value)?,
            "output.delimiter" if value == "\\n" => {}
            "output.delimiter" => return Err("must be \\n: a line ends with a newline".into()),
            "daemonize" => self.in_background = is_true(value),
            "pid.file.path" => self.pid_file = Some(value.into()),
            "command.init" => self.init = Some(value.into()),
            "command.term" => self.term = Some(value.into()),
            "log.level" => {
                let level: u8 = value.parse().map_err(|_| "must be a number from 1 to 7")?;
                self.log = if level >= 7 { Verbosity::Debug } else { Verbosity::default() };
            }
            _ => return self.other(name, value),
        }
        Ok(None)
    }

    fn other(&mut self, name: &str, value: &str) -> Result<Option<String>, String> {
        let variable = name.strip_prefix("setenv.").or_else(|| name.strip_prefix("env."));
        if let Some(variable) = variable {
            let is_good = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if variable.is_empty() || !variable.chars().all(is_good) {
                return Err(format!("`{variable}` is not the name of a variable"));
            }
            self.variables.push((variable.into(), value.into()));
            return Ok(None);
        }
        if name.starts_with("kafka.sasl.") {
            return Err("is not taken: for SASL write a file of logweir's own, which reads the \
                        password from a file"
                .into());
        }
        if WITHOUT_MEANING.contains(&name) || name.starts_with("kafka.") {
            return Ok(Some(format!("{name} has no meaning here and is left out")));
        }
        Err("unknown property".into())
    }

    fn tls(&mut self, key: &str, value: &str) {
        self.tls.push(format!("{key} = {}", quoted(value)));
    }

    /// How brokers are reached, as TOML.
    pub(super) fn access(&self) -> Result<String, String> {
        let each = self.brokers.split(',').map(str::trim).filter(|broker| !broker.is_empty());
        let brokers: Vec<_> = each
            .map(|broker| match broker.contains(':') {
                true => quoted(broker),
                false => quoted(&format!("{broker}:9092")),
            })
            .collect();
        if brokers.is_empty() {
            return Err("`kafka.metadata.broker.list` is missing: it names the brokers".into());
        }
        let tls = match self.protocol.as_str() {
            "ssl" => format!(", tls = {{ {} }}", self.tls.join(", ")),
            _ => String::new(),
        };
        Ok(format!("brokers = [{}]{tls}", brokers.join(", ")))
    }

    /// Where an input keeps its positions.
    pub(super) fn positions(&self, input: &Input) -> PathBuf {
        let (low, high) = input.partitions;
        self.folder().join(format!("{}-{low}-{high}.{}.positions", input.topic, input.from))
    }

    fn folder(&self) -> &Path {
        if self.folder.as_os_str().is_empty() { Path::new(".") } else { &self.folder }
    }

    /// The key that takes over what kafkatee's library stored there, where it is wanted. The
    /// group's name is part of the files' names, for nothing else.
    pub(super) fn offset_files(&self, input: &Input) -> String {
        if input.from != "stored" {
            return String::new();
        }
        let group = self.group.as_ref().map(|group| format!("-{}", escaped(group)));
        let file = format!("{{topic}}-{{partition}}{}.offset", group.unwrap_or_default());
        format!(", offset_files = {}", quoted(&self.folder().join(file).display().to_string()))
    }

    /// Where `from stored` begins where nothing is stored.
    pub(super) fn reset(&self) -> &'static str {
        if self.from_oldest { "beginning" } else { "end" }
    }

    /// What sets the variables, for a shell, in front of a command.
    pub(super) fn environment(&self) -> String {
        let each = self.variables.iter().map(|(name, value)| match value.as_str() {
            "" => format!("unset {name}; "),
            value => format!("export {name}='{}'; ", value.replace('\'', "'\\''")),
        });
        each.collect()
    }
}

/// A group's name as it is in the name of a file (`mk_esc_filename` in librdkafka).
fn escaped(name: &str) -> String {
    name.replace('/', "%2F").replace(':', "%3A").replace('\\', "%5C")
}

/// A true value: a number above 0, `true`, `yes`, `on`, or nothing.
pub(super) fn is_true(value: &str) -> bool {
    match value.parse::<i64>() {
        Ok(number) => number != 0,
        Err(_) => ["", "true", "yes", "on"].contains(&value.to_lowercase().as_str()),
    }
}

/// Whether an encoding is JSON.
pub(super) fn is_json(value: &str) -> Result<bool, String> {
    match value.to_lowercase().as_str() {
        "json" => Ok(true),
        "string" => Ok(false),
        _ => Err(format!("unknown encoding `{value}`: it is string or json")),
    }
}
