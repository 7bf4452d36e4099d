//! One connection to a broker, without its socket: which versions it knows, who we are, and which
//! answer is to which request.
//!
//! Brokers answer in the order of the requests. A frame is bounded before memory is taken for it.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Buf, Bytes};

use super::frames::{Frames, OutOfBounds, Spare};
use super::messages::{self, Api, api_versions, authentication, errors};
use super::sasl::{Credentials, Sasl};
use super::wire::{Reader, Writer};
use crate::clock::Mono;
use crate::forward::out::Out;
use crate::limits::CLUSTER_FRAME_MAX;

/// A connection; `K` tells what a request was for.
#[derive(Debug)]
pub(super) struct Session<K> {
    state: State,
    credentials: Option<Credentials>,
    versions: Vec<(i16, i16, i16)>,
    sent: VecDeque<Sent<K>>,
    correlation: i32,
    frames: Frames,
    out: Out,
    /// When the broker wants to know again who we are.
    until: Option<Mono>,
}

#[derive(Debug)]
enum State {
    /// The broker says what it knows.
    Versions,
    /// The broker says whether it has our mechanism.
    Handshake,
    Authenticating(Box<Sasl>),
    Ready,
}

#[derive(Debug)]
struct Sent<K> {
    correlation: i32,
    api: Api,
    version: i16,
    at: Mono,
    /// `None` for what the session itself asks.
    kind: Option<K>,
}

/// What came of a request.
#[derive(Debug)]
pub(super) struct Answer<K> {
    pub(super) kind: K,
    pub(super) version: i16,
    pub(super) body: Reader,
}

/// How much of a time passes before a connection is made anew whose authentication will expire.
const EXPIRES: f64 = 0.8;

impl<K> Session<K> {
    /// A session of a new connection; with `credentials` it authenticates.
    pub(super) fn new(credentials: Option<Credentials>, spare: Spare, now: Mono) -> Self {
        let mut session = Self {
            state: State::Versions,
            credentials,
            versions: Vec::new(),
            sent: VecDeque::new(),
            correlation: 0,
            frames: Frames::new(spare),
            out: Out::default(),
            until: None,
        };
        let version = api_versions::API.versions.1;
        session.ask(api_versions::API, version, now, |w| api_versions::write(w, version));
        session
    }

