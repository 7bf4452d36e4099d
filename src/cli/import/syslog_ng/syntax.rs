//! The syntax of syslog-ng's configuration: statements with drivers and options in parentheses.

/// The maximum nesting of parentheses and braces.
const DEPTH_MAX: usize = 32;

/// A word, a text in quotes, or a sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) text: String,
    /// True for a text in quotes.
    pub(super) quoted: bool,
    pub(super) line: usize,
}

impl Token {
    /// Returns whether it is this sign or word.
    pub(super) fn is(&self, sign: &str) -> bool {
        !self.quoted && self.text == sign
    }
}

/// `name(args)`, or a name alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Call {
    pub(super) name: String,
    /// Texts and words.
    pub(super) words: Vec<String>,
    /// Options, and what else is in parentheses or braces of its own.
    pub(super) inside: Vec<Self>,
    /// The condition of an `if`, and a filter in braces.
    pub(super) tokens: Vec<Token>,
    /// True for a name alone, which is a word of what it is in.
    is_bare: bool,
    pub(super) line: usize,
}

impl Call {
    /// The first word of an option; empty if it is not there.
    pub(super) fn get(&self, name: &str) -> &str {
        self.option(name).and_then(|option| option.words.first()).map_or("", String::as_str)
    }

    /// An option by its name, in which `-` and `_` are the same.
    pub(super) fn option(&self, name: &str) -> Option<&Self> {
        self.inside.iter().find(|call| call.name == name)
    }

    /// Its first word; empty if there is none.
    pub(super) fn first(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }
}

/// A statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    /// `source`, `log`, …; `@include` and the like with their value as name.
    pub(super) kind: String,
    pub(super) name: String,
    /// What is in its braces; for a filter only as tokens.
    pub(super) body: Vec<Call>,
    pub(super) tokens: Vec<Token>,
    pub(super) line: usize,
}

/// Reads a configuration.
///
/// # Errors
/// Where it is not understood, and why.
pub(super) fn parse(text: &str) -> Result<Vec<Statement>, String> {
    let mut statements = Vec::new();
    let mut rest = String::with_capacity(text.len());
    for (at, line) in text.lines().enumerate() {
        if let Some(directive) = line.trim_start().strip_prefix('@') {
            let end = directive.find([':', ' ', '\t']).unwrap_or(directive.len());
            let value = directive[end..].trim_start_matches(':').trim().trim_matches('"');
            statements.push(Statement {
                kind: format!("@{}", &directive[..end]),
                name: value.to_string(),
                body: Vec::new(),
                tokens: Vec::new(),
                line: at + 1,
            });
        } else {
            rest += line;
        }
        rest.push('\n');
    }
    let tokens = tokens(&rest)?;
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at].is(";") {
            at += 1;
            continue;
        }
        statements.push(statement(&tokens, &mut at)?);
    }
    Ok(statements)
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut found = Vec::new();
    let (mut line, mut chars) = (1, text.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            '\n' => line += 1,
            c if c.is_whitespace() => {}
            '#' => while chars.next_if(|c| *c != '\n').is_some() {},
            '"' | '\'' => {
                let (start, mut word) = (line, String::new());
                loop {
                    let Some(next) = chars.next() else {
                        return Err(format!("line {start}: a text without its end"));
                    };
                    line += usize::from(next == '\n');
                    match next {
                        next if next == c => break,
                        '\\' if c == '"' => match chars.next() {
                            Some('n') => word.push('\n'),
                            Some('t') => word.push('\t'),
                            Some(other) => word.push(other),
                            None => {}
                        },
                        next => word.push(next),
                    }
                }
                found.push(Token { text: word, quoted: true, line: start });
            }
            '(' | ')' | '{' | '}' | ';' | ',' | '!' => {
                found.push(Token { text: c.into(), quoted: false, line });
            }
            c => {
                let mut text = String::from(c);
                let ends = |c: &char| c.is_whitespace() || "(){};,\"'#".contains(*c);
                while let Some(next) = chars.next_if(|next| !ends(next)) {
                    text.push(next);
                }
                found.push(Token { text, quoted: false, line });
            }
        }
    }
    Ok(found)
}

