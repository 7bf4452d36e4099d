//! Headers that are not of RFC 5424: RFC 3164 in its many shapes, and none at all.
//!
//! Behind the time stand a host and a tag, or one of them, or neither. As in rsyslog, a word with
//! a colon right behind it is the tag, never the host, and a message without a time may yet have a
//! tag. A word that no host can be called is part of the text.

use std::net::IpAddr;

use super::cisco::{Cisco, mnemonic};
use super::{Fault, Message, Sent, Span, stamp};

/// So much of a message, from its time on, can be header.
const HEAD_MAX: usize = 512;
/// The longest name of a host (RFC 1035, section 2.3.4).
const HOST_MAX: usize = 255;
/// The longest tag where there is no time before it.
pub(super) const TAG_MAX: usize = 64;

/// Finds the parts behind the PRI, which ends at `at`.
pub(super) fn parse(line: &[u8], at: usize, message: &mut Message) {
    // One space may be between them and what follows.
    let text = at + usize::from(line.get(at) == Some(&b' '));
    message.text = Span::new(text, text).start;
    let start = behind_spaces(line, at);
    let cisco = Cisco::new(line, start);
    if let Some((sent, end)) = time(line, cisco.end) {
        message.sent = sent;
        behind_time(line, end, &cisco, message);
    } else if !tagged(line, cisco.end, message) {
        message.fault = Some(Fault::NoHeader);
    }
}

/// The time that begins at `at`, and where it ends. One of RFC 3339 that nothing follows is text.
fn time(line: &[u8], at: usize) -> Option<(Sent, usize)> {
    let found = stamp::read(line, at).or_else(|| stamp::nearly_iso(line, at))?;
    let is_alone = line[at].is_ascii_digit() && behind_spaces(line, found.1) == line.len();
    (!is_alone).then_some(found)
}

/// Finds the host, the tag and the text behind a time that ends at `end`.
fn behind_time(line: &[u8], end: usize, cisco: &Cisco, message: &mut Message) {
    message.host = cisco.origin;
    let mut at = behind_colon(line, end);
    if let Some((len, offset)) = stamp::zone(&line[at..]).filter(|zone| is_zone(line, at + zone.0))
    {
        if let Sent::Civil(time) = &mut message.sent {
            *time = time.with_offset(offset);
        }
        at = behind_colon(line, at + len);
    }
    message.text = Span::new(at, at).start;
    // A second time is text, and so is what follows where a year and an empty host stand.
    if forwarded(line, at, message)
        || stamp::read(line, at).is_some()
        || is_year_behind(&line[..end]) && line[end..].starts_with(b"  ")
    {
        return;
    }
    let first = word(line, at);
    let behind = at + first.len();
    if let Some(app) = first.strip_suffix(b":").filter(|app| !app.is_empty() && may_be_tag(app)) {
        message.app = Span::new(at, at + app.len());
        behind_app(line, app_and_number(app), cisco, message);
    } else if let Some((app, _)) = app_and_number(first).filter(|_| !may_be_host(first)) {
        message.app = Span::new(at, at + app);
        let text = behind_tag(line, message);
        message.text = Span::new(text, text).start;
    } else if may_be_host(first) {
        if first != b"-" {
            message.host = Span::new(at, behind);
        }
        behind_host(line, behind, cisco, message);
    } else {
        cisco_name(line, at, message);
    }
}

/// Finds the tag and the text behind a host that ends at `end`.
fn behind_host(line: &[u8], end: usize, cisco: &Cisco, message: &mut Message) {
    let at = end + usize::from(line.get(end) == Some(&b' '));
    let first = word(line, at);
    let app = &first[..first.iter().position(|byte| *byte == b':').unwrap_or(first.len())];
    let numbered = app_and_number(app).filter(|(_, len)| *len == app.len());
    let has_colon = first.len() > app.len();
    // Without a colon behind it, only what looks like a name is a tag.
    let looks_like_name = !app.iter().all(u8::is_ascii_digit) && app.iter().all(is_name);
    let is_tag = numbered.is_some() || if has_colon { may_be_tag(app) } else { looks_like_name };
    if !app.is_empty() && is_tag {
        message.app = Span::new(at, at + app.len());
        behind_app(line, numbered, cisco, message);
        return;
    }
    message.text = Span::new(at, at).start;
    if app.is_empty() && (tagged(line, behind_spaces(line, at), message)) {
        return;
    }
    let text = if line[end..].starts_with(b" : ") { end + 3 } else { at };
    message.text = Span::new(text, text).start;
    cisco_name(line, text, message);
}