    /// Whether requests may be sent.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready)
    }

    /// The highest version that both sides know.
    pub(super) fn version(&self, api: Api) -> Option<i16> {
        let (_, min, max) = self.versions.iter().find(|(key, _, _)| *key == api.key)?;
        let version = api.versions.1.min(*max);
        (version >= api.versions.0.max(*min)).then_some(version)
    }

    /// Requests that are not answered.
    pub(super) fn waiting(&self) -> usize {
        self.sent.len()
    }

    /// Since when the oldest of them waits.
    pub(super) fn waits_since(&self) -> Option<Mono> {
        self.sent.front().map(|sent| sent.at)
    }

    /// Whether the broker will soon want to know again who we are. Nothing more is to be sent.
    pub(super) fn expires(&self, now: Mono) -> bool {
        self.until.is_some_and(|until| now >= until)
    }

    /// What was asked and is not answered, in order.
    pub(super) fn into_kinds(self) -> Vec<K> {
        self.sent.into_iter().filter_map(|sent| sent.kind).collect()
    }

    /// What is to be written.
    pub(super) fn out(&self) -> &Out {
        &self.out
    }

    /// So many bytes of it were written.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.out.wrote(bytes);
    }

    /// Sends a request in pieces, made by `write` of its header.
    pub(super) fn send_pieces(
        &mut self,
        (api, version): (Api, i16),
        kind: K,
        now: Mono,
        write: impl FnOnce(Writer) -> Vec<Bytes>,
    ) {
        self.enqueue((api, version), Some(kind), now, write);
    }

    /// Sends a request.
    pub(super) fn send(
        &mut self,
        (api, version): (Api, i16),
        kind: K,
        now: Mono,
        write: impl FnOnce(&mut Writer),
    ) {
        self.enqueue((api, version), Some(kind), now, whole(write));
    }

    fn ask(&mut self, api: Api, version: i16, now: Mono, write: impl FnOnce(&mut Writer)) {
        self.enqueue((api, version), None, now, whole(write));
    }

    fn enqueue(
        &mut self,
        (api, version): (Api, i16),
        kind: Option<K>,
        at: Mono,
        write: impl FnOnce(Writer) -> Vec<Bytes>,
    ) {
        self.correlation = self.correlation.wrapping_add(1) & i32::MAX;
        let correlation = self.correlation;
        let pieces = write(messages::header(api, version, correlation));
        let len: usize = pieces.iter().map(Bytes::len).sum();
        let len = i32::try_from(len).unwrap_or(i32::MAX);
        self.out.push(Bytes::copy_from_slice(&len.to_be_bytes()));
        pieces.into_iter().filter(|piece| !piece.is_empty()).for_each(|piece| self.out.push(piece));
        let at = at + api.patience;
        self.sent.push_back(Sent { correlation, api, version, at, kind });
    }

    /// Takes what the broker sent.
    ///
    /// # Errors
    /// Why this connection is of no more use.
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        now: Mono,
        answers: &mut Vec<Answer<K>>,
    ) -> Result<(), String> {
        let mut bytes = bytes;
        loop {
            let frame = self.frames.take(&mut bytes).map_err(|OutOfBounds| {
                format!(
                    "the broker's answer is longer than {CLUSTER_FRAME_MAX} bytes or malformed: \
                     does this port speak Kafka, and without TLS?"
                )
            })?;
            let Some(frame) = frame else { return Ok(()) };
            self.take_frame(frame, now, answers)?;
        }
    }

    /// Where what the broker sends next may be written; then call [`Self::filled`].
    pub(super) fn room(&mut self) -> Option<&mut [u8]> {
        self.frames.room()
    }

    /// So many bytes that the broker sent were written there.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub(super) fn filled(
        &mut self,
        count: usize,
        now: Mono,
        answers: &mut Vec<Answer<K>>,
    ) -> Result<(), String> {
        let frame = self.frames.filled(count);
        frame.map_or(Ok(()), |frame| self.take_frame(frame, now, answers))
    }

    fn take_frame(
        &mut self,
        mut frame: Bytes,
        now: Mono,
        answers: &mut Vec<Answer<K>>,
    ) -> Result<(), String> {
        let correlation = frame.get_i32();
        let Some(sent) = self.sent.pop_front().filter(|s| s.correlation == correlation) else {
            return Err("the broker answers a request that it was not sent".into());
        };
        self.take(sent, frame, now, answers)
    }

    fn take(
        &mut self,
        sent: Sent<K>,
        frame: Bytes,
        now: Mono,
        answers: &mut Vec<Answer<K>>,
    ) -> Result<(), String> {
        let Sent { api, version, kind, .. } = sent;
        let malformed = |error: super::wire::Malformed| format!("{}: {error}", api.name);
        let body = frame.clone();
        let mut reader = messages::after_correlation(api, version, frame).map_err(malformed)?;
        match kind {
            Some(kind) => answers.push(Answer { kind, version, body: reader }),
            None if api == api_versions::API => {
                let known = api_versions::read(body, version).map_err(malformed)?;
                self.take_versions(known, version, now)?;
            }
            None if api == authentication::HANDSHAKE => {
                let (error, has) =
                    authentication::read_handshake(&mut reader).map_err(malformed)?;
                if error != errors::NONE {
                    let (error, has) = (errors::describe(error), has.join(", "));
                    return Err(format!("{error}; the broker has: {has}"));
                }
                self.authenticate(now)?;
            }
            None => {
                let read = authentication::read_authenticate(&mut reader, version);
                self.take_authenticated(&read.map_err(malformed)?, now)?;
            }
        }
        Ok(())
    }

    fn take_versions(
        &mut self,
        known: api_versions::ApiVersions,
        version: i16,
        now: Mono,
    ) -> Result<(), String> {
        if known.error == errors::UNSUPPORTED_VERSION && version > 0 {
            self.ask(api_versions::API, 0, now, |w| api_versions::write(w, 0));
            return Ok(());
        }
        if known.error != errors::NONE {
            return Err(errors::describe(known.error));
        }
        self.versions = known.ranges;
        let Some(credentials) = &self.credentials else {
            self.state = State::Ready;
            return Ok(());
        };
        let mechanism = credentials.mechanism.name();
        let version = self.needed(authentication::HANDSHAKE)?;
        self.state = State::Handshake;
        self.ask(authentication::HANDSHAKE, version, now, |w| {
            authentication::write_handshake(w, mechanism);
        });
        Ok(())
    }

    /// The version of a request that cannot be done without.
    pub(super) fn needed(&self, api: Api) -> Result<i16, String> {
        let (least, most) = api.versions;
        self.version(api).ok_or_else(|| {
            format!("the broker knows no {} of versions {least} to {most}: it is too old", api.name)
        })
    }

    fn authenticate(&mut self, now: Mono) -> Result<(), String> {
        let Some(credentials) = self.credentials.clone() else { return Ok(()) };
        let (sasl, first) = Sasl::begin(credentials);
        self.state = State::Authenticating(Box::new(sasl));
        self.say(&first, now)
    }

    fn say(&mut self, bytes: &[u8], now: Mono) -> Result<(), String> {
        let version = self.needed(authentication::AUTHENTICATE)?;
        self.ask(authentication::AUTHENTICATE, version, now, |w| {
            authentication::write_authenticate(w, bytes);
        });
        Ok(())
    }

    fn take_authenticated(
        &mut self,
        answer: &authentication::Authenticated,
        now: Mono,
    ) -> Result<(), String> {
        if answer.error != errors::NONE {
            let why = answer.message.as_deref().unwrap_or_default();
            return Err(format!("{} {why}", errors::describe(answer.error)).trim_end().into());
        }
        let State::Authenticating(sasl) = &mut self.state else { return Ok(()) };
        match sasl.next(&answer.bytes)? {
            Some(message) => self.say(&message, now),
            None => {
                self.state = State::Ready;
                if let Ok(lifetime @ 1..) = u64::try_from(answer.lifetime) {
                    let lifetime = Duration::from_millis(lifetime).mul_f64(EXPIRES);
                    self.until = Some(now + lifetime);
                }
                Ok(())
            }
        }
    }
}

