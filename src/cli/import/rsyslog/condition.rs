//! Conditions of rsyslog (`if` expressions, selectors, property filters) as unions of disjoint
//! parts, each a conjunction that logweir's selectors can express.

mod compare;

use super::pri::PriSet;
use compare::compare;
pub(in crate::cli::import) use compare::{INPUT, of_others};

/// The maximum number of parts in a condition.
const PARTS_MAX: usize = 64;
/// The maximum nesting of parentheses.
const DEPTH_MAX: usize = 32;

/// The property that a test examines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli::import) enum Property {
    /// A field with a logweir selector, whose key this is; or [`INPUT`].
    Field(&'static str),
    /// The whole line.
    Line,
}

/// The comparison of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli::import) enum Test {
    /// It equals the value.
    Is,
    /// It contains the value.
    Contains,
    /// It begins with the value.
    Begins,
    /// A regex matches in it.
    Regex,
}

/// A test that a message passes if one of the values does, or if none does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli::import) struct Atom {
    pub(in crate::cli::import) property: Property,
    pub(in crate::cli::import) test: Test,
    pub(in crate::cli::import) values: Vec<String>,
    pub(in crate::cli::import) ignore_case: bool,
    pub(in crate::cli::import) not: bool,
}

impl Atom {
    /// Returns whether [`Atom::passes`] knows: not of networks and most regexes.
    fn decides(&self) -> bool {
        let is_any = self.test == Test::Regex && self.values == ["."];
        is_any || self.test != Test::Regex && !self.values.iter().any(|value| value.contains('/'))
    }

    /// Returns whether a value that is not empty passes.
    pub(in crate::cli::import) fn passes(&self, value: &str) -> bool {
        let lower = |text: &str| match self.ignore_case {
            true => text.to_lowercase(),
            false => text.to_string(),
        };
        let value = lower(value);
        let fits = |wanted: &String| match self.test {
            Test::Is => value == lower(wanted),
            Test::Contains => value.contains(&lower(wanted)),
            Test::Begins => value.starts_with(&lower(wanted)),
            Test::Regex => true,
        };
        self.values.iter().any(fits) != self.not
    }
}

/// The messages with one of these priorities that pass all tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli::import) struct Part {
    pub(in crate::cli::import) pri: PriSet,
    pub(in crate::cli::import) atoms: Vec<Atom>,
}

impl Part {
    /// All messages.
    pub(in crate::cli::import) const ALL: Self = Self { pri: PriSet::ALL, atoms: Vec::new() };

    /// All messages, as a list of parts.
    pub(in crate::cli::import) fn all() -> Parts {
        vec![Self::ALL]
    }

    /// The messages in both.
    pub(in crate::cli::import) fn and(&self, other: &Self) -> Self {
        let mut atoms = self.atoms.clone();
        atoms.extend(other.atoms.iter().filter(|atom| !self.atoms.contains(atom)).cloned());
        let mut part = Self { pri: self.pri.and(other.pri), atoms };
        part.simplify();
        part
    }

    /// Where a field must have one of some values, its other tests are done here and now.
    fn simplify(&mut self) {
        let is_list = |atom: &Atom| {
            let is_field = matches!(atom.property, Property::Field(_));
            is_field && atom.test == Test::Is && !atom.not && !atom.ignore_case && atom.decides()
        };
        let Some(at) = self.atoms.iter().position(is_list) else { return };
        let mut list = self.atoms.remove(at);
        self.atoms.retain(|other| {
            let decides = other.property == list.property && other.decides();
            if decides {
                list.values.retain(|value| other.passes(value));
            }
            !decides
        });
        if list.values.is_empty() {
            self.pri = PriSet::NONE;
        }
        self.atoms.insert(at.min(self.atoms.len()), list);
    }

    /// Returns whether no message can be in it.
    pub(in crate::cli::import) fn is_empty(&self) -> bool {
        self.pri == PriSet::NONE
    }
}

/// Disjoint parts.
pub(in crate::cli::import) type Parts = Vec<Part>;

/// A condition that logweir cannot express, with the word that is not understood.
pub(in crate::cli::import) type Unsaid = String;

/// The messages in both.
pub(in crate::cli::import) fn and(left: &Parts, right: &Parts) -> Result<Parts, Unsaid> {
    let mut parts = Vec::new();
    for one in left {
        parts.extend(right.iter().map(|other| one.and(other)).filter(|part| !part.is_empty()));
    }
    bounded(parts)
}

