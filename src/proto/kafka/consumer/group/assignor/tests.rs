//! Shares that hold for any group, and some that are known.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

type Members = Vec<(String, Subscription)>;

fn member(
    id: &str,
    topics: &[&str],
    owned: &[(&str, &[i32])],
    generation: i32,
) -> (String, Subscription) {
    let topics = topics.iter().map(ToString::to_string).collect();
    let owned = owned.iter().map(|(topic, parts)| (topic.to_string(), parts.to_vec())).collect();
    (id.into(), Subscription { topics, owned, generation })
}

fn counts(counts: &[(&str, i32)]) -> BTreeMap<String, i32> {
    counts.iter().map(|(topic, count)| (topic.to_string(), *count)).collect()
}

fn parts(parts: &[(&str, &[i32])]) -> Parts {
    parts.iter().map(|(topic, parts)| (topic.to_string(), parts.to_vec())).collect()
}

/// The example in the description of Java's `RangeAssignor`, and one with a topic that only one
/// member reads.
#[test]
fn ranges_are_those_of_java() {
    let counts = counts(&[("t0", 3), ("t1", 3), ("t2", 1)]);
    let members =
        [member("C1", &["t0", "t1", "t2"], &[], -1), member("C0", &["t0", "t1"], &[], -1)];
    let shares = Assignor::Range.share(&members, &counts);
    assert_eq!(shares[1], parts(&[("t0", &[0, 1]), ("t1", &[0, 1])]));
    assert_eq!(shares[0], parts(&[("t0", &[2]), ("t1", &[2]), ("t2", &[0])]));
}

#[test]
fn what_moves_is_given_to_nobody_until_its_owner_has_given_it_back() {
    let counts = counts(&[("t", 4)]);
    let mut members =
        vec![member("a", &["t"], &[("t", &[0, 1, 2, 3])], 1), member("b", &["t"], &[], -1)];
    let shares = Assignor::Cooperative.share(&members, &counts);
    assert_eq!(shares, [parts(&[("t", &[0, 1])]), parts(&[])]);
    members[0].1.owned = shares[0].clone();
    let shares = Assignor::Cooperative.share(&members, &counts);
    assert_eq!(shares, [parts(&[("t", &[0, 1])]), parts(&[("t", &[2, 3])])]);
}

#[test]
fn of_two_that_say_they_have_a_partition_the_later_one_keeps_it() {
    let counts = counts(&[("t", 2)]);
    let members =
        [member("a", &["t"], &[("t", &[0, 1])], 4), member("b", &["t"], &[("t", &[1])], 5)];
    let shares = Assignor::Cooperative.share(&members, &counts);
    assert_eq!(shares, [parts(&[("t", &[0])]), parts(&[("t", &[1])])]);
}

#[test]
fn what_is_not_there_or_not_read_is_shared_out_to_nobody() {
    let counts = counts(&[("t", 1), ("u", 1)]);
    let members = [member("a", &["t"], &[("t", &[-1, 7]), ("u", &[0]), ("gone", &[0])], 4)];
    for assignor in [Assignor::Range, Assignor::Cooperative] {
        assert_eq!(assignor.share(&members, &counts), [parts(&[("t", &[0])])]);
        assert_eq!(assignor.share(&[], &counts), Vec::<Parts>::new());
    }
}

fn topic() -> impl Strategy<Value = String> {
    prop_oneof![Just("t".to_string()), Just("u".to_string()), Just("v".to_string())]
}

fn any_members() -> impl Strategy<Value = Members> {
    let owned = vec((topic(), vec(0..9, 0..9)), 0..3);
    vec((vec(topic(), 0..4), owned, -1..4), 0..7).prop_map(|members| {
        let member = |(at, (topics, owned, generation))| {
            (format!("m{at}"), Subscription { topics, owned, generation })
        };
        (0..).zip(members).map(member).collect()
    })
}

fn flat(parts: &Parts) -> BTreeSet<(String, i32)> {
    let each = |(topic, parts): &(String, Vec<i32>)| {
        parts.iter().map(|part| (topic.clone(), *part)).collect::<Vec<_>>()
    };
    parts.iter().flat_map(each).collect()
}

proptest! {
    #[test]
    fn each_partition_goes_to_one_reader_and_to_nobody_while_another_has_it(
        members in any_members(),
        sizes in vec(0..9_i32, 3),
    ) {
        let counts = counts(&[("t", sizes[0]), ("u", sizes[1]), ("v", sizes[2])]);
        for assignor in [Assignor::Range, Assignor::Cooperative] {
            let shares = assignor.share(&members, &counts);
            let mut seen = BTreeSet::new();
            for (at, share) in shares.iter().enumerate() {
                for (topic, part) in flat(share) {
                    prop_assert!((0..counts[&topic]).contains(&part));
                    prop_assert!(members[at].1.topics.contains(&topic));
                    prop_assert!(seen.insert((topic.clone(), part)), "{topic} {part} twice");
                    let this = (topic.clone(), part);
                    let has = |at: usize| flat(&members[at].1.owned).contains(&this);
                    let others = (0..members.len()).any(|other| other != at && has(other));
                    prop_assert!(assignor == Assignor::Range || has(at) || !others);
                }
            }
        }
    }

    /// Members that follow come to a state in which everything is read, nobody has two more than
    /// another one with the same topics, and nothing moves any more.
    #[test]
    fn rounds_come_to_an_end_in_a_fair_share(
        mut members in any_members(),
        sizes in vec(0..9_i32, 3),
    ) {
        let counts = counts(&[("t", sizes[0]), ("u", sizes[1]), ("v", sizes[2])]);
        for generation in 5..9 {
            let shares = Assignor::Cooperative.share(&members, &counts);
            for (member, share) in members.iter_mut().zip(shares) {
                // What is to move is given back before the next round.
                (member.1.owned, member.1.generation) = (share, generation);
            }
        }
        let owned: Vec<_> = members.iter().map(|(_, member)| member.owned.clone()).collect();
        prop_assert_eq!(&Assignor::Cooperative.share(&members, &counts), &owned);
        for (topic, count) in &counts {
            let is_read = members.iter().any(|(_, member)| member.topics.contains(topic));
            let of_topic = |p: &Parts| flat(p).iter().filter(|(t, _)| t == topic).count();
            let shared: usize = owned.iter().map(of_topic).sum();
            prop_assert_eq!(shared, if is_read { usize::try_from(*count).unwrap() } else { 0 });
        }
        let set = |at: usize| members[at].1.topics.iter().collect::<BTreeSet<_>>();
        for (a, b) in (0..members.len()).flat_map(|a| (0..members.len()).map(move |b| (a, b))) {
            if set(a) == set(b) {
                prop_assert!(flat(&owned[a]).len() <= flat(&owned[b]).len() + 1);
            }
        }
    }
}
