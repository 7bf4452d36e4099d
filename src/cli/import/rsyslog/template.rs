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
    match object.get("type") {
        "list" => list(&object.inside_text),
        "string" | "" => Some(pieces(object.get("string"))),
        _ => None,
    }
}

/// The parts of `constant(value="…") property(name="…" …)`.
fn list(text: &str) -> Option<Vec<Piece>> {
    let mut found = Vec::new();
    for statement in super::syntax::parse(text) {
        let Body::Object(object) = statement.body else { return None };
        match object.kind.as_str() {
            "constant" => found.push(Piece::Text(object.get("value").into())),
            "property" => found.push(Piece::Property {
                name: object.get("name").to_ascii_lowercase(),
                range: match (object.get("position.from"), object.get("position.to")) {
                    ("", "") => String::new(),
                    (from, to) => format!("{from}:{to}"),
                },
                options: [
                    object.get("dateformat"),
                    object.get("spifno1stsp"),
                    object.get("format"),
                ]
                .iter()
                .filter(|option| !option.is_empty())
                .map(|option| match *option {
                    "on" => "sp-if-no-1st-sp".to_string(),
                    "json" | "jsonf" | "csv" => (*option).to_string(),
                    date => format!("date-{date}"),
                })
                .collect::<Vec<_>>()
                .join(","),
            }),
            _ => return None,
        }
    }
    Some(found)
}

/// Parses the text of a template, as in `%hostname% %msg%\n`.
pub(super) fn pieces(text: &str) -> Vec<Piece> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        if !before.is_empty() {
            found.push(Piece::Text(before.replace("\\n", "\n")));
        }
        let Some((property, next)) = after.split_once('%') else {
            rest = after;
            break;
        };
        let words: Vec<_> = property.split(':').collect();
        let word = |at: usize| words.get(at).copied().unwrap_or_default();
        let range = match (word(1), word(2)) {
            ("", "") => String::new(),
            (from, to) => format!("{from}:{to}"),
        };
        found.push(Piece::Property {
            name: word(0).to_ascii_lowercase(),
            range,
            options: word(3).to_ascii_lowercase(),
        });
        rest = next;
    }
    if !rest.is_empty() {
        found.push(Piece::Text(rest.replace("\\n", "\n")));
    }
    found
}

/// Converts a template to a file name; the error is what cannot be expressed.
pub(super) fn file_name(pieces: &[Piece]) -> Result<String, String> {
    let mut name = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => name += &text.replace('%', "%%"),
            Piece::Property { name: property, range, options } => {
                name += place(property, range, options).ok_or_else(|| property.clone())?;
            }
        }
    }
    match name.contains('\n') {
        true => Err("a newline".into()),
        false => Ok(name),
    }
}

/// The equivalent of a property in a file's name. Its values cannot leave the folder in any case,
/// which is what the options for that require.
fn place(name: &str, range: &str, options: &str) -> Option<&'static str> {
    const PLAIN: [&str; 4] = ["", "secpath-replace", "secpath-drop", "lowercase"];
    let time = ["timegenerated", "timereported", "timestamp"].contains(&name);
    Some(match (name, range, options) {
        (_, _, "date-year") if time => "%Y",
        (_, _, "date-month") if time => "%m",
        (_, _, "date-day") if time => "%d",
        (_, _, "date-hour") if time => "%H",
        (_, "1:10", "date-rfc3339") if time => "%Y-%m-%d",
        ("$year", ..) => "%Y",
        ("$month", ..) => "%m",
        ("$day", ..) => "%d",
        ("$hour", ..) => "%H",
        ("$minute", ..) => "%M",
        ("$now", ..) => "%Y-%m-%d",
        (_, "", options) if PLAIN.contains(&options) => match name {
            "hostname" | "source" => "{host}",
            "programname" | "app-name" => "{app}",
            "fromhost-ip" => "{source}",
            "syslogfacility-text" => "{facility}",
            "syslogseverity-text" | "syslogpriority-text" => "{severity}",
            "procid" => "{procid}",
            _ => return None,
        },
        _ => return None,
    })
}