/// All other messages.
pub(in crate::cli::import) fn not(parts: &Parts) -> Result<Parts, Unsaid> {
    let mut rest = vec![Part::ALL];
    for part in parts {
        let mut others = vec![Part { pri: part.pri.not(), atoms: Vec::new() }];
        for (at, atom) in part.atoms.iter().enumerate() {
            let mut atoms = part.atoms[..at].to_vec();
            atoms.push(Atom { not: !atom.not, ..atom.clone() });
            others.push(Part { pri: part.pri, atoms });
        }
        others.retain(|part| !part.is_empty());
        rest = and(&rest, &others)?;
    }
    Ok(rest)
}

/// The messages in either.
pub(in crate::cli::import) fn or(mut left: Parts, right: &Parts) -> Result<Parts, Unsaid> {
    'parts: for part in right {
        for known in &mut left {
            if merge(known, part) {
                continue 'parts;
            }
        }
        let others = and(&not(&left)?, &vec![part.clone()])?;
        left.extend(others);
    }
    bounded(left)
}

/// Merges a part into one that differs in a single thing; returns false if they differ in more.
fn merge(known: &mut Part, part: &Part) -> bool {
    if known.atoms == part.atoms {
        known.pri = known.pri.or(part.pri);
        return true;
    }
    let [one] = &mut known.atoms[..] else { return false };
    let [other] = &part.atoms[..] else { return false };
    let alike = |one: &Atom, other: &Atom| {
        (one.property, one.test, one.ignore_case) == (other.property, other.test, other.ignore_case)
    };
    let joins = known.pri == part.pri && alike(one, other) && !one.not && !other.not;
    if joins {
        one.values.extend(other.values.iter().cloned());
    }
    joins
}

/// The union of two disjoint sets of parts.
pub(in crate::cli::import) fn union(mut left: Parts, right: &Parts) -> Parts {
    'parts: for part in right {
        for known in &mut left {
            if merge(known, part) {
                continue 'parts;
            }
        }
        left.push(part.clone());
    }
    left
}

fn bounded(parts: Parts) -> Result<Parts, Unsaid> {
    match parts.len() <= PARTS_MAX {
        true => Ok(parts),
        false => Err("it has too many parts".into()),
    }
}

/// Parses the filter of a line: a selector, or `:property, operation, "value"`.
///
/// # Errors
/// What cannot be expressed.
pub(in crate::cli::import) fn filter(text: &str) -> Result<Parts, Unsaid> {
    let Some(property) = text.strip_prefix(':') else {
        let pri = PriSet::parse(text).ok_or_else(|| text.to_string())?;
        return Ok(vec![Part { pri, atoms: Vec::new() }]);
    };
    let mut words = property.splitn(3, ',').map(str::trim);
    let (name, operation) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let value = words.next().unwrap_or_default();
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    let value = unescaped(value.ok_or_else(|| text.to_string())?);
    let (operation, is_not) =
        operation.strip_prefix('!').map_or((operation, false), |operation| (operation, true));
    let operation = match operation.to_ascii_lowercase().as_str() {
        "isequal" => "==".into(),
        "isempty" => return Err("isempty".into()),
        "regex" => "bre".into(),
        "ereregex" => "re".into(),
        other => other.to_string(),
    };
    let parts = compare(name, &operation, &value)?;
    if is_not { not(&parts) } else { Ok(parts) }
}

