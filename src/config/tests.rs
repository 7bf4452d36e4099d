//! What the configuration says to the user, word for word.

use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::plan::{Rotate, SampleMode, SourcePlan, WhenFull};
use super::*;

const FINE: &str = "[input.a]\nudp = \"0.0.0.0:8420\"\n[output.z]\nfile = \"/log/z\"\n";

fn plan(text: &str) -> Plan {
    parse(text, "t.toml").unwrap_or_else(|refusal| panic!("{refusal}")).plan
}

fn refused(text: &str) -> String {
    match parse(text, "t.toml") {
        Ok(_) => panic!("taken:\n{text}"),
        Err(refusal) => refusal.to_string(),
    }
}

/// The first lines of all diagnostics.
fn headlines(text: &str) -> Vec<String> {
    let diagnostics = match parse(text, "t") {
        Ok(checked) => checked.warnings,
        Err(refusal) => refusal.diagnostics,
    };
    diagnostics
        .iter()
        .map(|d| d.to_string().lines().next().unwrap_or_default().to_owned())
        .collect()
}

fn node<'p>(plan: &'p Plan, name: &str) -> &'p plan::NodePlan {
    plan.nodes.iter().find(|node| node.name == name).unwrap()
}

#[test]
fn defaults_are_filled_in() {
    let plan = plan(FINE);
    assert_eq!(plan.daemon.control.as_deref(), Some(Path::new("/run/logweir/control.sock")));
    assert_eq!((plan.daemon.memory, plan.daemon.grace), (64 << 20, Duration::from_secs(10)));
    let BodyPlan::Input(input) = &node(&plan, "a").body else { panic!() };
    assert_eq!((input.max_line, input.sequence), (65_536, false));
    let SourcePlan::Udp(udp) = &input.source else { panic!() };
    assert_eq!((udp.receive_buffer, udp.sockets), (64 << 20, 1));
    let BodyPlan::File(file) = &node(&plan, "z").body else { panic!() };
    assert_eq!((file.mode, file.queue, file.flush), (0o640, 32 << 20, false));
    assert_eq!(node(&plan, "z").from, ["a"]);
}

#[test]
fn every_key_is_read() {
    let plan = plan(concat!(
        "[daemon]\ncontrol = \"/c\"\nmemory = \"100MiB\"\ngrace = \"1m\"\n",
        "[input.u]\nudp = \"[::]:1\"\nreceive_buffer = 65536\nsockets = 1\nmulticast = \"ff02::1\"\n",
        "interface = \"eth0\"\nmax_line = \"1KiB\"\nsequence = true\n",
        "[input.i]\nstdin = true\n[input.p]\nfifo = \"/f\"\n",
        "[filter.f]\nfrom = [\"u\", \"p\"]\nmatch = 'a'\nreject = 'b'\nrate = \"5/m\"\nsample = 7\n",
        "sample_mode = \"hash\"\nsample_key = 'k=(\\d)'\nrun = \"cat\"\nworkers = 2\nqueue = \"1MiB\"\n",
        "when_full = \"drop\"\nrestart = [\"2s\", \"3s\"]\nstop_grace = \"4s\"\nmax_line = 100\n",
        "[output.o]\nfrom = \"i\"\nfile = \"/log/%F\"\nrotate = \"1h\"\nkeep = 48\ncompress = \"zstd\"\n",
        "mode = \"0600\"\nflush = true\nqueue = \"5KiB\"\n",
        "[output.s]\nfrom = \"f\"\nstdout = true\n[output.d]\nudp = \"hub:9\"\nsample = 2\n",
        "[output.c]\nfrom = \"i\"\npipe = \"c\"\nwhen_full = \"block\"\n",
    ));
    let f = node(&plan, "f");
    assert_eq!(f.from, ["u", "p"]);
    let sample = f.select.sample.as_ref().unwrap();
    assert_eq!(sample.mode, SampleMode::Hash { key: "k=(\\d)".into() });
    let BodyPlan::Run(run) = &f.body else { panic!() };
    assert_eq!(run.restart, (Duration::from_secs(2), Duration::from_secs(3)));
    assert_eq!((run.workers, run.queue, run.max_line), (2, 1 << 20, 100));
    let BodyPlan::File(file) = &node(&plan, "o").body else { panic!() };
    assert_eq!(file.rotate, Some(Rotate::Every(Duration::from_secs(3600))));
    assert_eq!((file.keep, file.compress, file.mode, file.flush), (Some(48), true, 0o600, true));
    assert_eq!(node(&plan, "d").from, ["u", "i", "p"]);
    let BodyPlan::Pipe(pipe) = &node(&plan, "c").body else { panic!() };
    assert_eq!(pipe.when_full, WhenFull::Block);
    let BodyPlan::Input(input) = &node(&plan, "u").body else { panic!() };
    let SourcePlan::Udp(udp) = &input.source else { panic!() };
    assert_eq!(udp.multicast, "ff02::1".parse::<IpAddr>().ok());
}

