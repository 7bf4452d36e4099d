//! Many regexes over one stream in one pass.
//!
//! A batch is searched whole, not line by line: a pattern's literal prefilter then runs over
//! hundreds of kilobytes at memory speed, and only where something is found is a line cut
//! out and asked which of the patterns it holds. For that to mean the same as asking every
//! line, no pattern may match across a newline and anchors must hold at line ends; the
//! patterns are rewritten so when they are read (`within_a_line`).

use regex_automata::meta::{self, Regex};
use regex_automata::{Input, MatchKind, PatternSet};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{
    Capture, Class, ClassBytes, ClassBytesRange, ClassUnicode, ClassUnicodeRange, Hir, HirKind,
    Look, Repetition,
};

use super::Range;
use crate::batch::Batch;
use crate::parse::syslog::{Faults, Message};

/// A pattern among those of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PatternId(usize);

/// The patterns that the nodes of one stream look for.
#[derive(Debug, Default)]
pub struct Patterns {
    texts: Vec<String>,
    regex: Option<Regex>,
}

/// Where the patterns were found in one batch, and where its lines are.
#[derive(Debug, Default)]
pub struct Hits {
    by_pattern: Vec<Vec<Range>>,
    lines: Vec<Range>,
    found: Option<PatternSet>,
    /// The parts of the lines that somebody asked for.
    messages: Vec<Option<Message>>,
    /// Whether those were looked at to their end.
    whole: bool,
    /// What was wrong with those.
    faults: Faults,
}

impl Hits {
    /// The lines that a pattern hit, in order.
    pub fn of(&self, id: PatternId) -> &[Range] {
        &self.by_pattern[id.0]
    }

    /// All lines of the batch; looked up once a batch, where something asks.
    pub fn lines(&mut self, batch: &Batch) -> &[Range] {
        if self.lines.is_empty() {
            let mut start = 0;
            self.lines.extend(memchr::memchr_iter(b'\n', &batch.bytes).map(|at| {
                let end = offset(at + 1);
                (std::mem::replace(&mut start, end), end)
            }));
        }
        &self.lines
    }

    /// The parts of the line of this place among [`Self::lines`]; looked up once, where
    /// something asks. Not `whole`, perhaps without what [`Message::parse_header`] leaves out.
    pub fn message(&mut self, batch: &Batch, at: usize, whole: bool) -> Message {
        let (start, end) = self.lines(batch)[at];
        if self.messages.is_empty() || whole && !self.whole {
            self.messages.clear();
            self.messages.resize(self.lines.len(), None);
            self.whole = whole;
        }
        if let Some(message) = self.messages[at] {
            return message;
        }
        let line = &batch.bytes[start as usize..end as usize - 1];
        let message = match self.whole {
            true => Message::parse(line),
            false => Message::parse_header(line),
        };
        self.faults.count_header(message.fault);
        self.messages[at] = Some(message);
        message
    }

    /// What was wrong with messages since this was last asked.
    pub fn take_faults(&mut self) -> Faults {
        std::mem::take(&mut self.faults)
    }

    fn reset(&mut self, patterns: usize) {
        self.lines.clear();
        self.messages.clear();
        self.by_pattern.resize_with(patterns, Vec::new);
        self.by_pattern.iter_mut().for_each(Vec::clear);
    }
}

impl Patterns {
    /// Enters a pattern, the same one only once. [`Self::compile`] must follow.
    pub fn enter(&mut self, text: &str) -> PatternId {
        let known = self.texts.iter().position(|other| other == text);
        PatternId(known.unwrap_or_else(|| {
            self.texts.push(text.into());
            self.texts.len() - 1
        }))
    }

    /// Makes one searcher of all patterns entered.
    ///
    /// # Errors
    /// Says which pattern is wrong, or that all together are too large.
    pub fn compile(&mut self) -> Result<(), String> {
        let hirs = self.texts.iter().map(|text| parse(text)).collect::<Result<Vec<_>, _>>()?;
        if hirs.is_empty() {
            self.regex = None;
            return Ok(());
        }
        // Every pattern that a line holds is asked for, not the first one alone.
        let config = meta::Config::new()
            .match_kind(MatchKind::All)
            .utf8_empty(false)
            .nfa_size_limit(Some(64 << 20));
        let regex = Regex::builder()
            .configure(config)
            .build_many_from_hir(&hirs)
            .map_err(|error| format!("the regexes of one stream together: {error}"))?;
        self.regex = Some(regex);
        Ok(())
    }

    /// Looks for all patterns in all lines of `batch`.
    pub fn search(&self, batch: &Batch, hits: &mut Hits) {
        hits.reset(self.texts.len());
        let Some(regex) = &self.regex else { return };
        let mut found = hits
            .found
            .take()
            .filter(|set| set.capacity() == self.texts.len())
            .unwrap_or_else(|| PatternSet::new(self.texts.len()));
        let bytes = &batch.bytes[..];
        let mut at = 0;
        while at < bytes.len() {
            let input = Input::new(bytes).range(at..).earliest(true);
            let Some(hit) = regex.search_half(&input) else { break };
            // Only an empty match can lie behind the last newline; there is no line.
            let Some(to_end) = memchr::memchr(b'\n', &bytes[hit.offset()..]) else { break };
            let start = memchr::memrchr(b'\n', &bytes[at..hit.offset()]).map_or(at, |n| at + n + 1);
            let end = hit.offset() + to_end;
            let range = (offset(start), offset(end + 1));
            if self.texts.len() == 1 {
                hits.by_pattern[0].push(range);
            } else {
                found.clear();
                regex.which_overlapping_matches(&Input::new(&bytes[start..end]), &mut found);
                for id in found.iter() {
                    hits.by_pattern[id.as_usize()].push(range);
                }
            }
            at = end + 1;
        }
        hits.found = Some(found);
    }
}