/// What a quoted text of a property filter says: a backslash stands for what follows it.
fn unescaped(text: &str) -> String {
    let mut chars = text.chars();
    let mut out = String::new();
    while let Some(c) = chars.next() {
        out.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    out
}

/// Parses the condition of an `if`.
///
/// # Errors
/// What cannot be expressed.
pub(in crate::cli::import) fn expression(text: &str) -> Result<Parts, Unsaid> {
    let mut tokens = tokens(text)?;
    tokens.reverse();
    let parts = any_of(&mut tokens, 0)?;
    match tokens.pop() {
        None => Ok(parts),
        Some(token) => Err(token.text),
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Token {
    text: String,
    quoted: bool,
}

fn tokens(text: &str) -> Result<Vec<Token>, Unsaid> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(c) = rest.chars().next() {
        if c == '#' || rest.starts_with("/*") {
            let end = if c == '#' { "\n" } else { "*/" };
            rest = rest.split_once(end).map_or("", |(_, rest)| rest).trim_start();
            continue;
        }
        // A line of old that goes on.
        if let Some(next) = rest.strip_prefix('\\')
            && (next.is_empty() || next.starts_with(['\n', '\r']))
        {
            rest = next.trim_start();
            continue;
        }
        let (word, quoted, used) = if c == '"' || c == '\'' {
            let (word, used) = quoted(rest, c).ok_or("a text without its end")?;
            (word, true, used)
        } else if let Some(sign) =
            ["==", "!=", "<>", "<=", ">="].iter().find(|s| rest.starts_with(**s))
        {
            ((*sign).to_string(), false, 2)
        } else if "()<>,&+-[]".contains(c) {
            (c.to_string(), false, 1)
        } else {
            // The names of variables have a sign that is an operator elsewhere, as in `$!a!b`.
            let ends = if rest.starts_with("$!") { "()<>=,&[]\"'" } else { "()<>=!,&[]\"'" };
            let end = rest.find(|c: char| c.is_whitespace() || ends.contains(c));
            let end = end.unwrap_or(rest.len()).max(c.len_utf8());
            (rest[..end].to_string(), false, end)
        };
        tokens.push(Token { text: word, quoted });
        rest = rest[used..].trim_start();
    }
    Ok(tokens)
}

fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut out = String::new();
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            c if escaped => {
                escaped = false;
                if !['\\', '"', '\'', '$'].contains(&c) {
                    out.push('\\');
                }
                out.push(c);
            }
            '\\' => escaped = true,
            c if c == quote => return Some((out, at + 1)),
            c => out.push(c),
        }
    }
    None
}

/// Consumes a word, if it is the next token.
fn taken(tokens: &mut Vec<Token>, word: &str) -> bool {
    let next = tokens.last();
    let is = next.is_some_and(|t| !t.quoted && t.text.eq_ignore_ascii_case(word));
    if is {
        tokens.pop();
    }
    is
}

fn any_of(tokens: &mut Vec<Token>, depth: usize) -> Result<Parts, Unsaid> {
    let mut parts = all_of(tokens, depth)?;
    while taken(tokens, "or") {
        parts = or(parts, &all_of(tokens, depth)?)?;
    }
    Ok(parts)
}

fn all_of(tokens: &mut Vec<Token>, depth: usize) -> Result<Parts, Unsaid> {
    let mut parts = one(tokens, depth)?;
    while taken(tokens, "and") {
        parts = and(&parts, &one(tokens, depth)?)?;
    }
    Ok(parts)
}

fn one(tokens: &mut Vec<Token>, depth: usize) -> Result<Parts, Unsaid> {
    if depth == DEPTH_MAX {
        return Err("it is too deep".into());
    }
    if taken(tokens, "not") {
        return not(&one(tokens, depth + 1)?);
    }
    if taken(tokens, "(") {
        let parts = any_of(tokens, depth + 1)?;
        return match taken(tokens, ")") {
            true => Ok(parts),
            false => Err("a parenthesis is not closed".into()),
        };
    }
    let left = tokens.pop().ok_or("a value is missing")?;
    if taken(tokens, "(") {
        return function(&left.text, tokens);
    }
    let Some(property) = left.text.strip_prefix('$').filter(|_| !left.quoted) else {
        return Err(left.text);
    };
    let sign = tokens.pop().ok_or_else(|| left.text.clone())?;
    let right = tokens.pop().ok_or_else(|| sign.text.clone())?;
    let sign = sign.text.to_ascii_lowercase();
    if !right.quoted && right.text == "[" {
        return list(property, &sign, tokens);
    }
    if !right.quoted && right.text.starts_with('$') {
        return Err(right.text);
    }
    if tokens.last().is_some_and(|token| !token.quoted && ["&", "+", "-"].contains(&&*token.text)) {
        return Err("a value that is computed".into());
    }
    compare(property, &sign, &right.text)
}

/// A list of values after its `[`: any of them, or none of them.
fn list(property: &str, sign: &str, tokens: &mut Vec<Token>) -> Result<Parts, Unsaid> {
    let is_not = ["!=", "<>"].contains(&sign);
    let sign = if is_not { "==" } else { sign };
    let mut parts = Parts::new();
    while !taken(tokens, "]") {
        let value = tokens.pop().ok_or("a list is not closed")?;
        if value.quoted {
            parts = or(parts, &compare(property, sign, &value.text)?)?;
        }
    }
    if is_not { not(&parts) } else { Ok(parts) }
}

