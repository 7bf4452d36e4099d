//! Repeats are joined to the line, and every line has a fate.

use proptest::prelude::*;

use super::*;
use crate::filter::batch_of;
use crate::ids::Identity;

fn at(seconds: u64) -> Mono {
    Mono(Duration::from_secs(seconds))
}

fn squeezer() -> Squeezer {
    Squeezer::new(Duration::from_secs(30))
}

fn text(squeezed: &Squeezed) -> String {
    let bytes: Vec<u8> = squeezed.batches.iter().flat_map(|batch| batch.bytes.to_vec()).collect();
    String::from_utf8(bytes).unwrap()
}

fn push(squeezer: &mut Squeezer, lines: &str, seconds: u64) -> String {
    text(&squeezer.push(&batch_of(lines), at(seconds)))
}

const A: &str = "<13>Oct 11 22:14:15 h a[1]: same\n";

#[test]
fn repeats_become_one_line_with_their_number() {
    let mut squeezer = squeezer();
    let lines = format!("{A}{A}{A}{A}<13>Oct 11 22:14:16 h a[1]: other\n");
    let squeezed = squeezer.push(&batch_of(&lines), at(0));
    assert_eq!(
        text(&squeezed),
        format!(
            "{A}<13>Oct 11 22:14:15 h a[1]: message repeated 3 times: [ same]\n\
             <13>Oct 11 22:14:16 h a[1]: other\n"
        )
    );
    assert_eq!(squeezed.dropped.sum(), Count { lines: 2, bytes: 2 * A.len() as u64 });
    assert_eq!(squeezed.grown.sum().bytes, " message repeated 3 times: []".len() as u64);
    assert_eq!(squeezer.held(), Count::default());
}

#[test]
fn a_single_repeat_passes_as_it_is_with_its_own_time() {
    let mut squeezer = squeezer();
    let again = A.replace("22:14:15", "22:14:19");
    assert_eq!(push(&mut squeezer, &format!("{A}{again}"), 0), A);
    assert_eq!(squeezer.held(), Count { lines: 1, bytes: A.len() as u64 });
    assert_eq!(push(&mut squeezer, "<13>h2 x\n", 1), "<13>h2 x\n");
    let other = A.replace("same", "other");
    assert_eq!(push(&mut squeezer, &other, 2), format!("{again}{other}"));
}

#[test]
fn senders_that_take_turns_are_joined_each_by_itself() {
    let mut squeezer = squeezer();
    let b = A.replace("a[1]", "a[2]");
    assert_eq!(push(&mut squeezer, &format!("{A}{b}{A}{b}{A}{b}"), 0), format!("{A}{b}"));
    assert_eq!(squeezer.held().lines, 2);
    let end = text(&squeezer.end());
    assert_eq!(end.matches("message repeated 2 times: [ same]").count(), 2, "{end}");
    assert!(end.contains("a[1]: message") && end.contains("a[2]: message"), "{end}");
    assert_eq!(squeezer.held(), Count::default());
}

#[test]
fn addresses_without_a_name_are_senders_too() {
    let mut squeezer = squeezer();
    let mut lines = |host: &str, seconds| {
        let mut batch = batch_of("<13>a: x\n");
        batch.sources = Some(Sources::one(Source::Address(format!("{host}:1").parse().unwrap())));
        squeezer.push(&batch, at(seconds)).batches.len()
    };
    assert_eq!((lines("192.0.2.1", 0), lines("192.0.2.2", 0)), (1, 1));
    assert_eq!((lines("192.0.2.1", 0), lines("192.0.2.2", 0)), (0, 0));
}

#[test]
fn a_window_that_is_over_lets_repeats_pass_and_a_quiet_sender_is_forgotten() {
    let mut squeezer = squeezer();
    push(&mut squeezer, &format!("{A}{A}{A}"), 0);
    assert_eq!(squeezer.deadline(), Some(at(30)));
    assert_eq!(text(&squeezer.expire(at(29))), "");
    let first = text(&squeezer.expire(at(30)));
    assert!(first.contains("repeated 2 times"), "{first}");
    // The next repeats count from here.
    assert_eq!(push(&mut squeezer, &A.repeat(3), 40), "");
    assert!(text(&squeezer.expire(at(60))).contains("repeated 3 times"));
    assert_eq!(text(&squeezer.expire(at(90))), "");
    assert_eq!(squeezer.deadline(), None);
    assert_eq!(push(&mut squeezer, A, 91), A, "it passes as new");
}

#[test]
fn messages_of_another_severity_are_no_repeats() {
    let mut squeezer = squeezer();
    let worse = A.replace("<13>", "<8>");
    assert_eq!(push(&mut squeezer, &format!("{A}{worse}"), 0), format!("{A}{worse}"));
}