#[test]
fn a_sample_of_one_is_no_sample() {
    assert_eq!(node(&plan(&format!("{FINE}sample = 1")), "z").select.sample, None);
}

#[test]
fn nodes_come_after_what_they_take_from() {
    let plan = plan(concat!(
        "[output.z]\nfrom = \"f2\"\nstdout = true\n[filter.f2]\nfrom = \"f1\"\n",
        "[input.b]\nstdin = true\n[filter.f1]\n[input.a]\nfifo = \"/f\"\n",
    ));
    let names: Vec<_> = plan.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["b", "a", "f1", "f2", "z"]);
}

#[test]
fn tables_may_be_written_in_any_toml_way() {
    let inline = "input = { a = { udp = \"0.0.0.0:8420\" } }\noutput.z.file = \"/log/z\"\n";
    assert_eq!(plan(inline), plan(FINE));
}

#[test]
fn a_whole_report() {
    let text = concat!(
        "[input.squid]\n",
        "udp = \"0.0.0.0\"\n",
        "\n",
        "[filter.api]\n",
        "from = \"sqiud\"\n",
        "smaple = 10\n",
        "match = 'a(b'\n",
        "\n",
        "[output.all]\n",
        "file = \"/log/x\"\n",
        "pipe = \"cat\"\n",
    );
    let expected = r#"t.toml:2:7: error: input.squid.udp: is not an address and a port
  2 | udp = "0.0.0.0"
    |       ^^^^^^^^^
    the address is a number, as in "0.0.0.0:8420" or "[::]:8420"
t.toml:5:8: error: filter.api.from: there is no node `sqiud`
  5 | from = "sqiud"
    |        ^^^^^^^
    did you mean `squid`?
t.toml:6:1: error: filter.api.smaple: unknown key `smaple`
  6 | smaple = 10
    | ^^^^^^
    did you mean `sample`?
t.toml:7:11: error: filter.api.match: not a regex: unclosed group
  7 | match = 'a(b'
    |           ^
t.toml:10:1: error: output.all.file: has `pipe` already: only one of `pipe`, `file`, `udp`, `stdout` goes
  10 | file = "/log/x"
     | ^^^^
5 errors in t.toml"#;
    assert_eq!(refused(text), expected);
}

#[test]
fn the_caret_stands_right_behind_tabs_and_wide_characters() {
    let text = format!("{FINE}[filter.f]\n\tmatch\t= 'žluťoučký(kůň'\n");
    let expected = "t.toml:6:20: error: filter.f.match: not a regex: unclosed group\n  \
                    6 | \tmatch\t= 'žluťoučký(kůň'\n    | \t     \t            ^\n";
    let report = refused(&text);
    assert!(report.contains(expected), "{report}");
}

#[test]
fn a_long_line_is_shown_around_the_place() {
    let text = format!("{FINE}[filter.f]\nmatch = '{}('\n", "x".repeat(5000));
    let report = refused(&text);
    assert!(report.lines().all(|line| line.chars().count() < 120), "{report}");
    let caret = report.lines().nth(5).unwrap().chars().count();
    assert_eq!(report.lines().nth(4).unwrap().chars().nth(caret - 1), Some('('), "{report}");
}

#[test]
fn what_the_file_contains_does_not_upset_the_terminal() {
    let text = format!("{FINE}[filter.f]\n\"a\\u001b[2Jb\" = 1 # \u{85}\n");
    assert!(!refused(&text).contains(['\u{1b}', '\u{85}']));
}

