//! Credentials of HTTP/2: their values in header blocks are replaced by others of the same length, in bytes and, where
//! they are Huffman-coded, in letters: header compression counts letters, and a reader's table must stay the same.
//!
//! The wire formats are those of [`crate::proto::http2`]. What cannot be read is blackened: that errs on the right side.

use std::ops::Range;

use super::{MASK, blacken};
use crate::{
    credentials::{credential_values, is_credential_header},
    proto::http2::{
        frame::{ACK, END_HEADERS, HEADER, Header, Kind, PADDED, PREFACE, PRIORITY},
        hpack::{self, Decoder, Field, huffman},
        search::begins_frames,
    },
};

/// Bytes that wait for the end of their header block. A longer one is blackened.
const MOST_WAITING: usize = 128 << 10;

/// Bytes of the dynamic table.
const TABLE_BYTES: usize = 64 << 10;

pub struct Frames {
    /// Whether the places of frames are known.
    found: bool,
    /// No byte has gone by.
    fresh: bool,
    /// Bytes of the current frame's payload that need no look.
    skip: usize,
    hpack: Decoder,
}

impl Default for Frames {
    fn default() -> Self {
        Self { found: false, fresh: true, skip: 0, hpack: Decoder::new(TABLE_BYTES) }
    }
}

/// A header block, and how far its frames reach.
struct Block {
    /// Its fragments, in their order.
    fragments: Vec<Range<usize>>,
    end: usize,
}

impl Frames {
    pub fn mask(&mut self, bytes: &mut [u8]) -> usize {
        let mut at = 0;
        if !self.found {
            if self.fresh && bytes.len() < PREFACE.len() && PREFACE.starts_with(bytes) {
                return 0;
            }
            let preface = self.fresh && bytes.starts_with(PREFACE);
            let server = self.fresh
                && bytes
                    .first_chunk()
                    .map(Header::parse)
                    .is_some_and(|first| first.kind == Kind::Settings && !first.has(ACK));
            self.fresh = false;
            if preface {
                at = PREFACE.len();
            } else if !begins_frames(bytes) {
                blacken(bytes);
                return bytes.len();
            }
            if !preface && !server {
                self.hpack.lose();
            }
            self.found = true;
        }
        while at < bytes.len() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len() - at);
                self.skip -= skipped;
                at += skipped;
                continue;
            }
            let Some(header) = bytes[at..].first_chunk().map(Header::parse) else { return at };
            match header.kind {
                _ if !header.is_legal() => return self.give_up(bytes, at),
                Kind::Headers | Kind::PushPromise => match block(bytes, at) {
                    Ok(Some(block)) => {
                        self.block(bytes, &block);
                        at = block.end;
                    }
                    Ok(None) if bytes.len() - at <= MOST_WAITING => return at,
                    Ok(None) | Err(()) => return self.give_up(bytes, at),
                },
                Kind::Continuation => return self.give_up(bytes, at),
                _ => {
                    at += HEADER;
                    self.skip = header.length;
                }
            }
        }
        at
    }

    pub fn gap(&mut self, lost: u64) {
        self.fresh = false;
        match usize::try_from(lost) {
            Ok(lost) if lost > 0 && lost <= self.skip => self.skip -= lost,
            _ => {
                self.found = false;
                self.skip = 0;
                self.hpack.lose();
            }
        }
    }

    fn give_up(&mut self, bytes: &mut [u8], at: usize) -> usize {
        blacken(&mut bytes[at..]);
        self.gap(0);
        bytes.len()
    }

    fn block(&mut self, bytes: &mut [u8], block: &Block) {
        let mut whole: Vec<u8> = block.fragments.iter().flat_map(|range| &bytes[range.clone()]).copied().collect();
        let mut secrets = Vec::new();
        let read = self.hpack.decode(&whole, |Field { name, literal, .. }| {
            if let Some(text) = literal {
                secrets.push((name, text));
            }
        });
        if read.is_err() {
            blacken(&mut whole);
        }
        for (name, text) in secrets {
            let Ok(value) = hpack::string(&whole, &text) else { continue };
            let hidden = match name.as_deref() {
                Some(":path") => match std::str::from_utf8(&value).ok().and_then(|path| path.split_once('?')) {
                    Some((path, query)) => {
                        let shift = path.len() + 1;
                        credential_values(query).iter().map(|range| range.start + shift..range.end + shift).collect()
                    }
                    None => Vec::new(),
                },
                Some(name) if !is_credential_header(name) => Vec::new(),
                // A field whose name is unknown may be one.
                _ => std::iter::once(0..value.len()).collect(),
            };
            let mut shown = value;
            for range in hidden {
                match text.huffman {
                    true => disguise(&mut shown[range]),
                    false => blacken(&mut shown[range]),
                }
            }
            let coded = match text.huffman {
                true => {
                    let mut coded = Vec::new();
                    huffman::encode(&shown, &mut coded);
                    coded
                }
                false => shown,
            };
            let place = &mut whole[text.range];
            match coded.len() == place.len() {
                true => place.copy_from_slice(&coded),
                false => blacken(place),
            }
        }
        let mut rest = &whole[..];
        for range in &block.fragments {
            let (fragment, more) = rest.split_at(range.len());
            bytes[range.clone()].copy_from_slice(fragment);
            rest = more;
        }
    }
}

