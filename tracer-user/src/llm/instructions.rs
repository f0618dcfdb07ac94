//! One hash for the system instructions of a request, the same wherever the same instructions are sent: text parts are
//! joined by a line feed, however the API splits or places them.

use sha2::{Digest, Sha256};

/// Beginnings of parts that clients put before the instructions and change with each request. They are left out.
///
/// - `x-anthropic-billing-header:` is the first system block of Claude Code; it holds the client's version and a
///   checksum of the request.
const PER_REQUEST: [&[u8]; 1] = [b"x-anthropic-billing-header:"];

const HEAD_BYTES: usize = 32;

#[derive(Default, Clone)]
struct State {
    hasher: Sha256,
    parts: u32,
}

/// Takes the text of parts as they come; a part counts when it has ended and holds text.
#[derive(Default)]
pub struct Instructions {
    state: State,
    part: Option<Part>,
    /// The state before the message that is being read, see [`Instructions::begin_message`].
    before: Option<State>,
}

struct Part {
    state: State,
    head: [u8; HEAD_BYTES],
    head_length: usize,
}

impl Instructions {
    pub fn text(&mut self, piece: &[u8]) {
        if piece.is_empty() {
            return;
        }
        let part = self.part.get_or_insert_with(|| {
            let mut state = self.state.clone();
            if state.parts > 0 {
                state.hasher.update(b"\n");
            }
            Part { state, head: [0; HEAD_BYTES], head_length: 0 }
        });
        let room = &mut part.head[part.head_length..];
        let length = room.len().min(piece.len());
        room[..length].copy_from_slice(&piece[..length]);
        part.head_length += length;
        part.state.hasher.update(piece);
    }

    pub fn end_part(&mut self) {
        let Some(mut part) = self.part.take() else {
            return;
        };
        let head = &part.head[..part.head_length];
        if !PER_REQUEST.iter().any(|prefix| head.starts_with(prefix)) {
            part.state.parts += 1;
            self.state = part.state;
        }
    }

    /// The parts that follow belong to a message whose role may not be known yet.
    pub fn begin_message(&mut self) {
        self.part = None;
        self.before = Some(self.state.clone());
    }

    pub fn end_message(&mut self, is_system: bool) {
        self.part = None;
        if let Some(before) = self.before.take()
            && !is_system
        {
            self.state = before;
        }
    }

    /// First 16 hex digits; `None` without instructions.
    pub fn hash(self) -> Option<String> {
        let state = self.before.unwrap_or(self.state);
        if state.parts == 0 {
            return None;
        }
        let digest: [u8; 32] = state.hasher.finalize().into();
        digest.first_chunk().map(|start| format!("{:016x}", u64::from_be_bytes(*start)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(parts: &[&str]) -> Option<String> {
        let mut instructions = Instructions::default();
        for part in parts {
            for piece in part.as_bytes().chunks(3) {
                instructions.text(piece);
            }
            instructions.end_part();
        }
        instructions.hash()
    }

    #[test]
    fn is_the_beginning_of_the_sha256() {
        // printf 'Be brief.' | sha256sum
        assert_eq!(hash(&["Be brief."]).as_deref(), Some("213c22ed7234eb11"));
        assert_eq!(hash(&["Be", "brief."]), hash(&["Be\nbrief."]));
        assert_eq!(hash(&[]), None);
        assert_eq!(hash(&["", ""]), None);
    }

    #[test]
    fn leaves_per_request_parts_out() {
        let nonce = "x-anthropic-billing-header: client_version=1; check=12345;";
        assert_eq!(hash(&[nonce, "Be brief."]), hash(&["Be brief."]));
        assert_eq!(hash(&[nonce]), None);
    }

    #[test]
    fn forgets_messages_that_turn_out_not_to_be_instructions() {
        let mut instructions = Instructions::default();
        for (text, is_system) in [("Be brief.", true), ("Hello", false)] {
            instructions.begin_message();
            instructions.text(text.as_bytes());
            instructions.end_part();
            instructions.end_message(is_system);
        }
        assert_eq!(instructions.hash(), hash(&["Be brief."]));
    }
}
