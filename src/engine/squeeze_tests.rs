//! Repeats that a filter joins, in a whole daemon.

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use crate::sim::world::World;

/// With `squeeze`, or with it taken away by a reload.
fn squeezing(squeeze: bool) -> String {
    let squeeze = if squeeze { "squeeze = \"30s\"\n" } else { "" };
    format!(
        "[input.in]\nudp = \"127.0.0.1:8420\"\n[filter.s]\nfrom = \"in\"\n{squeeze}\
         [output.f]\nfrom = \"s\"\nfile = \"/log/f\"\n"
    )
}

proptest! {
    /// However lines repeat, time passes and reloads come: each line is in the file, or a line
    /// there counts it.
    #[test]
    fn every_repeat_is_told(
        steps in proptest::collection::vec((0..5_u8, 1..5_usize, 0..40_u64), 1..40),
    ) {
        let mut world = World::new(&squeezing(true));
        let (mut sent, mut squeezes) = (0, true);
        for (what, times, wait) in steps {
            if what < 4 {
                world.lines(&format!("line {}\n", what / 2).repeat(times));
                sent += times;
            } else {
                squeezes = !squeezes;
                world.reload(&squeezing(squeezes));
            }
            world.settle();
            world.pass(Duration::from_secs(wait));
            prop_assert!(world.node("s").balanced);
        }
        world.finish();
        let node = world.node("s");
        prop_assert_eq!((node.lines_in, node.queued), (sent as u64, 0));
        let file = world.fs.files().remove(Path::new("/log/f")).unwrap_or_default();
        let file = String::from_utf8(file).unwrap();
        prop_assert_eq!(file.lines().count() as u64, node.lines_out);
        let told = file.lines().map(|line| match line.strip_prefix("message repeated ") {
            Some(rest) => rest.split(' ').next().unwrap().parse().unwrap(),
            None => 1,
        });
        prop_assert_eq!(told.sum::<usize>(), sent);
    }
}
