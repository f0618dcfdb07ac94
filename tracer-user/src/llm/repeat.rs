//! Recognises an event that equals the one before but for text that nobody reads.
//!
//! Nearly all events of a stream are of one form: `{…,"delta":{"content":"` some text `"},…}`. When an event was read in
//! full, carried content and told nothing new, all that a later event with the same bytes around the same kind of text
//! can tell is the same again. Comparing is several times cheaper than reading, and exact: a single other byte outside
//! of those texts, or an empty text where there was one, and the event is read in full.

use memchr::memchr2;

use super::decode::Seen;

/// Longest event that is remembered.
const EVENT_BYTES: usize = 4 << 10;

#[derive(Default)]
pub struct Repeat {
    /// Bytes of the remembered event without the texts: those are not kept.
    fixed: Vec<u8>,
    /// After how many bytes of `fixed` a text stands, and whether it was empty.
    texts: Vec<(u32, bool)>,
    name: Vec<u8>,
    seen: Option<Seen>,
}

impl Repeat {
    /// Remembers an event; `texts` are the places of the strings that had no influence beyond being empty or not.
    pub fn learn(&mut self, name: &[u8], event: &[u8], texts: Option<&[(u32, u32)]>, seen: Seen) {
        self.seen = None;
        let Some(texts) = texts.filter(|_| event.len() <= EVENT_BYTES) else {
            return;
        };
        self.fixed.clear();
        self.texts.clear();
        let mut at = 0;
        for &(start, end) in texts {
            let Some(fixed) = event.get(at..start as usize) else {
                return;
            };
            self.fixed.extend_from_slice(fixed);
            self.texts.push((self.fixed.len() as u32, start == end));
            at = end as usize;
        }
        self.fixed.extend_from_slice(event[at..].trim_ascii_end());
        self.name.clear();
        self.name.extend_from_slice(name);
        self.seen = Some(seen);
    }

    /// What the event is, if it equals the remembered one.
    pub fn matches(&self, name: &[u8], event: &[u8]) -> Option<Seen> {
        let seen = self.seen?;
        if name != self.name {
            return None;
        }
        let (mut rest, mut done) = (event, 0);
        for &(until, empty) in &self.texts {
            rest = rest.strip_prefix(&self.fixed[done..until as usize])?;
            done = until as usize;
            let length = text_length(rest)?;
            if (length == 0) != empty {
                return None;
            }
            rest = &rest[length..];
        }
        (rest.trim_ascii_end() == &self.fixed[done..]).then_some(seen)
    }
}

/// Length of the string text that `bytes` begin with.
fn text_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}