/// `prifilt("mail.*")` and `re_match($msg, '…')`.
fn function(name: &str, tokens: &mut Vec<Token>) -> Result<Parts, Unsaid> {
    let mut arguments = Vec::new();
    while let Some(token) = tokens.pop() {
        match token.text.as_str() {
            ")" if !token.quoted => break,
            "," if !token.quoted => {}
            _ => arguments.push(token),
        }
    }
    match (name.to_ascii_lowercase().as_str(), &arguments[..]) {
        ("prifilt", [selector]) => {
            let pri = PriSet::parse(&selector.text).ok_or_else(|| selector.text.clone())?;
            Ok(vec![Part { pri, atoms: Vec::new() }])
        }
        ("re_match", [property, regex]) => {
            compare(property.text.trim_start_matches('$'), "re", &regex.text)
        }
        ("re_match_i", [property, regex]) => {
            let regex = format!("(?i){}", regex.text);
            compare(property.text.trim_start_matches('$'), "re", &regex)
        }
        _ => Err(format!("the function {name}()")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn conditions_are_cut_into_parts() {
        for (text, parts) in [
            ("$programname == 'a'", 1),
            ("$programname == 'a' or $programname == \"b\"", 1),
            ("$syslogfacility-text == 'mail' and $syslogseverity <= 4", 1),
            ("not ($programname == 'a' and $msg contains 'x')", 2),
            ("$programname == 'a' or $msg contains 'x'", 2),
            ("prifilt(\"mail.*\") and not ($msg contains 'x')", 1),
            // The space before the text is asked for by itself.
            ("prifilt(\"mail.*\") and not ($msg startswith 'x')", 2),
        ] {
            assert_eq!(expression(text).unwrap().len(), parts, "{text}");
        }
        for text in ["$.x == 1", "$msg == $hostname", "strlen($msg) > 5", "$a", "(", "exists($!x)"]
        {
            assert!(expression(text).is_err(), "{text}");
        }
    }

    #[test]
    fn lists_are_read() {
        let parts = expression("$programname == ['a', 'b']").unwrap();
        assert_eq!(
            (parts.len(), &parts[0].atoms[0].values[..]),
            (1, &["a".into(), "b".into()][..])
        );
        assert!(expression("$programname != ['a', 'b']").unwrap()[0].atoms[0].not);
    }

    #[test]
    fn messages_of_this_host_have_an_address_in_conditions() {
        let keys = |text: &str, has_own: bool| {
            let parts = expression(text).unwrap();
            let parts = if has_own { parts } else { of_others(parts) };
            let chains = parts.iter().map(|part| {
                let chain = super::super::select::chain(part).unwrap();
                format!("{:?}", chain.into_iter().flatten().map(|(_, v)| v).collect::<Vec<_>>())
            });
            chains.collect::<Vec<_>>().join(" or ")
        };
        let is = "$fromhost-ip == '127.0.0.1'";
        assert_eq!(keys(is, false), "[[\"127.0.0.1\"]]");
        assert_eq!(keys(is, true), "[[\"127.0.0.1\"]] or [[\"*\", \"!~.\"]]");
        let is_not = "$fromhost-ip != '127.0.0.1'";
        assert_eq!(keys(is_not, false), "[[\"*\", \"!127.0.0.1\"]]");
        assert_eq!(keys(is_not, true), "[[\"~.\", \"!127.0.0.1\"]]");
        let net = "$fromhost-ip startswith '10.'";
        assert_eq!(keys(net, true), keys(net, false));
        // What cannot be is left out.
        let both = expression("$fromhost-ip == '10.0.0.1' and $fromhost-ip startswith '192.'");
        assert_eq!(both, Ok(Parts::new()));
        assert_eq!(
            keys("$fromhost-ip == '10.0.0.1' and $fromhost-ip != '1.1.1.1'", true),
            "[[\"10.0.0.1\"]]"
        );
    }

    #[test]
    fn property_filters_are_read() {
        let parts = filter(":msg, !contains, \"a, \\\"b\"").unwrap();
        let atom = &parts[0].atoms[0];
        assert_eq!(
            (atom.property, atom.test, atom.not),
            (Property::Field("message"), Test::Contains, true)
        );
        assert_eq!(atom.values, ["a, \"b"]);
        assert!(filter(":msg, isempty, \"\"").is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(
            text in "(\\$msg|\\$app-name|==|contains|'a'|\"|or|and|not|[()é !=<,]|\\[){0,30}",
        ) {
            let _ = expression(&text);
            let _ = filter(&text);
        }
    }
}
