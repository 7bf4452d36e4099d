//! Messages of every shape, and their parts.

use proptest::prelude::*;
use syslog_loose::{Variant, parse_message_with_year};

use super::*;

/// 2026-11-27T12:00:00Z
const RECEIVED: i64 = 1_795_780_800;

fn received() -> Timestamp {
    Timestamp::from_second(RECEIVED).unwrap()
}

/// The parts of a message, as text: facility.severity, time, host, app, procid, msgid, data, text.
fn parts(line: &[u8]) -> [String; 8] {
    let message = Message::parse(line);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let part = |span: Span| span.of(line).map_or_else(|| "-".into(), text);
    let pri = format!("{}.{}", names::facility_of(message.pri), names::severity_of(message.pri));
    let time = message
        .sent(line, &TimeZone::UTC, received())
        .map_or_else(|| "-".into(), |t| t.to_string());
    [
        pri,
        time,
        part(message.host),
        part(message.app),
        part(message.procid),
        part(message.msgid),
        part(message.data),
        text(message.text(line)),
    ]
}

fn fault(line: &[u8]) -> Option<Fault> {
    Message::parse(line).fault
}

#[test]
fn a_pri_is_a_number_up_to_191_in_angle_brackets() {
    for (line, want) in [
        ("<0>x", Ok((0, 3))),
        ("<191>x", Ok((191, 5))),
        ("<013>x", Ok((13, 5))),
        ("<192>x", Err(Fault::BadPri)),
        ("<999>x", Err(Fault::BadPri)),
        ("<0013>x", Err(Fault::BadPri)),
        ("<>x", Err(Fault::BadPri)),
        ("<abc>x", Err(Fault::BadPri)),
        ("<13", Err(Fault::BadPri)),
        ("<", Err(Fault::BadPri)),
        ("", Err(Fault::NoPri)),
        ("x<13>", Err(Fault::NoPri)),
    ] {
        assert_eq!(pri(line.as_bytes()), want, "{line}");
    }
}

#[test]
fn a_header_of_rfc_5424_gives_all_parts() {
    let line = b"<165>1 2003-10-11T22:14:15.003Z host.example evntslog 8710 ID47 \
                 [a@1 iut=\"3\" q=\"\\]\\\"\"][b@2] \xef\xbb\xbfAn event";
    let want = [
        "local4.notice",
        "2003-10-11T22:14:15.003Z",
        "host.example",
        "evntslog",
        "8710",
        "ID47",
        "[a@1 iut=\"3\" q=\"\\]\\\"\"][b@2]",
        "An event",
    ];
    assert_eq!(parts(line), want);
    assert_eq!(parts(b"<34>1 - - - - - -"), ["auth.crit", "-", "-", "-", "-", "-", "-", ""]);
}

#[test]
fn a_wrong_header_of_rfc_5424_is_text() {
    let good = "<34>1 2003-10-11T22:14:15Z h a p m - text";
    assert_eq!(fault(good.as_bytes()), None);
    for wrong in [
        "<34>1 ",
        "<34>1 - - - - ",
        "<34>1 - -  - - - - text",
        "<34>1 - - h a",
        "<34>1 yesterday h a p m - text",
        "<34>1 2003-10-11 h a p m - text",
        "<34>1 2003-10-11T22:14:15",
        "<34>1 2003-10-11T22:14:15x h a p m - text",
    ] {
        assert_eq!(fault(wrong.as_bytes()), Some(Fault::BadHeader), "{wrong}");
        assert_eq!(parts(wrong.as_bytes())[7], wrong[4..], "{wrong}");
    }
    for wrong in
        ["[", "[a", "[a b", "[a b=\"c", "[a b=\"c\\\"]", "[ a]", "[]", "[a]text", "x", "[a =\"\"]"]
    {
        let line = format!("<34>1 - h a - - {wrong}");
        assert_eq!(fault(line.as_bytes()), Some(Fault::BadData), "{line}");
        let parts = parts(line.as_bytes());
        assert_eq!((parts[2].as_str(), parts[7].as_str()), ("h", wrong), "{line}");
    }
    let long = format!("<34>1 - {} {} - - - x", "h".repeat(256), "a".repeat(48));
    assert_eq!(fault(long.as_bytes()), Some(Fault::LongField));
    assert_eq!(parts(long.as_bytes())[2].len(), 256);
}

