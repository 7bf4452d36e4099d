//! rsyslog's templates: as a line format, or as a file name.

use super::syntax::{Body, Object};

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Literal text.
    Text(String),
    /// `%name:from:to:options%`, in lower case.
    Property { name: String, range: String, options: String },
}

/// Reads the template of an object; `None` if its type is not understood.
pub(super) fn read(object: &Object) -> Option<Vec<Piece>> {
    let found = match object.get("type") {
        "list" => list(&object.inside_text)?,
        "string" | "" => pieces(object.get("string")),
        _ => return None,
    };
    if object.get("option.jsonf") != "on" {
        return Some(found);
    }
    // An object of JSON, whose members are the parts.
    let mut all = vec![Piece::Text("{".into())];
    for (at, piece) in found.into_iter().enumerate() {
        // A name precedes each value.
        if at > 0 && matches!(piece, Piece::Text(_)) {
            all.push(Piece::Text(", ".into()));
        }
        all.push(piece);
    }
    all.push(Piece::Text("}\n".into()));
    Some(all)
}

/// The parts of `constant(value="…") property(name="…" …)`.
fn list(text: &str) -> Option<Vec<Piece>> {
    let mut found = Vec::new();
    for statement in super::syntax::parse(text) {
        let Body::Object(object) = statement.body else { return None };
        let is_member = object.get("format") == "jsonf";
        let name = match object.get("outname") {
            "" => object.get("name"),
            name => name,
        };
        match object.kind.as_str() {
            "constant" if is_member => {
                let value = object.get("value").replace('\\', "\\\\").replace('"', "\\\"");
                found.push(Piece::Text(format!("\"{name}\":\"{value}\"")));
            }
            "constant" => found.push(Piece::Text(object.get("value").into())),
            "property" => {
                if is_member {
                    found.push(Piece::Text(format!("\"{name}\":")));
                }
                found.push(property(&object));
            }
            _ => return None,
        }
    }
    Some(found)
}

/// A property in a list; what has no equivalent is among its options.
fn property(object: &Object) -> Piece {
    let mut options = Vec::new();
    for (key, value) in &object.keys {
        match (key.as_str(), value.as_str()) {
            ("name" | "outname" | "position.from" | "position.to" | "datatype", _)
            | (_, "" | "off") => {}
            ("dateformat", form) => options.push(format!("date-{form}")),
            ("spifno1stsp", _) => options.push("sp-if-no-1st-sp".into()),
            ("droplastlf", _) => options.push("drop-last-lf".into()),
            ("caseconversion", case) => options.push(format!("{case}case")),
            ("securepath", way) => options.push(format!("secpath-{way}")),
            ("controlcharacters", way) => options.push(format!("{way}-cc")),
            ("format", form) => options.push(form.to_string()),
            (key, _) => options.push(key.to_string()),
        }
    }
    Piece::Property {
        name: object.get("name").to_ascii_lowercase(),
        range: match (object.get("position.from"), object.get("position.to")) {
            ("", "") => String::new(),
            (from, "") => format!("{from}:$"),
            (from, to) => format!("{from}:{to}"),
        },
        options: options.join(",").to_ascii_lowercase(),
    }
}

/// Parses the text of a template, as in `%hostname% %msg%\n`.
pub(super) fn pieces(text: &str) -> Vec<Piece> {
    let (mut found, mut literal) = (Vec::new(), String::new());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => literal.push('\n'),
                Some('r') => literal.push('\r'),
                Some('t') => literal.push('\t'),
                Some(digit) if digit.is_digit(8) => {
                    let mut code = digit.to_digit(8).unwrap_or_default();
                    while let Some(next) = chars.peek().and_then(|c| c.to_digit(8)) {
                        code = (code * 8 + next) & 0xff;
                        chars.next();
                    }
                    literal.extend(char::from_u32(code));
                }
                Some(other) => literal.push(other),
                None => {}
            },
            '%' => {
                let inside: String = chars.by_ref().take_while(|c| *c != '%').collect();
                if !literal.is_empty() {
                    found.push(Piece::Text(std::mem::take(&mut literal)));
                }
                place_in_text(&inside, &mut found);
            }
            c => literal.push(c),
        }
    }
    if !literal.is_empty() {
        found.push(Piece::Text(literal));
    }
    found
}

