//! The two tables that indices refer to (RFC 7541 section 2.3).

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;

/// Appendix A, from index 1 on.
pub const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// What an entry costs beside its name and value (section 4.1).
const OVERHEAD: usize = 32;

/// The maximum of a table before its encoder states another (RFC 9113 section 6.5.2).
const INITIAL_SIZE: usize = 4096;

/// The dynamic table, newest entry first.
pub struct Dynamic {
    entries: VecDeque<Entry>,
    size: usize,
    /// The encoder's maximum.
    max: usize,
    /// Ours.
    cap: usize,
    /// Every entry that the encoder has is here. Otherwise the newest are, whose indices count from the newest.
    whole: bool,
}

pub struct Entry {
    pub name: Arc<str>,
    pub value: Bytes,
    /// As the encoder counts it.
    size: usize,
}

impl Dynamic {
    pub fn new(cap: usize) -> Self {
        Self { entries: VecDeque::new(), size: 0, max: INITIAL_SIZE, cap, whole: true }
    }

    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// `index` 0 is the newest.
    pub fn entry(&self, index: usize) -> Option<&Entry> {
        self.entries.get(index)
    }

    /// `size` is that of name and value on the wire.
    pub fn insert(&mut self, name: Arc<str>, value: Bytes, size: usize) {
        let size = size + OVERHEAD;
        self.size += size;
        self.entries.push_front(Entry { name, value, size });
        self.evict();
    }

    pub fn resize(&mut self, max: usize) {
        self.max = max;
        self.evict();
        // An empty table lacks nothing.
        self.whole |= max < OVERHEAD;
    }

    /// Insertions were missed. What comes now is counted from the newest entry, so that it is known again. The encoder's
    /// maximum may have changed, too: entries are kept as long as it could have them.
    pub fn lose(&mut self) {
        self.entries.clear();
        self.size = 0;
        self.max = self.cap;
        self.whole = false;
    }

    fn evict(&mut self) {
        self.evict_to(self.max);
        if self.size > self.cap {
            self.evict_to(self.cap);
            self.whole = false;
        }
    }

    fn evict_to(&mut self, most: usize) {
        while self.size > most {
            let Some(entry) = self.entries.pop_back() else { return };
            self.size -= entry.size;
        }
    }
}
