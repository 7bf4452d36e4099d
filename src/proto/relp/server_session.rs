//! The server's side of a session: whether the client's offer is trusted, and who sent its lines.

use std::time::Instant;

use super::origins::{Client, Held, Owners};
use super::session::{Fault, Session, State};
use crate::ids::Identity;
use crate::ingress::inbox::LastLines;
use crate::ingress::server;
use crate::input::{Gather, Piece, Pieces};
use crate::sources::{Source, Sources};

/// The server's side of a session; the client's address is the source of its lines.
#[derive(Debug)]
pub struct ServerSession {
    session: Session,
    source: Source,
    client: Client,
    owners: Owners,
    /// Its identity, if its offer is trusted.
    held: Option<Held>,
    /// A message to log about it.
    slip: Option<String>,
}

impl ServerSession {
    /// Creates a session for messages of up to `max_message` bytes; longer ones are truncated.
    pub fn new(peer: Source, max_message: usize, owners: Owners) -> Self {
        Self {
            session: Session::new(max_message),
            source: peer,
            client: Client::new(peer.ip()),
            owners,
            held: None,
            slip: None,
        }
    }

    /// Decides whether to trust the client's offer of an identity.
    fn judge_offer(&mut self) {
        let Some(identity) = self.session.asks().filter(|_| self.held.is_none()) else { return };
        match self.owners.offer(identity, &self.client, Instant::now()) {
            Ok(held) => self.held = Some(held),
            Err(slip) => {
                self.slip = slip;
                self.session.disbelieve();
            }
        }
    }
}

impl server::Session for ServerSession {
    type Gather = Pieces;
    type Fault = Fault;

    fn push(&mut self, bytes: &[u8], pieces: &mut Pieces) -> Result<(), Fault> {
        let done = self.session.push(bytes);
        pieces.counts().add(&self.session.take_counts());
        let mut is_numbered = false;
        for piece in self.session.take_pieces() {
            is_numbered |= piece.origin.is_some();
            pieces.push(Piece { sources: Some(Sources::one(self.source)), ..piece });
        }
        if let (Some(held), true) = (&self.held, is_numbered) {
            held.note(Instant::now());
        }
        self.judge_offer();
        done
    }

    fn authenticated(&mut self, certificate: &[u8]) {
        self.client.set_certificate(certificate);
    }

    fn take_slip(&mut self) -> Option<String> {
        self.slip.take()
    }

    fn state(&self) -> server::State {
        match self.session.state {
            State::New => server::State::New,
            State::Asking(_) => server::State::Querying(self.session.asks().into_iter().collect()),
            State::Open | State::Closing(_) => server::State::Open,
            State::Parting | State::Over => server::State::Over,
        }
    }

    fn held(&self) -> usize {
        self.session.held()
    }

    fn out(&mut self) -> &mut Vec<u8> {
        self.session.out()
    }

    fn owed(&mut self) -> usize {
        self.session.owed()
    }

    fn wants_barrier(&self) -> bool {
        self.session.fresh > 0
    }

    fn sent(&mut self, barrier: u64) {
        self.session.sent(barrier);
    }

    fn completed(&mut self, barrier: u64) {
        self.session.completed(barrier);
    }

    fn waits(&self) -> bool {
        self.session.waits()
    }

    fn origins(&self) -> Vec<Identity> {
        self.session.sender().into_iter().collect()
    }

    fn resume(&mut self, lasts: &LastLines) {
        let lasts = lasts.first().map(Vec::as_slice).unwrap_or_default();
        self.session.tell_last(lasts);
    }