/// `name:from:to:options:outname`.
fn place_in_text(text: &str, found: &mut Vec<Piece>) {
    let words: Vec<_> = text.split(':').collect();
    let word = |at: usize| words.get(at).copied().unwrap_or_default();
    let range = match (word(1), word(2)) {
        ("", "") => String::new(),
        (from, to) => format!("{from}:{to}"),
    };
    let (name, options) = (word(0).to_ascii_lowercase(), word(3).to_ascii_lowercase());
    if options.split(',').any(|option| option == "jsonf") {
        let name = if word(4).is_empty() { &name } else { word(4) };
        found.push(Piece::Text(format!("\"{name}\":")));
    }
    found.push(Piece::Property { name, range, options });
}

/// Converts a template to a file name; the error is what cannot be expressed.
pub(super) fn file_name(pieces: &[Piece]) -> Result<String, String> {
    let mut name = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => name += &text.replace('%', "%%"),
            Piece::Property { name: property, range, options } => {
                name += &place(property, range, options).ok_or_else(|| told(piece))?;
            }
        }
    }
    match name.contains('\n') {
        true => Err("a newline".into()),
        false => Ok(name),
    }
}

/// Returns whether a file's name has a part of the time in it, which rsyslog takes in local time.
pub(in crate::cli::import) fn has_time(name: &str) -> bool {
    name.replace("%%", "").contains('%')
}

/// The equivalent of a property in a file's name. Its values cannot leave the folder in any case,
/// which is what the options for that require.
fn place(name: &str, range: &str, options: &str) -> Option<String> {
    let others = options
        .split(',')
        .filter(|option| !["", "drop-last-lf", "secpath-replace", "secpath-drop"].contains(option));
    let others: Vec<_> = others.collect();
    if let Some((_, form)) = clock(name, range, &others) {
        return form.map(str::to_string).filter(|form| !form.contains('/'));
    }
    let field = match (name, range, &others[..]) {
        (name, "", []) => field_of(name)?,
        _ => return None,
    };
    Some(format!("{{{field}}}"))
}

/// A property as it stands in a template.
fn told(piece: &Piece) -> String {
    match piece {
        Piece::Text(text) => text.clone(),
        Piece::Property { name, range, options } => {
            let range = if range.is_empty() && !options.is_empty() { ":" } else { range };
            let parts = [name.as_str(), range, options];
            let parts = parts.into_iter().filter(|part| !part.is_empty());
            format!("%{}%", parts.collect::<Vec<_>>().join(":"))
        }
    }
}

/// The format equivalent to one of rsyslog's own templates.
pub(super) fn built_in(name: &str) -> Option<&'static str> {
    Some(match name.to_ascii_lowercase().as_str() {
        "rsyslog_fileformat" => "text",
        "rsyslog_traditionalfileformat" | "rsyslog_sysklogdfileformat" => "traditional",
        "rsyslog_syslogprotocol23format" | "rsyslog_syslogrfc5424format" => "rfc5424",
        "rsyslog_forwardformat" => "<{pri}>{time} {host} {tag} {message}",
        "rsyslog_traditionalforwardformat" => "rfc3164",
        _ => return None,
    })
}