/// Makes one piece of a request.
fn whole(write: impl FnOnce(&mut Writer)) -> impl FnOnce(Writer) -> Vec<Bytes> {
    |mut writer| {
        write(&mut writer);
        vec![writer.into_bytes().into()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::kafka::sasl::Mechanism;

    const NOW: Mono = Mono(Duration::from_secs(1));

    fn session(mechanism: Option<Mechanism>) -> Session<u8> {
        let credentials = mechanism.map(|mechanism| Credentials {
            mechanism,
            user: "u".into(),
            secret: "s".into(),
            nonce: "n".into(),
        });
        Session::new(credentials, Spare::default(), NOW)
    }

    fn push(session: &mut Session<u8>, bytes: &[u8]) -> Result<usize, String> {
        let mut answers = Vec::new();
        session.push(bytes, NOW, &mut answers).map(|()| answers.len())
    }

    /// A frame with this correlation id.
    fn frame(correlation: i32, body: &[u8]) -> Vec<u8> {
        let len = i32::try_from(body.len() + 4).unwrap();
        [&len.to_be_bytes()[..], &correlation.to_be_bytes(), body].concat()
    }

    /// ApiVersions in version 3: Metadata 4 to 12, SaslHandshake 1, SaslAuthenticate 2.
    const VERSIONS: &[u8] = b"\0\0\x04\0\x03\0\x04\0\x0c\0\0\x11\0\0\0\x01\0\0\x24\0\0\0\x02\0\
                              \0\0\0\0\0";

    #[test]
    fn a_frame_of_two_gibibytes_or_less_than_none_ends_the_session_at_once() {
        for len in [i32::MAX, -1, 3, i32::try_from(CLUSTER_FRAME_MAX).unwrap() + 1] {
            let error = push(&mut session(None), &len.to_be_bytes()).unwrap_err();
            assert!(error.contains("does this port speak Kafka"), "{len}: {error}");
        }
        // TLS' answer to a client that speaks none, and HTTP's.
        for other in [&b"\x15\x03\x03\0\x02\x02\x0a"[..], b"HTTP/1.1 400 Bad Request\r\n\r\n"] {
            assert!(push(&mut session(None), other).is_err());
        }
    }

    #[test]
    fn an_answer_to_something_else_ends_the_session() {
        let error = push(&mut session(None), &frame(7, VERSIONS)).unwrap_err();
        assert!(error.contains("a request that it was not sent"), "{error}");
        let mut session = session(None);
        push(&mut session, &frame(1, VERSIONS)).unwrap();
        assert!(push(&mut session, &frame(2, b"")).is_err(), "nothing was asked");
    }

    #[test]
    fn the_highest_version_of_both_is_used_and_an_old_broker_is_named() {
        let mut session = session(None);
        push(&mut session, &frame(1, VERSIONS)).unwrap();
        assert!(session.is_ready());
        assert_eq!(session.version(messages::metadata::API), Some(12));
        assert_eq!(session.version(messages::produce::API), None);
        let error = session.needed(messages::produce::API).unwrap_err();
        assert!(error.contains("knows no Produce of versions 3 to 11"), "{error}");
    }

    #[test]
    fn a_broker_that_knows_only_the_first_version_of_the_question_is_asked_by_that() {
        let mut session = session(None);
        let old = b"\0\x23\0\0\0\x01\0\x12\0\0\0\x02";
        push(&mut session, &frame(1, old)).unwrap();
        assert!(!session.is_ready());
        push(&mut session, &frame(2, b"\0\0\0\0\0\x01\0\x03\0\0\0\x09")).unwrap();
        assert_eq!(session.version(messages::metadata::API), Some(9));
    }

    #[test]
    fn authentication_comes_first_and_its_refusal_is_said() {
        let mut session = session(Some(Mechanism::Plain));
        push(&mut session, &frame(1, VERSIONS)).unwrap();
        assert!(!session.is_ready());
        let error = push(&mut session, &frame(2, b"\0\x21\0\0\0\x01\0\x05OTHER")).unwrap_err();
        assert!(error.contains("UNSUPPORTED_SASL_MECHANISM (33)"), "{error}");
        assert!(error.contains("the broker has: OTHER"), "{error}");
        let mut session = self::session(Some(Mechanism::Plain));
        push(&mut session, &frame(1, VERSIONS)).unwrap();
        push(&mut session, &frame(2, b"\0\0\0\0\0\x01\0\x05PLAIN")).unwrap();
        // For ten seconds.
        push(&mut session, &frame(3, b"\0\0\0\0\x01\0\0\0\0\0\0\x27\x10\0")).unwrap();
        assert!(session.is_ready());
        assert!(!session.expires(NOW + Duration::from_secs(7)));
        assert!(session.expires(NOW + Duration::from_secs(9)));
    }
}