#[test]
fn broken_toml_is_placed() {
    assert_eq!(
        refused("[input.a]\nudp = \n[input.b\n"),
        "t.toml:2:7: error: not TOML: string values must be quoted, expected literal string\n  \
         2 | udp = \n    |       ^\n\
         t.toml:3:9: error: not TOML: unclosed table, expected `]`\n  \
         3 | [input.b\n    |         ^\n\
         2 errors in t.toml"
    );
    assert!(refused("[input.a]\nstdin = true\nstdin = true\n").contains("duplicate key"));
}

#[test]
fn files_that_are_no_configuration() {
    assert!(refused("").contains("is empty"));
    assert!(refused(" \n\n").contains("is empty"));
    let report = refused("# nothing yet\n");
    assert!(report.contains("there is no input") && report.contains("there is no output"));
    assert!(report.ends_with("2 errors in t.toml"), "{report}");
}

/// What each text is refused for, after the place, below a configuration that is fine.
#[test]
fn each_mistake_has_its_words() {
    let cases: &[(&str, &str)] = &[
        ("[deamon]\n", "5:2: error: deamon: unknown table or key"),
        ("[daemon]\nmemroy = 1", "6:1: error: daemon.memroy: unknown key"),
        ("[daemon]\nmemory = \"1KiB\"", "6:10: error: daemon.memory: must be at least 1MiB"),
        (
            "[daemon]\nmemory = \"64MB\"",
            "6:10: error: daemon.memory: there is no unit `MB`: write 64MiB",
        ),
        ("[daemon]\nmemory = -1", "6:10: error: daemon.memory: is not a size"),
        (
            "[daemon]\nmemory = 1.5",
            "6:10: error: daemon.memory: expected a size such as \"64MiB\", found a number with a point",
        ),
        (
            "[daemon]\ngrace = 10",
            "6:9: error: daemon.grace: expected a time such as \"10s\", found an integer",
        ),
        (
            "[daemon]\ngrace = \"10\"",
            "6:9: error: daemon.grace: write a time as a number and ms, s, m, h or d, as in \"10s\"",
        ),
        ("[daemon]\ncontrol = \"\"", "6:11: error: daemon.control: is empty"),
        ("[daemon]\ncontrol = \"a\\u0000\"", "6:11: error: daemon.control: contains a NUL byte"),
        ("[[daemon]]\n", "5:1: error: daemon: expected a table: write [daemon]"),
        (
            "[input]\nudp = \"x\"",
            "6:1: error: input.udp: expected a table: write [input.NAME] and the keys below it",
        ),
        (
            "[[input.b]]\n",
            "5:9: error: input.b: expected a table: write [input.NAME] and the keys below it",
        ),
        ("[input.\"\"]\nstdin = true", "5:8: error: input.: the name is empty"),
        (
            "[input.\"a b\"]\nstdin = true",
            "5:8: error: input.a b: a name consists of letters (A-Z, a-z), digits, `_`, `.` and `-`",
        ),
        ("[filter.a]\n", "5:9: error: filter.a: the name is taken by [input.a] on line 1"),
        ("[input.b]\n", "5:8: error: input.b: needs one of `udp`, `stdin`, `fifo`"),
        (
            "[input.b]\nstdin = true\nfifo = \"/f\"",
            "7:1: error: input.b.fifo: has `stdin` already: only one of `udp`, `stdin`, `fifo` goes",
        ),
        (
            "[input.b]\nstdin = false",
            "6:9: error: input.b.stdin: an input with `stdin = false` has no source: remove the input",
        ),
        (
            "[input.b]\nstdin = 1",
            "6:9: error: input.b.stdin: expected true or false, found an integer",
        ),
        ("[input.b]\nfifo = \" \"", "6:8: error: input.b.fifo: is empty"),
        (
            "[input.b]\nstdin = true\nsockets = 2",
            "7:1: error: input.b.sockets: `sockets` is a key of UDP inputs; this is a standard input",
        ),
        (
            "[input.b]\nstdin = true\nfrom = \"a\"",
            "7:1: error: input.b.from: `from` is a key of filters and outputs; this is an input",
        ),
        (
            "[input.b]\nstdin = true\nrotate = \"1h\"",
            "7:1: error: input.b.rotate: `rotate` is a key of file outputs; this is an input",
        ),
        (
            "[input.b]\nudp = \"localhost:1\"",
            "6:7: error: input.b.udp: is not an address and a port",
        ),
        (
            "[input.b]\nudp = \"0.0.0.0:8420\"",
            "6:7: error: input.b.udp: 0.0.0.0:8420 is bound by [input.a] on line 2",
        ),
        (
            "[input.b]\nudp = \"127.0.0.1:8420\"",
            "6:7: error: input.b.udp: 0.0.0.0:8420 is bound by [input.a] on line 2",
        ),
        (
            "[input.b]\nudp = \"0.0.0.0:1\"\nsockets = 65",
            "7:11: error: input.b.sockets: must be from 1 to 64",
        ),
        (
            "[input.b]\nudp = \"0.0.0.0:1\"\nreceive_buffer = \"2GiB\"",
            "7:18: error: input.b.receive_buffer: must be from 4KiB to 1073741823B",
        ),
        (
            "[input.b]\nudp = \"0.0.0.0:1\"\nmulticast = \"10.0.0.1\"",
            "7:13: error: input.b.multicast: 10.0.0.1 is not a multicast address",
        ),
        (
            "[input.b]\nudp = \"0.0.0.0:1\"\nmulticast = \"ff02::1\"",
            "7:13: error: input.b.multicast: is an IPv6 group, but `udp` is an IPv4 address",
        ),
        (
            "[input.b]\nudp = \"0.0.0.0:1\"\nmulticast = \"x\"",
            "7:13: error: input.b.multicast: is not an IP address",
        ),
        (
            "[input.b]\nudp = \"0.0.0.0:1\"\nsockets = 2\nmulticast = \"233.58.59.1\"",
            "7:11: error: input.b.sockets: must be 1 with `multicast`: the kernel gives a multicast datagram to every socket, so each line would come several times",
        ),
        (
            "[input.b]\nudp = \"0.0.0.0:1\"\ninterface = \"eth0\"",
            "7:1: error: input.b.interface: needs `multicast`: it is where the group is joined",
        ),
        (
            "[input.b]\nudp = \"0.0.0.0:1\"\nmulticast = \"233.58.59.1\"\ninterface = \"a/b\"",
            "8:13: error: input.b.interface: is neither an interface's name nor an IPv4 address",
        ),
        (
            "[input.b]\nudp = \"[::]:1\"\nmulticast = \"ff02::1\"\ninterface = \"10.0.0.1\"",
            "8:13: error: input.b.interface: an IPv6 group is joined on an interface given by its name",
        ),
        (
            "[input.b]\nstdin = true\nmax_line = 10",
            "7:12: error: input.b.max_line: must be from 64B to 16MiB",
        ),
        (
            "[input.b]\nstdin = true\n[input.c]\nstdin = true",
            "8:9: error: input.c.stdin: standard input is read by [input.b] on line 6",
        ),
        (
            "[input.b]\nfifo = \"/a//f\"\n[input.c]\nfifo = \"/a/./f\"",
            "8:8: error: input.c.fifo: this FIFO is read by [input.b] on line 6",
        ),
        (
            "[output.b]\nfile = \"/log//./z\"",
            "6:8: error: output.b.file: this file is written by [output.z] on line 4",
        ),
        (
            "[output.b]\nfile = \"/l/%F\"\n[output.c]\nfile = \"/l/%Y-%m-%d\"",
            "8:8: error: output.c.file: this file is written by [output.b] on line 6",
        ),
        (
            "[output.b]\nfile = \"/log/{input}\"\n[output.c]\nfile = \"/log/a\"",
            "8:8: error: output.c.file: this file is written by [output.b] on line 6",
        ),
        ("[output.b]\n", "5:9: error: output.b: needs one of `pipe`, `file`, `udp`, `stdout`"),
        (
            "[output.b]\nstdout = false",
            "6:10: error: output.b.stdout: an output with `stdout = false` goes nowhere: remove the output",
        ),
        (
            "[output.b]\nstdout = true\nsyslog = 1",
            "7:1: error: output.b.syslog: unknown key `syslog`",
        ),
        (
            "[output.b]\npipe = \"cat\"\nrotate = \"1h\"",
            "7:1: error: output.b.rotate: `rotate` is a key of file outputs; this is a pipe output",
        ),
        (
            "[output.b]\nstdout = true\nrun = \"cat\"",
            "7:1: error: output.b.run: `run` is a key of filters; this is an output",
        ),
        ("[output.b]\nudp = \"hub\"", "6:7: error: output.b.udp: is not a host and a port"),
        ("[output.b]\nudp = \"::1:80\"", "6:7: error: output.b.udp: is not a host and a port"),
        ("[output.b]\nudp = \"hub:0\"", "6:7: error: output.b.udp: is not a host and a port"),
        (
            "[output.b]\nfile = \"/l/{host}\"",
            "6:8: error: output.b.file: unknown field {host}: there is {input}",
        ),
        (
            "[output.b]\nfile = \"/l\"\nrotate = \"often\"",
            "7:10: error: output.b.rotate: is neither a time nor a size",
        ),
        (
            "[output.b]\nfile = \"/l\"\nrotate = \"1ms\"",
            "7:10: error: output.b.rotate: must be at least 1s",
        ),
        (
            "[output.b]\nfile = \"/l\"\nrotate = 10",
            "7:10: error: output.b.rotate: must be at least 1KiB",
        ),
        (
            "[output.b]\nfile = \"/l\"\nkeep = 3",
            "7:1: error: output.b.keep: is about files set aside: it needs `rotate`",
        ),
        (
            "[output.b]\nfile = \"/l\"\nrotate = \"1h\"\nkeep = 0",
            "8:8: error: output.b.keep: must be from 1 to 4294967295",
        ),
        (
            "[output.b]\nfile = \"/l\"\nrotate = \"1h\"\ncompress = \"zst\"",
            "8:12: error: output.b.compress: must be \"zstd\"",
        ),
        (
            "[output.b]\nfile = \"/l\"\nmode = \"rw\"",
            "7:8: error: output.b.mode: write a mode as octal digits, as in \"0640\"",
        ),
        (
            "[output.b]\nfile = \"/l\"\nmode = 640",
            "7:8: error: output.b.mode: expected a string, found an integer",
        ),
        (
            "[output.b]\nfile = \"/l\"\nqueue = \"1KiB\"",
            "7:9: error: output.b.queue: must be at least 4KiB",
        ),
        (
            "[output.b]\nstdout = true\nfrom = \"c\"\n",
            "7:8: error: output.b.from: there is no node `c`",
        ),
        (
            "[output.b]\nstdout = true\nfrom = \"z\"\n",
            "7:8: error: output.b.from: `z` is an output: nothing can be taken from it",
        ),
        (
            "[output.b]\nstdout = true\nfrom = []\n",
            "7:8: error: output.b.from: names no node: leave `from` out to take from every input",
        ),
        (
            "[output.b]\nstdout = true\nfrom = [\"a\", \"a\"]\n",
            "7:14: error: output.b.from: names `a` twice",
        ),
        (
            "[output.b]\nstdout = true\nfrom = [\"a\", 1]\n",
            "7:14: error: output.b.from: expected a name or a list of names",
        ),
        (
            "[output.b]\nstdout = true\nmatch = '['",
            "7:10: error: output.b.match: not a regex: unclosed character class",
        ),
        (
            "[output.b]\nstdout = true\nreject = \"\\\\d[\"",
            "7:10: error: output.b.reject: not a regex: unclosed character class",
        ),
        (
            "[output.b]\nstdout = true\nrate = \"5\"",
            "7:8: error: output.b.rate: write a rate as a number of lines and /s, /m, /h or /d, as in \"1000/s\"",
        ),
        (
            "[output.b]\nstdout = true\nsample = 0",
            "7:10: error: output.b.sample: must be at least 1",
        ),
        (
            "[output.b]\nstdout = true\nsample = \"2\"",
            "7:10: error: output.b.sample: expected an integer, found a string",
        ),
        (
            "[output.b]\nstdout = true\nsample_mode = \"random\"",
            "7:1: error: output.b.sample_mode: needs `sample`",
        ),
        (
            "[output.b]\nstdout = true\nsample = 2\nsample_mode = \"rnd\"",
            "8:15: error: output.b.sample_mode: must be \"every\" or \"random\" or \"hash\"",
        ),
        (
            "[output.b]\nstdout = true\nsample = 2\nsample_mode = \"hash\"",
            "8:15: error: output.b.sample_mode: \"hash\" needs `sample_key`",
        ),
        (
            "[output.b]\nstdout = true\nsample = 2\nsample_key = '(a)'",
            "8:1: error: output.b.sample_key: needs `sample_mode = \"hash\"`",
        ),
        (
            "[output.b]\nstdout = true\nsample = 2\nsample_mode = \"hash\"\nsample_key = 'a'",
            "9:14: error: output.b.sample_key: must have exactly one group (…), this has 0",
        ),
        (
            "[output.b]\npipe = \"cat\"\nworkers = 0",
            "7:11: error: output.b.workers: must be from 1 to 64",
        ),
        (
            "[output.b]\npipe = \"cat\"\nrestart = \"1s\"",
            "7:11: error: output.b.restart: expected a list of two times, as in [\"1s\", \"60s\"]",
        ),
        (
            "[output.b]\npipe = \"cat\"\nrestart = [\"2s\", \"1s\"]",
            "7:11: error: output.b.restart: the first wait, 2s, is longer than the longest, 1s",
        ),
        (
            "[output.b]\npipe = \"cat\"\nrestart = [\"0s\", \"1s\"]",
            "7:11: error: output.b.restart: the first wait must be at least 10ms",
        ),
        (
            "[output.b]\npipe = \"cat\"\nwhen_full = \"wait\"",
            "7:13: error: output.b.when_full: must be \"drop\" or \"block\"",
        ),
        (
            "[output.b]\npipe = \"cat\"\nwhen_full = \"block\"",
            "7:13: error: output.b.when_full: \"block\" makes the inputs wait, but the UDP input `a` cannot (a → b)",
        ),
        (
            "[filter.f]\nqueue = \"1MiB\"",
            "6:1: error: filter.f.queue: `queue` is a key of filter processes; this is a filter without `run`",
        ),
    ];
    for (text, expected) in cases {
        let lines = headlines(&format!("{FINE}{text}"));
        assert!(lines.contains(&format!("t:{expected}")), "{text}\n{lines:#?}");
    }
}

