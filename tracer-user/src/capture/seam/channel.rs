//! What the two halves tell each other, over a socket pair that keeps message borders.

#![expect(unsafe_code, reason = "std has no socket pair of this kind")]

use std::{
    fs::File,
    io::{self, Seek as _, Write as _},
    net::SocketAddr,
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd, OwnedFd},
        unix::net::UnixDatagram,
    },
    sync::Arc,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::capture::{ConnectionKey, Process};

/// Largest message, bytes. Facts of a process are cut far below it.
const MAX_MESSAGE: usize = 64 << 10;

/// Most descriptors that come with one message (`SCM_MAX_FD` of the kernel is 253).
pub const MAX_DESCRIPTORS: usize = 200;

/// From the half that has privileges.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToParser {
    /// A traced process was seen, or has replaced its image.
    Process { at: u64, process: Arc<Process> },
    /// A process is about to replace its image, and will be this.
    Begins(Arc<Process>),
    /// The answer to [`ToTracer::Resolve`]; empty when the name is unknown.
    Resolved { id: u64, addresses: Vec<SocketAddr> },
    /// How the tracing goes, now and then.
    Health(Health),
    /// `doctor`'s verdicts on the traced processes.
    Verdicts(Vec<Verdicts>),
    /// Hooks stand on what already runs.
    Began,
    /// It lives, and wants to know whether this half does: once a second, in the daemon.
    Beat,
    /// The daemon's file was read anew. The first descriptor that comes along is a file in memory with what it says, the
    /// others are what it names, opened.
    Reload,
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
    /// The answer to [`ToParser::Beat`], by the thread that decodes.
    Beat,
    /// Hooks that stand on no symbol show nothing in this process that could be plaintext: please take them away.
    Withdraw { pid: u32 },
    /// Nobody will read a connection's bytes before these offsets, of what is sent and of what is received: please copy
    /// no more of them.
    Unread { key: ConnectionKey, until: [u64; 2] },
}

