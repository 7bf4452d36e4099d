//! Many regexes over one stream in one pass, or in a few.
//!
//! A batch is searched whole, not line by line: a pattern's literal prefilter then runs over
//! hundreds of kilobytes at memory speed, and only where something is found is a line cut
//! out and asked which of the patterns it holds. For that to mean the same as asking every
//! line, no pattern may match across a newline and anchors must hold at line ends; the
//! patterns are rewritten so when they are read (`within_a_line`).
//!
//! What is compiled together is bounded. From some size on, the automaton of all patterns at once
//! no longer fits its cache and is made anew for each line. So large patterns are searched for one
//! by one, small ones in groups, and each further group is one more pass over the batch
//! ([`cost`]).

use std::collections::HashMap;

use regex_automata::meta::{self, Regex};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::{Input, MatchKind, PatternSet};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{
    Capture, Class, ClassBytes, ClassBytesRange, ClassUnicode, ClassUnicodeRange, Hir, HirKind,
    Look, Repetition,
};

use super::Range;
use crate::batch::Batch;
use crate::parse::syslog::{Faults, Message};

/// Patterns that are searched for together, at most.
const GROUP_PATTERNS_MAX: usize = 128;
/// Bytes of the compiled patterns of a group, at most; one that is larger is a group of its own.
const GROUP_BYTES_MAX: usize = 128 << 10;
/// A pattern at least this large is searched for by itself: a search for one alone has better
/// shortcuts than one for many.
const ALONE_BYTES_MIN: usize = 8 << 10;
/// Bytes of all compiled patterns of a stream, at most.
const ALL_BYTES_MAX: usize = 64 << 20;
/// The same for a pattern that a client of a running daemon gives: compiled and searched for while
/// everything else waits.
const FOREIGN_BYTES_MAX: usize = 128 << 10;
/// Steps of a search for such a pattern through one batch: each byte takes as many as the pattern
/// has states, where everything else fails.
const FOREIGN_STEPS_MAX: usize = 64 << 20;
/// Bytes that a group's automaton may take while it is used. Those of many groups together stay
/// within [`CACHES_BYTES_MAX`] for as long as each has the least.
const CACHE_BYTES_MAX: usize = 2 << 20;
const CACHE_BYTES_MIN: usize = 64 << 10;
const CACHES_BYTES_MAX: usize = 32 << 20;

/// A pattern among those of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PatternId(usize);

/// The patterns that the nodes of one stream look for.
#[derive(Debug, Default)]
pub struct Patterns {
    texts: Vec<String>,
    known: HashMap<String, usize>,
    groups: Vec<Group>,
    /// The states of all patterns.
    states: usize,
}

/// A pattern that was read.
struct Parsed {
    hir: Hir,
    /// Bytes that it takes once it is compiled.
    bytes: usize,
    states: usize,
}

/// Patterns that are searched for in one pass.
#[derive(Debug)]
struct Group {
    /// Their places among all patterns.
    places: Vec<usize>,
    regex: Regex,
}

/// What it takes to search for patterns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// How many there are.
    pub patterns: usize,
    /// How often each batch is gone through.
    pub passes: usize,
    /// How many bytes they take once they are compiled, about.
    pub bytes: usize,
}

/// What it takes to search one stream for all of these patterns.
///
/// # Errors
/// Says which pattern is wrong, or that all together are too large.
pub fn cost<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<Cost, String> {
    let mut patterns = Patterns::default();
    for text in texts {
        patterns.enter(text);
    }
    let parsed = patterns.parsed(ALL_BYTES_MAX)?;
    let bytes = parsed.iter().map(|pattern| pattern.bytes).sum();
    Ok(Cost { patterns: parsed.len(), passes: grouped(&parsed).len(), bytes })
}