#[test]
fn waiting_is_refused_through_filters_and_processes() {
    let text = format!(
        "{FINE}[input.i]\nstdin = true\n[filter.f]\nrun = \"cat\"\nfrom = \"a\"\n\
         [filter.g]\nfrom = [\"i\", \"f\"]\n[output.b]\nfrom = \"g\"\npipe = \"cat\"\nwhen_full = \"block\"\n"
    );
    let expected = "\"block\" makes the inputs wait, but the UDP input `a` cannot (a → f → g → b)";
    assert!(refused(&text).contains(expected));
    let fine = text.replace("[\"i\", \"f\"]", "\"i\"");
    assert!(parse(&fine, "t").is_ok());
}

#[test]
fn a_circle_is_named_whole() {
    let text = format!(
        "{FINE}[filter.y]\nfrom = \"x\"\n[filter.w]\nfrom = [\"a\", \"y\"]\n\
         [filter.x]\nfrom = \"w\"\n[filter.me]\nfrom = \"me\"\n[output.o]\nfrom = \"x\"\nstdout = true\n"
    );
    let lines = headlines(&text);
    let circles: Vec<_> = lines.iter().filter(|line| line.contains("circle")).collect();
    assert_eq!(
        circles,
        [
            "t:6:8: error: filter.y.from: the flow goes in a circle: y → w → x → y",
            "t:12:8: error: filter.me.from: the flow goes in a circle: me → me",
        ]
    );
}

