//! The users that children run as. They are looked up when a plan is prepared, beside the loop: the
//! name service may read files or ask the network.

use std::collections::HashMap;
use std::ffi::CString;
use std::io;

use nix::unistd::{User, getgrouplist};

use crate::config::plan::{ConfinePlan, Plan};
use crate::sys::process::{Confine, Ids};

/// The users that a plan names, each with its ids or why it has none.
#[derive(Debug, Default)]
pub(super) struct Users(HashMap<String, Result<Ids, String>>);

impl Users {
    /// Looks up the users of a plan.
    pub(super) fn of(plan: &Plan) -> Self {
        let processes = plan.nodes.iter().filter_map(|node| node.body.process());
        let names = processes.filter_map(|process| process.confine.user.as_ref());
        Self(names.map(|name| (name.clone(), look_up(name))).collect())
    }

    /// Adds those of another plan. Children of removed nodes may be started again until they have
    /// ended, so the others stay.
    pub(super) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The system-level form of a child's confinement.
    ///
    /// # Errors
    /// There is no such user.
    pub(super) fn confine(&self, plan: &ConfinePlan) -> io::Result<Confine> {
        let known = |name: &String| match self.0.get(name) {
            Some(found) => found.clone().map_err(io::Error::other),
            None => Err(io::Error::other(format!("user `{name}` was not looked up"))),
        };
        Ok(Confine {
            user: plan.user.as_ref().map(known).transpose()?,
            nice: plan.nice.into(),
            limits: [plan.memory, plan.cpu, plan.files],
            may_gain_privileges: plan.may_gain_privileges,
        })
    }
}

fn look_up(name: &str) -> Result<Ids, String> {
    let failed = |error: io::Error| format!("user `{name}`: {error}");
    let user = User::from_name(name).map_err(|error| failed(error.into()))?;
    let user =
        user.ok_or_else(|| format!("there is no user `{name}`; reload once it has been added"))?;
    let name = CString::new(name).map_err(|error| failed(error.into()))?;
    let groups = getgrouplist(&name, user.gid).map_err(|error| failed(error.into()))?;
    let groups = groups.into_iter().map(|group| group.as_raw()).collect();
    Ok((user.uid.as_raw(), user.gid.as_raw(), groups))
}