#[test]
fn a_time_that_is_nearly_right_costs_a_header_of_rfc_5424_nothing_else() {
    for (time, want) in [
        ("2003-10-11T22:14:15", "2003-10-11T22:14:15Z"),
        ("2003-10-11t22:14:15z", "2003-10-11T22:14:15Z"),
        ("2003-10-11T22:14:15+0200", "2003-10-11T20:14:15Z"),
        ("2003-10-11T22:14:15.5+02", "2003-10-11T20:14:15.5Z"),
        ("2003-10-11T22:14:15,449Z", "2003-10-11T22:14:15.449Z"),
        ("2003-10-11T22:14:15,449-0330", "2003-10-12T01:44:15.449Z"),
        ("2003-10-11 22:14:15", "2003-10-11T22:14:15Z"),
        ("2003-10-11 22:14:15,449+02:00", "2003-10-11T20:14:15.449Z"),
        ("2003-10-11T22:14:15.Z", "2003-10-11T22:14:15Z"),
        ("2003-10-11T22:14:15.0123456789Z", "-"),
        ("2003-10-11T22:14:15+1:00", "-"),
        ("2003-10-11T22:14:60Z", "-"),
        ("2003-10-11T24:14:15Z", "-"),
        ("2003-13-11T22:14:15Z", "-"),
        ("2003-02-30T22:14:15Z", "-"),
        ("2003-10-11T22:14Z", "-"),
    ] {
        let line = format!("<34>1 {time} h a p m [x@1 y=\"z\"] text");
        let [_, found, rest @ ..] = parts(line.as_bytes());
        assert_eq!(rest, ["h", "a", "p", "m", "[x@1 y=\"z\"]", "text"], "{line}");
        assert_eq!(found, want, "{line}");
        // The form of the time is valid, so other daemons accept it.
        let clean = time == "2003-02-30T22:14:15Z";
        assert_eq!(Message::parse(line.as_bytes()).is_clean_rfc5424(), clean, "{line}");
    }
}

#[test]
fn a_header_of_rfc_5424_with_a_slip_keeps_what_is_sure() {
    let time = "2003-10-11T22:14:15Z";
    for (line, want) in [
        ("<34>1 T h a p m", [time, "h", "a", "p", "m", "-", ""]),
        ("<34>1 T h a p m ", [time, "h", "a", "p", "m", "-", ""]),
        ("<34>1 T h a p", [time, "h", "a", "p", "-", "-", ""]),
        ("<34>1 T h a", [time, "h", "a", "-", "-", "-", ""]),
        ("<34>1 T h", [time, "h", "-", "-", "-", "-", ""]),
        ("<34>1 - - - - -", ["-", "-", "-", "-", "-", "-", ""]),
        ("<34>1 - h a p m", ["-", "h", "a", "p", "m", "-", ""]),
        ("<34>1  T h a p m - x", [time, "h", "a", "p", "m", "-", "x"]),
        ("<34>1 T  h a p m - x", [time, "h", "a", "p", "m", "-", "x"]),
        ("<34>1 T h  a p m [b c=\"d\"] x", [time, "h", "a", "p", "m", "[b c=\"d\"]", "x"]),
        ("<34>1 T h a p m  - x", [time, "h", "a", "p", "m", "-", "x"]),
        ("<34>1 T h a p  - x", [time, "h", "a", "p", "-", "-", "x"]),
        ("<34> 1 T h a p m - x", [time, "h", "a", "p", "m", "-", "x"]),
        ("<34>  1 T h a p m - x", [time, "h", "a", "p", "m", "-", "x"]),
        ("\u{feff}<34>1 T h a p m - x", [time, "h", "a", "p", "m", "-", "x"]),
        ("<34>\u{feff}1 T h a p m - x", [time, "h", "a", "p", "m", "-", "x"]),
    ] {
        let line = line.replace('T', time);
        assert_eq!(parts(line.as_bytes())[1..], want, "{line}");
    }
    assert_eq!(fault(b"<34> 1 - h a p m - x"), Some(Fault::BadHeader));
    assert_eq!(fault(b"<34>\xef\xbb\xbf1 - h a p m - x"), Some(Fault::BadHeader));
    assert_eq!(fault(b"<34> 1 apple"), Some(Fault::NoHeader));
    assert_eq!(fault(b"\xef\xbb\xbf<34>1 - h a p m - x"), None);
    assert_eq!(fault(b"\xef\xbb\xbfx"), Some(Fault::NoPri));
}