#[test]
fn texts_of_each_kind_of_message_are_found() {
    for (line, want) in [
        ("raw text", "message repeated 2 times: [raw text]"),
        ("<13>1 - h a - - - x", "<13>1 - h a - - - message repeated 2 times: [x]"),
        ("<13>a: x", "<13>a: message repeated 2 times: [ x]"),
        ("", "message repeated 2 times: []"),
    ] {
        let mut squeezer = squeezer();
        let lines = format!("{line}\n").repeat(3);
        assert_eq!(push(&mut squeezer, &lines, 0), format!("{line}\n"));
        assert_eq!(text(&squeezer.end()), format!("{want}\n"), "{line}");
    }
}

#[test]
fn hostile_senders_are_bounded_and_lose_nothing() {
    let mut squeezer = squeezer();
    push(&mut squeezer, &format!("{A}{A}{A}"), 0);
    let mut passed = String::new();
    for number in 0..SQUEEZE_SENDERS_MAX {
        passed += &push(&mut squeezer, &format!("<13>1 - h{number} a - - - x\n"), 1);
    }
    assert_eq!(squeezer.senders.len(), SQUEEZE_SENDERS_MAX);
    assert!(passed.contains("message repeated 2 times: [ same]"), "the oldest made room");
    let long = format!("<13>1 - l a - - - {}\n", "x".repeat(SQUEEZE_LINE_MAX));
    assert_eq!(push(&mut squeezer, &format!("{long}{long}"), 2), format!("{long}{long}"));
    let half = "y".repeat(SQUEEZE_LINE_MAX / 2);
    for number in 0..SQUEEZE_SENDERS_MAX {
        push(&mut squeezer, &format!("<13>1 - h{number} b - - - {half}\n"), 3);
        assert!(squeezer.text <= SQUEEZE_TEXT_MAX);
    }
    squeezer.end();
    assert_eq!(squeezer.text, 0);
}

#[test]
fn parts_of_a_batch_account_for_its_numbers() {
    let mut squeezer = squeezer();
    let mut batch = batch_of(&format!("{A}{A}{A}<13>Oct 11 22:14:16 h a[1]: other\n{A}{A}"));
    let span = Span { origin: Identity::of(1), first: 10, last: 15 };
    batch.origin = Some(span);
    let spans = |squeezed: &Squeezed| -> Vec<_> {
        let spans = squeezed.batches.iter().map(|batch| batch.origin);
        spans.map(|span| span.map(|span| (span.first, span.last))).collect()
    };
    let squeezed = squeezer.push(&batch, at(0));
    // A, the line that counts, then `other` and A with the repeat that is held.
    assert_eq!(spans(&squeezed), [Some((10, 10)), None, Some((11, 15))]);
    batch.origin = Some(Span { last: 99, ..span });
    let mut squeezer = Squeezer::new(Duration::from_secs(30));
    assert_eq!(spans(&squeezer.push(&batch, at(0))), [None, None, Some((10, 99))]);
    batch = batch_of("<13>h3 new\n");
    batch.origin = Some(Span { first: 3, last: 3, ..span });
    assert_eq!(spans(&squeezer.push(&batch, at(0))), [Some((3, 3))]);
}

/// What became of lines: passed ones, dropped ones, and those that passed or that a number stands
/// for.
#[derive(Default)]
struct Fates {
    left: Count,
    dropped: Count,
    grown: u64,
    told: u64,
}

impl Fates {
    fn take(&mut self, squeezed: &Squeezed) {
        for batch in &squeezed.batches {
            self.left.add(batch.lines.into(), batch.bytes.len() as u64);
            for line in batch.iter().map(String::from_utf8_lossy) {
                let times = line.split_once("repeated ").and_then(|(_, rest)| rest.split_once(' '));
                self.told += times.map_or(1, |(times, _)| times.parse::<u64>().unwrap());
            }
        }
        let dropped = squeezed.dropped.sum();
        self.dropped.add(dropped.lines, dropped.bytes);
        self.grown += squeezed.grown.sum().bytes;
    }
}

proptest! {
    /// What went in is out, dropped or held, in lines and in bytes, however it is cut into batches.
    #[test]
    fn every_line_has_a_fate(
        lines in prop::collection::vec((0..3_u8, 0..2_u8, 0..20_u64), 1..60),
        cut in 1..7_usize,
    ) {
        let (mut squeezer, mut fates) = (squeezer(), Fates::default());
        let (mut now, mut entered) = (0, Count::default());
        for piece in lines.chunks(cut) {
            let text: String = piece
                .iter()
                .map(|(sender, text, _)| format!("<13>1 - h{sender} a - - - {text}\n"))
                .collect();
            now += piece[0].2;
            entered.add(piece.len() as u64, text.len() as u64);
            fates.take(&squeezer.push(&batch_of(&text), at(now)));
        }
        let (held, Fates { left, dropped, grown, .. }) = (squeezer.held(), &fates);
        prop_assert_eq!(entered.lines, left.lines + dropped.lines + held.lines);
        prop_assert_eq!(entered.bytes + grown, left.bytes + dropped.bytes + held.bytes);
        fates.take(&squeezer.end());
        prop_assert_eq!(fates.told, lines.len() as u64);
    }
}
