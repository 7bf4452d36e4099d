//! One comparison of a condition: a property, an operation and a value.

use super::{Atom, Part, Parts, Property, Test, Unsaid, not};
use crate::cli::import::rsyslog::pri::PriSet;
use crate::parse::syslog::names;

/// The property that says which input a message came by. It is no selector: it chooses among the
/// nodes that are read from.
pub(in crate::cli::import) const INPUT: &str = "inputname";

/// The address that rsyslog gives to messages of this host itself, which have none here.
const OWN_ADDRESS: &str = "127.0.0.1";

/// What a line of RFC 5424 begins with. rsyslog's text of any other message begins with the space
/// behind the tag's colon.
const IS_NEW: &str = "^<[0-9]+>1 ";

/// The messages that pass a comparison.
///
/// # Errors
/// What cannot be expressed.
pub(super) fn compare(name: &str, sign: &str, value: &str) -> Result<Parts, Unsaid> {
    let name = name.to_ascii_lowercase();
    if ["!=", "<>"].contains(&sign) {
        return not(&compare(&name, "==", value)?);
    }
    if let Some(pri) = priority(&name, sign, value)? {
        return Ok(vec![Part { pri, atoms: Vec::new() }]);
    }
    let property = match name.as_str() {
        "programname" => Property::Field("program"),
        "app-name" | "syslogtag" => Property::Field("app"),
        "hostname" | "source" => Property::Field("host"),
        "fromhost-ip" => Property::Field("source"),
        "procid" => Property::Field("procid"),
        "msgid" => Property::Field("msgid"),
        "msg" => Property::Field("message"),
        "inputname" => Property::Field(INPUT),
        "rawmsg" => Property::Line,
        _ => return Err(format!("the property {name}")),
    };
    let (test, ignore_case) = operation(sign)?;
    let value = if sign == "bre" { modern(value) } else { value.to_string() };
    let atom = Atom { property, test, values: vec![value], ignore_case, not: false };
    let atoms = match name.as_str() {
        "syslogtag" => tag(atom).ok_or_else(|| format!("{name} {sign}"))?,
        "msg" => message(atom),
        _ => vec![atom],
    };
    let mut parts = vec![Part { pri: PriSet::ALL, atoms }];
    if parts[0].atoms.iter().any(is_own) {
        parts.push(Part { pri: PriSet::ALL, atoms: vec![none("source")] });
    }
    Ok(parts)
}

/// The test that an operation is, and whether it ignores the case.
fn operation(sign: &str) -> Result<(Test, bool), Unsaid> {
    Ok(match sign {
        "==" => (Test::Is, false),
        "contains" => (Test::Contains, false),
        "contains_i" => (Test::Contains, true),
        "startswith" => (Test::Begins, false),
        "startswith_i" => (Test::Begins, true),
        "re" | "bre" => (Test::Regex, false),
        _ => return Err(format!("the operation {sign}")),
    })
}

/// A test of the tag, which is the program's name, its number in brackets and a colon: as tests of
/// the name, and of a number that must not be there. `None` if the number itself is asked for.
fn tag(mut atom: Atom) -> Option<Vec<Atom>> {
    let value = atom.values[0].clone();
    if value.contains('[') || atom.test == Test::Regex {
        return None;
    }
    let Some(name) = value.strip_suffix(':') else {
        let is_whole = atom.test == Test::Is;
        let mut atoms = vec![atom];
        if is_whole {
            // In the old format a colon is behind it.
            atoms.extend([none("procid"), line(IS_NEW.into(), false)]);
        }
        return Some(atoms);
    };
    atom.values = vec![name.into()];
    match atom.test {
        Test::Contains => {
            atom.test = Test::Regex;
            let case = if atom.ignore_case { "(?i)" } else { "" };
            atom.values = vec![format!("{case}{}$", regex_syntax::escape(name))];
            atom.ignore_case = false;
        }
        _ => atom.test = Test::Is,
    }
    Some(vec![atom, none("procid")])
}

/// A test of the text. For rsyslog the space behind a tag belongs to it; here it does not.
fn message(mut atom: Atom) -> Vec<Atom> {
    let value = atom.values[0].clone();
    let (spaced, text) = match value.strip_prefix(' ') {
        Some(text) => (true, text),
        None => (false, value.as_str()),
    };
    let escaped = regex_syntax::escape(text);
    match atom.test {
        Test::Is | Test::Begins if !text.is_empty() => {
            let end = if atom.test == Test::Is { "$" } else { "" };
            let regex = match spaced {
                true => format!(": {escaped}{end}"),
                false => format!("{IS_NEW}|:{escaped}{end}"),
            };
            let ignore_case = atom.ignore_case;
            atom.values = vec![text.into()];
            vec![atom, line(regex, ignore_case)]
        }
        Test::Contains if spaced && !text.is_empty() => {
            atom.test = Test::Regex;
            atom.values = vec![format!("(?:^| ){escaped}")];
            vec![atom]
        }
        Test::Regex => anchored(atom, &value),
        _ => vec![atom],
    }
}