#[test]
fn a_word_that_no_host_can_be_called_stays_in_the_text() {
    let time = "2026-10-11T22:14:15Z";
    for (rest, want) in [
        ("{\"a\":1}", ["-", "-", "-", "{\"a\":1}"]),
        ("{ \"a\": 1 }", ["-", "-", "-", "{ \"a\": 1 }"]),
        ("h {\"a\":1}", ["h", "-", "-", "{\"a\":1}"]),
        ("h a=1,b=2: x", ["h", "-", "-", "a=1,b=2: x"]),
        ("h a,b: x", ["h", "a,b", "-", "x"]),
        ("[warn] disk full", ["-", "-", "-", "[warn] disk full"]),
        ("(x) y z", ["-", "-", "-", "(x) y z"]),
        ("<info> y z", ["-", "-", "-", "<info> y z"]),
        ("'x' y", ["-", "-", "-", "'x' y"]),
        ("a|b|c y", ["-", "-", "-", "a|b|c y"]),
        ("what? y", ["-", "-", "-", "what? y"]),
        ("*** y", ["-", "-", "-", "*** y"]),
        ("C:\\x y", ["-", "-", "-", "C:\\x y"]),
        ("date=2026-10-11 devname=\"fw\"", ["-", "-", "-", "date=2026-10-11 devname=\"fw\""]),
        ("2026-10-11T22:14:15Z h a: x", ["-", "-", "-", "2026-10-11T22:14:15Z h a: x"]),
        ("2026-10-11T22:14:15,1 h x", ["-", "-", "-", "2026-10-11T22:14:15,1 h x"]),
        ("Oct 11 22:14:15 h a: x", ["-", "-", "-", "Oct 11 22:14:15 h a: x"]),
        ("web[17] GET /", ["-", "web", "17", "GET /"]),
        ("web[17]:GET /", ["-", "web", "17", "GET /"]),
        ("[2001:db8::1] su: x", ["[2001:db8::1]", "su", "-", "x"]),
        ("[2001:db8::1]:514 su: x", ["[2001:db8::1]:514", "su", "-", "x"]),
        ("[192.0.2.1] su: x", ["[192.0.2.1]", "su", "-", "x"]),
        ("a@b su: x", ["a@b", "su", "-", "x"]),
        ("a+b/c su: x", ["a+b/c", "su", "-", "x"]),
        (" h su: x", ["h", "su", "-", "x"]),
        ("  h  su[7]: x", ["h", "su", "7", "x"]),
        ("UTC h su: x", ["h", "su", "-", "x"]),
        ("UTC su: x", ["-", "su", "-", "x"]),
        ("CEST: %SYS-5-CONFIG_I: x", ["-", "%SYS-5-CONFIG_I", "-", "x"]),
        ("PST : %SYS-5-CONFIG_I: x", ["-", "%SYS-5-CONFIG_I", "-", "x"]),
    ] {
        for time_text in ["Oct 11 22:14:15", "2026-10-11T22:14:15Z", "2026-10-11 22:14:15"] {
            let line = format!("<34>{time_text} {rest}");
            let [_, found, host, app, procid, _, _, text] = parts(line.as_bytes());
            assert_eq!([host, app, procid, text], want, "{line}");
            assert_eq!(found, time, "{line}");
        }
    }
    let long = format!("<34>Oct 11 22:14:15 {} su: x", "h".repeat(256));
    assert_eq!(parts(long.as_bytes())[2], "-");
}

#[test]
fn a_zone_behind_the_time_moves_it_where_it_says_by_how_much() {
    for (sent, want) in [
        ("Oct 11 22:14:15 +0200", "2026-10-11T20:14:15Z"),
        ("Oct 11 22:14:15 UTC+2:", "2026-10-11T20:14:15Z"),
        ("2026-10-11 22:14:15 -03:30", "2026-10-12T01:44:15Z"),
        ("Oct 11 2026 22:14:15 UTC", "2026-10-11T22:14:15Z"),
        ("Oct 11 22:14:15.5 GMT:", "2026-10-11T22:14:15.5Z"),
        // CST may mean Chicago or Shanghai: the system's zone applies.
        ("Oct 11 22:14:15 CST:", "2026-10-11T20:14:15Z"),
    ] {
        assert_eq!(in_berlin("2026-10-11T22:14:15Z", sent), want, "{sent}");
    }
}

