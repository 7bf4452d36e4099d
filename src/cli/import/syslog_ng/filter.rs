//! syslog-ng's filters as parts that selectors can express.

use std::collections::BTreeMap;

use super::syntax::Token;
use crate::cli::import::rsyslog::condition::{self, Atom, Part, Parts, Property, Test};
use crate::cli::import::rsyslog::pri::PriSet;
use crate::parse::syslog::names;

/// The maximum depth of filters that name others.
const DEPTH_MAX: usize = 16;

/// The filters by name.
pub(super) type Filters = BTreeMap<String, Vec<Token>>;

/// What a filter passes; the error is what is not understood.
pub(super) fn parts(tokens: &[Token], filters: &Filters, depth: usize) -> Result<Parts, String> {
    if depth > DEPTH_MAX {
        return Err("filters that name each other".into());
    }
    let tokens: Vec<_> = tokens.iter().filter(|token| !token.is(";")).cloned().collect();
    let mut reader = Reader { tokens: &tokens, at: 0, filters, depth };
    let found = reader.any()?;
    match reader.tokens.get(reader.at) {
        None => Ok(found),
        Some(token) => Err(token.text.clone()),
    }
}

struct Reader<'t> {
    tokens: &'t [Token],
    at: usize,
    filters: &'t Filters,
    depth: usize,
}

impl Reader<'_> {
    fn takes(&mut self, sign: &str) -> bool {
        let taken = self.tokens.get(self.at).is_some_and(|token| token.is(sign));
        self.at += usize::from(taken);
        taken
    }

    fn any(&mut self) -> Result<Parts, String> {
        let mut found = self.all()?;
        while self.takes("or") {
            let other = self.all()?;
            found = condition::or(found, &other)?;
        }
        Ok(found)
    }

    fn all(&mut self) -> Result<Parts, String> {
        let mut found = self.one()?;
        while self.takes("and") {
            let other = self.one()?;
            found = condition::and(&found, &other)?;
        }
        Ok(found)
    }

    fn one(&mut self) -> Result<Parts, String> {
        self.depth += 1;
        if self.depth > 2 * DEPTH_MAX {
            return Err("it is too deep".into());
        }
        let found = if self.takes("not") {
            condition::not(&self.one()?)
        } else if self.takes("(") {
            let found = self.any()?;
            match self.takes(")") {
                true => Ok(found),
                false => Err("a parenthesis is not closed".into()),
            }
        } else {
            self.test()
        };
        self.depth -= 1;
        found
    }

    /// `facility(mail, cron)`, `program("^ssh" flags(ignore-case))`, …
    fn test(&mut self) -> Result<Parts, String> {
        let name = self.tokens.get(self.at).ok_or("a condition is missing")?.text.clone();
        self.at += 1;
        if !self.takes("(") {
            return Err(name);
        }
        let (mut words, mut options, mut option) = (Vec::new(), Vec::new(), None);
        loop {
            let token = self.tokens.get(self.at).ok_or("a parenthesis is not closed")?;
            self.at += 1;
            let opens = self.tokens.get(self.at).is_some_and(|next| next.is("("));
            if token.is(")") {
                match option.take() {
                    Some(_) => {}
                    None => break,
                }
            } else if token.is(",") || token.is("(") {
            } else if opens && !token.quoted {
                option = Some(token.text.clone());
            } else if let Some(option) = &option {
                options.push((option.clone(), token.text.clone()));
            } else {
                words.push(token.text.clone());
            }
        }
        if ["facility", "level", "priority", "severity"].contains(&name.as_str()) {
            // `err .. emerg` may have blanks.
            let joined = words.join(" ").replace(" ..", "..").replace(".. ", "..");
            words = joined.split(' ').map(str::to_string).collect();
        }
        match name.as_str() {
            "filter" => {
                let name = words.first().ok_or("filter()")?;
                let tokens = self.filters.get(name).ok_or_else(|| format!("filter({name})"))?;
                parts(tokens, self.filters, self.depth)
            }
            "facility" => priorities(&words, facilities),
            "level" | "priority" | "severity" => priorities(&words, severities),
            _ => compared(&name, words, &options),
        }
    }
}

fn priorities(words: &[String], of: impl Fn(&str) -> Option<PriSet>) -> Result<Parts, String> {
    let mut set = PriSet::NONE;
    for word in words {
        set = set.or(of(word).ok_or_else(|| word.clone())?);
    }
    Ok(vec![Part { pri: set, atoms: Vec::new() }])
}

/// `mail`, `3`, or `auth..cron`.
fn facilities(word: &str) -> Option<PriSet> {
    let Some((first, last)) = word.split_once("..") else { return PriSet::facility(word) };
    let (first, last) = (names::facility(first)?, names::facility(last)?);
    let of = |number: u8| PriSet::facility(&number.to_string());
    (first.min(last)..=first.max(last)).try_fold(PriSet::NONE, |set, one| Some(set.or(of(one)?)))
}

