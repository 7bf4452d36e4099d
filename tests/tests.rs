//! The integration tests, in one binary. Each module is about one thing a user does:
//!
//! - `addresses`: an input's address is not there yet, or is lost while the daemon runs;
//! - `check`: the configuration is checked and drawn;
//! - `flow`: lines go in and come out;
//! - `forward`: lines go to other hosts, through spools;
//! - `children`: filter processes behave, and misbehave;
//! - `control`: the control socket is used well, and badly;
//! - `clients`: real senders of syslog send;
//! - `files`: files are written, rotated, compressed, and the disk is full;
//! - `filters`: the programs in filters/ print what they should;
//! - `graph`: the flow is drawn;
//! - `import`: configurations of other daemons are carried over;
//! - `kills`: daemons are killed in the middle of a flow;
//! - `metrics`: the ledger over HTTP;
//! - `monitoring`: the dashboard and the alerts, over a real Prometheus;
//! - `onboarding`: the first minutes: `init`, completions, a configuration that is broken;
//! - `reload`: the configuration changes under load;
//! - `rsyslog`: a real rsyslog is at the other end;
//! - `schema`: the configuration as an editor sees it, and each key explained;
//! - `sequence`: gaps in the numbers of lines are counted;
//! - `bad_start`: a start is refused;
//! - `udp2log`: the drop-in does as udp2log does;
//! - `docs`: the pages of docs/ show nothing that was not run;
//! - `dropins`: so do `log2udp`, `packet-loss` and `udp2log-demux`;
//! - `corpus`: syslog messages and streams of other projects' tests have the fields they should;
//! - `syslog`: syslog inputs by every transport, and fields;
//! - `systemd`: a service manager is told, and keeps sockets;
//! - `spool_cli`: spools are listed, read, checked, sent again and trimmed;
//! - `tap`: somebody looks at the flow;
//! - `assets`: completions and manual pages are made for every subcommand;
//! - `booted`: packages are installed, upgraded and purged on a booted systemd, and no line lost;
//! - `peers`: peers with names that come and move, behind balancers, and with bad certificates;
//! - `packages`: packages hold what they should, and the unit is sound;
//! - `tidy`: the project keeps its own rules;
//! - `top`: the flow is shown in a terminal;
//! - `tools`: lines are made and sent by hand.

#![expect(unreachable_pub, reason = "nothing outside a test binary reaches in")]
#![expect(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test may panic")]

mod addresses;
mod assets;
mod bad_start;
mod booted;
mod check;
mod children;
mod clients;
mod control;
mod corpus;
mod docs;
mod dropins;
mod files;
mod filters;
mod flow;
mod forward;
mod graph;
mod import;
mod kills;
mod losses;
mod metrics;
mod monitoring;
mod onboarding;
mod packages;
mod peers;
mod reload;
mod rsyslog;
mod schema;
mod sequence;
mod spool_cli;
mod syslog;
mod systemd;
mod tap;
mod tidy;
mod tools;
mod top;
mod udp2log;
mod util;