/// A position in a batch, which is always far smaller than 4 GiB.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Reads one pattern so that it can be looked for in many lines at once.
fn parse(text: &str) -> Result<Hir, String> {
    let hir = ParserBuilder::new()
        .utf8(false)
        .build()
        .parse(text)
        .map_err(|error| format!("regex '{text}': {error}"))?;
    Ok(within_a_line(&hir))
}

/// The same pattern, unable to match a newline, its anchors those of a line. Nesting is
/// bounded by the parser (250).
fn within_a_line(hir: &Hir) -> Hir {
    let all = |subs: &[Hir]| subs.iter().map(within_a_line).collect::<Vec<_>>();
    match hir.kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(literal) if literal.0.contains(&b'\n') => Hir::fail(),
        HirKind::Literal(literal) => Hir::literal(literal.0.clone()),
        HirKind::Class(class) => Hir::class(without_newline(class)),
        HirKind::Look(Look::Start) => Hir::look(Look::StartLF),
        HirKind::Look(Look::End) => Hir::look(Look::EndLF),
        HirKind::Look(look) => Hir::look(*look),
        HirKind::Repetition(repetition) => Hir::repetition(Repetition {
            min: repetition.min,
            max: repetition.max,
            greedy: repetition.greedy,
            sub: Box::new(within_a_line(&repetition.sub)),
        }),
        HirKind::Capture(capture) => Hir::capture(Capture {
            index: capture.index,
            name: capture.name.clone(),
            sub: Box::new(within_a_line(&capture.sub)),
        }),
        HirKind::Concat(subs) => Hir::concat(all(subs)),
        HirKind::Alternation(subs) => Hir::alternation(all(subs)),
    }
}

fn without_newline(class: &Class) -> Class {
    match class {
        Class::Unicode(class) => {
            let mut class = class.clone();
            class.difference(&ClassUnicode::new([ClassUnicodeRange::new('\n', '\n')]));
            Class::Unicode(class)
        }
        Class::Bytes(class) => {
            let mut class = class.clone();
            class.difference(&ClassBytes::new([ClassBytesRange::new(b'\n', b'\n')]));
            Class::Bytes(class)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::batch_of;
    use super::*;

    fn search(texts: &[&str], lines: &str) -> Vec<Vec<String>> {
        let mut patterns = Patterns::default();
        let ids: Vec<_> = texts.iter().map(|text| patterns.enter(text)).collect();
        patterns.compile().unwrap();
        let batch = batch_of(lines);
        let mut hits = Hits::default();
        patterns.search(&batch, &mut hits);
        let text = |&(start, end): &Range| lines[start as usize..end as usize - 1].to_string();
        ids.iter().map(|&id| hits.of(id).iter().map(text).collect()).collect()
    }

    #[test]
    fn each_line_is_asked_for_itself() {
        let lines = "GET /a\n\nPOST /b\nGET /b\n";
        assert_eq!(search(&["GET"], lines), [["GET /a", "GET /b"]]);
        assert_eq!(search(&["^$"], lines), [[""]]);
        assert_eq!(search(&["b$"], lines), [["POST /b", "GET /b"]]);
        assert_eq!(search(&[r"\AGET"], lines), [["GET /a", "GET /b"]]);
        assert_eq!(search(&[r"a\s+POST"], lines), [[""; 0]]);
        assert_eq!(search(&["(?s)a.*b"], lines), [[""; 0]]);
        assert_eq!(search(&["a\nb", "\n"], lines), [[""; 0], [""; 0]]);
        assert_eq!(search(&[""], lines)[0].len(), 4);
    }

    #[test]
    fn several_patterns_hit_their_own_lines() {
        let lines = "ab\na\nb\nc\n";
        let want: [&[&str]; 3] = [&["ab", "a"], &["ab", "b"], &[]];
        assert_eq!(search(&["a", "b", "d"], lines), want);
    }

    #[test]
    fn a_wrong_pattern_is_named() {
        let mut patterns = Patterns::default();
        patterns.enter("a(");
        assert!(patterns.compile().unwrap_err().contains("'a('"));
    }

    proptest! {
        #[test]
        fn a_batch_is_searched_as_its_lines_would_be(
            lines in proptest::collection::vec("[ab \u{e9}]{0,5}", 1..20),
            which in proptest::sample::subsequence(
                vec![
                    "a", "^a", "b$", "", "^$", "a.b", "[^a]b", r"\bb", "(a|b){2}", r"\s",
                    "(?-u:.)", "é",
                ],
                1..6,
            ),
        ) {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let got = search(&which, &text);
            for (pattern, got) in which.iter().zip(got) {
                let config = regex_automata::util::syntax::Config::new().utf8(false);
                let regex = Regex::builder()
                    .configure(meta::Config::new().utf8_empty(false))
                    .syntax(config)
                    .build(pattern)
                    .unwrap();
                let hit = |line: &&String| regex.is_match(line.as_bytes());
                let want: Vec<_> = lines.iter().filter(hit).cloned().collect();
                prop_assert_eq!(got, want, "pattern {}", pattern);
            }
        }
    }
}