#[test]
fn warnings_are_carried_beside_the_plan() {
    for (text, expected) in [
        ("[filter.f]\n", "t:5:9: warning: filter.f: nothing takes from this filter"),
        (
            "[output.b]\nstdout = true\n[output.c]\nstdout = true\n",
            "t:8:10: warning: output.c.stdout: [output.b] writes to standard output too",
        ),
        (
            "[output.b]\nstdout = true\nqueue = \"1GiB\"",
            "t:7:9: warning: output.b.queue: can never be this full: daemon.memory is 64MiB",
        ),
        (
            "[filter.f]\nmatch = 'x'\nreject = 'x'\n[output.b]\nfrom = \"f\"\nstdout = true\n",
            "t:8:9: warning: output.b: no line can ever reach this output",
        ),
        (
            "[output.b]\nstdout = true\nreject = ''\n",
            "t:7:10: warning: output.b.reject: this regex matches every line, so no line passes",
        ),
        (
            "[output.b]\nstdout = true\nmatch = '[a&&b]'\n",
            "t:7:9: warning: output.b.match: this regex matches no line at all",
        ),
        (
            "[input.m]\nudp = \"10.0.0.1:1\"\nmulticast = \"233.58.59.1\"\n[output.o]\nstdout = true",
            "t:7:13: warning: input.m.multicast: `udp` binds 10.0.0.1, so nothing sent to \
             233.58.59.1 arrives: bind all addresses",
        ),
    ] {
        let checked = parse(&format!("{FINE}{text}"), "t").unwrap_or_else(|r| panic!("{r}"));
        let lines: Vec<_> = checked.warnings.iter().map(ToString::to_string).collect();
        assert!(lines.iter().any(|line| line.starts_with(expected)), "{text}\n{lines:#?}");
    }
    assert_eq!(parse(FINE, "t").unwrap().warnings, []);
}

