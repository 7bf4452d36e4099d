//! Directives of old and objects that are no inputs and no actions.

use super::Mapper;
use crate::cli::import::rsyslog::syntax::Object;

/// Parameters of files: rsyslog's own names.
const OF_FILES: [&str; 6] =
    ["fileowner", "filegroup", "dirowner", "dirgroup", "filecreatemode", "dircreatemode"];

/// Directives that set a parameter for all actions that follow: of files, or of forwarding.
const OF_ACTIONS: [(&str, bool, &str); 5] = [
    ("actionfiledefaulttemplate", true, "template"),
    ("actionforwarddefaulttemplate", false, "template"),
    ("actionsendstreamdrivermode", false, "streamdrivermode"),
    ("actionsendstreamdriverauthmode", false, "streamdriverauthmode"),
    ("actionsendstreamdriverpermittedpeer", false, "streamdriverpermittedpeers"),
];

/// Directives that set a parameter for the next action alone.
const OF_THE_NEXT: [(&str, &str); 5] = [
    ("actionqueuefilename", "queue.filename"),
    ("actionqueuemaxdiskspace", "queue.maxdiskspace"),
    ("actionexeconlyeverynthtime", "action.execonlyeverynthtime"),
    ("actionexeconlyonceeveryinterval", "action.execonlyonceeveryinterval"),
    ("actionomprogbinary", "binary"),
];

/// The name of a module without its folder and `.so`.
pub(super) fn module_of(value: &str) -> String {
    let name = value.rsplit('/').next().unwrap_or(value);
    name.trim_end_matches(".so").to_ascii_lowercase()
}

impl Mapper<'_> {
    pub(super) fn directive(&mut self, name: &str, value: &str, at: &str) {
        let mut value = value.to_string();
        if OF_FILES.contains(&name) {
            self.defaults.file.insert(name.into(), value);
            return;
        }
        if let Some((_, of_files, key)) = OF_ACTIONS.iter().find(|(known, ..)| *known == name) {
            let all = if *of_files { &mut self.defaults.file } else { &mut self.defaults.forward };
            all.insert((*key).into(), value);
            return;
        }
        if let Some((_, key)) = OF_THE_NEXT.iter().find(|(known, _)| *known == name) {
            self.pending.insert((*key).into(), value);
            return;
        }
        let is_on = |value: &str| value.eq_ignore_ascii_case("on");
        let instead = match name {
            "actionexeconlywhenpreviousissuspended" => {
                self.is_spare = is_on(&value);
                return;
            }
            "modload" => return self.module(&module_of(&value), at),
            "systemlogratelimitinterval" | "imjournalratelimitinterval" if value == "0" => return,
            "systemlogratelimitinterval" | "imjournalratelimitinterval" => {
                self.document.note(&format!(
                    "{at}: no limit of a program's messages in the place of ${name}: a `rate` on a \
                     filter bounds all of them."
                ));
                return;
            }
            "omfileziplevel" if value == "0" => return,
            "omfileziplevel" => "compress = \"zstd\" on a file that is rotated",
            "outchannel" => "on the output: file = \"…\", rotate = \"SIZE\", keep = N",
            "allowedsender" if self.settings.refused.is_empty() => return,
            "allowedsender" => {
                value = std::mem::take(&mut self.settings.refused).join(", ");
                "the addresses or networks in `source` of the filter: names are not looked up"
            }
            "droptrailinglfonreception" | "actionwriteallmarkmessages" if is_on(&value) => return,
            "escape8bitcharactersonreceive" | "spacelfonreceive" if !is_on(&value) => return,
            _ if name.starts_with("actionmail") => {
                "pipe the lines through a program that sends mail, with a `rate`"
            }
            _ if DONE.contains(&name) || super::receive::knows(name) => return,
            _ if NEEDLESS.iter().any(|word| name.starts_with(word)) => {
                return self.document.needless(&format!("${name}"));
            }
            _ => "see logweir.toml(5)",
        };
        self.document.leave(at, format!("${name} {value}").trim(), instead);
    }

    fn module(&mut self, module: &str, at: &str) {
        let instead = match module {
            "impstats" => {
                let text = "in the place of impstats: `metrics` in [daemon], and an input with \
                            audit = \"1m\".";
                return self.document.note(&format!("{at}: {text}"));
            }
            known if MODULES.iter().any(|module| known.starts_with(module)) => return,
            "mmanon" => "a filter with `run`, such as the packaged filters/anonymise.sh",
            "mmjsonparse" | "mmnormalize" | "mmfields" | "mmdblookup" | "mmexternal" => {
                "a filter with `run` whose program parses lines"
            }
            "imgssapi" | "omgssapi" => "TLS: an input or a peer at tls:// or relp+tls://",
            "imdocker" | "mmkubernetes" => "an input with `containers`",
            _ => "logweir has nothing like it",
        };
        self.document.leave(at, &format!("module {module}"), instead);
    }

    pub(super) fn other_object(&mut self, object: &Object, at: &str) {
        let instead = match object.kind.as_str() {
            "module" => {
                let module = module_of(object.get("load"));
                return self.module(&module, at);
            }
            "template" | "ruleset" | "input" | "global" => return,
            "main_queue" => return self.document.needless("main_queue"),
            "include" => "write what it says",
            "lookup_table" => "a filter with `run`, or lists in selectors",
            "dyn_stats" | "percentile_stats" => "`metrics` in [daemon] has the counts of each node",
            "parser" => "one parser knows RFC 3164, RFC 5424 and their variants",
            "ratelimit" => "a `rate` on a filter",
            _ => "logweir has nothing like it",
        };
        let what = format!("{} {}", object.kind, object.get("name"));
        self.document.leave(at, what.trim(), instead);
    }
}