/// Converts a template to a line format; the error is what cannot be expressed.
pub(super) fn format(pieces: &[Piece]) -> Result<String, String> {
    let is = |piece: &Piece, wanted: &str| match piece {
        Piece::Property { name, range, .. } => name == wanted && range.is_empty(),
        Piece::Text(_) => false,
    };
    match pieces {
        [raw, Piece::Text(end)] if is(raw, "rawmsg") && end == "\n" => return Ok("line".into()),
        [raw] if is(raw, "rawmsg") => return Ok("line".into()),
        _ => {}
    }
    let mut format = String::new();
    // True once the space before a message has been written.
    let mut spaced = false;
    // True if the quotes around a value have been taken away, because the value brings its own.
    let mut quoted = false;
    for (at, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Text(text) => {
                let last = at + 1 == pieces.len();
                let mut text =
                    if last { text.strip_suffix('\n').unwrap_or(text) } else { text.as_str() };
                if text.contains(['\n', '\r', '\0']) {
                    return Err("a newline in the middle".into());
                }
                if std::mem::take(&mut quoted) {
                    text = text.strip_prefix('"').ok_or("a JSON value in a longer text")?;
                }
                format += &text.replace('{', "{{").replace('}', "}}");
            }
            Piece::Property { name, range, options } => {
                let options: Vec<_> = options
                    .split(',')
                    .filter(|option| !["", "drop-last-lf", "escape-cc"].contains(option))
                    .collect();
                let is_quoted = options.contains(&"json");
                if is_quoted {
                    // The value has quotes of its own.
                    let before = format.strip_suffix('"').map(str::len);
                    format.truncate(before.ok_or("a JSON value in a longer text")?);
                }
                // For rsyslog, the text of a legacy message begins with the space after the colon.
                let is_space = options == ["sp-if-no-1st-sp"];
                let space = name == "msg" && range.is_empty() && !spaced && options.is_empty();
                format += if space { " " } else { "" };
                format += &field(name, range, &options).ok_or_else(|| told(piece))?;
                (spaced, quoted) = (is_space, is_quoted);
            }
        }
    }
    match quoted {
        true => Err("a JSON value in a longer text".into()),
        false => Ok(known(format)),
    }
}

/// The name of a format that says the same.
fn known(format: String) -> String {
    let name = match format.as_str() {
        "{time:%b %e %H:%M:%S} {host} {tag} {message}" => "traditional",
        "{time} {host} {tag} {message}" => "text",
        "<{pri}>{time:%b %e %H:%M:%S} {host} {tag} {message}" => "rfc3164",
        "<{pri}>1 {time} {host} {app} {procid} {msgid} {sd} {message}"
        | "<{pri}>1 {time} {host} {app} {procid} {msgid} {sd}  {message}" => "rfc5424",
        _ => return format,
    };
    name.into()
}

/// The equivalent of a time: which one, and how it is written, if that can be said; `None` if it is
/// no time.
fn clock(
    name: &str,
    range: &str,
    options: &[&str],
) -> Option<(&'static str, Option<&'static str>)> {
    let which = match name {
        "timestamp" | "timereported" => "time",
        "timegenerated" => "received",
        _ => {
            let form = match name {
                "$year" => "%Y",
                "$month" => "%m",
                "$day" => "%d",
                "$hour" => "%H",
                "$minute" => "%M",
                "$now" => "%Y-%m-%d",
                _ => return None,
            };
            return Some(("received", Some(form).filter(|_| range.is_empty())));
        }
    };
    let form = match (range, options) {
        ("", [] | ["date-rfc3164"]) => "%b %e %H:%M:%S",
        ("1:3", [] | ["date-rfc3164"]) => "%b",
        ("1:6", [] | ["date-rfc3164"]) => "%b %e",
        ("8:12", [] | ["date-rfc3164"]) => "%H:%M",
        ("8:15", [] | ["date-rfc3164"]) => "%H:%M:%S",
        ("", ["date-rfc3164-buggyday"]) => "%b %d %H:%M:%S",
        // As a whole it is written without a form.
        ("", ["date-rfc3339"]) => "",
        ("1:10", ["date-rfc3339"]) => "%Y-%m-%d",
        ("1:19", ["date-rfc3339"]) => "%Y-%m-%dT%H:%M:%S",
        ("12:19", ["date-rfc3339"]) => "%H:%M:%S",
        ("", ["date-unixtimestamp"]) => "%s",
        ("", ["date-mysql"]) => "%Y%m%d%H%M%S",
        ("", ["date-pgsql"]) => "%Y-%m-%d %H:%M:%S",
        ("", ["date-year"]) => "%Y",
        ("", ["date-month"]) => "%m",
        ("", ["date-day"]) => "%d",
        ("", ["date-hour"]) => "%H",
        ("", ["date-minute"]) => "%M",
        ("", ["date-second"]) => "%S",
        ("", ["date-wdayname"]) => "%a",
        ("", ["date-ordinal"]) => "%j",
        _ => return Some((which, None)),
    };
    Some((which, Some(form)))
}

/// The field that a property is.
fn field_of(name: &str) -> Option<&'static str> {
    Some(match name {
        "hostname" | "source" => "host",
        "programname" => "program",
        "app-name" => "app",
        "procid" => "procid",
        "msgid" => "msgid",
        "fromhost-ip" => "source",
        "syslogfacility-text" => "facility",
        "syslogseverity-text" | "syslogpriority-text" => "severity",
        _ => return None,
    })
}