#[test]
fn memory_must_do_for_all_queues() {
    let mut text = "[daemon]\nmemory = \"1MiB\"\n[input.i]\nstdin = true\n".to_owned();
    for n in 0..129 {
        text.push_str(&format!("[output.o{n}]\nudp = \"h:1\"\n"));
    }
    let report = refused(&text);
    assert!(
        report.contains("t.toml:2:10: error: daemon.memory: 1MiB are too little for 129 queues")
    );
    assert!(report.contains("set daemon.memory to 1032KiB or more"), "{report}");
}

#[test]
fn there_is_an_end_to_nodes_and_to_reports() {
    let mut text = String::new();
    for n in 0..=limits::NODES_MOST {
        text.push_str(&format!("[output.o{n}]\nnope = 1\n"));
    }
    let refusal = parse(&text, "t").unwrap_err();
    assert_eq!(refusal.errors, 2 * (limits::NODES_MOST + 1) + 1);
    assert_eq!(refusal.diagnostics.len(), DIAGNOSTICS_MOST);
    assert!(refusal.to_string().ends_with("… and more\n20003 errors in t"));
}

#[test]
fn every_key_is_known_to_the_man_page() {
    let page = include_str!("../../man/logweir.toml.5").replace("\\-", "-");
    for key in keys::KEYS.iter().map(|key| key.name).chain(keys::DAEMON) {
        assert!(page.contains(&format!(".TP\n.B {key}\n")), "{key} is not in the man page");
    }
}

