//! syslog-ng's macros: in the names of files, and in templates.

/// The equivalent of a macro in a file's name.
fn in_name(name: &str) -> Option<&'static str> {
    let plain = name.strip_prefix("R_").or_else(|| name.strip_prefix("S_")).unwrap_or(name);
    Some(match plain.strip_prefix("C_").unwrap_or(plain) {
        "YEAR" => "%Y",
        "MONTH" => "%m",
        "DAY" => "%d",
        "HOUR" => "%H",
        "MIN" => "%M",
        "HOST" | "FULLHOST" => "{host}",
        "PROGRAM" => "{app}",
        "FACILITY" => "{facility}",
        "LEVEL" | "PRIORITY" | "SEVERITY" => "{severity}",
        "SOURCEIP" => "{source}",
        "PID" => "{procid}",
        _ => return None,
    })
}

/// The equivalent of a macro in a template.
fn in_format(name: &str) -> Option<String> {
    let (clock, plain) = match name.split_once('_') {
        Some(("R" | "C", plain)) => ("received", plain),
        Some(("S", plain)) => ("time", plain),
        _ => ("time", name),
    };
    let time = |format: &str| Some(format!("{{{clock}:{format}}}"));
    match plain {
        "DATE" => time("%b %e %H:%M:%S"),
        "FULLDATE" => time("%Y %b %e %H:%M:%S"),
        "ISODATE" => Some(format!("{{{clock}}}")),
        "YEAR" => time("%Y"),
        "MONTH" => time("%m"),
        "DAY" => time("%d"),
        "HOUR" => time("%H"),
        "MIN" => time("%M"),
        "SEC" => time("%S"),
        _ => Some(
            match name {
                "HOST" | "FULLHOST" => "{host}",
                "PROGRAM" => "{app}",
                "PID" => "{procid}",
                "MSGID" => "{msgid}",
                "MSGHDR" => "{tag} ",
                "MSG" | "MESSAGE" | "MSGONLY" => "{message}",
                "FACILITY" => "{facility}",
                "LEVEL" | "PRIORITY" | "SEVERITY" => "{severity}",
                "PRI" => "{pri}",
                "SOURCEIP" => "{source}",
                "RAWMSG" => "{line}",
                "SDATA" => "{sd}",
                _ => return None,
            }
            .to_string(),
        ),
    }
}

/// A text with its macros replaced; the error is the macro that has no equivalent.
fn replaced(
    text: &str,
    plain: impl Fn(&str) -> String,
    of: impl Fn(&str) -> Option<String>,
) -> Result<String, String> {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('$') {
        out += &plain(before);
        if let Some(after) = after.strip_prefix('$') {
            out += &plain("$");
            rest = after;
            continue;
        }
        let (name, behind) = match after.strip_prefix('{') {
            Some(inside) => inside.split_once('}').ok_or("a macro without its end")?,
            None => {
                let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let end = after.find(|c| !is_part(c)).unwrap_or(after.len());
                after.split_at(end)
            }
        };
        out += &of(name).ok_or_else(|| format!("the macro ${name}"))?;
        rest = behind;
    }
    Ok(out + &plain(rest))
}

/// What rewrite rules have set, by the names of macros.
pub(super) type Sets = Vec<(String, String)>;

/// A text in which what was set stands in the place of its macros; the error is a macro that is
/// made of several others.
pub(super) fn with_sets(text: &str, sets: &Sets) -> Result<String, String> {
    if sets.is_empty() {
        return Ok(text.to_string());
    }
    let plain = |plain: &str| if plain == "$" { "$$".into() } else { plain.to_string() };
    let header = sets.iter().find(|(set, _)| ["PROGRAM", "PID"].contains(&set.as_str()));
    if let Some((set, _)) = header
        && text.contains("MSGHDR")
    {
        return Err(format!("the macro $MSGHDR, of which a rule sets {set}"));
    }
    replaced(text, plain, |name| {
        let name = full_name(name);
        let set = sets.iter().find(|(set, _)| set == name);
        Some(set.map_or_else(|| format!("${{{name}}}"), |(_, text)| text.clone()))
    })
}

/// The name of a macro that has several.
pub(super) fn full_name(name: &str) -> &str {
    match name {
        "MSG" | "MSGONLY" => "MESSAGE",
        "FULLHOST" => "HOST",
        name => name,
    }
}

/// The name of a file; the error is what cannot be expressed.
pub(super) fn file_name(text: &str) -> Result<String, String> {
    if text.replace("${", "").contains('{') {
        return Err("braces".into());
    }
    replaced(text, |plain| plain.replace('%', "%%"), |name| in_name(name).map(str::to_string))
}

/// The format of a template; the error is what cannot be expressed.
pub(super) fn format(text: &str) -> Result<String, String> {
    let Some(line) = text.strip_suffix('\n') else {
        return Err("no newline at its end".into());
    };
    if line.contains('\n') || line.replace("${", "").contains('{') || line.contains("$(") {
        return Err("newlines, braces or functions".into());
    }
    let made = replaced(line, str::to_string, in_format)?;
    Ok(match made.as_str() {
        "{time:%b %e %H:%M:%S} {host} {tag} {message}" => "traditional".into(),
        "{time} {host} {tag} {message}" => "text".into(),
        _ => made,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_rule_sets_stands_in_the_place_of_its_macros() {
        let sets =
            vec![("HOST".into(), "web 1".into()), ("MESSAGE".into(), "x: ${MESSAGE}".into())];
        let with = |text| with_sets(text, &sets);
        assert_eq!(with("$HOST $$ ${MSG}%\n").as_deref(), Ok("web 1 $$ x: ${MESSAGE}%\n"));
        assert_eq!(with("$DATE $MSGHDR").as_deref(), Ok("${DATE} ${MSGHDR}"));
        let sets = vec![("PID".into(), "1".into())];
        assert!(with_sets("$MSGHDR$MSG", &sets).is_err());
    }

    #[test]
    fn macros_have_an_equivalent_or_are_named() {
        for (text, wanted) in [
            ("/log/$HOST/$PROGRAM.log", Ok("/log/{host}/{app}.log")),
            ("/log/${HOST}-$R_YEAR-${S_MONTH}-100%", Ok("/log/{host}-%Y-%m-100%%")),
            ("/log/$$x", Ok("/log/$x")),
            ("/log/${.SDATA.x}", Err("the macro $.SDATA.x")),
            ("/log/${HOST", Err("a macro without its end")),
        ] {
            let made = file_name(text);
            assert_eq!(made.as_deref().map_err(String::as_str), wanted, "{text}");
        }
        for (text, wanted) in [
            ("$DATE $HOST $MSGHDR$MSG\n", Ok("traditional")),
            ("${ISODATE} ${HOST} ${MSGHDR}${MESSAGE}\n", Ok("text")),
            ("$R_HOUR $FACILITY: $MSG\n", Ok("{received:%H} {facility}: {message}")),
            ("$MSG", Err("no newline at its end")),
            ("$(echo $MSG)\n", Err("newlines, braces or functions")),
            ("$SEQNUM\n", Err("the macro $SEQNUM")),
        ] {
            let made = format(text);
            assert_eq!(made.as_deref().map_err(String::as_str), wanted, "{text}");
        }
    }
}
