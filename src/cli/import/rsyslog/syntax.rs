//! Parsing rsyslog's configuration into statements: legacy directives, selectors, and RainerScript.
//!
//! The parser is bounded in depth and accepts any bytes; what it does not understand becomes
//! [`Body::Unknown`], up to the end of the line.

use std::collections::BTreeMap;

/// What stands in the place of an `&` that no action precedes, and of all that follows.
pub(super) const BEHIND_BLOCK: &str = "& behind braces, and what follows it in this file";

/// The maximum nesting of blocks.
const DEPTH_MAX: usize = 32;
/// The maximum number of branches in a chain of `else if`, with those of the chains around it.
const CHAIN_MAX: usize = 128;

/// A statement, and the line it begins on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Statement {
    pub(super) line: usize,
    pub(super) body: Body,
}

/// The content of a statement.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Body {
    /// `$Name value`.
    Directive(String, String),
    /// `kind(key="value" …)`, with what follows in braces.
    Object(Object),
    /// `if EXPRESSION then …`.
    If { condition: String, then: Vec<Statement>, or_else: Vec<Statement> },
    /// A selector or property filter, and its actions.
    Filter { filter: String, actions: Vec<String> },
    /// A selector or property filter, and statements in braces.
    Block { filter: String, inside: Vec<Statement> },
    /// `stop`, or `~`.
    Stop,
    /// `call NAME`.
    Call(String),
    /// Anything not understood.
    Unknown(String),
}

/// An object of RainerScript.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Object {
    /// `action`, `input` and so on, in lower case.
    pub(super) kind: String,
    /// The parameters, with their names in lower case. The items of a list are joined by newlines.
    pub(super) keys: BTreeMap<String, String>,
    /// The statements in its braces, for a ruleset.
    pub(super) inside: Vec<Statement>,
    /// The same as text, for the parts of a template.
    pub(super) inside_text: String,
}

impl Object {
    /// A parameter; empty if it is absent.
    pub(super) fn get(&self, key: &str) -> &str {
        self.keys.get(key).map_or("", String::as_str)
    }
}

/// Parses a file's text.
pub(super) fn parse(text: &str) -> Vec<Statement> {
    let mut reader = Reader { text, at: 0, depth: 0, chained: 0, counted: (0, 1) };
    let mut statements = reader.statements();
    while reader.at < text.len() {
        // An unmatched closing brace.
        reader.at += 1;
        statements.extend(reader.statements());
    }
    statements
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
    /// The branches of all chains around this place.
    chained: usize,
    /// A place and the line it is in, so that lines are counted once.
    counted: (usize, usize),
}

