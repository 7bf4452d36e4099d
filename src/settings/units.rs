//! Sizes, times, rates and modes as users write them.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::limits;

const SIZE_UNITS: [(&str, u64); 5] =
    [("", 1), ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
const TIME_UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Parses a size such as `64MiB`.
///
/// # Errors
/// How to write it.
pub fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let wrong = "write a size as a number and KiB, MiB or GiB, as in \"64MiB\"";
    let Some((_, factor)) = SIZE_UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(match SIZE_UNITS.iter().find(|u| looks_like(u.0, unit)) {
            Some((name, _)) => format!("there is no unit `{unit}`: write {number}{name}"),
            None => wrong.into(),
        });
    };
    let number: u64 = number.parse().map_err(|_| wrong.to_owned())?;
    number.checked_mul(*factor).ok_or_else(|| "the size is too large".into())
}

/// Recognises `64M`, `64MB`, `64mib` and `64m` as `64MiB`.
fn looks_like(unit: &str, written: &str) -> bool {
    let (unit, written) = (unit.to_lowercase(), written.to_lowercase());
    !written.is_empty()
        && (unit == written
            || unit.replace('i', "") == written
            || unit.replace("ib", "") == written)
}

/// Parses a time such as `10s`.
///
/// # Errors
/// How to write it.
pub fn time(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let wrong = "write a time as a number and ms, s, m, h or d, as in \"10s\"";
    let factor = TIME_UNITS.iter().find(|(name, _)| *name == unit).ok_or(wrong)?.1;
    let number: u64 = number.parse().map_err(|_| wrong.to_owned())?;
    let time = number.checked_mul(factor).map(Duration::from_millis);
    time.filter(|time| *time <= limits::TIME_MAX)
        .ok_or_else(|| format!("a time can be at most {}", show_time(limits::TIME_MAX)))
}

/// Parses a rate such as `1000/s`: a number of lines per period.
///
/// # Errors
/// How to write it.
pub fn rate(text: &str) -> Result<(NonZeroU64, Duration), String> {
    let wrong = "write a rate as a number of lines and /s, /m, /h or /d, as in \"1000/s\"";
    let (lines, unit) = text.split_once('/').ok_or(wrong)?;
    let factor = TIME_UNITS[1..].iter().find(|(name, _)| *name == unit.trim()).ok_or(wrong)?.1;
    if !lines.trim().bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong.into());
    }
    let lines: u64 = lines.trim().parse().map_err(|_| wrong.to_owned())?;
    let lines = NonZeroU64::new(lines).ok_or("a rate of 0 would let no line pass")?;
    Ok((lines, Duration::from_millis(factor)))
}

/// Parses a file mode such as `0640`.
///
/// # Errors
/// How to write it.
pub fn mode(text: &str) -> Result<u32, String> {
    let wrong = "write a mode as octal digits, as in \"0640\"";
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong.into());
    }
    let mode = u32::from_str_radix(text, 8).map_err(|_| wrong.to_owned())?;
    if mode > 0o777 {
        return Err("a mode can be at most 0777".into());
    }
    if mode & 0o200 == 0 {
        return Err("the owner must be allowed to write, as in \"0640\"".into());
    }
    Ok(mode)
}

/// Parses a folder's mode such as `0750` or `2775`.
pub fn folder_mode(text: &str) -> Result<u32, String> {
    let wrong = "write a folder's mode as octal digits, as in \"0750\"";
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong.into());
    }
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode > 0o7777 => Err("a folder's mode can be at most 7777".into()),
        Ok(mode) if mode & 0o300 != 0o300 => {
            Err("the owner must be allowed to write and search, as in \"0750\"".into())
        }
        Ok(mode) => Ok(mode),
        Err(_) => Err(wrong.into()),
    }
}