/// Modules that are inputs or outputs, or need no conversion.
const MODULES: [&str; 36] = [
    "builtin:",
    "imudp",
    "imtcp",
    "imptcp",
    "imrelp",
    "imuxsock",
    "imklog",
    "imkmsg",
    "imjournal",
    "immark",
    "imfile",
    "omfile",
    "omfwd",
    "omrelp",
    "omprog",
    "omusrmsg",
    "omkafka",
    "ommysql",
    "ompgsql",
    "omlibdbi",
    "ommongodb",
    "omelasticsearch",
    "omhttp",
    "omclickhouse",
    "omhiredis",
    "omrabbitmq",
    "omczmq",
    "omsnmp",
    "omstdout",
    "omjournal",
    "omuxsock",
    "ommail",
    "omhdfs",
    "lmnsd",
    "pmlastmsg",
    "mmrm1stspace",
];

/// Directives that are read before the others.
const DONE: [&str; 15] = [
    "template",
    "repeatedmsgreduction",
    "markmessageperiod",
    "maxmessagesize",
    "omitlocallogging",
    "escapecontrolcharactersonreceive",
    "systemlogsocketname",
    "defaultruleset",
    "defaultnetstreamdrivercafile",
    "defaultnetstreamdrivercertfile",
    "defaultnetstreamdriverkeyfile",
    "inputtcpmaxsessions",
    "inputtcpserverstreamdrivermode",
    "inputtcpserverstreamdriverauthmode",
    "inputtcpserverstreamdriverpermittedpeer",
];

/// Directives with no equivalent here, and no need for one.
const NEEDLESS: [&str; 41] = [
    "abortonuncleanconfig",
    "actionfileenablesync",
    "actionlibdbi",
    "actionname",
    "actionqueue",
    "actionresume",
    "actionsend",
    "actionwriteallmarkmessages",
    "createdirs",
    "createpath",
    "debug",
    "defaultnetstreamdriver",
    "dynafilecachesize",
    "errormessagestostderr",
    "failonchownfailure",
    "generateconfiggraph",
    "hupisrestart",
    "imjournal",
    "imuxsock",
    "inputfile",
    "inputptcp",
    "inputrelp",
    "inputtcp",
    "inputudp",
    "inputunixlistensocket",
    "klog",
    "logrsyslogstatusmessages",
    "mainmsgqueue",
    "maxopenfiles",
    "moddir",
    "omfile",
    "optimizeforuniprocessor",
    "preservefqdn",
    "privdropto",
    "repeatedmsg",
    "resetconfigvariables",
    "ruleset",
    "systemlog",
    "udpserver",
    "umask",
    "workdirectory",
];
