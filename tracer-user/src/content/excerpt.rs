//! A bounded copy of a JSON document that streams by.
//!
//! A request can have 32 MiB, most of it pictures in base64 and a history that was told before. The copy leaves out long
//! binary strings as soon as they show what they are, strings over a cap, and, of the outermost lists (messages, tools),
//! the items behind the first and before the latest: what a call adds to its conversation stands at the end. Each gap is
//! marked by an object that says how much is missing ([`gap`]), so that the copy is a JSON document again.

use std::collections::VecDeque;

use memchr::memchr2;
use serde_json::Value as Json;

use super::{
    Limits,
    message::LeftOut,
    share::{Pool, Share},
};

/// A string of this many bytes that could all be base64 is taken for binary. Text has blanks or punctuation long before.
const BINARY_BYTES: usize = 4096;
/// Longest beginning of a data URL up to its comma.
const URL_HEAD_BYTES: usize = 128;
/// Deepest nesting that is copied; `serde_json` reads 128 levels.
const DEPTH: usize = 120;
/// How deep the outermost lists may lie: `{"request": {"contents": [` is the deepest known.
const LIST_DEPTH: usize = 3;
/// Most such lists of one document.
const LISTS: usize = 64;
/// What an item of a list costs beside its bytes.
const ITEM_BYTES: usize = 64;
/// Longest key.
const KEY_BYTES: usize = 512;

/// Names no member of any API.
const CUT_STRING: &str = "\0string";
const CUT_ITEMS: &str = "\0items";

/// What stands in the place of what was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gap<'a> {
    /// A string of so many bytes as written, without the `=` at its end, which are no data. `head` is the beginning of a data URL, up to its comma.
    String {
        bytes: u64,
        head: Option<&'a str>,
    },
    Items(LeftOut),
}

/// Whether this value stands for something that was left out.
pub fn gap(value: &Json) -> Option<Gap<'_>> {
    let members = value.as_object()?;
    let pair = |name| members.get(name)?.as_array();
    if let Some([bytes, head]) = pair(CUT_STRING).map(Vec::as_slice) {
        return Some(Gap::String { bytes: bytes.as_u64()?, head: head.as_str() });
    }
    let [items, bytes] = pair(CUT_ITEMS)?.as_slice() else { return None };
    Some(Gap::Items(LeftOut { items: items.as_u64()?, bytes: bytes.as_u64()? }))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Array,
    /// A key comes.
    Key,
    /// A value comes.
    Value,
}

#[derive(Debug, Clone, Copy)]
struct Text {
    /// Where its quote stands in the target.
    start: usize,
    bytes: usize,
    escaped: bool,
    is_key: bool,
    /// Of what was seen so far all could be base64, behind the comma of a data URL.
    binary: bool,
    /// It is not copied further.
    cut: bool,
    /// Bytes of the beginning that stay when it is cut.
    head: usize,
    /// `=` at the end of what was seen.
    padding: usize,
}

struct List {
    /// Where it stands in the frame.
    at: usize,
    /// The first, and the latest ones.
    items: VecDeque<Vec<u8>>,
    left_out: LeftOut,
    /// How many containers are open around its items.
    depth: usize,
    /// The item that is being read has no place.
    skipping: bool,
    /// What was left out begins with the first item.
    headless: bool,
}

pub struct Excerpt {
    limits: Limits,
    share: Share,
    /// The document without the items of its lists.
    frame: Vec<u8>,
    lists: Vec<List>,
    /// The last list is open.
    in_list: bool,
    levels: Vec<Level>,
    text: Option<Text>,
    /// Bytes held, with what the items cost.
    held: usize,
    started: bool,
    /// Not JSON, too deep, or no memory for it: nothing is told.
    failed: bool,
    /// It failed for want of memory.
    starved: bool,
}

impl Excerpt {
    pub fn new(limits: Limits, pool: &Pool) -> Self {
        Self {
            limits,
            share: pool.share(),
            frame: Vec::new(),
            lists: Vec::new(),
            in_list: false,
            levels: Vec::new(),
            text: None,
            held: 0,
            started: false,
            failed: false,
            starved: false,
        }
    }