/// Where the patterns were found in one batch, and where its lines are.
#[derive(Debug, Default)]
pub struct Hits {
    by_pattern: Vec<Vec<Range>>,
    /// The patterns that hit a line.
    hit: Vec<usize>,
    lines: Vec<Range>,
    found: Option<PatternSet>,
    /// The parts of the lines that somebody asked for, and whether those were parsed to their end.
    messages: Vec<Option<(Message, bool)>>,
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
        if self.messages.is_empty() {
            self.messages.resize(self.lines.len(), None);
        }
        let known = self.messages[at];
        if let Some((message, is_whole)) = known
            && (is_whole || !whole)
        {
            return message;
        }
        let line = &batch.bytes[start as usize..end as usize - 1];
        let message = if whole { Message::parse(line) } else { Message::parse_header(line) };
        if known.map(|(message, _)| message.fault) != Some(message.fault) {
            self.faults.count_header(message.fault);
        }
        self.messages[at] = Some((message, whole));
        message
    }

    /// What was wrong with messages since this was last asked.
    pub fn take_faults(&mut self) -> Faults {
        std::mem::take(&mut self.faults)
    }

    fn reset(&mut self, patterns: usize) {
        self.lines.clear();
        self.messages.clear();
        // Of thousands of patterns few hit a batch.
        for pattern in self.hit.drain(..) {
            self.by_pattern[pattern].clear();
        }
        self.by_pattern.resize_with(patterns, Vec::new);
    }

    fn add(&mut self, pattern: usize, range: Range) {
        let ranges = &mut self.by_pattern[pattern];
        if ranges.is_empty() {
            self.hit.push(pattern);
        }
        ranges.push(range);
    }
}

impl Patterns {
    /// Enters a pattern, the same one only once. [`Self::compile`] must follow.
    pub fn enter(&mut self, text: &str) -> PatternId {
        if let Some(&known) = self.known.get(text) {
            return PatternId(known);
        }
        self.texts.push(text.into());
        self.known.insert(text.into(), self.texts.len() - 1);
        PatternId(self.texts.len() - 1)
    }

    /// Makes searchers of all patterns entered.
    ///
    /// # Errors
    /// Says which pattern is wrong, or that all together are too large.
    pub fn compile(&mut self) -> Result<(), String> {
        self.compile_within(ALL_BYTES_MAX)
    }

    /// The same for a pattern that comes from a client of a running daemon: it may take so little
    /// that neither compiling it nor a search holds up anything for more than some milliseconds.
    ///
    /// # Errors
    /// Says that the pattern is wrong or too large.
    pub fn compile_foreign(&mut self) -> Result<(), String> {
        self.compile_within(FOREIGN_BYTES_MAX)
    }

    fn compile_within(&mut self, bytes_max: usize) -> Result<(), String> {
        let parsed = self.parsed(bytes_max)?;
        let groups = grouped(&parsed);
        self.states = parsed.iter().map(|pattern| pattern.states).sum();
        let cache =
            (CACHES_BYTES_MAX / groups.len().max(1)).clamp(CACHE_BYTES_MIN, CACHE_BYTES_MAX);
        let compile = |places: Vec<usize>| {
            let hirs: Vec<_> = places.iter().map(|place| &parsed[*place].hir).collect();
            // Every pattern that a line holds is asked for, not the first one alone.
            let config = meta::Config::new()
                .match_kind(MatchKind::All)
                .utf8_empty(false)
                .which_captures(WhichCaptures::Implicit)
                .hybrid_cache_capacity(cache)
                .onepass(false)
                .backtrack(false)
                .nfa_size_limit(Some(2 * ALL_BYTES_MAX));
            let regex = Regex::builder().configure(config).build_many_from_hir(&hirs);
            match regex {
                Ok(regex) => Ok(Group { places, regex }),
                Err(error) => Err(format!("the regexes of one stream together: {error}")),
            }
        };
        self.groups = groups.into_iter().map(compile).collect::<Result<_, _>>()?;
        Ok(())
    }

    /// All patterns, each with the bytes that it takes once it is compiled.
    fn parsed(&self, bytes_max: usize) -> Result<Vec<Parsed>, String> {
        let mut left = bytes_max;
        let mut parsed = Vec::with_capacity(self.texts.len());
        for text in &self.texts {
            let hir = parse(text)?;
            let pattern = measured(hir, left).ok_or_else(|| match self.texts.len() {
                1 => format!("regex '{text}': it is too large, {bytes_max} bytes are the most"),
                count => format!(
                    "the {count} regexes of one stream take more than {bytes_max} bytes together: \
                     use fewer, or smaller ones (\\w and \\d are large: (?-u:\\w) is not)"
                ),
            })?;
            left -= pattern.bytes;
            parsed.push(pattern);
        }
        Ok(parsed)
    }

    /// Looks for all patterns in all lines of `batch`.
    pub fn search(&self, batch: &Batch, hits: &mut Hits) {
        self.search_bytes(&batch.bytes, hits);
    }