/// The format equivalent to one of rsyslog's own templates.
pub(super) fn built_in(name: &str) -> Option<&'static str> {
    Some(match name.to_ascii_lowercase().as_str() {
        "rsyslog_fileformat" => "text",
        "rsyslog_traditionalfileformat" => "traditional",
        "rsyslog_syslogprotocol23format" | "rsyslog_forwardformat" => "rfc5424",
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
    for (at, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Text(text) => {
                let last = at + 1 == pieces.len();
                let text = if last { text.strip_suffix('\n').unwrap_or(text) } else { text };
                if text.contains('\n') {
                    return Err("a newline in the middle".into());
                }
                format += &text.replace('{', "{{").replace('}', "}}");
            }
            Piece::Property { name, range, options } => {
                // For rsyslog, the text of a legacy message begins with the space after the colon.
                let space =
                    name == "msg" && range.is_empty() && !spaced && options != "sp-if-no-1st-sp";
                format += if space { " " } else { "" };
                format += &field(name, range, options).ok_or_else(|| format!("%{name}%"))?;
                spaced = options == "sp-if-no-1st-sp";
            }
        }
    }
    Ok(format)
}

/// The equivalent of a property in a format.
fn field(name: &str, range: &str, options: &str) -> Option<String> {
    let time = |form: &str| Some(format!("{{time:{form}}}"));
    let json = options.split(',').any(|option| option == "json");
    let plain = |field: &str| match json {
        true => Some(format!("{{{field}:json}}")),
        false => Some(format!("{{{field}}}")),
    };
    match (name, range, options) {
        ("timestamp" | "timereported", "", "") => time("%b %e %H:%M:%S"),
        ("timestamp" | "timereported", "", "date-rfc3339") => time("%Y-%m-%dT%H:%M:%S%.f%:z"),
        ("timestamp" | "timereported", "", "date-unixtimestamp") => time("%s"),
        ("hostname" | "source", "", _) => plain("host"),
        ("programname" | "app-name", "", _) => plain("app"),
        ("procid", "", _) => plain("procid"),
        ("msgid", "", _) => plain("msgid"),
        ("fromhost-ip", "", _) => plain("source"),
        ("syslogtag", "", _) => plain("tag"),
        ("syslogfacility-text", "", _) => plain("facility"),
        ("syslogseverity-text" | "syslogpriority-text", "", _) => plain("severity"),
        ("pri", "", _) => plain("pri"),
        ("rawmsg", "", _) => plain("line"),
        ("msg", "", "" | "drop-last-lf") => plain("message"),
        ("msg", "2:$", _) => plain("message"),
        ("msg", "", _) if json => plain("message"),
        ("msg", "", "sp-if-no-1st-sp") => Some(" ".into()),
        _ => None,
    }
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
                "{time:%b %e %H:%M:%S} {host} {tag} {message}",
            ),
            ("{\"m\":\"%msg:2:$:json%\"}\\n", "{{\"m\":\"{message:json}\"}}"),
        ] {
            assert_eq!(format(&pieces(text)).as_deref(), Ok(wanted), "{text}");
        }
        assert_eq!(format(&pieces("%uuid%\\n")), Err("%uuid%".into()));
    }

    #[test]
    fn names_of_files_are_told_in_our_words() {
        let name = |text| file_name(&pieces(text));
        let text = "/l/%HOSTNAME%/%$YEAR%/%programname:::secpath-replace%.log";
        assert_eq!(name(text).as_deref(), Ok("/l/{host}/%Y/{app}.log"));
        let text = "/l/%HOSTNAME%/%timegenerated:1:10:date-rfc3339%/%programname%.log";
        assert_eq!(name(text).as_deref(), Ok("/l/{host}/%Y-%m-%d/{app}.log"));
        assert_eq!(name("/l/%uuid%"), Err("uuid".into()));
    }
}