    /// Bytes are missing here: what a document says in whole is not known.
    pub fn lost(&mut self) {
        self.fail();
    }

    /// There was no memory for it.
    pub fn is_starved(&self) -> bool {
        self.starved
    }

    /// The copy of a whole document, and a fresh start; `None` when it ended early or is none.
    pub fn finish(&mut self) -> Option<Json> {
        let whole = !self.failed && self.started && self.levels.is_empty() && self.text.is_none();
        let json = whole.then(|| self.assemble()).and_then(|bytes| serde_json::from_slice(&bytes).ok());
        self.clear();
        (self.started, self.failed, self.starved) = (false, false, false);
        json
    }

    /// The copy of one document.
    pub fn document(&mut self, document: &[u8]) -> Option<Json> {
        self.push(document);
        self.finish()
    }

    pub fn push(&mut self, mut input: &[u8]) {
        while !input.is_empty() && !self.failed {
            let used = match self.text {
                Some(text) => self.string(input, text),
                None => self.structure(input),
            };
            input = &input[used..];
        }
    }

    fn structure(&mut self, input: &[u8]) -> usize {
        let byte = input[0];
        match byte {
            b' ' | b'\n' | b'\r' | b'\t' => return 1,
            b'"' => self.begin_string(),
            b'{' | b'[' => self.open(byte == b'['),
            b'}' | b']' => self.close(byte == b']'),
            b',' => self.comma(),
            b':' => {
                if let Some(level @ Level::Key) = self.levels.last_mut() {
                    *level = Level::Value;
                }
                self.put(b":");
            }
            _ => {
                let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'E' | b'-' | b'+' | b'.');
                let length = input.iter().position(|byte| !is_part(byte)).unwrap_or(input.len());
                if length == 0 {
                    self.fail();
                    return 1;
                }
                self.begin_item();
                self.started = true;
                self.put(&input[..length]);
                return length;
            }
        }
        1
    }

    fn begin_string(&mut self) {
        self.begin_item();
        self.started = true;
        let is_key = self.levels.last() == Some(&Level::Key);
        self.put(b"\"");
        let start = self.target().len().saturating_sub(1);
        self.text =
            Some(Text { start, bytes: 0, escaped: false, is_key, binary: true, cut: false, head: 0, padding: 0 });
    }

    fn open(&mut self, is_array: bool) {
        self.begin_item();
        self.started = true;
        if self.levels.len() >= DEPTH {
            return self.fail();
        }
        self.put(if is_array { b"[" } else { b"{" });
        self.levels.push(if is_array { Level::Array } else { Level::Key });
        if is_array && !self.in_list && self.levels.len() <= LIST_DEPTH && self.lists.len() < LISTS {
            let (at, depth) = (self.frame.len(), self.levels.len());
            self.lists.push(List {
                at,
                items: VecDeque::new(),
                left_out: LeftOut::default(),
                depth,
                skipping: false,
                headless: false,
            });
            self.in_list = true;
        }
    }

    fn close(&mut self, is_array: bool) {
        let fits = self.levels.pop().is_some_and(|level| (level == Level::Array) == is_array);
        if !fits {
            return self.fail();
        }
        if self.in_list && self.lists.last().is_some_and(|list| list.depth > self.levels.len()) {
            self.in_list = false;
        }
        self.put(if is_array { b"]" } else { b"}" });
    }

    fn comma(&mut self) {
        if let Some(level @ Level::Value) = self.levels.last_mut() {
            *level = Level::Key;
        }
        let depth = self.levels.len();
        match self.lists.last_mut().filter(|list| self.in_list && list.depth == depth) {
            // Between items of the list, which have no commas of their own.
            Some(list) => {
                list.skipping = false;
                list.items.push_back(Vec::new());
                self.hold(ITEM_BYTES);
            }
            None => self.put(b","),
        }
    }

    /// The first item of a list has no comma before it.
    fn begin_item(&mut self) {
        let depth = self.levels.len();
        if let Some(list) = self.lists.last_mut().filter(|list| self.in_list && list.depth == depth)
            && list.items.is_empty()
            && list.left_out.items == 0
        {
            list.items.push_back(Vec::new());
            self.hold(ITEM_BYTES);
        }
    }

    fn string(&mut self, input: &[u8], mut text: Text) -> usize {
        // Decisions fall at the same bytes however the input is cut.
        let decided_at = match text.bytes < BINARY_BYTES {
            true => BINARY_BYTES,
            false => self.limits.string_bytes.max(BINARY_BYTES) + 1,
        };
        let room = if text.cut { usize::MAX } else { decided_at.saturating_sub(text.bytes).max(1) };
        let input = &input[..input.len().min(room)];
        let (length, ends) = match string_end(input, text.escaped) {
            Ok(end) => (end, true),
            Err(escaped) => {
                text.escaped = escaped;
                (input.len(), false)
            }
        };
        let piece = &input[..length];
        text.bytes += piece.len();
        let padding = piece.iter().rev().take_while(|byte| **byte == b'=').count();
        text.padding = if padding == piece.len() { text.padding + padding } else { padding };
        // While its item is passed over, a string's text is only counted.
        if !text.cut || self.skips() {
            self.put(piece);
        }
        if !text.cut && !self.skips() && !self.failed {
            self.judge(&mut text, piece);
        }
        if self.failed {
            return length;
        }
        self.text = Some(text);
        if ends {
            self.end_string(text);
            return length + 1;
        }
        length
    }

    /// Whether the string that goes on with `piece`, which was copied, is one to leave out.
    fn judge(&mut self, text: &mut Text, piece: &[u8]) {
        if text.is_key && text.bytes > KEY_BYTES {
            return self.fail();
        }
        let start = text.start + 1;
        if text.binary {
            let before = text.bytes - piece.len();
            let looked_at = piece.len().min(BINARY_BYTES.saturating_sub(before));
            let mut new = &piece[..looked_at];
            if text.head == 0 && before < URL_HEAD_BYTES {
                // The head of a data URL, as far as it has come.
                let whole = self.target().get(start..).unwrap_or_default();
                if whole.starts_with(b"data:") || b"data:".starts_with(whole) {
                    let comma = whole.iter().take(URL_HEAD_BYTES).position(|byte| *byte == b',');
                    text.head = comma.map_or(0, |comma| comma + 1);
                    new = match comma {
                        Some(comma) => piece.get((comma + 1).saturating_sub(before)..looked_at).unwrap_or_default(),
                        None => new.get(URL_HEAD_BYTES.saturating_sub(before)..).unwrap_or_default(),
                    };
                }
            }
            text.binary = new.iter().all(|byte| is_base64(*byte));
        }
        let too_long = text.bytes > self.limits.string_bytes.max(BINARY_BYTES);
        if too_long || (text.binary && text.bytes >= BINARY_BYTES) {
            text.cut = true;
            let (start, head) = (text.start, text.head);
            let removed = {
                let target = self.target_mut();
                let removed = target.len().saturating_sub(start + 1 + head);
                target.truncate(start + 1 + head);
                removed
            };
            self.release(removed);
        }
    }

    fn end_string(&mut self, text: Text) {
        self.text = None;
        if !text.cut || self.skips() {
            return self.put(b"\"");
        }
        let head = {
            let target = self.target_mut();
            let head = target.get(text.start + 1..).unwrap_or_default().to_vec();
            target.truncate(text.start);
            head
        };
        self.release(head.len() + 1);
        // Both are JSON as they stand: the head is a piece of one string, and was checked to hold no quote.
        let head = match head.is_empty() {
            true => "null".to_owned(),
            false => format!("\"{}\"", String::from_utf8_lossy(&head)),
        };
        self.put(format!("{{\"\\u0000{}\":[{},{head}]}}", &CUT_STRING[1..], text.bytes - text.padding).as_bytes());
    }

    fn target(&self) -> &[u8] {
        match self.lists.last().filter(|_| self.in_list) {
            Some(list) => list.items.back().map_or(&[], Vec::as_slice),
            None => &self.frame,
        }
    }

    fn target_mut(&mut self) -> &mut Vec<u8> {
        match self.lists.last_mut().filter(|_| self.in_list) {
            // An open list has an item as soon as anything was put to it.
            Some(list) if !list.items.is_empty() => list.items.back_mut().unwrap_or(&mut self.frame),
            _ => &mut self.frame,
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        if !self.skips() {
            self.charge(bytes.len());
        }
        match self.lists.last_mut().filter(|list| self.in_list && list.skipping) {
            Some(list) => list.left_out.bytes += bytes.len() as u64,
            None if self.failed => {}
            None => self.target_mut().extend_from_slice(bytes),
        }
    }

    /// The item that is being read has no place.
    fn skips(&self) -> bool {
        self.in_list && self.lists.last().is_some_and(|list| list.skipping)
    }

    /// Makes room for `bytes` more.
    fn charge(&mut self, bytes: usize) {
        self.hold(bytes);
        while self.held > self.limits.body_bytes {
            if !self.evict() {
                return;
            }
            if self.skips() {
                // They have no place either.
                return self.release(bytes);
            }
        }
    }

    fn hold(&mut self, bytes: usize) {
        self.held += bytes;
        if !self.share.take(bytes) {
            self.starved = true;
            self.fail();
        }
    }

    fn release(&mut self, bytes: usize) {
        self.held = self.held.saturating_sub(bytes);
        self.share.give(bytes);
    }

    /// Leaves out the oldest item but the first of the open list; else of the longest; else the first, or the one that
    /// is being read and has no place even alone.
    fn evict(&mut self) -> bool {
        let open = if self.in_list { self.lists.len().checked_sub(1) } else { None };
        // The open list's last item is being read.
        let spare = |index: usize| {
            let least = if open == Some(index) { 2 } else { 1 };
            self.lists[index].items.len().saturating_sub(least)
        };
        let longest = || (0..self.lists.len()).max_by_key(|index| spare(*index)).filter(|index| spare(*index) > 0);
        let (index, item) = match open.filter(|index| spare(*index) > 0).or_else(longest) {
            Some(index) => (index, 1),
            None => match open {
                Some(index) if !self.lists[index].items.is_empty() => (index, 0),
                _ => {
                    self.fail();
                    return false;
                }
            },
        };
        let list = &mut self.lists[index];
        list.skipping |= open == Some(index) && list.items.len() == 1;
        list.headless |= item == 0;
        let item = list.items.remove(item).unwrap_or_default();
        list.left_out.items += 1;
        list.left_out.bytes += item.len() as u64;
        self.release(item.len() + ITEM_BYTES);
        true
    }

    fn assemble(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.held);
        let mut from = 0;
        for list in &self.lists {
            out.extend_from_slice(&self.frame[from..list.at]);
            from = list.at;
            let mut first = true;
            let mut items = list.items.iter().filter(|item| !item.is_empty());
            let mut add = |item: &[u8]| {
                if !std::mem::take(&mut first) {
                    out.push(b',');
                }
                out.extend_from_slice(item);
            };
            // What was left out stood behind the first, if it was not among it.
            if !list.headless {
                items.next().into_iter().for_each(|item| add(item));
            }
            if list.left_out.items > 0 {
                let LeftOut { items, bytes } = list.left_out;
                add(format!("{{\"\\u0000{}\":[{items},{bytes}]}}", &CUT_ITEMS[1..]).as_bytes());
            }
            items.for_each(|item| add(item));
        }
        out.extend_from_slice(&self.frame[from..]);
        out
    }

    fn fail(&mut self) {
        self.failed = true;
        self.clear();
    }

    fn clear(&mut self) {
        self.frame.clear();
        self.lists.clear();
        self.levels.clear();
        (self.in_list, self.text) = (false, None);
        self.release(self.held);
    }
}

/// Where the string's quote stands; else whether the input ends in the middle of an escape.
fn string_end(input: &[u8], escaped: bool) -> Result<usize, bool> {
    let mut at = usize::from(escaped);
    while let Some(length) = input.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        if input[at + length] == b'"' {
            return Ok(at + length);
        }
        at += length + 2;
    }
    Err(at > input.len())
}

/// With the backslash of an escaped solidus or line break.
fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_' | b'\\')
}

#[cfg(test)]
mod tests;