/// How the tracing goes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Health {
    /// Events lost so far, by cause.
    pub lost: Vec<(String, u64)>,
    /// Payload bytes so far that were not copied because nobody would have read them.
    pub unread: u64,
    /// How often a traced process may have spoken before hooks stopped it, by reason.
    pub unwatched: Vec<(String, u64)>,
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

    /// Sends descriptors along (unix(7), `SCM_RIGHTS`), at most [`MAX_DESCRIPTORS`].
    pub fn send_with(&self, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        if bytes.len() > MAX_MESSAGE || descriptors.len() > MAX_DESCRIPTORS {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let numbers: Vec<libc::c_int> = descriptors.iter().map(BorrowedFd::as_raw_fd).collect();
        let size = u32::try_from(size_of_val(numbers.as_slice())).unwrap_or(u32::MAX);
        let mut control = Control::new();
        let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        // SAFETY: all-zero is a valid value of this plain structure. Its pointers are to live memory of the sizes given,
        // of which sendmsg(2) only reads; CMSG_FIRSTHDR gives a place within `control`, which has room for all numbers.
        let sent = unsafe {
            let mut header = std::mem::zeroed::<libc::msghdr>();
            header.msg_iov = &raw mut part;
            header.msg_iovlen = 1;
            if !numbers.is_empty() {
                header.msg_control = control.0.as_mut_ptr().cast();
                header.msg_controllen = libc::CMSG_SPACE(size) as _;
                let first = libc::CMSG_FIRSTHDR(&raw const header);
                (*first).cmsg_level = libc::SOL_SOCKET;
                (*first).cmsg_type = libc::SCM_RIGHTS;
                (*first).cmsg_len = libc::CMSG_LEN(size) as _;
                std::ptr::copy_nonoverlapping(numbers.as_ptr().cast(), libc::CMSG_DATA(first), size as usize);
            }
            libc::sendmsg(self.0.as_raw_fd(), &raw const header, libc::MSG_NOSIGNAL)
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// The next message with the descriptors that came along; else as [`Self::receive`].
    pub fn receive_with<M: DeserializeOwned>(&self) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
        let mut buffer = vec![0_u8; MAX_MESSAGE];
        let mut control = Control::new();
        let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        let mut descriptors = Vec::new();
        // SAFETY: as in `send_with`; recvmsg(2) writes no more than the sizes given. Each number that it gives is a new
        // descriptor, owned here alone.
        let length = unsafe {
            let mut header = std::mem::zeroed::<libc::msghdr>();
            header.msg_iov = &raw mut part;
            header.msg_iovlen = 1;
            header.msg_control = control.0.as_mut_ptr().cast();
            header.msg_controllen = size_of_val(&*control.0) as _;
            let length = libc::recvmsg(self.0.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC);
            let mut next = if length < 0 { std::ptr::null_mut() } else { libc::CMSG_FIRSTHDR(&raw const header) };
            while let Some(one) = next.as_ref() {
                if one.cmsg_level == libc::SOL_SOCKET && one.cmsg_type == libc::SCM_RIGHTS {
                    #[allow(clippy::unnecessary_cast, reason = "with musl the field has another type")]
                    let size = (one.cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
                    let data = libc::CMSG_DATA(next).cast::<libc::c_int>();
                    for index in 0..size / size_of::<libc::c_int>() {
                        descriptors.push(OwnedFd::from_raw_fd(data.add(index).read_unaligned()));
                    }
                }
                next = libc::CMSG_NXTHDR(&raw const header, next);
            }
            length
        };
        match usize::try_from(length) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => {
                let message = buffer.get(..length).unwrap_or_default();
                let message = serde_json::from_slice(message).map_err(|_| io::ErrorKind::InvalidData)?;
                Ok(Some((message, descriptors)))
            }
            Err(_) => {
                let error = io::Error::last_os_error();
                let nothing = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted);
                if nothing { Ok(None) } else { Err(error) }
            }
        }
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

/// Memory for the descriptors of one message, aligned as the kernel's header wants it.
struct Control(Box<[u64; 128]>);

impl Control {
    fn new() -> Self {
        Self(Box::new([0; 128]))
    }
}

/// A file that is nowhere but in memory (memfd_create(2)), with `bytes`, to be read from its start.
pub fn memory_file(bytes: &[u8]) -> io::Result<File> {
    // SAFETY: a constant name; the new descriptor is owned here alone.
    let mut file = unsafe {
        match libc::memfd_create(c"llmtap".as_ptr(), libc::MFD_CLOEXEC) {
            -1 => return Err(io::Error::last_os_error()),
            fd => File::from_raw_fd(fd),
        }
    };
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
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

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn descriptors_come_along_in_order() {
        let (one, other) = Channel::pair().unwrap();
        let files: Vec<File> =
            (0..MAX_DESCRIPTORS).map(|index| memory_file(index.to_string().as_bytes()).unwrap()).collect();
        let descriptors: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        one.send_with(&ToParser::Reload, &descriptors).unwrap();
        one.send(&ToParser::Beat).unwrap();
        let (message, came) = other.receive_with::<ToParser>().unwrap().unwrap();
        assert!(matches!(message, ToParser::Reload));
        let texts: Vec<String> = came.into_iter().map(|fd| io::read_to_string(File::from(fd)).unwrap()).collect();
        assert_eq!(texts, (0..MAX_DESCRIPTORS).map(|index| index.to_string()).collect::<Vec<_>>());
        let (message, came) = other.receive_with::<ToParser>().unwrap().unwrap();
        assert!(matches!(message, ToParser::Beat) && came.is_empty());
        other.set_nonblocking().unwrap();
        assert!(other.receive_with::<ToParser>().unwrap().is_none());
        drop(one);
        assert!(other.receive_with::<ToParser>().is_err());
        let mut nothing = String::new();
        memory_file(b"").unwrap().read_to_string(&mut nothing).unwrap();
    }
}