#[test]
fn the_many_shapes_of_rfc_3164_give_their_parts() {
    let time = "2026-10-11T22:14:15Z";
    for (line, want) in [
        ("<34>Oct 11 22:14:15 h su: 'x'", [time, "h", "su", "-", "'x'"]),
        ("<34>Oct 11 22:14:15 h su[12]: x", [time, "h", "su", "12", "x"]),
        ("<34>Oct 11 22:14:15 su[12]: x", [time, "-", "su", "12", "x"]),
        ("<34>Oct 11 22:14:15 su: x", [time, "-", "su", "-", "x"]),
        ("<34>Oct 11 22:14:15 h postfix/smtpd[1]:  x ", [time, "h", "postfix/smtpd", "1", " x "]),
        ("<34>Oct 11 22:14:15.250 h su: x", ["2026-10-11T22:14:15.25Z", "h", "su", "-", "x"]),
        ("<34>Dec 24 22:14:15 h su: x", ["2026-12-24T22:14:15Z", "h", "su", "-", "x"]),
        ("<34>2026-10-11T22:14:15Z h su: x", [time, "h", "su", "-", "x"]),
        ("<34>su[12]: x", ["-", "-", "su", "12", "x"]),
        ("<34>su: x", ["-", "-", "su", "-", "x"]),
        ("<34>- x", ["-", "-", "-", "-", "- x"]),
        ("<34>--- x", ["-", "-", "-", "-", "--- x"]),
        ("<34>only text: here", ["-", "-", "-", "-", "only text: here"]),
        (
            "<189>29: *Oct 11 22:14:15.250: %SYS-5-CONFIG_I: Configured",
            ["2026-10-11T22:14:15.25Z", "-", "%SYS-5-CONFIG_I", "-", "Configured"],
        ),
        (
            "<166>Oct 11 2026 22:14:15 fw1 : %ASA-6-302013: Built",
            [time, "fw1", "%ASA-6-302013", "-", "Built"],
        ),
        (
            "<166>Oct 11 2026 22:14:15: %ASA-6-302013: Built",
            [time, "-", "%ASA-6-302013", "-", "Built"],
        ),
        (
            "<187>45: sw1: 004519: Oct 11 2026 22:14:15.25 UTC: %LINK-3-UPDOWN: Line",
            ["2026-10-11T22:14:15.25Z", "sw1", "%LINK-3-UPDOWN", "-", "Line"],
        ),
        (
            "<166>:Oct 11 22:14:15 UTC: %ASA-session-6-302016: Teardown",
            [time, "-", "%ASA-session-6-302016", "-", "Teardown"],
        ),
        ("<189>45: sw1: 12: x", ["-", "-", "sw1", "-", "12: x"]),
    ] {
        let [_, time, host, app, procid, _, _, text] = parts(line.as_bytes());
        assert_eq!([time, host, app, procid, text], want, "{line}");
    }
}

/// The time of a message without a year, in Berlin, received at `received`.
fn in_berlin(received: &str, sent: &str) -> String {
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let line = format!("<34>{sent} h a: x");
    let message = Message::parse(line.as_bytes());
    let time = message.sent(line.as_bytes(), &zone, received.parse().unwrap());
    time.map_or_else(|| "-".into(), |time| time.to_string())
}