/// The same for a regex, if it is bound to the beginning of the text.
fn anchored(mut atom: Atom, regex: &str) -> Vec<Atom> {
    let Some(rest) = regex.strip_prefix('^').filter(|rest| !has_alternatives(rest)) else {
        return vec![atom];
    };
    let mut chars = rest.chars();
    match (chars.next(), chars.next()) {
        (Some(' '), Some('?' | '*' | '+' | '{')) => vec![atom],
        (Some(' '), _) => {
            atom.values = vec![format!("^{}", &rest[1..])];
            vec![atom, line(": ".into(), false)]
        }
        (Some(c), _) if c.is_alphanumeric() => {
            vec![atom, line(format!("{IS_NEW}|:{rest}"), false)]
        }
        _ => vec![atom],
    }
}

/// Returns whether a regex has alternatives that no parentheses enclose.
fn has_alternatives(regex: &str) -> bool {
    let (mut depth, mut escaped) = (0_u32, false);
    regex.chars().any(|c| {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            '|' => return depth == 0,
            _ => {}
        }
        false
    })
}

/// A test of the whole line by a regex.
fn line(regex: String, ignore_case: bool) -> Atom {
    Atom {
        property: Property::Line,
        test: Test::Regex,
        values: vec![regex],
        ignore_case,
        not: false,
    }
}

/// The test that a message passes if it does not have a field.
fn none(field: &'static str) -> Atom {
    let values = vec![".".into()];
    let property = Property::Field(field);
    Atom { property, test: Test::Regex, values, ignore_case: false, not: true }
}

/// Returns whether rsyslog's own address passes a test of the sender's.
fn is_own(atom: &Atom) -> bool {
    let value = atom.values[0].as_str();
    atom.property == Property::Field("source")
        && match atom.test {
            Test::Is => value == OWN_ADDRESS,
            Test::Contains => OWN_ADDRESS.contains(value),
            Test::Begins => OWN_ADDRESS.starts_with(value),
            Test::Regex => false,
        }
}

/// The same condition where every message has an address.
pub(in crate::cli::import) fn of_others(mut parts: Parts) -> Parts {
    let (own, other) = (none("source"), Atom { not: false, ..none("source") });
    parts.retain(|part| !part.atoms.contains(&own));
    for part in &mut parts {
        part.atoms.retain(|atom| *atom != other);
    }
    parts
}

/// Converts a POSIX basic regular expression to an extended one: in the former, `+`, `?`, `|`,
/// parentheses and braces are special only after a backslash.
fn modern(basic: &str) -> String {
    let mut out = String::new();
    let (mut escaped, mut in_class) = (false, false);
    for c in basic.chars() {
        let special = "+?|(){}".contains(c) && !in_class;
        match c {
            _ if escaped => {
                escaped = false;
                out.extend((!special).then_some('\\'));
                out.push(c);
            }
            '\\' if !in_class => escaped = true,
            c => {
                in_class = (in_class || c == '[') && c != ']';
                out.extend(special.then_some('\\'));
                out.push(c);
            }
        }
    }
    out
}

