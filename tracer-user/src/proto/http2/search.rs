//! Finds the frames of a direction: at its start, where capture joins in the middle, and after a loss.

use bytes::{Bytes, BytesMut};

use super::frame::{ACK, HEADER, Header, Kind, PREFACE};

/// Bytes searched for one provable frame, before they are forgotten and the search goes on behind them.
const MOST: usize = 256 << 10;

/// Places that may begin a frame and wait for more bytes. Few bytes of a body look like a frame header.
const CANDIDATES: usize = 16;

/// The bytes that came since the search began.
#[derive(Debug, Default)]
pub struct Search {
    seen: BytesMut,
    /// Places that may begin a frame, in their order; whether a record with a whole header begins there.
    candidates: Vec<(usize, bool)>,
    /// Places up to here are judged.
    judged: usize,
    /// Bytes have gone by that are not in `seen`.
    forgotten: bool,
}

/// Frames, from here on.
#[derive(Debug)]
pub struct Found {
    pub frames: Bytes,
    pub origin: Origin,
}

/// Where the first of the found frames stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Behind a client's preface.
    Preface,
    /// At the direction's first byte, and it is what a server sends first (RFC 9113 section 3.4).
    Server,
    /// In the middle of a connection.
    Middle,
}

impl Search {
    /// The search goes on behind lost bytes.
    pub fn after_loss() -> Self {
        Self { forgotten: true, ..Self::default() }
    }

    /// What has been seen so far, if it is all that the direction has carried.
    pub fn into_all(self) -> Option<Bytes> {
        (!self.forgotten).then(|| self.seen.freeze())
    }

    /// A frame is proven by its header together with another one behind its payload, or with the end of the record whose
    /// first bytes the header is: writers send whole frames, and one in 16 million lengths fits by chance.
    pub fn push(&mut self, record: &[u8]) -> Option<Found> {
        let start = self.seen.len();
        self.seen.extend_from_slice(record);
        if !self.forgotten {
            if self.seen.starts_with(PREFACE) {
                let frames = self.seen.split_off(PREFACE.len()).freeze();
                return Some(Found { frames, origin: Origin::Preface });
            }
            if PREFACE.starts_with(&self.seen) {
                return None;
            }
        }
        let mut waiting = Vec::new();
        let earlier = std::mem::take(&mut self.candidates);
        let end = (self.seen.len() + 1).saturating_sub(HEADER);
        let whole_header = record.len() >= HEADER;
        let fresh = (self.judged..end).filter_map(|place| {
            // Known types are small, and most other bytes are not.
            let likely = self.seen[place + 3] <= 0x10 && self.header_at(place).is_some();
            likely.then_some((place, whole_header && place == start))
        });
        let mut found = None;
        for (place, aligned) in earlier.into_iter().chain(fresh) {
            match self.judge(place, aligned) {
                Proof::Yes => {
                    found = Some(place);
                    break;
                }
                Proof::TooShort if waiting.len() < CANDIDATES => waiting.push((place, aligned)),
                Proof::TooShort | Proof::No => {}
            }
        }
        if let Some(place) = found {
            let first = self.header_at(0).filter(|_| place == 0 && !self.forgotten);
            let origin = match first {
                Some(first) if first.kind == Kind::Settings && !first.has(ACK) => Origin::Server,
                _ => Origin::Middle,
            };
            return Some(Found { frames: self.seen.split_off(place).freeze(), origin });
        }
        self.candidates = waiting;
        self.judged = end.max(self.judged);
        if self.seen.len() > MOST {
            *self = Self::after_loss();
        }
        None
    }

    fn judge(&self, place: usize, aligned: bool) -> Proof {
        let Some(header) = self.header_at(place) else { return Proof::No };
        let next = place + HEADER + header.length;
        match self.header_at(next) {
            // Runs of small numbers in a binary body can look like empty frames.
            Some(second) if aligned || header.length + second.length > 0 => Proof::Yes,
            Some(_) => Proof::No,
            None if next == self.seen.len() && aligned => Proof::Yes,
            None if next + HEADER > self.seen.len() => Proof::TooShort,
            None => Proof::No,
        }
    }

    fn header_at(&self, place: usize) -> Option<Header> {
        let bytes = self.seen.get(place..)?.first_chunk()?;
        let header = Header::parse(bytes);
        (header.length < MOST && header.is_plausible(bytes)).then_some(header)
    }
}

enum Proof {
    Yes,
    No,
    TooShort,
}

/// Whether a record begins with a frame, and proves it.
pub fn begins_frames(record: &[u8]) -> bool {
    let mut search = Search::after_loss();
    search.push(record).is_some_and(|found| found.frames.len() == record.len())
}
