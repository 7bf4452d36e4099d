//! The configuration's messages to the user, word for word.

use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::plan::{SampleMode, SourcePlan, Wanted, WhenFull, Words};
use super::*;
use crate::proto::file::config::Rotate;

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
    assert_eq!((file.access.mode, file.queue), (0o640, 64 << 20));
    assert_eq!(node(&plan, "z").from, ["a"]);
}

#[test]
fn every_key_is_read() {
    let plan = plan(concat!(
        "[daemon]\ncontrol = \"/c\"\nmemory = \"100MiB\"\ngrace = \"1m\"\n",
        "[input.u]\nudp = \"[::]:1\"\nreceive_buffer = 65536\nsockets = 1\n",
        "multicast = \"ff02::1\"\n",
        "interface = \"eth0\"\nmax_line = \"1KiB\"\nsequence = true\n",
        "[input.i]\nstdin = true\n[input.p]\nfifo = \"/f\"\n",
        "[filter.f]\nfrom = [\"u\", \"p\"]\nmatch = 'a'\nreject = 'b'\nrate = \"5/m\"\n",
        "sample = 7\n",
        "sample_mode = \"hash\"\nsample_key = 'k=(\\d)'\nrun = \"cat\"\nworkers = 2\n",
        "queue = \"1MiB\"\n",
        "when_full = \"drop\"\nrestart = [\"2s\", \"3s\"]\nstop_grace = \"4s\"\nmax_line = 100\n",
        "[output.o]\nfrom = \"i\"\nfile = \"/log/%F\"\nrotate = \"1h\"\nkeep = 48\n",
        "compress = \"zstd\"\n",
        "mode = \"0600\"\nqueue = \"5KiB\"\n",
        "dir_mode = \"2750\"\nowner = \"logs\"\ngroup = \"adm\"\ntime_zone = \"Europe/Berlin\"\n",
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
    assert_eq!((file.keep, file.compress, file.access.mode), (Some(48), true, 0o600));
    let access = &file.access;
    assert_eq!((access.mode_is_exact, access.dir_mode), (true, Some(0o2750)));
    assert_eq!((access.owner.as_deref(), access.group.as_deref()), (Some("logs"), Some("adm")));
    let late = "2026-11-26T23:30:00Z".parse::<jiff::Timestamp>().unwrap();
    let name = file.path.render(late.into(), &crate::output::name::Values::default());
    assert_eq!(name, Path::new("/log/2026-11-27"));
    assert_eq!(node(&plan, "d").from, ["u", "i", "p"]);
    let BodyPlan::Pipe(pipe) = &node(&plan, "c").body else { panic!() };
    assert_eq!(pipe.when_full, WhenFull::Block);
    let BodyPlan::Input(input) = &node(&plan, "u").body else { panic!() };
    let SourcePlan::Udp(udp) = &input.source else { panic!() };
    assert_eq!(udp.multicast, "ff02::1".parse::<IpAddr>().ok());
}

/// What a filter with this line selects by fields.
fn wanted(line: &str) -> Vec<Wanted> {
    let text = format!("{FINE}[filter.f]\n{line}\n[output.o]\nfrom = \"f\"\nstdout = true\n");
    node(&plan(&text), "f").select.fields.iter().map(|field| field.wanted.clone()).collect()
}

#[test]
fn selectors_say_no() {
    for (line, mask) in [
        ("severity = \"err\"", 0b1111),
        ("severity = \"=err\"", 0b1000),
        ("severity = \"err..notice\"", 0b11_1000),
        ("severity = \"notice..err\"", 0b11_1000),
        ("severity = \"emerg..emerg\"", 0b1),
        ("severity = [\"*\", \"!=debug\"]", 0x7f),
        ("severity = \"!warning\"", 0xe0),
        ("severity = [\"!emerg..alert\", \"err\"]", 0b1100),
        ("facility = [\"*\", \"!mail\", \"!authpriv\"]", 0xff_ffff & !(1 << 2) & !(1 << 10)),
        ("facility = \"!~^local\"", 0xffff),
    ] {
        assert_eq!(wanted(line), [Wanted::Numbers(mask)], "{line}");
    }
    let words = |names: &[&str], patterns: &[&str]| Words {
        names: names.iter().map(ToString::to_string).collect(),
        patterns: patterns.iter().map(ToString::to_string).collect(),
    };
    for (line, only, not) in [
        ("host = \"a\"", Some(words(&["a"], &[])), words(&[], &[])),
        ("host = \"!a\"", None, words(&["a"], &[])),
        ("host = [\"*\", \"!a\", \"!~^b\"]", None, words(&["a"], &["^b"])),
        ("host = [\"~^b\", \"!bb\"]", Some(words(&[], &["^b"])), words(&["bb"], &[])),
        ("source = \"!10.0.0.0/8\"", None, words(&["10.0.0.0/8"], &[])),
    ] {
        assert_eq!(wanted(line), [Wanted::Text { only, not }], "{line}");
    }
    assert_eq!(wanted("host = \"*\""), []);
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
  |
2 | udp = "0.0.0.0"
  |       ^^^^^^^^^
  |
  = help: the address is a number, as in "0.0.0.0:8420" or "[::]:8420"
t.toml:5:8: error: filter.api.from: there is no node `sqiud`
  |
5 | from = "sqiud"
  |        ^^^^^^^
  |
  = help: did you mean `squid`?
t.toml:6:1: error: filter.api.smaple: unknown key `smaple`
  |
6 | smaple = 10
  | ^^^^^^
  |
  = help: did you mean `sample`?
t.toml:7:11: error: filter.api.match: not a regex: unclosed group
  |
7 | match = 'a(b'
  |           ^
t.toml:10:1: error: output.all.file: has `pipe` already: only one of `pipe`, `file`, `udp`, \
`forward`, `stdout`, `users`, `kafka` is allowed
   |
10 | file = "/log/x"
   | ^^^^
11 | pipe = "cat"
   | ---- chosen here
5 errors in t.toml"#;
    // A backslash at the end of a line joins it to the next.
    assert_eq!(refused(text), expected.replace("\\\n", ""));
}

#[test]
fn a_clash_shows_both_places() {
    let report = refused(&format!("{FINE}[input.b]\nudp = \"127.0.0.1:8420\"\n"));
    let expected = concat!(
        "t.toml:6:7: error: input.b.udp: 0.0.0.0:8420 is bound by [input.a] on line 2\n",
        "  |\n",
        "2 | udp = \"0.0.0.0:8420\"\n",
        "  |       -------------- bound here\n",
        "...\n",
        "6 | udp = \"127.0.0.1:8420\"\n",
        "  |       ^^^^^^^^^^^^^^^^\n",
        "1 error in t.toml",
    );
    assert_eq!(report, expected);
    let twice = "forward = [\"relp://h:1\", \"relp://h:1\"]\n";
    for (text, label) in [
        ("[filter.a]\n", "- named here first"),
        ("[output.z2]\nfile = \"/log/z\"\n", "- written here"),
        ("[output.b]\nudp = \"h:1\"\nfrom = [\"a\", \"a\"]\n", "named here first"),
        (&format!("[output.b]\n{twice}"), "named here first"),
        ("[output.b]\nstdout = true\npipe = \"x\"\n", "- chosen here"),
        ("[output.b]\nstdout = true\nfrom = \"z\"\n", "- the output"),
        ("[output.b]\npipe = \"x\"\nwhen_full = \"block\"\n", "- cannot wait"),
    ] {
        let report = refused(&format!("{FINE}{text}"));
        assert!(report.contains(label), "{text}\n{report}");
    }
}

#[test]
fn the_caret_stands_right_behind_tabs_and_wide_characters() {
    let text = format!("{FINE}[filter.f]\n\tmatch\t= 'žluťoučký(kůň'\n");
    let expected = concat!(
        "t.toml:6:20: error: filter.f.match: not a regex: unclosed group\n",
        "  |\n",
        "6 |     match    = 'žluťoučký(kůň'\n",
        "  |                          ^\n",
    );
    let report = refused(&text);
    assert!(report.contains(expected), "{report}");
}

#[test]
fn a_long_line_is_shown_around_the_place() {
    let text = format!("{FINE}[filter.f]\nmatch = '{}('\n", "x".repeat(5000));
    let report = refused(&text);
    assert!(report.lines().all(|line| line.chars().count() < 120), "{report}");
    let caret = report.lines().nth(3).unwrap().chars().count();
    assert_eq!(report.lines().nth(2).unwrap().chars().nth(caret - 1), Some('('), "{report}");
}

#[test]
fn what_the_file_contains_does_not_upset_the_terminal() {
    let text = format!("{FINE}[filter.f]\n\"a\\u001b[2Jb\" = 1 # \u{85}\n");
    assert!(!refused(&text).contains(['\u{1b}', '\u{85}']));
}

#[test]
fn colours_are_all_that_a_terminal_gets_more() {
    let refusal = parse("[input.a]\nudp = 1\n[output.o]\nnope = 1\n", "t").unwrap_err();
    let coloured = refusal.in_colour();
    let mut plain = String::new();
    for (number, part) in coloured.split('\u{1b}').enumerate() {
        plain += if number == 0 { part } else { part.split_once('m').unwrap().1 };
    }
    assert_eq!(plain, refusal.to_string());
    assert!(coloured.len() > plain.len());
}

#[test]
fn broken_toml_is_placed() {
    assert_eq!(
        refused("[input.a]\nudp = \n[input.b\n"),
        "t.toml:2:7: error: not TOML: string values must be quoted, expected literal string\n  \
         |\n2 | udp = \n  |       ^\n\
         t.toml:3:9: error: not TOML: unclosed table, expected `]`\n  \
         |\n3 | [input.b\n  |         ^\n\
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

/// The message for each mistake, after its place, in an otherwise valid configuration.
#[test]
fn each_mistake_has_its_words() {
    let cases = include_str!("mistakes.txt").split("\n\n").skip(1);
    let cases: Vec<_> = cases.filter_map(|case| case.trim_end().split_once("\n=> ")).collect();
    assert!(cases.len() > 80, "{}", cases.len());
    let mut wrong = String::new();
    for (text, expected) in cases {
        let lines = headlines(&format!("{FINE}{text}"));
        if !lines.contains(&format!("t:{expected}")) {
            wrong += &format!("{text}\nwanted {expected}\n{lines:#?}\n\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn waiting_is_refused_through_filters_and_processes() {
    let text = format!(
        "{FINE}[input.i]\nstdin = true\n[filter.f]\nrun = \"cat\"\nfrom = \"a\"\n\
         [filter.g]\nfrom = [\"i\", \"f\"]\n[output.b]\nfrom = \"g\"\npipe = \"cat\"\n\
         when_full = \"block\"\n"
    );
    let expected = "\"block\" makes the inputs wait, but the UDP input `a` cannot (a → f → g → b)";
    assert!(refused(&text).contains(expected));
    let fine = text.replace("[\"i\", \"f\"]", "\"i\"");
    assert!(parse(&fine, "t").is_ok());
}

#[test]
fn a_cycle_is_named_whole() {
    let text = format!(
        "{FINE}[filter.y]\nfrom = \"x\"\n[filter.w]\nfrom = [\"a\", \"y\"]\n\
         [filter.x]\nfrom = \"w\"\n[filter.me]\nfrom = \"me\"\n[output.o]\n\
         from = \"x\"\nstdout = true\n"
    );
    let lines = headlines(&text);
    let cycles: Vec<_> = lines.iter().filter(|line| line.contains("cycle")).collect();
    assert_eq!(
        cycles,
        [
            "t:6:8: error: filter.y.from: the flow has a cycle: y → w → x → y",
            "t:12:8: error: filter.me.from: the flow has a cycle: me → me",
        ]
    );
}

#[test]
fn warnings_are_carried_beside_the_plan() {
    for (text, expected) in [
        ("[filter.f]\n", "t:5:9: warning: filter.f: nothing reads from this filter"),
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
            "[input.m]\nudp = \"10.0.0.1:1\"\nmulticast = \"233.58.59.1\"\n[output.o]\n\
             stdout = true",
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
fn many_regexes_on_one_stream_are_worth_a_word() {
    let filters = |count: usize, regex: &str| {
        let filter = |n| {
            let regex = regex.replace('#', &format!("{n}"));
            format!(
                "[filter.f{n}]\nfrom = \"a\"\nmatch = '{regex}'\n[output.o{n}]\n\
                     from = \"f{n}\"\nstdout = true\n"
            )
        };
        (0..count).map(filter).collect::<String>()
    };
    let reported = |text: &str| headlines(&format!("{FINE}{text}")).join("\n");
    assert!(!reported(&filters(200, "k# ")).contains("regexes on its lines"));
    let many = reported(&filters(100, r"\w+ k# \w+"));
    let want = "warning: input.a: the 100 regexes on its lines do not fit into one search: each \
                line is searched 100 times";
    assert!(many.contains(want), "{many}");
}

#[test]
fn a_format_with_a_brace_is_a_template() {
    let shape = |format: &str| {
        let plan = plan(&format!("{FINE}format = {format}\n"));
        let BodyPlan::File(file) = &node(&plan, "z").body else { panic!() };
        file.format.shape.clone()
    };
    assert_eq!(shape("\"traditional\""), plan::Shape::Traditional);
    let plan::Shape::Template(template) = shape("'{host} {message:json}'") else { panic!() };
    assert_eq!(template.to_string(), "{host} {message:json}");
    for (format, reported) in [
        ("'{hots}'", "unknown field {hots}"),
        ("'{host'", "a `{` without its `}`"),
        ("'{message:jsn}'", "{message:jsn}: there is no 'jsn', but json"),
        ("'tradtional'", "must be \"line\" or"),
    ] {
        let report = refused(&format!("{FINE}format = {format}\n"));
        assert!(
            report.contains(&format!("t.toml:5:10: error: output.z.format: {reported}")),
            "{report}"
        );
    }
}

#[test]
fn memory_must_do_for_all_queues() {
    let mut text = "[daemon]\nmemory = \"1MiB\"\n[input.i]\nstdin = true\n".to_owned();
    for n in 0..129 {
        text.push_str(&format!("[output.o{n}]\nudp = \"h:1\"\n"));
    }
    let report = refused(&text);
    assert!(
        report.contains("t.toml:2:10: error: daemon.memory: 1MiB is too little for 129 queues")
    );
    assert!(report.contains("set daemon.memory to 1032KiB or more"), "{report}");
}

#[test]
fn there_is_an_end_to_nodes_and_to_reports() {
    let mut text = String::new();
    for n in 0..=limits::NODES_MAX {
        text.push_str(&format!("[output.o{n}]\nnope = 1\n"));
    }
    let refusal = parse(&text, "t").unwrap_err();
    assert_eq!(refusal.errors, 2 * (limits::NODES_MAX + 1) + 1);
    assert_eq!(refusal.diagnostics.len(), DIAGNOSTICS_MAX);
    assert!(refusal.to_string().ends_with("… and more\n20003 errors in t"));
}

#[test]
fn every_key_is_known_to_the_man_page() {
    let page = include_str!("../../man/logweir.toml.5").replace("\\-", "-");
    for key in keys::all_names() {
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
    assert_eq!(examples.len(), 3);
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