fn statement(tokens: &[Token], at: &mut usize) -> Result<Statement, String> {
    let line = tokens[*at].line;
    let wrong = || format!("line {line}: a statement is not understood");
    let kind = tokens[*at].text.clone();
    *at += 1;
    let mut name = String::new();
    if tokens.get(*at).is_some_and(|token| !token.is("{")) {
        name.clone_from(&tokens[*at].text);
        *at += 1;
    }
    if tokens.get(*at).is_none_or(|token| !token.is("{")) {
        return Err(wrong());
    }
    let start = *at + 1;
    let end = matching(tokens, *at).ok_or_else(wrong)?;
    let inside = tokens[start..end].to_vec();
    *at = end + 1;
    let body = match kind.as_str() {
        "filter" | "parser" | "block" => Vec::new(),
        // Its conditions are no calls.
        "rewrite" => calls(&inside, &mut 0, 0).unwrap_or_default(),
        _ => calls(&inside, &mut 0, 0)?,
    };
    Ok(Statement { kind, name, body, tokens: inside, line })
}

/// The place of the sign that closes the one at `open`.
fn matching(tokens: &[Token], open: usize) -> Option<usize> {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        if token.is("(") || token.is("{") {
            depth += 1;
        } else if token.is(")") || token.is("}") {
            depth -= 1;
            if depth == 0 {
                return Some(at);
            }
        }
    }
    None
}

/// `name(…); name { … }; …` up to the end of what encloses them.
fn calls(tokens: &[Token], at: &mut usize, depth: usize) -> Result<Vec<Call>, String> {
    let mut found = Vec::new();
    while let Some(token) = tokens.get(*at) {
        if token.is(")") || token.is("}") {
            break;
        }
        if token.is(";") || token.is(",") {
            *at += 1;
            continue;
        }
        found.push(call(tokens, at, depth)?);
    }
    Ok(found)
}

fn call(tokens: &[Token], at: &mut usize, depth: usize) -> Result<Call, String> {
    let token = &tokens[*at];
    let line = token.line;
    if depth > DEPTH_MAX {
        return Err(format!("line {line}: it is too deep"));
    }
    let name = token.text.to_ascii_lowercase().replace('_', "-");
    *at += 1;
    let mut call = Call { name, line, ..Call::default() };
    let is = |sign: &str, at: usize| tokens.get(at).is_some_and(|token| token.is(sign));
    let has_condition = ["if", "elif"].contains(&call.name.as_str()) && is("(", *at);
    if has_condition || call.name == "filter" && is("{", *at) {
        let unclosed = || format!("line {line}: a parenthesis is not closed");
        let end = matching(tokens, *at).ok_or_else(unclosed)?;
        call.tokens = tokens[*at + 1..end].to_vec();
        *at = end + 1;
        if !has_condition || !is("{", *at) {
            return Ok(call);
        }
    }
    let opens = |token: &Token| token.is("(") || token.is("{");
    if !tokens.get(*at).is_some_and(opens) || token.quoted {
        call.words.push(token.text.clone());
        call.is_bare = true;
        return Ok(call);
    }
    *at += 1;
    for inside in calls(tokens, at, depth + 1)? {
        // A name alone is a word.
        match inside.is_bare {
            true => call.words.extend(inside.words),
            false => call.inside.push(inside),
        }
    }
    if tokens.get(*at).is_none() {
        return Err(format!("line {line}: a parenthesis is not closed"));
    }
    *at += 1;
    Ok(call)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn drivers_have_words_and_options() {
        let text = "@version: 3.38\n@include \"scl.conf\"\n# comment\nsource s_net {\n  \
                    network(ip(0.0.0.0) port(514) transport(\"udp\")); # more\n  \
                    unix-dgram('/dev/log');\n};\n\
                    log { source(s_net); destination { file(\"/x\" perm(0640)); }; \
                    flags(final); };\n";
        let found = parse(text).unwrap();
        assert_eq!((found[0].kind.as_str(), found[0].name.as_str()), ("@version", "3.38"));
        assert_eq!((found[1].kind.as_str(), found[1].name.as_str()), ("@include", "scl.conf"));
        let source = &found[2];
        assert_eq!(
            (source.kind.as_str(), source.name.as_str(), source.line),
            ("source", "s_net", 4)
        );
        assert_eq!(source.body[0].get("port"), "514");
        assert_eq!(source.body[0].get("transport"), "udp");
        assert_eq!(source.body[1].first(), "/dev/log");
        let log = &found[3];
        assert_eq!(log.body[0].first(), "s_net");
        assert_eq!(log.body[1].inside[0].name, "file");
        assert_eq!(log.body[1].inside[0].get("perm"), "0640");
        assert_eq!(log.body[2].first(), "final");
    }

    #[test]
    fn what_does_not_end_is_refused() {
        for text in
            ["source s {", "source", "source s { file(\"x };", "log { source(a; };", "x y z"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-z(){};\"'#@.!, \n]{0,60}") {
            let _ = parse(&text);
        }
    }
}