    fn part(&mut self) {
        self.session.part();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::server::Session as _;
    use crate::minute::Minute;
    use crate::proto::relp::origins::Origins;
    use crate::proto::relp::wire::{Offers, encode_lines_head, stream};

    /// The session of a client that offers an identity, and the answer it gets.
    fn offers(owners: &Owners, address: &str, identity: Identity) -> (ServerSession, String) {
        let peer = Source::Address(std::net::SocketAddr::new(address.parse().unwrap(), 1));
        let mut client = ServerSession::new(peer, 20, owners.clone());
        let offers = Offers::ours(Some((identity, 0)), None).encode();
        let open = stream(&[(1, "open", offers.as_bytes())]);
        client.push(&open, &mut Pieces::default()).unwrap();
        client.resume(&vec![vec![Some(41)]]);
        let answer = String::from_utf8(std::mem::take(client.session.out())).unwrap();
        (client, answer)
    }

    #[test]
    fn an_identity_that_another_client_has_is_not_believed_and_its_lines_have_no_origin() {
        let owners = Owners::new(Origins::First);
        let identity = Identity::of(7);
        let (owner, answer) = offers(&owners, "192.0.2.1", identity);
        assert!(answer.contains("=41\n") || answer.contains(" 41"), "{answer}");
        assert_eq!(owner.origins(), [identity]);
        let (mut thief, answer) = offers(&owners, "192.0.2.2", identity);
        assert!(answer.starts_with("1 rsp") && !answer.contains("41"), "{answer}");
        assert!(thief.origins().is_empty() && thief.take_slip().is_some());
        // The owner's connection is not closed, because the thief sends no resume query.
        assert_eq!(thief.state(), server::State::Open);
        let mut pieces = Pieces::default();
        thief.push(&stream(&[(2, "syslog", b"<13>real")]), &mut pieces).unwrap();
        pieces.seal();
        let taken: Vec<_> = pieces.full().collect();
        assert_eq!((taken.len(), taken[0].origin), (1, None));
        let mut lines = encode_lines_head(u64::MAX - 1, u64::MAX - 1, 1);
        lines.extend_from_slice(b"forged\n");
        thief.push(&stream(&[(3, "lines", &lines)]), &mut pieces).unwrap();
        let taken: Vec<_> = pieces.full().collect();
        assert_eq!((&taken[0].bytes[..], taken[0].origin), (&b"forged\n"[..], None));
        drop(owner);
        assert!(offers(&owners, "192.0.2.1", identity).0.held.is_some());
    }

    #[test]
    fn lines_are_of_the_minute_that_was_told_before_them() {
        let mut session = Session::new(20);
        let offers = Offers::ours(Some((Identity::of(5), 0)), None).encode();
        session.push(&stream(&[(1, "open", offers.as_bytes())])).unwrap();
        session.tell_last(&[]);
        let answer = String::from_utf8(session.out().clone()).unwrap();
        assert!(answer.contains("logweir_minute=1\n"), "{answer}");
        let lines = [encode_lines_head(0, 1, 2), b"c\nd\n".to_vec()].concat();
        session
            .push(&stream(&[
                (2, "syslog", b"a"),
                (0, "minute", b"29930187"),
                (3, "syslog", b"b"),
                (4, "lines", &lines),
                (0, "minute", b"29930188"),
                (5, "syslog", b"e"),
                (0, "minute", b"-1"),
                (6, "syslog", b"f"),
            ]))
            .unwrap();
        let pieces = session.take_pieces().into_iter();
        let told: Vec<_> = pieces
            .map(|piece| {
                let text = String::from_utf8(piece.bytes.to_vec()).unwrap();
                (text, piece.minute.map(Minute::number))
            })
            .collect();
        let wanted = [
            ("a\n".to_string(), None),
            ("b\n".to_string(), Some(29_930_187)),
            ("c\nd\n".to_string(), Some(29_930_187)),
            ("e\n".to_string(), Some(29_930_188)),
            ("f\n".to_string(), Some(0)),
        ];
        assert_eq!(told, wanted);
    }

    #[test]
    fn lines_of_a_piece_that_are_too_long_are_cut_and_counted_each() {
        let owners = Owners::new(Origins::Any);
        let (mut client, _) = offers(&owners, "192.0.2.1", Identity::of(7));
        let mut frame = encode_lines_head(42, 44, 3);
        frame.extend_from_slice(format!("short\n{:030}\n{:020}\n", 1, 2).as_bytes());
        client.session.push(&stream(&[(2, "lines", &frame)])).unwrap();
        let counts = client.session.take_counts();
        assert_eq!((counts.oversize, counts.oversize_bytes), (1, 10));
        let want = format!("short\n{:020}\n{:020}\n", 0, 2);
        let pieces = client.session.take_pieces();
        assert_eq!(pieces.len(), 1);
        assert_eq!(pieces[0].bytes, want);
    }
}