/// Facility, severity, or both: by names (`…-text`) or by numbers. `None` for other properties.
fn priority(name: &str, sign: &str, value: &str) -> Result<Option<PriSet>, Unsaid> {
    let unsaid = || format!("{name} {sign} {value}");
    let (kind, is_text) = name.strip_suffix("-text").map_or((name, false), |kind| (kind, true));
    let wanted = match kind {
        "syslogfacility" => names::facility(&value.to_ascii_lowercase()),
        "syslogseverity" | "syslogpriority" => names::severity(&value.to_ascii_lowercase()),
        "pri" => value.parse().ok(),
        _ => return Ok(None),
    };
    let number = |pri: u8| match kind {
        "syslogfacility" => pri / 8,
        "pri" => pri,
        _ => pri % 8,
    };
    let is_named = is_text && (kind == "pri" || sign != "==");
    if is_named {
        let (test, ignore_case) = operation(sign).map_err(|_| unsaid())?;
        if test == Test::Regex {
            return Err(unsaid());
        }
        let values = vec![value.to_string()];
        let atom = Atom { property: Property::Line, test, values, ignore_case, not: false };
        return Ok(Some(PriSet::of(|pri| {
            let (facility, severity) = (names::facility_of(pri), names::severity_of(pri));
            match kind {
                "syslogfacility" => atom.passes(facility),
                "pri" => atom.passes(&format!("{facility}.{severity}")),
                _ => atom.passes(severity),
            }
        })));
    }
    let wanted = wanted.ok_or_else(unsaid)?;
    let is_within: fn(&u8, &u8) -> bool = match sign {
        "==" => u8::eq,
        "<=" => u8::le,
        "<" => u8::lt,
        ">=" => u8::ge,
        ">" => u8::gt,
        _ => return Err(unsaid()),
    };
    Ok(Some(PriSet::of(|pri| is_within(&number(pri), &wanted))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::import::rsyslog::select;

    fn selected(name: &str, sign: &str, value: &str) -> String {
        let parts = compare(name, sign, value).unwrap_or_else(|what| panic!("{value}: {what}"));
        let chains = parts.iter().map(|part| {
            let chain = select::chain(part).unwrap().concat();
            let words = chain.iter().map(|(key, values)| format!("{key} {}", values.join("|")));
            words.collect::<Vec<_>>().join(", ")
        });
        chains.collect::<Vec<_>>().join(" or ")
    }

    #[test]
    fn the_space_before_a_text_counts_as_it_does_in_rsyslog() {
        for (sign, value, wanted) in [
            ("contains", "a.b", "message ~a\\.b"),
            ("contains", " a", "message ~(?:^| )a"),
            ("contains_i", "A", "message ~(?i)A"),
            ("startswith", " a", "message ~^a, match : a"),
            ("startswith", "a", "message ~^a, match (?:^<[0-9]+>1 |:a)"),
            ("==", "a", "message a, match (?:^<[0-9]+>1 |:a$)"),
            ("re", "a$", "message ~a$"),
            ("re", "^ a", "message ~^a, match : "),
            ("re", "^ ?a", "message ~^ ?a"),
            ("re", "^ (a|b)", "message ~^(a|b), match : "),
            ("re", "^ a|b", "message ~^ a|b"),
            ("re", "^a", "message ~^a, match (?:^<[0-9]+>1 |:a)"),
        ] {
            assert_eq!(selected("msg", sign, value), wanted, "{sign} {value}");
        }
    }

    #[test]
    fn a_tag_is_a_name_and_a_number() {
        for (sign, value, wanted) in [
            ("startswith", "a", "app ~^a"),
            ("startswith", "a:", "app a, procid *|!~."),
            ("==", "a:", "app a, procid *|!~."),
            ("==", "a", "app a, procid *|!~., match ^<[0-9]+>1 "),
            ("contains", "a", "app ~a"),
            ("contains", "a:", "app ~a$, procid *|!~."),
            ("!=", "a:", "app *|!a or app a, procid ~."),
        ] {
            assert_eq!(selected("syslogtag", sign, value), wanted, "{sign} {value}");
        }
        assert!(compare("syslogtag", "==", "a[1]:").is_err());
        assert!(compare("syslogtag", "re", "a").is_err());
    }

    #[test]
    fn old_regexes_become_modern_ones() {
        for (basic, wanted) in
            [("a+b\\+", "a\\+b+"), ("\\(x\\)[+]\\.", "(x)[+]\\."), ("a{2}", "a\\{2\\}")]
        {
            assert_eq!(modern(basic), wanted);
        }
    }

    #[test]
    fn priorities_are_compared_by_name_and_by_number() {
        for (name, sign, value, wanted) in [
            ("syslogfacility-text", "==", "mail", "facility mail"),
            ("syslogfacility-text", "startswith", "auth", "facility auth|authpriv"),
            ("syslogseverity", "<", "4", "severity err"),
            ("syslogseverity-text", "!=", "debug", "severity info"),
            ("pri-text", "==", "mail.err", "facility mail, severity =err"),
            ("pri", "<", "8", "facility kern"),
        ] {
            assert_eq!(selected(name, sign, value), wanted, "{name} {sign} {value}");
        }
        for (name, sign, value) in [
            ("syslogseverity-text", "<=", "err"),
            ("pri", "==", "x"),
            ("syslogfacility", "re", "a"),
        ] {
            assert!(compare(name, sign, value).is_err(), "{name} {sign} {value}");
        }
    }
}
