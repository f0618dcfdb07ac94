//! Every cap of the decoders, in one place: traffic is hostile input, and memory is bounded by configuration.

/// Caps of one connection's decoders. Reaching one ends at most the message that reached it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one head, or of one trailer section; with HTTP/2, as compressed. Servers accept 8 to 64 KiB; we must not accept less than they do.
    pub head_bytes: usize,
    /// Bytes of one chunk-size line with its extensions (RFC 9112 section 7.1.1).
    pub chunk_line_bytes: usize,
    /// Requests that wait for their response (pipelining).
    pub pending_requests: usize,
    /// Streams open at once on an HTTP/2 connection. Servers allow some hundred.
    pub streams: usize,
    /// Bytes of the dynamic table of one direction's header compression, as RFC 7541 section 4.1 counts them.
    pub header_table_bytes: usize,
    /// Content and transfer codings stacked on one body.
    pub codings: usize,
    /// Bytes of one body after content decoding. A guard for the processor's time, not for memory, which is constant.
    pub decoded_bytes: u64,
    /// Decoded bytes for each encoded byte, once `expansion_grace` bytes are decoded.
    pub expansion_ratio: u64,
    /// Decoded bytes that may come at any ratio: a megabyte of one repeated letter is a legitimate prompt.
    pub expansion_grace: u64,
    /// Base-2 logarithm of the largest zstd window. RFC 9659 section 3 fixes 8 MiB for HTTP.
    pub zstd_window_log: u32,
    /// Bytes of one event of an event stream: of its `data`, and of any one of its lines.
    pub sse_event_bytes: usize,
    /// Bytes of one line of NDJSON.
    pub line_bytes: usize,
    /// Bytes of one text message that a server sends over a WebSocket, decompressed.
    pub websocket_message_bytes: usize,
    /// Bytes of a client's message that wait for the member that says what it is. One that is longer and has not said
    /// so counts as a request for a response: nothing else that clients send is that long.
    pub held_message_bytes: usize,
    /// Bytes of one message of an AWS event stream, headers included.
    pub message_bytes: usize,
    /// Bytes of one element of an array of JSON objects.
    pub element_bytes: usize,
    /// Bytes of the head of one part of a form.
    pub part_head_bytes: usize,
    /// Bytes of one value of a form. What a model is asked with stays below; files are not kept.
    pub part_value_bytes: usize,
    /// Bytes of both directions, searched for a message start, after which a connection counts as not HTTP.
    pub undecided_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 64 << 10,
            chunk_line_bytes: 4 << 10,
            pending_requests: 1024,
            streams: 1024,
            header_table_bytes: 64 << 10,
            codings: 4,
            decoded_bytes: 4 << 30,
            expansion_ratio: 256,
            expansion_grace: 16 << 20,
            zstd_window_log: 23,
            sse_event_bytes: 16 << 20,
            line_bytes: 16 << 20,
            message_bytes: 16 << 20,
            websocket_message_bytes: 16 << 20,
            held_message_bytes: 64 << 10,
            element_bytes: 16 << 20,
            part_head_bytes: 8 << 10,
            part_value_bytes: 64 << 10,
            undecided_bytes: 4 << 20,
        }
    }
}

/// Header fields of one head. A constant, since their table stands on the stack.
pub const HEADERS: usize = 256;

/// Bytes of all names and values of one head over HTTP/2, decompressed. What servers accept is far less.
pub const HEADER_BYTES: usize = 256 << 10;