/// The equivalent of a property in a format.
fn field(name: &str, range: &str, options: &[&str]) -> Option<String> {
    let mut styles = options.iter().filter(|option| !option.starts_with("date-"));
    let style = match styles.next() {
        // Of two, only one could be kept.
        Some(_) if styles.next().is_some() => return None,
        None => "",
        Some(&("json" | "jsonf")) => ":json",
        Some(&"csv") => ":csv",
        Some(&"lowercase") => ":lower",
        Some(&"uppercase") => ":upper",
        Some(&"sp-if-no-1st-sp") if name == "msg" => return Some(" ".into()),
        Some(_) => return None,
    };
    let dates: Vec<_> = options.iter().copied().filter(|one| one.starts_with("date-")).collect();
    if let Some((which, form)) = clock(name, range, &dates) {
        return match (form?, style) {
            ("", style) => Some(format!("{{{which}{style}}}")),
            (form, "") => Some(format!("{{{which}:{form}}}")),
            // A time has no sign that would have to be escaped.
            (form, ":json") => Some(format!("\"{{{which}:{form}}}\"")),
            _ => None,
        };
    }
    let field = match (name, range) {
        ("msg", "" | "2:$") => "message",
        // What is longer is no tag.
        ("syslogtag", "" | "1:32") => "tag",
        ("pri", "") => "pri",
        ("pri-text", "") => return Some("{facility}.{severity}".into()),
        ("structured-data", "") => "sd",
        ("rawmsg", "") => "line",
        (name, "") => field_of(name)?,
        _ => return None,
    };
    Some(format!("{{{field}{style}}}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_in_our_words() {
        for (text, wanted) in [
            ("%rawmsg%\\n", "line"),
            ("%msg:2:$%\\n", "{message}"),
            ("%syslogtag%%msg%\\n", "{tag} {message}"),
            (
                "%timestamp% %hostname% %syslogtag%%msg:::sp-if-no-1st-sp%%msg:::drop-last-lf%\\n",
                "traditional",
            ),
            ("{\"m\":\"%msg:2:$:json%\"}\\n", "{{\"m\":{message:json}}}"),
            (
                "%timegenerated% %pri-text% x\\45\\\\\\%",
                "{received:%b %e %H:%M:%S} {facility}.{severity} x%\\%",
            ),
            (
                "%timereported:::date-rfc3339%,%hostname:::uppercase%,%msg:::csv%",
                "{time},{host:upper},{message:csv}",
            ),
            ("{%msg:::jsonf:text%}", "{{\"text\":{message:json}}}"),
            (
                "<%PRI%>%TIMESTAMP% %HOSTNAME% %syslogtag:1:32%%msg:::sp-if-no-1st-sp%%msg%",
                "rfc3164",
            ),
        ] {
            assert_eq!(format(&pieces(text)).as_deref(), Ok(wanted), "{text}");
        }
        for (text, what) in [
            ("%uuid%\\n", "%uuid%"),
            ("%hostname:::csv,uppercase%\\n", "%hostname:::csv,uppercase%"),
            ("%msg:R,ERE,1,FIELD:a(b)--end%\\n", "%msg:R,ERE,1,FIELD:a(b)--end%"),
            ("%msg:1:80%\\n", "%msg:1:80%"),
            ("a \"b %msg:::json%\"", "a JSON value in a longer text"),
        ] {
            assert_eq!(format(&pieces(text)), Err(what.into()), "{text}");
        }
    }

    #[test]
    fn names_of_files_are_told_in_our_words() {
        let name = |text| file_name(&pieces(text));
        let text = "/l/%HOSTNAME%/%$YEAR%/%programname:::secpath-replace%.log";
        assert_eq!(name(text).as_deref(), Ok("/l/{host}/%Y/{program}.log"));
        let text = "/l/%HOSTNAME%/%timegenerated:1:10:date-rfc3339%/%programname%.log";
        assert_eq!(name(text).as_deref(), Ok("/l/{host}/%Y-%m-%d/{program}.log"));
        assert_eq!(name("/l/%uuid%"), Err("%uuid%".into()));
    }
}