#[test]
fn the_examples_of_the_man_page_are_fine() {
    let page = include_str!("../../man/logweir.toml.5");
    let page =
        page.replace("\\-", "-").replace("\\(dq", "\"").replace("\\(aq", "'").replace("\\e", "\\");
    let examples = page.split(".nf\n").skip(1).filter_map(|rest| rest.split("\n.fi").next());
    let examples: Vec<_> = examples.filter(|example| example.starts_with('[')).collect();
    assert_eq!(examples.len(), 2);
    for example in examples {
        assert_eq!(parse(example, "t").unwrap_or_else(|r| panic!("{r}")).warnings, []);
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC*") {
        let _ = parse(&text, "t").map_err(|refusal| refusal.to_string());
    }

    #[test]
    fn no_mutilated_configuration_makes_it_panic(
        lines in prop::collection::vec(prop::sample::select(LINES), 0..20),
        cut in 0..400_usize,
        junk in "\\PC{0,3}",
    ) {
        let mut text = lines.join("\n");
        let at = (0..=cut.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap();
        text.insert_str(at, &junk);
        let _ = parse(&text, "t").map_err(|refusal| refusal.to_string());
    }
}

const LINES: &[&str] = &[
    "[daemon]",
    "[input.a]",
    "[input.b]",
    "[filter.f]",
    "[filter.g]",
    "[output.o]",
    "[output.a]",
    "udp = \"0.0.0.0:1\"",
    "stdin = true",
    "fifo = \"/ž\t\"",
    "from = \"f\"",
    "from = [\"a\", \"g\"]",
    "from = \"o\"",
    "match = 'ž('",
    "reject = '(a)'",
    "rate = \"1/s\"",
    "sample = 10",
    "run = \"cat\"",
    "sample_mode = \"hash\"",
    "sample_key = '(é)'",
    "pipe = \"cat\"",
    "when_full = \"block\"",
    "file = \"/log/{input}-%F\"",
    "stdout = true",
    "rotate = \"1h\"",
    "restart = [\"1s\", \"9s\"]",
    "\"\\u0000\" = '''\nx'''",
    "queue = 99999",
    "memory = \"1MiB\"",
    "multicast = \"233.1.1.1\"",
];
