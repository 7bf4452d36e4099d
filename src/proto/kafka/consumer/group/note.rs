//! The note that is kept beside a committed offset: who committed it, and of which topic.
//!
//! Brokers keep an offset under the topic's name. One that is committed late, while the topic is
//! deleted and made anew, is then one of the new topic, whose first records nobody would read. So
//! an offset whose note names another topic is not taken. Other programs say nothing of the topic;
//! their offsets count as they are.

use crate::net::base64;
use crate::proto::kafka::wire::Uuid;

/// Stands before the identity of the topic.
const OF: &str = " topic=";

/// The note of `who` beside an offset of this topic; where brokers have no identities of topics,
/// it says nothing of it.
pub(super) fn write(who: &str, topic: Uuid) -> String {
    if topic.0 == 0 { who.to_string() } else { format!("{who}{OF}{}", shown(topic)) }
}

/// Who wrote a note.
pub(super) fn who(note: &str) -> &str {
    note.rsplit_once(OF).map_or(note, |(who, _)| who)
}

/// Whether a note says that its offset is of another topic than this one.
pub(super) fn is_of_another(note: Option<&str>, topic: Uuid) -> bool {
    let named = note.and_then(|note| note.rsplit_once(OF));
    named.is_some_and(|(_, named)| topic.0 != 0 && named != shown(topic))
}

/// An identity as Kafka's own tools show it (base64url, RFC 4648, section 5).
fn shown(topic: Uuid) -> String {
    let text = base64::encode(&topic.0.to_be_bytes());
    text.trim_end_matches('=').replace('+', "-").replace('/', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_says_who_and_of_which_topic_and_others_say_neither() {
        let (one, other) = (Uuid(u128::MAX), Uuid(7));
        let note = write("logweir x", one);
        assert_eq!(note, "logweir x topic=_____________________w");
        assert_eq!(who(&note), "logweir x");
        assert!(!is_of_another(Some(&note), one) && is_of_another(Some(&note), other));
        assert_eq!(write("logweir x", Uuid(0)), "logweir x");
        for foreign in [None, Some(""), Some("anything else")] {
            assert!(!is_of_another(foreign, one), "{foreign:?}");
        }
        assert!(!is_of_another(Some(&note), Uuid(0)), "the broker says no more");
        assert_eq!(who("anything else"), "anything else");
    }
}
