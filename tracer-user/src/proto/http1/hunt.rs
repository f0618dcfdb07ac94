//! Finds the chunk framing again after a loss inside a chunked body. A stream of events can last for minutes, and its
//! usage stands at its end: giving it up for one lost record would lose the call.

use bytes::BytesMut;

/// Bytes searched for one provable chunk.
const MOST: usize = 256 << 10;

/// Longest chunk size that counts, in hexadecimal digits: the buffer could not hold a longer chunk.
const DIGITS: usize = 6;

/// Places that may begin a chunk and wait for more bytes. Line ends inside a chunk are rare; more than a few are none.
const CANDIDATES: usize = 16;

/// The search: what came since the loss.
#[derive(Debug)]
pub(super) struct Hunt {
    seen: BytesMut,
    /// Where a chunk may begin, in their order.
    candidates: Vec<usize>,
    /// Line ends are found up to here.
    scanned: usize,
}

impl Default for Hunt {
    fn default() -> Self {
        Self { seen: BytesMut::new(), candidates: vec![0], scanned: 0 }
    }
}

/// What the search has found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trace {
    /// More input is needed.
    Cold,
    /// The rest of the chunk that the loss cut, and the bytes from the next chunk's size line on.
    Found { tail: BytesMut, chunks: BytesMut },
    /// Nothing within the bytes that may be searched.
    Lost,
}

impl Hunt {
    /// A chunk is proven by its size line, at the start of the search or behind a line end, together with the line end
    /// that follows exactly so many bytes later; the last chunk by the blank line that ends the record with it.
    pub(super) fn push(&mut self, record: &[u8]) -> Trace {
        if self.seen.len() + record.len() > MOST {
            self.seen = BytesMut::new();
            return Trace::Lost;
        }
        self.seen.extend_from_slice(record);
        let ends = memchr::memmem::find_iter(&self.seen[self.scanned..], b"\r\n");
        let starts = ends.map(|end| self.scanned + end + 2);
        let mut waiting = Vec::new();
        let mut found = None;
        for start in self.candidates.iter().copied().chain(starts) {
            match self.chunk_at(start) {
                Proof::Yes => {
                    found = Some(start);
                    break;
                }
                Proof::TooShort if waiting.len() < CANDIDATES => waiting.push(start),
                Proof::TooShort | Proof::No => {}
            }
        }
        if let Some(start) = found {
            let chunks = self.seen.split_off(start);
            let mut tail = std::mem::take(&mut self.seen);
            tail.truncate(start.saturating_sub(2));
            return Trace::Found { tail, chunks };
        }
        self.candidates = waiting;
        // A line end may itself be cut: its CR is the last byte.
        self.scanned = self.seen.len().saturating_sub(1);
        Trace::Cold
    }

    fn chunk_at(&self, start: usize) -> Proof {
        let rest = &self.seen[start..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        if digits > DIGITS || (digits == 0 && !rest.is_empty()) {
            return Proof::No;
        }
        let line_end = match &rest[digits..] {
            [] | [b'\r'] => return Proof::TooShort,
            [b'\r', b'\n', ..] => digits + 2,
            _ => return Proof::No,
        };
        let size = std::str::from_utf8(&rest[..digits]).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
        match size {
            None => Proof::No,
            Some(0) if &rest[line_end..] == b"\r\n" => Proof::Yes,
            Some(0) => Proof::No,
            Some(size) => match rest.get(line_end + size..) {
                None | Some([] | [b'\r']) => Proof::TooShort,
                Some([b'\r', b'\n', ..]) => Proof::Yes,
                Some(_) => Proof::No,
            },
        }
    }
}

enum Proof {
    Yes,
    No,
    TooShort,
}