/// Splits a number of ASCII digits, followed by optional blanks, from the unit.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// A size in the largest unit that divides it.
pub fn show_size(bytes: u64) -> String {
    let units = SIZE_UNITS[2..].iter().rev();
    match units.clone().find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor)) {
        Some((unit, factor)) => format!("{}{unit}", bytes / factor),
        None => format!("{bytes}B"),
    }
}

/// A time in the largest unit that divides it.
pub fn show_time(time: Duration) -> String {
    let millis = time.as_millis();
    let units = TIME_UNITS.iter().rev();
    match units
        .clone()
        .find(|(_, f)| millis >= u128::from(*f) && millis.is_multiple_of(u128::from(*f)))
    {
        Some((unit, factor)) => format!("{}{unit}", millis / u128::from(*factor)),
        None => format!("{millis}ms"),
    }
}

/// A rate as written in the configuration.
pub fn show_rate(lines: NonZeroU64, per: Duration) -> String {
    let per = show_time(per);
    format!("{lines}/{}", per.strip_prefix('1').unwrap_or(&per))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("512", 512),
            ("512B", 512),
            ("4KiB", 4096),
            ("64MiB", 64 << 20),
            ("10 GiB", 10 << 30),
            (" 0 ", 0),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for (text, message) in [
            ("", "write a size"),
            ("MiB", "write a size"),
            ("-1", "write a size"),
            ("1.5MiB", "write a size"),
            ("64MB", "there is no unit `MB`: write 64MiB"),
            ("64m", "there is no unit `m`: write 64MiB"),
            ("3gib", "there is no unit `gib`: write 3GiB"),
            ("99999999999GiB", "too large"),
            ("99999999999999999999", "write a size"),
        ] {
            let error = size(text).unwrap_err();
            assert!(error.contains(message), "{text}: {error}");
        }
    }

    #[test]
    fn times() {
        for (text, millis) in
            [("5ms", 5), ("10s", 10_000), ("2m", 120_000), ("1h", 3_600_000), ("7d", 604_800_000)]
        {
            assert_eq!(time(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "10", "s", "1w", "-1s", "1.5s", "1 h 5 m", "99999999999999999999s"] {
            assert!(time(text).unwrap_err().contains("write a time"), "{text}");
        }
        assert!(time("9999d").unwrap_err().contains("at most 366d"));
        assert!(time("18446744073709551615d").unwrap_err().contains("at most 366d"));
    }

    #[test]
    fn rates() {
        let (lines, per) = rate("1000/s").unwrap();
        assert_eq!((lines.get(), per), (1000, Duration::from_secs(1)));
        assert_eq!(rate("5 / d").unwrap().1, Duration::from_secs(86_400));
        for text in ["", "1000", "1000/", "/s", "+5/s", "-5/s", "1000/ms", "1000/w", "0/s"] {
            assert!(rate(text).is_err(), "{text}");
        }
        assert_eq!(show_rate(lines, per), "1000/s");
        let (lines, per) = rate("3/h").unwrap();
        assert_eq!(show_rate(lines, per), "3/h");
    }

    #[test]
    fn modes() {
        assert_eq!(mode("0640"), Ok(0o640));
        assert_eq!(mode("640"), Ok(0o640));
        for text in ["", "rw", "0o640", "0689", "+640", "7777", "0440", "99999999999999"] {
            assert!(mode(text).is_err(), "{text}");
        }
        assert_eq!((folder_mode("0750"), folder_mode("2775")), (Ok(0o750), Ok(0o2775)));
        for text in ["", "rwx", "0789", "17777", "0640", "0555", "99999999999999"] {
            assert!(folder_mode(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shown_as_written() {
        for text in ["1KiB", "64MiB", "3GiB", "513B", "0B"] {
            assert_eq!(show_size(size(text).unwrap()), text);
        }
        for text in ["5ms", "10s", "90m", "1h", "7d", "1500ms"] {
            assert_eq!(show_time(time(text).unwrap()), text);
        }
        assert_eq!(show_time(Duration::ZERO), "0ms");
    }
}
