//! Formatting of figures: short numbers, times, bars and sparklines, in the characters that the
//! terminal supports.

use std::time::Duration;

/// The characters used for drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Glyphs {
    /// Before a node with siblings below it.
    pub(super) branch: &'static str,
    /// Before the last node of a branch.
    pub(super) last: &'static str,
    /// Continues a branch that has more nodes.
    pub(super) trunk: &'static str,
    /// The multiplication sign before a number of restarts.
    pub(super) times: &'static str,
    /// Marks a truncated text.
    pub(super) cut: &'static str,
    /// Marks the column that rows are sorted by.
    pub(super) down: &'static str,
    /// The movement keys.
    pub(super) arrows: &'static str,
    bar: [char; 2],
    levels: [char; 9],
}

/// For UTF-8 terminals.
pub(super) const UNICODE: Glyphs = Glyphs {
    branch: "├─ ",
    last: "└─ ",
    trunk: "│  ",
    times: "×",
    cut: "…",
    down: "▼",
    arrows: "↑↓",
    bar: ['█', '░'],
    levels: [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'],
};

/// For all other terminals.
pub(super) const ASCII: Glyphs = Glyphs {
    branch: "|- ",
    last: "`- ",
    trunk: "|  ",
    times: "x",
    cut: "~",
    down: "v",
    arrows: "j/k",
    bar: ['#', '.'],
    levels: [' ', '_', '.', '-', ':', '=', '+', '*', '#'],
};

impl Glyphs {
    /// The characters supported by the locale and the terminal, according to the environment
    /// `variable`s.
    pub(super) fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &&str| variable(name).filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(set).unwrap_or_default();
        let locale = locale.to_ascii_lowercase();
        // The kernel console's fonts have no eighth blocks.
        let console = variable("TERM").is_some_and(|term| term == "linux");
        match (locale.contains("utf-8") || locale.contains("utf8")) && !console {
            true => UNICODE,
            false => ASCII,
        }
    }

    /// A bar of `width` characters, filled to `fill` (0 to 1).
    pub(super) fn bar(&self, fill: f64, width: usize) -> String {
        let full = |cell: usize| fill * width as f64 > cell as f64;
        (0..width).map(|cell| if full(cell) { self.bar[0] } else { self.bar[1] }).collect()
    }

    /// One character per value, scaled to the highest value.
    pub(super) fn sparkline(&self, values: &[f64]) -> String {
        let highest = values.iter().copied().fold(0.0, f64::max);
        let level = |value: &f64| {
            let steps = (0..8).filter(|&step| value * 8.0 > highest * f64::from(step));
            if *value > 0.0 { steps.count() } else { 0 }
        };
        values.iter().map(|value| self.levels[level(value)]).collect()
    }

    /// A text truncated to `width` characters.
    pub(super) fn cut(&self, text: &str, width: usize) -> String {
        if text.chars().count() <= width {
            return text.to_owned();
        }
        let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
        cut.push_str(self.cut);
        cut
    }
}

/// A number in at most five characters: 7, 0.3, 42, 1.20k, 412k, 3.50M.
pub(super) fn amount(number: f64) -> String {
    if number < 9.95 && number.fract() != 0.0 {
        return format!("{number:.1}");
    }
    if number < 999.5 {
        return format!("{number:.0}");
    }
    let mut scaled = number;
    let mut unit = ' ';
    for next in "kMGTPE".chars() {
        if scaled < 999.5 {
            break;
        }
        scaled /= 1000.0;
        unit = next;
    }
    match scaled {
        ..9.995 => format!("{scaled:.2}{unit}"),
        ..99.95 => format!("{scaled:.1}{unit}"),
        _ => format!("{scaled:.0}{unit}"),
    }
}

/// A count in the format of [`amount`].
pub(super) fn count(number: u64) -> String {
    amount(number as f64)
}

/// A number per second, if known.
pub(super) fn rate(rate: Option<f64>) -> String {
    rate.map_or_else(|| "-".into(), amount)
}

/// A fraction as a percentage.
pub(super) fn percent(share: f64) -> String {
    format!("{:.0}%", share * 100.0)
}

/// Bytes, in the units of the configuration.
pub(super) fn size(bytes: u64) -> String {
    let mut scaled = bytes as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if scaled < 1024.0 {
            break;
        }
        scaled /= 1024.0;
        unit = next;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{scaled:.1} {unit}") }
}

