//! What the kernel side loses, by cause: one enum for both sides. It adds atomically, user space reads. What it hands
//! over is counted by the reader, where that costs the traced program nothing.

/// Index into the map of counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum Counter {
    /// Payload bytes lost because the ring was full.
    RingFull,
    /// Payload bytes lost because the page could not be read without a fault.
    Unreadable,
    /// Payload bytes beyond [`crate::limits::CALL_BYTES`] in one call.
    TooLong,
    /// Payload bytes that passed no buffer of the process where they could be read: `sendfile`, `splice`, io_uring.
    NoBuffer,
    /// Calls whose result was not observed because a return probe would have endangered the process: they ran on
    /// another stack than the thread's own, or between calls of another stack.
    ForeignStack,
    /// Calls inside more than [`crate::limits::NESTED_CALLS`] others.
    TooNested,
    /// Calls without room in the table of threads.
    ThreadsFull,
    /// Calls whose connection found no room.
    ConnectionsFull,
    /// Processes that found no room in the table of targets.
    TargetsFull,
    /// Records other than data (open, end, lifecycle) that found no room in the ring.
    FactsLost,
    /// Notices to the privileged half that found no room.
    NoticesLost,
    /// Payload bytes that were not copied because nobody would have read them. No loss.
    Unread,
}

impl Counter {
    pub const ALL: [Self; 12] = [
        Self::RingFull,
        Self::Unreadable,
        Self::TooLong,
        Self::NoBuffer,
        Self::ForeignStack,
        Self::TooNested,
        Self::ThreadsFull,
        Self::ConnectionsFull,
        Self::TargetsFull,
        Self::FactsLost,
        Self::NoticesLost,
        Self::Unread,
    ];

    /// Whether what it counts is missed by anybody.
    #[must_use]
    pub const fn is_loss(self) -> bool {
        !matches!(self, Self::Unread)
    }

    /// The name that metrics and `doctor` show.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RingFull => "ring_full",
            Self::Unreadable => "unreadable",
            Self::TooLong => "too_long",
            Self::NoBuffer => "no_buffer",
            Self::ForeignStack => "foreign_stack",
            Self::TooNested => "too_nested",
            Self::ThreadsFull => "threads_full",
            Self::ConnectionsFull => "connections_full",
            Self::TargetsFull => "targets_full",
            Self::FactsLost => "facts_lost",
            Self::NoticesLost => "notices_lost",
            Self::Unread => "unread",
        }
    }
}
