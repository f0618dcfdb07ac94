//! Frame headers (RFC 9113 section 4.1), and how likely nine bytes are one.

/// Bytes of a frame header.
pub const HEADER: usize = 9;

/// What a client sends first (section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const END_STREAM: u8 = 0x1;
pub const ACK: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;
pub const PADDED: u8 = 0x8;
pub const PRIORITY: u8 = 0x20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Data,
    Headers,
    Priority,
    RstStream,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    /// Extensions: to be read over (section 4.1).
    Other(u8),
}

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the payload.
    pub length: usize,
    pub kind: Kind,
    pub flags: u8,
    /// 0 for the connection.
    pub stream: u32,
}

impl Header {
    pub fn parse(bytes: &[u8; HEADER]) -> Self {
        let [l1, l2, l3, kind, flags, s1, s2, s3, s4] = *bytes;
        let kind = match kind {
            0 => Kind::Data,
            1 => Kind::Headers,
            2 => Kind::Priority,
            3 => Kind::RstStream,
            4 => Kind::Settings,
            5 => Kind::PushPromise,
            6 => Kind::Ping,
            7 => Kind::GoAway,
            8 => Kind::WindowUpdate,
            9 => Kind::Continuation,
            other => Kind::Other(other),
        };
        Self {
            length: u32::from_be_bytes([0, l1, l2, l3]) as usize,
            kind,
            flags,
            // The first bit is reserved (section 4.1).
            stream: u32::from_be_bytes([s1 & 0x7f, s2, s3, s4]),
        }
    }

    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether the standard allows such a frame: otherwise the place of the frames is not known.
    pub fn is_legal(&self) -> bool {
        let of_stream = self.stream != 0;
        match self.kind {
            Kind::Data | Kind::Headers | Kind::PushPromise | Kind::Continuation => of_stream,
            Kind::Priority => of_stream && self.length == 5,
            Kind::RstStream => of_stream && self.length == 4,
            Kind::Settings => !of_stream && self.length.is_multiple_of(6),
            Kind::Ping => !of_stream && self.length == 8,
            Kind::GoAway => !of_stream && self.length >= 8,
            Kind::WindowUpdate => self.length == 4,
            Kind::Other(_) => true,
        }
    }

    /// Whether bytes of which nothing else is known may well be this header: legal, and as senders write it, with no
    /// undefined flag or type, and streams that clients open.
    pub fn is_plausible(&self, bytes: &[u8; HEADER]) -> bool {
        /// ALTSVC (RFC 7838), ORIGIN (RFC 8336), PRIORITY_UPDATE (RFC 9218).
        const EXTENSIONS: [u8; 3] = [0xa, 0xc, 0x10];
        let flags = match self.kind {
            Kind::Data => END_STREAM | PADDED,
            Kind::Headers => END_STREAM | END_HEADERS | PADDED | PRIORITY,
            Kind::Settings if self.length > 0 => 0,
            Kind::Settings | Kind::Ping => ACK,
            Kind::PushPromise => END_HEADERS | PADDED,
            Kind::Continuation => END_HEADERS,
            Kind::Other(other) if !EXTENSIONS.contains(&other) => return false,
            _ => 0,
        };
        let reserved = bytes[5] & 0x80 != 0;
        self.is_legal() && self.flags & !flags == 0 && !reserved && (self.stream == 0 || self.stream % 2 == 1)
    }
}
