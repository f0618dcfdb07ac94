//! What nobody reads of a connection from here on, so that the kernel need not copy it.
//!
//! Only what the decoders pass over whatever it says: the rest of a body of stated length whose exchange no reader wants,
//! and all that comes on a connection that has proven to be none of HTTP. Heads are always read, so that the next
//! exchange on the same connection is judged anew, and nothing of interest can be lost.

use crate::{
    capture::{ConnectionKey, Direction},
    proto,
};

/// Bytes below which it is not worth a message to the privileged half and a look-up in the kernel.
pub const WORTH: u64 = 256 << 10;

/// Up to where a connection's bytes are not wanted: offsets of what was sent and of what was received. 0 asks for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unread {
    pub key: ConnectionKey,
    pub until: [u64; 2],
}

/// Where one connection's decoders stand.
#[derive(Debug, Default)]
pub struct Place {
    /// Bytes that were passed to them or were lost, by direction: the offset of the next one. After a loss of unknown
    /// length, or after the connection was forgotten and came again, it is too small, which only asks for less.
    passed: [u64; 2],
    /// What was asked for.
    until: [u64; 2],
}

impl Place {
    pub fn pass(&mut self, direction: Direction, bytes: u64) {
        let passed = &mut self.passed[index(direction)];
        *passed = passed.saturating_add(bytes);
    }

    /// What is to be asked for now, if it is worth it and was not asked for before.
    pub fn ask(&mut self, key: ConnectionKey, decoder: &proto::Connection) -> Option<Unread> {
        let mut is_new = false;
        for direction in [Direction::Send, Direction::Receive] {
            let unwanted = decoder.unwanted(direction);
            let index = index(direction);
            let until = self.passed[index].saturating_add(unwanted);
            if unwanted >= WORTH && until > self.until[index] {
                self.until[index] = until;
                is_new = true;
            }
        }
        is_new.then_some(Unread { key, until: self.until })
    }
}

const fn index(direction: Direction) -> usize {
    match direction {
        Direction::Send => 0,
        Direction::Receive => 1,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{capture::Role, proto::Limits};

    const KEY: ConnectionKey = ConnectionKey(1);

    struct Bench {
        decoder: proto::Connection,
        place: Place,
    }

    impl Bench {
        fn new() -> Self {
            let decoder = proto::Connection::new(Limits::default(), Role::Client, |head| head.path == "/wanted");
            Self { decoder, place: Place::default() }
        }

        fn push(&mut self, direction: Direction, bytes: &[u8]) -> Option<[u64; 2]> {
            self.decoder.push(0, direction, &Bytes::copy_from_slice(bytes), &mut |_| {});
            self.place.pass(direction, bytes.len() as u64);
            self.place.ask(KEY, &self.decoder).map(|unread| unread.until)
        }

        /// The kernel did as it was asked to.
        fn leave(&mut self, direction: Direction, bytes: u64) {
            self.decoder.gap(0, direction, Some(bytes), &mut |_| {});
            self.place.pass(direction, bytes);
        }
    }

    #[test]
    fn a_long_body_that_nobody_wants_is_left_unread_and_the_next_head_is_not() {
        let mut bench = Bench::new();
        assert_eq!(bench.push(Direction::Send, b"GET /other HTTP/1.1\r\n\r\n"), None);
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n";
        let end = head.len() as u64 + 1_000_000;
        assert_eq!(bench.push(Direction::Receive, head), Some([0, end]));
        // Once is enough.
        assert_eq!(bench.push(Direction::Receive, &[b'x'; 100]), None);
        bench.leave(Direction::Receive, 1_000_000 - 100);
        assert_eq!(bench.push(Direction::Send, b"POST /wanted HTTP/1.1\r\ncontent-length: 900000\r\n\r\n"), None);
        assert_eq!(bench.decoder.unwanted(Direction::Send), 0);
        assert_eq!(bench.push(Direction::Receive, head), None);
        assert_eq!(bench.decoder.protocol(), proto::Protocol::Http1);
    }

    #[test]
    fn an_upload_that_nobody_wants_is_left_unread() {
        let mut bench = Bench::new();
        let head = b"PUT /other HTTP/1.1\r\ncontent-length: 400000\r\n\r\n";
        assert_eq!(bench.push(Direction::Send, head), Some([head.len() as u64 + 400_000, 0]));
    }

    #[test]
    fn short_bodies_and_those_without_a_length_are_read() {
        let mut bench = Bench::new();
        bench.push(Direction::Send, b"GET /other HTTP/1.1\r\n\r\n");
        assert_eq!(bench.push(Direction::Receive, b"HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\n"), None);
        bench.leave(Direction::Receive, 200_000);
        bench.push(Direction::Send, b"GET /other HTTP/1.1\r\n\r\n");
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffff\r\n";
        assert_eq!(bench.push(Direction::Receive, chunked), None);
    }

    #[test]
    fn what_is_not_http_is_left_unread_for_good() {
        let mut bench = Bench::new();
        let noise = vec![0xee; 64 << 10];
        let limit = Limits::default().undecided_bytes;
        let mut asked = None;
        for _ in 0..limit / noise.len() as u64 + 2 {
            asked = asked.or(bench.push(Direction::Send, &noise));
        }
        assert_eq!(asked, Some([u64::MAX, u64::MAX]));
    }
}