/// `err`, or `err..emerg`.
fn severities(word: &str) -> Option<PriSet> {
    let (first, last) = word.split_once("..").unwrap_or((word, word));
    let (first, last) = (names::severity(first)?, names::severity(last)?);
    Some(PriSet::severity(|severity| (first.min(last)..=first.max(last)).contains(&severity)))
}

fn compared(name: &str, words: Vec<String>, options: &[(String, String)]) -> Result<Parts, String> {
    let all = |name: &str| -> Vec<&str> {
        let found = options.iter().filter(|(option, _)| option == name);
        found.map(|(_, value)| value.as_str()).collect()
    };
    let has = |flag: &str| all("flags").contains(&flag);
    let property = match name {
        "program" => Property::Field("app"),
        "host" => Property::Field("host"),
        "netmask" | "netmask6" => Property::Field("source"),
        "message" => Property::Field("message"),
        "match" => match all("value").first().map(|value| value.trim_start_matches('$')) {
            None | Some("MESSAGE" | "MSG") => Property::Field("message"),
            Some("PROGRAM") => Property::Field("app"),
            Some("HOST") => Property::Field("host"),
            Some("PID") => Property::Field("procid"),
            Some("MSGID") => Property::Field("msgid"),
            Some(value) => return Err(format!("match(… value({value}))")),
        },
        _ => return Err(format!("{name}()")),
    };
    let kind = all("type").first().copied().unwrap_or("pcre");
    let test = match kind {
        _ if property == Property::Field("source") => Test::Is,
        _ if has("prefix") => Test::Begins,
        _ if has("substring") => Test::Contains,
        "string" => Test::Is,
        "pcre" | "posix" => Test::Regex,
        _ => return Err(format!("type({kind})")),
    };
    let ignore_case = has("ignore-case");
    let atom = Atom { property, test, values: words, ignore_case, not: false };
    Ok(vec![Part { pri: PriSet::ALL, atoms: vec![atom] }])
}

#[cfg(test)]
mod tests {
    use super::super::syntax;
    use super::*;
    use crate::cli::import::rsyslog::select;

    fn of(text: &str) -> Result<Parts, String> {
        let all = syntax::parse(&format!(
            "filter f_mail {{ facility(mail); }};\nfilter f_loop {{ filter(f_loop); }};\n\
             filter f {{ {text} }};"
        ))
        .unwrap();
        let filters = all.iter().map(|one| (one.name.clone(), one.tokens.clone())).collect();
        parts(&all[2].tokens, &filters, 0)
    }

    fn selected(text: &str) -> String {
        let parts = of(text).unwrap_or_else(|what| panic!("{text}: {what}"));
        let chains = parts.iter().map(|part| format!("{:?}", select::chain(part).unwrap()));
        chains.collect::<Vec<_>>().join(" + ")
    }

    #[test]
    fn filters_become_selectors() {
        for (text, wanted) in [
            ("facility(mail);", "[[(\"facility\", [\"mail\"])]]"),
            ("level(err..emerg);", "[[(\"severity\", [\"err\"])]]"),
            ("level(err .. emerg)", "[[(\"severity\", [\"err\"])]]"),
            ("level(notice);", "[[(\"severity\", [\"=notice\"])]]"),
            (
                "facility(kern..user) and not level(debug)",
                "[[(\"facility\", [\"kern\", \"user\"]), (\"severity\", [\"info\"])]]",
            ),
            (
                "filter(f_mail) and program(\"^post\")",
                "[[(\"facility\", [\"mail\"]), (\"app\", [\"~^post\"])]]",
            ),
            ("host('web1' type(string))", "[[(\"host\", [\"web1\"])]]"),
            ("netmask(10.0.0.0/8)", "[[(\"source\", [\"10.0.0.0/8\"])]]"),
            (
                "match(\"failed\" value(\"MESSAGE\") flags(ignore-case))",
                "[[(\"message\", [\"~(?i)failed\"])]]",
            ),
            ("program(a type(string)) or program(b type(string))", "[[(\"app\", [\"a\", \"b\"])]]"),
        ] {
            assert_eq!(selected(text), wanted, "{text}");
        }
        for (text, what) in [
            ("tags(\"x\")", "tags()"),
            ("in-list(\"/x\")", "in-list()"),
            ("filter(none)", "filter(none)"),
            ("filter(f_loop)", "filters that name each other"),
            ("facility(nothing)", "nothing"),
        ] {
            assert_eq!(of(text).unwrap_err(), what, "{text}");
        }
    }
}