#[test]
fn a_time_without_a_year_is_of_the_nearest_one() {
    for (received, sent, want) in [
        ("2027-01-01T00:00:01+01:00", "Dec 31 23:59:59", "2026-12-31T22:59:59Z"),
        ("2026-12-31T23:59:59+01:00", "Jan  1 00:00:01", "2026-12-31T23:00:01Z"),
        // New Year in Berlin, but not yet in UTC.
        ("2026-12-31T23:30:00Z", "Jan  1 00:30:00", "2026-12-31T23:30:00Z"),
        ("2026-12-31T23:30:00Z", "Dec 31 23:30:00", "2026-12-31T22:30:00Z"),
        ("2027-01-15T12:00:00Z", "Oct  1 10:00:00", "2026-10-01T08:00:00Z"),
        ("2027-03-02T12:00:00Z", "Dec 24 10:00:00", "2026-12-24T09:00:00Z"),
        ("2026-10-15T12:00:00Z", "Feb  1 10:00:00", "2027-02-01T09:00:00Z"),
        ("2026-11-27T12:00:00Z", "Apr  3 10:00:00", "2027-04-03T08:00:00Z"),
        ("2026-06-30T12:00:00Z", "Dec 28 10:00:00", "2026-12-28T09:00:00Z"),
        ("2026-06-30T12:00:00Z", "Jan  2 10:00:00", "2026-01-02T09:00:00Z"),
        // A day that only leap years have.
        ("2028-03-01T12:00:00Z", "Feb 29 10:00:00", "2028-02-29T09:00:00Z"),
        ("2027-11-27T12:00:00Z", "Feb 29 10:00:00", "2028-02-29T09:00:00Z"),
        ("2029-01-02T12:00:00Z", "Feb 29 10:00:00", "2028-02-29T09:00:00Z"),
        ("2026-11-27T12:00:00Z", "Feb 29 10:00:00", "-"),
        ("2026-11-27T12:00:00Z", "Feb 30 10:00:00", "-"),
        // With a year there is nothing to choose.
        ("2026-11-27T12:00:00Z", "Apr  3 2019 10:00:00", "2019-04-03T08:00:00Z"),
    ] {
        assert_eq!(in_berlin(received, sent), want, "{sent}, received {received}");
    }
}

#[test]
fn in_the_hour_that_is_there_twice_a_time_is_of_the_nearer_one() {
    for (received, sent, want) in [
        ("2026-10-25T00:30:10Z", "Oct 25 02:30:00", "2026-10-25T00:30:00Z"),
        ("2026-10-25T01:30:10Z", "Oct 25 02:30:00", "2026-10-25T01:30:00Z"),
        ("2026-10-25T02:00:10Z", "Oct 25 02:59:59", "2026-10-25T01:59:59Z"),
        ("2026-10-25T01:30:10Z", "Oct 25 2026 02:30:00", "2026-10-25T01:30:00Z"),
        ("2026-10-25T01:30:10Z", "2026-10-25T02:30:00", "2026-10-25T01:30:00Z"),
        // An hour that is skipped in spring.
        ("2026-03-29T01:10:00Z", "Mar 29 02:30:00", "2026-03-29T01:30:00Z"),
    ] {
        assert_eq!(in_berlin(received, sent), want, "{sent}, received {received}");
    }
}

#[test]
fn bytes_that_are_no_text_pass() {
    let [_, _, host, app, .., text] = parts(b"<34>Oct 11 22:14:15 h\xff su: \0\xfe");
    assert_eq!([host.as_str(), app.as_str()], ["h\u{fffd}", "su"]);
    assert_eq!(text, "\0\u{fffd}");
}

#[test]
fn structured_data_is_found_by_id_and_name() {
    let data = br#"[a@1 x="1" y="2 ]\]\"\\\n"][b x="3" x="4"][c]"#;
    assert_eq!(sd::end(data), Some(data.len()));
    let found = |id: &str, name: &str| {
        sd::find(data, id.as_bytes(), name.as_bytes())
            .map(|v| String::from_utf8(v.to_vec()).unwrap())
    };
    assert_eq!(found("a@1", "x").as_deref(), Some("1"));
    assert_eq!(found("a@1", "y").as_deref(), Some("2 ]]\"\\\\n"));
    assert_eq!(found("b", "x").as_deref(), Some("3"));
    assert_eq!((found("b", "y"), found("c", "x"), found("d", "x")), (None, None, None));
}

#[test]
fn names_and_numbers_of_facilities_and_severities_are_known() {
    assert_eq!((names::facility("local7"), names::facility("23")), (Some(23), Some(23)));
    assert_eq!((names::facility("24"), names::facility("x")), (None, None));
    assert_eq!((names::severity("warn"), names::severity("warning")), (Some(4), Some(4)));
    assert_eq!((names::facility_of(191), names::severity_of(191)), ("local7", "debug"));
}

fn token() -> impl Strategy<Value = String> {
    "-|[!-~]{1,12}"
}

/// Structured data whose values match this regex, or none.
fn data(value: &str) -> impl Strategy<Value = String> + use<> {
    let element = format!("\\[[a-z]{{1,5}}( [a-z]{{1,3}}=\"{value}\"){{1,3}}\\]");
    prop_oneof![Just("-".to_string()), proptest::string::string_regex(&element).unwrap()]
}

