//! `[input.NAME]`

use super::keys::{self, Table};
use super::plan::{InputPlan, Kind, SourcePlan};
use crate::proto::shared::lines;
use crate::settings::{Report, Section};

/// Reads an input.
pub(super) fn read(section: &Section<'_>, report: &mut Report<'_>) -> Option<InputPlan> {
    let chosen = keys::choose(section, Kind::Input, report);
    let form = chosen.and_then(|key| Table::of(Kind::Input).form(section, key));
    keys::check(section, Kind::Input, form, report);
    let max_line = lines::longest(section, report);
    let sequence = lines::sequence(section, report);
    let source = SourcePlan::read(section, chosen?, report)?;
    Some(InputPlan { source, max_line, sequence })
}
