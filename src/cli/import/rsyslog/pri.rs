//! Facilities and severities: selectors such as `*.info;mail.none`, as sets with set operations and
//! a conversion to logweir's selectors.

use crate::parse::syslog::names::{self, FACILITIES, SEVERITIES};

/// For each facility, the selected severities, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli::import) struct PriSet([u8; 24]);

impl PriSet {
    /// All messages.
    pub(in crate::cli::import) const ALL: Self = Self([0xff; 24]);
    /// No message.
    pub(in crate::cli::import) const NONE: Self = Self([0; 24]);

    /// Parses a selector; `None` if it is invalid.
    pub(in crate::cli::import) fn parse(text: &str) -> Option<Self> {
        let mut set = Self::NONE;
        let mut rest = text.trim_start_matches(';');
        while !rest.is_empty() {
            // A comma ends a severity as a semicolon does.
            let (facilities, after) = rest.split_once('.')?;
            let (severity, next) = after.split_at(after.find([',', ';']).unwrap_or(after.len()));
            rest = next.trim_start_matches([',', ';']);
            let (mask, adds) = severities(severity)?;
            for facility in facilities.split(',') {
                let one = match facility {
                    // rsyslog's marks have a facility of their own, which no message has.
                    "mark" => continue,
                    "*" => None,
                    name => Some(usize::from(names::facility(&name.to_ascii_lowercase())?)),
                };
                for (at, severities) in set.0.iter_mut().enumerate() {
                    if one.is_none_or(|one| one == at) {
                        match adds {
                            true => *severities |= mask,
                            false => *severities &= !mask,
                        }
                    }
                }
            }
        }
        text.contains('.').then_some(set)
    }

    /// The messages of a facility.
    pub(in crate::cli::import) fn facility(name: &str) -> Option<Self> {
        let facility = names::facility(&name.to_ascii_lowercase())
            .or_else(|| name.parse().ok().filter(|number| *number < 24))?;
        let mut set = Self::NONE;
        set.0[usize::from(facility)] = 0xff;
        Some(set)
    }

    /// The messages whose PRI satisfies `wanted`.
    pub(in crate::cli::import) fn of(wanted: impl Fn(u8) -> bool) -> Self {
        let mut set = Self::NONE;
        for pri in (0..192).filter(|pri| wanted(*pri)) {
            set.0[usize::from(pri / 8)] |= 1 << (pri % 8);
        }
        set
    }

    /// The messages whose severity number satisfies `wanted`.
    pub(in crate::cli::import) fn severity(wanted: impl Fn(u8) -> bool) -> Self {
        let mask = (0..8).filter(|severity| wanted(*severity)).fold(0, |mask, s| mask | 1 << s);
        Self([mask; 24])
    }

    /// The messages in both.
    pub(in crate::cli::import) fn and(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] & other.0[at]))
    }

    /// The messages in either.
    pub(in crate::cli::import) fn or(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] | other.0[at]))
    }

    /// All other messages.
    pub(in crate::cli::import) fn not(self) -> Self {
        Self(self.0.map(|severities| !severities))
    }

    /// The numbers of the priorities, as they precede a message.
    pub(in crate::cli::import) fn numbers(self) -> Vec<u8> {
        (0..192_u8).filter(|pri| self.0[usize::from(pri / 8)] >> (pri % 8) & 1 == 1).collect()
    }

    /// The set as disjoint selectors: facilities (none: all of them) and severities (none: all of
    /// them).
    pub(in crate::cli::import) fn selectors(self) -> Vec<(Vec<String>, Vec<String>)> {
        let mut done: Vec<u8> = vec![0];
        let mut selectors = Vec::new();
        for mask in self.0 {
            if done.contains(&mask) {
                continue;
            }
            done.push(mask);
            let all = self.0.iter().all(|other| *other == mask);
            let of = |(at, _): &(usize, &&str)| !all && self.0[*at] == mask;
            let facilities = FACILITIES.iter().enumerate().filter(of);
            let facilities = facilities.map(|(_, name)| (*name).to_string()).collect();
            selectors.push((facilities, severity_words(mask)));
        }
        selectors
    }
}

/// A severity's name, or a list of exact ones.
fn severity_words(mask: u8) -> Vec<String> {
    // `warning` and worse are the lowest bits.
    if mask == 0xff {
        return Vec::new();
    }
    if mask.leading_zeros() + mask.trailing_ones() == 8 {
        return vec![SEVERITIES[mask.trailing_ones() as usize - 1].to_string()];
    }
    let named = SEVERITIES.iter().enumerate().filter(|(at, _)| mask >> at & 1 == 1);
    named.map(|(_, name)| format!("={name}")).collect()
}

/// The severity part of a selector: its bits, and whether they are added or removed.
fn severities(text: &str) -> Option<(u8, bool)> {
    let (text, not) = text.strip_prefix('!').map_or((text, false), |text| (text, true));
    let (text, only) = text.strip_prefix('=').map_or((text, false), |text| (text, true));
    let mask = match text {
        "*" => 0xff,
        "none" => return Some((0xff, false)),
        name => {
            let severity = names::severity(&name.to_ascii_lowercase())?;
            if only { 1 << severity } else { 0xff >> (7 - severity) }
        }
    };
    Some((mask, !not))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        let selectors = PriSet::parse(text).unwrap().selectors();
        let told = selectors.iter().map(|(f, s)| format!("{}/{}", f.join(","), s.join(",")));
        told.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn selectors_are_told_without_overlap() {
        assert_eq!(told("*.*"), "/");
        assert_eq!(told("auth,authpriv.*"), "auth,authpriv/");
        assert_eq!(told("*.err"), "/err");
        assert_eq!(told("local7.*,mail.*;"), told("mail,local7.*"));
        assert_eq!(told("mail.*;mark.none"), "mail/");
        assert_eq!(told("mail.=info;mail.=debug"), "mail/=info,=debug");
        assert_eq!(told("*.*;mail.none").split('/').next().unwrap().split(',').count(), 23);
        assert_eq!(told("mail.info;mail.!err"), "mail/=warning,=notice,=info");
        assert_eq!(told("kern.warning;*.crit").split(' ').count(), 2);
        assert_eq!(PriSet::parse("nonsense.*"), None);
        assert_eq!(PriSet::parse("mail"), None);
    }

    #[test]
    fn sets_are_joined_and_cut() {
        let mail = PriSet::facility("mail").unwrap();
        assert_eq!(mail.and(mail.not()), PriSet::NONE);
        assert_eq!(mail.or(mail.not()), PriSet::ALL);
        assert_eq!(PriSet::severity(|severity| severity <= 3), PriSet::parse("*.err").unwrap());
        assert_eq!(PriSet::parse("mail.crit").unwrap().numbers(), [16, 17, 18]);
        assert_eq!(PriSet::ALL.numbers().len(), 192);
    }
}