    /// The same for a pattern of [`Self::compile_foreign`], in as many whole lines as a bounded
    /// time allows for; how many bytes those are.
    pub fn search_foreign(&self, batch: &Batch, hits: &mut Hits) -> usize {
        let most = FOREIGN_STEPS_MAX / self.states.max(1);
        let bytes = &batch.bytes[..];
        let bytes = match bytes.get(..most) {
            Some(first) => &first[..memchr::memrchr(b'\n', first).map_or(0, |at| at + 1)],
            None => bytes,
        };
        self.search_bytes(bytes, hits);
        bytes.len()
    }

    fn search_bytes(&self, bytes: &[u8], hits: &mut Hits) {
        hits.reset(self.texts.len());
        let most = self.groups.iter().map(|group| group.places.len()).max().unwrap_or(0);
        let found = hits.found.take().filter(|set| set.capacity() == most);
        let mut found = found.unwrap_or_else(|| PatternSet::new(most));
        for group in &self.groups {
            group.search(bytes, &mut found, hits);
        }
        hits.found = Some(found);
    }
}

impl Group {
    fn search(&self, bytes: &[u8], found: &mut PatternSet, hits: &mut Hits) {
        let mut at = 0;
        while at < bytes.len() {
            let input = Input::new(bytes).range(at..).earliest(true);
            let Some(hit) = self.regex.search_half(&input) else { break };
            // Only an empty match can lie behind the last newline; there is no line.
            let Some(to_end) = memchr::memchr(b'\n', &bytes[hit.offset()..]) else { break };
            let start = memchr::memrchr(b'\n', &bytes[at..hit.offset()]).map_or(at, |n| at + n + 1);
            let end = hit.offset() + to_end;
            let range = (offset(start), offset(end + 1));
            if let [place] = self.places[..] {
                hits.add(place, range);
            } else {
                found.clear();
                self.regex.which_overlapping_matches(&Input::new(&bytes[start..end]), found);
                for id in found.iter() {
                    hits.add(self.places[id.as_usize()], range);
                }
            }
            at = end + 1;
        }
    }
}

/// Which patterns are searched for together.
fn grouped(parsed: &[Parsed]) -> Vec<Vec<usize>> {
    let all: usize = parsed.iter().map(|pattern| pattern.bytes).sum();
    if parsed.len() <= GROUP_PATTERNS_MAX && all <= GROUP_BYTES_MAX {
        return if parsed.is_empty() { Vec::new() } else { vec![(0..parsed.len()).collect()] };
    }
    let (large, small): (Vec<usize>, Vec<usize>) =
        (0..parsed.len()).partition(|place| parsed[*place].bytes >= ALONE_BYTES_MIN);
    let mut groups: Vec<Vec<usize>> = large.into_iter().map(|place| vec![place]).collect();
    let mut group = Vec::new();
    let mut bytes = 0;
    for place in small {
        let size = parsed[place].bytes;
        if group.len() == GROUP_PATTERNS_MAX || bytes + size > GROUP_BYTES_MAX {
            groups.push(std::mem::take(&mut group));
            bytes = 0;
        }
        group.push(place);
        bytes += size;
    }
    if !group.is_empty() {
        groups.push(group);
    }
    groups
}

