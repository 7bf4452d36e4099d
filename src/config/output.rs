//! `[output.NAME]`

use super::keys::{self, Table};
use super::plan::{BodyPlan, Kind, SpoolPlan};
use super::{select, spool};
use crate::settings::{Key, Report, Section, Value};

/// The keys of every output.
pub(super) const COMMON: &[&[Key]] = &[select::FROM, select::SELECTORS, &[SPOOL]];

const SPOOL: Key = Key::new(
    "spool",
    Value::Table(spool::KEYS),
    "The lines go through a spool of the output's own, named like the output with .spool appended.",
);

/// Reads an output.
pub(super) fn read(section: &Section<'_>, report: &mut Report<'_>) -> Option<BodyPlan> {
    let chosen = keys::choose(section, Kind::Output, report);
    let form = chosen.and_then(|key| Table::of(Kind::Output).form(section, key));
    keys::check(section, Kind::Output, form, report);
    BodyPlan::read_output(section, chosen?, report)
}

/// Reads `spool = {…}`, where the output has it.
pub(super) fn own_spool(section: &Section<'_>, report: &mut Report<'_>) -> Option<SpoolPlan> {
    let expected = ", as in spool = { dir = \"/var/spool/logweir/hub\" }";
    let table = section.entry(&SPOOL)?.section(spool::KEYS, expected, report)?;
    spool::read(&table, report)
}