const OBJECTS: [&str; 16] = [
    "action",
    "input",
    "module",
    "ruleset",
    "template",
    "global",
    "main_queue",
    "include",
    "timezone",
    "parser",
    "lookup_table",
    "dyn_stats",
    "percentile_stats",
    "ratelimit",
    "property",
    "constant",
];

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn line(&mut self) -> usize {
        let (from, line) = if self.counted.0 <= self.at { self.counted } else { (0, 1) };
        let more =
            self.text.as_bytes()[from..self.at].iter().filter(|byte| **byte == b'\n').count();
        self.counted = (self.at, line + more);
        self.counted.1
    }

    /// Skips blanks, newlines and comments.
    fn skip(&mut self) {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start().len();
            self.at += blank;
            let rest = self.rest();
            if rest.starts_with('#') {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                self.at += rest.find("*/").map_or(rest.len(), |end| end + 2);
            } else if blank == 0 {
                return;
            }
        }
    }

    /// Consumes the rest of the line, joined with the next if it ends with a backslash.
    fn take_line(&mut self) -> String {
        let mut line = String::new();
        loop {
            let rest = self.rest();
            let end = rest.find('\n').unwrap_or(rest.len());
            // Leading blanks of a continuation line are not part of it.
            let part = rest[..end].trim().to_string();
            self.at += (end + 1).min(rest.len());
            match part.strip_suffix('\\') {
                Some(part) if self.at < self.text.len() => line += part,
                _ => return (line + &part).trim().to_string(),
            }
        }
    }

    /// Parses statements up to a closing brace or the end.
    fn statements(&mut self) -> Vec<Statement> {
        let mut statements: Vec<Statement> = Vec::new();
        loop {
            self.skip();
            if self.rest().is_empty() || self.rest().starts_with('}') {
                return statements;
            }
            let line = self.line();
            if self.rest().starts_with('&') {
                self.at += 1;
                let is_filter = |last: &Statement| matches!(last.body, Body::Filter { .. });
                let is_closed = |last: &Statement| {
                    matches!(last.body, Body::If { .. } | Body::Block { .. } | Body::Call(_))
                };
                if statements.last().is_some_and(is_closed) {
                    // For rsyslog this is an error, at which it gives up the file.
                    self.at = self.text.len();
                    let body = Body::Unknown(BEHIND_BLOCK.into());
                    statements.push(Statement { line, body });
                    return statements;
                }
                let blank = self.rest().len() - self.rest().trim_start_matches([' ', '\t']).len();
                let after = &self.rest()[blank..];
                let stop = ["stop", "~"].into_iter().find(|word| after.starts_with(*word));
                if let Some(word) = stop
                    && !statements.last().is_some_and(is_filter)
                {
                    self.at += blank + word.len();
                    statements.push(Statement { line, body: Body::Stop });
                    continue;
                }
                self.at += blank;
                let action = self.action();
                let is_directive = |one: &&Statement| matches!(one.body, Body::Directive(..));
                let directives = statements.iter().rev().take_while(is_directive).count();
                let before = statements.len() - directives;
                let body = match statements[..before].last_mut().map(|one| &mut one.body) {
                    Some(Body::Filter { actions, .. }) if directives == 0 => {
                        actions.push(action);
                        continue;
                    }
                    // Directives between two actions apply to the second.
                    Some(Body::Filter { filter, .. }) => {
                        Body::Filter { filter: filter.clone(), actions: vec![action] }
                    }
                    Some(Body::Object(object)) if object.kind == "action" => {
                        Body::Filter { filter: "*.*".into(), actions: vec![action] }
                    }
                    _ => Body::Unknown(action),
                };
                statements.push(Statement { line, body });
                continue;
            }
            let body = self.statement();
            statements.push(Statement { line, body });
        }
    }

    fn statement(&mut self) -> Body {
        let rest = self.rest();
        if let Some(directive) = rest.strip_prefix('$') {
            let is_name = directive.starts_with(|c: char| c.is_ascii_alphabetic());
            let line = self.take_line();
            let (name, value) = line.split_once(char::is_whitespace).unwrap_or((&line, ""));
            let name = name.to_ascii_lowercase();
            // A comment may follow, but not in a template's text.
            let value = match name.as_str() {
                "$template" => value,
                _ => value
                    .split([" #", "\t#"].iter().find(|s| value.contains(**s)).unwrap_or(&"\n"))
                    .next()
                    .unwrap_or(value),
            };
            return match is_name {
                true => Body::Directive(name[1..].into(), value.trim().into()),
                false => Body::Unknown(line),
            };
        }
        let word: String =
            rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        let after = rest[word.len()..].trim_start();
        let lower = word.to_ascii_lowercase();
        if after.starts_with('(') && OBJECTS.contains(&lower.as_str()) {
            return self.object(lower);
        }
        match lower.as_str() {
            "if" if !after.starts_with('.') => return self.condition(),
            "set" | "unset" | "reset" | "call_indirect" => return self.variable(),
            "foreach" => return self.each(),
            "stop" => {
                self.at += word.len();
                return Body::Stop;
            }
            "call" => {
                self.at += word.len();
                let name: String =
                    after.chars().take_while(|c| !c.is_whitespace() && *c != '}').collect();
                let passed = rest.len() - word.len() - after.len();
                self.at += passed + name.len();
                return Body::Call(name);
            }
            _ => {}
        }
        if rest.starts_with('~') {
            self.at += 1;
            return Body::Stop;
        }
        let is_filter = is_filter(rest, after);
        if is_filter && let Some(open) = block_after_filter(rest) {
            let filter = rest[..open].trim().to_string();
            self.at += open + 1;
            return Body::Block { filter, inside: self.block() };
        }
        if is_filter {
            return self.filter();
        }
        let is_action = rest.starts_with(['-', '/', '@', '?', '|', '^', ':', '*']);
        let line = self.take_line();
        match is_action {
            // An action alone belongs to the enclosing block's filter, that is, to all messages.
            true => Body::Filter { filter: "*.*".into(), actions: vec![line] },
            false => Body::Unknown(line),
        }
    }

    /// A selector line or a property filter, and the action after it.
    fn filter(&mut self) -> Body {
        let start = self.at;
        let line = self.take_line();
        let split = match line.starts_with(':') {
            // :property, [!]operation, "value" action
            true => property_end(&line),
            false => line.find(char::is_whitespace),
        };
        let Some(at) = split else { return Body::Unknown(line) };
        let (filter, action) = line.split_at(at);
        let (filter, action) = (filter.trim().to_string(), action.trim().to_string());
        if let Some(name) = action.strip_prefix("call ") {
            let inside = vec![Statement { line: 0, body: Body::Call(name.trim().into()) }];
            return Body::Block { filter, inside };
        }
        // The parameters of an action may go on for several lines.
        let taken = &self.text[start..self.at];
        let begins = |(at, _): &(usize, &str)| {
            taken[..*at].ends_with(char::is_whitespace) && is_object(&taken[*at..])
        };
        if is_object(&action)
            && let Some((found, _)) = taken.match_indices("action").find(begins)
        {
            self.at = start + found;
            return Body::Filter { filter, actions: vec![self.action()] };
        }
        Body::Filter { filter, actions: vec![action] }
    }

    /// Consumes an action, in either form.
    fn action(&mut self) -> String {
        if !is_object(self.rest()) {
            return self.take_line();
        }
        let start = self.at;
        self.object("action".into());
        self.text[start..self.at].to_string()
    }

    /// Consumes a statement about variables, up to its semicolon.
    fn variable(&mut self) -> Body {
        let start = self.at;
        while let Some(c) = self.rest().chars().next().filter(|c| *c != ';') {
            match c {
                '"' | '\'' | '`' => drop(self.quoted()),
                c => self.at += c.len_utf8(),
            }
        }
        let text = self.text[start..self.at].trim().to_string();
        self.at = (self.at + 1).min(self.text.len());
        Body::Unknown(text)
    }

    /// Consumes `foreach (… in …) do { … }`.
    fn each(&mut self) -> Body {
        let start = self.at;
        let open = self.rest().find(['{', '\n']).unwrap_or_else(|| self.rest().len());
        self.at += open;
        let text = self.text[start..self.at].trim().to_string();
        self.skip();
        if self.rest().starts_with('{') {
            self.at += 1;
            self.block();
        }
        Body::Unknown(text)
    }

    /// Consumes a quoted text that begins here; resolves its escapes.
    fn quoted(&mut self) -> Option<String> {
        let quote = self.rest().chars().next().filter(|c| ['"', '\'', '`'].contains(c))?;
        let mut out = String::new();
        let mut escaped = false;
        for (at, c) in self.rest().char_indices().skip(1) {
            match c {
                _ if escaped => {
                    escaped = false;
                    match c {
                        'n' => out.push('\n'),
                        't' => out.push('\t'),
                        'r' => out.push('\r'),
                        '\\' | '"' | '\'' | '$' => out.push(c),
                        other => out.extend(['\\', other]),
                    }
                }
                '\\' => escaped = true,
                c if c == quote => {
                    self.at += at + 1;
                    // Backticks ask for a value from the environment.
                    return Some(if c == '`' { format!("`{out}`") } else { out });
                }
                c => out.push(c),
            }
        }
        self.at = self.text.len();
        None
    }

    fn object(&mut self, kind: String) -> Body {
        let open = self.rest().find('(').unwrap_or(0);
        self.at += open + 1;
        let mut object = Object { kind, ..Object::default() };
        loop {
            self.skip();
            let rest = self.rest();
            if rest.is_empty() {
                return Body::Unknown(format!("{}(… without its end", object.kind));
            }
            if rest.starts_with([')', ',']) {
                let ends = rest.starts_with(')');
                self.at += 1;
                if ends {
                    break;
                }
                continue;
            }
            let key: String = rest.chars().take_while(|c| !"=) \t\r\n,".contains(*c)).collect();
            self.at += key.len().max(1).min(self.rest().len());
            while !self.text.is_char_boundary(self.at) {
                self.at += 1;
            }
            self.skip();
            if !self.rest().starts_with('=') {
                continue;
            }
            self.at += 1;
            self.skip();
            let value = self.value();
            object.keys.insert(key.to_ascii_lowercase(), value);
        }
        self.skip();
        if self.rest().starts_with('{') && ["ruleset", "template"].contains(&object.kind.as_str()) {
            self.at += 1;
            let start = self.at;
            object.inside = self.block();
            object.inside_text = self.text[start..self.at.max(start)].trim_end_matches('}').into();
        }
        Body::Object(object)
    }

    fn value(&mut self) -> String {
        if let Some(text) = self.quoted() {
            return text;
        }
        let rest = self.rest();
        if rest.starts_with('[') {
            self.at += 1;
            let mut parts = Vec::new();
            loop {
                self.skip();
                match self.quoted() {
                    Some(part) => parts.push(part),
                    None if self.rest().starts_with(',') => self.at += 1,
                    None => break,
                }
            }
            if self.rest().starts_with(']') {
                self.at += 1;
            }
            return parts.join("\n");
        }
        let word: String = rest.chars().take_while(|c| !") \t\r\n,".contains(*c)).collect();
        self.at += word.len();
        word
    }

    /// Parses statements up to the closing brace, and consumes it.
    fn block(&mut self) -> Vec<Statement> {
        if self.depth == DEPTH_MAX {
            return self.too_deep();
        }
        self.depth += 1;
        let statements = self.statements();
        self.depth -= 1;
        if self.rest().starts_with('}') {
            self.at += 1;
        }
        statements
    }

    /// Gives up at a block that is nested too deep.
    fn too_deep(&mut self) -> Vec<Statement> {
        let line = self.line();
        self.at = self.text.len();
        let what = format!("blocks nested deeper than {DEPTH_MAX}, and what follows them");
        vec![Statement { line, body: Body::Unknown(what) }]
    }

    /// `if … then … else if … then … else …`: however long the chain is, it is read in a loop.
    fn condition(&mut self) -> Body {
        let mut chain = Vec::new();
        let mut or_else = Vec::new();
        loop {
            let line = self.line();
            let (condition, then) = match self.one_branch() {
                Ok(branch) => branch,
                Err(text) => {
                    or_else = vec![Statement { line, body: Body::Unknown(text) }];
                    break;
                }
            };
            chain.push((line, condition, then));
            self.chained += 1;
            let saved = self.at;
            self.skip();
            if !self.takes_word("else") {
                self.at = saved;
                break;
            }
            self.skip();
            let is_next = self.begins_with_word("if");
            if is_next && self.chained >= CHAIN_MAX {
                or_else = self.too_long();
                break;
            }
            if !is_next {
                or_else = self.branch();
                break;
            }
        }
        self.chained -= chain.len();
        while let Some((line, condition, then)) = chain.pop() {
            let body = Body::If { condition, then, or_else };
            or_else = vec![Statement { line, body }];
        }
        or_else.pop().map_or_else(|| Body::Unknown("if".into()), |first| first.body)
    }

    /// Gives up at a chain of branches that is too long.
    fn too_long(&mut self) -> Vec<Statement> {
        let line = self.line();
        self.at = self.text.len();
        let what = format!("the branches behind the {CHAIN_MAX}th, and what follows them");
        vec![Statement { line, body: Body::Unknown(what) }]
    }

    /// Whether a word stands here.
    fn begins_with_word(&self, word: &str) -> bool {
        let rest = self.rest();
        let after = rest.get(word.len()..).and_then(|after| after.chars().next());
        rest.get(..word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word))
            && !after.is_some_and(char::is_alphanumeric)
    }

    /// Consumes a word, if it stands here.
    fn takes_word(&mut self, word: &str) -> bool {
        let takes = self.begins_with_word(word);
        self.at += if takes { word.len() } else { 0 };
        takes
    }

    /// `if CONDITION then …`; the error is the text of one without its `then`.
    fn one_branch(&mut self) -> Result<(String, Vec<Statement>), String> {
        self.at += 2;
        let start = self.at;
        // `then` outside quotes ends the condition.
        loop {
            let rest = self.rest();
            let Some(c) = rest.chars().next() else {
                return Err(format!("if{}", &self.text[start..]));
            };
            if ['"', '\''].contains(&c) {
                self.quoted();
                continue;
            }
            if c == '#' || rest.starts_with("/*") {
                self.skip();
                continue;
            }
            let before = self.text[..self.at].chars().next_back().unwrap_or(' ');
            if self.begins_with_word("then") && !before.is_alphanumeric() {
                break;
            }
            self.at += c.len_utf8();
        }
        let condition = self.text[start..self.at].trim().to_string();
        self.at += 4;
        Ok((condition, self.branch()))
    }

    /// Parses a block, or one statement.
    fn branch(&mut self) -> Vec<Statement> {
        self.skip();
        if self.rest().starts_with('{') {
            self.at += 1;
            return self.block();
        }
        if self.rest().is_empty() {
            return Vec::new();
        }
        if self.depth == DEPTH_MAX {
            return self.too_deep();
        }
        self.depth += 1;
        let line = self.line();
        let body = self.statement();
        self.depth -= 1;
        let mut statements = vec![Statement { line, body }];
        // A following `& stop` has the same condition.
        loop {
            let saved = self.at;
            self.skip();
            if !self.rest().starts_with('&') {
                self.at = saved;
                return statements;
            }
            self.at += 1;
            let blank = self.rest().len() - self.rest().trim_start_matches([' ', '\t']).len();
            self.at += blank;
            let actions = vec![self.action()];
            statements
                .push(Statement { line, body: Body::Filter { filter: "*.*".into(), actions } });
        }
    }
}

/// Returns whether a statement begins with a selector or a property filter. `:omusrmsg:root` and
/// `*` are actions.
fn is_filter(text: &str, after_word: &str) -> bool {
    let line = text.lines().next().unwrap_or_default();
    match line.chars().next() {
        Some(':') => property_end(line).is_some(),
        Some('*') => line.starts_with("*.") || line.starts_with("*,"),
        _ => after_word.starts_with(['.', ',']),
    }
}

/// Returns whether a text begins with `action(`.
fn is_object(text: &str) -> bool {
    text.strip_prefix("action").is_some_and(|rest| rest.trim_start().starts_with('('))
}

/// Where a brace opens right behind a filter, on its line.
fn block_after_filter(text: &str) -> Option<usize> {
    let line = text.lines().next()?;
    let end = match line.starts_with(':') {
        true => property_end(line)?,
        false => line.find(char::is_whitespace)?,
    };
    let rest = line[end..].trim_start();
    rest.starts_with('{').then(|| line.len() - rest.len())
}

fn property_end(line: &str) -> Option<usize> {
    let open = line.find('"')?;
    let mut escaped = false;
    for (at, c) in line[open + 1..].char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(open + 1 + at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests;