/// Sets the app, its number and the text, where the app's span has its number too.
fn behind_app(line: &[u8], numbered: Option<(usize, usize)>, cisco: &Cisco, message: &mut Message) {
    let start = message.app.start as usize;
    if let Some((app, _)) = numbered {
        message.app = Span::new(start, start + app);
    }
    let text = behind_tag(line, message);
    message.text = Span::new(text, text).start;
    // What stands before Cisco's mnemonic is the host, or the zone of the time.
    if message.procid.is_empty()
        && message.host == cisco.origin
        && let Some((app, end)) = mnemonic(&line[text..])
    {
        if !cisco.is_numbered {
            message.host = message.app;
        }
        message.app = Span::new(text, text + app);
        message.text += Span::new(end, end).start;
    }
}

/// Takes Cisco's mnemonic at `at` for the app, where one is there.
fn cisco_name(line: &[u8], at: usize, message: &mut Message) {
    if let Some((app, end)) = mnemonic(&line[at..]) {
        message.app = Span::new(at, at + app);
        message.text = Span::new(at + end, at + end).start;
    }
}

/// What AIX puts before a message that it passes on: `Message forwarded from HOST: TAG…`.
fn forwarded(line: &[u8], at: usize, message: &mut Message) -> bool {
    const WORDS: &[u8] = b"Message forwarded from ";
    let Some(rest) = line[at..].strip_prefix(WORDS) else { return false };
    let host = rest.iter().take(HOST_MAX).take_while(|byte| is_name(byte)).count();
    if host == 0 || !rest[host..].starts_with(b": ") {
        return false;
    }
    let start = at + WORDS.len();
    message.host = Span::new(start, start + host);
    let behind = start + host + b": ".len();
    message.text = Span::new(behind, behind).start;
    tagged(line, behind, message);
    true
}

/// Finds `[procid]`, the colon and the one space behind the app, where they are; where the text
/// begins.
fn behind_tag(line: &[u8], message: &mut Message) -> usize {
    let mut at = message.app.end as usize;
    let head = &line[at..line.len().min(at + HEAD_MAX)];
    if head.first() == Some(&b'[')
        && let Some(end) = memchr::memchr(b']', head)
    {
        message.procid = Span::new(at + 1, at + end);
        at += end + 1;
    }
    at += usize::from(line.get(at) == Some(&b':'));
    at + usize::from(line.get(at) == Some(&b' '))
}