/// A pattern and what it takes once it is compiled; `None` where that is more than `max` bytes.
fn measured(hir: Hir, max: usize) -> Option<Parsed> {
    let config = thompson::Config::new()
        .utf8(false)
        .which_captures(WhichCaptures::Implicit)
        .nfa_size_limit(Some(max));
    let nfa = thompson::Compiler::new().configure(config).build_from_hir(&hir).ok()?;
    let (bytes, states) = (nfa.memory_usage(), nfa.states().len());
    (bytes <= max).then_some(Parsed { hir, bytes, states })
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
    fn a_fault_counts_once_however_often_its_line_is_parsed() {
        let batch = batch_of("<13>1 nonsense\n<13>1 - h a - - [x y] text\n");
        let mut hits = Hits::default();
        for whole in [false, true, false, true] {
            for at in 0..2 {
                hits.message(&batch, at, whole);
            }
        }
        let faults = hits.take_faults();
        assert_eq!((faults.bad_header, faults.bad_data, faults.sum()), (1, 1, 2));
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

    fn numbered(count: usize, text: impl Fn(usize) -> String) -> Vec<String> {
        (0..count).map(text).collect()
    }

    #[test]
    fn what_is_compiled_together_is_bounded() {
        let passes = |texts: &[String]| cost(texts.iter().map(String::as_str)).unwrap().passes;
        assert_eq!(passes(&numbered(128, |n| format!("k{n} "))), 1);
        assert_eq!(passes(&numbered(1500, |n| format!("k{n} "))), 12);
        assert_eq!(passes(&numbered(5000, |n| format!("k{n} "))), 40);
        // Large ones have a pass each, and the others one together.
        let mut large = numbered(100, |n| format!(r"\w+ k{n} \w+"));
        large.extend(numbered(50, |n| format!("k{n} ")));
        assert_eq!(passes(&large), 101);
        assert_eq!(passes(&[r"\w+ a".into(), "b".into()]), 1, "little enough");
        assert_eq!(cost([]).unwrap(), Cost { patterns: 0, passes: 0, bytes: 0 });
        assert_eq!(cost(["a", "a"]).unwrap().patterns, 1);
    }

    #[test]
    fn thousands_of_patterns_hit_what_each_of_them_would() {
        let mut texts = numbered(3000, |n| format!("k{n} "));
        texts.extend(numbered(9, |n| format!(r"\w+ k{n} \w+")));
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let hits = search(&texts, "a k7 b\nx k2999 y k7 z\n\nk39 w\n");
        let hit: Vec<_> = (0..texts.len()).filter(|at| !hits[*at].is_empty()).collect();
        assert_eq!(hit, [7, 39, 2999, 3007]);
        assert_eq!(hits[7], ["a k7 b", "x k2999 y k7 z"]);
        assert_eq!(hits[3007], ["a k7 b", "x k2999 y k7 z"]);
        assert_eq!(
            (&hits[2999], &hits[39]),
            (&vec!["x k2999 y k7 z".into()], &vec!["k39 w".into()])
        );
    }

    #[test]
    fn hits_of_one_batch_are_gone_in_the_next() {
        let mut patterns = Patterns::default();
        let ids = ["a", "b"].map(|text| patterns.enter(text));
        patterns.compile().unwrap();
        let mut hits = Hits::default();
        patterns.search(&batch_of("ab\na\n"), &mut hits);
        assert_eq!(ids.map(|id| hits.of(id).len()), [2, 1]);
        patterns.search(&batch_of("b\n"), &mut hits);
        assert_eq!(ids.map(|id| hits.of(id).len()), [0, 1]);
    }

    #[test]
    fn what_takes_too_much_is_refused_before_it_is_compiled() {
        let mut patterns = Patterns::default();
        patterns.enter(r"(\w{500}){500}");
        assert!(patterns.compile().unwrap_err().contains("too large"));
        for foreign in
            [r"(\p{L}{1,60}){20}", r"(\w{1,100}){18}", "(a{1,1000}){60}", r"(\pL{40}){8}"]
        {
            let mut patterns = Patterns::default();
            patterns.enter(foreign);
            assert!(patterns.compile_foreign().unwrap_err().contains("too large"), "{foreign}");
        }
        for foreign in ["GET", r"status=5\d\d \w+", r"(?i)error|warn|timed? out"] {
            let mut patterns = Patterns::default();
            patterns.enter(foreign);
            patterns.compile_foreign().unwrap();
        }
        let mut patterns = Patterns::default();
        for text in numbered(40, |n| format!(r"\w{{9}} k{n} \w{{9}}")) {
            patterns.enter(&text);
        }
        let error = patterns.compile_within(1 << 20).unwrap_err();
        assert!(error.contains("the 40 regexes of one stream take more than 1048576"), "{error}");
    }

    #[test]
    fn a_foreign_pattern_is_looked_for_in_so_many_lines_as_time_allows() {
        let searched = |text: &str, lines: &str| {
            let mut patterns = Patterns::default();
            let id = patterns.enter(text);
            patterns.compile_foreign().unwrap();
            let mut hits = Hits::default();
            let bytes = patterns.search_foreign(&batch_of(lines), &mut hits);
            assert!(patterns.states * bytes <= FOREIGN_STEPS_MAX);
            (bytes, hits.of(id).len())
        };
        let lines = "GET a\n".repeat(20_000);
        assert_eq!(searched("GET", &lines), (lines.len(), 20_000));
        let (bytes, count) = searched(r"\w{1,4} a", &lines);
        assert!(bytes < lines.len() && bytes % 6 == 0 && count == bytes / 6, "{bytes} {count}");
        assert_eq!(searched(r"\w{1,4} a", &format!("{}\n", "x".repeat(200_000))), (0, 0));
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
