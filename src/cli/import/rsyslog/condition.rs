//! Conditions of rsyslog (`if` expressions, selectors, property filters) as unions of disjoint
//! parts, each a conjunction that logweir's selectors can express.

use super::pri::PriSet;

/// The maximum number of parts in a condition.
const PARTS_MAX: usize = 64;
/// The maximum nesting of parentheses.
const DEPTH_MAX: usize = 32;

/// The property that a test examines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli::import) enum Property {
    /// A field with a logweir selector, whose key this is.
    Field(&'static str),
    /// The text after the header.
    Message,
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
        Self { pri: self.pri.and(other.pri), atoms }
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
    let value = value.ok_or_else(|| text.to_string())?.replace("\\\"", "\"").replace("\\\\", "\\");
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
            let end = rest.find(|c: char| c.is_whitespace() || "()<>=!,&[]\"'".contains(c));
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
        _ => Err(format!("the function {name}()")),
    }
}

fn compare(name: &str, sign: &str, value: &str) -> Result<Parts, Unsaid> {
    let name = name.to_ascii_lowercase();
    if let Some(pri) = priority(&name, sign, value)? {
        return Ok(vec![Part { pri, atoms: Vec::new() }]);
    }
    // The tag is the program's name with a colon behind it; a number in it is not compared.
    let value = match name.as_str() {
        "syslogtag" if value.contains('[') || sign.ends_with("re") => {
            return Err(format!("{name} {sign} {value}"));
        }
        "syslogtag" => value.strip_suffix(':').unwrap_or(value),
        _ => value,
    };
    let property = match name.as_str() {
        "programname" | "app-name" | "syslogtag" => Property::Field("app"),
        "hostname" | "source" => Property::Field("host"),
        "fromhost-ip" => Property::Field("source"),
        "procid" => Property::Field("procid"),
        "msgid" => Property::Field("msgid"),
        "msg" => Property::Message,
        "rawmsg" => Property::Line,
        _ => return Err(format!("the property {name}")),
    };
    let value = &if sign == "bre" { modern(value) } else { value.to_string() };
    let (test, ignore_case) = match sign {
        "==" | "!=" | "<>" => (Test::Is, false),
        "contains" => (Test::Contains, false),
        "contains_i" => (Test::Contains, true),
        "startswith" => (Test::Begins, false),
        "startswith_i" => (Test::Begins, true),
        "re" | "bre" => (Test::Regex, false),
        _ => return Err(format!("the operation {sign}")),
    };
    let not = ["!=", "<>"].contains(&sign);
    let atom = Atom { property, test, values: vec![value.clone()], ignore_case, not };
    Ok(vec![Part { pri: PriSet::ALL, atoms: vec![atom] }])
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

/// Facility and severity, by name or by number.
fn priority(name: &str, sign: &str, value: &str) -> Result<Option<PriSet>, Unsaid> {
    let unsaid = || format!("{name} {sign} {value}");
    let within = |number: u8, other: u8| match sign {
        "<=" => number <= other,
        "<" => number < other,
        ">=" => number >= other,
        ">" => number > other,
        _ => number == other,
    };
    let is_order = sign.contains(['<', '>']) && sign != "<>";
    let set = match name {
        "syslogfacility" if is_order => {
            let number: u8 = value.parse().map_err(|_| unsaid())?;
            let all = (0..24).filter(|facility| within(*facility, number));
            let set = all.filter_map(|facility| PriSet::facility(&facility.to_string()));
            return Ok(Some(set.fold(PriSet::NONE, PriSet::or)));
        }
        "syslogfacility" | "syslogfacility-text" => PriSet::facility(value).ok_or_else(unsaid)?,
        "syslogseverity" | "syslogseverity-text" | "syslogpriority" | "syslogpriority-text" => {
            let number = crate::parse::syslog::names::severity(value).ok_or_else(unsaid)?;
            let wanted = PriSet::severity(|severity| within(severity, number));
            if is_order {
                return Ok(Some(wanted));
            }
            wanted
        }
        _ => return Ok(None),
    };
    match sign {
        "==" => Ok(Some(set)),
        "!=" | "<>" => Ok(Some(set.not())),
        _ => Err(unsaid()),
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
            ("prifilt(\"mail.*\") and not ($msg startswith 'x')", 1),
        ] {
            assert_eq!(expression(text).unwrap().len(), parts, "{text}");
        }
        for text in ["$.x == 1", "$msg == $hostname", "strlen($msg) > 5", "$a", "(", "exists($!x)"]
        {
            assert!(expression(text).is_err(), "{text}");
        }
    }

    #[test]
    fn lists_and_old_regexes_are_read() {
        let parts = expression("$programname == ['a', 'b']").unwrap();
        assert_eq!(
            (parts.len(), &parts[0].atoms[0].values[..]),
            (1, &["a".into(), "b".into()][..])
        );
        assert!(expression("$programname != ['a', 'b']").unwrap()[0].atoms[0].not);
        for (basic, wanted) in
            [("a+b\\+", "a\\+b+"), ("\\(x\\)[+]\\.", "(x)[+]\\."), ("a{2}", "a\\{2\\}")]
        {
            assert_eq!(modern(basic), wanted);
        }
    }

    #[test]
    fn property_filters_are_read() {
        let parts = filter(":msg, !contains, \"a, \\\"b\"").unwrap();
        let atom = &parts[0].atoms[0];
        assert_eq!((atom.property, atom.test, atom.not), (Property::Message, Test::Contains, true));
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