/// A tag without a time before it: `su: …`, `su[12]: …`.
fn tagged(line: &[u8], at: usize, message: &mut Message) -> bool {
    let head = &line[at..line.len().min(at + TAG_MAX)];
    let app = head.iter().take_while(|byte| is_name(byte)).count();
    let mut end = app;
    if head.get(app) == Some(&b'[') {
        let digits = head[app + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        end += digits + 2;
        if digits == 0 || head.get(end - 1) != Some(&b']') {
            return false;
        }
    }
    let colon = head.get(end) == Some(&b':') && matches!(head.get(end + 1), None | Some(b' '));
    if app == 0 || !colon {
        return false;
    }
    message.app = Span::new(at, at + app);
    let text = behind_tag(line, message);
    message.text = Span::new(text, text).start;
    true
}

/// What the names of programs and hosts are made of.
pub(super) fn is_name(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-./%".contains(byte)
}

/// Whether a host can be called so (RFC 3164, section 4.1.2: a name or an address). A word with one
/// of these signs in it cannot be one, nor can one in brackets but an address, nor a time.
fn may_be_host(word: &[u8]) -> bool {
    const NEVER: &[u8] = b"{}()<>\"'=,;|*?\\[]";
    let is_never = |byte: &u8| byte.is_ascii_control() || NEVER.contains(byte);
    let is_plain = !word.iter().any(is_never);
    !word.is_empty()
        && word.len() <= HOST_MAX
        && (is_plain || is_address_in_brackets(word))
        && !word.ends_with(b":")
        && stamp::nearly_iso(word, 0).is_none()
        && !is_date_or_clock(word)
}

/// `2026-11-27`, `27.11.2026` or `10:00:00,123`: a program that writes the time itself.
fn is_date_or_clock(word: &[u8]) -> bool {
    let has_form = |form: &[u8]| {
        word.len() >= form.len()
            && word.iter().zip(form).all(|(byte, form)| match form {
                b'0' => byte.is_ascii_digit(),
                b'-' => matches!(byte, b'-' | b'/' | b'.'),
                _ => byte == form,
            })
    };
    let ends_at = |len: usize| word.get(len).is_none_or(|byte| matches!(byte, b'.' | b','));
    word.len() == 10 && (has_form(b"0000-00-00") || has_form(b"00-00-0000"))
        || has_form(b"00:00:00") && ends_at(8)
}

/// `[2001:db8::1]`, with a port or without.
fn is_address_in_brackets(word: &[u8]) -> bool {
    let Some((address, behind)) =
        std::str::from_utf8(word).ok().and_then(|word| word.strip_prefix('[')?.split_once(']'))
    else {
        return false;
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    address.parse::<IpAddr>().is_ok()
        && (behind.is_empty() || behind.strip_prefix(':').is_some_and(is_port))
}

/// Whether a word with a colon behind it can be a tag: no JSON, no list of `name=value`.
fn may_be_tag(app: &[u8]) -> bool {
    const NEVER: &[u8] = b"{}\"'<>=;|";
    app_and_number(app).is_some() || !app.iter().any(|byte| NEVER.contains(byte))
}

/// The length of `app` in `app[12]`, and that of both; there may be more behind it.
fn app_and_number(word: &[u8]) -> Option<(usize, usize)> {
    let app = word.iter().position(|byte| matches!(byte, b'[' | b':'))?;
    if app == 0 || word[app] != b'[' {
        return None;
    }
    let len = memchr::memchr(b']', &word[app..]).filter(|len| *len > 1)?;
    Some((app, app + len + 1))
}

/// Whether a word that ends at `end` is a zone, by what follows: a colon, a host or a tag.
fn is_zone(line: &[u8], end: usize) -> bool {
    let next = word(line, behind_spaces(line, end));
    !next.is_empty() && !next.iter().all(u8::is_ascii_digit)
}

/// Whether a time ends with its year, as in `Nov 27 10:00:00 2026`.
fn is_year_behind(time: &[u8]) -> bool {
    matches!(time, [.., b' ', a, b, c, d] if [a, b, c, d].iter().all(|y| y.is_ascii_digit()))
}

/// What stands at `at`, up to a space; of a long word, no more than a header can have.
fn word(line: &[u8], at: usize) -> &[u8] {
    let head = &line[at..line.len().min(at + HEAD_MAX)];
    let len = head.iter().position(u8::is_ascii_whitespace).unwrap_or(head.len());
    &head[..len]
}

/// Behind one colon at `at` or behind the spaces there, and the spaces that follow it.
fn behind_colon(line: &[u8], at: usize) -> usize {
    let start = behind_spaces(line, at);
    match line.get(start) {
        Some(b':') if matches!(line.get(start + 1), None | Some(b' ')) => {
            behind_spaces(line, start + 1)
        }
        _ => start,
    }
}

fn behind_spaces(line: &[u8], at: usize) -> usize {
    at + line[at..].iter().take_while(|byte| **byte == b' ').count()
}
