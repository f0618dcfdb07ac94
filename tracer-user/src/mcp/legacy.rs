//! Requests of the transport of 2024-11-05, whose answers come as events on another exchange: a POST is only
//! acknowledged. They wait here until an event stream of the same process from the same server brings the answer.

use std::collections::VecDeque;

use super::{
    message::{Message, answer_of},
    requests::Asked,
};
use crate::{carrier::Track, exchange::ExchangeId};

/// Requests that wait at the same time; beyond it the oldest ends unanswered.
const WAITING: usize = 256;

/// Whom an answer is from and for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    process: Option<u32>,
    host: Option<String>,
    port: Option<u16>,
}

impl Peer {
    pub fn of(track: &Track) -> Self {
        Self { process: track.connection.pid, host: track.server_address.clone(), port: track.server_port }
    }
}

struct Waiting {
    peer: Peer,
    exchange: ExchangeId,
    asked: Asked,
}

/// In the order in which they were sent.
#[derive(Default)]
pub struct Unanswered(VecDeque<Waiting>);

impl Unanswered {
    /// Takes the requests of one POST; those that had to go for them.
    pub fn add(&mut self, peer: &Peer, exchange: ExchangeId, asked: Vec<Asked>) -> Vec<Asked> {
        self.0.extend(asked.into_iter().map(|asked| Waiting { peer: peer.clone(), exchange, asked }));
        let excess = self.0.len().saturating_sub(WAITING);
        self.0.drain(..excess).map(|waiting| waiting.asked).collect()
    }

    /// The request that a message on an event stream of this peer answers.
    pub fn answered(&mut self, peer: &Peer, message: &Message) -> Option<Asked> {
        let id = answer_of(message).and(message.id.as_ref())?;
        self.remove(|waiting| waiting.asked.message.id.as_ref() == Some(id) && waiting.peer == *peer)
    }

    /// The requests of a POST that has ended; `ended` tells of each whether that was its end, too.
    pub fn of_exchange(&mut self, exchange: ExchangeId, mut ended: impl FnMut(&mut Asked) -> bool) -> Vec<Asked> {
        self.split(|waiting| waiting.exchange == exchange && ended(&mut waiting.asked))
    }

    /// The peer's event stream has ended: nothing answers them any more.
    pub fn of_peer(&mut self, peer: &Peer) -> Vec<Asked> {
        self.split(|waiting| waiting.peer == *peer)
    }

    pub fn all(&mut self) -> Vec<Asked> {
        self.split(|_| true)
    }

    fn remove(&mut self, fits: impl Fn(&Waiting) -> bool) -> Option<Asked> {
        let at = self.0.iter().position(fits)?;
        self.0.remove(at).map(|waiting| waiting.asked)
    }

    fn split(&mut self, mut goes: impl FnMut(&mut Waiting) -> bool) -> Vec<Asked> {
        let mut gone = Vec::new();
        let mut kept = VecDeque::with_capacity(self.0.len());
        for mut waiting in self.0.drain(..) {
            if goes(&mut waiting) {
                gone.push(waiting.asked);
            } else {
                kept.push_back(waiting);
            }
        }
        self.0 = kept;
        gone
    }
}