proptest! {
    #[test]
    fn any_bytes_are_a_message(line in proptest::collection::vec(any::<u8>(), 0..200)) {
        let message = Message::parse(&line);
        for span in [message.host, message.app, message.procid, message.msgid, message.data] {
            span.of(&line);
        }
        message.text(&line);
        message.sent(&line, &TimeZone::UTC, received());
    }

    #[test]
    fn anything_behind_a_pri_is_a_message(
        head in "<[0-9]{1,3}>(1 |Oct 11 22:14:15[ .:]|[0-9]{1,3}: [*.]?|2026-10-11T22:14:15Z |-)?",
        rest in "[a-z0-9:\\[\\]%. \"=\u{e9}-]{0,40}",
    ) {
        let line = [head.as_bytes(), rest.as_bytes()].concat();
        let message = Message::parse(&line);
        for span in [message.host, message.app, message.procid, message.msgid, message.data] {
            span.of(&line);
        }
        message.text(&line);
        message.sent(&line, &TimeZone::UTC, received());
    }

    #[test]
    fn a_header_of_rfc_5424_is_read_as_it_was_written(
        pri in 0..=191_u8,
        fields in proptest::array::uniform4(token()),
        data in data("[a-z ]{0,5}"),
        text in proptest::option::of("[ -~]{0,20}"),
    ) {
        let text_part = text.as_ref().map_or_else(String::new, |text| format!(" {text}"));
        let line = format!("<{pri}>1 2026-10-11T22:14:15Z {} {data}{text_part}", fields.join(" "));
        let [_, _, host, app, procid, msgid, found, read] = parts(line.as_bytes());
        prop_assert_eq!(&[host, app, procid, msgid], &fields);
        prop_assert_eq!(found, data);
        prop_assert_eq!(read, text.unwrap_or_default());
        prop_assert_eq!(fault(line.as_bytes()), None);
    }

    #[test]
    fn what_syslog_loose_takes_as_rfc_5424_we_take_alike(
        fields in proptest::array::uniform4("-|[a-z][a-z0-9_.-]{0,11}"),
        data in data("[a-z]{1,5}"),
        text in "[a-z][ -~]{0,20}[a-z]",
    ) {
        let line = format!("<34>1 2026-10-11T22:14:15Z {} {data} {text}", fields.join(" "));
        let loose = parse_message_with_year(&line, |_| 2026, Variant::RFC5424);
        let [_, _, host, app, procid, msgid, _, read] = parts(line.as_bytes());
        let or_nil = |part: Option<&str>| part.unwrap_or("-").to_string();
        prop_assert_eq!(host, or_nil(loose.hostname));
        prop_assert_eq!(app, or_nil(loose.appname));
        prop_assert_eq!(procid, loose.procid.map_or_else(|| "-".into(), |p| p.to_string()));
        prop_assert_eq!(msgid, or_nil(loose.msgid));
        prop_assert_eq!(read, loose.msg);
    }
}

#[test]
fn any_other_byte_in_a_timestamp_is_judged_by_its_place() {
    let good = b"2026-10-19T21:38:47Z";
    assert!(rfc5424::is_timestamp(good));
    for at in 0..19 {
        for byte in 0..=255 {
            let mut text = *good;
            text[at] = byte;
            let is_digit = byte.is_ascii_digit();
            let expected = match at {
                5 => byte == b'1',
                6 | 8 | 11 => matches!(byte, b'0'..=b'2'),
                12 => matches!(byte, b'0'..=b'3'),
                14 | 17 => matches!(byte, b'0'..=b'5'),
                4 | 7 | 10 | 13 | 16 => byte == good[at],
                _ => is_digit,
            };
            assert_eq!(rfc5424::is_timestamp(&text), expected, "{}", text.escape_ascii());
        }
    }
}

proptest! {
    #[test]
    fn the_first_space_is_found_in_any_bytes(
        before in proptest::collection::vec(any::<u8>().prop_map(|byte| byte | 1), 0..40),
        after in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        prop_assert_eq!(rfc5424::space(&before), None);
        let all = [&before[..], b" ", &after].concat();
        prop_assert_eq!(rfc5424::space(&all), Some(before.len()));
    }
}
