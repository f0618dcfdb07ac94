//! What the two halves tell each other, over a socket pair that keeps message borders.

#![expect(unsafe_code, reason = "std has no socket pair of this kind")]

use std::{
    io,
    net::SocketAddr,
    os::{
        fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::net::UnixDatagram,
    },
    sync::Arc,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::capture::Process;

/// Largest message, bytes. Facts of a process are cut far below it.
const MAX_MESSAGE: usize = 64 << 10;

/// From the half that has privileges.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToParser {
    /// A traced process was seen, or has replaced its image.
    Process { at: u64, process: Arc<Process> },
    /// The answer to [`ToTracer::Resolve`]; empty when the name is unknown.
    Resolved { id: u64, addresses: Vec<SocketAddr> },
    /// How the tracing goes, now and then.
    Health(Health),
    /// `doctor`'s verdicts on the traced processes.
    Verdicts(Vec<Verdicts>),
    /// The traced command has ended: its terminal is free.
    CommandEnded,
    /// Nothing more comes: read the ring to its end, flush, and leave.
    Finish(Totals),
}

/// From the half that parses.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToTracer {
    /// It cannot open `/etc/resolv.conf`: please resolve this name.
    Resolve { id: u64, host: String, port: u16 },
    /// Hooks that stand on no symbol show nothing in this process that could be plaintext: please take them away.
    Withdraw { pid: u32 },
}

/// How the tracing goes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Health {
    /// Events lost so far, by cause.
    pub lost: Vec<(String, u64)>,
    /// Files whose hooks the kernel refused so far.
    pub attach_failures: u64,
    /// Resident bytes by half.
    pub memory: Vec<(String, u64)>,
}

/// Traced processes on which the verdict is the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdicts {
    /// The TLS library, where one is hooked.
    pub library: Option<String>,
    pub reason: String,
    pub processes: u64,
}

/// What the kernel side counted, as it stands at the end.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Events lost, by cause.
    pub lost: Vec<(String, u64)>,
    /// Processes that were traced.
    pub processes: u64,
    /// TLS libraries and executables that carry hooks, for people.
    pub hooked: Vec<String>,
    /// Processes that use TLS in a way that cannot be hooked: name, PID, and the reason.
    pub untraced: Vec<(String, u32, String)>,
}

/// One end of the socket pair. It is of kind `SOCK_SEQPACKET` (unix(7)): message borders as with datagrams, and the end
/// of the other side is told, which datagram sockets do not do.
#[derive(Debug)]
pub struct Channel(UnixDatagram);

impl Channel {
    /// A connected pair.
    pub fn pair() -> io::Result<(Self, Self)> {
        let mut fds = [0; 2];
        let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
        // SAFETY: `fds` has room for the two descriptors that the call writes.
        if unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: both descriptors are new and owned by nobody else. UnixDatagram only calls send(2) and recv(2) on them.
        let [one, other] = fds.map(|fd| Self(unsafe { UnixDatagram::from_raw_fd(fd) }));
        Ok((one, other))
    }

    /// A second handle of the same end, for another thread.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    pub fn set_nonblocking(&self) -> io::Result<()> {
        self.0.set_nonblocking(true)
    }

    pub fn send(&self, message: &impl Serialize) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        if bytes.len() > MAX_MESSAGE {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.0.send(&bytes).map(drop)
    }

    /// The next message; `None` when none waits (non-blocking), an error when the other half is gone.
    pub fn receive<M: DeserializeOwned>(&self) -> io::Result<Option<M>> {
        let mut buffer = vec![0; MAX_MESSAGE];
        match self.0.recv(&mut buffer) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => {
                let message = buffer.get(..length).unwrap_or_default();
                serde_json::from_slice(message).map(Some).map_err(|_| io::ErrorKind::InvalidData.into())
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Channel> for OwnedFd {
    fn from(channel: Channel) -> Self {
        channel.0.into()
    }
}