/// The header block that begins with the frame at `at`; `None` when it is not whole yet.
fn block(bytes: &[u8], mut at: usize) -> Result<Option<Block>, ()> {
    let mut fragments = Vec::new();
    let mut stream = None;
    loop {
        let Some(header) = bytes[at..].first_chunk().map(Header::parse) else { return Ok(None) };
        let begins = stream.is_none();
        if !begins && (header.kind != Kind::Continuation || stream != Some(header.stream)) {
            return Err(());
        }
        stream = Some(header.stream);
        let start = at + HEADER;
        let end = start + header.length;
        if end > bytes.len() {
            return Ok(None);
        }
        let mut fragment = start..end;
        if begins {
            if header.has(PADDED) {
                fragment.end -= usize::from(*bytes[fragment.clone()].first().ok_or(())?).min(header.length);
                fragment.start += 1;
            }
            fragment.start += match (header.kind, header.has(PRIORITY)) {
                (Kind::PushPromise, _) => 4,
                (_, true) => 5,
                _ => 0,
            };
        }
        if fragment.start > fragment.end {
            return Err(());
        }
        fragments.push(fragment);
        at = end;
        if header.has(END_HEADERS) {
            return Ok(Some(Block { fragments, end }));
        }
    }
}

/// Other letters, as many, and with codes of as many bits in all.
fn disguise(secret: &mut [u8]) {
    /// A letter for each number of bits above the shortest code's 5 that keys are made of.
    const LETTERS: [u8; 4] = [b'0', b'-', b':', MASK];
    let surplus = huffman::coded_bits(secret) - 5 * secret.len();
    if surplus > 3 * secret.len() {
        // Hardly a key: its letters are rare ones. Their order goes.
        return secret.sort_unstable();
    }
    let mut left = surplus;
    for letter in secret {
        let extra = left.min(3);
        *letter = LETTERS[extra];
        left -= extra;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn literal(name: &str, value: &str, huffman: bool, stored: bool) -> Vec<u8> {
        let text = |text: &str| {
            let mut coded = Vec::new();
            match huffman {
                true => huffman::encode(text.as_bytes(), &mut coded),
                false => coded.extend_from_slice(text.as_bytes()),
            }
            assert!(coded.len() < 127);
            [&[coded.len() as u8 | if huffman { 0x80 } else { 0 }], &coded[..]].concat()
        };
        [&[if stored { 0x40 } else { 0x10 }][..], &text(name), &text(value)].concat()
    }

    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
    }

    fn connection() -> Vec<u8> {
        let mut bytes = PREFACE.to_vec();
        bytes.extend(frame(4, 0, 0, &[]));
        for (stream, huffman) in [(1, true), (3, false)] {
            let fields = [
                literal(":path", "/v1/x?alt=sse&key=AIzaSecret&a=b", huffman, true),
                literal("authorization", "Bearer sk-Secret~0123_\\", huffman, true),
                literal("x-other", "kept", huffman, true),
            ]
            .concat();
            let (first, second) = fields.split_at(60);
            bytes.extend(frame(1, 0, stream, first));
            bytes.extend(frame(9, END_HEADERS, stream, second));
            bytes.extend(frame(0, 1, stream, b"authorization: in a body"));
        }
        bytes
    }

    fn masked(cuts: &[usize]) -> Vec<u8> {
        let mut mask = Frames::default();
        let (mut waiting, mut out) = (Vec::new(), Vec::new());
        let bytes = connection();
        let mut rest = &bytes[..];
        for cut in cuts.iter().copied().chain([usize::MAX]) {
            let (piece, more) = rest.split_at(cut.min(rest.len()));
            rest = more;
            waiting.extend_from_slice(piece);
            let settled = mask.mask(&mut waiting);
            out.extend(waiting.drain(..settled));
        }
        assert!(waiting.is_empty());
        out
    }

    fn fields(bytes: &[u8]) -> Vec<String> {
        let mut decoder = Decoder::new(TABLE_BYTES);
        let mut at = PREFACE.len();
        let mut told = Vec::new();
        while at < bytes.len() {
            let header = Header::parse(bytes[at..].first_chunk().unwrap());
            if header.kind == Kind::Headers {
                let block = block(bytes, at).unwrap().unwrap();
                let whole: Vec<u8> = block.fragments.iter().flat_map(|range| &bytes[range.clone()]).copied().collect();
                let mut literals = Vec::new();
                decoder.decode(&whole, |field| literals.push(field)).unwrap();
                for field in literals {
                    let value = hpack::string(&whole, &field.literal.unwrap()).unwrap();
                    told.push(format!("{}={}", field.name.unwrap(), String::from_utf8(value).unwrap()));
                }
                at = block.end;
            } else {
                at += HEADER + header.length;
            }
        }
        told
    }

    #[test]
    fn secrets_go_and_everything_else_stays() {
        let (before, after) = (connection(), masked(&[]));
        assert_eq!(before.len(), after.len());
        let (before, after) = (fields(&before), fields(&after));
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(before.len(), after.len(), "the table counts letters");
            assert!(!after.contains("ecret"), "{after}");
            assert_eq!(before.starts_with("x-other"), before == after);
        }
        assert_eq!(after[3], ":path=/v1/x?alt=sse&key=**********&a=b");
    }

    #[test]
    fn behind_a_gap_nothing_shows_before_the_frames_are_known_again() {
        let mut mask = Frames::default();
        let mut bytes = connection();
        mask.mask(&mut bytes);
        mask.gap(7);
        let mut tail = b"sk-Secret and what follows it".to_vec();
        assert_eq!(mask.mask(&mut tail), tail.len());
        assert!(tail.iter().all(|byte| *byte == MASK));
        // A field whose name is unknown is hidden as well: index 62 was lost.
        let block = [&[0x7e, 4][..], b"text", &literal("x-b", "shown", false, false)].concat();
        let mut next = frame(1, END_HEADERS, 5, &block);
        assert_eq!(mask.mask(&mut next), next.len());
        let text = String::from_utf8_lossy(&next).into_owned();
        assert!(!text.contains("text") && text.contains("shown"), "{text}");
    }

    proptest! {
        #[test]
        fn any_cut_masks_the_same(cuts in proptest::collection::vec(0usize..80, 0..30)) {
            prop_assert_eq!(masked(&cuts), masked(&[]));
        }

        #[test]
        fn noise_does_no_harm(mut noise in proptest::collection::vec(any::<u8>(), 0..200), place in 0usize..400) {
            let mut bytes = connection();
            let place = place.min(bytes.len());
            bytes.splice(place..place, noise.drain(..));
            let settled = Frames::default().mask(&mut bytes);
            prop_assert!(settled <= bytes.len());
        }
    }
}