/// A duration in one or two units.
pub(super) fn duration(seconds: f64) -> String {
    let seconds = seconds.clamp(0.0, 1e15);
    let span = Duration::from_secs_f64(seconds).as_secs();
    match span {
        0 if seconds > 0.0 => format!("{seconds:.1} s"),
        0..60 => format!("{span} s"),
        60..3600 => format!("{} min", span / 60),
        3600..86_400 => format!("{} h {} min", span / 3600, span / 60 % 60),
        _ => format!("{} d {} h", span / 86_400, span / 3600 % 24),
    }
}

/// A text on a single line, whatever it contains.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A text in pieces of at most `width` characters, broken between words if possible.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut pieces = vec![];
    let mut left: Vec<char> = one_line(text).chars().collect();
    while left.len() > width {
        let space = left[..=width].iter().rposition(|c| *c == ' ').filter(|at| *at > width / 2);
        let rest = left.split_off(space.map_or(width, |at| at + 1));
        pieces.push(left.iter().collect::<String>().trim_end().to_owned());
        left = rest;
    }
    pieces.push(left.into_iter().collect());
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_to_five_characters() {
        for (number, shown) in [
            (0.0, "0"),
            (0.25, "0.2"),
            (7.0, "7"),
            (9.96, "10"),
            (42.4, "42"),
            (999.4, "999"),
            (999.6, "1.00k"),
            (1234.0, "1.23k"),
            (12_345.0, "12.3k"),
            (412_000.0, "412k"),
            (999_600.0, "1.00M"),
            (3.5e6, "3.50M"),
            (1.8e19, "18.0E"),
        ] {
            assert_eq!(amount(number), shown);
            assert!(shown.len() <= 5);
        }
        assert_eq!((size(1023), size(1536)), ("1023 B".into(), "1.5 KiB".into()));
        assert_eq!((rate(None), percent(0.455)), ("-".into(), "46%".into()));
    }

    #[test]
    fn durations_have_one_or_two_units() {
        let texts = [0.0, 0.4, 59.9, 60.0, 3661.0, 90_000.0, -1.0].map(duration);
        assert_eq!(texts, ["0 s", "0.4 s", "59 s", "1 min", "1 h 1 min", "1 d 1 h", "0 s"]);
    }

    #[test]
    fn bars_and_sparklines_show_that_there_is_something() {
        assert_eq!(UNICODE.bar(0.0, 4), "░░░░");
        assert_eq!(UNICODE.bar(0.01, 4), "█░░░");
        assert_eq!(ASCII.bar(0.5, 4), "##..");
        assert_eq!(ASCII.bar(7.0, 4), "####");
        assert_eq!(UNICODE.sparkline(&[0.0, 0.01, 4.0, 8.0]), " ▁▄█");
        assert_eq!(UNICODE.sparkline(&[0.0, 0.0]), "  ");
    }

    #[test]
    fn the_locale_and_the_terminal_choose_the_characters() {
        let of = |pairs: &[(&str, &str)]| {
            let find = |name: &str| pairs.iter().find(|pair| pair.0 == name);
            Glyphs::of(|name| find(name).map(|pair| pair.1.to_owned()))
        };
        assert_eq!(of(&[("LANG", "de_DE.UTF-8")]), UNICODE);
        assert_eq!(of(&[("LC_ALL", ""), ("LC_CTYPE", "C.utf8"), ("LANG", "C")]), UNICODE);
        assert_eq!(of(&[("LC_ALL", "C"), ("LANG", "C.UTF-8")]), ASCII);
        assert_eq!(of(&[("LANG", "C.UTF-8"), ("TERM", "linux")]), ASCII);
        assert_eq!(of(&[]), ASCII);
    }

    #[test]
    fn long_texts_are_cut_or_wrapped() {
        assert_eq!(UNICODE.cut("abcdef", 4), "abc…");
        assert_eq!(ASCII.cut("abcd", 4), "abcd");
        assert_eq!(wrapped("grep -v a\nb | tee x", 10), ["grep -v a", "b | tee x"]);
        assert_eq!(wrapped("aaaaaaaaaaaa", 5), ["aaaaa", "aaaaa", "aa"]);
        assert_eq!(wrapped("", 5), [""]);
    }
}
